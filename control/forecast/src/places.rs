//! The next place or item of a user, as a ranking with probabilities.
