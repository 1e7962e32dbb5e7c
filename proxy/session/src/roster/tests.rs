//! A roster against a placement: it executes only what is its own, counts what it lets in, and
//! forgets nothing that the placement could not tell again.

use std::collections::BTreeMap;

use homing_wire::{
    Capacity, Delta, DirectiveId, Epoch, Facts, Home, Incarnation, Intake, PlacementTable, Policy,
    Price, ServiceId, SessionKey, TableDraft, Version, Zone, ZoneId,
};
use proptest::prelude::*;

use super::{Activity, Admit, Begin, Cession, Life, Resident, Roster, TransitionRefused, Who};
use crate::{
    gate::{Event, Reaction, Tenure},
    placement::Placement,
};

const HERE: ZoneId = ZoneId(0);
const THERE: ZoneId = ZoneId(1);
const LIFE: Life = Life { incarnation: Incarnation(1), lease_valid: true };

fn table(exceptions: &[(u128, Home)]) -> PlacementTable {
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
    let zones = vec![zone("here"), zone("there")];
    let facts =
        Facts { zones, services: Vec::new(), places: Vec::new(), policy: Policy::default() };
    let exceptions: BTreeMap<_, _> =
        exceptions.iter().map(|(key, home)| (SessionKey(*key), *home)).collect();
    let first = TableDraft::first(Version { term: 1, n: 1 }, facts, 0);
    TableDraft { exceptions, ..first }.seal().expect("a whole table")
}

fn placement(exceptions: &[(u128, Home)]) -> Placement {
    Placement::compile(&table(exceptions))
}

fn home(zone: ZoneId, epoch: u64) -> Home {
    Home { zone, epoch: Epoch(epoch) }
}

/// Bucket 0 is owned here, bucket 1 there.
fn who(n: u128) -> Who {
    Who { key: SessionKey(n), service: ServiceId(0), place: None }
}

fn execute(epoch: u64) -> Admit {
    Admit::Execute { epoch: Epoch(epoch) }
}

#[test]
fn an_idle_session_fits_its_bound() {
    // The index holds a key and a slot number, padded, and one control byte, at a load of at least
    // 7/16; free slots cost four bytes.
    let index = (size_of::<(SessionKey, u32)>() + 1) * 16 / 7;
    let all = size_of::<Option<Resident>>() + index + 2 * size_of::<u32>();
    assert!(all <= 256, "{all} = {} + {index}", size_of::<Option<Resident>>());
}

#[test]
fn a_session_unknown_here_lives_where_the_placement_says() {
    let placement = placement(&[(2, home(THERE, 4)), (1 << 112, home(HERE, 3))]);
    let mut roster = Roster::new(HERE, 10);
    assert_eq!(roster.admit(who(1), &placement, true, 0), execute(1));
    assert_eq!(roster.admit(who(2), &placement, true, 0), Admit::Moved(home(THERE, 4)));
    assert_eq!(roster.admit(who(1 << 112), &placement, true, 0), execute(3));
    assert_eq!(roster.admit(who(3), &placement, false, 0), Admit::NoLease);
    assert_eq!((roster.len(), roster.counts().homes, roster.counts().in_flight), (2, 2, 2));
    assert_eq!(roster.admit(who(1), &placement, false, 0), Admit::NoLease);
}

#[test]
fn a_higher_epoch_in_the_placement_stops_execution_and_starts_it() {
    let mut table = table(&[]);
    let before = Placement::compile(&table);
    let set = vec![(SessionKey(1), home(THERE, 2))];
    let delta = table.advance(Delta { set, ..Delta::to(table.version().next(), 0) });
    let after = before.with_delta(&table, &delta.expect("a good change"));
    let (mut here, mut there) = (Roster::new(HERE, 10), Roster::new(THERE, 10));

    assert_eq!(here.admit(who(1), &before, true, 0), execute(1));
    assert_eq!(there.admit(who(1), &before, true, 0), Admit::Moved(home(HERE, 1)));
    assert_eq!(here.admit(who(1), &after, true, 0), Admit::Moved(home(THERE, 2)));
    assert_eq!(there.admit(who(1), &after, true, 0), execute(2));
    // The stale table of a slower proxy changes nothing at the new owner.
    assert_eq!(there.admit(who(1), &before, true, 0), execute(2));
}

