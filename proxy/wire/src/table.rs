//! The placement table: what control publishes and proxies swap in. It can only be had sealed:
//! built by hand, decoded from bytes or advanced by a delta, it passes the same checks, so nothing
//! behind this module ever sees a bucket without an owner or a directive to nowhere.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    codec,
    delta::Delta,
    directive::Directive,
    ids::{BUCKETS, Bucket, DirectiveId, Epoch, Version, ZONES_MAX, ZoneId},
    limits::{DIRECTIVES_MAX, EXCEPTIONS_MAX, PLACES_MAX, SERVICES_MAX},
    policy::Policy,
    service::Service,
    session_key::SessionKey,
    zone::{Place, Zone},
};

mod digest;

pub(crate) use digest::Digest;

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
        self.zones
            .iter()
            .position(|zone| zone.name == name)
            .map(|index| ZoneId(index as u8))
    }
}

/// The owner of every bucket.
#[derive(Clone, PartialEq, Eq)]
pub struct Buckets {
    zones: Box<[u8]>,
    epochs: Box<[u64]>,
}

impl Buckets {
    /// Deals the buckets out so that each zone owns a share in proportion to its weight, spread
    /// evenly over the key space, every bucket at the first epoch.
    ///
    /// `weights` is by zone index. With every weight zero, all zones share equally.
    #[must_use]
    pub fn by_weight(weights: &[u64]) -> Self {
        let even = vec![1; weights.len()];
        let weights = if weights.iter().all(|weight| *weight == 0) {
            &even
        } else {
            weights
        };
        let total: u128 = weights
            .iter()
            .map(|weight| u128::from(*weight))
            .sum::<u128>()
            .max(1);
        // Smooth weighted round robin (as nginx does for upstreams): neighbours differ, shares are exact.
        let mut credit = vec![0_i128; weights.len()];
        let zones = (0..BUCKETS).map(|_| {
            let mut best = 0;
            for (index, weight) in weights.iter().enumerate() {
                credit[index] += i128::from(*weight);
                if credit[index] > credit[best] {
                    best = index;
                }
            }
            if let Some(credit) = credit.get_mut(best) {
                *credit -= total as i128;
            }
            best as u8
        });
        Self {
            zones: zones.collect(),
            epochs: vec![Epoch::FIRST.0; BUCKETS].into(),
        }
    }

    /// The owner of one bucket.
    #[must_use]
    pub fn home(&self, bucket: Bucket) -> Home {
        Home {
            zone: ZoneId(self.zones[bucket.index()]),
            epoch: Epoch(self.epochs[bucket.index()]),
        }
    }

    /// The zone numbers of all buckets, in bucket order.
    #[must_use]
    pub fn zones(&self) -> &[u8] {
        &self.zones
    }

    /// The epochs of all buckets, in bucket order.
    #[must_use]
    pub fn epochs(&self) -> &[u64] {
        &self.epochs
    }

    /// The buckets a zone owns, in order.
    pub fn owned_by(&self, zone: ZoneId) -> impl Iterator<Item = Bucket> + '_ {
        let mine =
            move |(index, owner): (usize, &u8)| (*owner == zone.0).then_some(Bucket(index as u16));
        self.zones.iter().enumerate().filter_map(mine)
    }

    pub(crate) fn from_arrays(zones: Vec<u8>, epochs: Vec<u64>) -> Option<Self> {
        (zones.len() == BUCKETS && epochs.len() == BUCKETS).then(|| Self {
            zones: zones.into(),
            epochs: epochs.into(),
        })
    }

    pub(crate) fn set(&mut self, bucket: Bucket, home: Home) {
        self.zones[bucket.index()] = home.zone.0;
        self.epochs[bucket.index()] = home.epoch.0;
    }
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets").finish_non_exhaustive()
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

