//! The sessions control knows, bounded: when full, the longest unseen go first, but never one with
//! an exception, whose home only its profile keeps alive.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use homing_plan::{
    Profile,
    draw::{Remap, Residents},
    mobility::Transition,
};
use homing_wire::{Bucket, Epoch, Facts, PlacementTable, SessionActivity, SessionKey, ZoneId};

use crate::journal::Entry;

/// How long a session of a service nobody knows any more is remembered.
const IDLE_MS_UNKNOWN: u64 = 24 * 3_600_000;

/// The profiles, and which of them the journal has yet to learn of.
#[derive(Debug, Default)]
pub struct Profiles {
    by_key: HashMap<SessionKey, Profile>,
    dirty: BTreeSet<SessionKey>,
    gone: BTreeSet<SessionKey>,
    most: usize,
}

impl Profiles {
    /// Takes up what the journal held.
    #[must_use]
    pub fn new(found: Vec<(SessionKey, Profile)>, most: usize) -> Self {
        let keyed = |(key, profile)| (key, Profile { key, ..profile });
        Self { by_key: found.into_iter().map(keyed).collect(), most, ..Self::default() }
    }

    /// What is known of a session.
    #[must_use]
    pub fn get(&self, key: SessionKey) -> Option<&Profile> {
        self.by_key.get(&key)
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Profile> {
        self.by_key.values()
    }

    /// All of them, for a plan.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Profile> {
        self.by_key.values().cloned().collect()
    }

    /// Takes an activity in. What it tells of where clients go is returned.
    pub fn take(&mut self, activity: &SessionActivity, now_ms: u64) -> Vec<Transition> {
        self.touched(activity.key);
        if let Some(profile) = self.by_key.get_mut(&activity.key) {
            return profile.take(activity, now_ms);
        }
        self.by_key.insert(activity.key, Profile::new(activity, now_ms));
        Vec::new()
    }

    /// Notes where a session lives; one not known yet is known from now on.
    pub fn settle(&mut self, key: SessionKey, zone: ZoneId, epoch: Epoch, now_ms: u64) {
        if let Some(profile) = self.by_key.get_mut(&key) {
            profile.settle(zone, epoch, now_ms);
            self.touched(key);
            return;
        }
        let silent = SessionActivity {
            key,
            // Whose it is only its requests tell.
            service: homing_wire::ServiceId(u16::MAX),
            zone,
            epoch,
            place: None,
            requests: 0,
            bytes: 0,
            latency_us_sum: 0,
            last_seen_ms: now_ms,
        };
        self.take(&silent, now_ms);
    }

    /// All requests so far are charged for by the plan that is being made.
    pub fn charge(&mut self) {
        self.by_key.values_mut().for_each(|profile| profile.uncharged = 0);
    }

    /// Takes over what a plan made at `at_ms` found out about regret. Sessions it does not name had
    /// none to add: their clock goes on too, so that later regret is charged from then on only.
    pub fn regret(&mut self, regrets: &[(SessionKey, f32)], at_ms: u64) {
        for profile in self.by_key.values_mut().filter(|p| p.regret_ms < at_ms) {
            profile.regret_us = profile.regret_at(at_ms);
            profile.regret_ms = at_ms;
        }
        for (key, regret) in regrets {
            if let Some(profile) = self.by_key.get_mut(key) {
                profile.regret_us = *regret;
                self.dirty.insert(*key);
            }
        }
    }

    /// Rewrites service and place ids after a document changed their order.
    pub fn remap(&mut self, remap: &Remap) {
        if remap.is_identity() {
            return;
        }
        for (key, profile) in &mut self.by_key {
            let service = remap.services.get(profile.service.index()).copied().flatten();
            // A service that is gone: no id means nothing, and the session fades by the default.
            profile.service = service.unwrap_or(homing_wire::ServiceId(u16::MAX));
            profile.place =
                profile.place.and_then(|place| remap.places.get(place.index()).copied().flatten());
            profile.trail.remap(|place| remap.places.get(place.index()).copied().flatten());
            self.dirty.insert(*key);
        }
    }

    /// Forgets sessions that are over, and the longest unseen if there are too many.
    pub fn expire(&mut self, facts: &Facts, table: &PlacementTable, now_ms: u64) {
        let over: Vec<SessionKey> = self
            .by_key
            .values()
            .filter(|profile| {
                let service = facts.services.get(profile.service.index());
                let idle_ms = service.map_or(IDLE_MS_UNKNOWN, |s| s.session.idle_ms);
                now_ms.saturating_sub(profile.last_seen_ms) > idle_ms
            })
            .map(|profile| profile.key)
            .collect();
        for key in over {
            self.forget(key);
        }
        if self.by_key.len() <= self.most {
            return;
        }
        let mut ages: Vec<(u64, SessionKey)> = self
            .by_key
            .values()
            .filter(|profile| !table.exceptions().contains_key(&profile.key))
            .map(|profile| (profile.last_seen_ms, profile.key))
            .collect();
        ages.sort_unstable();
        // A sixteenth at once, so that this is not done for every newcomer.
        let surplus = self.by_key.len() - self.most + self.most / 16;
        for (_, key) in ages.into_iter().take(surplus) {
            self.forget(key);
        }
    }

    /// What the journal has yet to learn.
    pub fn unwritten(&mut self) -> Vec<Entry> {
        let gone = std::mem::take(&mut self.gone).into_iter().map(Entry::ProfileGone);
        let dirty = std::mem::take(&mut self.dirty);
        let changed =
            dirty.into_iter().filter_map(|key| self.by_key.get(&key).cloned().map(Entry::Profile));
        gone.chain(changed).collect()
    }

    /// The sessions by bucket, those without an exception only.
    #[must_use]
    pub fn residents(&self, table: &PlacementTable) -> ByBucket {
        let mut buckets: BTreeMap<Bucket, Vec<SessionKey>> = BTreeMap::new();
        for key in self.by_key.keys() {
            if !table.exceptions().contains_key(key) {
                buckets.entry(key.bucket()).or_default().push(*key);
            }
        }
        for keys in buckets.values_mut() {
            keys.sort_unstable();
        }
        ByBucket(buckets)
    }

    fn touched(&mut self, key: SessionKey) {
        self.gone.remove(&key);
        self.dirty.insert(key);
    }

    /// Forgets a session.
    pub fn forget(&mut self, key: SessionKey) {
        self.by_key.remove(&key);
        self.dirty.remove(&key);
        self.gone.insert(key);
    }
}

/// Sessions that live where their bucket does.
#[derive(Debug, Default)]
pub struct ByBucket(BTreeMap<Bucket, Vec<SessionKey>>);

impl Residents for ByBucket {
    fn count(&self, bucket: Bucket) -> u32 {
        self.0.get(&bucket).map_or(0, |keys| keys.len() as u32)
    }

    fn of(&self, bucket: Bucket) -> Vec<SessionKey> {
        self.0.get(&bucket).cloned().unwrap_or_default()
    }
}
