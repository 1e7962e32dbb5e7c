//! The proxy on real sockets, with small real apps behind it: one binary, a module a subject.

mod app;
mod bounds;
mod client;
mod drains;
mod faults;
mod headers;
mod holds;
mod moves;
mod notebook;
mod protocols;
mod proxy;
mod restarts;
mod sessions;
mod tunnels;
mod undone;
mod whole;
