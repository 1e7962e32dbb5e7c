//! What a session will ask for where it is moved to: a sketch of what it fetched of late, kept
//! where it lives, and the pace at which the gate that is to have it next fetches the same. A
//! cache that is warmed by its first users makes exactly the moved ones wait.

pub mod queue;
pub mod sketch;

pub use queue::{Pace, Taken, Turn, WarmQueue};
pub use sketch::{Noted, SketchLimits, Sketches};
