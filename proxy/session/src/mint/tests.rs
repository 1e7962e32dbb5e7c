//! Minted keys live where they were wanted, and a zone without buckets costs no draws.

use homing_wire::{
    BUCKETS, Bucket, BucketRun, Capacity, Delta, Epoch, Facts, Home, Intake, KeySecret,
    PlacementTable, Policy, Price, SessionKey, TableDraft, Version, Zone, ZoneId,
};

use super::mint;
use crate::placement::Placement;

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
    let zones = ["a", "b", "c"].map(zone).to_vec();
    let facts =
        Facts { zones, services: Vec::new(), places: Vec::new(), policy: Policy::default() };
    TableDraft::first(Version { term: 1, n: 1 }, facts, 0).seal().expect("a whole table")
}

#[test]
fn a_minted_key_lives_in_the_wanted_zone_and_derives_from_its_id() {
    let placement = Placement::compile(&table());
    let secret = KeySecret::new([7; 32]);
    for zone in (0..3).map(ZoneId) {
        for seed in 0..50_u128 {
            let minted = mint(&secret, "default", "shop", &placement, zone, seed << 64);
            assert!(minted.in_zone);
            assert_eq!(placement.home(minted.key).home.zone, zone);
            let derived = SessionKey::derive(&secret, "default", "shop", &minted.raw);
            assert_eq!(minted.key, derived);
        }
    }
}

#[test]
fn a_zone_without_buckets_gets_no_key_and_takes_no_time() {
    let mut table = table();
    let home = Home { zone: ZoneId(0), epoch: Epoch(2) };
    let all = BucketRun { first: Bucket(0), count: BUCKETS as u32, home };
    let change = Delta { buckets: vec![all], ..Delta::to(table.version().next(), 0) };
    let delta = table.advance(change).expect("a good change");
    let placement = Placement::compile(&table).with_delta(&table, &delta);
    let secret = KeySecret::new([7; 32]);
    let minted = mint(&secret, "default", "shop", &placement, ZoneId(2), u128::MAX);
    assert!(!minted.in_zone);
    assert_eq!(minted.raw, [0xff; 16]);
    assert!(mint(&secret, "default", "shop", &placement, ZoneId(0), u128::MAX).in_zone);
}
