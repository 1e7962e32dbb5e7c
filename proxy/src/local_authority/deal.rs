//! Dealing buckets anew. A bucket with sessions that may have state elsewhere is left alone, or
//! its sessions are made exceptions first: the table must never move a session by accident.

use std::collections::HashSet;

use homing_wire::{
    BUCKETS, Bucket, Intake, StateSpec, ZoneId,
    delta::BucketRun,
    table::{Buckets, Home, bucket_weights},
};

use super::{Change, LocalAuthority};

impl LocalAuthority {
    /// Gives an emptied zone's buckets to the open ones, each at its next epoch.
    pub(super) fn deal_away(&self, zone: ZoneId, change: &mut Change, now_ms: u64) {
        if !self.knows_all(change, now_ms) {
            return;
        }
        let ideal = Buckets::by_weight(&bucket_weights(change.zones()));
        let runs: Vec<_> = change.live.table.buckets().owned_by(zone).collect();
        for bucket in runs {
            let to = ideal.home(bucket).zone;
            if to != zone {
                self.deal(bucket, to, change);
            }
        }
    }

    /// Gives a zone that was opened its share of the buckets nobody lives in.
    pub(super) fn deal_share(&self, zone: ZoneId, change: &mut Change) {
        if !self.knows_all(change, self.clock.now_ms()) {
            return;
        }
        let taken = self.lived_in(change);
        let ideal = Buckets::by_weight(&bucket_weights(change.zones()));
        for bucket in (0..BUCKETS).map(|index| Bucket(index as u16)) {
            let due = ideal.home(bucket).zone == zone;
            let owner = change.live.table.buckets().home(bucket).zone;
            if due && owner != zone && !taken.contains(&bucket) {
                self.deal(bucket, zone, change);
            }
        }
    }

    fn deal(&self, bucket: Bucket, to: ZoneId, change: &mut Change) {
        let epoch = change.live.table.buckets().home(bucket).epoch.next();
        let home = Home { zone: to, epoch };
        match change.delta.buckets.last_mut() {
            Some(run)
                if run.home == home && run.first.index() + run.count as usize == bucket.index() =>
            {
                run.count += 1;
            }
            _ => change.delta.buckets.push(BucketRun { first: bucket, count: 1, home }),
        }
    }

    /// Whether every session that may have state is remembered here: after a restart that takes
    /// as long as a session may be silent.
    fn knows_all(&self, change: &Change, now_ms: u64) -> bool {
        let services = change.live.table.facts().services.iter();
        let with_state = services.filter(|service| service.state != StateSpec::Stateless);
        let idle_ms = with_state.map(|service| service.session.idle_ms).max().unwrap_or(0);
        self.known_since_ms == 0 || now_ms.saturating_sub(self.known_since_ms) > idle_ms
    }

    /// Buckets in which a session lives by its bucket's word. Exceptions do not care.
    fn lived_in(&self, change: &Change) -> HashSet<Bucket> {
        let open = |zone: &homing_wire::Zone| zone.intake != Intake::Closed;
        let zones = change.zones().iter().enumerate().filter(|(_, zone)| open(zone));
        let homes = zones.flat_map(|(index, _)| self.gates.homes(ZoneId(index as u8)));
        let exceptions = change.live.table.exceptions();
        homes
            .map(|session| session.key)
            .filter(|key| !exceptions.contains_key(key))
            .map(|key| key.bucket())
            .collect()
    }
}
