//! Tables spoilt behind their digest's back, in every part and by every kind of fault, and what
//! their sums and a repair make of them.

use std::sync::Arc;

use super::{
    super::sums::{SEGMENTS, Sums, segment},
    *,
};
use crate::{
    delta::Delta,
    directive::{Cut, Directive, MoveReason},
    envelope,
    ids::{Bucket, DirectiveId, Epoch, Incarnation, Version, ZoneId},
    policy::Policy,
    session_key::SessionKey,
    table::{DeltaRefused, Home},
    zone::{Capacity, Intake, Price, Zone},
};

/// A generator with a seed: the same numbers on every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn key(&mut self) -> SessionKey {
        SessionKey(u128::from(self.next()) << 64 | u128::from(self.next()))
    }

    fn home(&mut self) -> Home {
        Home { zone: ZoneId(self.below(3) as u8), epoch: Epoch(1 + self.below(1 << 40)) }
    }
}

fn facts() -> Facts {
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
    let zones = ["paris", "oregon", "tokyo"].map(zone).to_vec();
    Facts { zones, services: Vec::new(), places: Vec::new(), policy: Policy::default() }
}

fn directive(id: u64, key: SessionKey) -> Directive {
    Directive {
        id: DirectiveId(id),
        key,
        from: ZoneId(0),
        to: ZoneId(1),
        from_incarnation: Incarnation(0),
        to_incarnation: Incarnation(7),
        epoch: Epoch(5),
        reason: MoveReason::Latency,
        cut: Cut::IdleGap,
    }
}

fn table(numbers: &mut Numbers, exceptions: usize) -> PlacementTable {
    let mut draft = TableDraft::first(Version { term: 1, n: 1 }, facts(), 7);
    draft.exceptions = (0..exceptions).map(|_| (numbers.key(), numbers.home())).collect();
    draft.directives =
        (0..4).map(|id| (DirectiveId(id), directive(id, SessionKey(id.into())))).collect();
    draft.seal().expect("the sample table has no faults")
}

fn parts(sums: &Sums) -> [u64; SEGMENTS + 3] {
    let mut parts = [0; SEGMENTS + 3];
    parts[..SEGMENTS].copy_from_slice(&sums.segments);
    parts[SEGMENTS..].copy_from_slice(&[sums.facts, sums.buckets, sums.directives]);
    parts
}

/// Spoils one entry and leaves the digest as it was; which of [`parts`] it was in.
fn spoil(table: &mut PlacementTable, numbers: &mut Numbers) -> usize {
    let nth = numbers.below(table.exceptions.len() as u64) as usize;
    let key = *table.exceptions.keys().nth(nth).expect("it is there");
    match numbers.below(7) {
        0 => {
            let lost = table.exceptions.remove(&key);
            assert!(lost.is_some());
        }
        1 => {
            let home = table.exceptions.get_mut(&key).expect("it is there");
            home.epoch.0 ^= 1 << (1 + numbers.below(40));
        }
        2 => {
            let home = table.exceptions.get_mut(&key).expect("it is there");
            home.zone.0 ^= 1 << numbers.below(8);
        }
        3 => {
            let (key, home) = (numbers.key(), numbers.home());
            table.exceptions.insert(key, home);
            return segment(key).into();
        }
        4 => {
            let bucket = Bucket(numbers.next() as u16);
            let home = table.buckets.home(bucket);
            table.buckets.set(bucket, Home { epoch: home.epoch.next(), ..home });
            return SEGMENTS + 1;
        }
        5 => {
            let mut facts = Facts::clone(&table.facts);
            facts.zones[0].shadow_price_us += 1;
            table.facts = Arc::new(facts);
            return SEGMENTS;
        }
        _ => {
            let id = DirectiveId(100 + numbers.below(100));
            table.directives.insert(id, directive(id.0, SessionKey(id.0.into())));
            return SEGMENTS + 2;
        }
    }
    segment(key).into()
}

fn repair(right: &PlacementTable, spoilt: &PlacementTable) -> Repair {
    let sealed = Repair::toward(right, &right.sums(), &spoilt.sums()).encode();
    Repair::decode(&sealed).expect("a repair comes back")
}

#[test]
fn a_sum_changes_only_with_the_entries_it_is_of() {
    for seed in 1..100 {
        let mut numbers = Numbers(seed);
        let right = table(&mut numbers, 600);
        assert_eq!(right.sums().digest(), right.digest());
        let mut spoilt = right.clone();
        let touched = spoil(&mut spoilt, &mut numbers);
        let (before, after) = (parts(&right.sums()), parts(&spoilt.sums()));
        let changed: Vec<usize> = (0..before.len()).filter(|i| before[*i] != after[*i]).collect();
        assert_eq!(changed, [touched], "seed {seed}");
    }
}

