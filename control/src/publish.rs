//! The table in force and the way there: what a proxy that holds some version must be sent. Behind
//! short locks of its own, so that a thousand proxies reading never wait for a round.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use homing_wire::{BUCKETS, Delta, PlacementTable, Repair, Sums, Version, repair::weight};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

/// Recent deltas that are kept.
const DELTAS_KEPT: usize = 4_096;
/// Changes that all kept deltas hold together at most.
const CHANGES_KEPT: usize = 2_000_000;

/// What a proxy must be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Nothing: it holds the newest table, or there is none.
    None,
    /// A delta to this version, sealed.
    Delta(Version, Bytes),
    /// The parts of the table of this version that differ from what it holds, sealed.
    Repair(Version, Bytes),
    /// The whole table of this version, sealed.
    Snapshot(Version, Bytes),
}

/// The table in force, its recent past, and who waits for it.
#[derive(Debug)]
pub struct Published {
    table: RwLock<Option<Arc<PlacementTable>>>,
    recent: Mutex<Recent>,
    snapshot: Mutex<Option<(Version, Bytes)>>,
    sums: Mutex<Option<(Version, Arc<Sums>)>>,
    newest: watch::Sender<Version>,
}

#[derive(Debug, Default)]
struct Recent {
    deltas: VecDeque<Arc<Delta>>,
    changes: usize,
    /// The last one made, since most proxies hold the same version.
    sealed: Option<Sealed>,
}

/// A delta as it is sent.
#[derive(Debug)]
struct Sealed {
    base: Version,
    /// Of the table it starts from.
    digest: u64,
    version: Version,
    bytes: Bytes,
}

impl Published {
    /// Starts from what the journal held.
    #[must_use]
    pub fn new(table: Option<PlacementTable>, deltas: Vec<Delta>) -> Self {
        let version = table.as_ref().map(PlacementTable::version);
        let published = Self {
            table: RwLock::new(table.map(Arc::new)),
            recent: Mutex::default(),
            snapshot: Mutex::default(),
            sums: Mutex::default(),
            newest: watch::Sender::new(version.unwrap_or_default()),
        };
        for delta in deltas {
            published.recent.lock().push(Arc::new(delta));
        }
        published
    }

    /// The table in force.
    #[must_use]
    pub fn table(&self) -> Option<Arc<PlacementTable>> {
        self.table.read().clone()
    }

    /// Tells when a newer version is out.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Version> {
        self.newest.subscribe()
    }

    /// Publishes the first table, or one that no delta leads to.
    pub fn replace(&self, table: PlacementTable) {
        let version = table.version();
        *self.table.write() = Some(Arc::new(table));
        *self.recent.lock() = Recent::default();
        self.newest.send_replace(version);
    }

    /// Publishes the next table, by deltas in a row that become one: nobody sees the versions
    /// between. A delta that does not apply is a defect of the caller; the table then stays and the
    /// fault is told.
    ///
    /// # Errors
    /// The deltas do not lead from the table in force.
    pub fn advance(&self, mut deltas: Vec<Arc<Delta>>) -> Result<(), homing_wire::DeltaRefused> {
        let delta = match (deltas.len(), deltas.pop()) {
            (_, None) => return Ok(()),
            (1, Some(delta)) => delta,
            (_, Some(last)) => {
                deltas.push(last);
                match merge(deltas.iter()) {
                    Some(merged) => Arc::new(merged),
                    None => return Ok(()),
                }
            }
        };
        let version = delta.version;
        let mut before = 0;
        if let Some(table) = self.table.write().as_mut() {
            before = table.digest();
            // Changed in place unless a reader still holds it.
            Arc::make_mut(table).apply(&delta)?;
        }
        // Nearly all proxies hold what this one starts from: sealed once, before they ask.
        let sealed = Sealed { base: delta.base, digest: before, version, bytes: delta.encode() };
        let mut recent = self.recent.lock();
        recent.push(delta);
        recent.sealed = Some(sealed);
        drop(recent);
        self.newest.send_replace(version);
        Ok(())
    }

    /// As [`Self::toward`], if it takes no work: `None` if something must be merged and sealed
    /// first.
    #[must_use]
    pub fn ready(&self, holds: Version, digest: u64) -> Option<Update> {
        let (newest, newest_digest) =
            self.table.read().as_ref().map(|table| (table.version(), table.digest()))?;
        if (holds, digest) == (newest, newest_digest) {
            return Some(Update::None);
        }
        let recent = self.recent.lock();
        let sealed = recent.sealed.as_ref()?;
        let is_this = (sealed.base, sealed.digest, sealed.version) == (holds, digest, newest);
        is_this.then(|| Update::Delta(newest, sealed.bytes.clone()))
    }

    /// What a holder of a table must be sent. A holder of a table that control never published, or
    /// of one that differs from what was published under its number, gets the parts that differ if
    /// it has said what its own sum to and they are few, and else the whole.
    #[must_use]
    pub fn toward(&self, holds: Version, digest: u64, sums: Option<&Sums>) -> Update {
        let Some(table) = self.table() else {
            return Update::None;
        };
        let newest = table.version();
        if holds == newest && digest == table.digest() {
            return Update::None;
        }
        if let Some(sealed) = self.recent.lock().delta(holds, digest, newest) {
            return Update::Delta(newest, sealed);
        }
        match sums.and_then(|theirs| self.repair(&table, theirs)) {
            Some(repair) => Update::Repair(newest, repair.encode()),
            None => Update::Snapshot(newest, self.sealed(&table)),
        }
    }

    /// A repair for one whose table has the sums `theirs`, unless it would be more than half of
    /// the table: that one is sealed once for all, a repair for each.
    fn repair(&self, table: &PlacementTable, theirs: &Sums) -> Option<Repair> {
        let repair = Repair::toward(table, &self.sums(table), theirs);
        let whole = weight(table.exceptions().len(), BUCKETS, table.directives().len());
        (repair.weight() <= whole / 2).then_some(repair)
    }

    /// What the table sums to; found out once a version, whoever asks first.
    fn sums(&self, table: &PlacementTable) -> Arc<Sums> {
        let mut kept = self.sums.lock();
        match &*kept {
            Some((version, sums)) if *version == table.version() => Arc::clone(sums),
            _ => {
                let sums = Arc::new(table.sums());
                *kept = Some((table.version(), Arc::clone(&sums)));
                sums
            }
        }
    }

    /// The table sealed; made once a version, whoever asks first.
    #[must_use]
    pub fn sealed(&self, table: &PlacementTable) -> Bytes {
        let mut kept = self.snapshot.lock();
        match &*kept {
            Some((version, sealed)) if *version == table.version() => sealed.clone(),
            _ => {
                let sealed = table.encode();
                *kept = Some((table.version(), sealed.clone()));
                sealed
            }
        }
    }
}

