//! Drag: how much longer a zone takes to answer of late than the way there and the service's
//! quickest zone account for. A zone that is crowded or slow shows here before any stated capacity
//! is used up, and whoever places sessions by distance and room alone sends them right into it.
//!
//! It is a mean of the last hundred answers or so, and of ten seconds at most: a zone that nobody
//! asks any more must not be avoided for what it once was.

use std::collections::BTreeMap;

use homing_wire::{ServiceId, ZoneId};

/// How many answers a mean remembers.
const REMEMBERED: f64 = 100.0;
/// How many of them one telling may bring, so that no single proxy is taken for all.
const TOLD_MOST: f64 = 50.0;
/// Time constant of forgetting, milliseconds.
pub const TAU_MS: u64 = 10_000;
/// A mean that rests on so many answers counts half.
const FEW: f64 = 5.0;
/// Time constant of what the quickest zone once took, for the day when all are slow.
const QUICKEST_TAU_MS: f64 = 600_000.0;
/// Nothing is held to be slower than this, microseconds: an app may well keep a request waiting.
pub const MOST_US: u32 = 1_000_000;

/// The drags of all zones, by service: what is slow by nature is slow in every zone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drags {
    services: BTreeMap<ServiceId, Means>,
}

/// What one service was seen to take.
#[derive(Clone, Debug, Default, PartialEq)]
struct Means {
    zones: BTreeMap<ZoneId, Mean>,
    quickest: Option<(f64, u64)>,
}

/// A mean that forgets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Mean {
    answers: f64,
    us: f64,
    at_ms: u64,
}

impl Mean {
    fn answers_at(&self, now_ms: u64) -> f64 {
        self.answers * (-(now_ms.saturating_sub(self.at_ms) as f64) / TAU_MS as f64).exp()
    }

    fn take(&mut self, answers: u64, sum_us: u64, now_ms: u64) {
        let mean_us = (sum_us as f64 / answers as f64).min(f64::from(MOST_US));
        let told = (answers as f64).min(TOLD_MOST);
        let known = self.answers_at(now_ms).min(REMEMBERED);
        self.us += (mean_us - self.us) * told / (known + told);
        self.answers = (known + told).min(REMEMBERED);
        self.at_ms = self.at_ms.max(now_ms);
    }
}

impl Drags {
    /// Takes in that a zone gave so many answers of a service, which took `sum_us` together beyond
    /// the way there and back.
    pub fn take(
        &mut self,
        service: ServiceId,
        zone: ZoneId,
        (answers, sum_us): (u64, u64),
        now_ms: u64,
    ) {
        if answers == 0 {
            return;
        }
        let means = self.services.entry(service).or_default();
        means.zones.entry(zone).or_default().take(answers, sum_us, now_ms);
        means.find_quickest(now_ms);
    }

    /// How much longer than the service's quickest zone this one takes, microseconds; 0 where
    /// nothing is known, and the nearer to it the less that rests on.
    #[must_use]
    pub fn drag_us(&self, service: ServiceId, zone: ZoneId, now_ms: u64) -> u32 {
        let Some(means) = self.services.get(&service) else { return 0 };
        let Some((mean, (quickest_us, _))) = means.zones.get(&zone).zip(means.quickest) else {
            return 0;
        };
        let answers = mean.answers_at(now_ms);
        ((mean.us - quickest_us).max(0.0) * answers / (answers + FEW)) as u32
    }
}

impl Means {
    fn find_quickest(&mut self, now_ms: u64) {
        let sure = self.zones.values().filter(|mean| mean.answers_at(now_ms) >= FEW);
        let Some(now_us) = sure.map(|mean| mean.us).min_by(f64::total_cmp) else { return };
        let us = match self.quickest {
            Some((was_us, at_ms)) if was_us < now_us => {
                let passed_ms = now_ms.saturating_sub(at_ms) as f64;
                now_us - (now_us - was_us) * (-passed_ms / QUICKEST_TAU_MS).exp()
            }
            _ => now_us,
        };
        self.quickest = Some((us, now_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: ServiceId = ServiceId(0);
    const NEAR: ZoneId = ZoneId(0);
    const FAR: ZoneId = ZoneId(1);

    /// Ten answers a second from each zone, for some seconds.
    fn told(drags: &mut Drags, near_us: u64, far_us: u64, seconds: std::ops::Range<u64>) {
        for second in seconds {
            drags.take(SHOP, NEAR, (10, 10 * near_us), second * 1_000);
            drags.take(SHOP, FAR, (10, 10 * far_us), second * 1_000);
        }
    }

    #[test]
    fn a_zone_that_gets_slow_drags_and_one_that_is_slow_by_nature_does_not() {
        let mut drags = Drags::default();
        told(&mut drags, 50_000, 50_000, 0..30);
        assert_eq!((drags.drag_us(SHOP, NEAR, 29_000), drags.drag_us(SHOP, FAR, 29_000)), (0, 0));
        told(&mut drags, 350_000, 50_000, 30..60);
        let slow = drags.drag_us(SHOP, NEAR, 59_000);
        assert!((250_000..=300_000).contains(&slow), "{slow}");
        assert_eq!(drags.drag_us(SHOP, FAR, 59_000), 0);
        // What it was is forgotten when nobody asks it any more.
        assert!(drags.drag_us(SHOP, NEAR, 119_000) < slow / 10);
        assert_eq!(drags.drag_us(ServiceId(1), NEAR, 59_000), 0);
    }

    #[test]
    fn when_all_zones_get_slow_all_drag() {
        let mut drags = Drags::default();
        told(&mut drags, 10_000, 10_000, 0..30);
        told(&mut drags, 200_000, 300_000, 30..60);
        let drag = |zone| drags.drag_us(SHOP, zone, 59_000);
        assert!(drag(NEAR) > 150_000 && drag(FAR) > drag(NEAR) + 80_000);
    }

    #[test]
    fn one_answer_says_little_and_one_telling_is_not_taken_for_all() {
        let mut drags = Drags::default();
        told(&mut drags, 10_000, 10_000, 0..30);
        let mut once = Drags::default();
        once.take(SHOP, NEAR, (10, 100_000), 0);
        once.take(SHOP, FAR, (1, 900_000), 0);
        assert!(once.drag_us(SHOP, FAR, 0) < 200_000);
        drags.take(SHOP, NEAR, (1_000_000, 1_000_000 * 900_000), 30_000);
        let after = drags.drag_us(SHOP, NEAR, 30_000);
        assert!((200_000..600_000).contains(&after), "{after}");
        // An app that keeps requests waiting for minutes is slow, and no slower than slow.
        for second in 31..60 {
            drags.take(SHOP, NEAR, (10, 10 * 60_000_000), second * 1_000);
        }
        assert!(drags.drag_us(SHOP, NEAR, 59_000) <= MOST_US);
    }

    #[test]
    fn time_that_runs_back_and_nothing_told_change_nothing_for_the_worse() {
        let mut drags = Drags::default();
        drags.take(SHOP, NEAR, (0, 5), 10);
        assert_eq!(drags, Drags::default());
        drags.take(SHOP, NEAR, (10, 100_000), 10_000);
        drags.take(SHOP, NEAR, (10, 100_000), 5_000);
        assert_eq!(drags.drag_us(SHOP, NEAR, 0), 0);
    }
}
