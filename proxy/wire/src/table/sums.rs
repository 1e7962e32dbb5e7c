//! Sums of a table's parts, taken from what it really holds. Two processes that compare theirs know
//! which parts differ, and need not send each other the rest.

use std::collections::BTreeMap;

use super::{
    Buckets, Facts, Home, PlacementTable,
    digest::{bucket_hash, directive_hash, exception_hash, facts_hash},
};
use crate::{
    directive::Directive,
    ids::{BUCKETS, Bucket},
    session_key::SessionKey,
};

/// Segments the exceptions are summed by: one for each first byte of a session key, so that a
/// segment is a range of the exceptions in their order.
pub const SEGMENTS: usize = 256;

/// One sum for each part of a table. All together they are its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Of the exceptions, by segment.
    pub segments: [u64; SEGMENTS],
    /// Of what the operator states.
    pub facts: u64,
    /// Of the buckets.
    pub buckets: u64,
    /// Of the directives.
    pub directives: u64,
}

/// The segment that holds a session's exception.
#[must_use]
pub fn segment(key: SessionKey) -> u8 {
    (key.0 >> 120) as u8
}

impl Sums {
    pub(super) fn of<'a>(
        facts: &Facts,
        buckets: &Buckets,
        exceptions: &BTreeMap<SessionKey, Home>,
        directives: impl Iterator<Item = &'a Directive>,
    ) -> Self {
        let mut segments = [0_u64; SEGMENTS];
        for (key, home) in exceptions {
            let sum = &mut segments[usize::from(segment(*key))];
            *sum = sum.wrapping_add(exception_hash(*key, *home));
        }
        let hash = |index: usize| {
            let bucket = Bucket(index as u16);
            bucket_hash(bucket, buckets.home(bucket))
        };
        Self {
            segments,
            facts: facts_hash(facts),
            buckets: sum((0..BUCKETS).map(hash)),
            directives: sum(directives.map(directive_hash)),
        }
    }

    /// What the digest of a table with these sums must be.
    #[must_use]
    pub fn digest(&self) -> u64 {
        sum(self.segments.into_iter().chain([self.facts, self.buckets, self.directives]))
    }

    /// The segments whose sums differ, in order.
    pub fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u8> + 'a {
        let pairs = self.segments.iter().zip(&other.segments);
        (0..=u8::MAX).zip(pairs).filter(|(_, (ours, theirs))| ours != theirs).map(|(at, _)| at)
    }
}

fn sum(hashes: impl Iterator<Item = u64>) -> u64 {
    hashes.fold(0, u64::wrapping_add)
}

impl PlacementTable {
    /// Sums what the table holds, without looking at its digest, which is kept by changes and so
    /// would not tell of entries that were spoilt. Some 15 ns an exception and a millisecond.
    #[must_use]
    pub fn sums(&self) -> Sums {
        Sums::of(&self.facts, &self.buckets, &self.exceptions, self.directives.values())
    }

    /// The exceptions of one segment, by key.
    pub fn exceptions_of(&self, segment: u8) -> impl Iterator<Item = (SessionKey, Home)> + use<'_> {
        let first = u128::from(segment) << 120;
        let range = SessionKey(first)..=SessionKey(first | (u128::MAX >> 8));
        self.exceptions.range(range).map(|(key, home)| (*key, *home))
    }
}
