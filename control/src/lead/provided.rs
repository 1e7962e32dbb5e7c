//! Endpoints of providers, beside those that the document states: what the tasks that scale have
//! told last is added to the document's facts whenever a table is drawn up from it.

use std::collections::BTreeMap;

use homing_wire::{Endpoint, Facts, limits::ENDPOINTS_PER_ZONE_MAX};

use super::Lead;

/// Rounds after which a provider that told nothing is one that has nothing.
const LATE_ROUNDS: u64 = 30;

/// What providers have, by zone and service.
#[derive(Debug, Default)]
pub(super) struct Book {
    of: BTreeMap<(String, Option<String>), Vec<Endpoint>>,
    expected: usize,
}

impl Book {
    /// Nothing is known yet of so many zones and services that are scaled.
    pub(super) fn expecting(expected: usize) -> Self {
        Self { expected, ..Self::default() }
    }

    /// Whether every provider has told what it has, or had the time to. Until then the table keeps
    /// what the control before this one has put there: a webhook's endpoints outlive control.
    pub(super) fn is_known_or_late(&self, rounds: u64) -> bool {
        self.of.len() >= self.expected || rounds > LATE_ROUNDS
    }

    /// These facts with the endpoints of providers beside their own. What names a zone or a service
    /// that they do not have is left out.
    pub(super) fn added_to(&self, mut facts: Facts) -> Facts {
        for ((zone, service), endpoints) in &self.of {
            let Some(id) = facts.zone_named(zone) else { continue };
            let Some(shared) = facts.zones.get_mut(id.index()).map(|zone| &mut zone.endpoints)
            else {
                continue;
            };
            let Some(name) = service else {
                add(shared, endpoints);
                continue;
            };
            let Some(service) = facts.services.iter_mut().find(|one| one.name == *name) else {
                continue;
            };
            if endpoints.is_empty() {
                continue;
            }
            match service.endpoints.iter_mut().find(|(of, _)| *of == id) {
                Some((_, own)) => add(own, endpoints),
                None => {
                    // So far it used the zone's: it goes on to, beside its own.
                    let mut own = shared.clone();
                    add(&mut own, endpoints);
                    service.endpoints.push((id, own));
                    service.endpoints.sort_by_key(|(of, _)| *of);
                }
            }
        }
        facts
    }
}

/// Adds those that are not there yet, as far as a zone may have them.
fn add(to: &mut Vec<Endpoint>, endpoints: &[Endpoint]) {
    for endpoint in endpoints {
        let is_there = to.iter().any(|one| one.address.eq_ignore_ascii_case(&endpoint.address));
        if !is_there && to.len() < ENDPOINTS_PER_ZONE_MAX {
            to.push(endpoint.clone());
        }
    }
}

impl Lead {
    /// A provider's endpoints that may serve are these from now on.
    pub(super) fn take_provided(
        &mut self,
        zone: String,
        service: Option<String>,
        endpoints: Vec<Endpoint>,
    ) {
        self.provided.of.insert((zone, service), endpoints);
        if self.provided.is_known_or_late(self.rounds) {
            self.refit();
        }
    }
}