/// Why a table cannot be sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableFault {
    /// No zone, or more than ids can name.
    #[error("{0} zones, a table holds 1 to {ZONES_MAX}")]
    ZoneCount(usize),
    /// More of something than its bound.
    #[error("{count} {what}, over the bound of {max}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// Two zones or services share a name.
    #[error("two {what} named {name:?}")]
    DuplicateName {
        /// `zones` or `services`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Something names a zone that the table does not have.
    #[error("{0} names a zone the table does not have")]
    UnknownZone(String),
    /// Something is owned at epoch 0.
    #[error("{0} has epoch 0; ownership starts at 1")]
    ZeroEpoch(String),
    /// A place's round trips do not match the zones.
    #[error("place {place:?} has {have} round trips for {want} zones")]
    PlaceShape {
        /// The place.
        place: String,
        /// Values it has.
        have: usize,
        /// Values due.
        want: usize,
    },
    /// A directive that cannot be carried out.
    #[error("directive {directive}: {problem}")]
    Directive {
        /// Which.
        directive: DirectiveId,
        /// What is wrong with it.
        problem: &'static str,
    },
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
        check_directives(
            self.directives.values(),
            self.facts.zones.len(),
            &mut faults,
        );
        faults.truncate(100);
        if !faults.is_empty() {
            return Err(faults);
        }
        let digest = Digest::of(
            &self.facts,
            &self.buckets,
            &self.exceptions,
            self.directives.values(),
        );
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

/// What share of the buckets each zone gets: its capacity in sessions, the mean of the others
/// where none is stated, nothing where it takes no sessions.
#[must_use]
pub fn bucket_weights(zones: &[Zone]) -> Vec<u64> {
    let open = |zone: &&Zone| zone.intake == crate::zone::Intake::Open;
    let stated: Vec<u64> = zones
        .iter()
        .filter(open)
        .map(|zone| zone.capacity.sessions)
        .filter(|sessions| *sessions > 0)
        .collect();
    let mean = match stated.len() as u128 {
        0 => 1,
        count => (stated.iter().map(|s| u128::from(*s)).sum::<u128>() / count) as u64,
    };
    let weight = |zone: &Zone| match (open(&zone), zone.capacity.sessions) {
        (false, _) => 0,
        (true, 0) => mean,
        (true, sessions) => sessions,
    };
    zones.iter().map(weight).collect()
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
            Some(own) => Home {
                zone: own.zone,
                epoch: own.epoch.max(bucket.epoch),
            },
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
            return Err(DeltaRefused::Base {
                holds: self.version,
                base: delta.base,
            });
        }
        if delta.version <= self.version {
            return Err(DeltaRefused::Older {
                holds: self.version,
                offered: delta.version,
            });
        }
        let digest = self.check(delta).map_err(DeltaRefused::Faults)?;
        if digest.0 != delta.digest {
            return Err(DeltaRefused::Digest {
                found: digest.0,
                expected: delta.digest,
            });
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
            check_home(
                || format!("bucket {}", run.first),
                run.home,
                zones,
                &mut faults,
            );
        }
        check_directives(change.directives.iter(), zones, &mut faults);
        if faults.is_empty() {
            self.check_result(change, zones, shrinks, &mut faults);
        }
        faults.truncate(100);
        if faults.is_empty() {
            Ok(self.digest.after(self, change))
        } else {
            Err(faults)
        }
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
            let gone: std::collections::BTreeSet<_> = change.withdrawn.iter().collect();
            let renewed: std::collections::BTreeSet<_> = change
                .directives
                .iter()
                .map(|directive| directive.id)
                .collect();
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
        self.directives
            .extend(change.directives.iter().map(|d| (d.id, d.clone())));
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
    faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

fn check_count(what: &'static str, count: usize, max: usize, faults: &mut Vec<TableFault>) {
    if count > max {
        faults.push(TableFault::TooMany { what, count, max });
    }
}

fn check_facts(facts: &Facts, faults: &mut Vec<TableFault>) {
    let zones = facts.zones.len();
    if zones == 0 || zones > ZONES_MAX {
        faults.push(TableFault::ZoneCount(zones));
    }
    check_count("services", facts.services.len(), SERVICES_MAX, faults);
    check_count("places", facts.places.len(), PLACES_MAX, faults);
    check_names(
        "zones",
        facts.zones.iter().map(|zone| zone.name.as_str()),
        faults,
    );
    check_names(
        "services",
        facts.services.iter().map(|service| service.name.as_str()),
        faults,
    );
    for place in facts
        .places
        .iter()
        .filter(|place| place.rtt_us.len() != zones)
    {
        faults.push(TableFault::PlaceShape {
            place: place.name.clone(),
            have: place.rtt_us.len(),
            want: zones,
        });
    }
    for service in &facts.services {
        if service
            .endpoints
            .iter()
            .any(|(zone, _)| zone.index() >= zones)
        {
            faults.push(TableFault::UnknownZone(format!(
                "service {:?}",
                service.name
            )));
        }
    }
}

fn check_names<'a>(
    what: &'static str,
    names: impl Iterator<Item = &'a str>,
    faults: &mut Vec<TableFault>,
) {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            faults.push(TableFault::DuplicateName {
                what,
                name: name.to_owned(),
            });
        }
    }
}

fn check_home(what: impl Fn() -> String, home: Home, zones: usize, faults: &mut Vec<TableFault>) {
    // A damaged table can hold millions of these; a hundred tell the story.
    if faults.len() >= 100 {
        return;
    }
    if home.zone.index() >= zones {
        faults.push(TableFault::UnknownZone(what()));
    }
    if home.epoch.0 == 0 {
        faults.push(TableFault::ZeroEpoch(what()));
    }
}

fn check_homes<'a>(
    homes: impl Iterator<Item = &'a (SessionKey, Home)>,
    zones: usize,
    faults: &mut Vec<TableFault>,
) {
    for (key, home) in homes {
        check_home(|| format!("exception {key}"), *home, zones, faults);
    }
}

fn check_ownership(draft: &TableDraft, faults: &mut Vec<TableFault>) {
    let zones = draft.facts.zones.len();
    for index in 0..BUCKETS {
        let bucket = Bucket(index as u16);
        check_home(
            || format!("bucket {bucket}"),
            draft.buckets.home(bucket),
            zones,
            faults,
        );
    }
    check_count("exceptions", draft.exceptions.len(), EXCEPTIONS_MAX, faults);
    for (key, home) in &draft.exceptions {
        check_home(|| format!("exception {key}"), *home, zones, faults);
    }
    check_count("directives", draft.directives.len(), DIRECTIVES_MAX, faults);
    check_one_per_session(draft.directives.values(), faults);
}

fn check_directives<'a>(
    directives: impl Iterator<Item = &'a Directive>,
    zones: usize,
    faults: &mut Vec<TableFault>,
) {
    for directive in directives {
        let mut fault = |problem| {
            faults.push(TableFault::Directive {
                directive: directive.id,
                problem,
            });
        };
        if directive.from == directive.to {
            fault("its source is its target");
        }
        if directive.from.index() >= zones || directive.to.index() >= zones {
            fault("it names a zone the table does not have");
        }
        if directive.epoch <= Epoch::FIRST {
            fault("its epoch is not above the first");
        }
    }
}

fn check_one_per_session<'a>(
    directives: impl Iterator<Item = &'a Directive>,
    faults: &mut Vec<TableFault>,
) {
    let mut seen = std::collections::BTreeSet::new();
    for directive in directives {
        if !seen.insert(directive.key) {
            let problem = "another directive already moves its session";
            faults.push(TableFault::Directive {
                directive: directive.id,
                problem,
            });
        }
    }
}
