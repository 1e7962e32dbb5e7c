//! Token buckets, one for each API token: control is asked by people and scripts, and whoever asks
//! in a tight loop must not keep it from the others. Strangers share one.

use std::time::Instant;

use parking_lot::Mutex;

/// The buckets.
#[derive(Debug)]
pub struct Pace {
    strangers: Bucket,
    known: Vec<Bucket>,
}

impl Pace {
    /// Requests a second of each in the long run, twice as many at once; for so many tokens.
    #[must_use]
    pub fn new(per_second: u32, tokens: usize) -> Self {
        // Where there is no token, whoever comes over loopback is the one caller there is.
        let known = (0..tokens.max(1)).map(|_| Bucket::new(per_second)).collect();
        Self { strangers: Bucket::new(per_second), known }
    }

    /// Whether one more of a token's may pass now; `None` is somebody without a known one.
    pub fn admit(&self, token: Option<usize>) -> bool {
        token.and_then(|token| self.known.get(token)).unwrap_or(&self.strangers).admit()
    }
}

#[derive(Debug)]
struct Bucket {
    per_second: f64,
    burst: f64,
    left: Mutex<(f64, Instant)>,
}

impl Bucket {
    fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second.max(1));
        let burst = 2.0 * per_second;
        Self { per_second, burst, left: Mutex::new((burst, Instant::now())) }
    }

    fn admit(&self) -> bool {
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
