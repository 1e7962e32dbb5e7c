//! The virtual clock, its queue of what is to happen, and the only source of chance. Two events at
//! one instant happen in the order they were planned, so a seed is a run.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

/// A seeded source of chance (SplitMix64: small, fast, the same on every machine for ever).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice that fall as `seed` says.
    #[must_use]
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from `from` to `to`, both included.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    /// An index below `count`.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        self.between(0, count as u64 - 1) as usize
    }

    /// True `per_mille` times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.next() % 1_000 < per_mille
    }
}

/// What is to happen, and when.
#[derive(Clone, Debug)]
pub(crate) struct Clock<E> {
    now_ms: u64,
    planned: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, E>,
}

impl<E> Clock<E> {
    /// A clock at zero with nothing planned.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self { now_ms: 0, planned: 0, queue: BinaryHeap::new(), events: BTreeMap::new() }
    }

    /// The time.
    #[must_use]
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Plans an event; one in the past happens next.
    pub(crate) fn at(&mut self, at_ms: u64, event: E) {
        self.queue.push(Reverse((at_ms.max(self.now_ms), self.planned)));
        self.events.insert(self.planned, event);
        self.planned += 1;
    }

    /// Goes on to the next event.
    pub(crate) fn next(&mut self) -> Option<E> {
        let Reverse((at_ms, number)) = self.queue.pop()?;
        self.now_ms = at_ms;
        self.events.remove(&number)
    }
}

impl<E> Default for Clock<E> {
    fn default() -> Self {
        Self::new()
    }
}
