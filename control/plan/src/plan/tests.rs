use homing_wire::{
    Capacity, Cut, Directive, Epoch, Facts, Incarnation, Intake, Place, PlaceId, Policy, Price,
    ServiceId, TableDraft, Zone,
};
use proptest::prelude::*;

use super::*;
use crate::{
    affinity::Served,
    feedback::Felt,
    mobility::{BIN_MS, Trail},
};

mod lies;

fn zone(name: &str, sessions: u64, intake: Intake) -> Zone {
    Zone {
        name: name.to_owned(),
        location: None,
        endpoints: Vec::new(),
        capacity: Capacity { sessions, ..Capacity::default() },
        price: Price::default(),
        intake,
        shadow_price_us: 0,
        gates: Vec::new(),
    }
}

fn facts(zones: Vec<Zone>, places: &[&[u32]]) -> Facts {
    let place = |(index, rtt): (usize, &&[u32])| Place {
        name: format!("place-{index}"),
        rtt_us: rtt.to_vec(),
    };
    Facts {
        zones,
        services: Vec::new(),
        places: places.iter().enumerate().map(place).collect(),
        policy: Policy { act: Act::On, ..Policy::default() },
    }
}

/// A table where session k lives where `homes[k]` says.
fn table(facts: Facts, homes: &[u8]) -> PlacementTable {
    let mut draft = TableDraft::first(Version { term: 1, n: 1 }, facts, 0);
    for (index, zone) in homes.iter().enumerate() {
        let home = homing_wire::Home { zone: ZoneId(*zone), epoch: Epoch(1) };
        draft.exceptions.insert(key(index), home);
    }
    draft.seal().expect("a sound table")
}

fn key(index: usize) -> SessionKey {
    SessionKey((index as u128 + 1) << 100 | index as u128)
}

fn session(index: usize, zone: u8, place: Option<u16>) -> Profile {
    Profile {
        key: key(index),
        service: ServiceId(0),
        zone: ZoneId(zone),
        epoch: Epoch(1),
        place: place.map(PlaceId),
        rate: 1.0,
        bytes_per_request: 1_000.0,
        touched_ms: NOW,
        last_seen_ms: NOW,
        entered_ms: 0,
        regret_us: 0.0,
        regret_ms: NOW - 1_000,
        uncharged: 1,
        moves: 0,
        flap_from_ms: 0,
        trail: Trail::default(),
        served: Served::default(),
        felt: Felt::default(),
    }
}

const NOW: u64 = 10_000_000;

fn states(zones: usize, homes: &[u8]) -> Vec<ZoneState> {
    let mut states = vec![ZoneState::default(); zones];
    for zone in homes {
        states[usize::from(*zone)].living += 1;
    }
    states
}

struct World {
    table: PlacementTable,
    sessions: Vec<Profile>,
    states: Vec<ZoneState>,
    resting: BTreeSet<SessionKey>,
    mobility: Mobility,
    feedback: Feedback,
    drags: Drags,
}

impl World {
    fn new(facts: Facts, homes: &[u8], place: impl Fn(usize) -> Option<u16>) -> Self {
        let zones = facts.zones.len();
        Self {
            sessions: homes
                .iter()
                .enumerate()
                .map(|(index, zone)| session(index, *zone, place(index)))
                .collect(),
            states: states(zones, homes),
            table: table(facts, homes),
            resting: BTreeSet::new(),
            mobility: Mobility::default(),
            feedback: Feedback::default(),
            drags: Drags::default(),
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            table: &self.table,
            sessions: &self.sessions,
            zones: &self.states,
            started_last_minute: 0,
            resting: &self.resting,
            last: None,
            mobility: &self.mobility,
            feedback: &self.feedback,
            drags: &self.drags,
        }
    }

    fn rates(&mut self, rate: impl Fn(usize) -> f32, now_ms: u64) {
        for (index, session) in self.sessions.iter_mut().enumerate() {
            session.rate = rate(index);
            let came = |until_ms: u64| (f64::from(session.rate) * until_ms as f64 / 1e3) as u32;
            session.uncharged = came(now_ms).saturating_sub(came(session.regret_ms));
            session.touched_ms = now_ms;
            session.last_seen_ms = now_ms;
        }
    }

