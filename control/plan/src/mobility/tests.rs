//! Mobility: habits are foretold, strangers are left where they are, and nothing of the future is
//! known.

use proptest::prelude::*;

use super::*;

/// Walks a client through places, one a bin; what each bin told is learnt.
fn walk(mobility: &mut Mobility, trail: &mut Trail, places: &[u16], first_bin: u64) {
    for (bin, place) in places.iter().enumerate() {
        for seen in trail.step(PlaceId(*place), (first_bin + bin as u64) * BIN_MS) {
            mobility.learn(&seen);
        }
    }
}

fn chance(of: &[(PlaceId, f64)], place: u16) -> f64 {
    of.iter().find(|(known, _)| known.0 == place).map_or(0.0, |(_, chance)| *chance)
}

/// Round and round through four places, three bins at each.
fn rounds(count: usize) -> Vec<u16> {
    (0..count).map(|bin| (bin / 3 % 4) as u16).collect()
}

#[test]
fn a_round_is_foretold_at_every_horizon() {
    let (mut mobility, mut trail) = (Mobility::default(), Trail::default());
    walk(&mut mobility, &mut trail, &rounds(600), 0);
    // The last bin is the third at place 3: the next is at place 0.
    assert_eq!(rounds(600)[599], 3);
    let soon = mobility.ahead(0, &trail, PlaceId(3));
    assert!(chance(&soon, 0) > 0.8, "{soon:?}");
    let half_an_hour = mobility.ahead(3, &trail, PlaceId(3));
    assert!(chance(&half_an_hour, 1) > 0.8, "{half_an_hour:?}");
    assert!(mobility.scores()[3].is_believed());
}

#[test]
fn what_is_not_better_than_staying_is_not_believed() {
    let (mut mobility, mut trail) = (Mobility::default(), Trail::default());
    walk(&mut mobility, &mut trail, &[5; 300], 0);
    assert_eq!(mobility.ahead(0, &trail, PlaceId(5)), [(PlaceId(5), 1.0)]);
    let (few, mut short) = (&mut Mobility::default(), Trail::default());
    walk(few, &mut short, &rounds(12), 0);
    assert_eq!(few.ahead(3, &short, PlaceId(3)), [(PlaceId(3), 1.0)], "too few to be believed");
}

#[test]
fn a_users_own_way_counts_beside_the_crowds() {
    let mut mobility = Mobility::default();
    // Of those at 0, the crowd goes on to 1 and one user goes to 2, from 9 before either.
    let there: Vec<u16> = [9, 9, 0, 1, 1, 1].repeat(60);
    for _ in 0..5 {
        walk(&mut mobility, &mut Trail::default(), &there, 0);
    }
    let mut odd = Trail::default();
    let own: Vec<u16> = [9, 9, 0, 2, 2, 2].repeat(20);
    walk(&mut mobility, &mut odd, &own, 0);
    walk(&mut mobility, &mut odd, &[9, 9, 0], 120);
    let mut usual = Trail::default();
    walk(&mut mobility, &mut usual, &[9, 9, 0], 0);
    let (odd, usual) = (mobility.ahead(0, &odd, PlaceId(0)), mobility.ahead(0, &usual, PlaceId(0)));
    assert!(chance(&odd, 2) > 0.3, "{odd:?}");
    assert!(chance(&usual, 1) > 0.8 && chance(&usual, 2) < 0.1, "{usual:?}");
}

#[test]
fn who_does_more_than_can_be_remembered_is_taken_for_the_crowd() {
    let (mut mobility, mut regular) = (Mobility::default(), Trail::default());
    walk(&mut mobility, &mut regular, &rounds(300), 0);
    assert_eq!(regular.lost, 0);
    let mut restless = Trail::default();
    let anywhere: Vec<u16> = (0..300_u16).map(|bin| bin * 7 % 23).collect();
    walk(&mut Mobility::default(), &mut restless, &anywhere, 0);
    assert!(restless.lost > 50, "{restless:?}");
    // The same steps are a habit of who does nothing else, and chance of who does anything.
    let mut steady = Trail::default();
    steady.own[0] = (0, 5, 30);
    let trusted = chance(&mobility.counted(0, &steady, PlaceId(0)), 5);
    steady.lost = 300;
    let chance_alone = chance(&mobility.counted(0, &steady, PlaceId(0)), 5);
    assert!(trusted > 0.5 && chance_alone < 0.2, "{trusted} {chance_alone}");
}

