//! When a session's next request is likely to come: a histogram of its gaps, small enough to sit
//! in every resident session, and the question a handoff asks of it: may I cut here? Not a mean
//! and a deviation, because gaps between a person's clicks have neither worth the name.

/// Buckets of the histogram.
const BUCKETS: usize = 16;
/// Upper edge of the first bucket; each further edge is twice the one before, the last is open.
const FIRST_EDGE_MS: u64 = 250;
/// How much one observed gap outweighs the prior weight of each bucket. The prior as a whole is
/// worth one gap, so a session seen twice is already judged by its own habits.
const OBSERVED: u32 = BUCKETS as u32;
/// Largest chance that a request comes into the pause.
const RISK_MAX: f64 = 0.01;

/// The gaps between a session's requests: sixteen buckets, doubling from 250 ms to over two hours.
///
/// When a counter is full all are halved, so old habits fade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdleGaps {
    counts: [u8; BUCKETS],
}

impl IdleGaps {
    /// Takes in one gap between the end of a request and the start of the next, in milliseconds.
    pub fn record(&mut self, gap_ms: u64) {
        let bucket = bucket_of(gap_ms);
        if self.counts[bucket] == u8::MAX {
            for count in &mut self.counts {
                *count /= 2;
            }
        }
        self.counts[bucket] += 1;
    }

    /// Whether a pause of `pause_ms` that starts `since_last_ms` after the last request is likely
    /// (99 %) to be over before the next: `1 - S(x + b) / S(x) <= 1 %`, with `S` the share of gaps
    /// longer than that.
    #[must_use]
    pub fn may_cut(&self, since_last_ms: u64, pause_ms: u64) -> bool {
        let idle = self.survival(since_last_ms);
        let through = self.survival(since_last_ms.saturating_add(pause_ms));
        through >= idle * (1.0 - RISK_MAX)
    }

    /// The weight of gaps longer than `ms`; within a bucket gaps are taken as evenly spread.
    fn survival(&self, ms: u64) -> f64 {
        let here = bucket_of(ms);
        let beyond: u32 = (here + 1..BUCKETS).map(|bucket| self.weight(bucket)).sum();
        let (from, to) = edges(here);
        // Beyond the last edge the tail is taken to reach as far again as the bucket is wide,
        // and never to end: whoever was silent for hours may be cut.
        let left = (to.saturating_sub(ms) as f64 / (to - from) as f64).max(1e-6);
        f64::from(beyond) + f64::from(self.weight(here)) * left
    }

    fn weight(&self, bucket: usize) -> u32 {
        1 + OBSERVED * u32::from(self.counts[bucket])
    }
}

fn bucket_of(ms: u64) -> usize {
    let doublings = (ms / FIRST_EDGE_MS).checked_ilog2().map_or(0, |log| log as usize + 1);
    doublings.min(BUCKETS - 1)
}

/// The bucket's lower and upper edge in milliseconds.
fn edges(bucket: usize) -> (u64, u64) {
    match bucket {
        0 => (0, FIRST_EDGE_MS),
        _ => (FIRST_EDGE_MS << (bucket - 1), FIRST_EDGE_MS << bucket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_double_from_a_quarter_second_to_hours() {
        assert_eq!([0, 249, 250, 499, 500, 1_000].map(bucket_of), [0, 0, 1, 1, 2, 3]);
        assert_eq!([4_095_999, 4_096_000, u64::MAX].map(bucket_of), [14, 15, 15]);
        assert!((0..BUCKETS - 1).all(|b| edges(b).1 == edges(b + 1).0));
    }

    #[test]
    fn a_steady_clicker_is_cut_after_its_click_and_not_before_the_next() {
        let mut gaps = IdleGaps::default();
        for _ in 0..50 {
            gaps.record(3_000);
        }
        assert!(gaps.may_cut(0, 20), "just after a request");
        assert!(gaps.may_cut(1_000, 20));
        assert!(!gaps.may_cut(3_900, 20), "the next is due");
    }

    #[test]
    fn a_busy_poller_is_never_cut_by_chance() {
        let mut gaps = IdleGaps::default();
        for _ in 0..200 {
            gaps.record(50);
        }
        assert!((0..250).step_by(10).all(|since| !gaps.may_cut(since, 10)));
        assert!(gaps.may_cut(30_000, 10), "it has stopped polling");
    }

    #[test]
    fn a_stranger_may_be_cut_and_so_may_the_long_silent() {
        assert!(IdleGaps::default().may_cut(500, 5));
        assert!(IdleGaps::default().may_cut(u64::MAX, u64::MAX));
    }

    #[test]
    fn a_full_counter_halves_all() {
        let mut gaps = IdleGaps::default();
        gaps.record(1_000);
        gaps.record(1_000);
        for _ in 0..=u8::MAX {
            gaps.record(0);
        }
        assert_eq!((gaps.counts[0], gaps.counts[3]), (128, 1));
    }
}