    fn step(&mut self, seed: u64, now_ms: u64) -> usize {
        self.rates(|_| 1.0, now_ms);
        self.carry_out(seed, now_ms)
    }

    /// Plans, and carries the plan out at once. Returns how many moved.
    fn carry_out(&mut self, seed: u64, now_ms: u64) -> usize {
        let plan = plan(&self.inputs(), seed, now_ms);
        for session in &mut self.sessions {
            session.regret_us = session.regret_at(now_ms);
            (session.regret_ms, session.uncharged) = (now_ms, 0);
        }
        for (key, regret) in &plan.regrets {
            let session = self.sessions.iter_mut().find(|s| s.key == *key).expect("known");
            session.regret_us = *regret;
        }
        let mut change =
            homing_wire::Delta::to(self.table.version().next(), self.table.created_ms());
        for mv in &plan.moves {
            let home = self.table.home(mv.key);
            assert_eq!(home.zone, mv.from);
            change.set.push((mv.key, homing_wire::Home { zone: mv.to, epoch: home.epoch.next() }));
            self.states[mv.from.index()].living -= 1;
            self.states[mv.to.index()].living += 1;
            let session = self.sessions.iter_mut().find(|s| s.key == mv.key).expect("known");
            session.settle(mv.to, home.epoch.next(), now_ms);
        }
        self.table.advance(change).expect("a sound change");
        plan.moves.len()
    }
}

#[test]
fn a_session_moves_when_its_regret_has_paid_and_not_before() {
    let zones = vec![zone("near", 100, Intake::Open), zone("far", 100, Intake::Open)];
    let facts = facts(zones, &[&[10_000, 110_000]]);
    let mut world = World::new(facts, &[1], |_| Some(0));
    // 100 ms a request at one a second against a move of 250 ms: due in the third second.
    assert_eq!(world.step(1, NOW), 0);
    assert_eq!(world.step(1, NOW + 1_000), 0);
    assert_eq!(world.step(1, NOW + 2_000), 1);
    assert_eq!(world.table.home(key(0)).zone, ZoneId(0));
    assert_eq!(world.step(1, NOW + 3_000), 0);
}

#[test]
fn who_belongs_where_it_is_does_not_leave_for_the_price_and_who_does_not_leaves() {
    let cheap_and_dear = || {
        let mut zones = vec![zone("dear", 100, Intake::Open), zone("cheap", 100, Intake::Open)];
        zones[0].price.cpu_hour_micros = 90_000_000_000;
        let mut facts = facts(zones, &[&[10_000, 12_000]]);
        facts.policy.moves.regret_percent = 0;
        facts
    };
    let mut near = World::new(cheap_and_dear(), &[0], |_| Some(0));
    near.sessions[0].served.take(ZoneId(0), 100, 0);
    let told = plan(&near.inputs(), 1, NOW);
    assert_eq!((told.moves.len(), told.held_back[&HeldBack::Affinity]), (0, 1));
    let why = explain(&near.inputs(), &near.sessions[0], NOW);
    assert_eq!(why.held_back, Some(HeldBack::Affinity));
    assert!(why.zones[0].affinity.score() > 0.9, "{:?}", why.zones[0].affinity);
    assert!(why.zones[1].score > 99.0 && why.zones[0].score < 50.0, "{:?}", why.zones);
    // Nobody knows where the client is: what is left is that its data is there.
    let far = World::new(cheap_and_dear(), &[0], |_| None);
    let told = plan(&far.inputs(), 1, NOW);
    assert_eq!((told.moves.len(), told.moves[0].reason), (1, MoveReason::Cost));
    // A threshold that nobody reaches is the rule of price and performance first.
    let mut facts = cheap_and_dear();
    facts.policy.affinity_threshold = 1_000;
    let told = plan(&World::new(facts, &[0], |_| Some(0)).inputs(), 1, NOW);
    assert_eq!(told.moves.len(), 1);
}