#[test]
fn the_hours_of_the_day_count() {
    let (mut mobility, mut trail) = (Mobility::default(), Trail::default());
    // Mornings from 0 to 1 and evenings from 0 to 2, each after an hour at 0.
    let day = |there: u16| [vec![0; 12], vec![there; 132]].concat();
    let week = [day(1), day(2)].concat().repeat(20);
    walk(&mut mobility, &mut trail, &week, 0);
    let mut at_ten_to_one = |from: u64, bins: u64| {
        let mut late = Trail::default();
        walk(&mut mobility, &mut late, &vec![0; bins as usize], from);
        mobility.counted(3, &late, PlaceId(0))
    };
    let (morning, evening) = (at_ten_to_one(40 * 144, 9), at_ten_to_one(40 * 144 + 144, 9));
    assert!(chance(&morning, 1) > 2.0 * chance(&morning, 2), "{morning:?}");
    assert!(chance(&evening, 2) > 2.0 * chance(&evening, 1), "{evening:?}");
}

#[test]
fn a_gap_tells_nothing_of_what_was_in_it() {
    let mut trail = Trail::default();
    assert_eq!(trail.step(PlaceId(1), 0), []);
    let after = trail.step(PlaceId(2), 100 * BIN_MS);
    assert_eq!(after, [], "the first bin had nothing before it");
    assert_eq!(trail.step(PlaceId(3), 101 * BIN_MS), [], "nor had the second");
    let told = trail.step(PlaceId(4), 102 * BIN_MS);
    let [seen] = told[..] else { panic!("one: {told:?}") };
    assert_eq!((seen.horizon, seen.before, seen.from, seen.to), (0, None, PlaceId(2), PlaceId(3)));
    assert_eq!((seen.hours, seen.habits.steps().count()), (2, 0), "100 bins are 8:20");
    assert_eq!(trail.step(PlaceId(4), 50 * BIN_MS), [], "a clock that went back");
}

#[test]
fn places_that_are_gone_are_forgotten() {
    let (mut mobility, mut trail) = (Mobility::default(), Trail::default());
    walk(&mut mobility, &mut trail, &rounds(600), 0);
    let to = |place: PlaceId| (place.0 != 1).then_some(PlaceId(place.0 + 10));
    let moved = mobility.remapped(to);
    trail.remap(to);
    let soon = moved.ahead(0, &trail, PlaceId(13));
    assert!(chance(&soon, 10) > 0.8, "{soon:?}");
    assert!(moved.ahead(3, &trail, PlaceId(13)).iter().all(|(place, _)| place.0 != 11));
}

#[test]
fn bytes_that_are_odd_are_nothing() {
    let (mut mobility, mut trail) = (Mobility::default(), Trail::default());
    walk(&mut mobility, &mut trail, &rounds(600), 0);
    let bytes = mobility.to_bytes();
    assert_eq!(Mobility::from_bytes(&bytes), Some(mobility));
    assert_eq!(Mobility::from_bytes(&bytes[..bytes.len() - 1]), None);
    assert_eq!(Mobility::from_bytes(&[]), None);
    let mut kept = trail.to_bytes();
    kept.push(7);
    assert_eq!(Trail::from_bytes(&kept), (trail, &[7][..]));
    assert_eq!(Trail::from_bytes(&kept[..9]).0, Trail::default());
    // As it was written before there was a form.
    let old = [&kept[1..kept.len() - 3], &[7]].concat();
    assert_eq!(Trail::from_bytes(&old), (Trail { lost: 0, ..trail }, &[7][..]));
}

proptest! {
    #[test]
    fn chances_sum_to_one_and_bounds_hold(
        places in prop::collection::vec((0_u16..60, 0_u64..9), 1..400),
    ) {
        let (mut mobility, mut trail) = (Mobility::default(), Trail::default());
        let mut bin = 0;
        for (place, passed) in places {
            bin += passed;
            for seen in trail.step(PlaceId(place), bin * BIN_MS) {
                mobility.learn(&seen);
            }
            for horizon in 0..HORIZONS.len() {
                let ahead = mobility.ahead(horizon, &trail, PlaceId(place));
                let sum: f64 = ahead.iter().map(|(_, chance)| chance).sum();
                prop_assert!((sum - 1.0).abs() < 1e-6, "{}", sum);
                prop_assert!(ahead.iter().all(|(_, chance)| *chance >= 0.0));
            }
            let expected = mobility.expected(&trail, PlaceId(place));
            prop_assert!((expected.iter().map(|(_, c)| c).sum::<f64>() - 1.0).abs() < 1e-6);
            // It is the guesses of all horizons by their weights.
            for (to, all) in expected {
                let one = |(horizon, weight): (usize, f64)| {
                    weight * chance(&mobility.ahead(horizon, &trail, PlaceId(place)), to.0)
                };
                let sum: f64 = WEIGHTS.into_iter().enumerate().map(one).sum();
                prop_assert!((sum - all).abs() < 1e-9, "{} {}", sum, all);
            }
        }
        prop_assert!(mobility.contexts.values().all(|f| f.by_place.len() <= FOLLOWERS_MAX));
        prop_assert_eq!(Mobility::from_bytes(&mobility.to_bytes()).is_some(), true);
    }
}
