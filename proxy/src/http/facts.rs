//! What the edge compiles from a table's facts: endpoint sets, places, header values. Derived on
//! the first request under new facts and kept until they change, so that it can never belong to
//! another table than the one the request was decided by.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use homing_session::{health::Fitness, steer::ZoneView};
use homing_wire::{Endpoint, Gate, ServiceId, SessionKey, UpstreamProtocol, ZoneId, table::Facts};
use http::HeaderValue;
use parking_lot::Mutex;

use super::decide::Places;
use crate::endpoints::{EndpointPool, EndpointSets, EndpointTrust, Upstream};

/// One table's facts, compiled for the edge.
#[derive(Debug)]
pub struct EdgeFacts {
    /// The facts themselves.
    pub facts: Arc<Facts>,
    /// Endpoints by service and zone.
    pub endpoints: EndpointSets,
    /// Places by name.
    pub places: Places,
    /// Zone names as header values, by zone index.
    pub zone_names: Vec<HeaderValue>,
    /// The gates of each zone as upstreams, in the order of the table's.
    gates: Vec<Vec<Arc<Upstream>>>,
    reach: Reach,
}

/// Whose endpoints this process speaks to itself; of all other zones it knows the gates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Every zone's: solo.
    #[default]
    Every,
    /// One zone's, by name: its gate.
    Zone(String),
    /// None's: an edge.
    Nothing,
}

impl Reach {
    fn has(&self, zone: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Zone(own) => own == zone,
            Self::Nothing => false,
        }
    }

    /// The facts without endpoints that are out of reach: nobody should check them from here.
    fn of(&self, facts: &Facts) -> Facts {
        let mut facts = facts.clone();
        let reached: Vec<_> = facts.zones.iter().map(|zone| self.has(&zone.name)).collect();
        for (zone, _) in facts.zones.iter_mut().zip(&reached).filter(|(_, reached)| !**reached) {
            zone.endpoints.clear();
        }
        for service in &mut facts.services {
            service.endpoints.retain(|(zone, _)| reached.get(zone.index()) == Some(&true));
        }
        facts
    }
}

impl EdgeFacts {
    fn compile(facts: &Arc<Facts>, pool: &EndpointPool, reach: &Reach) -> Self {
        let unnamed = HeaderValue::from_static("unnamed");
        let name = |zone: &homing_wire::Zone| {
            HeaderValue::from_str(&zone.name).unwrap_or_else(|_| unnamed.clone())
        };
        Self {
            facts: Arc::clone(facts),
            endpoints: match reach {
                Reach::Every => EndpointSets::compile(facts, pool),
                _ => EndpointSets::compile(&reach.of(facts), pool),
            },
            gates: facts.zones.iter().map(|zone| gates_of(zone, pool)).collect(),
            reach: reach.clone(),
            places: Places::compile(facts),
            zone_names: facts.zones.iter().map(name).collect(),
        }
    }

    /// The gate of a session in a zone.
    #[must_use]
    pub fn gate(&self, zone: ZoneId, key: SessionKey) -> Option<(&Gate, Arc<Upstream>)> {
        let gate = self.facts.zones.get(zone.index())?.gate_of(key)?;
        self.gate_named(zone, &gate.name)
    }

    /// A gate of a zone by its name.
    #[must_use]
    pub fn gate_named(&self, zone: ZoneId, name: &str) -> Option<(&Gate, Arc<Upstream>)> {
        let gates = &self.facts.zones.get(zone.index())?.gates;
        let index = gates.iter().position(|gate| gate.name == name)?;
        let upstream = self.gates.get(zone.index())?.get(index)?;
        Some((gates.get(index)?, Arc::clone(upstream)))
    }

    /// The service of a tenant by its name.
    #[must_use]
    pub fn service_named(&self, tenant: &str, name: &str) -> Option<ServiceId> {
        let found = |service: &homing_wire::Service| {
            (service.tenant.as_str(), service.name.as_str()) == (tenant, name)
        };
        self.facts.services.iter().position(found).map(|index| ServiceId(index as u16))
    }

    /// The view of the zones by what is known now: health of their endpoints or whether they have
    /// a gate, and `sessions` living in each.
    #[must_use]
    pub fn view(&self, sessions: impl Fn(ZoneId) -> u64) -> ZoneView {
        let mut view = ZoneView::compile(&self.facts, &[]);
        for (index, (state, zone)) in view.zones.iter_mut().zip(&self.facts.zones).enumerate() {
            let sessions = sessions(ZoneId(index as u8));
            state.load_permille =
                homing_session::steer::ZoneState::load_permille(sessions, zone.capacity.sessions);
        }
        let (down, failing) = (&mut view.down, &mut view.failing);
        for (service, (down, failing)) in down.iter_mut().zip(failing).enumerate() {
            for (index, stated) in self.facts.zones.iter().enumerate() {
                let zone = ZoneId(index as u8);
                if !self.reach.has(&stated.name) {
                    // Its gate looks after its endpoints, and is given time to come back.
                    if stated.gates.is_empty() {
                        failing.insert(zone);
                    }
                    continue;
                }
                match self.endpoints.fitness(ServiceId(service as u16), zone) {
                    Fitness::Up => {}
                    Fitness::Suspect | Fitness::Ejected => failing.insert(zone),
                    Fitness::Down => down.insert(zone),
                }
            }
        }
        view
    }
}

/// A zone's gates among the process's upstreams: their names are resolved with all others.
fn gates_of(zone: &homing_wire::Zone, pool: &EndpointPool) -> Vec<Arc<Upstream>> {
    let endpoint = |gate: &Gate| Endpoint {
        address: gate.http.clone(),
        weight: 1,
        protocol: UpstreamProtocol::Tls,
    };
    zone.gates.iter().map(|gate| pool.upstream(&endpoint(gate))).collect()
}

/// The compiled facts of the table in force.
#[derive(Debug)]
pub struct FactsCell {
    pool: Arc<EndpointPool>,
    reach: Reach,
    current: ArcSwapOption<EdgeFacts>,
    compiling: Mutex<()>,
}

impl FactsCell {
    /// Whom endpoints that speak TLS are believed by.
    #[must_use]
    pub fn trust(&self) -> &Arc<EndpointTrust> {
        self.pool.trust()
    }

    /// An empty cell over the process's endpoints, of which all zones' are in reach.
    #[must_use]
    pub fn new(pool: Arc<EndpointPool>) -> Self {
        Self::reaching(Reach::Every, pool)
    }

    /// An empty cell over the process's endpoints.
    #[must_use]
    pub fn reaching(reach: Reach, pool: Arc<EndpointPool>) -> Self {
        Self { pool, reach, current: ArcSwapOption::empty(), compiling: Mutex::new(()) }
    }

    /// The compiled form of `facts`. Compiles it if they are new.
    #[must_use]
    pub fn of(&self, facts: &Arc<Facts>) -> Arc<EdgeFacts> {
        let known = |current: &Option<Arc<EdgeFacts>>| {
            current.as_ref().filter(|current| Arc::ptr_eq(&current.facts, facts)).cloned()
        };
        if let Some(current) = known(&self.current.load()) {
            return current;
        }
        let _one_at_a_time = self.compiling.lock();
        if let Some(current) = known(&self.current.load()) {
            return current;
        }
        let compiled = Arc::new(EdgeFacts::compile(facts, &self.pool, &self.reach));
        self.current.store(Some(Arc::clone(&compiled)));
        compiled
    }
}