#[test]
fn a_session_moves_to_where_its_user_is_expected_before_it_is_there() {
    let zones = vec![zone("home", 100, Intake::Open), zone("work", 100, Intake::Open)];
    // Place 1 lies between: as near to both. Who comes to it from 0 goes on to 2, and stays long.
    let rtts: [&[u32]; 3] = [&[5_000, 80_000], &[40_000, 40_000], &[80_000, 5_000]];
    let mut world = World::new(facts(zones, &rtts), &[0], |_| Some(1));
    let day: Vec<u16> = [0; 12].into_iter().chain([1, 1]).chain([2; 12]).chain([1, 1]).collect();
    let mut commuter = Trail::default();
    for (bin, place) in day.repeat(60).into_iter().chain([0, 0, 0, 1]).enumerate() {
        for seen in commuter.step(PlaceId(place), bin as u64 * BIN_MS) {
            world.mobility.learn(&seen);
        }
    }
    world.sessions[0].trail = commuter;
    let told = explain(&world.inputs(), &world.sessions[0], NOW);
    assert_eq!(told.best, Some(ZoneId(1)));
    assert!(told.why.gain_us() > 30_000.0, "{:?}", told.why);
    assert!(told.zones[1].nearest_then[3] > 0.8, "{:?}", told.zones);
    let moved = (0..10).map(|second| world.step(1, NOW + second * 1_000)).sum::<usize>();
    assert_eq!((moved, world.table.home(key(0)).zone), (1, ZoneId(1)));
}

#[test]
fn shadow_explains_and_does_not_act_but_drains_are_carried_out() {
    let zones = vec![
        zone("near", 100, Intake::Open),
        zone("far", 100, Intake::Open),
        zone("leaving", 100, Intake::Draining),
    ];
    let mut facts = facts(zones, &[&[10_000, 110_000, 20_000]]);
    facts.policy.act = Act::Shadow;
    facts.policy.moves.regret_percent = 0;
    let world = World::new(facts, &[1, 2, 2], |_| Some(0));
    let plan = plan(&world.inputs(), 1, NOW);
    let carried: Vec<_> = plan.moves.iter().map(|m| (m.reason, m.carried_out)).collect();
    assert_eq!(
        carried,
        [(MoveReason::Drain, true), (MoveReason::Drain, true), (MoveReason::Latency, false)]
    );
    let drain = DrainState { zone: ZoneId(2), living: 2, under_way: 0, planned: 2 };
    assert_eq!(plan.drains, [drain]);
}

#[test]
fn the_least_sticky_session_leaves_a_draining_zone_first() {
    let zones = vec![zone("a", 0, Intake::Open), zone("b", 0, Intake::Draining)];
    let mut facts = facts(zones, &[]);
    facts.policy.moves.concurrent_per_pair = 1;
    let mut world = World::new(facts, &[1, 1, 1], |_| None);
    world.sessions[1].rate = 0.01;
    let plan = plan(&world.inputs(), 1, NOW);
    assert_eq!(plan.moves.len(), 1);
    assert_eq!(plan.moves[0].key, key(1));
    assert_eq!(plan.held_back[&HeldBack::PairBudget], 2);
}

#[test]
fn a_full_zone_is_relieved_into_room_only() {
    let zones = vec![
        zone("full", 3, Intake::Open),
        zone("roomy", 10, Intake::Open),
        zone("packed", 1, Intake::Open),
    ];
    let world = World::new(facts(zones, &[]), &[0, 0, 0, 0, 0, 2], |_| None);
    let plan = plan(&world.inputs(), 1, NOW);
    assert!(plan.moves.iter().all(|m| m.to == ZoneId(1)));
    let relieved = plan.moves.iter().filter(|m| m.reason == MoveReason::Capacity).count();
    assert!(relieved >= 2, "{plan:?}");
}

#[test]
fn a_session_under_way_or_at_rest_is_left_alone() {
    let zones = vec![zone("a", 0, Intake::Open), zone("b", 0, Intake::Draining)];
    let mut world = World::new(facts(zones, &[]), &[1, 1], |_| None);
    world.resting.insert(key(1));
    let mut change = homing_wire::Delta::to(world.table.version().next(), 0);
    change.directives.push(Directive {
        id: DirectiveId(9),
        key: key(0),
        from: ZoneId(1),
        to: ZoneId(0),
        from_incarnation: Incarnation(0),
        to_incarnation: Incarnation(0),
        epoch: Epoch(2),
        reason: MoveReason::Operator,
        cut: Cut::IdleGap,
    });
    world.table.advance(change).expect("sound");
    let plan = plan(&world.inputs(), 1, NOW);
    assert!(plan.moves.is_empty());
    assert_eq!(plan.drains[0].under_way, 1);
    let told = explain(&world.inputs(), &world.sessions[0], NOW);
    assert_eq!(told.held_back, Some(HeldBack::UnderWay));
    assert_eq!(told.directive, Some(DirectiveId(9)));
}

