//! A repair: the parts of a table that another's sums show it to lack. It replaces them whole, so
//! it mends whatever was wrong with them.

use crate::{
    codec,
    directive::Directive,
    ids::{BUCKETS, Version},
    session_key::SessionKey,
    table::{Buckets, Facts, Home, PlacementTable, Sums, TableFault, list},
};

/// What makes the table of one with certain [`Sums`] the table of `version`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The table it leads to.
    pub version: Version,
    /// When that table was drawn up, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// The segments that are replaced, in order.
    pub segments: Vec<u8>,
    /// All exceptions of those segments, in order.
    pub exceptions: Vec<(SessionKey, Home)>,
    /// What the operator states, if that is replaced.
    pub facts: Option<Facts>,
    /// The buckets, if they are replaced.
    pub buckets: Option<Buckets>,
    /// The directives, if they are replaced.
    pub directives: Option<Vec<Directive>>,
    /// The digest of the table it leads to.
    pub digest: u64,
}

impl Repair {
    /// What a holder of a table with the sums `theirs` lacks of `table`, whose sums are `ours`.
    #[must_use]
    pub fn toward(table: &PlacementTable, ours: &Sums, theirs: &Sums) -> Self {
        let segments: Vec<u8> = ours.differing(theirs).collect();
        let exceptions =
            segments.iter().flat_map(|segment| table.exceptions_of(*segment)).collect();
        let directives = || table.directives().values().cloned().collect();
        Self {
            version: table.version(),
            created_ms: table.created_ms(),
            segments,
            exceptions,
            facts: (ours.facts != theirs.facts).then(|| Facts::clone(table.facts())),
            buckets: (ours.buckets != theirs.buckets).then(|| table.buckets().clone()),
            directives: (ours.directives != theirs.directives).then(directives),
            digest: table.digest(),
        }
    }

    /// About how many bytes it takes, as [`weight`] has it.
    #[must_use]
    pub fn weight(&self) -> usize {
        let buckets = self.buckets.as_ref().map_or(0, |_| BUCKETS);
        weight(self.exceptions.len(), buckets, self.directives.as_ref().map_or(0, Vec::len))
    }

    /// The sealed bytes, for the link.
    #[must_use]
    pub fn encode(&self) -> bytes::Bytes {
        codec::repair::encode(self)
    }

    /// Reads sealed bytes.
    ///
    /// # Errors
    /// Damage, an unknown format, or content no repair can have.
    pub fn decode(frame: &[u8]) -> Result<Self, codec::DecodeFault> {
        codec::repair::decode(frame)
    }
}

/// About how many bytes so many entries take when they are sealed, facts aside.
#[must_use]
pub fn weight(exceptions: usize, buckets: usize, directives: usize) -> usize {
    18 * exceptions + 2 * buckets + 40 * directives
}

/// Why a repair was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepairRefused {
    /// It leads backwards.
    #[error("it leads to {offered}, this table is already {holds}")]
    Older {
        /// The version held.
        holds: Version,
        /// The version offered.
        offered: Version,
    },
    /// It does not lead where its author says: ask for a whole table.
    #[error("repaired, the table sums to {found:016x}, the repair's author says {expected:016x}")]
    Digest {
        /// The digest it leads to.
        found: u64,
        /// The digest it was sent with.
        expected: u64,
    },
    /// What it leads to cannot be sealed.
    #[error("{}", list(.0))]
    Faults(Vec<TableFault>),
}
