//! Scaling by cases, by odd numbers, and by seeded wobbles.

use proptest::prelude::*;

use super::*;

fn flat(median: f64, q90: f64, q975: f64) -> [Load; 3] {
    [Load { median, q90, q975 }; 3]
}

fn ask<'a>(lead: &'a [Load], reach: &'a [Load], ready: u32) -> Ask<'a> {
    Ask {
        unit: "requests/s",
        observed: None,
        lead,
        reach,
        capacity: 100.0,
        head_room: 0.0,
        fixed: 0,
        ready,
        under_way: 0,
        min: 0,
        max: 20,
        price: 1.0,
        shortage: 9.0,
        changed_ms_ago: None,
        cooldown_ms: 60_000,
    }
}

#[test]
fn the_costs_choose_the_quantile() {
    let loads = flat(200.0, 410.0, 640.0);
    let wanted = |price, shortage| {
        let decision = scale(&Ask { price, shortage, ..ask(&loads, &loads, 0) });
        (decision.wanted, decision.quantile)
    };
    assert_eq!(wanted(1.0, 1.0), (2, 0.5));
    assert_eq!(wanted(1.0, 9.0), (5, 0.9));
    assert_eq!(wanted(1.0, 1e9), (7, QUANTILE_MAX));
    assert_eq!(wanted(0.0, 0.0), (5, QUANTILE_FREE));
    // Idleness dearer than shortage never provides for less than the middle.
    assert_eq!(wanted(9.0, 1.0), (2, QUANTILE_MIN));
    assert_eq!(wanted(f64::MAX, f64::MAX).1, QUANTILE_MIN);
}

#[test]
fn quantiles_between_the_known_ones_rise_from_one_to_the_next() {
    let load = Load { median: 10.0, q90: 20.0, q975: 30.0 };
    assert_eq!((load.at(0.5), load.at(0.9)), (10.0, 20.0));
    assert!((load.at(0.975) - 30.0).abs() < 1e-9);
    let mut last = 0.0;
    for step in 500..=975 {
        let at = load.at(f64::from(step) / 1_000.0);
        assert!(at >= last && at <= 30.0 + 1e-9, "{step}: {at}");
        last = at;
    }
    // An exponential tail is met in between: its quantile is the logarithm itself.
    let tail = |quantile: f64| -(1.0_f64 - quantile).ln();
    let load = Load { median: tail(0.5), q90: tail(0.9), q975: tail(0.975) };
    assert!((load.at(0.95) - tail(0.95)).abs() < 1e-9);
    // Crossed quantiles are put in order.
    let crossed = Load { median: 10.0, q90: 5.0, q975: 7.0 };
    assert_eq!((crossed.at(0.9), crossed.upper()), (10.0, 10.0));
}

#[test]
fn more_are_asked_for_at_once_and_those_under_way_count() {
    let loads = flat(300.0, 400.0, 450.0);
    let decision = scale(&ask(&loads, &loads, 1));
    assert_eq!((decision.wanted, decision.verdict), (4, Verdict::Out));
    let due = "up to 400 requests/s at quantile 0.900 need 4 of 100 requests/s each; 1 are there";
    assert_eq!(decision.reason, due);
    let under_way = scale(&Ask { under_way: 3, ..ask(&loads, &loads, 1) });
    assert_eq!((under_way.wanted, under_way.verdict), (4, Verdict::Stay));
    // Even straight after a change.
    let hot = scale(&Ask { changed_ms_ago: Some(0), ..ask(&loads, &loads, 1) });
    assert_eq!(hot.verdict, Verdict::Out);
    let roomy = scale(&Ask { head_room: 0.5, ..ask(&loads, &loads, 1) });
    assert_eq!(roomy.wanted, 8);
    let beside = scale(&Ask { fixed: 2, ..ask(&loads, &loads, 1) });
    assert_eq!(beside.wanted, 2);
    // What is measured counts even if nobody foresaw it.
    let surprised = scale(&Ask { observed: Some(990.0), ..ask(&loads, &loads, 1) });
    assert_eq!(surprised.wanted, 10);
}

#[test]
fn fewer_are_kept_only_once_the_upper_band_fits_and_the_cooldown_is_over() {
    let (lead, reach) = (flat(100.0, 150.0, 190.0), flat(100.0, 250.0, 310.0));
    let decision = scale(&ask(&lead, &reach, 4));
    assert_eq!((decision.wanted, decision.verdict), (4, Verdict::Stay), "{}", decision.reason);
    assert_eq!(scale(&ask(&lead, &reach, 5)).wanted, 4);
    let fits = scale(&ask(&lead, &lead, 4));
    assert_eq!((fits.wanted, fits.verdict), (2, Verdict::In), "{}", fits.reason);
    let soon = scale(&Ask { changed_ms_ago: Some(59_001), ..ask(&lead, &lead, 4) });
    assert_eq!((soon.wanted, soon.verdict), (4, Verdict::Stay));
    assert!(soon.reason.ends_with("4 stay for 1 s of the cooldown"), "{}", soon.reason);
    let rested = scale(&Ask { changed_ms_ago: Some(60_000), ..ask(&lead, &lead, 4) });
    assert_eq!(rested.verdict, Verdict::In);
    // A reach that forgets the lead gives nothing back that the lead needs.
    let short = [Load::default()];
    assert_eq!(scale(&ask(&lead, &short, 4)).wanted, 2);
    let blind = scale(&ask(&[], &[], 4));
    assert_eq!((blind.wanted, blind.verdict), (4, Verdict::Stay));
}

