//! What comes next and how sure that is: demand per series, a user's next place or item, and
//! whether an observation is unusual.
//!
//! Pure: observations, times and seeds are arguments. Nothing here reads a clock, a file or a
//! random source, so that the same history always gives the same forecast.

pub mod anomaly;
pub mod demand;
pub mod feed;
pub mod lstm;
pub mod places;
pub mod trees;
