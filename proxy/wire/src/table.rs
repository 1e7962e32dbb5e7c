//! The placement table: what control publishes and proxies swap in. It can only be had sealed:
//! built by hand, decoded from bytes or advanced by a delta, it passes the same checks, so nothing
//! behind this module ever sees a bucket without an owner or a directive to nowhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    codec,
    delta::Delta,
    directive::Directive,
    ids::{BUCKETS, DirectiveId, Epoch, Version, ZoneId},
    limits::{DIRECTIVES_MAX, EXCEPTIONS_MAX},
    policy::Policy,
    service::Service,
    session_key::SessionKey,
    zone::{Place, Zone},
};

mod buckets;
mod check;
mod digest;
mod mend;
mod sums;

pub use buckets::{Buckets, bucket_weights};
pub use check::TableFault;
use check::{
    check_count, check_directives, check_facts, check_home, check_homes, check_one_per_session,
    check_ownership,
};
pub(crate) use digest::Digest;
pub use sums::{SEGMENTS, Sums, segment};

/// Who owns a bucket or a session, and since which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Home {
    /// The owner.
    pub zone: ZoneId,
    /// The fence number of its ownership.
    pub epoch: Epoch,
}

/// What the operator states: the part of a table that changes when a document is pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The zones; a [`ZoneId`] is an index into them.
    pub zones: Vec<Zone>,
    /// The services; a [`crate::ServiceId`] is an index into them.
    pub services: Vec<Service>,
    /// The client places; a [`crate::PlaceId`] is an index into them.
    pub places: Vec<Place>,
    /// The policy.
    pub policy: Policy,
}

impl Facts {
    /// The zone of that name.
    #[must_use]
    pub fn zone_named(&self, name: &str) -> Option<ZoneId> {
        self.zones.iter().position(|zone| zone.name == name).map(|index| ZoneId(index as u8))
    }
}

/// A table before it is sealed: everything may be wrong.
#[derive(Clone, Debug)]
pub struct TableDraft {
    /// Its number.
    pub version: Version,
    /// When it was drawn up, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// What the operator states.
    pub facts: Facts,
    /// Who owns each bucket.
    pub buckets: Buckets,
    /// Sessions owned elsewhere than their bucket, or at a higher epoch.
    pub exceptions: BTreeMap<SessionKey, Home>,
    /// Orders whose outcome is not known yet.
    pub directives: BTreeMap<DirectiveId, Directive>,
}

/// A sealed placement table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementTable {
    version: Version,
    created_ms: u64,
    facts: Arc<Facts>,
    buckets: Buckets,
    exceptions: BTreeMap<SessionKey, Home>,
    directives: BTreeMap<DirectiveId, Directive>,
    digest: Digest,
}

impl TableDraft {
    /// The first table of an installation: buckets dealt out by the zones' capacity in sessions,
    /// open zones only.
    #[must_use]
    pub fn first(version: Version, facts: Facts, created_ms: u64) -> Self {
        let buckets = Buckets::by_weight(&bucket_weights(&facts.zones));
        Self {
            version,
            created_ms,
            facts,
            buckets,
            exceptions: BTreeMap::new(),
            directives: BTreeMap::new(),
        }
    }

    /// Checks everything and closes the draft.
    ///
    /// # Errors
    /// All faults, at most a hundred.
    pub fn seal(self) -> Result<PlacementTable, Vec<TableFault>> {
        let mut faults = Vec::new();
        check_facts(&self.facts, &mut faults);
        check_ownership(&self, &mut faults);
        check_directives(self.directives.values(), self.facts.zones.len(), &mut faults);
        faults.truncate(check::FAULTS_MAX);
        if !faults.is_empty() {
            return Err(faults);
        }
        let digest =
            Digest::of(&self.facts, &self.buckets, &self.exceptions, self.directives.values());
        Ok(PlacementTable {
            version: self.version,
            created_ms: self.created_ms,
            facts: Arc::new(self.facts),
            buckets: self.buckets,
            exceptions: self.exceptions,
            directives: self.directives,
            digest,
        })
    }
}

impl PlacementTable {
    /// Its number.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// When it was drawn up, milliseconds since the Unix epoch.
    #[must_use]
    pub fn created_ms(&self) -> u64 {
        self.created_ms
    }

    /// What the operator states.
    #[must_use]
    pub fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// Who owns each bucket.
    #[must_use]
    pub fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// Sessions owned elsewhere than their bucket, or at a higher epoch, by key.
    #[must_use]
    pub fn exceptions(&self) -> &BTreeMap<SessionKey, Home> {
        &self.exceptions
    }

    /// Orders whose outcome is not known yet, by id.
    #[must_use]
    pub fn directives(&self) -> &BTreeMap<DirectiveId, Directive> {
        &self.directives
    }

