//! What happened in a replay: a sample per answered request, a text per failed one, and counts that
//! the progress line reads while it runs.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Texts of failures that are kept; the rest is counted.
const FAILURES_KEPT: usize = 20;

/// One answered request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Whose request it was.
    pub client: u32,
    /// Whether it was a page of the log, not of the notebook.
    pub page: bool,
    /// When it was due, microseconds after the start.
    pub due_us: u64,
    /// From then to the end of the answer.
    pub took_us: u64,
    /// The zone that executed it.
    pub zone: Option<u8>,
    /// How much longer the round trip was than to the zone nearest to the client, microseconds.
    pub detour_us: u64,
    /// Of `took_us`, before it was sent: its client had six under way, or a write before it.
    pub queued_us: u64,
    /// The round trip between its client's city and the zone, microseconds.
    pub way_us: u64,
    /// Of `took_us`, waiting for one of the zone's places.
    pub waited_us: u64,
    /// Of `took_us`, occupying one.
    pub worked_us: u64,
    /// Whether its client drifts to another city at some time.
    pub drifter: bool,
    /// Whether its client had drifted by then.
    pub drifted: bool,
}

impl Sample {
    /// What is left of the time after the client's own queue, the way, the wait and the work: it
    /// is Homing's and the machine's.
    #[must_use]
    pub fn rest_us(&self) -> u64 {
        let known = self.queued_us + self.way_us + self.waited_us + self.worked_us;
        self.took_us.saturating_sub(known)
    }
}

/// The account of one replay.
#[derive(Debug, Default)]
pub struct Tally {
    sent: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    samples: Mutex<Vec<Sample>>,
    failures: Mutex<Vec<String>>,
}

impl Tally {
    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, sample: Sample) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.samples.lock().push(sample);
    }

    pub(super) fn failed(&self, why: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = self.failures.lock();
        if failures.len() < FAILURES_KEPT {
            failures.push(why);
        }
    }

    /// Requests sent, answered rightly, failed.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (load(&self.sent), load(&self.answered), load(&self.failed))
    }

    /// The samples so far.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().clone()
    }

    /// Why requests failed, the first of them.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().clone()
    }
}

/// Percentiles of a set of times.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// How many there are.
    pub count: usize,
    /// Half are at most this, milliseconds.
    pub p50: f64,
    /// 99 of 100 are at most this, milliseconds.
    pub p99: f64,
    /// The longest, milliseconds.
    pub max: f64,
}

impl Spread {
    /// Of times in microseconds.
    #[must_use]
    pub fn of(times_us: impl IntoIterator<Item = u64>) -> Self {
        let mut times: Vec<u64> = times_us.into_iter().collect();
        times.sort_unstable();
        // Nearest rank: the smallest time that at least the share is not above.
        let rank = |share: f64| {
            let rank = (share * times.len() as f64).ceil() as usize;
            times.get(rank.max(1) - 1).map_or(0.0, |us| (*us as f64 / 10.0).round() / 100.0)
        };
        Self { count: times.len(), p50: rank(0.5), p99: rank(0.99), max: rank(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let spread = Spread::of((1..=100).map(|ms| ms * 1_000));
        assert_eq!((spread.p50, spread.p99, spread.max, spread.count), (50.0, 99.0, 100.0, 100));
        assert_eq!(Spread::of([]), Spread::default());
        let one = Spread::of([1_234]);
        assert_eq!((one.p50, one.p99, one.max), (1.23, 1.23, 1.23));
    }
}
