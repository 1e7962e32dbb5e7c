//! The small numbers that name things across processes. They are distinct types so that an epoch
//! can never be passed where a version is meant; none of them carries behaviour.

use std::fmt;

/// How many slices the key space has. A table names an owner for each of them.
pub const BUCKETS: usize = 65_536;

/// Most zones one table may hold. Zone ids are one byte in the compiled placement, and the last
/// values are kept free for marks.
pub const ZONES_MAX: usize = 250;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A zone's index in the table's zone list. Control never reuses the id of a removed zone
    /// while any exception or directive names it.
    ZoneId(u8)
}
number! {
    /// A service's index in the table's service list.
    ServiceId(u16)
}
number! {
    /// A client place's index in the table's place list (a city, a network, a country).
    PlaceId(u16)
}
number! {
    /// One of [`BUCKETS`] slices of the key space.
    Bucket(u16)
}
number! {
    /// The fence number of a bucket's or session's ownership. It only rises; a gate that holds a
    /// session at a lower epoch than another has lost it.
    Epoch(u64)
}
number! {
    /// One life of one gate process. A new life starts with nothing and is never granted what was
    /// promised to an earlier one.
    Incarnation(u64)
}
number! {
    /// Names one directive and the handoff that carries it out: the `m` of the protocol. Rises.
    DirectiveId(u64)
}

impl Epoch {
    /// The epoch every bucket starts at; zero means "never owned".
    pub const FIRST: Self = Self(1);

    /// The next epoch.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl ZoneId {
    /// The id as an index into per-zone arrays.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl ServiceId {
    /// The id as an index into the service list.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl PlaceId {
    /// The id as an index into the place list.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl Bucket {
    /// The bucket as an index into per-bucket arrays.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A table's number. A leader of a later term outranks every table of an earlier one, whatever
/// the count, so a deposed leader cannot publish over its successor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The leadership term of the publisher; 0 is a proxy that runs without control.
    pub term: u64,
    /// Counts tables within the term.
    pub n: u64,
}

impl Version {
    /// The version after this one in the same term.
    #[must_use]
    pub fn next(self) -> Self {
        Self { term: self.term, n: self.n + 1 }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.n)
    }
}
