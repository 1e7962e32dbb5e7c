use homing_wire::{Epoch, ServiceId, SessionActivity, SessionKey};
use proptest::prelude::*;

use super::*;

const HOUR: u64 = 3_600_000;
const LYON: PlaceId = PlaceId(3);
const OSAKA: PlaceId = PlaceId(7);
const NEAR: ZoneId = ZoneId(0);
const LIAR: ZoneId = ZoneId(1);

/// From a zone 60 ms away to one that states 20.
fn expected(place: Option<PlaceId>, believed_us: f64) -> Expected {
    Expected {
        from: NEAR,
        to: LIAR,
        place,
        for_gain: true,
        seen: Seen::Way,
        before: RoundTrip { stated_us: 60_000.0, believed_us: 60_000.0 },
        after: RoundTrip { stated_us: 20_000.0, believed_us },
        other_us: 0.0,
    }
}

/// As a zone measures that is really 90 ms away.
const WORSE: Measured = Measured { before_us: 65_000.0, after_us: 95_000.0 };

fn taught(moves: u64, seen: Measured) -> Feedback {
    let mut feedback = Feedback::default();
    for _ in 0..moves {
        feedback.learn(&expected(Some(LYON), 20_000.0), seen, HOUR).expect("numbers");
    }
    feedback
}

#[test]
fn a_zone_that_disappoints_is_believed_less_move_by_move_and_told_surer() {
    let mut last = Feedback::default().correction(Some(LYON), LIAR, HOUR);
    assert_eq!((last.factor, last.worth), (1.0, 0.0));
    assert!(last.low < 0.8 && last.high > 1.25, "nothing is known: {last:?}");
    for moves in 1..=20 {
        let now = taught(moves, WORSE).correction(Some(LYON), LIAR, HOUR);
        assert!(now.factor > last.factor, "{moves}: {now:?}");
        assert!(now.low <= now.factor && now.factor <= now.high);
        last = now;
    }
    // The 5 ms that it took beyond the way near by it takes here too: the way is 90 ms, not 20.
    let believed = corrected_us(last.factor, 20_000.0);
    assert!((75_000.0..90_000.0).contains(&believed), "{believed} of 90 ms, {last:?}");
    let told = taught(20, WORSE).of_zone(Some(LYON), LIAR, HOUR).unwrap();
    assert!((told.moves - 20.0).abs() < 1e-9 && told.regretted == 1.0, "{told:?}");
    assert_eq!((told.expected_us, told.realised_us), (40_000.0, -30_000.0));
}

#[test]
fn the_way_back_from_a_liar_praises_nobody() {
    let mut feedback = taught(5, WORSE);
    let back = Expected {
        from: LIAR,
        to: NEAR,
        before: RoundTrip { stated_us: 20_000.0, believed_us: 65_000.0 },
        after: RoundTrip { stated_us: 60_000.0, believed_us: 60_000.0 },
        ..expected(Some(LYON), 0.0)
    };
    let there = Measured { before_us: 95_000.0, after_us: 65_000.0 };
    let before = feedback.correction(Some(LYON), LIAR, HOUR);
    for _ in 0..5 {
        assert!(!feedback.learn(&back, there, HOUR).unwrap().regretted);
    }
    // The liar is known even better, and the honest zone is what it says.
    assert!(feedback.correction(Some(LYON), LIAR, HOUR).factor > before.factor);
    assert!((feedback.correction(Some(LYON), NEAR, HOUR).factor - 1.0).abs() < 1e-9);
    let told = feedback.of_zone(None, NEAR, HOUR).unwrap();
    assert_eq!((told.expected_us, told.realised_us), (5_000.0, 30_000.0));
    // Where all zones take 50 ms beyond the way, none is worse for it.
    let slow = Measured { before_us: 110_000.0, after_us: 70_000.0 };
    assert!((taught(9, slow).correction(Some(LYON), LIAR, HOUR).factor - 1.0).abs() < 1e-9);
}

#[test]
fn other_places_believe_it_less_too_but_not_as_much() {
    let feedback = taught(6, WORSE);
    let own = feedback.correction(Some(LYON), LIAR, HOUR).factor;
    let other = feedback.correction(Some(OSAKA), LIAR, HOUR).factor;
    assert!(own > other && other > 1.0, "{own} {other}");
    assert_eq!(feedback.correction(Some(LYON), NEAR, HOUR).factor, 1.0);
    let asked = feedback.corrections(HOUR);
    for (place, factor) in [(LYON, own), (OSAKA, other), (PlaceId(0), other)] {
        let told = asked.believed_us(place, LIAR, 20_000.0);
        assert!((told - corrected_us(factor, 20_000.0)).abs() < 1.0, "{place:?}: {told}");
        assert_eq!(asked.believed_us(place, NEAR, 20_000.0), 20_000.0);
    }
}