    /// A number that two equal tables share and two different ones almost never do. It does not
    /// cover the version or the time.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.0
    }

    /// Who owns a session by this table. An exception always wins over the bucket; the epoch is
    /// the higher of the two, so that removing an exception can never lower it unseen.
    #[must_use]
    pub fn home(&self, key: SessionKey) -> Home {
        let bucket = self.buckets.home(key.bucket());
        match self.exceptions.get(&key) {
            Some(own) => Home { zone: own.zone, epoch: own.epoch.max(bucket.epoch) },
            None => bucket,
        }
    }

    /// Draws up the next table: checks the change whole, applies it, and returns the delta that
    /// takes any holder of this table there. `change.base` and `change.digest` are filled in.
    ///
    /// # Errors
    /// All faults of the change; the table is then as it was.
    pub fn advance(&mut self, mut change: Delta) -> Result<Delta, Vec<TableFault>> {
        change.base = self.version;
        change.digest = self.check(&change)?.0;
        self.apply_checked(&change);
        Ok(change)
    }

    /// Applies a delta that someone else drew up.
    ///
    /// # Errors
    /// The table is then as it was.
    pub fn apply(&mut self, delta: &Delta) -> Result<(), DeltaRefused> {
        if delta.base != self.version {
            return Err(DeltaRefused::Base { holds: self.version, base: delta.base });
        }
        if delta.version <= self.version {
            return Err(DeltaRefused::Older { holds: self.version, offered: delta.version });
        }
        let digest = self.check(delta).map_err(DeltaRefused::Faults)?;
        if digest.0 != delta.digest {
            return Err(DeltaRefused::Digest { found: digest.0, expected: delta.digest });
        }
        self.apply_checked(delta);
        Ok(())
    }

    /// What the digest will be; every fault if the change cannot be applied.
    fn check(&self, change: &Delta) -> Result<Digest, Vec<TableFault>> {
        let mut faults = Vec::new();
        let facts = change.facts.as_ref().unwrap_or(&self.facts);
        if change.facts.is_some() {
            check_facts(facts, &mut faults);
        }
        let zones = facts.zones.len();
        let shrinks = zones < self.facts.zones.len();
        check_homes(change.set.iter(), zones, &mut faults);
        for run in &change.buckets {
            if usize::from(run.first.0) + run.count as usize > BUCKETS || run.count == 0 {
                faults.push(TableFault::TooMany {
                    what: "buckets in a run",
                    count: run.count as usize,
                    max: BUCKETS - run.first.index(),
                });
            }
            check_home(|| format!("bucket {}", run.first), run.home, zones, &mut faults);
        }
        check_directives(change.directives.iter(), zones, &mut faults);
        if faults.is_empty() {
            self.check_result(change, zones, shrinks, &mut faults);
        }
        faults.truncate(check::FAULTS_MAX);
        if faults.is_empty() { Ok(self.digest.after(self, change)) } else { Err(faults) }
    }

    /// The checks that need the table as it will be: sizes, one directive a session, and, where
    /// zones went away, that nothing names them any more.
    fn check_result(
        &self,
        change: &Delta,
        zones: usize,
        shrinks: bool,
        faults: &mut Vec<TableFault>,
    ) {
        let exceptions = self.exceptions.len() + change.set.len();
        check_count("exceptions", exceptions, EXCEPTIONS_MAX, faults);
        let directives = self.directives.len() + change.directives.len();
        check_count("directives", directives, DIRECTIVES_MAX, faults);
        if !change.directives.is_empty() {
            let gone: BTreeSet<_> = change.withdrawn.iter().collect();
            let renewed: BTreeSet<_> =
                change.directives.iter().map(|directive| directive.id).collect();
            let kept = self
                .directives
                .values()
                .filter(|directive| !gone.contains(&directive.id))
                .filter(|directive| !renewed.contains(&directive.id));
            check_one_per_session(kept.chain(&change.directives), faults);
        }
        if shrinks {
            let mut after = self.clone();
            after.apply_checked(change);
            let draft = TableDraft {
                version: after.version,
                created_ms: after.created_ms,
                facts: Facts::clone(&after.facts),
                buckets: after.buckets,
                exceptions: after.exceptions,
                directives: after.directives,
            };
            check_ownership(&draft, faults);
            check_directives(draft.directives.values(), zones, faults);
        }
    }

    fn apply_checked(&mut self, change: &Delta) {
        self.version = change.version;
        self.created_ms = change.created_ms;
        self.digest = Digest(change.digest);
        if let Some(facts) = &change.facts {
            self.facts = Arc::new(facts.clone());
        }
        for run in &change.buckets {
            for bucket in run.buckets() {
                self.buckets.set(bucket, run.home);
            }
        }
        for key in &change.removed {
            self.exceptions.remove(key);
        }
        self.exceptions.extend(change.set.iter().copied());
        for id in &change.withdrawn {
            self.directives.remove(id);
        }
        self.directives.extend(change.directives.iter().map(|d| (d.id, d.clone())));
    }

    /// The sealed bytes, for the link and the disk.
    #[must_use]
    pub fn encode(&self) -> bytes::Bytes {
        codec::table::encode(self)
    }

    /// Reads sealed bytes.
    ///
    /// # Errors
    /// Damage, an unknown format, or any fault that sealing finds.
    pub fn decode(frame: &[u8]) -> Result<Self, codec::DecodeFault> {
        codec::table::decode(frame)
    }
}

/// Why a delta was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaRefused {
    /// It starts from another table: ask for a whole one.
    #[error("it starts from {base}, this table is {holds}")]
    Base {
        /// The version held.
        holds: Version,
        /// The version it starts from.
        base: Version,
    },
    /// It leads backwards.
    #[error("it leads to {offered}, this table is already {holds}")]
    Older {
        /// The version held.
        holds: Version,
        /// The version offered.
        offered: Version,
    },
    /// It does not lead where its author says.
    #[error("it leads to digest {found:016x}, its author says {expected:016x}")]
    Digest {
        /// The digest it leads to.
        found: u64,
        /// The digest it was sent with.
        expected: u64,
    },
    /// Its content is wrong.
    #[error("{}", list(.0))]
    Faults(Vec<TableFault>),
}

pub(crate) fn list(faults: &[TableFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
