//! The endpoints of a table, compiled by service and zone over the process's upstreams: which of
//! them serves a session, how their calls went, and whether a request may be tried again.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use homing_session::{
    health::{EjectLimits, Fitness},
    rendezvous::{self, Candidate},
};
use homing_wire::{Endpoint, HealthCheck, ServiceId, SessionKey, ZoneId, table::Facts};

use super::{Call, EndpointPool, EndpointTrust, Retries, Upstream};

/// The endpoints of a table, by service and zone.
#[derive(Debug)]
pub struct EndpointSets {
    /// By service index, then zone index.
    sets: Vec<Vec<Set>>,
    /// By zone index.
    retries: Vec<Arc<Retries>>,
    trust: Arc<EndpointTrust>,
}

/// One service's endpoints in one zone, with their weights.
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
        let mut checks: HashMap<_, (Arc<Upstream>, Option<HealthCheck>)> = HashMap::new();
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
        let retries = facts.zones.iter().map(|zone| pool.retries(&zone.name)).collect();
        Self { sets, retries, trust: Arc::clone(pool.trust()) }
    }

    /// Whom endpoints that speak TLS are believed by.
    #[must_use]
    pub fn trust(&self) -> &EndpointTrust {
        &self.trust
    }

    fn set(&self, service: ServiceId, zone: ZoneId) -> &[(Arc<Upstream>, u16)] {
        let zones = self.sets.get(service.index());
        zones.and_then(|zones| zones.get(zone.index())).map(|set| &**set).unwrap_or_default()
    }

    /// What the zone is fit for, for the service: as its best endpoint that takes sessions.
    #[must_use]
    pub fn fitness(&self, service: ServiceId, zone: ZoneId) -> Fitness {
        let taking = self.set(service, zone).iter().filter(|(_, weight)| *weight > 0);
        taking.map(|(upstream, _)| upstream.fitness()).min().unwrap_or(Fitness::Down)
    }

    /// The endpoint of a session in a zone, among those that were not tried. The same session
    /// gets the same endpoint for as long as that is fit and not over its share of the load.
    #[must_use]
    pub fn pick(
        &self,
        service: ServiceId,
        zone: ZoneId,
        key: SessionKey,
        tried: &[Arc<Upstream>],
    ) -> Option<Arc<Upstream>> {
        let set = self.set(service, zone);
        let candidate = |index: usize| {
            let (upstream, weight) = &set[index];
            Candidate {
                id: upstream.id,
                weight: *weight,
                up: upstream.fitness().is_up(),
                in_flight: upstream.in_flight(),
            }
        };
        // Where no address is known, nothing can be tried, however bad the others are.
        let out = |index: usize| {
            let upstream = &set[index].0;
            tried.iter().any(|known| Arc::ptr_eq(known, upstream)) || upstream.address().is_none()
        };
        let picked = rendezvous::pick(key.low64(), set.len(), candidate, out)?;
        Some(Arc::clone(&set[picked.index].0))
    }

    /// A call that was begun has ended.
    pub fn end(
        &self,
        service: ServiceId,
        zone: ZoneId,
        upstream: &Upstream,
        call: Call,
        now_ms: u64,
    ) {
        upstream.in_flight.fetch_sub(1, Relaxed);
        match call {
            Call::Dropped => {}
            Call::Answered => upstream.called(true, false, now_ms),
            Call::Failed => {
                let set = self.set(service, zone);
                let out = set.iter().filter(|(one, _)| one.fitness() >= Fitness::Ejected).count();
                let may_eject = EjectLimits::default().may_eject(out, set.len());
                upstream.called(false, may_eject, now_ms);
            }
        }
    }

    /// A request is tried for the first time in a zone.
    pub fn first_try(&self, zone: ZoneId) {
        if let Some(retries) = self.retries.get(zone.index()) {
            retries.requests.fetch_add(1, Relaxed);
        }
    }

    /// Whether the zone's budget has a retry left; takes it out.
    #[must_use]
    pub fn may_retry(&self, zone: ZoneId, now_ms: u64) -> bool {
        self.retries.get(zone.index()).is_some_and(|retries| retries.take(now_ms))
    }
}
