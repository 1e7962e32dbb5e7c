//! The placement table compiled for lookup: who owns a session, in one or two cache lines. The
//! published table keeps its exceptions ordered by key for digests and deltas, which costs some
//! twenty dependent reads a lookup; this form answers on every request, so it is flat.

use std::{collections::BTreeMap, sync::Arc};

use homing_wire::{
    BUCKETS, Bucket, Epoch, SessionKey, ZoneId,
    delta::Delta,
    table::{Home, PlacementTable},
};

mod exceptions;
#[cfg(test)]
mod tests;

use exceptions::Exceptions;

/// Bits of a bucket's entry that hold its epoch, counted from the lowest bucket epoch.
const EPOCH_BITS: u32 = 24;
/// Says that a bucket's epoch is further from the lowest one than its entry can tell.
const FAR: u32 = (1 << EPOCH_BITS) - 1;

/// A compiled placement table.
///
/// 256 KiB for the buckets and less than 12 bytes an exception. Copies made by [`Self::with_delta`]
/// share what the delta does not touch.
///
/// Exceptions are recognised by 40 bits of a hash of their key and by their position, some sixty
/// bits together. Two exceptions that agree in all of them are told apart exactly. A session that
/// is no exception is taken for one with a probability near 1e-12; all proxies that hold the same
/// exceptions then agree on it.
#[derive(Clone)]
pub struct Placement {
    /// `zone << 24 | epoch - base`, by bucket.
    buckets: Arc<[u32]>,
    /// The epoch that an entry of zero means.
    base: u64,
    /// Epochs of the buckets marked [`FAR`].
    far: Arc<BTreeMap<Bucket, Epoch>>,
    /// Buckets owned, by zone index.
    owned: Arc<[u32]>,
    exceptions: Exceptions,
}

/// Where the table says a session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Placed {
    /// Its owner, and the higher of the epochs of its bucket and its exception.
    pub home: Home,
    /// Whether it is owned by an exception and not by its bucket.
    pub exceptional: bool,
}

impl Placement {
    /// Compiles a whole table. Off the hot path: some milliseconds plus 0.1 µs an exception.
    #[must_use]
    pub fn compile(table: &PlacementTable) -> Self {
        let epochs = table.buckets().epochs();
        let base = epochs.iter().copied().min().unwrap_or(Epoch::FIRST.0);
        let mut far = BTreeMap::new();
        let entry = |index: usize| {
            let bucket = Bucket(index as u16);
            entry(bucket, table.buckets().home(bucket), base, &mut far)
        };
        let buckets: Arc<[u32]> = (0..BUCKETS).map(entry).collect();
        Self {
            owned: count_owned(&buckets),
            buckets,
            base,
            far: Arc::new(far),
            exceptions: Exceptions::build(table.exceptions()),
        }
    }

    /// The placement after a delta: `after` is the table that the delta led to.
    ///
    /// Off the hot path: copies 36 KiB for each part of the exceptions that the delta touches. If
    /// the delta does not fit in place (no room left, or two keys that cannot be told apart), the
    /// exceptions are compiled anew.
    #[must_use]
    pub fn with_delta(&self, after: &PlacementTable, delta: &Delta) -> Self {
        let mut next = self.clone();
        if !delta.buckets.is_empty() {
            next.set_buckets(delta);
        }
        let fits = next.exceptions.apply(&delta.removed, &delta.set);
        if !fits || next.exceptions.len() != after.exceptions().len() {
            next.exceptions = Exceptions::build(after.exceptions());
        }
        next
    }

    fn set_buckets(&mut self, delta: &Delta) {
        let mut buckets = self.buckets.to_vec();
        let far = Arc::make_mut(&mut self.far);
        for run in &delta.buckets {
            for bucket in run.buckets() {
                buckets[bucket.index()] = entry(bucket, run.home, self.base, far);
            }
        }
        self.buckets = buckets.into();
        self.owned = count_owned(&self.buckets);
    }

    /// Where the session lives by this table. An exception wins over the bucket.
    #[inline]
    #[must_use]
    pub fn home(&self, key: SessionKey) -> Placed {
        let bucket = self.bucket_home(key.bucket());
        match self.exceptions.find(key) {
            None => Placed { home: bucket, exceptional: false },
            Some(own) => Placed {
                home: Home { zone: own.zone, epoch: own.epoch.max(bucket.epoch) },
                exceptional: true,
            },
        }
    }

    /// The owner of a bucket.
    #[inline]
    #[must_use]
    pub fn bucket_home(&self, bucket: Bucket) -> Home {
        let entry = self.buckets[bucket.index()];
        let epoch = match entry & FAR {
            FAR => self.far.get(&bucket).copied().unwrap_or(Epoch(self.base)),
            low => Epoch(self.base + u64::from(low)),
        };
        Home { zone: ZoneId((entry >> EPOCH_BITS) as u8), epoch }
    }

    /// How many buckets a zone owns.
    #[must_use]
    pub fn buckets_owned(&self, zone: ZoneId) -> u32 {
        self.owned.get(zone.index()).copied().unwrap_or(0)
    }

    /// How many exceptions it holds.
    #[must_use]
    pub fn exceptions(&self) -> usize {
        self.exceptions.len()
    }

    /// Bytes it occupies: for the buckets, and for the exceptions.
    #[must_use]
    pub fn bytes(&self) -> (usize, usize) {
        (self.buckets.len() * size_of::<u32>(), self.exceptions.bytes())
    }
}

impl std::fmt::Debug for Placement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Placement").field("exceptions", &self.exceptions()).finish_non_exhaustive()
    }
}

fn entry(bucket: Bucket, home: Home, base: u64, far: &mut BTreeMap<Bucket, Epoch>) -> u32 {
    let low = match home.epoch.0.checked_sub(base) {
        Some(low) if low < u64::from(FAR) => {
            far.remove(&bucket);
            low as u32
        }
        _ => {
            far.insert(bucket, home.epoch);
            FAR
        }
    };
    u32::from(home.zone.0) << EPOCH_BITS | low
}

fn count_owned(buckets: &[u32]) -> Arc<[u32]> {
    let mut owned = vec![0; usize::from(u8::MAX) + 1];
    for entry in buckets {
        owned[(entry >> EPOCH_BITS) as usize] += 1;
    }
    owned.into()
}
