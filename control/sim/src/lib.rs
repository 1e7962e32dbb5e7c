//! A seeded world around Homing's real machines, and the model check of the handoff. The machines
//! are those that ship; only what surrounds them, clock, network, users and faults, is made here,
//! because that is what must be reproducible.

mod clock;
mod control;
mod edge;
pub mod faults;
mod gate;
mod host;
pub mod joining;
mod laws;
mod link;
pub mod model;
pub mod replay;
pub mod scenario;
pub mod tally;
pub mod tunnel;
mod turn;
mod users;
mod world;

pub use laws::Law;
pub use world::Outcome;
