//! Endpoints as the process knows them: one cell an address, shared by every table that names it,
//! so that a swap forgets no health; and the sets compiled from a table, by service and zone.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwapOption;
use dashmap::DashMap;
use homing_wire::{
    Endpoint, HealthCheck, ServiceId, SessionKey, UpstreamProtocol, ZoneId, table::Facts,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

pub mod checks;
pub mod standing;
#[cfg(test)]
mod tests;

use standing::Standing;

/// Names an upstream: one address spoken to in two ways is two upstreams.
type Name = (String, UpstreamProtocol);

/// Every upstream of the process.
#[derive(Debug, Default)]
pub struct EndpointPool {
    upstreams: DashMap<Name, Arc<Upstream>>,
    changed: Arc<Notify>,
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
    /// Whether it takes requests, for readers without the lock.
    healthy: AtomicBool,
    standing: Mutex<Standing>,
    in_flight: AtomicU32,
    changed: Arc<Notify>,
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
    /// Waits until the health of an upstream changes.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Every upstream, for checks and for the admin page.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Upstream>> {
        self.upstreams.iter().map(|entry| Arc::clone(&entry)).collect()
    }

    /// Forgets upstreams that no table in use names any more.
    pub fn retain_used(&self) {
        self.upstreams.retain(|_, upstream| Arc::strong_count(upstream) > 1);
    }

    fn upstream(&self, endpoint: &Endpoint) -> Arc<Upstream> {
        let name = (endpoint.address.clone(), endpoint.protocol);
        let entry = self.upstreams.entry(name);
        Arc::clone(&entry.or_insert_with(|| {
            Arc::new(Upstream::new(endpoint.clone(), Arc::clone(&self.changed)))
        }))
    }
}

impl Upstream {
    fn new(endpoint: Endpoint, changed: Arc<Notify>) -> Self {
        // A literal address is good at once; a name once it is resolved.
        let address = endpoint.address.parse().ok();
        let id = xxhash_rust::xxh3::xxh3_64(endpoint.address.as_bytes());
        Self {
            id,
            healthy: AtomicBool::new(address.is_some()),
            address: ArcSwapOption::from(address.map(Arc::new)),
            endpoint,
            check: ArcSwapOption::empty(),
            standing: Mutex::default(),
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

    /// Whether it takes requests.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Relaxed)
    }

    /// Calls under way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// A call begins.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// A call that was begun has ended.
    pub fn end(&self, call: Call, now_ms: u64) {
        self.in_flight.fetch_sub(1, Relaxed);
        match call {
            Call::Dropped => {}
            Call::Answered => self.note(|standing| standing.called(true, now_ms)),
            Call::Failed => self.note(|standing| standing.called(false, now_ms)),
        }
    }

    /// Changes the standing and, if that changes whether it takes requests, tells whoever waits.
    fn note(&self, change: impl FnOnce(&mut Standing)) {
        let mut standing = self.standing.lock();
        change(&mut standing);
        let healthy = standing.is_healthy() && self.address.load().is_some();
        drop(standing);
        if self.healthy.swap(healthy, Relaxed) != healthy {
            tracing::info!(endpoint = %self.endpoint.address, healthy, "endpoint health changed");
            self.changed.notify_one();
        }
    }
}

/// The endpoints of a table, by service and zone.
#[derive(Debug)]
pub struct EndpointSets {
    /// By service index, then zone index.
    sets: Vec<Vec<Set>>,
}

/// One service's endpoints in one zone.
type Set = Arc<[(Arc<Upstream>, u16)]>;

impl EndpointSets {
    /// Compiles a table's endpoints over the process's upstreams. An upstream that several
    /// services share is checked as the first of them with a check says.
    #[must_use]
    pub fn compile(facts: &Facts, pool: &EndpointPool) -> Self {
        let set = |endpoints: &[Endpoint]| -> Set {
            endpoints.iter().map(|one| (pool.upstream(one), one.weight)).collect()
        };
        let shared: Vec<Set> = facts.zones.iter().map(|zone| set(&zone.endpoints)).collect();
        let mut checks = std::collections::HashMap::new();
        let mut sets = Vec::with_capacity(facts.services.len());
        for service in &facts.services {
            let mut zones = shared.clone();
            for (zone, endpoints) in &service.endpoints {
                if let Some(own) = zones.get_mut(zone.index()) {
                    *own = set(endpoints);
                }
            }
            for (upstream, _) in zones.iter().flat_map(|set| set.iter()) {
                let check = checks.entry(Arc::as_ptr(upstream)).or_insert((upstream.clone(), None));
                if check.1.is_none() {
                    check.1.clone_from(&service.health);
                }
            }
            sets.push(zones);
        }
        for (upstream, check) in checks.into_values() {
            upstream.check.store(check.map(Arc::new));
        }
        Self { sets }
    }

    fn set(&self, service: ServiceId, zone: ZoneId) -> &[(Arc<Upstream>, u16)] {
        let zones = self.sets.get(service.index());
        zones.and_then(|zones| zones.get(zone.index())).map(|set| &**set).unwrap_or_default()
    }

    /// Whether any endpoint of the service in the zone takes requests.
    #[must_use]
    pub fn any_healthy(&self, service: ServiceId, zone: ZoneId) -> bool {
        self.set(service, zone).iter().any(|(upstream, _)| upstream.is_healthy())
    }

    /// The endpoint of a session in a zone: by weighted rendezvous over those that take requests
    /// and were not tried. The same session gets the same endpoint for as long as that is so.
    #[must_use]
    pub fn pick(
        &self,
        service: ServiceId,
        zone: ZoneId,
        key: SessionKey,
        tried: &[Arc<Upstream>],
    ) -> Option<Arc<Upstream>> {
        let untried =
            |upstream: &Arc<Upstream>| !tried.iter().any(|known| Arc::ptr_eq(known, upstream));
        let mut best: Option<(f64, &Arc<Upstream>)> = None;
        for (upstream, weight) in self.set(service, zone) {
            if !upstream.is_healthy() || !untried(upstream) {
                continue;
            }
            let score = score(key.low64(), upstream.id, *weight);
            if best.is_none_or(|(known, _)| score > known) {
                best = Some((score, upstream));
            }
        }
        best.map(|(_, upstream)| Arc::clone(upstream))
    }
}

/// The highest score wins a key with a probability in proportion to its weight.
fn score(key: u64, upstream: u64, weight: u16) -> f64 {
    // The finalizer of MurmurHash3: every bit of the key and the upstream moves every bit.
    let mut mixed = key ^ upstream.rotate_left(32);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^= mixed >> 33;
    // In (0, 1), so that the logarithm is finite and negative.
    let uniform = ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    f64::from(weight) / -uniform.ln()
}
