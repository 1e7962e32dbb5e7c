//! Dealing buckets again with as little change as can be: those whose zone takes no sessions must
//! go, a zone far below its share is brought up to it, everything else stays.

use std::collections::BTreeSet;

use homing_wire::{BUCKETS, Bucket, Buckets, Zone, ZoneId, table::bucket_weights};

use super::Residents;

/// The buckets that change hands and to whom, in bucket order. `frozen` ones stay for now.
#[must_use]
pub fn deal(
    buckets: &Buckets,
    zones: &[Zone],
    residents: &impl Residents,
    frozen: &BTreeSet<Bucket>,
) -> Vec<(Bucket, ZoneId)> {
    let weights = bucket_weights(zones);
    if weights.iter().all(|weight| *weight == 0) {
        // Nobody takes sessions; where they are is as good as anywhere.
        return Vec::new();
    }
    let shares = shares(&weights);
    let mut owned = vec![0_usize; zones.len()];
    let mut pool = Vec::new();
    for (index, zone) in buckets.zones().iter().enumerate() {
        let bucket = Bucket(index as u16);
        match weights.get(usize::from(*zone)) {
            Some(weight) if *weight > 0 => owned[usize::from(*zone)] += 1,
            _ if frozen.contains(&bucket) => {}
            _ => pool.push(bucket),
        }
    }
    take_from_the_rich(buckets, &shares, &mut owned, &mut pool, residents, frozen);
    pool.sort_unstable();
    let mut moved = Vec::with_capacity(pool.len());
    for bucket in pool {
        let Some(to) = neediest(&shares, &owned) else {
            break;
        };
        owned[to] += 1;
        moved.push((bucket, ZoneId(to as u8)));
    }
    moved
}

/// Brings zones that own less than half their share up to it: new ones, reopened ones. Buckets
/// come from zones above their share, those with fewest known sessions first.
fn take_from_the_rich(
    buckets: &Buckets,
    shares: &[usize],
    owned: &mut [usize],
    pool: &mut Vec<Bucket>,
    residents: &impl Residents,
    frozen: &BTreeSet<Bucket>,
) {
    let is_poor = |zone: &usize| owned[*zone] * 2 < shares[*zone];
    let wanted: usize =
        (0..shares.len()).filter(is_poor).map(|zone| shares[zone] - owned[zone]).sum();
    let mut wanted = wanted.saturating_sub(pool.len());
    if wanted == 0 {
        return;
    }
    let mut offered: Vec<(u32, u16, Bucket)> = buckets
        .zones()
        .iter()
        .enumerate()
        .filter(|(_, zone)| owned[usize::from(**zone)] > shares[usize::from(**zone)])
        .map(|(index, _)| Bucket(index as u16))
        .filter(|bucket| !frozen.contains(bucket))
        // Bit-reversed order spreads what is taken evenly over the key space.
        .map(|bucket| (residents.count(bucket), bucket.0.reverse_bits(), bucket))
        .collect();
    offered.sort_unstable();
    for (_, _, bucket) in offered {
        let owner = usize::from(buckets.zones()[bucket.index()]);
        if wanted == 0 {
            return;
        }
        if owned[owner] > shares[owner] {
            owned[owner] -= 1;
            wanted -= 1;
            pool.push(bucket);
        }
    }
}

/// The zone furthest below its share, relative to it; the lowest id among equals.
fn neediest(shares: &[usize], owned: &[usize]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for zone in (0..shares.len()).filter(|zone| shares[*zone] > 0) {
        // owned/share compared by cross-multiplication.
        let less = |other: usize| owned[zone] * shares[other] < owned[other] * shares[zone];
        if best.is_none_or(less) {
            best = Some(zone);
        }
    }
    best
}

/// Each zone's share of the buckets, by largest remainder; at least one for any zone with weight,
/// so that sessions can be minted for it.
fn shares(weights: &[u64]) -> Vec<usize> {
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum::<u128>().max(1);
    let exact = |weight: &u64| u128::from(*weight) * BUCKETS as u128;
    let mut shares: Vec<usize> = weights
        .iter()
        .map(|weight| ((exact(weight) / total) as usize).max(usize::from(*weight > 0)))
        .collect();
    let mut order: Vec<usize> = (0..weights.len()).filter(|zone| weights[*zone] > 0).collect();
    order.sort_by_key(|zone| (std::cmp::Reverse(exact(&weights[*zone]) % total), *zone));
    let mut left = BUCKETS.saturating_sub(shares.iter().sum());
    for zone in order.into_iter().cycle().take(BUCKETS) {
        if left == 0 {
            break;
        }
        shares[zone] += 1;
        left -= 1;
    }
    shares
}