#[test]
fn a_promise_that_is_kept_changes_nothing_and_a_better_one_is_bounded() {
    let kept = Measured { before_us: 65_000.0, after_us: 25_000.0 };
    let feedback = taught(30, kept);
    assert!((feedback.correction(Some(LYON), LIAR, HOUR).factor - 1.0).abs() < 1e-3);
    assert_eq!(feedback.of_zone(None, LIAR, HOUR).unwrap().regretted, 0.0);
    let wonder = Measured { before_us: 500_000.0, after_us: 1.0 };
    assert_eq!(taught(40, wonder).correction(Some(LYON), LIAR, HOUR).factor, FACTOR_MIN);
    let horror = Measured { before_us: 1.0, after_us: 60_000_000.0 };
    assert_eq!(taught(40, horror).correction(Some(LYON), LIAR, HOUR).factor, FACTOR_MAX);
}

#[test]
fn what_was_learnt_fades_with_time_and_by_newer_moves() {
    let mut feedback = taught(8, WORSE);
    let fresh = feedback.correction(Some(LYON), LIAR, HOUR);
    let late = feedback.correction(Some(LYON), LIAR, 73 * HOUR);
    assert!(late.factor < 1.05 && late.worth < 0.1, "{late:?}");
    assert!(late.high - late.low > fresh.high / fresh.factor - fresh.low / fresh.factor);
    // The zone was mended: as many good moves outweigh the bad ones, more of them bury them.
    let kept = Measured { before_us: 65_000.0, after_us: 25_000.0 };
    for _ in 0..100 {
        let believed = corrected_us(fresh.factor, 20_000.0);
        feedback.learn(&expected(Some(LYON), believed), kept, 2 * HOUR);
    }
    let mended = feedback.correction(Some(LYON), LIAR, 2 * HOUR).factor;
    assert!(mended < 1.15, "{mended}");
}

#[test]
fn a_gate_that_measures_only_its_own_zone_is_told_apart() {
    let mut told = expected(Some(LYON), 20_000.0);
    told.seen = Seen::Zone;
    let mut feedback = Feedback::default();
    // The target takes 70 ms more than the source: the stated gain of 40 becomes a loss of 30.
    let seen = Measured { before_us: 5_000.0, after_us: 75_000.0 };
    let lesson = feedback.learn(&told, seen, HOUR).unwrap();
    assert_eq!((lesson.expected_us, lesson.realised_us), (40_000.0, -30_000.0));
    assert!(lesson.regretted);
    let by_way = taught(1, WORSE).correction(Some(LYON), LIAR, HOUR);
    assert_eq!(feedback.correction(Some(LYON), LIAR, HOUR), by_way);
}

#[test]
fn moves_for_other_ends_are_no_regret_and_unknown_places_correct_nothing() {
    let mut feedback = Feedback::default();
    let drained = Expected { for_gain: false, ..expected(Some(LYON), 20_000.0) };
    assert!(!feedback.learn(&drained, WORSE, HOUR).unwrap().regretted);
    assert_eq!(feedback.of_zone(None, LIAR, HOUR).unwrap().regretted, 0.0);
    // Dearer by latency, but it was made for the price and that paid for it.
    let cheaper = Expected { other_us: 50_000.0, ..expected(None, 20_000.0) };
    let mut elsewhere = Feedback::default();
    assert!(!elsewhere.learn(&cheaper, WORSE, HOUR).unwrap().regretted);
    assert_eq!(elsewhere.correction(None, LIAR, HOUR).factor, 1.0);
    assert_eq!(elsewhere.of_zone(None, LIAR, HOUR).unwrap().moves, 1.0);
}

#[test]
fn the_ways_are_bounded_and_survive_a_new_document() {
    let mut feedback = taught(5, WORSE);
    for place in 100..(100 + WAYS_MAX as u16 + 50) {
        feedback.learn(&expected(Some(PlaceId(place)), 20_000.0), WORSE, HOUR);
    }
    assert_eq!(feedback.ways().count(), WAYS_MAX);
    assert!(feedback.ways().any(|way| way == (LYON, LIAR)), "what rests on more stays");
    assert!(feedback.of_zone(None, NEAR, HOUR).is_none(), "nobody was moved there");
    let feedback = taught(5, WORSE);
    let moved = feedback.remapped(|place| (place == LYON).then_some(OSAKA), |_| true);
    assert_eq!(
        moved.correction(Some(OSAKA), LIAR, HOUR),
        feedback.correction(Some(LYON), LIAR, HOUR)
    );
    let without = feedback.remapped(Some, |zone| zone != LIAR);
    assert_eq!(without.correction(Some(LYON), LIAR, HOUR).worth, 0.0);
    assert!(without.zones().eq([NEAR]) && without.ways().eq([(LYON, NEAR)]));
}

fn activity(zone: ZoneId, epoch: u64, requests: u32, mean_us: u64) -> SessionActivity {
    SessionActivity {
        key: SessionKey(1),
        service: ServiceId(0),
        zone,
        epoch: Epoch(epoch),
        place: Some(LYON),
        requests,
        bytes: 0,
        latency_us_sum: mean_us * u64::from(requests),
        last_seen_ms: 0,
    }
}

