//! How many requests may be tried again. A share of the traffic and not a number, so that retries
//! can never multiply the load of a zone that is failing because of load.

/// Thousandths of a retry.
const RETRY: u64 = 1_000;

/// A token bucket that requests fill and retries empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    milli: u64,
    milli_max: u64,
    /// Put in by every request.
    per_request_milli: u64,
    /// Put in by time, so that a quiet service may retry too.
    per_second_milli: u64,
    filled_ms: u64,
}

impl RetryBudget {
    /// Retries up to `percent` of the requests plus `per_second`, saved up for at most `burst`.
    /// Begins full.
    #[must_use]
    pub fn new(percent: u32, per_second: u32, burst: u32, now_ms: u64) -> Self {
        let milli_max = u64::from(burst) * RETRY;
        Self {
            milli: milli_max,
            milli_max,
            per_request_milli: u64::from(percent) * RETRY / 100,
            per_second_milli: u64::from(per_second) * RETRY,
            filled_ms: now_ms,
        }
    }

    /// Counts `count` first tries.
    pub fn on_requests(&mut self, count: u64) {
        let filled = count.saturating_mul(self.per_request_milli);
        self.milli = self.milli.saturating_add(filled).min(self.milli_max);
    }

    /// Takes one retry out, if there is one.
    #[must_use]
    pub fn take(&mut self, now_ms: u64) -> bool {
        let elapsed_ms = now_ms.saturating_sub(self.filled_ms);
        let filled = u128::from(elapsed_ms) * u128::from(self.per_second_milli) / 1_000;
        // Keeps the clock back until a thousandth is full, so that nothing is lost by rounding.
        if filled > 0 {
            self.milli = (u128::from(self.milli) + filled).min(self.milli_max.into()) as u64;
            self.filled_ms = now_ms;
        }
        let taken = self.milli >= RETRY;
        if taken {
            self.milli -= RETRY;
        }
        taken
    }
}
