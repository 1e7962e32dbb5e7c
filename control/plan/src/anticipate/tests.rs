//! What is staged at which price, when a move is made or left.

use proptest::prelude::*;

use super::*;

const COSTS: Costs = Costs { cold_ms: 120.0, move_ms: 20.0, holding_ms: 12.0, copying_ms: 0.0 };
/// A user at zone 0 or 1, and the latency from both zones.
const AT_0: [f64; 2] = [4.0, 14.0];
const AT_1: [f64; 2] = [14.0, 4.0];

fn none(_: usize) -> bool {
    false
}

fn decide(now: [f64; 2], ahead: &[[f64; 2]], warm: bool) -> Option<usize> {
    let ahead: Vec<Vec<f64>> = ahead.iter().map(|row| row.to_vec()).collect();
    let outlook = Outlook { requests: 10.0, now_ms: &now, ahead_ms: &ahead };
    move_to(0, &outlook, &COSTS, |_| warm)
}

#[test]
fn a_copy_is_staged_from_the_price_of_holding_it_on() {
    assert!((COSTS.threshold(false) - 0.1).abs() < 1e-12);
    let chances = [0.5, 0.09, 0.11, 0.3];
    assert_eq!(stage(&chances, 0, &COSTS, none, 9), [3, 2], "not home, not below a tenth");
    assert_eq!(stage(&chances, 3, &COSTS, none, 1), [0], "the likeliest of all that pay");
    let dear = Costs { holding_ms: 119.0, ..COSTS };
    assert_eq!(stage(&chances, 1, &dear, none, 9), [0_usize; 0]);
    let free = Costs { cold_ms: 0.0, ..COSTS };
    assert_eq!(stage(&chances, 1, &free, none, 9), [0_usize; 0], "nothing is saved by a copy");
    assert_eq!(stage(&[f64::NAN, 0.2], 7, &COSTS, none, 9), [1]);
}

#[test]
fn a_copy_that_is_there_is_kept_for_less() {
    let costs = Costs { copying_ms: 24.0, ..COSTS };
    let chances = [0.4, 0.2, 0.2, 0.05];
    assert_eq!(stage(&chances, 0, &costs, none, 9), [0_usize; 0], "0.2 is below 36 of 120");
    assert_eq!(stage(&chances, 0, &costs, |zone| zone == 2, 9), [2]);
    assert_eq!(stage(&chances, 0, &costs, |_| true, 9), [1, 2], "0.05 is below 12 of 120");
}

#[test]
fn a_warm_zone_is_moved_to_for_a_smaller_gain() {
    assert_eq!(decide(AT_0, &[AT_0], true), None);
    assert_eq!(decide(AT_1, &[], true), Some(1), "100 ms for 20");
    assert_eq!(decide(AT_1, &[], false), None, "100 ms for 140");
    assert_eq!(decide(AT_1, &[AT_1], false), None, "a copy first: 100 ms now are below its 120");
    assert_eq!(decide([18.0, 4.0], &[AT_1], false), Some(1), "140 ms now are not");
}

#[test]
fn a_move_that_will_be_undone_has_to_pay_at_once() {
    let near_1 = [10.0, 7.0];
    assert_eq!(decide(near_1, &[], true), Some(1), "30 ms for 20");
    assert_eq!(decide(near_1, &[AT_0, AT_0], true), None, "30 ms for 20 there and 20 back");
    assert_eq!(decide(AT_1, &[AT_0, AT_0], true), Some(1), "100 ms for 40");
}

#[test]
fn a_move_that_can_wait_waits() {
    assert_eq!(decide(AT_0, &[AT_1, AT_1, AT_1], true), None, "in the next bin it costs no more");
}

#[test]
fn expectations_are_weighted_places() {
    let between = [AT_0.to_vec(), AT_1.to_vec()];
    assert_eq!(expected_ms(&[0.9, 0.1], 0, &AT_0, &between), [5.0, 13.0]);
    assert_eq!(expected_ms(&[0.0, 0.1], 0, &AT_0, &between), [5.0, 13.0], "the rest stays");
    assert_eq!(expected_ms(&[f64::NAN, 2.0], 0, &AT_0, &between), AT_1, "no more than 1 in all");
    assert_eq!(expected_ms(&[], 0, &AT_0, &between), AT_0);
}

#[test]
fn poison_has_a_stated_outcome() {
    assert_eq!(decide([f64::NAN, 4.0], &[], true), Some(1), "a home that is not there is left");
    assert_eq!(decide([4.0, f64::NAN], &[], true), None);
    assert_eq!(decide([f64::NAN; 2], &[], true), None);
    let outlook = Outlook { requests: f64::NAN, now_ms: &AT_1, ahead_ms: &[] };
    assert_eq!(move_to(0, &outlook, &COSTS, |_| true), None, "no request, no gain");
    let nowhere = Outlook { requests: 1.0, now_ms: &[], ahead_ms: &[] };
    assert_eq!(move_to(0, &nowhere, &COSTS, |_| true), None);
    let outlook = Outlook { requests: 1.0, now_ms: &AT_1, ahead_ms: &[] };
    assert_eq!(move_to(9, &outlook, &COSTS, |_| true), Some(1), "a home nobody knows is left");
}

proptest! {
    #[test]
    fn no_move_is_made_that_costs_more_than_staying(
        now in prop::collection::vec(1.0..300.0_f64, 4),
        ahead in prop::collection::vec(prop::collection::vec(1.0..300.0_f64, 4), 0..4),
        warm in prop::collection::vec(any::<bool>(), 4),
    ) {
        let outlook = Outlook { requests: 3.0, now_ms: &now, ahead_ms: &ahead };
        if let Some(to) = move_to(0, &outlook, &COSTS, |zone| warm[zone]) {
            // Moving and going back at once is one way on, so the gain covers no less than that.
            let arrival = COSTS.move_ms + if warm[to] { 0.0 } else { COSTS.cold_ms };
            let gains = ahead.iter().map(|row| row[0] - row[to]);
            let most: f64 = gains.filter(|gain| *gain > 0.0).sum();
            prop_assert!(3.0 * (now[0] - now[to] + most) > arrival);
        }
    }

    #[test]
    fn a_cheaper_copy_is_never_held_in_fewer_zones(
        chances in prop::collection::vec(0.0..1.0_f64, 6),
        low in 0.0..60.0_f64,
        more in 0.0..60.0_f64,
    ) {
        let at = |holding_ms| stage(&chances, 0, &Costs { holding_ms, ..COSTS }, none, 6);
        let (cheap, dear) = (at(low), at(low + more));
        prop_assert!(cheap.starts_with(&dear));
    }
}
