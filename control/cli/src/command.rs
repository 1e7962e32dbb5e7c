//! The commands other than the demo, one file each.

pub mod app;
pub mod check;
pub mod roles;
