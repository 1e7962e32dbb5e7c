//! What the cache keeps, bounded in bytes. Whole objects in memory: a fill under way is seen by
//! nobody, so an answer that breaks off is never half kept.

use std::{
    any::Any,
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;
use pingora_cache::{
    CacheKey, CacheMeta, HitHandler, MissHandler, Storage,
    key::CacheHashKey,
    storage::{HandleHit, PurgeOutcome, PurgeTarget, PurgeType},
    trace::SpanHandle,
};
use pingora_core::{Error, ErrorType, Result};
use quick_cache::{Weighter, sync::Cache};

mod fill;

use fill::{Filling, Gathered};

use super::{
    is_purged,
    mark::{Mark, Marks},
};

/// Bytes that an object costs beside its own.
const OBJECT_BYTES: u64 = 256;
/// URIs whose last purge is remembered. Beyond, the longest unused are forgotten; by then what
/// they purged has mostly gone by itself.
const PURGES_MAX: usize = 65_536;

/// The objects of one process.
pub struct Store {
    objects: Cache<[u8; 16], Object, Weigh>,
    /// When a URI was purged last: variants are not listed anywhere, so they are told by their age.
    purges: Cache<[u8; 16], SystemTime>,
    bytes_max: u64,
    /// Bytes of objects that are being fetched.
    filling: AtomicU64,
}

#[derive(Clone)]
struct Object {
    meta: (Bytes, Bytes),
    body: Bytes,
    created: SystemTime,
    primary: [u8; 16],
    /// Of an answer that was fetched ahead of a session.
    mark: Option<Arc<Mark>>,
}

#[derive(Clone)]
struct Weigh;

impl Weighter<[u8; 16], Object> for Weigh {
    fn weight(&self, _: &[u8; 16], object: &Object) -> u64 {
        let meta = object.meta.0.len() + object.meta.1.len();
        OBJECT_BYTES + (meta + object.body.len()) as u64
    }
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        // A guess at how many objects that is; it sizes tables and bounds nothing.
        let objects = (bytes_max / (16 << 10)).clamp(64, 1 << 20) as usize;
        Self {
            objects: Cache::with_weighter(objects, bytes_max, Weigh),
            purges: Cache::new(PURGES_MAX),
            bytes_max,
            filling: AtomicU64::new(0),
        }
    }

    /// Bytes kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.objects.weight()
    }

    /// Objects kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Forgets every variant of what is kept under a primary key; whether anything might be.
    pub fn forget(&self, primary: &[u8]) -> bool {
        let key = CacheKey::new(primary.to_vec(), "").primary_bin();
        let known = self.objects.remove(&key).is_some();
        self.purges.insert(key, SystemTime::now());
        known
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.objects.clear();
    }

    fn find(&self, key: &[u8; 16]) -> Option<Object> {
        let object = self.objects.get(key)?;
        let purged = self.purges.get(&object.primary);
        if is_purged(object.created, purged) {
            self.objects.remove(key);
            return None;
        }
        Some(object)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("objects", &self.len())
            .field("bytes", &self.bytes())
            .field("bytes_max", &self.bytes_max)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for Store {
    async fn lookup(
        &'static self,
        key: &CacheKey,
        _: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let Some(object) = self.find(&key.combined_bin()) else { return Ok(None) };
        let meta = CacheMeta::deserialize(&object.meta.0, &object.meta.1)?;
        let Object { body, mark, .. } = object;
        let end = body.len();
        Ok(Some((meta, Box::new(Reading { body, next: 0, end, done: false, mark }))))
    }

    async fn get_miss_handler(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _: &SpanHandle,
    ) -> Result<MissHandler> {
        let (internal, head) = meta.serialize()?;
        Ok(Box::new(Filling {
            store: self,
            key: key.combined_bin(),
            primary: key.primary_bin(),
            meta: (internal.into(), head.into()),
            gathered: Gathered::new(self),
            begun: SystemTime::now(),
            marks: key.extensions.get::<Arc<Marks>>().cloned(),
        }))
    }

    async fn purge(
        &'static self,
        target: PurgeTarget<'_>,
        _: PurgeType,
        _: &SpanHandle,
    ) -> Result<PurgeOutcome> {
        Ok(match self.objects.remove(&target.key().combined_bin()) {
            Some(_) => PurgeOutcome::Purged(None),
            None => PurgeOutcome::NotFound,
        })
    }

    async fn update_meta(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _: &SpanHandle,
    ) -> Result<bool> {
        let key = key.combined_bin();
        let Some(mut object) = self.find(&key) else { return Ok(false) };
        let (internal, head) = meta.serialize()?;
        object.meta = (internal.into(), head.into());
        object.created = SystemTime::now();
        self.objects.insert(key, object);
        Ok(true)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}

/// The mark of what is being read.
pub(super) fn mark_of(hit: &HitHandler) -> Option<&Mark> {
    hit.as_any().downcast_ref::<Reading>()?.mark.as_deref()
}

/// An object being read.
struct Reading {
    body: Bytes,
    next: usize,
    end: usize,
    done: bool,
    mark: Option<Arc<Mark>>,
}

#[async_trait]
impl HandleHit for Reading {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        if self.done {
            return Ok(None);
        }
        self.done = true;
        Ok(Some(self.body.slice(self.next..self.end)))
    }

    async fn finish(
        self: Box<Self>,
        _: &'static (dyn Storage + Sync),
        _: &CacheKey,
        _: &SpanHandle,
    ) -> Result<()> {
        Ok(())
    }

    fn can_seek(&self) -> bool {
        true
    }

    fn seek(&mut self, start: usize, end: Option<usize>) -> Result<()> {
        if start >= self.body.len() {
            return Err(Error::explain(ErrorType::InternalError, "a range behind the end"));
        }
        self.next = start;
        self.end = end.unwrap_or(self.body.len()).min(self.body.len());
        self.done = false;
        Ok(())
    }

    fn get_eviction_weight(&self) -> usize {
        self.body.len()
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}
