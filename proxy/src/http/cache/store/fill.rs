//! An object on its way into the cache. All of them together take no more memory than the cache
//! itself may: beyond that an answer reaches its client and is not kept.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use pingora_cache::storage::{HandleMiss, MissFinishType};
use pingora_core::Result;

use super::{Object, Store};
use crate::http::cache::mark::Marks;

/// An object being fetched. Dropped before its end, it leaves nothing behind.
pub(super) struct Filling {
    pub(super) store: &'static Store,
    pub(super) key: [u8; 16],
    pub(super) primary: [u8; 16],
    pub(super) meta: (Bytes, Bytes),
    /// A purge while it is being fetched is a purge of it.
    pub(super) begun: SystemTime,
    /// Marks it, if it is fetched ahead of a session.
    pub(super) marks: Option<Arc<Marks>>,
    pub(super) gathered: Gathered,
}

/// The body as far as it has come, booked against what all fills may hold.
pub(super) struct Gathered {
    store: &'static Store,
    body: BytesMut,
    /// Whether there was no room for it.
    given_up: bool,
}

impl Gathered {
    pub(super) fn new(store: &'static Store) -> Self {
        Self { store, body: BytesMut::new(), given_up: false }
    }

    fn push(&mut self, data: &[u8]) {
        let bytes = data.len() as u64;
        if self.given_up {
            return;
        }
        if self.store.filling.fetch_add(bytes, Relaxed) + bytes > self.store.bytes_max {
            self.store.filling.fetch_sub(bytes + self.body.len() as u64, Relaxed);
            self.body = BytesMut::new();
            self.given_up = true;
            return;
        }
        self.body.extend_from_slice(data);
    }

    /// The whole body, if it was kept; what it held of the room is free again.
    fn take(mut self) -> Option<Bytes> {
        let body = std::mem::take(&mut self.body);
        self.store.filling.fetch_sub(body.len() as u64, Relaxed);
        (!self.given_up).then(|| body.freeze())
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        self.store.filling.fetch_sub(self.body.len() as u64, Relaxed);
    }
}

#[async_trait]
impl HandleMiss for Filling {
    async fn write_body(&mut self, data: Bytes, _: bool) -> Result<()> {
        self.gathered.push(&data);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<MissFinishType> {
        let Self { store, key, primary, meta, begun, marks, gathered } = *self;
        let Some(body) = gathered.take() else { return Ok(MissFinishType::Created(0)) };
        let mark = marks.map(|marks| marks.mark());
        let size = body.len();
        store.objects.insert(key, Object { meta, body, created: begun, primary, mark });
        Ok(MissFinishType::Created(size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fills_together_hold_no_more_than_the_cache_may() {
        let store: &'static Store = Box::leak(Box::new(Store::new(1_000)));
        let mut first = Gathered::new(store);
        first.push(&[1; 600]);
        let mut second = Gathered::new(store);
        second.push(&[2; 300]);
        second.push(&[2; 300]);
        assert_eq!(store.filling.load(Relaxed), 600);
        assert_eq!(second.take(), None);
        let mut third = Gathered::new(store);
        third.push(&[3; 400]);
        assert_eq!(third.take().map(|body| body.len()), Some(400));
        drop(first);
        assert_eq!(store.filling.load(Relaxed), 0);
    }
}
