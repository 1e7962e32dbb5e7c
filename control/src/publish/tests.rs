use homing_wire::{
    Capacity, Epoch, Facts, Home, Intake, Policy, Price, SessionKey, TableDraft, Zone, ZoneId,
};

use super::*;

fn first() -> PlacementTable {
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
    TableDraft::first(Version { term: 1, n: 1 }, facts, 0).seal().unwrap()
}

/// Publishes `count` changes: each sets one session's home, and takes another's back.
fn world(count: u64) -> (Published, Vec<PlacementTable>) {
    let mut table = first();
    let published = Published::new(Some(table.clone()), Vec::new());
    let mut tables = vec![table.clone()];
    for n in 0..count {
        let mut change = Delta::to(table.version().next(), n);
        let home = Home { zone: ZoneId((n % 2) as u8), epoch: Epoch(n + 2) };
        change.set.push((SessionKey(u128::from(n % 5)), home));
        if n % 3 == 2 {
            change.removed.push(SessionKey(u128::from((n + 1) % 5)));
        }
        published.advance(vec![Arc::new(table.advance(change).unwrap())]).unwrap();
        tables.push(table.clone());
    }
    (published, tables)
}

#[test]
fn one_merged_delta_leads_from_any_recent_table_to_the_newest() {
    let (published, tables) = world(20);
    let newest = tables.last().unwrap();
    for held in &tables[..20] {
        let Update::Delta(version, sealed) = published.toward(held.version(), held.digest(), None)
        else {
            panic!("a delta is due from {}", held.version());
        };
        let mut held = held.clone();
        held.apply(&Delta::decode(&sealed).unwrap()).unwrap();
        assert_eq!(version, newest.version());
        assert_eq!(&held, newest);
    }
    assert_eq!(published.toward(newest.version(), newest.digest(), None), Update::None);
}

#[test]
fn deltas_published_together_are_one_and_skip_the_versions_between() {
    let (published, tables) = world(4);
    let mut table = tables[4].clone();
    let mut deltas = Vec::new();
    for n in 0..10_u64 {
        let mut change = Delta::to(table.version().next(), n);
        let home = Home { zone: ZoneId((n % 2) as u8), epoch: Epoch(100 + n) };
        change.set.push((SessionKey(u128::from(n % 3)), home));
        deltas.push(Arc::new(table.advance(change).unwrap()));
    }
    published.advance(deltas).unwrap();
    assert_eq!(published.table().as_deref(), Some(&table));
    let held = &tables[4];
    let update = published.toward(held.version(), held.digest(), None);
    let Update::Delta(_, sealed) = &update else { panic!("{update:?}") };
    assert_eq!(Delta::decode(sealed).unwrap().set.len(), 3);
    assert_eq!(published.ready(held.version(), held.digest()), Some(update));
    assert_eq!(published.ready(table.version(), table.digest()), Some(Update::None));
    // Who is further behind is served too, once that is merged.
    let behind = &tables[3];
    assert_eq!(published.ready(behind.version(), behind.digest()), None);
    let update = published.toward(behind.version(), behind.digest(), None);
    assert_eq!(published.ready(behind.version(), behind.digest()), Some(update));
}

#[test]
fn a_holder_of_something_else_gets_the_whole() {
    let (published, tables) = world(3);
    let held = &tables[1];
    let whole = |update| matches!(update, Update::Snapshot(..));
    assert!(whole(published.toward(held.version(), held.digest() ^ 1, None)));
    assert!(whole(published.toward(Version::default(), 0, None)));
    assert!(whole(published.toward(Version { term: 0, n: 9 }, 1, None)));
    let newest = tables.last().unwrap();
    assert!(whole(published.toward(newest.version(), newest.digest() ^ 1, None)));
}

#[test]
fn the_past_that_is_kept_is_bounded() {
    let (published, tables) = world(DELTAS_KEPT as u64 + 10);
    assert_eq!(published.recent.lock().deltas.len(), DELTAS_KEPT);
    let old = &tables[2];
    let update = published.toward(old.version(), old.digest(), None);
    assert!(matches!(update, Update::Snapshot(..)));
}

#[test]
fn a_holder_of_something_else_that_told_its_sums_gets_what_differs_if_that_is_little() {
    let mut table = first();
    let mut change = Delta::to(table.version().next(), 1);
    let home = Home { zone: ZoneId(0), epoch: Epoch(2) };
    change.set = (0..10_000).map(|n: u128| (SessionKey(n << 114), home)).collect();
    table.advance(change).unwrap();
    let published = Published::new(Some(table.clone()), Vec::new());
    let lacking = |few: usize| {
        let mut lacking = table.clone();
        let mut change = Delta::to(Version { term: 0, n: 9 }, 1);
        change.removed = table.exceptions().keys().step_by(few).copied().collect();
        lacking.advance(change).unwrap();
        let update = published.toward(lacking.version(), lacking.digest(), Some(&lacking.sums()));
        (lacking, update)
    };
    let (held, Update::Repair(version, sealed)) = lacking(4_000) else { panic!("a few differ") };
    let repair = Repair::decode(&sealed).unwrap();
    assert_eq!((version, repair.segments.len()), (table.version(), 3));
    assert_eq!(held.mended(&repair).as_ref(), Ok(&table));
    assert!(matches!(lacking(10), (_, Update::Snapshot(..))));
}
