//! Leaving: `/readyz` fails first so that whoever routes to us stops, then no new connections,
//! then whatever is under way may end, within bounds.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use tokio::sync::{Notify, watch};

use crate::config::DrainTimes;

/// What requests under way are given in any case.
const LAST: Duration = Duration::from_secs(1);

/// Whether and how far the process is leaving.
#[derive(Debug)]
pub struct Leaving {
    begun: AtomicBool,
    asked: Notify,
    /// Told to every listener: take no more.
    stop: watch::Sender<bool>,
    times: DrainTimes,
}

impl Leaving {
    /// Not leaving.
    #[must_use]
    pub fn new(times: DrainTimes) -> Self {
        let stop = watch::Sender::new(false);
        Self { begun: AtomicBool::new(false), asked: Notify::new(), stop, times }
    }

    /// Asks the process to leave gently. Repeating it changes nothing.
    pub fn ask(&self) {
        self.begun.store(true, Relaxed);
        self.asked.notify_one();
    }

    /// Waits until somebody has asked.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Whether the process is leaving.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun.load(Relaxed)
    }

    /// What listeners watch.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// How long what is under way may take.
    #[must_use]
    pub fn patience(&self) -> Duration {
        Duration::from_millis(self.times.patience_ms)
    }

    /// Not ready any more, and nothing else yet.
    pub fn begin(&self) {
        self.begun.store(true, Relaxed);
    }

    /// Takes no more connections at once; those open may end.
    pub fn stop(&self) {
        self.begun.store(true, Relaxed);
        self.stop.send_replace(true);
    }

    /// Leaves gently: returns when `idle` says that nothing is under way, or patience is over, of
    /// which some is `spent`.
    pub async fn leave(&self, idle: impl Future<Output = ()>, spent: Duration) {
        self.begun.store(true, Relaxed);
        tracing::info!(delay_ms = self.times.delay_ms, "draining: not ready any more");
        tokio::time::sleep(Duration::from_millis(self.times.delay_ms)).await;
        self.stop();
        let patience = self.patience().saturating_sub(spent).max(LAST);
        if tokio::time::timeout(patience, idle).await.is_err() {
            tracing::warn!("requests were still under way when patience ended");
        }
    }
}
