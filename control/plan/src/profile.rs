//! What control remembers of one session, rebuilt from records. A few numbers that decay when they
//! are touched: there is no timer that walks over millions of sessions.

use homing_wire::{Epoch, PlaceId, ServiceId, SessionActivity, SessionKey, ZoneId};

use crate::{
    affinity::Served,
    feedback::{Felt, WATCH_MS},
    mobility::{Trail, Transition},
};

/// Time constant of the request rate: after this long without a request a rate has fallen to 37 %.
pub const RATE_TAU_MS: u64 = 5 * 60_000;
/// Time constant of regret: what was regretted a quarter of an hour ago counts 37 %.
pub const REGRET_TAU_MS: u64 = 15 * 60_000;
/// The window in which a session's moves are counted against its flap budget.
pub const FLAP_WINDOW_MS: u64 = 3_600_000;

/// One session as control knows it. At most 256 bytes, so a million fit in a small machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Which session.
    pub key: SessionKey,
    /// Its service.
    pub service: ServiceId,
    /// Where it was last seen living.
    pub zone: ZoneId,
    /// At which epoch.
    pub epoch: Epoch,
    /// Where its client is, if a trusted front said so.
    pub place: Option<PlaceId>,
    /// Requests a second, decayed with [`RATE_TAU_MS`], as of `touched_ms`.
    pub rate: f32,
    /// Response bytes a request, decayed mean.
    pub bytes_per_request: f32,
    /// When `rate` was brought up to date.
    pub touched_ms: u64,
    /// Its last request.
    pub last_seen_ms: u64,
    /// When it came to live in `zone`.
    pub entered_ms: u64,
    /// Latency lost by not living in the best zone, in microseconds summed over requests, decayed
    /// with [`REGRET_TAU_MS`], as of `regret_ms`.
    pub regret_us: f32,
    /// When `regret_us` was brought up to date.
    pub regret_ms: u64,
    /// Requests that came since and are not in it.
    pub uncharged: u32,
    /// Moves since `flap_from_ms`.
    pub moves: u8,
    /// When the present window of the flap budget began.
    pub flap_from_ms: u64,
    /// Where its client was of late.
    pub trail: Trail,
    /// Where its requests were served.
    pub served: Served,
    /// How long they took of late, where it lives now.
    pub felt: Felt,
}

const _: () = assert!(size_of::<Profile>() <= 256);

impl Profile {
    /// A session first heard of through this activity.
    #[must_use]
    pub fn new(activity: &SessionActivity, now_ms: u64) -> Self {
        let mut profile = Self {
            key: activity.key,
            service: activity.service,
            zone: activity.zone,
            epoch: activity.epoch,
            place: activity.place,
            rate: 0.0,
            bytes_per_request: 0.0,
            touched_ms: now_ms,
            last_seen_ms: activity.last_seen_ms.min(now_ms),
            entered_ms: now_ms,
            regret_us: 0.0,
            regret_ms: now_ms,
            uncharged: 0,
            moves: 0,
            flap_from_ms: now_ms,
            trail: Trail::default(),
            served: Served::default(),
            felt: Felt::default(),
        };
        profile.take(activity, now_ms);
        profile
    }

    /// Takes an activity in. One at a lower epoch tells of a place the session has left: its
    /// requests count, its zone does not. Returns what it tells of where clients go.
    pub fn take(&mut self, activity: &SessionActivity, now_ms: u64) -> Vec<Transition> {
        let passed_ms = now_ms.saturating_sub(self.touched_ms);
        if activity.requests > 0 {
            self.served.take(activity.zone, activity.requests, passed_ms);
        }
        let tau_s = RATE_TAU_MS as f32 / 1e3;
        self.rate = self.rate_at(now_ms) + activity.requests as f32 / tau_s;
        self.uncharged = self.uncharged.saturating_add(activity.requests);
        self.touched_ms = self.touched_ms.max(now_ms);
        if activity.requests > 0 {
            let mean = activity.bytes as f32 / activity.requests as f32;
            let weight = if self.bytes_per_request == 0.0 { 1.0 } else { 0.2 };
            self.bytes_per_request += weight * (mean - self.bytes_per_request);
        }
        self.service = activity.service;
        // A sender whose clock runs ahead must not make a session immortal.
        self.last_seen_ms = self.last_seen_ms.max(activity.last_seen_ms.min(now_ms));
        if activity.place.is_some() {
            self.place = activity.place;
        }
        if activity.epoch >= self.epoch {
            self.settle(activity.zone, activity.epoch, now_ms);
        }
        if passed_ms >= WATCH_MS {
            self.felt.forget();
        }
        if activity.zone == self.zone {
            self.felt.take(activity);
        }
        activity.place.map_or_else(Vec::new, |place| self.trail.step(place, now_ms))
    }