impl Recent {
    fn push(&mut self, delta: Arc<Delta>) {
        self.changes += changes(&delta);
        self.deltas.push_back(delta);
        while self.deltas.len() > DELTAS_KEPT
            || (self.changes > CHANGES_KEPT && self.deltas.len() > 1)
        {
            if let Some(gone) = self.deltas.pop_front() {
                self.changes -= changes(&gone);
            }
        }
    }

    /// One delta from `holds` to `newest`, sealed. The digest of the table the oldest delta starts
    /// from is not known, so a holder of it is believed; all others are checked.
    fn delta(&mut self, holds: Version, digest: u64, newest: Version) -> Option<Bytes> {
        let from = self.deltas.iter().position(|delta| delta.base == holds)?;
        let before = from.checked_sub(1).and_then(|index| self.deltas.get(index));
        if before.is_some_and(|delta| delta.digest != digest) {
            return None;
        }
        if self.deltas.back()?.version != newest {
            return None;
        }
        if let Some(sealed) = &self.sealed
            && (sealed.base, sealed.digest, sealed.version) == (holds, digest, newest)
        {
            return Some(sealed.bytes.clone());
        }
        let bytes = merge(self.deltas.iter().skip(from))?.encode();
        self.sealed = Some(Sealed { base: holds, digest, version: newest, bytes: bytes.clone() });
        Some(bytes)
    }
}

fn changes(delta: &Delta) -> usize {
    let facts = delta.facts.as_ref().map_or(0, |facts| {
        let rtts: usize = facts.places.iter().map(|place| place.rtt_us.len()).sum();
        facts.zones.len() + facts.services.len() + rtts
    });
    let moved = delta.set.len() + delta.removed.len();
    1 + facts + moved + delta.buckets.len() + delta.directives.len() + delta.withdrawn.len()
}

/// One delta that does what several in a row do; the last word on each thing wins.
fn merge<'a>(deltas: impl Iterator<Item = &'a Arc<Delta>>) -> Option<Delta> {
    let mut deltas = deltas.peekable();
    let mut merged = Delta { base: deltas.peek()?.base, ..Delta::default() };
    let mut homes = BTreeMap::new();
    let mut directives = BTreeMap::new();
    for delta in deltas {
        merged.version = delta.version;
        merged.created_ms = delta.created_ms;
        merged.digest = delta.digest;
        if delta.facts.is_some() {
            merged.facts.clone_from(&delta.facts);
        }
        // Runs apply in order, so a later run overrides an earlier one.
        merged.buckets.extend(&delta.buckets);
        homes.extend(delta.removed.iter().map(|key| (*key, None)));
        homes.extend(delta.set.iter().map(|(key, home)| (*key, Some(*home))));
        directives.extend(delta.withdrawn.iter().map(|id| (*id, None)));
        directives.extend(delta.directives.iter().map(|d| (d.id, Some(d.clone()))));
    }
    for (key, home) in homes {
        match home {
            Some(home) => merged.set.push((key, home)),
            None => merged.removed.push(key),
        }
    }
    for (id, directive) in directives {
        match directive {
            Some(directive) => merged.directives.push(directive),
            None => merged.withdrawn.push(id),
        }
    }
    Some(merged)
}

#[cfg(test)]
mod tests;
