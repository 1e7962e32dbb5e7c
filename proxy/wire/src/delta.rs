//! A delta: what takes the holder of one table to the next. It names absolute values, never
//! differences, so applying it can be checked against the digest it leads to.

use crate::{
    codec,
    directive::Directive,
    ids::{BUCKETS, Bucket, DirectiveId, Version},
    session_key::SessionKey,
    table::{Facts, Home},
};

/// What takes the holder of table `base` to table `version`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The table it starts from.
    pub base: Version,
    /// The table it leads to.
    pub version: Version,
    /// When that table was drawn up, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// What the operator states, whole, if any of it changed.
    pub facts: Option<Facts>,
    /// Buckets with a new owner or epoch.
    pub buckets: Vec<BucketRun>,
    /// Exceptions that are new or changed.
    pub set: Vec<(SessionKey, Home)>,
    /// Exceptions that are gone.
    pub removed: Vec<SessionKey>,
    /// Directives that are new.
    pub directives: Vec<Directive>,
    /// Directives whose outcome is known, or that were withdrawn.
    pub withdrawn: Vec<DirectiveId>,
    /// The digest of the table it leads to.
    pub digest: u64,
}

/// Neighbouring buckets with one new owner and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketRun {
    /// The first of them.
    pub first: Bucket,
    /// How many.
    pub count: u32,
    /// Their owner and epoch.
    pub home: Home,
}

impl BucketRun {
    /// The buckets of the run; a run over the end of the key space stops there.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + use<> {
        let first = self.first.index();
        (first..(first + self.count as usize).min(BUCKETS)).map(|index| Bucket(index as u16))
    }
}

impl Delta {
    /// An empty change that will lead to `version`.
    #[must_use]
    pub fn to(version: Version, created_ms: u64) -> Self {
        Self { version, created_ms, ..Self::default() }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.facts.is_none()
            && self.buckets.is_empty()
            && self.set.is_empty()
            && self.removed.is_empty()
            && self.directives.is_empty()
            && self.withdrawn.is_empty()
    }

    /// The sealed bytes, for the link.
    #[must_use]
    pub fn encode(&self) -> bytes::Bytes {
        codec::delta::encode(self)
    }

    /// Reads sealed bytes.
    ///
    /// # Errors
    /// Damage, an unknown format, or content no delta can have.
    pub fn decode(frame: &[u8]) -> Result<Self, codec::DecodeFault> {
        codec::delta::decode(frame)
    }
}
