//! A dealt bucket leaves its sessions where they are, and what the table says of one is obeyed.

use std::collections::BTreeMap;
use std::sync::Arc;

use homing_session::{hold::Waiting, roster::Who};
use homing_wire::{
    Capacity, Delta, Intake, Policy, Price, ServiceId, Version, Zone,
    delta::BucketRun,
    table::{Buckets, Facts, PlacementTable, TableDraft},
};

use super::*;
use crate::gates::Admission;

fn table() -> PlacementTable {
    let zone = |name: &str| Zone {
        name: name.to_owned(),
        location: None,
        endpoints: Vec::new(),
        capacity: Capacity::default(),
        price: Price::default(),
        intake: Intake::Open,
        shadow_price_us: 0,
        gates: Vec::new(),
    };
    let facts = Facts {
        zones: vec![zone("a"), zone("b")],
        services: Vec::new(),
        places: Vec::new(),
        policy: Policy::default(),
    };
    let draft = TableDraft {
        version: Version { term: 0, n: 1 },
        created_ms: 0,
        facts,
        buckets: Buckets::by_weight(&[1, 1]),
        exceptions: BTreeMap::new(),
        directives: BTreeMap::new(),
    };
    draft.seal().unwrap()
}

/// The table after the bucket of `key` was dealt to `to`.
fn dealt(table: &PlacementTable, key: SessionKey, to: ZoneId) -> PlacementTable {
    let mut after = table.clone();
    let mut change = Delta::to(table.version().next(), 1);
    let epoch = Epoch(table.home(key).epoch.0 + 1);
    change.buckets.push(BucketRun {
        first: key.bucket(),
        count: 1,
        home: Home { zone: to, epoch },
    });
    after.advance(change).unwrap();
    after
}

#[test]
fn sessions_stay_when_their_bucket_is_dealt_elsewhere() {
    let gates = Arc::new(Gates::new(1_000, Incarnation(9), Arc::default(), Arc::default()));
    let (before, key) = (table(), SessionKey(1 << 100));
    let home = before.home(key);
    let other = ZoneId(1 - home.zone.0);
    let now = Live::compile(before.clone());
    let who = Who { key, service: ServiceId(0), place: None };
    let Admission::Go(permit) =
        gates.admit(&now, home.zone, who, Waiting { since_ms: 1, bytes: 0 }, 1)
    else {
        panic!()
    };
    drop(permit);

    let next = Live::compile(dealt(&before, key, other));
    let kept = gates.defend(&now, &next, 2);
    let expected = Home { zone: home.zone, epoch: Epoch(next.home(key).epoch.0 + 1) };
    assert_eq!(kept, [(key, expected)]);
    assert_eq!(gates.home(&next, key), expected);
    // The zone that the table names sends the request back; the home executes it, newly fenced.
    let Admission::Moved(back) =
        gates.admit(&next, other, who, Waiting { since_ms: 1, bytes: 0 }, 3)
    else {
        panic!()
    };
    assert_eq!(back, expected);
    let Admission::Go(permit) =
        gates.admit(&next, home.zone, who, Waiting { since_ms: 1, bytes: 0 }, 3)
    else {
        panic!()
    };
    assert_eq!(permit.epoch(), expected.epoch);
    drop(permit);
    // Nothing is kept twice, nor where no bucket was dealt.
    assert!(gates.defend(&next, &next, 4).is_empty());
    assert!(gates.defend(&now, &next, 4).is_empty());
}

#[test]
fn a_home_that_is_stated_for_the_session_is_obeyed() {
    let gates = Arc::new(Gates::new(1_000, Incarnation(9), Arc::default(), Arc::default()));
    let (before, key) = (table(), SessionKey(1 << 100));
    let home = before.home(key);
    let other = ZoneId(1 - home.zone.0);
    let now = Live::compile(before.clone());
    let who = Who { key, service: ServiceId(0), place: None };
    drop(gates.admit(&now, home.zone, who, Waiting { since_ms: 1, bytes: 0 }, 1));
    let mut after = dealt(&before, key, other);
    let mut change = Delta::to(after.version().next(), 2);
    change.set.push((key, Home { zone: other, epoch: Epoch(9) }));
    after.advance(change).unwrap();
    assert!(gates.defend(&now, &Live::compile(after), 2).is_empty());
}
