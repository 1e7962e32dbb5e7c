//! The last outcomes of directives, for operators who ask; and how far each zone's drain is.

use std::collections::{BTreeMap, VecDeque};

use homing_wire::ZoneId;
use parking_lot::Mutex;

use crate::handoff::Ended;

/// Outcomes remembered.
const REMEMBERED: usize = 1_000;

/// What the admin listener tells of work done and under way.
#[derive(Debug, Default)]
pub struct Outcomes {
    last: Mutex<VecDeque<Ended>>,
    drains: Mutex<BTreeMap<ZoneId, DrainProgress>>,
}

/// How far the draining of one zone is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainProgress {
    /// When it was asked for, milliseconds since the Unix epoch.
    pub asked_ms: u64,
    /// Sessions that lived in the zone, as far as known.
    pub total: u64,
    /// Handed over.
    pub moved: u64,
    /// Still there.
    pub remaining: u64,
    /// Of those, being handed over now.
    pub under_way: u64,
    /// Of those, could not be handed over and are tried again later.
    pub stuck: u64,
    /// Milliseconds it will take at the present pace; `None` while that is unknown.
    pub eta_ms: Option<u64>,
    /// Buckets the zone still owns.
    pub buckets: u32,
    /// Whether nothing lives there and nothing new will.
    pub done: bool,
}

impl Outcomes {
    /// A directive ended.
    pub fn add(&self, ended: Ended) {
        let mut last = self.last.lock();
        if last.len() >= REMEMBERED {
            last.pop_front();
        }
        last.push_back(ended);
    }

    /// The last ones, the latest first, at most `max`.
    #[must_use]
    pub fn last(&self, max: usize) -> Vec<Ended> {
        self.last.lock().iter().rev().take(max).cloned().collect()
    }

    /// What is known of a zone's drain; `None` if none was asked for.
    #[must_use]
    pub fn drain(&self, zone: ZoneId) -> Option<DrainProgress> {
        self.drains.lock().get(&zone).copied()
    }

    /// A drain has got on, or was called off.
    pub fn set_drain(&self, zone: ZoneId, progress: Option<DrainProgress>) {
        let mut drains = self.drains.lock();
        match progress {
            Some(progress) => drains.insert(zone, progress),
            None => drains.remove(&zone),
        };
    }
}
