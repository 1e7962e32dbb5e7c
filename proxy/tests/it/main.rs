//! The proxy on real sockets, with small real apps behind it: one binary, a module a subject.

// What cannot be had fails the test, which is what an unwrap says.
#![allow(clippy::unwrap_used)]

mod app;
mod bounds;
mod cache;
mod carry;
mod client;
mod contract;
mod cuts;
mod drains;
mod events;
mod faults;
mod frames;
mod headers;
mod holds;
mod moves;
mod notebook;
mod once;
mod prewarm;
mod processes;
mod protocols;
mod proxy;
mod redis_faults;
mod redis_moves;
mod redis_replicas;
mod redis_server;
mod redis_store;
mod restarts;
mod sessions;
mod shop;
mod stuck;
mod tls_endpoints;
mod tunnels;
mod undone;
mod whole;
