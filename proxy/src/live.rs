//! The table in force, compiled, behind one pointer. Everything a request needs of it is swapped
//! at once, so no request ever sees half of one table and half of another.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use homing_session::{placement::Placement, route::Routes};
use homing_wire::{
    Capacity, Intake, Policy, Price, SessionKey, Version, Zone,
    delta::Delta,
    table::{Facts, Home, PlacementTable, Sums, TableDraft},
};
use tokio::sync::watch;

/// A table and what is compiled from it.
#[derive(Debug)]
pub struct Live {
    /// The table itself.
    pub table: Arc<PlacementTable>,
    /// Who owns a session.
    pub placement: Placement,
    /// Which service a request belongs to.
    pub routes: Arc<Routes>,
}

impl Live {
    /// Compiles a whole table.
    #[must_use]
    pub fn compile(table: PlacementTable) -> Self {
        Self {
            placement: Placement::compile(&table),
            routes: Arc::new(Routes::compile(table.facts())),
            table: Arc::new(table),
        }
    }

    /// The table before there is one: control has never been reached. No service, one closed zone.
    #[must_use]
    pub fn void() -> Self {
        let zone = Zone {
            name: "none".to_owned(),
            location: None,
            endpoints: Vec::new(),
            capacity: Capacity::default(),
            price: Price::default(),
            intake: Intake::Closed,
            shadow_price_us: 0,
            gates: Vec::new(),
        };
        let (services, places) = (Vec::new(), Vec::new());
        let facts = Facts { zones: vec![zone], services, places, policy: Policy::default() };
        let draft = TableDraft::first(Version::default(), facts, 0);
        Self::compile(draft.seal().expect("one zone and nothing else has no faults"))
    }

    /// Whether this is the table before there is one.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.table.version() == Version::default()
    }

    /// What the table sums to, for control to find the parts that differ; `None` if control has
    /// given none yet.
    #[must_use]
    pub fn sums(&self) -> Option<Box<Sums>> {
        (!self.is_void()).then(|| Box::new(self.table.sums()))
    }

    /// The table after a delta, sharing with this one what the delta does not touch.
    #[must_use]
    pub fn after(&self, table: PlacementTable, delta: &Delta) -> Self {
        Self {
            placement: self.placement.with_delta(&table, delta),
            routes: match delta.facts {
                Some(_) => Arc::new(Routes::compile(table.facts())),
                None => Arc::clone(&self.routes),
            },
            table: Arc::new(table),
        }
    }

    /// Where the table says a session lives.
    #[must_use]
    pub fn home(&self, key: SessionKey) -> Home {
        self.placement.home(key).home
    }
}

/// The table in force. One task publishes; any number of readers load without waiting.
#[derive(Debug)]
pub struct LiveTable {
    live: ArcSwap<Live>,
    published: watch::Sender<()>,
}

impl LiveTable {
    /// Starts from a table.
    #[must_use]
    pub fn new(live: Live) -> Self {
        Self { live: ArcSwap::from_pointee(live), published: watch::Sender::new(()) }
    }

    /// The table in force. Cheap; do not keep the guard over an `await`.
    pub fn load(&self) -> Guard<Arc<Live>> {
        self.live.load()
    }

    /// The table in force, to keep.
    #[must_use]
    pub fn load_full(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Puts a table in force.
    pub fn publish(&self, live: Live) {
        self.live.store(Arc::new(live));
        self.published.send_replace(());
    }

    /// Wakes whenever a table was put in force. It says "look", never what changed.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<()> {
        self.published.subscribe()
    }
}