#[test]
fn two_equal_zones_near_their_capacity_do_not_trade_sessions() {
    let zones = vec![zone("a", 10, Intake::Open), zone("b", 10, Intake::Open)];
    let mut facts = facts(zones, &[&[20_000, 20_000]]);
    facts.policy.moves.residence_ms_min = 0;
    facts.policy.moves.regret_percent = 0;
    let homes: Vec<u8> = (0..17).map(|index| u8::from(index >= 9)).collect();
    let mut world = World::new(facts, &homes, |_| Some(0));
    let moved: usize = (0..300).map(|round| world.step(round, NOW + round * 1_000)).sum();
    assert_eq!(moved, 0);
}

#[test]
fn who_gains_most_lives_in_the_full_zone_and_who_gains_least_makes_room() {
    let zones = vec![zone("near", 4, Intake::Open), zone("far", 10, Intake::Open)];
    let mut facts = facts(zones, &[&[10_000, 110_000]]);
    facts.policy.moves.residence_ms_min = 0;
    // Four quiet sessions fill the near zone; four busy ones had to go to the far one.
    let mut world = World::new(facts, &[0, 0, 0, 0, 1, 1, 1, 1], |_| Some(0));
    let busy = |index: usize| if index < 4 { 0.2 } else { 5.0 };
    for round in 0..120 {
        world.rates(busy, NOW + round * 1_000);
        world.carry_out(1, NOW + round * 1_000);
    }
    let homes: Vec<u8> = (0..8).map(|index| world.table.home(key(index)).zone.0).collect();
    assert_eq!(homes, [1, 1, 1, 1, 0, 0, 0, 0]);
    let plan = plan(&world.inputs(), 1, NOW + 120_000);
    assert!(plan.moves.is_empty(), "{plan:?}");
    assert!(plan.prices[0] > plan.prices[1], "{:?}", plan.prices);
    let housing = plan.housing.unwrap();
    assert!(housing.refused == 0 && housing.wanted.is_empty());
}

#[test]
fn one_that_must_leave_is_seen_among_many_that_may_stay() {
    let zones = vec![
        zone("a", 10_000, Intake::Open),
        zone("b", 10_000, Intake::Open),
        zone("leaving", 10_000, Intake::Draining),
    ];
    let facts = facts(zones, &[&[900_000, 900_000, 900_000]]);
    let homes: Vec<u8> =
        (0..4_000).map(|index| if index == 0 { 2 } else { index as u8 % 2 }).collect();
    let mut world = World::new(facts, &homes, |_| Some(0));
    world.rates(|_| 20.0, NOW);
    let plan = plan(&world.inputs(), 1, NOW);
    let moved: Vec<_> = plan.moves.iter().map(|m| (m.key, m.reason)).collect();
    assert_eq!(moved, [(key(0), MoveReason::Drain)]);
}

#[test]
fn who_must_leave_does_not_wait_for_room_in_the_best_zone() {
    let zones = vec![
        zone("near", 2, Intake::Open),
        zone("far", 10, Intake::Open),
        zone("leaving", 10, Intake::Draining),
    ];
    // The near zone is full of quiet sessions, which make room in time; the busy one leaves now.
    let facts = facts(zones, &[&[10_000, 110_000, 20_000]]);
    let mut world = World::new(facts, &[0, 0, 2], |_| Some(0));
    world.rates(|index| if index < 2 { 0.1 } else { 10.0 }, NOW);
    let plan = plan(&world.inputs(), 1, NOW);
    assert_eq!(plan.housing.as_ref().unwrap().wanted[&key(2)], ZoneId(0));
    let moved: Vec<_> = plan.moves.iter().map(|m| (m.key, m.to)).collect();
    assert_eq!(moved, [(key(2), ZoneId(1))]);
}

#[test]
fn sessions_that_fit_nowhere_are_told_and_stay() {
    let zones = vec![zone("a", 2, Intake::Open), zone("b", 1, Intake::Open)];
    let world = World::new(facts(zones, &[]), &[0, 0, 0, 1, 1], |_| None);
    let plan = plan(&world.inputs(), 1, NOW);
    assert!(plan.moves.is_empty());
    assert_eq!(plan.housing.unwrap().refused, 2);
}

