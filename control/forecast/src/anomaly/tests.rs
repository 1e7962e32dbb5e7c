//! What the detector must find, or must not, with the outcomes of bad input.

use super::*;

/// Noise of about a normal law, from a seed.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        let mut sum = -6.0;
        for _ in 0..12 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            sum += (self.0 >> 40) as f64 / (1_u64 << 24) as f64;
        }
        sum
    }
}

/// The rows of alarms in a series at five minutes apart.
fn alarms(series: impl IntoIterator<Item = f64>) -> Vec<usize> {
    let mut detector = Detector::new();
    let judged = series.into_iter().enumerate().filter(|(row, value)| {
        let verdict = detector.observe(300 * *row as i64, *value);
        assert!((0.0..=1.0).contains(&verdict.score), "{verdict:?}");
        verdict.is_alarm()
    });
    judged.map(|(row, _)| row).collect()
}

fn noise(seed: u64, count: usize) -> Vec<f64> {
    let mut noise = Noise(seed);
    (0..count).map(|_| 50.0 + noise.next()).collect()
}

fn daily(seed: u64, count: usize) -> Vec<f64> {
    let wave = |row: usize| (row as f64 / 288.0 * std::f64::consts::TAU).sin();
    noise(seed, count).into_iter().enumerate().map(|(row, x)| x + 20.0 * wave(row)).collect()
}

fn any_in(alarms: &[usize], rows: std::ops::Range<usize>) -> bool {
    alarms.iter().any(|row| rows.contains(row))
}

#[test]
fn a_spike_is_found_where_it_is_with_evidence() {
    let mut series = noise(1, 2_000);
    series[1_500] += 15.0;
    let mut detector = Detector::new();
    for (row, value) in series.into_iter().enumerate().take(1_501) {
        let verdict = detector.observe(300 * row as i64, value);
        if row == 1_500 {
            assert!(verdict.is_alarm(), "{verdict:?}");
            assert!(verdict.witness.is_some());
            assert!(verdict.expected.is_some_and(|expected| (expected - 50.0).abs() < 2.0));
            assert_eq!(verdict.observed, value);
        }
    }
}

#[test]
fn a_level_shift_is_found_once() {
    let mut series = noise(2, 2_000);
    series[1_500..].iter_mut().for_each(|value| *value += 4.0);
    let alarms = alarms(series);
    assert!(any_in(&alarms, 1_500..1_520), "{alarms:?}");
    assert!(alarms.iter().filter(|row| **row >= 1_500).count() <= 4, "{alarms:?}");
}

#[test]
fn a_day_without_its_pattern_is_found() {
    let mut series = daily(3, 288 * 14);
    let flat = 288 * 11..288 * 12;
    series[flat.clone()].iter_mut().for_each(|value| *value = 50.0);
    let alarms = alarms(series);
    assert!(any_in(&alarms, flat), "{alarms:?}");
}

#[test]
fn noise_raises_few_alarms() {
    for seed in 10..15 {
        let quiet = alarms(noise(seed, 4_000)).len();
        let wave = alarms(daily(seed, 4_000)).len();
        assert!(quiet <= 8 && wave <= 8, "{quiet} in noise, {wave} in a daily pattern");
    }
}

#[test]
fn the_future_does_not_change_the_past() {
    let series = daily(4, 2_000);
    let scores = |series: &[f64]| -> Vec<u64> {
        let mut detector = Detector::new();
        let judged = series.iter().enumerate();
        judged.map(|(row, x)| detector.observe(300 * row as i64, *x).score.to_bits()).collect()
    };
    let mut other = series.clone();
    other[1_200..].iter_mut().for_each(|value| *value = 1e6 - *value);
    let (scores, others) = (scores(&series), scores(&other));
    assert_eq!(scores[..1_200], others[..1_200]);
    assert_ne!(scores[1_200..], others[1_200..]);
}

#[test]
fn a_constant_series_is_silent_until_it_changes() {
    for level in [0.0, 0.1, -1e-9, 1e12] {
        let mut series = vec![level; 1_000];
        assert_eq!(alarms(series.clone()), [0; 0]);
        series.push(level + 1.0 + level.abs());
        assert_eq!(alarms(series), [1_000], "from {level}");
    }
}

#[test]
fn holes_score_nothing_and_teach_nothing() {
    let series = noise(5, 1_000);
    let (mut whole, mut holed) = (Detector::new(), Detector::new());
    for (row, value) in series.into_iter().enumerate() {
        let at = 300 * row as i64;
        for hole in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let verdict = holed.observe(at, hole);
            assert_eq!((verdict.score, verdict.witness), (0.0, None));
            assert_eq!(verdict.expected.is_none(), row == 0);
        }
        assert_eq!(whole.observe(at, value), holed.observe(at, value));
    }
}

#[test]
fn times_and_values_at_the_limits_give_scores() {
    let values = [0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, -0.0, 1e-300, 1.0];
    let mut detector = Detector::new();
    let first = detector.observe(0, 1.0);
    assert_eq!((first.score, first.expected, first.witness), (0.0, None, None));
    for row in 0..3_000 {
        let at = [i64::MIN, 0, 0, i64::MAX, -1][row % 5];
        let verdict = detector.observe(at, values[row * row % 7]);
        assert!((0.0..=1.0).contains(&verdict.score), "{verdict:?}");
        assert!(verdict.surprises.iter().all(|surprise| surprise.is_finite()));
        assert!(verdict.expected.is_some_and(f64::is_finite));
    }
}

#[test]
fn a_day_out_of_all_bounds_does_not_spoil_later_ones() {
    let mut detector = Detector::new();
    for row in 0..288 * 6 {
        let value = if row < 288 * 2 { 1e100 } else { 0.0 };
        let verdict = detector.observe(300 * row, value);
        assert!((0.0..=1.0).contains(&verdict.score), "{verdict:?}");
        assert!(verdict.surprises.iter().all(|surprise| surprise.is_finite()), "{verdict:?}");
    }
}
