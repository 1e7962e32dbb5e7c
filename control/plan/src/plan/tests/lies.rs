//! A zone that promises more than it keeps, as plans see it.

use super::*;
use crate::feedback::{Expected, Measured, RoundTrip, Seen};

#[test]
fn a_zone_whose_round_trips_are_a_lie_is_chosen_less_once_moves_have_shown_it() {
    let zones = vec![zone("honest", 100, Intake::Open), zone("liar", 100, Intake::Open)];
    // It says 20 ms and takes 90.
    let mut world = World::new(facts(zones, &[&[60_000, 20_000]]), &[0], |_| Some(0));
    let fresh = explain(&world.inputs(), &world.sessions[0], NOW);
    assert_eq!((fresh.best, fresh.zones[1].brought), (Some(ZoneId(1)), None));
    assert!(fresh.why.gain_us() > 39_000.0, "{:?}", fresh.why);
    for moves in 1..=5 {
        let told = explain(&world.inputs(), &world.sessions[0], NOW);
        let order = Expected {
            from: ZoneId(0),
            to: ZoneId(1),
            place: Some(PlaceId(0)),
            for_gain: true,
            seen: Seen::Way,
            before: RoundTrip { stated_us: 60_000.0, believed_us: 60_000.0 },
            after: RoundTrip {
                stated_us: told.zones[1].stated_us,
                believed_us: told.zones[1].terms.distance_us,
            },
            other_us: 0.0,
        };
        let seen = Measured { before_us: 63_000.0, after_us: 93_000.0 };
        assert!(world.feedback.learn(&order, seen, NOW).unwrap().regretted, "{moves}");
    }
    let told = explain(&world.inputs(), &world.sessions[0], NOW);
    assert_eq!(told.held_back, Some(HeldBack::NoGain), "{:?}", told.zones);
    let [honest, liar] = [0, 1].map(|zone| told.zones[zone]);
    assert_eq!((honest.terms.distance_us, liar.stated_us), (60_000.0, 20_000.0));
    assert!((55_000.0..90_000.0).contains(&liar.terms.distance_us), "{liar:?}");
    assert!(liar.score < fresh.zones[1].score && liar.brought.unwrap().regretted == 1.0);
    // Proxies place new sessions by stated round trips: the price makes up for it, not in shadow.
    let price = |world: &World| plan(&world.inputs(), 1, NOW).prices[1];
    assert!((10_000..40_000).contains(&price(&world)), "a third of the way: {}", price(&world));
    let shadow = Facts {
        policy: Policy { act: Act::Shadow, ..world.table.facts().policy.clone() },
        ..(**world.table.facts()).clone()
    };
    let shadow =
        World { feedback: world.feedback.clone(), ..World::new(shadow, &[0], |_| Some(0)) };
    assert_eq!((price(&shadow), plan(&world.inputs(), 1, NOW).prices[0]), (0, 0));
    for second in 0..60 {
        assert_eq!(world.step(1, NOW + second * 1_000), 0);
    }
    // Half a week later nobody remembers, and it is tried again.
    let late = NOW + 84 * 3_600_000;
    let told = explain(&world.inputs(), &world.sessions[0], late);
    assert!(told.zones[1].terms.distance_us < 21_000.0, "{:?}", told.zones[1]);
}
