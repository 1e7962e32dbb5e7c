//! Which store keeps a session's state, and which endpoint of a zone answers for it. A session
//! that is not remembered here (since a restart, say) is looked for in the stores themselves.

use std::sync::Arc;

use homing_wire::{Service, ServiceId, SessionKey, StateSpec, ZoneId};

use crate::{
    live::Live,
    state::{
        Site, StateStore,
        hooks::{HookClient, HookStore},
        memory::MemoryStore,
    },
};

/// The stores of all services.
#[derive(Debug, Default)]
pub struct Stores {
    client: HookClient,
    memory: Arc<MemoryStore>,
}

/// Where the state of a session is.
pub enum Found {
    /// In the store of its service; `None` if that keeps no state.
    Service(Option<Arc<dyn StateStore>>, ServiceId),
    /// Nowhere.
    Nowhere,
}

impl Stores {
    /// The memory store, for apps that keep their state in the proxy.
    #[must_use]
    pub fn memory(&self) -> &Arc<MemoryStore> {
        &self.memory
    }

    /// The store of a service; `None` if it keeps no state.
    #[must_use]
    pub fn of(&self, service: &Service) -> Option<Arc<dyn StateStore>> {
        match &service.state {
            StateSpec::Stateless => None,
            StateSpec::Memory => Some(Arc::clone(&self.memory) as Arc<dyn StateStore>),
            StateSpec::Hooks(hooks) => {
                Some(Arc::new(HookStore::new(self.client.clone(), hooks.clone())))
            }
        }
    }

    /// Looks for a session's state in a zone, service by service.
    pub async fn find(&self, live: &Live, zone: ZoneId, key: SessionKey) -> Found {
        for (service, id) in live.table.facts().services.iter().zip(0..) {
            let id = ServiceId(id);
            let Some(store) = self.of(service) else { continue };
            let site = site(live, id, zone, key);
            // A store that cannot answer is asked again by the export, which tells the fault.
            if !matches!(store.export(&site, key, 0).await, Ok(None)) {
                return Found::Service(Some(store), id);
            }
        }
        Found::Nowhere
    }
}

/// The endpoint of a zone that answers for a session of a service: the same that its requests are
/// sent to.
pub(super) fn site(live: &Live, service: ServiceId, zone: ZoneId, key: SessionKey) -> Site {
    let facts = live.table.facts();
    let own = facts.services.get(service.index()).and_then(|service| {
        let mut own = service.endpoints.iter();
        own.find(|(named, _)| *named == zone).map(|(_, endpoints)| endpoints)
    });
    let shared = || facts.zones.get(zone.index()).map(|zone| &zone.endpoints);
    let endpoints = own.or_else(shared).map(Vec::as_slice).unwrap_or_default();
    let turn = (key.low64() % endpoints.len().max(1) as u64) as usize;
    Site { zone, endpoint: endpoints.get(turn).cloned() }
}
