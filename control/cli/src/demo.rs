//! `homing demo`: real zones, proxy and control as processes on loopback, a real access log replayed
//! against them, sessions handed over live, and a report whose every promise is checked from outside.

pub mod children;
pub mod client;
pub mod ledger;
pub mod plan;
pub mod tally;
pub mod trace;
pub mod world;
