//! A seeded world around Homing's real machines, and the model check of the handoff. The machines
//! are those that ship; only what surrounds them, clock, network, users and faults, is made here,
//! because that is what must be reproducible.

pub mod model;
