//! What the edge compiles from a table's facts: endpoint sets, places, header values. Derived on
//! the first request under new facts and kept until they change, so that it can never belong to
//! another table than the one the request was decided by.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use homing_session::{health::Fitness, steer::ZoneView};
use homing_wire::{ServiceId, ZoneId, table::Facts};
use http::HeaderValue;
use parking_lot::Mutex;

use super::decide::Places;
use crate::endpoints::{EndpointPool, EndpointSets};

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
}

impl EdgeFacts {
    fn compile(facts: &Arc<Facts>, pool: &EndpointPool) -> Self {
        let unnamed = HeaderValue::from_static("unnamed");
        let name = |zone: &homing_wire::Zone| {
            HeaderValue::from_str(&zone.name).unwrap_or_else(|_| unnamed.clone())
        };
        Self {
            facts: Arc::clone(facts),
            endpoints: EndpointSets::compile(facts, pool),
            places: Places::compile(facts),
            zone_names: facts.zones.iter().map(name).collect(),
        }
    }

    /// The view of the zones by what is known now: health of their endpoints, and `sessions`
    /// living in each.
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
            for zone in (0..self.facts.zones.len()).map(|index| ZoneId(index as u8)) {
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

/// The compiled facts of the table in force.
#[derive(Debug)]
pub struct FactsCell {
    pool: Arc<EndpointPool>,
    current: ArcSwapOption<EdgeFacts>,
    compiling: Mutex<()>,
}

impl FactsCell {
    /// An empty cell over the process's endpoints.
    #[must_use]
    pub fn new(pool: Arc<EndpointPool>) -> Self {
        Self { pool, current: ArcSwapOption::empty(), compiling: Mutex::new(()) }
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
        let compiled = Arc::new(EdgeFacts::compile(facts, &self.pool));
        self.current.store(Some(Arc::clone(&compiled)));
        compiled
    }
}
