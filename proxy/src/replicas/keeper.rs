//! The keeper's side: replicas of sessions that other zones own, put into this zone's store apart
//! from everything, and made live if control gives such a session to this gate.

use std::sync::Arc;

use bytes::Bytes;
use dashmap::DashMap;
use homing_wire::{
    Epoch, LinkFrame, Service, ServiceId, SessionKey, UndoneReason, ZoneId, limits,
    link::{Mirror, Payload},
};
use tokio::sync::Mutex;

use super::Parts;
use crate::{
    handoff::link::frames::{self, Framed},
    live::Live,
    state::{CopyKind, StateCopy, StateFault},
};

/// Sessions kept for others; beyond, new ones are refused.
const KEPT_MAX: usize = 200_000;
/// Largest state taken for services that state no bound of their own.
const STATE_BYTES_MAX: u64 = 16 << 20;

/// What this gate keeps for others.
pub struct Keeper {
    parts: Arc<Parts>,
    kept: DashMap<SessionKey, Arc<Mutex<Kept>>>,
}

/// One of them.
#[derive(Debug, Default)]
struct Kept {
    epoch: Epoch,
    /// As its owner counts; zero while nothing whole is here.
    version: u64,
    window: Bytes,
    service: ServiceId,
    /// The session has no state.
    is_empty: bool,
}

type Refuse = (UndoneReason, String);

impl Keeper {
    pub(super) fn new(parts: Arc<Parts>) -> Self {
        Self { parts, kept: DashMap::new() }
    }

    /// How many sessions are kept for others.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether anything is kept of a session.
    #[must_use]
    pub fn has(&self, key: SessionKey) -> bool {
        self.kept.contains_key(&key)
    }

    /// How many of those that are kept are such sessions.
    #[must_use]
    pub fn count(&self, is_such: impl Fn(SessionKey) -> bool) -> u64 {
        self.kept.iter().filter(|kept| is_such(*kept.key())).count() as u64
    }

    /// Serves one stream to its end.
    pub(crate) async fn serve(
        &self,
        mirror: Mirror,
        (mut send, mut receive): (quinn::SendStream, quinn::RecvStream),
    ) {
        let bytes_max = {
            let live = self.parts.live.load();
            let found = whose(&live, &mirror);
            found.map_or(0, |(_, service)| state_bytes_max(&live, service))
        };
        while let Ok(framed) = frames::read(&mut receive, bytes_max).await {
            let answer = match self.take(&mirror, framed).await {
                Ok(answer) => answer,
                Err((why, detail)) => {
                    tracing::debug!(key = %mirror.key, detail, "a replica is refused");
                    LinkFrame::Refused { why, detail: limits::detail(detail) }
                }
            };
            let answer = Framed::bare(answer);
            if frames::write(&mut send, &answer, &Default::default(), None).await.is_err() {
                return;
            }
        }
        let _ = send.finish();
    }

    async fn take(&self, mirror: &Mirror, framed: Framed) -> Result<LinkFrame, Refuse> {
        let stale = |detail: &str| (UndoneReason::Stale, detail.to_owned());
        let LinkFrame::Replica { payload, since, version, .. } = framed.frame else {
            return Err(stale("an owner said what only a source says"));
        };
        let live = self.parts.live.load_full();
        let seat = self.parts.fleet.seat.gate().ok_or_else(|| stale("it is no gate"))?;
        let (zone, service) = whose(&live, mirror).ok_or_else(|| {
            stale("the replica is for another zone, or of a service that is not known here")
        })?;
        if seat.zone != mirror.to
            || !self.parts.fleet.seat.guards(live.table.facts(), zone, mirror.key)
        {
            return Err(stale("another gate guards the session in this zone"));
        }
        let owned = self.parts.gates.ownership(zone, mirror.key);
        if owned.is_some_and(|own| own.is_home() && own.epoch() >= mirror.epoch) {
            return Err(stale("the session lives here at a higher epoch"));
        }
        if self.kept.len() >= KEPT_MAX && !self.has(mirror.key) {
            let detail = format!("{KEPT_MAX} sessions are kept here for others");
            return Err((UndoneReason::TargetUnavailable, detail));
        }
        let kept = Arc::clone(&self.kept.entry(mirror.key).or_default());
        let mut kept = kept.lock().await;
        if mirror.epoch < kept.epoch {
            return Err(stale("a later owner's replica is kept"));
        }
        kept.service = service;
        if mirror.epoch > kept.epoch && since != 0 {
            // Nothing of this epoch is here yet.
            return Ok(LinkFrame::Kept { incarnation: seat.incarnation(), version: 0 });
        }
        // A delta of nothing says that the session lives on.
        let known = version < kept.version || (version == kept.version && since != version);
        let again = known && mirror.epoch == kept.epoch;
        if !again && (since == 0 || since == kept.version) {
            (kept.epoch, kept.version) = (mirror.epoch, 0);
            self.put(&live, zone, service, mirror.key, payload, framed.bytes)
                .await
                .map_err(|fault| (fault.undone(), fault.to_string()))?;
            (kept.version, kept.window) = (version, framed.window);
            kept.is_empty = !payload.present;
            self.parts.counts.kept.inc();
        }
        Ok(LinkFrame::Kept { incarnation: seat.incarnation(), version: kept.version })
    }

