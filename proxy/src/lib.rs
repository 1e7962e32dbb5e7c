//! Homing's data plane: the shell that takes clients in and carries out what the pure crates
//! decide.

pub mod access_log;
pub mod activation_log;
pub mod admin;
pub mod cession;
pub mod clock;
pub mod config;
pub mod control_link;
pub mod drain;
pub mod endpoints;
pub mod gates;
pub mod handoff;
pub mod hold;
pub mod http;
pub mod listen;
pub mod live;
pub mod local_authority;
pub mod outcomes;
pub mod prewarm;
pub mod replicas;
pub mod seat;
pub mod startup;
pub mod state;
pub mod table_file;
pub mod table_keeper;
pub mod telemetry;

pub use startup::{Proxy, Running, StartFault};
