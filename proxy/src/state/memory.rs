//! The memory store: session state kept by the proxy process itself, for demos and tests. It
//! survives nothing. Apps reach it through the admin listener; the same fences hold as for hooks.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use dashmap::DashMap;
use homing_wire::{DirectiveId, Epoch, SessionKey, ZoneId};

use super::{CopyKind, Hook, Site, StateCopy, StateFault, StateStore};

/// Bytes all sessions together may keep.
pub const BYTES_MAX: u64 = 256 << 20;
/// Bytes one session may keep.
pub const STATE_BYTES_MAX: usize = 4 << 20;

/// State of every session of every zone, by (zone, key).
#[derive(Debug, Default)]
pub struct MemoryStore {
    held: DashMap<(ZoneId, SessionKey), Held>,
    bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Held {
    /// Lowest epoch served.
    fence: Epoch,
    /// The epoch `live` was last written or activated at.
    live_epoch: Epoch,
    live: Option<StateCopy>,
    staged: Option<StateCopy>,
    /// Of a session that lives in another zone.
    replica: Option<StateCopy>,
}

impl Held {
    fn bytes(&self) -> u64 {
        let size = |copy: &Option<StateCopy>| copy.as_ref().map_or(0, |copy| copy.bytes.len());
        (size(&self.live) + size(&self.staged) + size(&self.replica)) as u64
    }

    fn is_nothing(&self) -> bool {
        self.live.is_none() && self.staged.is_none() && self.replica.is_none()
    }
}

/// Why a write was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteRefused {
    /// The session lives at a higher epoch by now.
    #[error("the session is fenced at epoch {0}")]
    Fenced(Epoch),
    /// The store is full.
    #[error("the memory store holds at most {STATE_BYTES_MAX} bytes a session, {BYTES_MAX} in all")]
    Full,
}

impl MemoryStore {
    /// The live state of a session and its version.
    #[must_use]
    pub fn read(&self, zone: ZoneId, key: SessionKey) -> Option<(u64, Bytes)> {
        let held = self.held.get(&(zone, key))?;
        held.live.as_ref().map(|copy| (copy.version, copy.bytes.clone()))
    }

    /// Replaces the live state of a session and returns its new version.
    ///
    /// # Errors
    /// The session has moved on, or the store is full.
    pub fn write(
        &self,
        zone: ZoneId,
        key: SessionKey,
        epoch: Epoch,
        bytes: Bytes,
    ) -> Result<u64, WriteRefused> {
        self.change(zone, key, bytes.len(), |held| {
            if epoch < held.fence {
                return Err(WriteRefused::Fenced(held.fence));
            }
            let version = held.live.as_ref().map_or(0, |copy| copy.version) + 1;
            held.live = Some(StateCopy { version, kind: CopyKind::Full, bytes });
            held.live_epoch = epoch;
            Ok(version)
        })
    }

