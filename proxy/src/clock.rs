//! The one clock of the process: Unix milliseconds that never step back. Everything that decides
//! takes the time as an argument; only shells ask here, so tests of decisions need no sleeping.

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Unix time at one instant; later readings count from there on the monotonic clock, so a stepped
/// wall clock cannot make a lease or an idle gap negative.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor: Instant,
    anchor_us: u64,
}

impl Clock {
    /// The process's clock, anchored at its first use.
    #[must_use]
    pub fn process() -> Self {
        static CLOCK: OnceLock<Clock> = OnceLock::new();
        *CLOCK.get_or_init(Self::anchored_now)
    }

    fn anchored_now() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { anchor: Instant::now(), anchor_us: since_epoch.as_micros() as u64 }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_us() / 1_000
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.anchor_us + self.anchor.elapsed().as_micros() as u64
    }
}
