use std::collections::{HashMap, HashSet};

use homing_wire::{HotObject, SessionKey};
use proptest::prelude::*;

use super::*;

fn limits() -> SketchLimits {
    SketchLimits { sessions_max: 100, bytes_max: 1 << 20, idle_ms: 60_000 }
}

fn object(id: u64) -> HotObject {
    let path = format!("/{id}");
    HotObject { tls: false, host: "shop.example".to_owned(), path, headers: Vec::new() }
}

fn key(n: u64) -> SessionKey {
    SessionKey(u128::from(n) << 64 | u128::from(n))
}

fn fetch(sketches: &mut Sketches, session: u64, id: u64, now_ms: u64) -> Noted {
    sketches.note(key(session), id, 4, now_ms, || Some(object(id)))
}

fn paths(sketches: &mut Sketches, session: u64, now_ms: u64) -> Vec<String> {
    sketches.list(key(session), now_ms).iter().map(|object| object.path.clone()).collect()
}

#[test]
fn what_was_fetched_most_comes_first_and_what_was_fetched_last_before_its_equals() {
    let mut sketches = Sketches::new(limits());
    assert_eq!(fetch(&mut sketches, 1, 7, 0), Noted::Added);
    for id in [8, 9, 8] {
        fetch(&mut sketches, 1, id, 10);
    }
    assert_eq!(paths(&mut sketches, 1, 20), ["/8", "/9", "/7"]);
    assert_eq!(paths(&mut sketches, 2, 20), [""; 0]);
    assert_eq!(fetch(&mut sketches, 1, 7, 30), Noted::Counted);
}

#[test]
fn an_old_favourite_gives_way_to_a_new_one() {
    let mut sketches = Sketches::new(limits());
    for _ in 0..20 {
        fetch(&mut sketches, 1, 7, 0);
    }
    let later = 6 * HALF_LIFE_MS;
    fetch(&mut sketches, 1, 8, later);
    assert_eq!(paths(&mut sketches, 1, later), ["/8", "/7"]);
}

#[test]
fn a_favourite_is_not_pushed_out_by_many_strangers() {
    let mut sketches = Sketches::new(limits());
    for n in 0..400 {
        fetch(&mut sketches, 1, if n % 3 == 0 { 7 } else { 1_000 + n }, n);
    }
    assert_eq!(paths(&mut sketches, 1, 400)[0], "/7");
    assert_eq!(sketches.objects_of(key(1)), 4);
}

#[test]
fn the_idle_are_forgotten_with_all_that_only_they_named() {
    let mut sketches = Sketches::new(limits());
    fetch(&mut sketches, 1, 7, 0);
    fetch(&mut sketches, 2, 7, 50_000);
    sketches.sweep(70_000, 10);
    assert_eq!((sketches.sessions(), sketches.objects_of(key(2))), (1, 1));
    sketches.sweep(200_000, 10);
    assert_eq!((sketches.sessions(), sketches.bytes()), (0, 0));
}

#[test]
fn what_cannot_be_told_to_another_gate_is_left_out() {
    let mut sketches = Sketches::new(limits());
    assert_eq!(sketches.note(key(1), 7, 4, 0, || None), Noted::LeftOut);
    assert_eq!(sketches.note(key(1), 7, 0, 0, || Some(object(7))), Noted::LeftOut);
    assert_eq!((sketches.sessions(), sketches.bytes()), (0, 0));
}

proptest! {
    /// Whatever is fetched by whom: no bound is passed, and what is kept is what is named.
    #[test]
    fn bounds_hold_and_nothing_leaks(
        fetches in prop::collection::vec((0_u64..30, 0_u64..40, 1_usize..6, 0_u64..5_000), 1..400),
        sessions_max in 1_usize..12,
        bytes_max in 300_usize..6_000,
    ) {
        let limits = SketchLimits { sessions_max, bytes_max, idle_ms: 20_000 };
        let mut sketches = Sketches::new(limits);
        let mut now_ms = 0;
        for (session, id, entries_max, passed) in fetches {
            now_ms += passed;
            let before = sketches.objects_of(key(session));
            sketches.note(key(session), id, entries_max, now_ms, || Some(object(id)));
            prop_assert!(sketches.sessions() <= sessions_max);
            prop_assert!(sketches.bytes() <= bytes_max);
            prop_assert!(sketches.objects_of(key(session)) <= entries_max.max(before));
            sketches.sweep(now_ms, 2);
            let mut holders: HashMap<u64, u32> = HashMap::new();
            for sketch in &sketches.sessions {
                let ids: HashSet<u64> = sketch.entries.iter().map(|entry| entry.id).collect();
                prop_assert_eq!(ids.len(), sketch.entries.len());
                ids.into_iter().for_each(|id| *holders.entry(id).or_default() += 1);
            }
            prop_assert_eq!(holders.len(), sketches.objects.len());
            for (id, known) in &sketches.objects {
                prop_assert_eq!(holders.get(id), Some(&known.holders));
            }
            let texts: usize = sketches.objects.values().map(|known| cost(&known.object)).sum();
            let entries: usize = holders.values().map(|n| *n as usize * ENTRY_BYTES).sum();
            let own = sketches.sessions.len() * SESSION_BYTES;
            prop_assert_eq!(sketches.bytes(), texts + entries + own);
        }
    }
}
