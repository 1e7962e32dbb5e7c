//! The owner and epoch of every bucket, as two arrays, and how they are first dealt out.

use std::fmt;

use super::Home;
use crate::{
    ids::{BUCKETS, Bucket, Epoch, ZoneId},
    zone::{Intake, Zone},
};

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
        let weights = if weights.iter().all(|weight| *weight == 0) { &even } else { weights };
        let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum::<u128>().max(1);
        // Smooth weighted round robin, as nginx does for upstreams: neighbours differ and shares
        // are exact.
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
        Self { zones: zones.collect(), epochs: vec![Epoch::FIRST.0; BUCKETS].into() }
    }

    /// The owner of one bucket.
    #[must_use]
    pub fn home(&self, bucket: Bucket) -> Home {
        Home { zone: ZoneId(self.zones[bucket.index()]), epoch: Epoch(self.epochs[bucket.index()]) }
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
        (zones.len() == BUCKETS && epochs.len() == BUCKETS)
            .then(|| Self { zones: zones.into(), epochs: epochs.into() })
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

/// What share of the buckets each zone gets: its capacity in sessions, the mean of the others
/// where none is stated, nothing where it takes no sessions.
#[must_use]
pub fn bucket_weights(zones: &[Zone]) -> Vec<u64> {
    let open = |zone: &&Zone| zone.intake == Intake::Open;
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
