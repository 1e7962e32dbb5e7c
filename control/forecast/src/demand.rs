//! Forecasts of demand: experts for one series or many, blended by how well each did lately.
