//! A token bucket for the whole API: control is asked by people and scripts, and whoever asks in a
//! tight loop must not keep it from the others.

use std::time::Instant;

use parking_lot::Mutex;

/// The bucket.
#[derive(Debug)]
pub struct Pace {
    per_second: f64,
    burst: f64,
    left: Mutex<(f64, Instant)>,
}

impl Pace {
    /// Requests a second in the long run; twice as many at once.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second.max(1));
        let burst = 2.0 * per_second;
        Self { per_second, burst, left: Mutex::new((burst, Instant::now())) }
    }

    /// Whether one more may pass now.
    pub fn admit(&self) -> bool {
        let mut left = self.left.lock();
        let now = Instant::now();
        let gained = now.duration_since(left.1).as_secs_f64() * self.per_second;
        *left = ((left.0 + gained).min(self.burst), now);
        if left.0 < 1.0 {
            return false;
        }
        left.0 -= 1.0;
        true
    }
}
