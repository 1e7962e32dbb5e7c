//! Carrying directives out. The table says what is to be done and keeps saying it; this looks at
//! the table whenever it changed and starts what is not under way, so no order can be lost.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use dashmap::DashSet;
use homing_wire::{
    Activated, Directive, DirectiveId, Heir, Incarnation, OutcomeEnd, SessionKey, UndoneReason,
    ZoneId, table::Home,
};
use tokio::{sync::mpsc, task::JoinSet};

use crate::live::LiveTable;

mod driver;
pub mod governor;
pub mod incoming;
pub mod link;
pub mod listener;
pub mod orders;
mod outgoing;
mod release;
mod run;
mod sites;
mod talk;

pub use driver::{Driver, Fleet};
pub use release::Releases;
pub use sites::{Found, Stores};

/// How often directives that had to wait (a busy pair of zones or session) are looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What became of sessions, for whoever has authority over them: the local authority, or control.
#[derive(Clone, Debug)]
pub enum Report {
    /// A directive ended.
    Ended(Ended),
    /// A session was homed here without a directive.
    Residence {
        /// The session.
        key: SessionKey,
        /// Its home.
        home: Home,
    },
    /// This gate's word as a target: it owns the session.
    Activated(Activated),
    /// This gate's word as a target: it never will, by this directive.
    Fenced {
        /// The directive.
        directive: DirectiveId,
        /// The life that promises it.
        incarnation: Incarnation,
    },
    /// This gate's life is to end; see [`homing_wire::FromProxy::Leave`].
    Leave {
        /// Whether it has ended.
        done: bool,
    },
    /// A session of this gate has a replica in another zone.
    Heir(Heir),
    /// A handoff from this gate does not get on.
    Stalled {
        /// The directive.
        directive: DirectiveId,
        /// The session.
        key: SessionKey,
        /// Why.
        why: UndoneReason,
        /// The fault in words.
        detail: String,
    },
}

/// How a directive ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The directive.
    pub directive: Directive,
    /// How.
    pub end: OutcomeEnd,
    /// Where the session lives now, if the handoff changed that or its epoch.
    pub home: Option<Home>,
    /// When, milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// Sessions that something is being done to, so that no two handoffs and no late release of one
/// session ever overlap.
#[derive(Debug, Default)]
pub struct Busy(DashSet<SessionKey>);

/// Keeps a session to oneself until dropped.
#[derive(Debug)]
pub struct Reserved {
    busy: Arc<Busy>,
    key: SessionKey,
}

impl Busy {
    /// Reserves a session; `None` if someone has it.
    #[must_use]
    pub fn reserve(self: &Arc<Self>, key: SessionKey) -> Option<Reserved> {
        self.0.insert(key).then(|| Reserved { busy: Arc::clone(self), key })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.busy.0.remove(&self.key);
    }
}

/// Starts handoffs and counts them.
pub struct Dispatcher {
    live: Arc<LiveTable>,
    driver: Arc<Driver>,
    reports: mpsc::Sender<Report>,
    busy: Arc<Busy>,
    under_way: Arc<AtomicU64>,
    /// Directives of the table that were started here, until they leave the table.
    started: BTreeMap<DirectiveId, ()>,
    pairs: HashMap<(ZoneId, ZoneId), u16>,
}

impl Dispatcher {
    /// Nothing is started before [`Dispatcher::run`].
    #[must_use]
    pub fn new(
        live: Arc<LiveTable>,
        driver: Arc<Driver>,
        reports: mpsc::Sender<Report>,
        busy: Arc<Busy>,
        under_way: Arc<AtomicU64>,
    ) -> Self {
        let (started, pairs) = (BTreeMap::new(), HashMap::new());
        Self { live, driver, reports, busy, under_way, started, pairs }
    }

    /// Runs until dropped. Dropping it drops the handoffs under way: every one of them is either
    /// granted and in the activation log, or goes on at home.
    pub async fn run(mut self) {
        let mut published = self.live.watch();
        let mut handoffs = JoinSet::new();
        loop {
            let waiting = self.start_due(&mut handoffs);
            tokio::select! {
                changed = published.changed() => if changed.is_err() { return },
                Some(done) = handoffs.join_next() => match done {
                    Ok(pair) => self.ended(pair),
                    Err(error) => tracing::error!(%error, "a handoff task failed"),
                },
                () = tokio::time::sleep(LOOK_AGAIN), if waiting => {}
            }
        }
    }

    /// Starts every directive that is due; whether some had to wait.
    fn start_due(&mut self, handoffs: &mut JoinSet<(ZoneId, ZoneId)>) -> bool {
        let live = self.live.load_full();
        let directives = live.table.directives();
        self.started.retain(|id, ()| directives.contains_key(id));
        let pair_max = live.table.facts().policy.moves.concurrent_per_pair.max(1);
        let mut waiting = false;
        for (id, directive) in directives {
            if self.started.contains_key(id) || !self.driver.is_ours(&live, directive) {
                continue;
            }
            let pair = (directive.from, directive.to);
            let under_way = self.pairs.entry(pair).or_default();
            if *under_way >= pair_max {
                waiting = true;
                continue;
            }
            let Some(reserved) = self.busy.reserve(directive.key) else {
                waiting = true;
                continue;
            };
            *under_way += 1;
            self.started.insert(*id, ());
            self.under_way.fetch_add(1, Relaxed);
            let (driver, reports) = (Arc::clone(&self.driver), self.reports.clone());
            let directive = directive.clone();
            handoffs.spawn(async move {
                driver.drive(directive, &reports).await;
                drop(reserved);
                pair
            });
        }
        waiting
    }

    fn ended(&mut self, pair: (ZoneId, ZoneId)) {
        self.under_way.fetch_sub(1, Relaxed);
        if let Some(under_way) = self.pairs.get_mut(&pair) {
            *under_way = under_way.saturating_sub(1);
        }
    }
}
