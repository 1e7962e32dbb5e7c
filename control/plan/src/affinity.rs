//! User affinity: how much a session belongs to a zone, 0 to 1, with the terms it is made of.
//!
//! What nobody has seen counts nothing: a session whose place is unknown has affinity only to
//! where its data is and where it was served.

use homing_wire::ZoneId;

use crate::profile::Profile;

/// A round trip that is this much longer than the shortest leaves 37 % of the term.
const LATENCY_US: f64 = 20_000.0;
/// What each term weighs: latency, where the user will be, data, history. The weights of placement
/// models that also know a session's peers, with the share of the peers given to the others.
const WEIGHTS: [f64; 4] = [0.33, 0.28, 0.22, 0.17];

/// The affinity of a session to one zone. Each term is 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Affinity {
    /// How near the zone is, next to the nearest.
    pub latency: f64,
    /// How probable it is that the user is nearest to the zone in the next half hour.
    pub predicted: f64,
    /// Whether its data is there.
    pub data: f64,
    /// Which share of its requests was served there of late.
    pub history: f64,
}

impl Affinity {
    /// All terms by their weights, 0..=1.
    #[must_use]
    pub fn score(&self) -> f64 {
        let terms = [self.latency, self.predicted, self.data, self.history];
        terms.iter().zip(WEIGHTS).map(|(term, weight)| term.clamp(0.0, 1.0) * weight).sum()
    }
}

/// How near a zone is, next to the nearest; round trips in microseconds.
pub(crate) fn nearness(rtt_us: f64, nearest_us: f64) -> f64 {
    (-(rtt_us - nearest_us).max(0.0) / LATENCY_US).exp()
}

/// Zones whose share of a session's requests is remembered.
const ZONES: usize = 4;
/// Time constant of the shares: a fortnight.
const TAU_MS: f64 = 14.0 * 24.0 * 3_600_000.0;

/// Where a session's requests were served, the shares of its few most frequent zones.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Served {
    /// Zone and requests, faded.
    pub(crate) by_zone: [(u8, f32); ZONES],
}

impl Served {
    /// Takes requests in that came so long after the last.
    pub(crate) fn take(&mut self, zone: ZoneId, requests: u32, passed_ms: u64) {
        let fade = (-(passed_ms as f64) / TAU_MS).exp() as f32;
        self.by_zone.iter_mut().for_each(|(_, count)| *count *= fade);
        let known = self.by_zone.iter().position(|(at, count)| *at == zone.0 && *count > 0.0);
        let rarest = |served: &Self| {
            let slots = 0..ZONES;
            slots.min_by(|a, b| served.by_zone[*a].1.total_cmp(&served.by_zone[*b].1))
        };
        let slot = known.or_else(|| rarest(self)).unwrap_or(0);
        if known.is_none() {
            self.by_zone[slot] = (zone.0, 0.0);
        }
        self.by_zone[slot].1 += requests as f32;
    }

    /// A zone's share of the requests; 0 before the first.
    #[must_use]
    pub fn share(&self, zone: ZoneId) -> f64 {
        let all: f64 = self.by_zone.iter().map(|(_, count)| f64::from(*count)).sum();
        let of = |(at, count): &(u8, f32)| if *at == zone.0 { f64::from(*count) } else { 0.0 };
        let there: f64 = self.by_zone.iter().map(of).sum();
        if all > 0.0 { there / all } else { 0.0 }
    }

    /// The shares as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ZONES * 5);
        for (zone, count) in self.by_zone {
            out.push(zone);
            out.extend(count.to_be_bytes());
        }
        out
    }

    /// What [`Self::to_bytes`] wrote; nothing if it is anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let (chunks, []) = bytes.as_chunks::<5>() else { return Self::default() };
        let mut read = Self::default();
        for (slot, [zone, count @ ..]) in read.by_zone.iter_mut().zip(chunks) {
            *slot = (*zone, Some(f32::from_be_bytes(*count)).filter(|c| *c >= 0.0).unwrap_or(0.0));
        }
        read
    }
}

impl Profile {
    /// Whether its data is in a zone, and how much of it was served there: the terms of affinity
    /// that need no distances.
    pub(crate) fn belongs(&self, home: ZoneId, zone: ZoneId) -> Affinity {
        let data = if zone == home { 1.0 } else { 0.0 };
        Affinity { data, history: self.served.share(zone), ..Affinity::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_within_0_and_1_and_needs_every_term_to_be_1() {
        let all = Affinity { latency: 1.0, predicted: 1.0, data: 1.0, history: 1.0 };
        assert!((all.score() - 1.0).abs() < 1e-9);
        assert_eq!(Affinity::default().score(), 0.0);
        let odd = Affinity { latency: 9.0, predicted: -3.0, ..Affinity::default() };
        assert!((odd.score() - 0.33).abs() < 1e-9, "{odd:?}");
    }

    #[test]
    fn shares_follow_requests_and_fade() {
        let mut served = Served::default();
        served.take(ZoneId(0), 30, 0);
        served.take(ZoneId(7), 10, 0);
        assert!((served.share(ZoneId(0)) - 0.75).abs() < 1e-6);
        assert_eq!(served.share(ZoneId(3)), 0.0);
        served.take(ZoneId(7), 30, 28 * 24 * 3_600_000);
        assert!(served.share(ZoneId(7)) > 0.85, "{served:?}");
        for zone in 10..20 {
            served.take(ZoneId(zone), 1, 0);
        }
        assert!(served.share(ZoneId(7)) > 0.6, "the frequent one stays: {served:?}");
        assert_eq!(Served::from_bytes(&served.to_bytes()), served);
        assert_eq!(Served::from_bytes(&[1, 2]), Served::default());
    }
}