    async fn put(
        &self,
        live: &Live,
        zone: ZoneId,
        service: ServiceId,
        key: SessionKey,
        payload: Payload,
        bytes: Bytes,
    ) -> Result<(), StateFault> {
        let services = &live.table.facts().services;
        let store = services.get(service.index()).and_then(|spec| self.parts.stores.of(spec));
        let Some(store) = store else { return Ok(()) };
        let site = self.parts.stores.site(live, service, zone, key);
        if !payload.present {
            return store.forsake(&site, key).await;
        }
        let kind = if payload.whole { CopyKind::Full } else { CopyKind::Delta };
        store.keep(&site, key, &StateCopy { version: payload.version, kind, bytes }).await
    }

    /// Before a session is served in this zone: if the table says that it lives here and what is
    /// kept of it was never made live, that is done now; if the session came another way, what is
    /// kept is outdated and dropped.
    ///
    /// # Errors
    /// The store cannot: the session must not be served yet.
    pub async fn inherit(&self, live: &Live, key: SessionKey) -> Result<(), StateFault> {
        let Some(entry) = self.kept.get(&key).map(|kept| Arc::clone(&kept)) else { return Ok(()) };
        let home = live.home(key);
        let seat = self.parts.fleet.seat.gate();
        if seat.and_then(|seat| seat.zone_in(live.table.facts())) != Some(home.zone) {
            return Ok(());
        }
        let kept = entry.lock().await;
        // Another request may have been faster.
        if !self.has(key) || home.epoch <= kept.epoch {
            return Ok(());
        }
        let services = &live.table.facts().services;
        let store = services.get(kept.service.index()).and_then(|spec| self.parts.stores.of(spec));
        let site = self.parts.stores.site(live, kept.service, home.zone, key);
        let owned = self.parts.gates.ownership(home.zone, key);
        let came = owned.is_some_and(|own| own.is_home() && own.epoch() >= home.epoch);
        if let Some(store) = store {
            if came || kept.version == 0 {
                store.forsake(&site, key).await?;
            } else if !store.adopt(&site, key, home.epoch).await? && !kept.is_empty {
                self.parts.counts.lost.inc();
                tracing::error!(%key, "the store has lost the replica; the session begins anew");
            }
        }
        if !came && kept.version > 0 {
            let window = self.parts.gates.put_window(home.zone, key, home.epoch, &kept.window);
            if let Err(fault) = window {
                tracing::warn!(%key, %fault, "requests already executed are forgotten");
            }
            self.parts.counts.adopted.inc();
            tracing::info!(%key, epoch = %home.epoch, "goes on from its replica");
        }
        self.kept.remove(&key);
        Ok(())
    }

    /// The session is served here: nothing is kept of it for others any more.
    pub(super) fn forget(&self, key: SessionKey) {
        let Some((_, entry)) = self.kept.remove(&key) else { return };
        let parts = Arc::clone(&self.parts);
        self.parts.side.spawn(async move {
            let service = entry.lock().await.service;
            let live = parts.live.load_full();
            let Some(spec) = live.table.facts().services.get(service.index()) else { return };
            let zone = parts.fleet.seat.gate().and_then(|seat| seat.zone_in(live.table.facts()));
            let (Some(store), Some(zone)) = (parts.stores.of(spec), zone) else { return };
            let site = parts.stores.site(&live, service, zone, key);
            if let Err(fault) = store.forsake(&site, key).await {
                tracing::debug!(%key, %fault, "an outdated replica stays until it expires");
            }
        });
    }

    pub(super) fn forget_all(&self) {
        self.kept.clear();
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("kept", &self.kept.len()).finish_non_exhaustive()
    }
}

/// The keeper's zone and the service by this table.
fn whose(live: &Live, mirror: &Mirror) -> Option<(ZoneId, ServiceId)> {
    let facts = live.table.facts();
    let named =
        |service: &Service| (&service.tenant, &service.name) == (&mirror.tenant, &mirror.service);
    let service = facts.services.iter().position(named)?;
    Some((facts.zone_named(&mirror.to)?, ServiceId(service as u16)))
}

fn state_bytes_max(live: &Live, service: ServiceId) -> u64 {
    let service = live.table.facts().services.get(service.index());
    let bounds = service.and_then(|service| service.state.bounds());
    bounds.map_or(STATE_BYTES_MAX, |(_, bytes_max)| bytes_max)
}
