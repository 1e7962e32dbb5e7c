//! A world of sessions to decide about, and the decisions of one request over it: what the micro
//! benches, the report and their test all run. Made from a seed, so that every run decides the
//! same and can show it by a digest.

use std::collections::BTreeMap;

use homing_session::{
    placement::Placement,
    roster::{Activity, Admit, Roster, Who},
    steer::{Standing, Subject, ZoneView, steer},
};
use homing_wire::{
    Capacity, Delta, Epoch, Facts, Home, Intake, PlacementTable, Policy, Price, ServiceId,
    SessionKey, TableDraft, Version, Zone, ZoneId,
};

#[cfg(test)]
mod tests;

/// How large a world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Sessions.
    pub sessions: usize,
    /// Of those, exceptions, in percent.
    pub exceptions_percent: usize,
    /// Zones.
    pub zones: u8,
}

/// Sessions, the table that places them, and what a proxy has compiled from it.
pub struct World {
    /// Every session once, in no order.
    pub keys: Vec<SessionKey>,
    /// The table.
    pub table: PlacementTable,
    /// The table compiled.
    pub placement: Placement,
    /// The zones, all open and healthy.
    pub view: ZoneView,
}

impl World {
    /// Makes a world; the same for the same size.
    ///
    /// # Panics
    /// If the size is none a table can have.
    #[must_use]
    pub fn new(size: Size) -> Self {
        let keys: Vec<_> = (0..size.sessions as u64).map(key).collect();
        let every = 100_usize.checked_div(size.exceptions_percent).unwrap_or(usize::MAX);
        let exceptions: BTreeMap<_, _> = keys
            .iter()
            .step_by(every.max(1))
            .filter(|_| size.exceptions_percent > 0)
            .map(|key| (*key, away(*key, size.zones)))
            .collect();
        let first = TableDraft::first(Version { term: 1, n: 1 }, facts(size.zones), 0);
        let table = TableDraft { exceptions, ..first }.seal().expect("a table of that size");
        let placement = Placement::compile(&table);
        let rtt_us: Vec<u32> = (0..u32::from(size.zones)).map(|zone| 9_000 + zone * 700).collect();
        let view = ZoneView::compile(table.facts(), &rtt_us);
        Self { keys, table, placement, view }
    }

    /// The delta that moves `count` sessions, and the table after it.
    ///
    /// # Panics
    /// Never: such a change is always good.
    #[must_use]
    pub fn moves(&self, count: usize) -> (PlacementTable, Delta) {
        let mut after = self.table.clone();
        let zones = self.view.zones.len() as u8;
        let moved = |key: &SessionKey| {
            let home = self.table.home(*key);
            (*key, Home { zone: ZoneId((home.zone.0 + 1) % zones), epoch: home.epoch.next() })
        };
        let step = (self.keys.len() / count.max(1)).max(1);
        let set = self.keys.iter().step_by(step).take(count).map(moved).collect();
        let change = Delta { set, ..Delta::to(after.version().next(), 0) };
        let delta = after.advance(change).expect("a good change");
        (after, delta)
    }

    /// Steers `keys` one after the other, each free to start before the last is done. Returns the
    /// digest of the choices.
    #[must_use]
    pub fn steer_free(&self, keys: &[SessionKey]) -> u64 {
        keys.iter().fold(0, |digest, key| fold(digest, self.steer_one(*key)))
    }

    /// Steers `keys`, each only when the last is known. `nothing` must be 0 and unknown to the
    /// compiler.
    #[must_use]
    pub fn steer_chained(&self, keys: &[SessionKey], nothing: u64) -> u64 {
        let mut digest = 0;
        for key in keys {
            let key = SessionKey(key.0 ^ u128::from(digest & nothing));
            digest = fold(digest, self.steer_one(key));
        }
        digest
    }

    /// Steers `count` sessions without a key.
    #[must_use]
    pub fn steer_new(&self, count: u64) -> u64 {
        (0..count).fold(0, |digest, seed| fold(digest, self.steer(Standing::New, seed)))
    }

    fn steer_one(&self, key: SessionKey) -> u64 {
        self.steer(Standing::Settled(key), 0)
    }

    fn steer(&self, standing: Standing, seed: u64) -> u64 {
        let subject = Subject { standing, service: ServiceId(0), place: None, affinity: 0 };
        match steer(&self.placement, &self.view, None, &subject, seed) {
            Ok(choice) => {
                let epoch = choice.home.map_or(0, |home| home.epoch.0);
                u64::from(choice.zone.0) << 32 | epoch
            }
            Err(_) => u64::MAX,
        }
    }

    /// A roster that knows `keys`, as far as they live in zone 0, each with one answered request.
    #[must_use]
    pub fn roster(&self, keys: &[SessionKey]) -> Roster {
        let mut roster = Roster::new(ZoneId(0), keys.len().max(1));
        self.requests(&mut roster, keys, 0);
        roster.drain_activity(usize::MAX, &mut Vec::new());
        roster
    }

    /// One request of each session, let in and finished. Returns how many were executed.
    pub fn requests(&self, roster: &mut Roster, keys: &[SessionKey], now_ms: u64) -> usize {
        let mut executed = 0;
        for key in keys {
            let who = Who { key: *key, service: ServiceId(0), place: None };
            if let Admit::Execute { .. } = roster.admit(who, &self.placement, true, now_ms) {
                roster.finish(*key, Some(Activity { bytes: 1_024, latency_us: 900 }), now_ms);
                executed += 1;
            }
        }
        executed
    }

    /// Those of `keys` that live in zone 0.
    #[must_use]
    pub fn in_first_zone(&self) -> Vec<SessionKey> {
        let here = |key: &&SessionKey| self.placement.home(**key).home.zone == ZoneId(0);
        self.keys.iter().filter(here).copied().collect()
    }
}

fn fold(digest: u64, answer: u64) -> u64 {
    (digest ^ answer).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
}

/// The n-th session's key: splitmix64 twice, as a stand-in for a keyed hash.
fn key(n: u64) -> SessionKey {
    let mix = |n: u64| {
        let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    };
    SessionKey(u128::from(mix(2 * n + 1)) << 64 | u128::from(mix(2 * n + 2)))
}

fn away(key: SessionKey, zones: u8) -> Home {
    Home { zone: ZoneId((key.low64() >> 32) as u8 % zones), epoch: Epoch(2 + key.low64() % 9) }
}

fn facts(zones: u8) -> Facts {
    let zone = |index: u8| Zone {
        name: format!("z{index}"),
        location: None,
        endpoints: Vec::new(),
        capacity: Capacity::default(),
        price: Price::default(),
        intake: Intake::Open,
        shadow_price_us: 0,
        gates: Vec::new(),
    };
    Facts {
        zones: (0..zones).map(zone).collect(),
        services: Vec::new(),
        places: Vec::new(),
        policy: Policy::default(),
    }
}
