//! The benches' code at a small size: it runs, and it decides what the table says.

use homing_wire::ZoneId;

use super::{Size, World};

fn world() -> World {
    World::new(Size { sessions: 20_000, exceptions_percent: 5, zones: 8 })
}

#[test]
fn every_way_of_asking_gives_one_answer() {
    let world = world();
    assert_eq!(world.table.exceptions().len(), 1_000);
    let free = world.steer_free(&world.keys);
    assert_eq!(free, world.steer_chained(&world.keys, 0));
    assert_eq!(free, self::world().steer_free(&world.keys));
    assert_ne!(free, world.steer_free(&world.keys[1..]));
    for key in &world.keys {
        assert_eq!(world.placement.home(*key).home, world.table.home(*key));
    }
    assert_eq!(world.steer_new(100), self::world().steer_new(100));
}

#[test]
fn moves_move_what_they_say() {
    let world = world();
    let (after, delta) = world.moves(1_000);
    assert_eq!(delta.set.len(), 1_000);
    let placement = world.placement.with_delta(&after, &delta);
    for key in &world.keys {
        assert_eq!(placement.home(*key).home, after.home(*key));
    }
}

#[test]
fn a_roster_executes_what_lives_there() {
    let world = world();
    let mut roster = world.roster(&world.keys);
    let here = world.in_first_zone();
    assert_eq!(roster.len(), here.len());
    assert_eq!(world.requests(&mut roster, &world.keys, 9), here.len());
    assert!(here.iter().all(|key| world.table.home(*key).zone == ZoneId(0)));
}
