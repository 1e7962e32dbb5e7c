//! Taking back exceptions of sessions that are over, so that the table stays as small as what is
//! alive. The bucket's epoch is raised to the exception's, so no epoch ever falls.

use std::collections::{BTreeMap, BTreeSet};

use homing_wire::{Bucket, BucketRun, Delta, Epoch, Home, PlacementTable, SessionKey};

/// Adds to `change` the removal of exceptions whose session `is_over`, at most `most`. Buckets with
/// an open directive, or that `change` moves already, wait for another time.
pub fn expire(
    table: &PlacementTable,
    is_over: impl Fn(SessionKey) -> bool,
    most: usize,
    change: &mut Delta,
) {
    let mut busy: BTreeSet<Bucket> = table
        .directives()
        .values()
        .chain(&change.directives)
        .map(|directive| directive.key.bucket())
        .collect();
    busy.extend(change.buckets.iter().flat_map(BucketRun::buckets));
    let set: BTreeSet<SessionKey> = change.set.iter().map(|(key, _)| *key).collect();
    let mut raised: BTreeMap<Bucket, Epoch> = BTreeMap::new();
    let mut count = 0;
    for (key, own) in table.exceptions() {
        if count >= most {
            break;
        }
        let bucket = key.bucket();
        if busy.contains(&bucket) || set.contains(key) || !is_over(*key) {
            continue;
        }
        count += 1;
        change.removed.push(*key);
        let epoch = raised.entry(bucket).or_insert(table.buckets().home(bucket).epoch);
        *epoch = (*epoch).max(own.epoch);
    }
    for (bucket, epoch) in raised {
        let home = table.buckets().home(bucket);
        if epoch > home.epoch {
            super::push_run(&mut change.buckets, bucket, Home { epoch, ..home });
        }
    }
}
