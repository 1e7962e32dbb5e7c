//! Which store keeps a session's state, and which endpoint of a zone answers for it. A session
//! that is not remembered here (since a restart, say) is looked for in the stores themselves.

use std::sync::Arc;

use homing_wire::{Service, ServiceId, SessionKey, StateSpec, ZoneId};

use crate::{
    config::StoreSecrets,
    http::facts::FactsCell,
    live::Live,
    state::{
        Site, StateStore,
        hooks::{HookClient, HookStore},
        memory::MemoryStore,
        redis::{RedisServers, RedisStore},
    },
};

/// The stores of all services.
#[derive(Debug)]
pub struct Stores {
    facts: Arc<FactsCell>,
    client: HookClient,
    memory: Arc<MemoryStore>,
    redis: Arc<RedisServers>,
}

/// Where the state of a session is.
pub enum Found {
    /// In the store of its service; `None` if that keeps no state.
    Service(Option<Arc<dyn StateStore>>, ServiceId),
    /// Nowhere.
    Nowhere,
}

impl Stores {
    /// Stores that reach the endpoints which requests are sent to.
    #[must_use]
    pub fn new(facts: Arc<FactsCell>, secrets: StoreSecrets) -> Self {
        let redis = Arc::new(RedisServers::new(secrets));
        Self {
            client: HookClient::new(Arc::clone(facts.trust())),
            facts,
            memory: Arc::default(),
            redis,
        }
    }

    /// The endpoint of a zone that answers for a session of a service: the same that its requests
    /// are sent to.
    #[must_use]
    pub fn site(&self, live: &Live, service: ServiceId, zone: ZoneId, key: SessionKey) -> Site {
        let facts = self.facts.of(live.table.facts());
        let upstream = facts.endpoints.pick(service, zone, key, &[]);
        Site { zone, endpoint: upstream.map(|upstream| upstream.endpoint.clone()) }
    }

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
            StateSpec::Redis(redis) => {
                let (servers, idle_ms) = (Arc::clone(&self.redis), service.session.idle_ms);
                Some(Arc::new(RedisStore::new(servers, redis.clone(), idle_ms)))
            }
        }
    }

    /// Looks for a session's state in a zone, service by service.
    pub async fn find(&self, live: &Live, zone: ZoneId, key: SessionKey) -> Found {
        for (service, id) in live.table.facts().services.iter().zip(0..) {
            let id = ServiceId(id);
            let Some(store) = self.of(service) else { continue };
            let site = self.site(live, id, zone, key);
            // A store that cannot answer is asked again by the export, which tells the fault.
            if !matches!(store.export(&site, key, 0).await, Ok(None)) {
                return Found::Service(Some(store), id);
            }
        }
        Found::Nowhere
    }
}
