//! Gradient-boosted trees over histograms of features.
