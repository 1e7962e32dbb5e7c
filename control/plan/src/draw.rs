//! Drawing up the next table: a new document's facts and the buckets that must change hands become
//! one delta. Zone ids are kept by name, buckets move only if they must, and every session known to
//! live in a bucket that moves keeps its home by an exception.

use std::collections::BTreeSet;

use homing_wire::{
    Bucket, BucketRun, Delta, Facts, Home, Intake, PlacementTable, SessionKey, ZoneId,
};

mod deal;
mod expire;
mod facts;
#[cfg(test)]
mod tests;

pub use deal::deal;
pub use expire::expire;
pub use facts::{Remap, Renamed, TooManyZones, rename};

/// What must be known of the sessions to move buckets without moving them.
pub trait Residents {
    /// How many known sessions live in each bucket by default, that is, without an exception.
    fn count(&self, bucket: Bucket) -> u32;
    /// Those sessions.
    fn of(&self, bucket: Bucket) -> Vec<SessionKey>;
}

/// No session is known: the first table.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoResidents;

impl Residents for NoResidents {
    fn count(&self, _: Bucket) -> u32 {
        0
    }

    fn of(&self, _: Bucket) -> Vec<SessionKey> {
        Vec::new()
    }
}

/// Adds to `change` what the buckets must do under `facts` (the facts of `change`, or those of the
/// table): buckets of zones that take no sessions go to zones that do, a new zone gets its share,
/// and sessions known to live in a moved bucket stay where they are until a handoff moves them.
/// Sessions of a closed zone cannot stay: they go with their bucket, exceptions included.
///
/// Buckets with an open directive wait: moving them would overtake the directive's epoch.
pub fn settle_buckets(
    table: &PlacementTable,
    facts: &Facts,
    residents: &impl Residents,
    change: &mut Delta,
) {
    let frozen: BTreeSet<Bucket> =
        table.directives().values().map(|directive| directive.key.bucket()).collect();
    let closed = |zone: ZoneId| {
        let spec = facts.zones.get(zone.index());
        spec.is_none_or(|zone| zone.intake == Intake::Closed)
    };
    let moved = deal(table.buckets(), &facts.zones, residents, &frozen);
    for (bucket, to) in &moved {
        let old = table.buckets().home(*bucket);
        push_run(&mut change.buckets, *bucket, Home { zone: *to, epoch: old.epoch.next() });
        if closed(old.zone) {
            continue;
        }
        for key in residents.of(*bucket) {
            if !table.exceptions().contains_key(&key) {
                change.set.push((key, old));
            }
        }
    }
    rehome_exceptions_of_closed_zones(table, &moved, &closed, change);
}

/// Whether any bucket is owned by a zone that takes no sessions while another does.
#[must_use]
pub fn is_unsettled(table: &PlacementTable) -> bool {
    let zones = &table.facts().zones;
    let open = |zone: u8| zones.get(usize::from(zone)).is_some_and(|z| z.intake == Intake::Open);
    let any_open = zones.iter().any(|zone| zone.intake == Intake::Open);
    any_open && table.buckets().zones().iter().any(|zone| !open(*zone))
}

/// A closed zone serves nothing, so nothing can be handed over from it either: its exceptions go
/// to their bucket's zone at a higher epoch, and start there with what state that zone has.
fn rehome_exceptions_of_closed_zones(
    table: &PlacementTable,
    moved: &[(Bucket, ZoneId)],
    closed: &impl Fn(ZoneId) -> bool,
    change: &mut Delta,
) {
    let moved: std::collections::BTreeMap<Bucket, ZoneId> = moved.iter().copied().collect();
    let moving: BTreeSet<SessionKey> = table.directives().values().map(|d| d.key).collect();
    for (key, own) in table.exceptions() {
        if !closed(own.zone) || moving.contains(key) {
            continue;
        }
        let bucket = key.bucket();
        let owner = moved.get(&bucket).copied();
        let zone = owner.unwrap_or(table.buckets().home(bucket).zone);
        if closed(zone) {
            continue;
        }
        let epoch = own.epoch.max(table.buckets().home(bucket).epoch).next();
        change.set.push((*key, Home { zone, epoch }));
    }
}

fn push_run(runs: &mut Vec<BucketRun>, bucket: Bucket, home: Home) {
    if let Some(last) = runs.last_mut()
        && last.home == home
        && last.first.index() + last.count as usize == bucket.index()
    {
        last.count += 1;
        return;
    }
    runs.push(BucketRun { first: bucket, count: 1, home });
}
