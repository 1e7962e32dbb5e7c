use homing_wire::{
    Capacity, Cut, Directive, DirectiveId, Endpoint, Epoch, Incarnation, MoveReason, Place, Policy,
    Price, TableDraft, UpstreamProtocol, Version, Zone,
};
use proptest::prelude::*;

use super::*;

fn zone(name: &str, sessions: u64, intake: Intake) -> Zone {
    Zone {
        name: name.to_owned(),
        location: None,
        endpoints: vec![Endpoint {
            address: "127.0.0.1:1".to_owned(),
            weight: 1,
            protocol: UpstreamProtocol::H1,
        }],
        capacity: Capacity { sessions, ..Capacity::default() },
        price: Price::default(),
        intake,
        shadow_price_us: 0,
        gates: Vec::new(),
    }
}

fn facts(zones: &[(&str, u64, Intake)]) -> Facts {
    Facts {
        zones: zones.iter().map(|(n, s, i)| zone(n, *s, *i)).collect(),
        services: Vec::new(),
        places: vec![Place {
            name: "here".to_owned(),
            rtt_us: (1..=zones.len() as u32).map(|n| n * 1_000).collect(),
        }],
        policy: Policy::default(),
    }
}

fn first(facts: Facts) -> PlacementTable {
    TableDraft::first(Version { term: 1, n: 1 }, facts, 0).seal().expect("sound")
}

fn shares_of(table: &PlacementTable) -> Vec<usize> {
    let zones = table.facts().zones.len();
    (0..zones).map(|zone| table.buckets().owned_by(ZoneId(zone as u8)).count()).collect()
}

fn push(table: &mut PlacementTable, facts: Facts, residents: &impl Residents) -> Delta {
    let mut change = Delta::to(table.version().next(), 0);
    settle_buckets(table, &facts, residents, &mut change);
    change.facts = Some(facts);
    table.advance(change).expect("sound")
}

use Intake::{Closed, Draining, Open};

/// Sessions known by their bucket.
struct Known(Vec<SessionKey>);

impl Residents for Known {
    fn count(&self, bucket: Bucket) -> u32 {
        self.of(bucket).len() as u32
    }

    fn of(&self, bucket: Bucket) -> Vec<SessionKey> {
        self.0.iter().copied().filter(|key| key.bucket() == bucket).collect()
    }
}

#[test]
fn a_drained_zones_buckets_go_to_the_others_and_no_other_bucket_moves() {
    let mut table = first(facts(&[("a", 1, Open), ("b", 1, Open), ("c", 2, Open)]));
    let before = table.buckets().clone();
    push(&mut table, facts(&[("a", 1, Open), ("b", 1, Draining), ("c", 2, Open)]), &NoResidents);
    for index in 0..=u16::MAX {
        let (was, is) = (before.home(Bucket(index)), table.buckets().home(Bucket(index)));
        if was.zone == ZoneId(1) {
            assert_ne!(is.zone, ZoneId(1));
            assert_eq!(is.epoch, was.epoch.next());
        } else {
            assert_eq!(is, was);
        }
    }
    let shares = shares_of(&table);
    assert!(shares[0].abs_diff(21_845) < 3 && shares[2].abs_diff(43_690) < 3, "{shares:?}");
    assert!(!is_unsettled(&table));
}

#[test]
fn a_session_known_to_live_in_a_moved_bucket_keeps_its_home() {
    let mut table = first(facts(&[("a", 1, Open), ("b", 1, Open)]));
    let key = (0_u128..).map(|n| SessionKey(n << 112)).find(|k| table.home(*k).zone == ZoneId(1));
    let key = key.expect("b owns a bucket");
    push(&mut table, facts(&[("a", 1, Open), ("b", 1, Draining)]), &Known(vec![key]));
    let home = table.home(key);
    assert_eq!((home.zone, home.epoch), (ZoneId(1), Epoch(2)));
    // Closing the zone leaves nothing to hand over from: the session goes with its bucket.
    push(&mut table, facts(&[("a", 1, Open), ("b", 1, Closed)]), &Known(vec![key]));
    let home = table.home(key);
    assert_eq!(home.zone, ZoneId(0));
    assert!(home.epoch > Epoch(2));
}

#[test]
fn a_new_zone_gets_its_share_and_small_changes_of_capacity_move_nothing() {
    let mut table = first(facts(&[("a", 10, Open), ("b", 10, Open)]));
    let delta =
        push(&mut table, facts(&[("a", 10, Open), ("b", 10, Open), ("c", 10, Open)]), &NoResidents);
    let shares = shares_of(&table);
    assert!(shares.iter().all(|share| share.abs_diff(21_845) < 3), "{shares:?}");
    let moved: u32 = delta.buckets.iter().map(|run| run.count).sum();
    assert!(moved <= 21_846);
    let delta =
        push(&mut table, facts(&[("a", 12, Open), ("b", 9, Open), ("c", 10, Open)]), &NoResidents);
    assert!(delta.buckets.is_empty());
}

