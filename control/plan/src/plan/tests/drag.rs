//! Plans under drag: who lives in a zone that got slow leaves it by and by, and nobody comes.

use super::*;

const SLOW: ZoneId = ZoneId(0);

/// Two zones with room, the first nearer by 50 ms and so slow of late.
fn slow_and_far(slow_us: u64, homes: &[u8]) -> World {
    let zones = vec![zone("slow", 0, Intake::Open), zone("far", 0, Intake::Open)];
    let mut facts = facts(zones, &[&[10_000, 60_000]]);
    facts.policy.moves.residence_ms_min = 0;
    facts.policy.moves.regret_percent = 0;
    facts.policy.moves.concurrent_per_pair = 1_000;
    let mut world = World::new(facts, homes, |_| Some(0));
    slow(&mut world, slow_us, NOW);
    world
}

/// Both zones answer for a while, the slow one so much later.
fn slow(world: &mut World, slow_us: u64, now_ms: u64) {
    for second in 0..30 {
        let at_ms = now_ms - 30_000 + second * 1_000;
        world.drags.take(ServiceId(0), SLOW, (50, 50 * (5_000 + slow_us)), at_ms);
        world.drags.take(ServiceId(0), ZoneId(1), (50, 50 * 5_000), at_ms);
    }
}

#[test]
fn sessions_leave_a_zone_that_got_slow_a_share_at_a_time() {
    let mut world = slow_and_far(300_000, &[0; 32]);
    let told = plan(&world.inputs(), 1, NOW);
    assert_eq!((told.moves.len(), told.held_back[&HeldBack::Pace]), (4, 28));
    assert!(told.moves.iter().all(|mv| mv.reason == MoveReason::Capacity));
    assert!(told.moves[0].why.from.drag_us > 200_000.0, "{:?}", told.moves[0].why);
    // They left a moment ago, and what is measured is what was before.
    world.states[0].left = 4;
    assert!(plan(&world.inputs(), 1, NOW).moves.is_empty());
    world.states[0].left = 0;
    assert_eq!(world.carry_out(1, NOW), 4);
    // The zone is quick again without them: who went comes back, whoever stayed stays.
    slow(&mut world, 0, NOW + 60_000);
    world.rates(|_| 1.0, NOW + 60_000);
    let back = plan(&world.inputs(), 1, NOW + 60_000);
    assert_eq!(back.moves.len(), 4);
    assert!(back.moves.iter().all(|mv| (mv.to, mv.reason) == (SLOW, MoveReason::Latency)));
}

#[test]
fn one_session_alone_may_leave_a_slow_zone_and_an_operators_drain_knows_no_pace() {
    let alone = slow_and_far(300_000, &[0]);
    assert_eq!(plan(&alone.inputs(), 1, NOW).moves.len(), 1);
    let zones = vec![zone("slow", 0, Intake::Draining), zone("far", 0, Intake::Open)];
    let mut drained = slow_and_far(300_000, &[0; 32]);
    let mut facts = facts(zones, &[&[10_000, 60_000]]);
    facts.policy.moves.concurrent_per_pair = 1_000;
    drained.table = table(facts, &[0; 32]);
    assert_eq!(plan(&drained.inputs(), 1, NOW).moves.len(), 32);
}

#[test]
fn nobody_moves_into_a_zone_that_drags_by_more_than_it_is_nearer() {
    // 50 ms nearer: worth moving for if it is 20 ms slower, not if it is 80.
    for (slow_us, moves) in [(0, 8), (20_000, 8), (80_000, 0)] {
        let world = slow_and_far(slow_us, &[1; 8]);
        assert_eq!(plan(&world.inputs(), 1, NOW).moves.len(), moves, "{slow_us}");
        let told = explain(&world.inputs(), &world.sessions[0], NOW);
        assert_eq!(told.zones[0].terms.drag_us > 0.0, slow_us > 0);
    }
}

#[test]
fn a_young_session_is_charged_for_what_it_asked_and_not_by_the_minute() {
    let zones = vec![zone("near", 100, Intake::Open), zone("far", 100, Intake::Open)];
    let mut world = World::new(facts(zones, &[&[10_000, 110_000]]), &[1], |_| Some(0));
    // Three requests in its life so far, in one round: 300 ms lost against a move of 250.
    world.sessions[0].rate = 3.0 / 300.0;
    world.sessions[0].uncharged = 3;
    assert_eq!(world.carry_out(1, NOW), 1);
}