#[test]
fn a_handoff_goes_through_both_rosters() {
    let placement = placement(&[]);
    let (mut source, mut target) = (Roster::new(HERE, 10), Roster::new(THERE, 10));
    let key = SessionKey(1);
    let directive = DirectiveId(7);
    let epoch = Epoch(2);
    let to_incarnation = LIFE.incarnation;
    assert_eq!(source.admit(who(1), &placement, true, 0), execute(1));

    let stage = Event::Stage { directive, to_incarnation, epoch };
    assert_eq!(target.transition(key, stage, &placement, LIFE, 0), Ok(Reaction::Staged));
    let freeze = Event::Freeze { directive };
    assert_eq!(source.transition(key, freeze, &placement, LIFE, 0), Ok(Reaction::Frozen));
    assert_eq!(source.admit(who(1), &placement, true, 0), Admit::Park);
    let grant = Event::Grant { directive, to: THERE, epoch };
    let early = source.transition(key, grant, &placement, LIFE, 0);
    assert!(matches!(early, Err(TransitionRefused::Illegal(_))));
    assert!(source.finish(key, Some(Activity::default()), 5).drained);
    assert_eq!(source.transition(key, grant, &placement, LIFE, 0), Ok(Reaction::Granted));
    let activate = Event::Activate { directive, to_incarnation, epoch };
    assert_eq!(target.transition(key, activate, &placement, LIFE, 0), Ok(Reaction::Activated));
    let ack = Event::GrantAck { directive };
    assert_eq!(source.transition(key, ack, &placement, LIFE, 0), Ok(Reaction::Retired));

    assert_eq!(source.admit(who(1), &placement, true, 9), Admit::Moved(home(THERE, 2)));
    assert_eq!(source.hint(key), Some(home(THERE, 2)));
    assert_eq!(target.admit(who(1), &placement, true, 9), execute(2));
    assert_eq!((source.counts().homes, target.counts().homes), (0, 1));
}

#[test]
fn activity_is_taken_once_and_adds_up() {
    let placement = placement(&[]);
    let mut roster = Roster::new(HERE, 10);
    for now_ms in [5, 7] {
        roster.admit(who(1), &placement, true, now_ms);
        roster.finish(SessionKey(1), Some(Activity { bytes: 10, latency_us: 3 }), now_ms + 1);
    }
    roster.admit(who(2), &placement, true, 8);
    roster.finish(SessionKey(2), None, 8);
    let mut taken = Vec::new();
    roster.drain_activity(100, &mut taken);
    assert_eq!(taken.len(), 1, "an aborted request is no activity");
    let told = (taken[0].requests, taken[0].bytes, taken[0].latency_us_sum, taken[0].last_seen_ms);
    assert_eq!(told, (2, 20, 6, 8));
    roster.drain_activity(100, &mut taken);
    assert_eq!(taken.len(), 1);
    // Counting out what was never let in changes nothing.
    roster.finish(SessionKey(2), None, 9);
    roster.finish(SessionKey(9), None, 9);
    assert_eq!(roster.counts().in_flight, 0);
}

#[test]
fn a_full_roster_forgets_habits_and_turns_away_only_when_all_are_needed() {
    let placement = placement(&[]);
    let mut roster = Roster::new(HERE, 4);
    for n in 0..4 {
        assert_eq!(roster.admit(who(n), &placement, true, 0), execute(1));
    }
    assert_eq!(roster.admit(who(4), &placement, true, 0), Admit::Full);
    roster.finish(SessionKey(2), None, 0);
    assert_eq!(roster.admit(who(4), &placement, true, 0), execute(1));
    assert!(roster.session(SessionKey(2)).is_none());
    assert_eq!((roster.counts().evicted, roster.counts().turned_away), (1, 1));
    // What is being handed over stays.
    roster.finish(SessionKey(3), None, 0);
    let freeze = Event::Freeze { directive: DirectiveId(1) };
    roster.transition(SessionKey(3), freeze, &placement, LIFE, 0).expect("frozen");
    assert_eq!(roster.admit(who(5), &placement, true, 0), Admit::Full);
    // What still remembers answers stays for a while.
    roster.finish(SessionKey(1), None, 0);
    roster.dedup_mut(SessionKey(1)).expect("resident").record(1, 1, 1);
    assert_eq!(roster.admit(who(5), &placement, true, 60_000), Admit::Full);
    assert_eq!(roster.admit(who(5), &placement, true, 60_001), execute(1));
}

