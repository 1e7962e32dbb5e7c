//! The compiled placement against the table it was compiled from, however it got there.

use std::collections::BTreeMap;

use homing_wire::{
    BUCKETS, Bucket, BucketRun, Capacity, Delta, Epoch, Facts, Home, Intake, PlacementTable,
    Policy, Price, SessionKey, TableDraft, Version, Zone, ZoneId,
};
use proptest::prelude::*;

use super::{Placement, exceptions::Exceptions};

const ZONES: u8 = 5;

fn zone(index: u8) -> Zone {
    Zone {
        name: format!("z{index}"),
        location: None,
        endpoints: Vec::new(),
        capacity: Capacity::default(),
        price: Price::default(),
        intake: Intake::Open,
        shadow_price_us: 0,
        gates: Vec::new(),
    }
}

fn table(exceptions: BTreeMap<SessionKey, Home>) -> PlacementTable {
    let facts = Facts {
        zones: (0..ZONES).map(zone).collect(),
        services: Vec::new(),
        places: Vec::new(),
        policy: Policy::default(),
    };
    let draft = TableDraft { exceptions, ..TableDraft::first(Version { term: 1, n: 1 }, facts, 0) };
    draft.seal().expect("a whole table")
}

fn change() -> Delta {
    Delta::to(Version::default(), 0)
}

fn advance(table: &mut PlacementTable, mut change: Delta) -> Delta {
    change.version = table.version().next();
    table.advance(change).expect("a good change")
}

fn agree(placement: &Placement, table: &PlacementTable, keys: impl Iterator<Item = SessionKey>) {
    assert_eq!(placement.exceptions(), table.exceptions().len());
    for key in keys.chain(table.exceptions().keys().copied()) {
        let placed = placement.home(key);
        assert_eq!(placed.home, table.home(key), "{key}");
        assert_eq!(placed.exceptional, table.exceptions().contains_key(&key), "{key}");
    }
    for index in 0..BUCKETS {
        let bucket = Bucket(index as u16);
        assert_eq!(placement.bucket_home(bucket), table.buckets().home(bucket));
    }
    let owned: u32 = (0..=u8::MAX).map(|zone| placement.buckets_owned(ZoneId(zone))).sum();
    assert_eq!(owned as usize, BUCKETS);
}

/// Keys from a small pool, so that deltas meet exceptions of earlier ones. Half of them differ in
/// their lowest bits only, as no hashed key does.
fn key() -> impl Strategy<Value = SessionKey> {
    prop_oneof![
        (0..40_u128).prop_map(SessionKey),
        (0..40_u128).prop_map(|n| SessionKey(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_0c0c_b0a5))),
        (0..40_u128).prop_map(|n| SessionKey(n << 112)),
    ]
}

fn home() -> impl Strategy<Value = Home> {
    let epoch = prop_oneof![
        4 => 1..20_u64,
        1 => 65_000..66_000_u64,
        1 => (1 << 24) - 3..(1 << 24) + 3_u64,
        1 => u64::MAX - 3..u64::MAX,
    ];
    (0..ZONES, epoch).prop_map(|(zone, epoch)| Home { zone: ZoneId(zone), epoch: Epoch(epoch) })
}

fn run() -> impl Strategy<Value = BucketRun> {
    (any::<u16>(), 1..2_000_u32, home()).prop_map(|(first, count, home)| BucketRun {
        first: Bucket(first),
        count: count.min(BUCKETS as u32 - u32::from(first)),
        home,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn agrees_with_its_table_after_any_deltas(
        first in prop::collection::btree_map(key(), home(), 0..60),
        deltas in prop::collection::vec(
            (
                prop::collection::vec((key(), home()), 0..30),
                prop::collection::vec(key(), 0..30),
                prop::collection::vec(run(), 0..3),
            ),
            0..8,
        ),
        others in prop::collection::vec(any::<u128>().prop_map(SessionKey), 0..50),
    ) {
        let mut table = table(first);
        let mut placement = Placement::compile(&table);
        agree(&placement, &table, others.iter().copied());
        for (set, removed, buckets) in deltas {
            let delta = advance(&mut table, Delta { set, removed, buckets, ..change() });
            placement = placement.with_delta(&table, &delta);
            let pool = (0..40).map(SessionKey);
            agree(&placement, &table, pool.chain(others.iter().copied()));
        }
    }
}

fn numbered(n: u64) -> SessionKey {
    // Splitmix, twice: a stand-in for a keyed hash.
    let mix = |n: u64| {
        let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    };
    SessionKey(u128::from(mix(n)) << 64 | u128::from(mix(!n)))
}

#[test]
fn fills_empties_and_grows_in_place() {
    let away = |n: u64| Home { zone: ZoneId((n % 5) as u8), epoch: Epoch(2 + n % 7) };
    let mut table = table((0..20_000).map(|n| (numbered(n), away(n))).collect());
    let mut placement = Placement::compile(&table);
    for round in 0..12_u64 {
        // Each round ends as many as it begins, so freed slots must be used again.
        let set = (0..5_000).map(|n| (numbered(20_000 + round * 5_000 + n), away(n))).collect();
        let removed = (0..5_000).map(|n| numbered(round * 5_000 + n)).collect();
        let delta = advance(&mut table, Delta { set, removed, ..change() });
        placement = placement.with_delta(&table, &delta);
        assert_eq!(placement.exceptions(), 20_000);
    }
    agree(&placement, &table, (0..90_000).map(numbered));
    let (buckets, exceptions) = placement.bytes();
    assert_eq!(buckets, 256 << 10);
    assert!(exceptions <= 12 * 20_000 + (36 << 10), "{exceptions}");
}

#[test]
fn sessions_that_share_a_tag_are_told_apart() {
    // A zero product: both keys hash to 0, so tag and position are the same.
    let low = 0x9e37_79b9_7f4a_7c15;
    let twins = [SessionKey(low), SessionKey(1 << 64 | low)];
    let mut table = table(BTreeMap::from([
        (twins[0], Home { zone: ZoneId(1), epoch: Epoch(2) }),
        (twins[1], Home { zone: ZoneId(2), epoch: Epoch(3) }),
    ]));
    let stranger = SessionKey(5 << 64 | low);
    assert_eq!(Exceptions::build(table.exceptions()).exact(), 2);
    let mut placement = Placement::compile(&table);
    agree(&placement, &table, [stranger].into_iter());

    let delta = advance(&mut table, Delta { removed: vec![twins[0]], ..change() });
    placement = placement.with_delta(&table, &delta);
    agree(&placement, &table, twins.into_iter().chain([stranger]));

    // From one to two by a delta: the slot alone cannot tell that the second is new.
    let alone = table.clone();
    let set = vec![(twins[0], Home { zone: ZoneId(3), epoch: Epoch(9) })];
    let delta = advance(&mut table, Delta { set, ..change() });
    agree(&placement.with_delta(&table, &delta), &table, twins.into_iter());
    agree(&Placement::compile(&alone).with_delta(&table, &delta), &table, twins.into_iter());
}

#[test]
fn a_delta_shares_what_it_does_not_touch() {
    let away = Home { zone: ZoneId(1), epoch: Epoch(2) };
    let mut table = table((0..100_000).map(|n| (numbered(n), away)).collect());
    let before = Placement::compile(&table);
    let delta = advance(&mut table, Delta { set: vec![(numbered(7), away)], ..change() });
    let after = before.with_delta(&table, &delta);
    assert!(std::sync::Arc::ptr_eq(&before.buckets, &after.buckets));
}
