//! Health: when an endpoint goes out and comes back, and what can never happen.

use homing_wire::HealthCheck;
use proptest::prelude::*;

use super::{Change, EjectLimits, Fitness, Health, RetryBudget};

const LIMITS: EjectLimits = EjectLimits {
    failures_in_row: 3,
    success_permille_min: 500,
    results_min: 20,
    eject_ms: 1_000,
    eject_ms_max: 5_000,
    share_percent_max: 50,
};

fn check() -> HealthCheck {
    HealthCheck { path: "/".into(), interval_ms: 1, timeout_ms: 1, fall: 3, rise: 2 }
}

fn fail(health: &mut Health, times: u32, now_ms: u64) -> Change {
    let mut last = Change::None;
    for _ in 0..times {
        last = health.on_request(false, true, &LIMITS, now_ms);
    }
    last
}

#[test]
fn failures_in_a_row_eject_for_longer_each_time_soon_after() {
    let mut health = Health::default();
    assert_eq!(fail(&mut health, 2, 0), Change::None);
    health.on_request(true, true, &LIMITS, 0);
    assert_eq!(fail(&mut health, 2, 0), Change::None);
    assert_eq!(fail(&mut health, 1, 0), Change::Ejected { until_ms: 1_000 });
    assert_eq!([999, 1_000].map(|now| health.fitness(now)), [Fitness::Ejected, Fitness::Up]);
    // What was under way when it was ejected does not eject it again.
    assert_eq!(fail(&mut health, 9, 500), Change::None);
    // On trial after an ejection: the first failure is enough.
    assert_eq!(fail(&mut health, 1, 1_000), Change::Ejected { until_ms: 3_000 });
    assert_eq!(fail(&mut health, 1, 3_000), Change::Ejected { until_ms: 7_000 });
    assert_eq!(fail(&mut health, 1, 7_000), Change::Ejected { until_ms: 12_000 });
    // In service for twice as long as it was out: the length begins again.
    assert_eq!(fail(&mut health, 1, 22_000), Change::Ejected { until_ms: 23_000 });
    // A success ends the trial.
    health.on_request(true, true, &LIMITS, 23_000);
    assert_eq!(fail(&mut health, 2, 23_000), Change::None);
}

#[test]
fn a_bad_share_ejects_without_failures_in_a_row() {
    let mut health = Health::default();
    let results = (0..200).map(|n| health.on_request(n % 3 == 0, true, &LIMITS, 0));
    let ejected = results.filter(|change| matches!(change, Change::Ejected { .. })).count();
    assert_eq!(ejected, 1);
    let mut fair = Health::default();
    for n in 0..2_000 {
        assert_eq!(fair.on_request(n % 4 != 0, true, &LIMITS, 0), Change::None);
    }
    assert!((600..=800).contains(&fair.success_permille()));
}

#[test]
fn too_many_are_never_ejected() {
    let ejected = |total: usize| {
        let may = |ejected: &usize| LIMITS.may_eject(*ejected, total);
        (0..total).find(|ejected| !may(ejected)).unwrap_or(total)
    };
    assert_eq!([1, 2, 3, 4, 10].map(ejected), [0, 1, 1, 2, 5]);
    let mut health = Health::default();
    for _ in 0..2 {
        health.on_request(false, false, &LIMITS, 0);
    }
    let spared = Change::Spared { until_ms: 1_000 };
    assert_eq!(health.on_request(false, false, &LIMITS, 0), spared);
    assert_eq!([0, 1_000].map(|now| health.fitness(now)), [Fitness::Suspect, Fitness::Up]);
    assert!(Fitness::Suspect.is_up() && !health.is_ejected(0));
    assert_eq!(health.on_request(false, false, &LIMITS, 10), Change::None);
    assert_eq!(fail(&mut health, 1, 20), Change::Ejected { until_ms: 2_020 });
}

#[test]
fn a_success_ends_a_suspicion_at_once() {
    let mut health = Health::default();
    for _ in 0..3 {
        health.on_request(false, false, &LIMITS, 0);
    }
    assert_eq!(health.fitness(10), Fitness::Suspect);
    health.on_request(true, false, &LIMITS, 10);
    assert_eq!(health.fitness(10), Fitness::Up);
}

#[test]
fn checks_need_their_rise_and_fall_in_a_row() {
    let mut health = Health::default();
    let mut on = |ok| health.on_check(ok, &check(), 10);
    let none = Change::None;
    assert_eq!([false, false, true].map(&mut on), [none; 3]);
    assert_eq!([false, false, false].map(&mut on), [none, none, Change::Down]);
    assert_eq!([false, true, false].map(&mut on), [none; 3]);
    assert_eq!([true, true].map(&mut on), [none, Change::Up]);
    assert_eq!(health.fitness(10), Fitness::Up);
}

#[test]
fn recovery_by_checks_ends_an_ejection() {
    let mut health = Health::default();
    fail(&mut health, 3, 0);
    for ok in [false, false, false, true, true] {
        health.on_check(ok, &check(), 100);
    }
    assert_eq!(health.fitness(100), Fitness::Up);
}

#[test]
fn retries_are_a_share_of_requests() {
    let mut budget = RetryBudget::new(20, 0, 2, 0);
    assert!(budget.take(0) && budget.take(0) && !budget.take(0));
    for _ in 0..4 {
        budget.on_requests(1);
        assert!(!budget.take(0));
    }
    budget.on_requests(1);
    assert!(budget.take(0) && !budget.take(0));
    let mut quiet = RetryBudget::new(0, 2, 1, 0);
    assert!(quiet.take(0) && !quiet.take(400) && quiet.take(500) && !quiet.take(500));
    assert!(quiet.take(u64::MAX) && !quiet.take(u64::MAX));
}

proptest! {
    #[test]
    fn retries_stay_within_their_share(
        steps in prop::collection::vec((any::<bool>(), 0..100_u64), 0..500),
    ) {
        let mut budget = RetryBudget::new(10, 1, 5, 0);
        let (mut requests, mut retries, mut now_ms) = (0, 0, 0);
        for (retry, pause_ms) in steps {
            now_ms += pause_ms;
            if retry {
                retries += u64::from(budget.take(now_ms));
            } else {
                requests += 1;
                budget.on_requests(1);
            }
        }
        prop_assert!(retries * 10 <= requests + now_ms / 100 + 50);
    }

    #[test]
    fn a_success_never_ejects(results in prop::collection::vec(any::<bool>(), 0..300)) {
        let mut health = Health::default();
        for (now_ms, ok) in (0..).step_by(50).zip(results) {
            let change = health.on_request(ok, true, &LIMITS, now_ms);
            prop_assert!(!ok || change == Change::None);
            prop_assert_eq!(matches!(change, Change::Ejected { .. }) , change != Change::None);
        }
    }
}