#[test]
fn sessions_that_are_over_are_told_and_forgotten_within_the_budget() {
    let placement = placement(&[(3, home(HERE, 2))]);
    let mut roster = Roster::new(HERE, 100);
    for n in 0..10 {
        roster.admit(who(n), &placement, true, n as u64);
        roster.finish(SessionKey(n), (n == 0).then(Activity::default), n as u64);
    }
    let mut ended = Vec::new();
    let mut expire = |roster: &mut Roster, now_ms, budget| {
        let settled = DirectiveId(u64::MAX);
        roster.expire(&placement, settled, |_| 1_000, |end| ended.push(end), now_ms, budget)
    };
    assert_eq!(expire(&mut roster, 1_000, 100), 0);
    assert_eq!(expire(&mut roster, 1_005, 3), 2, "the first has activity to report");
    assert_eq!(expire(&mut roster, 1_005, 100), 2);
    roster.drain_activity(10, &mut Vec::new());
    assert_eq!(expire(&mut roster, 5_000, 100), 6);
    assert_eq!((roster.len(), roster.counts().homes, roster.counts().ended), (0, 0, 10));
    let exceptional: Vec<_> = ended.iter().filter(|end| end.exceptional).collect();
    assert_eq!((exceptional.len(), exceptional[0].epoch), (1, Epoch(2)));
}

#[test]
fn what_the_table_does_not_know_yet_is_kept() {
    let placement = placement(&[]);
    let mut roster = Roster::new(HERE, 100);
    let to = home(THERE, 5);
    let release = Event::Release { to: to.zone, epoch: to.epoch };
    roster.transition(SessionKey(1), release, &placement, LIFE, 0).expect("released");
    let settled = DirectiveId(u64::MAX);
    let expire = |roster: &mut Roster, placement: &Placement| {
        roster.expire(placement, settled, |_| 0, |_| (), u64::MAX, 100)
    };
    assert_eq!(expire(&mut roster, &placement), 0);
    let knows = self::placement(&[(1, to)]);
    assert_eq!(expire(&mut roster, &knows), 1);
}

#[test]
fn pages_tell_every_session_once() {
    let placement = placement(&[]);
    let mut roster = Roster::new(HERE, 1_000);
    for n in 0..200 {
        roster.admit(who(n), &placement, true, 0);
    }
    let (mut told, mut cursor) = (Vec::new(), Some(0));
    while let Some(from) = cursor {
        let (page, next) = roster.page(from, 33);
        assert!(page.len() <= 33);
        told.extend(page.into_iter().map(|session| session.key));
        cursor = next;
    }
    told.sort();
    assert_eq!(told, (0..200).map(SessionKey).collect::<Vec<_>>());
    assert_eq!(roster.page(u32::MAX, 1).1, None);
}

