//! Paces state copies so that users do not feel them: a token bucket whose rate the pure
//! [`Pace`] sets four times a second from the users' 95th percentile here and at the targets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use homing_session::pace::{Pace, PaceLimits};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    live::LiveTable,
    seat::Seat,
    telemetry::{Recorder, recorder::ZoneReading},
};

/// How often the pace is set.
const STEP: Duration = Duration::from_millis(250);
/// A burst of at most this long at the present rate.
const BURST: Duration = Duration::from_millis(20);

/// The governor of one gate's copies.
#[derive(Debug)]
pub struct Governor {
    rate: AtomicU64,
    /// When the bytes let through so far will have been paid for.
    paid: Mutex<Instant>,
    copies: AtomicU32,
    /// The worst percentile that targets have told since the last step.
    there_us: AtomicU32,
    /// This gate's own, as of the last step, to be told to sources.
    here_us: AtomicU32,
}

/// A copy under way, for as long as it is kept.
#[derive(Debug)]
pub struct Copying(Arc<Governor>);

impl Default for Governor {
    fn default() -> Self {
        let rate = Pace::new(PaceLimits::default()).bytes_per_second();
        Self {
            rate: AtomicU64::new(rate),
            paid: Mutex::new(Instant::now()),
            copies: AtomicU32::new(0),
            there_us: AtomicU32::new(0),
            here_us: AtomicU32::new(0),
        }
    }
}

impl Governor {
    /// Waits until so many bytes may be sent.
    pub async fn pace(&self, bytes: usize) {
        let rate = self.rate.load(Relaxed).max(1);
        let cost = Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate);
        let due = {
            let now = Instant::now();
            let mut paid = self.paid.lock();
            let from = (*paid).max(now.checked_sub(BURST).unwrap_or(now));
            *paid = from + cost;
            from
        };
        tokio::time::sleep_until(due).await;
    }

    /// Says that a copy is under way.
    #[must_use]
    pub fn copying(self: &Arc<Self>) -> Copying {
        self.copies.fetch_add(1, Relaxed);
        Copying(Arc::clone(self))
    }

    /// A target has told how its users fare.
    pub fn heard(&self, p95_us: u32) {
        self.there_us.fetch_max(p95_us, Relaxed);
    }

    /// How this gate's users fare, microseconds; 0 if nobody was served of late.
    #[must_use]
    pub fn p95_us(&self) -> u32 {
        self.here_us.load(Relaxed)
    }

    /// Bytes a second at present.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        self.rate.load(Relaxed)
    }

    /// Sets the pace for as long as it is polled.
    pub async fn keep(self: Arc<Self>, live: Arc<LiveTable>, seat: Arc<Seat>, seen: Arc<Recorder>) {
        let mut pace = Pace::new(PaceLimits::default());
        let mut last = ZoneReading::default();
        let mut steps = tokio::time::interval(STEP);
        steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            steps.tick().await;
            let zone = seat.gate().and_then(|gate| gate.zone_in(live.load().table.facts()));
            let Some(now) = zone.and_then(|zone| seen.read(zone)) else { continue };
            let p95_us = now.since(&last).quantile_us(0.95);
            last = now;
            self.here_us.store(u32::try_from(p95_us).unwrap_or(u32::MAX), Relaxed);
            let there_us = self.there_us.swap(0, Relaxed);
            match self.copies.load(Relaxed) {
                0 if p95_us > 0 => pace.quiet(p95_us),
                0 => {}
                _ => pace.busy(p95_us, there_us.into()),
            }
            self.rate.store(pace.bytes_per_second(), Relaxed);
        }
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.0.copies.fetch_sub(1, Relaxed);
    }
}
