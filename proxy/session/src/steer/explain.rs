//! The same choice with its reasons, for `/why`: every zone with every term, whatever the choice
//! needed to look at.

use homing_wire::{ZoneId, table::Home};

use super::{Choice, Excluded, Standing, Subject, Unavailable, ZoneTerms, ZoneView, cost, steer};
use crate::placement::{Placed, Placement};

/// A choice and everything it was, or would have been, made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// What [`steer`] answers.
    pub choice: Result<Choice, Unavailable>,
    /// Where the table has the session; `None` if it has no key.
    pub placed: Option<Placed>,
    /// What a gate has said, and whether it counted.
    pub hint: Option<(Home, bool)>,
    /// The session's affinity with its home.
    pub affinity: u16,
    /// The policy's threshold.
    pub affinity_threshold: u16,
    /// Every zone: what it would cost a new session, and what stands against it.
    pub zones: Vec<(ZoneTerms, Option<Excluded>)>,
}

/// Chooses as [`steer`] does and tells why. Allocates; not for the hot path.
#[must_use]
pub fn steer_explained(
    placement: &Placement,
    view: &ZoneView,
    hint: Option<Home>,
    subject: &Subject,
    seed: u64,
) -> Explained {
    let placed = match subject.standing {
        Standing::New => None,
        Standing::Fresh(key) | Standing::Settled(key) => Some(placement.home(key)),
    };
    let counts = |hint: Home| placed.is_some_and(|placed| hint.epoch > placed.home.epoch);
    let zone = |index: usize| {
        let zone = ZoneId(index as u8);
        let excluded = Excluded::from(view.standing(zone, subject.service));
        (cost::terms(view, zone, subject, seed), excluded)
    };
    Explained {
        choice: steer(placement, view, hint, subject, seed),
        placed,
        hint: hint.map(|hint| (hint, counts(hint))),
        affinity: subject.affinity,
        affinity_threshold: view.affinity_threshold,
        zones: (0..view.zones.len()).map(zone).collect(),
    }
}