#[test]
fn a_bucket_with_an_open_directive_waits() {
    let mut table = first(facts(&[("a", 1, Open), ("b", 1, Open)]));
    let key = (0_u128..).map(|n| SessionKey(n << 112)).find(|k| table.home(*k).zone == ZoneId(1));
    let key = key.expect("b owns a bucket");
    let mut change = Delta::to(table.version().next(), 0);
    change.directives.push(Directive {
        id: DirectiveId(1),
        key,
        from: ZoneId(1),
        to: ZoneId(0),
        from_incarnation: Incarnation(0),
        to_incarnation: Incarnation(0),
        epoch: Epoch(2),
        reason: MoveReason::Operator,
        cut: Cut::IdleGap,
    });
    table.advance(change).expect("sound");
    let drained = facts(&[("a", 1, Open), ("b", 1, Draining)]);
    push(&mut table, drained.clone(), &NoResidents);
    assert_eq!(table.buckets().home(key.bucket()).epoch, Epoch(1));
    assert!(is_unsettled(&table));
    let mut change = Delta::to(table.version().next(), 0);
    change.withdrawn.push(DirectiveId(1));
    table.advance(change).expect("sound");
    push(&mut table, drained, &NoResidents);
    assert!(!is_unsettled(&table));
}

#[test]
fn ids_follow_names_and_a_removed_zone_stays_while_something_names_it() {
    let old = facts(&[("a", 1, Open), ("b", 2, Open), ("c", 3, Open)]);
    let wanted = facts(&[("c", 3, Open), ("d", 4, Open), ("a", 1, Open)]);
    let renamed = rename(&old, &wanted, |zone| zone == ZoneId(1)).expect("room");
    let names: Vec<_> = renamed.facts.zones.iter().map(|z| (z.name.as_str(), z.intake)).collect();
    assert_eq!(names, [("a", Open), ("b", Draining), ("c", Open), ("d", Open)]);
    // The round trips went with their zones: c was first in the document.
    assert_eq!(renamed.facts.places[0].rtt_us, [3_000, 2_000, 1_000, 2_000]);
    assert_eq!(renamed.leaving, [ZoneId(1)]);

    let next = rename(&renamed.facts, &wanted, |_| false).expect("room");
    let names: Vec<_> = next.facts.zones.iter().map(|z| (z.name.as_str(), z.intake)).collect();
    assert_eq!(names, [("a", Open), ("b", Closed), ("c", Open), ("d", Open)]);
    assert!(next.facts.zones[1].endpoints.is_empty());

    let fewer = facts(&[("a", 1, Open), ("e", 1, Open)]);
    let next = rename(&next.facts, &fewer, |_| false).expect("room");
    let names: Vec<_> = next.facts.zones.iter().map(|z| z.name.as_str()).collect();
    assert_eq!(names, ["a", "e"]);
}

#[test]
fn an_expired_exception_never_lowers_an_epoch() {
    let mut table = first(facts(&[("a", 1, Open), ("b", 1, Open)]));
    let key = SessionKey(5 << 112 | 9);
    let mut change = Delta::to(table.version().next(), 0);
    let home = Home { zone: ZoneId(1), epoch: Epoch(7) };
    change.set.push((key, home));
    table.advance(change).expect("sound");
    let mut change = Delta::to(table.version().next(), 0);
    expire(&table, |_| true, 10, &mut change);
    table.advance(change).expect("sound");
    assert!(table.exceptions().is_empty());
    assert_eq!(table.home(key).epoch, Epoch(7));
}

fn intakes() -> impl Strategy<Value = Vec<(u64, Intake)>> {
    let intake = prop_oneof![4 => Just(Open), 1 => Just(Draining), 1 => Just(Closed)];
    proptest::collection::vec((0_u64..1_000, intake), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn dealing_settles_never_lowers_an_epoch_and_is_done_once(
        before in intakes(), after in intakes()
    ) {
        let name = |list: &[(u64, Intake)]| -> Facts {
            let names: Vec<String> = (0..list.len()).map(|n| format!("z{n}")).collect();
            let zones: Vec<_> =
                list.iter().zip(&names).map(|((s, i), n)| (n.as_str(), *s, *i)).collect();
            facts(&zones)
        };
        let mut table = first(name(&before));
        let was = table.buckets().clone();
        let wanted = rename(table.facts(), &name(&after), |_| true).expect("room").facts;
        let any_open = wanted.zones.iter().any(|zone| zone.intake == Open);
        push(&mut table, wanted.clone(), &NoResidents);
        prop_assert!(!is_unsettled(&table));
        for index in 0..=u16::MAX {
            let (old, new) = (was.home(Bucket(index)), table.buckets().home(Bucket(index)));
            prop_assert!(new == old || new.epoch == old.epoch.next());
        }
        let again = push(&mut table, wanted, &NoResidents);
        prop_assert!(again.buckets.is_empty() || !any_open, "{:?}", again.buckets);
    }
}
