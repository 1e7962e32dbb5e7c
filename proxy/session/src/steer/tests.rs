//! Steer, case by case and against the plain reading of its rule.

use std::{collections::BTreeMap, sync::Arc};

use homing_wire::{
    Capacity, Epoch, Facts, Home, Intake, Place, PlaceId, PlacementTable, Policy, Price, ServiceId,
    SessionKey, TableDraft, Version, Zone, ZoneId,
};
use proptest::prelude::*;

use super::{
    DistanceFrom, Excluded, Standing, SteerReason, Subject, UNKNOWN_RTT_US, Unavailable, ZoneSet,
    ZoneState, ZoneView, steer, steer_explained,
};
use crate::placement::Placement;

fn table(zones: u8, places: Vec<Place>, exceptions: &[(SessionKey, Home)]) -> PlacementTable {
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
    let facts = Facts {
        zones: (0..zones).map(zone).collect(),
        services: Vec::new(),
        places,
        policy: Policy::default(),
    };
    let exceptions = exceptions.iter().copied().collect::<BTreeMap<_, _>>();
    let first = TableDraft::first(Version { term: 1, n: 1 }, facts, 0);
    TableDraft { exceptions, ..first }.seal().expect("a whole table")
}

fn home(zone: u8, epoch: u64) -> Home {
    Home { zone: ZoneId(zone), epoch: Epoch(epoch) }
}

fn subject(standing: Standing) -> Subject {
    Subject { standing, service: ServiceId(0), place: None, affinity: 0 }
}

/// Three zones at 10, 30 and 50 ms from the edge; the only place is 90, 20 ms and unknown.
fn world() -> (Placement, ZoneView) {
    let place = Place { name: "lyon".into(), rtt_us: vec![90_000, 20_000, u32::MAX] };
    let table = table(3, vec![place], &[(SessionKey(7), home(2, 5))]);
    let mut view = ZoneView::compile(table.facts(), &[10_000, 30_000, 50_000]);
    view.down = vec![ZoneSet::default()];
    (Placement::compile(&table), view)
}

#[test]
fn a_settled_session_goes_home_by_the_highest_epoch() {
    let (placement, view) = world();
    let go = |key, hint| steer(&placement, &view, hint, &subject(Standing::Settled(key)), 1);
    let bucket = go(SessionKey(1), None).expect("served");
    assert_eq!((bucket.zone, bucket.reason), (ZoneId(0), SteerReason::Bucket));
    let own = go(SessionKey(7), None).expect("served");
    assert_eq!((own.home, own.reason), (Some(home(2, 5)), SteerReason::Exception));
    let told = go(SessionKey(7), Some(home(1, 6))).expect("served");
    assert_eq!((told.zone, told.reason), (ZoneId(1), SteerReason::Hint));
    for stale in [4, 5] {
        assert_eq!(go(SessionKey(7), Some(home(1, stale))).expect("served"), own);
    }
    assert!(own.fallbacks.as_slice().is_empty());
}

#[test]
fn a_settled_session_is_never_sent_elsewhere() {
    let (placement, mut view) = world();
    let go = |view: &ZoneView| {
        steer(&placement, view, None, &subject(Standing::Settled(SessionKey(7))), 1)
    };
    view.zones[2].load_permille = 1_000;
    let kept = go(&view).expect("served");
    assert_eq!((kept.zone, kept.reason), (ZoneId(2), SteerReason::Kept));
    view.zones[2].intake = Intake::Draining;
    assert_eq!(go(&view).expect("served").reason, SteerReason::Kept);
    view.down[0].insert(ZoneId(2));
    assert_eq!(go(&view), Err(Unavailable::HomeDown(ZoneId(2))));
    view.zones[2].intake = Intake::Closed;
    assert_eq!(go(&view), Err(Unavailable::HomeClosed(ZoneId(2))));
    // A zone the view has not heard of yet is not guessed at.
    let hint = Some(home(9, 9));
    let told = steer(&placement, &view, hint, &subject(Standing::Settled(SessionKey(7))), 1);
    assert_eq!(told, Err(Unavailable::HomeClosed(ZoneId(9))));
}