    fn change<T>(
        &self,
        zone: ZoneId,
        key: SessionKey,
        adds: usize,
        change: impl FnOnce(&mut Held) -> Result<T, WriteRefused>,
    ) -> Result<T, WriteRefused> {
        if adds > STATE_BYTES_MAX || self.bytes.load(Ordering::Relaxed) + adds as u64 > BYTES_MAX {
            return Err(WriteRefused::Full);
        }
        let mut held = self.held.entry((zone, key)).or_default();
        let before = held.bytes();
        let done = change(&mut held)?;
        self.bytes.fetch_add(held.bytes(), Ordering::Relaxed);
        self.bytes.fetch_sub(before, Ordering::Relaxed);
        Ok(done)
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn export(
        &self,
        site: &Site,
        key: SessionKey,
        since: u64,
    ) -> Result<Option<StateCopy>, StateFault> {
        let Some((version, bytes)) = self.read(site.zone, key) else { return Ok(None) };
        if since == version {
            return Ok(Some(StateCopy { version, kind: CopyKind::Delta, bytes: Bytes::new() }));
        }
        Ok(Some(StateCopy { version, kind: CopyKind::Full, bytes }))
    }

    async fn import(
        &self,
        site: &Site,
        key: SessionKey,
        _directive: DirectiveId,
        copy: &StateCopy,
    ) -> Result<(), StateFault> {
        // An empty delta says "nothing changed since what is staged".
        if copy.kind == CopyKind::Delta {
            return Ok(());
        }
        let stage = |held: &mut Held| {
            held.staged = Some(copy.clone());
            Ok(())
        };
        self.change(site.zone, key, copy.bytes.len(), stage).map_err(|refused| {
            StateFault::Refused { hook: Hook::Import, detail: refused.to_string() }
        })
    }

    async fn fence(&self, site: &Site, key: SessionKey, epoch: Epoch) -> Result<(), StateFault> {
        let fence = |held: &mut Held| {
            held.fence = held.fence.max(epoch);
            if let Some(staged) = held.staged.take() {
                held.live = Some(staged);
                held.live_epoch = epoch;
            }
            Ok(())
        };
        self.change(site.zone, key, 0, fence).map_err(|refused| StateFault::Refused {
            hook: Hook::Fence,
            detail: refused.to_string(),
        })
    }

    async fn keep(&self, site: &Site, key: SessionKey, copy: &StateCopy) -> Result<(), StateFault> {
        if copy.kind == CopyKind::Delta {
            return Ok(());
        }
        let keep = |held: &mut Held| {
            held.replica = Some(copy.clone());
            Ok(())
        };
        self.change(site.zone, key, copy.bytes.len(), keep).map_err(|refused| StateFault::Refused {
            hook: Hook::Import,
            detail: refused.to_string(),
        })
    }

    async fn adopt(&self, site: &Site, key: SessionKey, epoch: Epoch) -> Result<bool, StateFault> {
        let adopt = |held: &mut Held| {
            held.staged = held.replica.take();
            Ok(held.staged.is_some())
        };
        // Making room cannot be refused for want of room.
        let adopted = self.change(site.zone, key, 0, adopt).unwrap_or_default();
        self.fence(site, key, epoch).await.map(|()| adopted)
    }

    async fn forsake(&self, site: &Site, key: SessionKey) -> Result<(), StateFault> {
        let forsake = |held: &mut Held| {
            held.replica = None;
            Ok(())
        };
        let _ = self.change(site.zone, key, 0, forsake);
        self.held.remove_if(&(site.zone, key), |_, held| held.is_nothing());
        Ok(())
    }

    async fn release(&self, site: &Site, key: SessionKey, epoch: Epoch) -> Result<(), StateFault> {
        let release = |held: &mut Held| {
            held.staged = None;
            if held.live_epoch < epoch {
                held.live = None;
            }
            Ok(())
        };
        // Making room cannot be refused for want of room.
        let _ = self.change(site.zone, key, 0, release);
        self.held.remove_if(&(site.zone, key), |_, held| held.is_nothing());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(zone: u8) -> Site {
        Site { zone: ZoneId(zone), endpoint: None }
    }

    #[tokio::test]
    async fn a_staged_copy_is_served_only_after_its_fence_and_the_source_lets_go() {
        let store = MemoryStore::default();
        let key = SessionKey(9);
        let version = store.write(ZoneId(0), key, Epoch(1), Bytes::from_static(b"cart")).unwrap();
        let copy = store.export(&site(0), key, 0).await.unwrap().unwrap();
        store.import(&site(1), key, DirectiveId(1), &copy).await.unwrap();
        assert_eq!(store.read(ZoneId(1), key), None);
        let again = store.export(&site(0), key, version).await.unwrap().unwrap();
        assert_eq!((again.kind, again.bytes.len()), (CopyKind::Delta, 0));
        store.import(&site(1), key, DirectiveId(1), &again).await.unwrap();
        store.fence(&site(1), key, Epoch(2)).await.unwrap();
        store.fence(&site(0), key, Epoch(2)).await.unwrap();
        assert_eq!(
            store.write(ZoneId(0), key, Epoch(1), Bytes::new()),
            Err(WriteRefused::Fenced(Epoch(2)))
        );
        store.release(&site(0), key, Epoch(2)).await.unwrap();
        store.release(&site(1), key, Epoch(2)).await.unwrap();
        assert_eq!(store.read(ZoneId(0), key), None);
        assert_eq!(store.read(ZoneId(1), key), Some((version, Bytes::from_static(b"cart"))));
        assert_eq!(store.bytes.load(Ordering::Relaxed), 4);
    }

    #[tokio::test]
    async fn releasing_an_undone_target_drops_what_was_staged() {
        let store = MemoryStore::default();
        let key = SessionKey(9);
        let copy = StateCopy { version: 3, kind: CopyKind::Full, bytes: Bytes::from_static(b"x") };
        store.import(&site(1), key, DirectiveId(1), &copy).await.unwrap();
        store.release(&site(1), key, Epoch(2)).await.unwrap();
        store.fence(&site(1), key, Epoch(3)).await.unwrap();
        assert_eq!(store.read(ZoneId(1), key), None);
        assert_eq!(store.bytes.load(Ordering::Relaxed), 0);
    }
}