    /// Notes that the session lives in a zone at an epoch; a change of zone starts its residence
    /// and forgets its regret.
    pub fn settle(&mut self, zone: ZoneId, epoch: Epoch, now_ms: u64) {
        self.epoch = self.epoch.max(epoch);
        if zone == self.zone {
            return;
        }
        self.zone = zone;
        self.felt.forget();
        self.entered_ms = now_ms;
        self.regret_us = 0.0;
        self.regret_ms = now_ms;
        self.uncharged = 0;
        if now_ms.saturating_sub(self.flap_from_ms) >= FLAP_WINDOW_MS {
            self.flap_from_ms = now_ms;
            self.moves = 0;
        }
        self.moves = self.moves.saturating_add(1);
    }

    /// Requests a second as of `now_ms`.
    #[must_use]
    pub fn rate_at(&self, now_ms: u64) -> f32 {
        self.rate * decay(now_ms.saturating_sub(self.touched_ms), RATE_TAU_MS)
    }

    /// Regret as of `now_ms`, had there been no reason for more since.
    #[must_use]
    pub fn regret_at(&self, now_ms: u64) -> f32 {
        self.regret_us * decay(now_ms.saturating_sub(self.regret_ms), REGRET_TAU_MS)
    }

    /// Moves that count against the flap budget as of `now_ms`.
    #[must_use]
    pub fn moves_at(&self, now_ms: u64) -> u8 {
        match now_ms.saturating_sub(self.flap_from_ms) >= FLAP_WINDOW_MS {
            true => 0,
            false => self.moves,
        }
    }

    /// How much the session would be missed where it lives: busier and more recently seen is
    /// stickier. Drains move the least sticky first.
    #[must_use]
    pub fn stickiness(&self, now_ms: u64) -> f32 {
        let fresh = decay(now_ms.saturating_sub(self.last_seen_ms), 60_000);
        self.rate_at(now_ms) + fresh
    }
}

fn decay(elapsed_ms: u64, tau_ms: u64) -> f32 {
    (-(elapsed_ms as f64) / tau_ms as f64).exp() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(zone: u8, epoch: u64, requests: u32, at: u64) -> SessionActivity {
        SessionActivity {
            key: SessionKey(7),
            service: ServiceId(0),
            zone: ZoneId(zone),
            epoch: Epoch(epoch),
            place: None,
            requests,
            bytes: u64::from(requests) * 1_000,
            latency_us_sum: 0,
            last_seen_ms: at,
        }
    }

    #[test]
    fn a_steady_rate_is_learnt_and_fades() {
        let mut profile = Profile::new(&activity(0, 1, 10, 0), 0);
        for second in 1..3_000_u64 {
            profile.take(&activity(0, 1, 10, second * 1_000), second * 1_000);
        }
        let now = 2_999_000;
        assert!((profile.rate_at(now) - 10.0).abs() < 0.2, "{}", profile.rate_at(now));
        assert!(profile.rate_at(now + RATE_TAU_MS) < 4.0);
        assert!((profile.bytes_per_request - 1_000.0).abs() < 1.0);
    }

    #[test]
    fn a_record_of_an_older_epoch_does_not_move_the_session_back() {
        let mut profile = Profile::new(&activity(0, 1, 1, 0), 0);
        profile.take(&activity(1, 2, 1, 10), 10);
        assert_eq!((profile.zone, profile.moves), (ZoneId(1), 1));
        profile.take(&activity(0, 1, 1, 20), 20);
        assert_eq!((profile.zone, profile.moves), (ZoneId(1), 1));
    }

    #[test]
    fn a_clock_that_runs_ahead_does_not_keep_a_session_alive() {
        let profile = Profile::new(&activity(0, 1, 1, u64::MAX), 1_000);
        assert_eq!(profile.last_seen_ms, 1_000);
    }
}
