//! Who should live where, all at once: the cheapest assignment of users to zones under capacities
//! in several resources. Solved in the dual, where it is small: one price per zone and resource. A
//! smoothed dual is climbed by projected Newton steps on a sample of the users, a few passes over
//! all of them correct the prices, and what rounding leaves over capacity is repaired. The best
//! dual value is a bound on what any assignment can cost, so each answer carries its own gap.
//!
//! First-fit by cost, which needs none of this, ends 13-22 % above the bound on the instances of
//! `cargo run --release -p homing-bench --bin assign`.

mod climb;
mod problem;
mod repair;
mod solve;
#[cfg(test)]
mod tests;

use problem::Problem;

/// Stands for a user without a zone: one that lives nowhere yet, or one that is refused.
pub const NOWHERE: u8 = u8::MAX;

/// What is to be assigned. Users are numbered by their place in these slices.
#[derive(Clone, Copy, Debug)]
pub struct Instance<'a> {
    /// Zones, at most 254.
    pub zones: usize,
    /// Resources that have capacities, 1 to 8.
    pub resources: usize,
    /// The cost of each user in each zone, `users * zones`, a user's zones together. Infinite where
    /// the user may not live.
    pub costs: &'a [f32],
    /// What each user takes of each resource, `users * resources`.
    pub demands: &'a [f32],
    /// What each zone has of each resource, `zones * resources`; infinite is without bound.
    pub capacities: &'a [f64],
    /// The cost of having no zone for a user. The smallest are refused first where not all fit.
    pub refusals: &'a [f32],
    /// How many may move, if that is bounded.
    pub moves: Option<Moves<'a>>,
}

/// A bound on moves.
#[derive(Clone, Copy, Debug)]
pub struct Moves<'a> {
    /// Where each user lives, [`NOWHERE`] for one that lives nowhere yet and moves freely.
    pub from: &'a [u8],
    /// How many may change their zone.
    pub most: u64,
}

/// What one unit of a resource in a zone costs whoever takes it, in the unit of the costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    /// `zones * resources`, a zone's resources together.
    pub units: Vec<f64>,
    /// What a move costs beside its own cost, where moves are bounded.
    pub moving: f64,
}

/// A whole assignment.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The zone of each user, or [`NOWHERE`] for one that is refused.
    pub zones: Vec<u8>,
    /// The prices it was found by; the next one starts from them, and proxies place new sessions
    /// by them.
    pub prices: Prices,
    /// The cost of all users, refusals included.
    pub cost: f64,
    /// No assignment costs less, not even one that splits users over zones.
    pub bound: f64,
    /// Users that are refused.
    pub refused: u64,
    /// Users that move. Over the bound on moves only where capacity leaves no other way.
    pub moves: u64,
}

impl Assignment {
    /// How far it may be from the best, as a share of the bound.
    #[must_use]
    pub fn gap(&self) -> f64 {
        let excess = self.cost - self.bound;
        if excess <= 0.0 { 0.0 } else { excess / self.bound.abs().max(f64::MIN_POSITIVE) }
    }
}

/// Why an instance cannot be assigned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidInstance {
    /// A slice has not the length that the others ask for.
    #[error("{what}: {have} values, {want} are needed")]
    Length {
        /// Which.
        what: &'static str,
        /// Its length.
        have: usize,
        /// What it should be.
        want: usize,
    },
    /// A value is none that this can be.
    #[error("{what}[{at}] is {value}")]
    Value {
        /// Which slice.
        what: &'static str,
        /// Where in it.
        at: usize,
        /// What is there.
        value: f64,
    },
    /// More zones or resources than are solved for, or none.
    #[error("{zones} zones and {resources} resources; 1 to 254 and 1 to 8 are possible")]
    Size {
        /// Zones.
        zones: usize,
        /// Resources.
        resources: usize,
    },
}

/// Assigns. `start` is the prices of an assignment of much the same users, from which the next is
/// reached sooner. The same arguments give the same assignment.
///
/// # Errors
/// [`InvalidInstance`] names the first value that makes no sense.
pub fn assign(
    instance: &Instance<'_>,
    start: Option<&Prices>,
    seed: u64,
) -> Result<Assignment, InvalidInstance> {
    let problem = Problem::new(instance)?;
    let (prices, bound) = climb::climb(&problem, start, seed);
    let mut zones = problem.cheapest(&prices);
    repair::repair(&problem, &prices, &mut zones);
    let count = |holds: &dyn Fn((usize, u8)) -> bool| {
        zones.iter().copied().enumerate().filter(|pair| holds(*pair)).count() as u64
    };
    Ok(Assignment {
        cost: problem.cost(&zones),
        refused: count(&|(_, zone)| zone == NOWHERE),
        moves: count(&|(user, zone)| problem.is_move(user, zone)),
        prices: problem.told(&prices),
        bound,
        zones,
    })
}