/// Zones (capacity, intake), places, sessions (zone, place) and a seed.
type Parts = (Vec<(u64, u8)>, Vec<Vec<u32>>, Vec<(u8, u16)>, u64);

fn worlds() -> impl Strategy<Value = Parts> {
    let zone = (0_u64..12, 0_u8..3);
    let zones = proptest::collection::vec(zone, 2..5);
    (zones, 1_usize..4, any::<u64>()).prop_flat_map(|(zones, places, seed)| {
        let count = zones.len();
        let place =
            proptest::collection::vec(prop_oneof![1_000_u32..300_000, Just(u32::MAX)], count);
        let session = (0..count as u8, 0..places as u16);
        (
            Just(zones),
            proptest::collection::vec(place, places),
            proptest::collection::vec(session, 0..60),
            Just(seed),
        )
    })
}

fn world_of(zones: &[(u64, u8)], places: &[Vec<u32>], sessions: &[(u8, u16)]) -> World {
    let intake = [Intake::Open, Intake::Draining, Intake::Closed];
    let zones = zones
        .iter()
        .enumerate()
        .map(|(index, (cap, i))| zone(&format!("z{index}"), *cap, intake[usize::from(*i)]))
        .collect();
    let places: Vec<&[u32]> = places.iter().map(Vec::as_slice).collect();
    let mut facts = facts(zones, &places);
    facts.policy.moves.residence_ms_min = 0;
    facts.policy.moves.regret_percent = 10;
    let homes: Vec<u8> = sessions.iter().map(|(zone, _)| *zone).collect();
    World::new(facts, &homes, |index| Some(sessions[index].1))
}

proptest! {
    #[test]
    fn no_plan_fills_a_zone_over_its_capacity_or_uses_one_that_is_not_open(
        (zones, places, sessions, seed) in worlds()
    ) {
        let mut world = world_of(&zones, &places, &sessions);
        for round in 0..20 {
            let before = world.states.clone();
            world.step(seed, NOW + round * 1_000);
            for (index, spec) in world.table.facts().zones.iter().enumerate() {
                let (was, is) = (before[index].living, world.states[index].living);
                if is > was {
                    prop_assert_eq!(spec.intake, Intake::Open);
                    prop_assert!(spec.capacity.sessions == 0 || is <= spec.capacity.sessions);
                }
            }
        }
    }

    #[test]
    fn a_quiet_world_comes_to_rest((zones, places, sessions, seed) in worlds()) {
        let mut world = world_of(&zones, &places, &sessions);
        for round in 0..100 {
            world.step(seed, NOW + round * 1_000);
        }
        let late: usize = (100..140).map(|r| world.step(seed, NOW + r * 1_000)).sum();
        prop_assert_eq!(late, 0);
    }

    #[test]
    fn the_same_seed_makes_the_same_plan((zones, places, sessions, seed) in worlds()) {
        let mut world = world_of(&zones, &places, &sessions);
        let first = plan(&world.inputs(), seed, NOW);
        world.sessions.reverse();
        let second = plan(&world.inputs(), seed, NOW);
        prop_assert_eq!(first.moves, second.moves);
        prop_assert_eq!(first.prices, second.prices);
    }

    #[test]
    fn budgets_hold((zones, places, sessions, seed) in worlds(), per_minute in 0_u32..5) {
        let mut world = world_of(&zones, &places, &sessions);
        let mut change = homing_wire::Delta::to(world.table.version().next(), 0);
        let mut facts = Facts::clone(world.table.facts());
        facts.policy.moves.per_minute = per_minute;
        facts.policy.moves.concurrent_per_pair = 3;
        facts.policy.moves.regret_percent = 0;
        change.facts = Some(facts);
        world.table.advance(change).expect("sound");
        let plan = plan(&world.inputs(), seed, NOW);
        let own = plan.moves.iter().filter(|m| m.reason != MoveReason::Drain).count();
        prop_assert!(own <= per_minute as usize);
        let mut pairs = BTreeMap::new();
        for m in &plan.moves {
            *pairs.entry((m.from, m.to)).or_insert(0) += 1;
        }
        prop_assert!(pairs.values().all(|count| *count <= 3));
    }
}

mod drag;