#[test]
fn a_repair_mends_any_spoilt_table_and_carries_only_the_parts_that_differ() {
    for seed in 1..100 {
        let mut numbers = Numbers(seed);
        let mut spoilt = table(&mut numbers, 600);
        // What is right has meanwhile gone on without the spoilt one.
        let mut right = spoilt.clone();
        let mut change = Delta::to(right.version().next(), 8);
        change.set = (0..numbers.below(3)).map(|_| (numbers.key(), numbers.home())).collect();
        right.advance(change.clone()).expect("the change fits");
        let mut touched: Vec<usize> = change.set.iter().map(|(k, _)| segment(*k).into()).collect();
        for _ in 0..1 + numbers.below(12) {
            touched.push(spoil(&mut spoilt, &mut numbers));
        }
        if numbers.below(4) == 0 {
            spoilt.digest.0 ^= numbers.next() | 1;
        }
        let repair = repair(&right, &spoilt);
        assert!(repair.segments.iter().all(|at| touched.contains(&usize::from(*at))));
        let due = |part| touched.contains(&part);
        assert_eq!(repair.facts.is_some(), due(SEGMENTS) && right.facts != spoilt.facts);
        assert_eq!(repair.buckets.is_some(), right.buckets != spoilt.buckets);
        assert_eq!(repair.directives.is_some(), due(SEGMENTS + 2));
        assert_eq!(spoilt.mended(&repair).as_ref(), Ok(&right), "seed {seed}");
    }
}

#[test]
fn a_delta_that_meets_a_spoilt_entry_is_refused_and_a_repair_leads_where_it_led() {
    let mut numbers = Numbers(3);
    let mut right = table(&mut numbers, 5_000);
    let mut spoilt = right.clone();
    let key = *right.exceptions().keys().next().expect("it has some");
    spoilt.exceptions.get_mut(&key).expect("it is there").epoch.0 += 1;
    let mut change = Delta::to(right.version().next(), 8);
    change.removed.push(key);
    let delta = right.advance(change).expect("the change fits");
    assert!(matches!(spoilt.apply(&delta), Err(DeltaRefused::Digest { .. })));
    let repair = repair(&right, &spoilt);
    assert_eq!(repair.segments, [segment(key)]);
    assert_eq!(spoilt.mended(&repair).as_ref(), Ok(&right));
}

#[test]
fn a_repair_that_does_not_lead_there_is_refused() {
    let mut numbers = Numbers(5);
    let right = table(&mut numbers, 600);
    let mut spoilt = right.clone();
    spoil(&mut spoilt, &mut numbers);
    let good = repair(&right, &spoilt);
    // What else is spoilt after the sums were taken is found out.
    let mut worse = spoilt.clone();
    let key = *worse.exceptions.keys().find(|k| !good.segments.contains(&segment(**k))).unwrap();
    worse.exceptions.remove(&key);
    assert!(matches!(worse.mended(&good), Err(RepairRefused::Digest { .. })));
    let mut impossible = good.clone();
    impossible.exceptions.push((SessionKey(7), Home { zone: ZoneId(9), epoch: Epoch(1) }));
    assert!(matches!(spoilt.mended(&impossible), Err(RepairRefused::Faults(_))));
    let mut back = good.clone();
    back.version = Version { term: 0, n: 9 };
    assert!(matches!(spoilt.mended(&back), Err(RepairRefused::Older { .. })));
}

#[test]
fn repairs_that_no_control_sends_are_not_read() {
    let mut numbers = Numbers(6);
    let right = table(&mut numbers, 600);
    let mut good = Repair::toward(&right, &right.sums(), &right.sums());
    assert_eq!((good.weight(), good.segments.len()), (0, 0));
    let fault = |repair: &Repair| Repair::decode(&repair.encode()).unwrap_err().to_string();
    good.segments = vec![3, 2];
    assert!(fault(&good).contains("repair.segments"));
    good.segments = vec![2, 2];
    assert!(fault(&good).contains("repair.segments"));
    good.segments = vec![2, 3];
    good.exceptions = vec![(SessionKey(1), numbers.home())];
    assert!(fault(&good).contains("repair.exceptions"));
    for _ in 0..500 {
        let noise: Vec<u8> = (0..numbers.below(400)).map(|_| numbers.next() as u8).collect();
        let _ = Repair::decode(&envelope::seal(envelope::Kind::Repair, &noise));
        let _ = Repair::decode(&noise);
    }
}
