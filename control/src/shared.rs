//! What the API and the links read while the lead works: each part behind its own short lock, so
//! that no reader waits for a round or for the disk.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::AcqRel},
    },
};

use homing_plan::{Feedback, Plan};
use homing_wire::{Facts, document::Document};
use parking_lot::RwLock;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::{
    foresight::Foresight,
    journal::{DocumentRow, Journal},
    link::Roll,
    metrics::Metrics,
    publish::Published,
    scaling::{ScaleSettings, Scaling, expected::Expected},
};

/// What is shared between the lead, the API and the links.
#[derive(Debug)]
pub struct Shared {
    /// The table in force and the way there.
    pub published: Published,
    /// The proxies that are attached.
    pub roll: Roll,
    /// The journal; only the lead writes.
    pub journal: Arc<Journal>,
    /// Counters.
    pub metrics: Metrics,
    /// The document in force.
    pub document: RwLock<Option<Arc<DocumentVersion>>>,
    /// The newest plan and the facts it was made under.
    pub plan: RwLock<Option<Arc<PlanMade>>>,
    /// How full each zone is, by zone index, as of the last round.
    pub zones: RwLock<Arc<Vec<ZoneFigures>>>,
    /// What moves brought.
    pub lessons: RwLock<Arc<Lessons>>,
    /// What is foreseen.
    pub foresight: RwLock<Arc<Foresight>>,
    /// How each zone and service stands that is scaled, in the order of the settings.
    pub scaling: RwLock<Vec<Scaling>>,
    /// What is scaled by which rule, in the same order.
    pub scaled: Vec<ScaleSettings>,
    /// Events that operators expect.
    pub expected: Expected,
    /// Whether the lead has been told of answers that it has not looked at yet: a thousand proxies
    /// answer one table, and one look is enough for all that came before it.
    pub acks_told: AtomicBool,
    /// Proxies that are brought up to date by work of their own, a merged delta or a whole table,
    /// at one time; the others wait in line, and get what is newest by then.
    pub admission: Arc<Semaphore>,
    /// The term this process leads in.
    pub term: u64,
    /// When it started, milliseconds since the Unix epoch.
    pub started_ms: u64,
}

/// Proxies of [`Shared::admission`]. Each holds a few messages of a table in memory.
pub const ADMITTED_MAX: usize = 64;

impl Shared {
    /// Whether the lead must be told of an answer; false if it is to look already.
    pub fn tells_of_ack(&self) -> bool {
        !self.acks_told.swap(true, AcqRel)
    }

    /// The lead is about to look.
    pub fn looks_at_acks(&self) {
        self.acks_told.swap(false, AcqRel);
    }
}

/// One version of the document.
#[derive(Clone, Debug)]
pub struct DocumentVersion {
    /// As it is stored.
    pub row: DocumentRow,
    /// As it was read.
    pub document: Document,
    /// Its entity tag, quotes included.
    pub etag: String,
}

impl DocumentVersion {
    /// Tags a stored document.
    #[must_use]
    pub fn new(row: DocumentRow, document: Document) -> Self {
        let hash = blake3::hash(row.yaml.as_bytes()).to_hex();
        let etag = format!("\"{}-{}\"", row.seq, &hash[..12]);
        Self { row, document, etag }
    }
}

/// A plan with the names its ids stood for.
#[derive(Clone, Debug)]
pub struct PlanMade {
    /// The plan.
    pub plan: Plan,
    /// The facts of its parent table.
    pub facts: Arc<Facts>,
}

/// What moves brought, and how many could be compared with what was expected of them.
#[derive(Clone, Debug, Default)]
pub struct Lessons {
    /// What was learnt.
    pub feedback: Arc<Feedback>,
    /// Moves that are being compared.
    pub watched: usize,
    /// Moves that were, since the start.
    pub compared: u64,
    /// Moves that could not be, since the start, by the reason.
    pub uncompared: BTreeMap<&'static str, u64>,
}

impl Lessons {
    /// What earlier lives learnt.
    #[must_use]
    pub fn of(feedback: Feedback) -> Self {
        Self { feedback: Arc::new(feedback), ..Self::default() }
    }
}

/// How full one zone is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ZoneFigures {
    /// Sessions that control knows to live there.
    pub living: u64,
    /// Sessions that proxies say live there.
    pub reported: u64,
    /// Sessions that open directives bring there.
    pub inbound: u64,
    /// Sessions that open directives take away.
    pub outbound: u64,
    /// Sessions that plans sent away within the last seconds.
    pub left: u64,
    /// Requests a second, from the last samples.
    pub requests_per_second: u64,
    /// Failures of the zone a second, from the last samples.
    pub errors_per_second: u64,
    /// Median time to the response head, microseconds.
    pub p50_us: u32,
    /// 99th percentile of it.
    pub p99_us: u32,
}

/// The facts a document states.
#[must_use]
pub fn facts_of(document: &Document) -> Facts {
    Facts {
        zones: document.zones.clone(),
        services: document.services.clone(),
        places: document.places.clone(),
        policy: document.policy.clone(),
    }
}
