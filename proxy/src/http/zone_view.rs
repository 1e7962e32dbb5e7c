//! The edge's view of the zones, kept fresh: endpoint health at once, load about once a second.
//! A swapped value and not a lock, because every request reads it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use homing_session::{drag::Drags, steer::ZoneView};
use homing_wire::{Facts, ServiceId, ZoneId};
use parking_lot::Mutex;

use super::facts::FactsCell;
use crate::{endpoints::EndpointPool, gates::Gates, live::LiveTable, telemetry::Recorder};

/// How old the zones' loads may be.
const REFRESH: Duration = Duration::from_secs(1);

/// The view in force.
#[derive(Debug)]
pub struct ZoneViews {
    view: ArcSwap<ZoneView>,
    /// What the view in force is a view of.
    of: ArcSwapOption<Facts>,
    live: Arc<LiveTable>,
    gates: Arc<Gates>,
    facts: Arc<FactsCell>,
    pool: Arc<EndpointPool>,
    recorder: Arc<Recorder>,
    drags: Mutex<Drags>,
    began: Instant,
}

impl ZoneViews {
    /// A first view by what is known now.
    #[must_use]
    pub fn new(
        live: Arc<LiveTable>,
        gates: Arc<Gates>,
        facts: Arc<FactsCell>,
        pool: Arc<EndpointPool>,
        recorder: Arc<Recorder>,
    ) -> Self {
        let (view, of) = (ArcSwap::default(), ArcSwapOption::empty());
        let (drags, began) = (Mutex::default(), Instant::now());
        let views = Self { view, of, live, gates, facts, pool, recorder, drags, began };
        views.refresh();
        views
    }

    /// The view in force. Cheap; do not keep the guard over an `await`.
    pub fn load(&self) -> Guard<Arc<ZoneView>> {
        self.view.load()
    }

    /// The view in force, to keep.
    #[must_use]
    pub fn load_full(&self) -> Arc<ZoneView> {
        self.view.load_full()
    }

    /// Puts a view of the present in force.
    pub fn refresh(&self) {
        let live = self.live.load_full();
        let facts = self.facts.of(live.table.facts());
        let mut view = facts.view(|zone| self.gates.counts(zone).homes);
        view.drags = self.drags(&facts.facts);
        self.view.store(Arc::new(view));
        self.of.store(Some(Arc::clone(live.table.facts())));
    }

    /// The drags of all zones, with what was answered since the last view.
    fn drags(&self, facts: &Facts) -> Vec<Box<[u32]>> {
        let now_ms = self.began.elapsed().as_millis() as u64;
        let mut drags = self.drags.lock();
        self.recorder.take_drags(|service, zone, told| drags.take(service, zone, told, now_ms));
        let of = |service: usize| {
            let zones = 0..facts.zones.len();
            let service = ServiceId(service as u16);
            zones.map(|zone| drags.drag_us(service, ZoneId(zone as u8), now_ms)).collect()
        };
        (0..facts.services.len()).map(of).collect()
    }

    /// Whether the view in force is one of the table in force: for moments after a table came it
    /// is not, and then shows zones as they were before.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let live = self.live.load();
        self.of.load().as_ref().is_some_and(|of| Arc::ptr_eq(of, live.table.facts()))
    }

    /// Keeps the view fresh for as long as it is polled.
    pub async fn keep(self: Arc<Self>) {
        let mut published = self.live.watch();
        loop {
            tokio::select! {
                () = tokio::time::sleep(REFRESH) => {}
                () = self.pool.changed() => {}
                table = published.changed() => if table.is_err() { return },
            }
            self.refresh();
        }
    }
}