#[test]
fn a_failing_zone_keeps_its_sessions_and_gets_new_ones_last() {
    let (placement, mut view) = world();
    let go = |view: &ZoneView, standing| steer(&placement, view, None, &subject(standing), 1);
    view.failing = vec![ZoneSet::default()];
    view.failing[0].insert(ZoneId(0));
    let kept = go(&view, Standing::Settled(SessionKey(1))).expect("served");
    assert_eq!((kept.zone, kept.reason), (ZoneId(0), SteerReason::Kept));
    let spilled = go(&view, Standing::Fresh(SessionKey(1))).expect("served");
    assert_eq!((spilled.zone, spilled.reason), (ZoneId(1), SteerReason::Spilled));
    let new = go(&view, Standing::New).expect("served");
    assert_eq!((new.zone, new.fallbacks.as_slice()), (ZoneId(1), &[ZoneId(2)][..]));
    view.failing[0].insert(ZoneId(1));
    view.down[0].insert(ZoneId(2));
    assert_eq!(go(&view, Standing::New).expect("tried").zone, ZoneId(0));
    let all = steer_explained(&placement, &view, None, &subject(Standing::New), 1);
    assert_eq!(all.zones[1].1.map(Excluded::name), Some("failing"));
}

#[test]
fn a_new_session_goes_where_it_costs_least() {
    let (placement, mut view) = world();
    let mut new = subject(Standing::New);
    let go = |view: &ZoneView, new: &Subject| steer(&placement, view, None, new, 1);
    let zones = |view: &ZoneView, new: &Subject| {
        let choice = go(view, new).expect("served");
        let rest = choice.fallbacks.as_slice().iter();
        rest.fold(vec![choice.zone.0], |mut all, zone| {
            all.push(zone.0);
            all
        })
    };
    assert_eq!(zones(&view, &new), [0, 1, 2]);
    new.place = Some(PlaceId(0));
    // The third zone's distance is unknown to the place, so the edge's own counts.
    assert_eq!(zones(&view, &new), [1, 2, 0]);
    view.zones[1].shadow_price_us = 40_000;
    assert_eq!(zones(&view, &new), [2, 1, 0]);
    view.zones[2].load_permille = 990;
    assert_eq!(zones(&view, &new), [1, 2, 0]);
    view.zones[1].prestage_us = 60_000;
    assert_eq!(zones(&view, &new), [2, 0, 1]);
    view.zones[2].intake = Intake::Draining;
    view.zones[1].load_permille = 1_000;
    assert_eq!(zones(&view, &new), [0]);
    view.down[0].insert(ZoneId(0));
    assert_eq!(go(&view, &new), Err(Unavailable::NoZone));
}

#[test]
fn a_session_without_state_may_leave_its_bucket() {
    let (placement, mut view) = world();
    let mut fresh = subject(Standing::Fresh(SessionKey(2)));
    let go = |view: &ZoneView, fresh: &Subject| steer(&placement, view, None, fresh, 1);
    assert_eq!(placement.home(SessionKey(2)).home.zone, ZoneId(0));
    // At home it is nearest already.
    assert_eq!(go(&view, &fresh).expect("served").reason, SteerReason::Bucket);
    fresh.place = Some(PlaceId(0));
    let claimed = go(&view, &fresh).expect("served");
    assert_eq!((claimed.zone, claimed.reason), (ZoneId(1), SteerReason::Nearest));
    assert_eq!(claimed.home, Some(home(0, 1)));
    view.claim_gain_us = 100_000;
    assert_eq!(go(&view, &fresh).expect("served").reason, SteerReason::Bucket);
    view.zones[0].load_permille = 1_200;
    assert_eq!(go(&view, &fresh).expect("served").reason, SteerReason::Spilled);
    fresh.affinity = 600;
    let held = go(&view, &fresh).expect("served");
    assert_eq!((held.zone, held.reason), (ZoneId(0), SteerReason::Held));
    view.zones[0].intake = Intake::Draining;
    assert_eq!(go(&view, &fresh).expect("served").zone, ZoneId(1));
    // What an exception or a gate decided is not chance: it stays.
    let placed = subject(Standing::Fresh(SessionKey(7)));
    assert_eq!(go(&view, &placed).expect("served").reason, SteerReason::Exception);
}

#[test]
fn zones_that_cost_the_same_share_new_sessions() {
    let (placement, mut view) = world();
    view.distances = Arc::default();
    let mut taken = [0_u32; 3];
    for seed in 0..3_000 {
        let choice = steer(&placement, &view, None, &subject(Standing::New), seed);
        taken[choice.expect("served").zone.index()] += 1;
    }
    assert!(taken.iter().all(|count| (900..1_100).contains(count)), "{taken:?}");
}