#[derive(Clone, Debug)]
enum Step {
    Admit(u128),
    Finish(u128),
    Freeze(u128),
    Thaw(u128),
    Expire(u32),
    Drain(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..24_u128;
    prop_oneof![
        4 => key.clone().prop_map(Step::Admit),
        3 => key.clone().prop_map(Step::Finish),
        1 => key.clone().prop_map(Step::Freeze),
        1 => key.prop_map(Step::Thaw),
        1 => (0..40_u32).prop_map(Step::Expire),
        1 => (0..10_usize).prop_map(Step::Drain),
    ]
}

proptest! {
    #[test]
    fn counts_and_bounds_hold_whatever_happens(
        steps in prop::collection::vec((step(), 0..500_u64), 0..300),
    ) {
        let placement = placement(&[]);
        let mut roster = Roster::new(HERE, 8);
        let mut running: BTreeMap<u128, u32> = BTreeMap::new();
        let mut frozen = std::collections::BTreeSet::new();
        let mut answered = 0_u32;
        let mut reported = Vec::new();
        let mut now_ms = 0;
        let directive = DirectiveId(1);
        for (step, pause_ms) in steps {
            now_ms += pause_ms;
            match step {
                Step::Admit(n) => match roster.admit(who(n), &placement, true, now_ms) {
                    Admit::Execute { .. } => {
                        prop_assert!(!frozen.contains(&n));
                        *running.entry(n).or_default() += 1;
                    }
                    Admit::Park => prop_assert!(frozen.contains(&n)),
                    Admit::Full => prop_assert_eq!(roster.len(), 8),
                    other => prop_assert!(false, "{other:?}"),
                },
                Step::Finish(n) => {
                    let runs = running.get_mut(&n).filter(|runs| **runs > 0);
                    let drained = roster.finish(SessionKey(n), Some(Activity::default()), now_ms);
                    if let Some(runs) = runs {
                        *runs -= 1;
                        answered += 1;
                        prop_assert_eq!(drained.drained, *runs == 0 && frozen.contains(&n));
                    } else {
                        prop_assert!(!drained.drained);
                    }
                }
                Step::Freeze(n) => {
                    let event = Event::Freeze { directive };
                    if roster.transition(SessionKey(n), event, &placement, LIFE, now_ms).is_ok() {
                        frozen.insert(n);
                    }
                }
                Step::Thaw(n) => {
                    let event = Event::Thaw { directive };
                    if roster.transition(SessionKey(n), event, &placement, LIFE, now_ms).is_ok() {
                        frozen.remove(&n);
                    }
                }
                Step::Expire(budget) => {
                    let idle = |_| 300;
                    roster.expire(&placement, directive, idle, |_| (), now_ms, budget);
                }
                Step::Drain(max) => roster.drain_activity(max, &mut reported),
            }
            prop_assert!(roster.len() <= 8);
            let in_flight: u32 = running.values().sum();
            prop_assert_eq!(roster.counts().in_flight, u64::from(in_flight));
            prop_assert_eq!(roster.counts().homes, roster.len() as u64);
            for (n, runs) in &running {
                prop_assert_eq!(roster.in_flight(SessionKey(*n)), *runs);
            }
            for n in &frozen {
                let tenure = roster.ownership(SessionKey(*n)).map(|own| own.tenure());
                prop_assert_eq!(tenure, Some(Tenure::Frozen { directive }));
            }
        }
        roster.drain_activity(usize::MAX, &mut reported);
        prop_assert_eq!(reported.iter().map(|told| told.requests).sum::<u32>(), answered);
    }
}

#[test]
fn a_session_is_given_between_two_requests_and_never_in_the_midst_of_one() {
    let placement = placement(&[]);
    let mut roster = Roster::new(HERE, 8);
    let key = SessionKey(0);
    assert_eq!(roster.cede(key, false), Cession::Absent);
    assert_eq!(roster.cede(key, true), Cession::Here);
    assert_eq!(roster.admit(who(0), &placement, true, 0), execute(1));
    roster.dedup_mut(key).unwrap().record(1, 1, 7);
    assert_eq!(roster.cede(key, false), Cession::Here);
    roster.finish(key, Some(Activity::default()), 1);
    let Cession::Given(given) = roster.cede(key, false) else { panic!() };
    assert_eq!((given.epoch, given.window.is_some()), (Epoch(1), true));
    assert_eq!(roster.counts().homes, 0);
    // The answer may have been lost.
    assert_eq!(roster.cede(key, false), Cession::GivenBefore(given));
    // Not drawn for it any more, it sends requests on; drawn for it again, it asks, then serves.
    let elsewhere = Admit::Moved(home(HERE, 1));
    assert_eq!(roster.admit_if(who(0), &placement, true, || Begin::No, 2), elsewhere);
    assert_eq!(roster.admit_if(who(0), &placement, true, || Begin::Ask, 2), Admit::Unasked);
    assert_eq!(roster.admit_if(who(0), &placement, true, || Begin::Yes, 2), execute(1));
    assert_eq!(roster.counts().homes, 1);
    assert!(roster.dedup(key).is_some_and(|window| !window.is_empty()));
}

#[test]
fn a_session_begins_by_the_placement_only_where_its_gate_may() {
    let mut roster = Roster::new(HERE, 8);
    let placed = placement(&[]);
    assert_eq!(roster.admit_if(who(0), &placed, true, || Begin::Ask, 0), Admit::Unasked);
    let there = Admit::Moved(home(HERE, 1));
    assert_eq!(roster.admit_if(who(0), &placed, true, || Begin::No, 0), there);
    assert!(roster.is_empty());
    // One that went away and comes back by the table is no different.
    assert_eq!(roster.admit(who(0), &placed, true, 0), execute(1));
    roster.finish(SessionKey(0), None, 0);
    let gone = Event::Release { to: THERE, epoch: Epoch(2) };
    roster.transition(SessionKey(0), gone, &placed, LIFE, 0).unwrap();
    assert_eq!(roster.cede(SessionKey(0), false), Cession::Away(home(THERE, 2)));
    let back = placement(&[(0, home(HERE, 3))]);
    assert_eq!(roster.admit_if(who(0), &back, true, || Begin::Ask, 1), Admit::Unasked);
    assert_eq!(roster.admit_if(who(0), &back, true, || Begin::Yes, 1), execute(3));
    // What it owns, it owns: nobody is asked.
    let newer = placement(&[(0, home(HERE, 5))]);
    assert_eq!(roster.admit_if(who(0), &newer, true, || panic!("asked"), 1), execute(5));
}

#[test]
fn what_was_given_is_forgotten_once_it_is_quiet() {
    let placed = placement(&[]);
    let mut roster = Roster::new(HERE, 8);
    roster.admit(who(0), &placed, true, 0);
    roster.finish(SessionKey(0), None, 0);
    assert!(matches!(roster.cede(SessionKey(0), false), Cession::Given(_)));
    let mut told = 0;
    let forgotten = roster.expire(&placed, DirectiveId(0), |_| 1_000, |_| told += 1, 5_000, 64);
    assert_eq!((forgotten, told, roster.len()), (1, 0, 0));
}
