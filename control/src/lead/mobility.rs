//! What the lead knows of where clients go: learnt once a round, kept in the journal, and handed to
//! the planner as it is.

use std::sync::Arc;

use homing_plan::{Mobility, draw::Remap};

use super::Lead;
use crate::journal::Entry;

/// Rounds between two times that the counts are written.
const WRITE_EVERY: u64 = 300;

impl Lead {
    /// Learns what records told since the last round. The planner may still hold the counts of the
    /// last: they are copied then.
    pub(super) fn learn_mobility(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        if !seen.is_empty() {
            let mobility = Arc::make_mut(&mut self.mobility);
            seen.iter().for_each(|transition| mobility.learn(transition));
            self.mobility_unwritten = true;
        }
        if self.rounds.is_multiple_of(WRITE_EVERY) {
            self.write_mobility();
        }
    }

    /// Leaves the counts to the journal if they have changed.
    pub(super) fn write_mobility(&mut self) {
        if std::mem::take(&mut self.mobility_unwritten) {
            self.out.entries.push(Entry::Mobility(self.mobility.to_bytes()));
        }
    }

    /// Rewrites profiles and counts after a document changed the order of services or places.
    pub(super) fn remap(&mut self, remap: &Remap) {
        self.meter.remap(remap);
        if remap.is_identity() {
            return;
        }
        self.profiles.remap(remap);
        let to = |place: homing_wire::PlaceId| remap.places.get(place.index()).copied().flatten();
        self.mobility = Arc::new(Mobility::remapped(&self.mobility, to));
        self.mobility_unwritten = true;
        // Written at once: the places of the journal's table are others from now on.
        self.write_mobility();
        self.remap_lessons(to);
    }
}