#[test]
fn the_bounds_hold() {
    let loads = flat(5_000.0, 6_000.0, 7_000.0);
    let over = scale(&ask(&loads, &loads, 3));
    assert_eq!((over.wanted, over.verdict), (20, Verdict::Capped));
    assert!(over.reason.ends_with("40 more than the most there may be, 20"), "{}", over.reason);
    let quiet = flat(0.0, 0.0, 0.0);
    let least = scale(&Ask { min: 2, ..ask(&quiet, &quiet, 0) });
    assert_eq!((least.wanted, least.verdict), (2, Verdict::Out));
    assert_eq!(scale(&Ask { min: 2, ..ask(&quiet, &quiet, 5) }).wanted, 2);
    assert_eq!(scale(&ask(&quiet, &quiet, 5)).wanted, 0);
    let crowded = scale(&Ask { max: 2, changed_ms_ago: Some(0), ..ask(&quiet, &quiet, 5) });
    assert_eq!((crowded.wanted, crowded.verdict), (2, Verdict::In));
    let vast = flat(f64::MAX, f64::MAX, f64::MAX);
    assert_eq!(scale(&Ask { capacity: 1e-300, ..ask(&vast, &vast, 0) }).wanted, 20);
}

#[test]
fn what_is_no_number_decides_nothing() {
    let sound = flat(300.0, 400.0, 450.0);
    let base = Ask { min: 1, max: 5, ..ask(&sound, &sound, 3) };
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0];
    for value in odd.into_iter().chain([0.0]) {
        stays(&Ask { capacity: value, ..base }, 3);
    }
    for value in odd {
        stays(&Ask { head_room: value, ..base }, 3);
        stays(&Ask { price: value, ..base }, 3);
        stays(&Ask { shortage: value, ..base }, 3);
    }
    stays(&Ask { head_room: 1.0, ..base }, 3);
    for value in [f64::NAN, f64::INFINITY] {
        stays(&Ask { observed: Some(value), ..base }, 3);
        for place in 0..3 {
            let mut numbers = [1.0; 3];
            numbers[place] = value;
            let [median, q90, q975] = numbers;
            let loads = [sound[0], Load { median, q90, q975 }];
            stays(&Ask { lead: &loads, ..base }, 3);
            stays(&Ask { reach: &loads, ready: 9, ..base }, 5);
            stays(&Ask { reach: &loads, ready: 0, ..base }, 1);
        }
    }
    stays(&Ask { min: 6, ..base }, 5);
    // A forecast below nothing is one of nothing.
    let below = flat(-5.0, -4.0, -3.0);
    assert_eq!(scale(&Ask { min: 0, ..ask(&below, &below, 3) }).wanted, 0);
}

#[track_caller]
fn stays(ask: &Ask<'_>, at: u32) {
    let decision = scale(ask);
    assert_eq!((decision.wanted, decision.verdict), (at, Verdict::Unsound), "{}", decision.reason);
}

/// One round's forecast within a band: three quantiles in it, in any order of moments.
fn wobble() -> impl Strategy<Value = Vec<(f64, f64)>> {
    proptest::collection::vec((0.0..1.0_f64, 0.0..1.0_f64), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x5ca1e),
        ..ProptestConfig::default()
    })]

    /// Medians wander anywhere within a band whose end stays: the number may be put right once, in
    /// one direction, and is never turned round, with no cooldown to help.
    #[test]
    fn a_forecast_that_wobbles_within_its_band_never_turns_a_zone_round(
        rounds in proptest::collection::vec(wobble(), 2..40),
        (band_low, width) in (0.0..3_000.0_f64, 0.0..2_000.0_f64),
        (start, head_room, shortage) in (0_u32..60, 0.0..0.6_f64, 0.0..200.0_f64),
    ) {
        let upper = band_low + width;
        let within = |share: f64| band_low + width * share;
        let mut have = start;
        let mut directions = Vec::new();
        for round in rounds {
            let loads: Vec<Load> = round
                .iter()
                .map(|(median, q90)| Load {
                    median: within(median.min(*q90)),
                    q90: within(median.max(*q90)),
                    q975: upper,
                })
                .collect();
            let asked = ask(&loads, &loads, have);
            let decision = scale(&Ask {
                head_room, shortage, max: 100, cooldown_ms: 0, ..asked
            });
            prop_assert!(decision.verdict != Verdict::Unsound);
            if decision.wanted != have {
                directions.push(decision.wanted > have);
                have = decision.wanted;
            }
        }
        prop_assert!(directions.windows(2).all(|two| two[0] == two[1]), "{directions:?}");
        prop_assert!(directions.iter().filter(|out| !**out).count() <= 1);
    }

    /// Whatever is asked, the number keeps its bounds and the reason speaks.
    #[test]
    fn the_number_keeps_its_bounds_whatever_is_asked(
        numbers in proptest::array::uniform6(any::<f64>()),
        (ready, under_way, min, max) in (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()),
    ) {
        let [capacity, head_room, price, shortage, observed, load] = numbers;
        let loads = flat(load, load * 2.0, load);
        let decision = scale(&Ask {
            capacity, head_room, price, shortage, observed: Some(observed), under_way, min, max,
            ..ask(&loads, &loads, ready)
        });
        prop_assert!(decision.wanted <= max);
        prop_assert!(min > max || decision.wanted >= min);
        prop_assert!(!decision.reason.is_empty() && !decision.quantile.is_nan());
    }
}