fn felt(means: &[u64]) -> Felt {
    let mut felt = Felt::default();
    means.iter().for_each(|mean| felt.take(&activity(NEAR, 1, 2, *mean)));
    felt
}

#[test]
fn medians_need_enough_records_and_forget_the_oldest() {
    assert_eq!(felt(&[10_000; 3]).median_us(), None);
    // One record of a stall changes nothing; records without requests are none.
    let mut one = felt(&[10_000, 10_000, 900_000, 10_000]);
    one.take(&activity(NEAR, 1, 0, 0));
    let median = one.median_us().unwrap();
    assert!((median - 10_000.0).abs() < 10.0, "{median}");
    let mut long = felt(&[10_000; 8]);
    (0..5).for_each(|_| long.take(&activity(NEAR, 1, 1, 40_000)));
    let median = long.median_us().unwrap();
    assert!((median - 40_000.0).abs() < 40.0, "{median}");
    long.forget();
    assert_eq!(long.median_us(), None);
}

#[test]
fn a_watch_skips_the_first_record_and_others_of_the_old_home() {
    let told = expected(Some(LYON), 20_000.0);
    assert_eq!(Watch::new(told, &felt(&[1; 2]), Epoch(2), 0).err(), Some(Uncompared::FewBefore));
    let mut watch = Watch::new(told, &felt(&[65_000; 8]), Epoch(2), 1_000).unwrap();
    assert_eq!(watch.measured(), Err(Uncompared::FewAfter));
    // The old home's last words, and the requests that were held.
    assert!(!watch.take(&activity(NEAR, 1, 9, 65_000)));
    assert!(!watch.take(&activity(LIAR, 2, 3, 800_000)));
    for record in 1..=8 {
        assert_eq!(watch.take(&activity(LIAR, 2, 1, 95_000)), record == 8);
    }
    let seen = watch.measured().unwrap();
    assert!((seen.before_us - 65_000.0).abs() < 50.0 && (seen.after_us - 95_000.0).abs() < 50.0);
    assert!(!watch.is_over(WATCH_MS) && watch.is_over(1_000 + WATCH_MS));
}

proptest! {
    #[test]
    fn whatever_is_measured_factors_are_bounded_numbers_and_bytes_bring_them_back(
        moves in prop::collection::vec(
            (0_u16..5, 0_u8..4, any::<bool>(), any::<f64>(), any::<f64>(), any::<f64>(),
                0_u64..1 << 60),
            1..60),
    ) {
        let (mut feedback, mut latest_ms) = (Feedback::default(), 0);
        for (place, zone, for_gain, before_us, after_us, stated_us, now_ms) in moves {
            let told = Expected {
                to: ZoneId(zone),
                for_gain,
                after: RoundTrip { stated_us, believed_us: stated_us },
                seen: if for_gain { Seen::Way } else { Seen::Zone },
                ..expected(Some(PlaceId(place)), 0.0)
            };
            feedback.learn(&told, Measured { before_us, after_us }, now_ms);
            latest_ms = latest_ms.max(now_ms);
            for zone in (0..4).map(ZoneId) {
                for place in [None, Some(PlaceId(place))] {
                    let told = feedback.correction(place, zone, now_ms);
                    for factor in [told.low, told.factor, told.high] {
                        prop_assert!((FACTOR_MIN..=FACTOR_MAX).contains(&factor), "{told:?}");
                    }
                    prop_assert!(told.low <= told.factor && told.factor <= told.high);
                    prop_assert!(told.worth.is_finite());
                    // Long after, it is as if nothing had been.
                    let later = feedback.correction(place, zone, latest_ms + (1 << 40));
                    prop_assert!((later.factor - 1.0).abs() < 0.01, "{later:?}");
                }
                if let Some(told) = feedback.of_zone(None, zone, now_ms) {
                    let numbers = [told.moves, told.expected_us, told.realised_us];
                    prop_assert!(numbers.iter().all(|number| number.is_finite()), "{told:?}");
                    prop_assert!((0.0..=1.0).contains(&told.regretted), "{told:?}");
                }
            }
        }
        prop_assert_eq!(Feedback::from_bytes(&feedback.to_bytes()), Some(feedback.clone()));
        let bytes = feedback.to_bytes();
        prop_assert_eq!(Feedback::from_bytes(&bytes[..bytes.len() - 1]), None);
    }
}

#[test]
fn odd_bytes_are_nothing() {
    for bytes in [&[][..], &[9, 0], &[1, 1], &[1, 1, 0, 0xff], &[1, 0, 1]] {
        assert_eq!(Feedback::from_bytes(bytes), None, "{bytes:?}");
    }
    assert_eq!(Feedback::from_bytes(&[1, 0]), Some(Feedback::default()));
}
