//! Every decision about a session, as plain functions and machines: where it lives, which zone and
//! endpoint serve it, who may execute it and how it is handed over. Pure: no I/O, no clock, no
//! random source, so that the proxy, the simulation and the model check run the same code.

pub mod affinity;
pub mod carry;
pub mod dedup;
pub mod drag;
pub mod events;
pub mod gate;
pub mod handoff;
pub mod head;
pub mod health;
pub mod hold;
pub mod idle;
pub mod joining;
pub mod lease;
pub mod mint;
pub mod pace;
pub mod placement;
pub mod prewarm;
pub mod rendezvous;
pub mod replica;
pub mod roster;
pub mod route;
mod spread;
pub mod steer;
