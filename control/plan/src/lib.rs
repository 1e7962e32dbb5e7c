//! Planning: what is known of sessions and zones goes in, a plan with its why comes out, and the
//! table change drawn from it. Pure: no I/O, no clock, no random source; time and seeds are
//! arguments, so every plan can be made again.

pub mod affinity;
pub mod anticipate;
pub mod assign;
pub mod draw;
pub mod feedback;
pub mod mobility;
pub mod plan;
pub mod price;
pub mod profile;
pub mod scale;
pub mod schedule;
pub mod score;

pub use affinity::Affinity;
pub use feedback::Feedback;
pub use mobility::Mobility;
pub use plan::{Explanation, Housing, Inputs, Move, Plan, Why, ZoneState, explain, plan};
pub use profile::Profile;
pub use score::{Scorer, Terms};