#[test]
fn the_explained_form_shows_every_term() {
    let (placement, mut view) = world();
    view.zones[0].load_permille = 800;
    view.zones[1].intake = Intake::Closed;
    let new = Subject { place: Some(PlaceId(0)), ..subject(Standing::Settled(SessionKey(7))) };
    let told = steer_explained(&placement, &view, Some(home(1, 2)), &new, 1);
    assert_eq!(told.hint, Some((home(1, 2), false)));
    assert_eq!(told.placed.map(|placed| placed.exceptional), Some(true));
    let (terms, excluded) = told.zones[0];
    assert_eq!((terms.distance_us, terms.distance_from), (90_000, DistanceFrom::Place));
    assert_eq!((terms.load_us, excluded), (10_000, None));
    assert_eq!(told.zones[1].1, Some(Excluded::Closed));
    assert_eq!(told.zones[2].0.distance_from, DistanceFrom::Edge);
    view.distances = Arc::default();
    let told = steer_explained(&placement, &view, None, &subject(Standing::New), 1);
    assert_eq!(told.zones[0].0.distance_us, UNKNOWN_RTT_US);
    assert_eq!(told.zones[0].0.distance_from, DistanceFrom::Unknown);
}

fn state() -> impl Strategy<Value = ZoneState> {
    let intake = prop_oneof![
        4 => Just(Intake::Open),
        1 => Just(Intake::Draining),
        1 => Just(Intake::Closed),
    ];
    (intake, 0..1_300_u16, prop_oneof![0..100_000_u32, Just(u32::MAX)], any::<u32>()).prop_map(
        |(intake, load_permille, shadow_price_us, prestage_us)| ZoneState {
            intake,
            load_permille,
            shadow_price_us,
            prestage_us,
        },
    )
}

proptest! {
    #[test]
    fn the_choice_is_the_cheapest_zone_that_takes_it(
        zones in prop::collection::vec((state(), any::<u32>(), any::<bool>()), 1..12),
        place in prop::option::of(0..3_u16),
        seed in any::<u64>(),
    ) {
        let table = table(1, Vec::new(), &[]);
        let placement = Placement::compile(&table);
        let rtts: Vec<u32> = zones.iter().map(|(_, rtt_us, _)| *rtt_us).collect();
        let mut facts = Facts::clone(table.facts());
        facts.zones = vec![facts.zones[0].clone(); zones.len()];
        facts.places =
            vec![Place { name: "x".into(), rtt_us: rtts.iter().map(|r| r / 2).collect() }];
        let mut view = ZoneView::compile(&facts, &rtts);
        view.down = vec![ZoneSet::default()];
        for (index, (state, _, down)) in zones.iter().enumerate() {
            view.zones[index] = *state;
            if *down {
                view.down[0].insert(ZoneId(index as u8));
            }
        }
        let new = Subject { place: place.map(PlaceId), ..subject(Standing::New) };
        let told = steer_explained(&placement, &view, None, &new, seed);
        let mut open: Vec<_> = told
            .zones
            .iter()
            .filter(|(_, excluded)| excluded.is_none())
            .map(|(terms, _)| (terms.total_us(), terms.zone))
            .collect();
        open.sort();
        match told.choice {
            Err(why) => {
                prop_assert_eq!(why, Unavailable::NoZone);
                prop_assert!(open.is_empty());
            }
            Ok(choice) => {
                let ranked: Vec<_> = open.iter().map(|(_, zone)| *zone).take(4).collect();
                prop_assert_eq!(choice.zone, ranked[0]);
                prop_assert_eq!(choice.fallbacks.as_slice(), &ranked[1..]);
            }
        }
    }
}

#[test]
fn a_newcomer_goes_where_it_is_answered_soonest_not_where_it_is_nearest() {
    let (placement, mut view) = world();
    let new = |view: &ZoneView, service| {
        let subject = Subject { service: ServiceId(service), ..subject(Standing::New) };
        steer(&placement, view, None, &subject, 1).expect("served").zone
    };
    assert_eq!(new(&view, 0), ZoneId(0));
    // 20 ms nearer and 15 slower, then 60 slower; another service is as quick there as ever.
    for (drag_us, zone) in [(15_000, ZoneId(0)), (60_000, ZoneId(1))] {
        view.drags = vec![Box::new([drag_us, 0, 0])];
        assert_eq!((new(&view, 0), new(&view, 1)), (zone, ZoneId(0)));
    }
    let told = steer_explained(&placement, &view, None, &subject(Standing::New), 1);
    assert_eq!((told.zones[0].0.drag_us, told.zones[1].0.drag_us), (60_000, 0));
    // Who lives there stays.
    let settled = subject(Standing::Settled(SessionKey(1)));
    let stays = steer(&placement, &view, None, &settled, 1).expect("served");
    assert_eq!(stays.zone, ZoneId(0));
}
