//! The latency of one session on both sides of its move: medians of its last records, where there
//! are enough of them.

use homing_wire::{Epoch, SessionActivity};

use super::{Expected, Measured};

/// Records on each side at most.
const RECORDS: usize = 8;
/// Records on each side at least. A record is what the session did in a second or so.
const RECORDS_MIN: usize = 4;
/// How long a session is watched after its move, milliseconds; a silence as long before it leaves
/// nothing to compare with.
pub const WATCH_MS: u64 = 600_000;

/// The mean latencies of a session's last records where it lives now, 20 bytes in its profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Felt {
    /// Logarithms; 0 for none.
    recent: [u16; RECORDS],
    next: u8,
}

/// Steps of a logarithm to the base 2: a 2,000th of it, which is 0.03 %.
const STEPS: f64 = 2_000.0;

impl Felt {
    /// Takes the latency of a record's requests in; nothing if it has none.
    pub fn take(&mut self, activity: &SessionActivity) {
        if activity.requests == 0 || activity.latency_us_sum == 0 {
            return;
        }
        let mean_us = activity.latency_us_sum as f64 / f64::from(activity.requests);
        let log = (1.0 + mean_us).log2() * STEPS;
        self.recent[usize::from(self.next)] = log.clamp(1.0, f64::from(u16::MAX)) as u16;
        self.next = (self.next + 1) % RECORDS as u8;
    }

    /// Forgets them: the session lives elsewhere, or was silent for long.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// The median, microseconds; `None` before there are enough records.
    #[must_use]
    pub fn median_us(&self) -> Option<f64> {
        let mut seen: Vec<u16> = self.recent.into_iter().filter(|log| *log > 0).collect();
        if seen.len() < RECORDS_MIN {
            return None;
        }
        seen.sort_unstable();
        let (low, high) = (seen[(seen.len() - 1) / 2], seen[seen.len() / 2]);
        Some(((f64::from(low) + f64::from(high)) / 2.0 / STEPS).exp2() - 1.0)
    }

    fn is_full(&self) -> bool {
        self.recent.iter().all(|log| *log > 0)
    }
}

/// Why a move teaches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Uncompared {
    /// Too few requests were seen before it.
    FewBefore,
    /// Too few requests were seen after it.
    FewAfter,
    /// More sessions were watched than there is room for.
    Crowded,
    /// Only one of the two zones has a gate of its own, so their latencies are measured apart.
    Unlike,
}

impl Uncompared {
    /// The word for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FewBefore => "few_before",
            Self::FewAfter => "few_after",
            Self::Crowded => "crowded",
            Self::Unlike => "unlike",
        }
    }
}

/// A session that has moved and is watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    expected: Expected,
    before_us: f64,
    epoch: Epoch,
    since_ms: u64,
    /// Whether the first record after the move has come: requests that were held, and caches that
    /// were cold, are in it.
    settled: bool,
    after: Felt,
}

impl Watch {
    /// Begins when a move is complete: at which epoch, and what was felt before.
    ///
    /// # Errors
    /// Too little was felt.
    pub fn new(
        expected: Expected,
        before: &Felt,
        epoch: Epoch,
        now_ms: u64,
    ) -> Result<Self, Uncompared> {
        let before_us = before.median_us().ok_or(Uncompared::FewBefore)?;
        let after = Felt::default();
        Ok(Self { expected, before_us, epoch, since_ms: now_ms, settled: false, after })
    }

    /// What was expected.
    #[must_use]
    pub fn expected(&self) -> &Expected {
        &self.expected
    }

    /// Takes a record of the session in; true when enough was seen.
    pub fn take(&mut self, activity: &SessionActivity) -> bool {
        let is_there = activity.zone == self.expected.to && activity.epoch >= self.epoch;
        if is_there && activity.requests > 0 {
            match self.settled {
                true => self.after.take(activity),
                false => self.settled = true,
            }
        }
        self.after.is_full()
    }

    /// Whether it has lasted long enough.
    #[must_use]
    pub fn is_over(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.since_ms) >= WATCH_MS
    }

    /// What was measured by now.
    ///
    /// # Errors
    /// Too little was felt after the move.
    pub fn measured(&self) -> Result<Measured, Uncompared> {
        let after_us = self.after.median_us().ok_or(Uncompared::FewAfter)?;
        Ok(Measured { before_us: self.before_us, after_us })
    }
}
