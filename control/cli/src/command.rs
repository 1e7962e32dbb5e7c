//! The commands other than the demo, one file each.

pub mod app;
pub mod audit;
pub mod backtest;
pub mod certs;
pub mod check;
pub mod document;
pub mod feedback;
pub mod forecast;
pub mod peers;
pub mod plan;
pub mod predict;
pub mod profile;
pub mod replay;
pub mod roles;
pub mod scaling;
pub mod session;
pub mod status;
pub mod zone;
