//! Endpoints as the process knows them: one cell an address, shared by every table that names it,
//! so that a swap forgets no health. What health means and how retries are bounded is decided in
//! `homing_session::health`; here it is kept where all threads reach it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwapOption;
use dashmap::DashMap;
use homing_session::health::{EjectLimits, Fitness, Health, RetryBudget};
use homing_wire::{Endpoint, HealthCheck, UpstreamProtocol};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Clock;

pub mod checks;
mod sets;
#[cfg(test)]
mod tests;
mod trust;

pub use sets::EndpointSets;
pub use trust::EndpointTrust;

/// Retries in a zone: half its requests and a few a second more, so that they can never double the
/// load of a zone that fails because of load. The burst is what was under way to an endpoint at
/// the moment it died.
const RETRY_PERCENT: u32 = 50;
const RETRIES_PER_SECOND: u32 = 20;
const RETRIES_BURST: u32 = 2_000;

/// Names an upstream: one address spoken to in two ways is two upstreams.
type Name = (String, UpstreamProtocol);

/// Every upstream of the process.
#[derive(Debug, Default)]
pub struct EndpointPool {
    upstreams: DashMap<Name, Arc<Upstream>>,
    /// By the zone's name.
    retries: DashMap<String, Arc<Retries>>,
    changed: Arc<Notify>,
    trust: Arc<EndpointTrust>,
}

/// One upstream: its address, and how it has been doing.
#[derive(Debug)]
pub struct Upstream {
    /// The endpoint. Its weight may differ from set to set; the sets keep it.
    pub endpoint: Endpoint,
    /// Depends on the name alone, so that all proxies spread sessions alike.
    id: u64,
    address: ArcSwapOption<SocketAddr>,
    check: ArcSwapOption<HealthCheck>,
    /// A [`Fitness`] as of the last result, check or tick, for readers without the lock.
    fitness: AtomicU8,
    health: Mutex<Health>,
    in_flight: AtomicU32,
    changed: Arc<Notify>,
}

/// The budget of one zone's retries, whatever table is in force.
#[derive(Debug)]
struct Retries {
    /// First tries since the budget was last asked.
    requests: AtomicU64,
    budget: Mutex<RetryBudget>,
}

/// How a call to an upstream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// With an answer, of whatever status.
    Answered,
    /// By the upstream's doing, without one.
    Failed,
    /// By somebody else's doing: it says nothing of the upstream.
    Dropped,
}

impl EndpointPool {
    /// An empty pool, whose upstreams that speak TLS are believed by the authorities of a PEM file,
    /// or by the system's.
    #[must_use]
    pub fn trusting(pem: Option<&[u8]>) -> Self {
        let trust = pem.map(EndpointTrust::in_pem).unwrap_or_default();
        Self { trust: Arc::new(trust), ..Self::default() }
    }

    /// Whom upstreams that speak TLS are believed by.
    #[must_use]
    pub fn trust(&self) -> &Arc<EndpointTrust> {
        &self.trust
    }

    /// Waits until the health of an upstream changes.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Every upstream, for checks and for the admin page.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Upstream>> {
        self.upstreams.iter().map(|entry| Arc::clone(&entry)).collect()
    }

    /// Forgets upstreams and zones that no table in use names any more.
    pub fn retain_used(&self) {
        self.upstreams.retain(|_, upstream| Arc::strong_count(upstream) > 1);
        self.retries.retain(|_, retries| Arc::strong_count(retries) > 1);
    }

    /// The upstream of an endpoint, made if it is new.
    pub(crate) fn upstream(&self, endpoint: &Endpoint) -> Arc<Upstream> {
        let name = (endpoint.address.clone(), endpoint.protocol);
        let entry = self.upstreams.entry(name);
        Arc::clone(&entry.or_insert_with(|| {
            Arc::new(Upstream::new(endpoint.clone(), Arc::clone(&self.changed)))
        }))
    }

    fn retries(&self, zone: &str) -> Arc<Retries> {
        let entry = self.retries.entry(zone.to_owned());
        Arc::clone(&entry.or_insert_with(|| Arc::new(Retries::new())))
    }
}

impl Upstream {
    fn new(endpoint: Endpoint, changed: Arc<Notify>) -> Self {
        // A literal address is good at once; a name once it is resolved.
        let address = endpoint.address.parse().ok();
        let id = xxhash_rust::xxh3::xxh3_64(endpoint.address.as_bytes());
        Self {
            id,
            fitness: AtomicU8::new(address.map_or(Fitness::Down, |_| Fitness::Up) as u8),
            address: ArcSwapOption::from(address.map(Arc::new)),
            endpoint,
            check: ArcSwapOption::empty(),
            health: Mutex::default(),
            in_flight: AtomicU32::new(0),
            changed,
        }
    }

    /// Where it is; `None` until its name is resolved.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address.load().as_deref().copied()
    }

    /// The host part of its address, for SNI.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.endpoint.address.rsplit_once(':').map_or("", |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// What it is fit for. Down until its name is resolved.
    #[must_use]
    pub fn fitness(&self) -> Fitness {
        match self.fitness.load(Relaxed) {
            up if up == Fitness::Up as u8 => Fitness::Up,
            suspect if suspect == Fitness::Suspect as u8 => Fitness::Suspect,
            ejected if ejected == Fitness::Ejected as u8 => Fitness::Ejected,
            _ => Fitness::Down,
        }
    }

    /// Calls under way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// A call begins. [`EndpointSets::end`] ends it.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// Lets time pass, and takes in a name that was resolved.
    fn tick(&self, now_ms: u64) {
        self.note(now_ms, |_| {});
    }

    /// A check has ended.
    fn checked(&self, passed: bool, check: &HealthCheck, now_ms: u64) {
        self.note(now_ms, |health| {
            health.on_check(passed, check, now_ms);
        });
    }

    fn called(&self, ok: bool, may_eject: bool, now_ms: u64) {
        self.note(now_ms, |health| {
            health.on_request(ok, may_eject, &EjectLimits::default(), now_ms);
        });
    }

    /// Changes the health and, if that changes what it is fit for, tells whoever waits.
    fn note(&self, now_ms: u64, change: impl FnOnce(&mut Health)) {
        let mut health = self.health.lock();
        change(&mut health);
        let fitness = match self.address.load().is_some() {
            true => health.fitness(now_ms),
            false => Fitness::Down,
        };
        // Under the lock, so that the last one in is the last one to be right.
        let before = self.fitness.swap(fitness as u8, Relaxed);
        drop(health);
        if before != fitness as u8 {
            tracing::info!(endpoint = %self.endpoint.address, ?fitness, "endpoint health changed");
            self.changed.notify_one();
        }
    }
}

impl Retries {
    fn new() -> Self {
        let now_ms = Clock::process().now_ms();
        let budget = RetryBudget::new(RETRY_PERCENT, RETRIES_PER_SECOND, RETRIES_BURST, now_ms);
        Self { requests: AtomicU64::new(0), budget: Mutex::new(budget) }
    }

    /// Takes one retry out of the budget, if there is one.
    fn take(&self, now_ms: u64) -> bool {
        let mut budget = self.budget.lock();
        budget.on_requests(self.requests.swap(0, Relaxed));
        budget.take(now_ms)
    }
}
