//! What became of answers that were fetched ahead of a session: each carries a mark that the first
//! user who is given it takes off. A mark that is still on when the answer is thrown out, or after
//! a while, was effort wasted.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;

use crate::telemetry::prewarm::PrewarmCounts;

/// A user who comes later than this would have been the first anyway.
const OF_USE: Duration = Duration::from_secs(600);
/// Marks whose time is watched; beyond, the oldest wait until their answers are thrown out.
const WATCHED_MAX: usize = 65_536;

/// Marks answers.
#[derive(Debug)]
pub struct Marks {
    counts: Arc<PrewarmCounts>,
    watched: Mutex<VecDeque<(Instant, Weak<Mark>)>>,
}

/// An answer that was fetched ahead.
#[derive(Debug)]
pub(super) struct Mark {
    on: AtomicBool,
    used: Counter,
    wasted: Counter,
}

impl Marks {
    /// Marks that are counted here.
    #[must_use]
    pub fn new(counts: Arc<PrewarmCounts>) -> Self {
        Self { counts, watched: Mutex::default() }
    }

    /// A new one.
    pub(super) fn mark(&self) -> Arc<Mark> {
        let mark = Arc::new(Mark {
            on: AtomicBool::new(true),
            used: self.counts.used.clone(),
            wasted: self.counts.wasted.clone(),
        });
        let mut watched = self.watched.lock();
        if watched.len() >= WATCHED_MAX {
            watched.pop_front();
        }
        watched.push_back((Instant::now(), Arc::downgrade(&mark)));
        mark
    }

    /// Takes marks off that have been on too long.
    pub fn tire(&self, now: Instant) {
        let mut watched = self.watched.lock();
        while let Some((since, mark)) = watched.front() {
            if now.saturating_duration_since(*since) < OF_USE {
                return;
            }
            if let Some(mark) = mark.upgrade() {
                mark.waste();
            }
            watched.pop_front();
        }
    }
}

impl Mark {
    /// A user is given the answer; whether it is the first.
    pub(super) fn take_off(&self) -> bool {
        let first = self.on.swap(false, Relaxed);
        if first {
            self.used.inc();
        }
        first
    }

    fn waste(&self) {
        if self.on.swap(false, Relaxed) {
            self.wasted.inc();
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.waste();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_counted_once_however_it_ends() {
        let counts = Arc::<PrewarmCounts>::default();
        let marks = Marks::new(Arc::clone(&counts));
        let (used, old, thrown_out) = (marks.mark(), marks.mark(), marks.mark());
        assert!(used.take_off());
        assert!(!used.take_off());
        drop(thrown_out);
        assert_eq!((counts.used.get(), counts.wasted.get()), (1, 1));
        marks.tire(Instant::now() + OF_USE / 2);
        assert_eq!(counts.wasted.get(), 1);
        marks.tire(Instant::now() + OF_USE);
        assert_eq!(counts.wasted.get(), 2);
        assert!(!old.take_off());
        drop((used, old));
        assert_eq!((counts.used.get(), counts.wasted.get()), (1, 2));
    }
}
