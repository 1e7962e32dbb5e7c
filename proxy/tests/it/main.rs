//! The proxy on real sockets, with small real apps behind it: one binary, a module a subject.

mod app;
mod bounds;
mod client;
mod faults;
mod headers;
mod protocols;
mod proxy;
mod sessions;
mod tunnels;
