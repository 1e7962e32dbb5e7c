//! The `homing` command run as operators run it: as a process, against processes.

// What fails here fails the test; there is no runtime whose thread a sleep would block.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod backtest;
mod backtest_anomalies;
mod backtest_own;
mod behind;
mod check;
mod demo;
mod fleet;
mod joining;
mod leases;
mod prewarm;
#[path = "../../../../proxy/tests/it/redis_server.rs"]
#[allow(dead_code)]
mod redis_server;
mod repairs;
mod replay;
mod replicas;
mod run;
mod scaling;
mod sockets;
mod streams;
mod stuck;
mod under_control;
mod walk;
