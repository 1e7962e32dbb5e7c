//! The table's digest: a wrapping sum of one hash per entry. A sum, not a chain, so that a delta
//! updates it by what it touches and two proxies that took different roads to the same table agree.

use std::collections::BTreeMap;

use prost::Message as _;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Buckets, Facts, Home, PlacementTable, Sums};
use crate::{codec, delta::Delta, directive::Directive, ids::Bucket, session_key::SessionKey};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest(pub(crate) u64);

impl Digest {
    pub(super) fn of<'a>(
        facts: &Facts,
        buckets: &Buckets,
        exceptions: &BTreeMap<SessionKey, Home>,
        directives: impl Iterator<Item = &'a Directive>,
    ) -> Self {
        Self(Sums::of(facts, buckets, exceptions, directives).digest())
    }

    /// The digest once `change` is applied to `table`, whose digest this is. Entries a change
    /// names more than once count as its last word, which is how it is applied.
    pub(super) fn after(self, table: &PlacementTable, change: &Delta) -> Self {
        let mut sum = self.0;
        let mut swap = |old: Option<u64>, new: Option<u64>| {
            sum = sum.wrapping_sub(old.unwrap_or(0)).wrapping_add(new.unwrap_or(0));
        };
        if let Some(facts) = &change.facts {
            swap(Some(facts_hash(&table.facts)), Some(facts_hash(facts)));
        }
        let mut buckets = BTreeMap::new();
        for run in &change.buckets {
            buckets.extend(run.buckets().map(|bucket| (bucket, run.home)));
        }
        for (bucket, home) in buckets {
            let old = bucket_hash(bucket, table.buckets.home(bucket));
            swap(Some(old), Some(bucket_hash(bucket, home)));
        }
        let mut exceptions: BTreeMap<_, _> =
            change.removed.iter().map(|key| (*key, None)).collect();
        exceptions.extend(change.set.iter().map(|(key, home)| (*key, Some(*home))));
        for (key, home) in exceptions {
            let old = table.exceptions.get(&key).map(|home| exception_hash(key, *home));
            swap(old, home.map(|home| exception_hash(key, home)));
        }
        let mut directives: BTreeMap<_, _> =
            change.withdrawn.iter().map(|id| (*id, None)).collect();
        directives
            .extend(change.directives.iter().map(|directive| (directive.id, Some(directive))));
        for (id, directive) in directives {
            let old = table.directives.get(&id).map(directive_hash);
            swap(old, directive.map(directive_hash));
        }
        Self(sum)
    }
}

pub(super) fn facts_hash(facts: &Facts) -> u64 {
    xxh3_64_with_seed(&codec::facts::to_proto(facts).encode_to_vec(), 1)
}

pub(super) fn bucket_hash(bucket: Bucket, home: Home) -> u64 {
    let mut bytes = [0; 11];
    bytes[..2].copy_from_slice(&bucket.0.to_le_bytes());
    bytes[2] = home.zone.0;
    bytes[3..].copy_from_slice(&home.epoch.0.to_le_bytes());
    xxh3_64_with_seed(&bytes, 2)
}

pub(super) fn exception_hash(key: SessionKey, home: Home) -> u64 {
    let mut bytes = [0; 25];
    bytes[..16].copy_from_slice(&key.0.to_le_bytes());
    bytes[16] = home.zone.0;
    bytes[17..].copy_from_slice(&home.epoch.0.to_le_bytes());
    xxh3_64_with_seed(&bytes, 3)
}

pub(super) fn directive_hash(directive: &Directive) -> u64 {
    xxh3_64_with_seed(&codec::directive_to_proto(directive).encode_to_vec(), 4)
}
