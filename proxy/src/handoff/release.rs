//! What the sources of completed handoffs still keep. It is let go only once a table on disk says
//! that the session lives elsewhere: until then it is the copy that a machine crash would need.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use homing_session::gate::{Event, Reaction};
use homing_wire::{ServiceId, SessionKey, Tier, table::Home};
use parking_lot::Mutex;

use super::{Busy, sites::Stores};
use crate::{clock::Clock, gates::Gates, live::Live, state::Site};

/// Releases that may wait. Beyond, the oldest is forgotten: its copy stays behind, fenced and
/// harmless, until its app's own expiry.
const PENDING_MAX: usize = 100_000;

/// How long the source of a replicated session keeps it: until its new owner has named another heir
/// it is the heir, and control counts on it for a little less than this.
const RETAIN: Duration = Duration::from_secs(60);

/// A copy that a source may let go.
#[derive(Clone, Debug)]
pub struct PendingRelease {
    /// The session.
    pub key: SessionKey,
    /// Where the copy is.
    pub site: Site,
    /// The session's service.
    pub service: ServiceId,
    /// Where the session lives now.
    pub to: Home,
    /// When it was handed over.
    pub since: Instant,
}

/// The copies that wait to be let go.
#[derive(Debug)]
pub struct Releases {
    pending: Mutex<VecDeque<PendingRelease>>,
    gates: Arc<Gates>,
    stores: Arc<Stores>,
    busy: Arc<Busy>,
}

impl Releases {
    /// Nothing waits.
    #[must_use]
    pub fn new(gates: Arc<Gates>, stores: Arc<Stores>, busy: Arc<Busy>) -> Self {
        Self { pending: Mutex::default(), gates, stores, busy }
    }

    /// A handoff has completed.
    pub fn add(&self, release: PendingRelease) {
        let mut pending = self.pending.lock();
        if pending.len() >= PENDING_MAX {
            pending.pop_front();
        }
        pending.push_back(release);
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.lock().len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.lock().is_empty()
    }

    /// Lets go of everything that a table on disk allows.
    pub async fn settle(&self, stored: &Live) {
        let waiting = std::mem::take(&mut *self.pending.lock());
        for release in waiting {
            let told = stored.home(release.key);
            let services = &stored.table.facts().services;
            let tier = services.get(release.service.index()).map_or(Tier::T0, |spec| spec.tier);
            let retained = tier != Tier::T0 && release.since.elapsed() < RETAIN;
            if told.epoch < release.to.epoch || retained {
                self.add(release);
                continue;
            }
            // Coming back here already: what is staged now must not be dropped as the old copy.
            let Some(_reserved) = self.busy.reserve(release.key) else {
                self.add(release);
                continue;
            };
            let event = Event::Release { to: release.to.zone, epoch: release.to.epoch };
            let now_ms = Clock::process().now_ms();
            let zone = release.site.zone;
            match self.gates.step(stored, zone, release.key, event, now_ms) {
                Ok(Reaction::Dropped) => self.drop_copy(stored, &release).await,
                _ => tracing::debug!(key = %release.key, zone = zone.0, "nothing to release"),
            }
        }
    }

    async fn drop_copy(&self, stored: &Live, release: &PendingRelease) {
        let services = &stored.table.facts().services;
        let service = services.get(release.service.index());
        let Some(store) = service.and_then(|service| self.stores.of(service)) else { return };
        if let Err(fault) = store.release(&release.site, release.key, release.to.epoch).await {
            tracing::warn!(key = %release.key, %fault, "a source's copy stays behind");
        }
    }
}
