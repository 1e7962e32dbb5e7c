#![allow(clippy::unwrap_used)]

use super::*;

const SHAPE: Shape = Shape { season: 24, horizon: 12 };

/// A day's wave with noise from a small generator, so that runs repeat.
fn wave(count: usize, noise: f64) -> Vec<f64> {
    let mut seed = 7_u64;
    (0..count)
        .map(|t| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let even = (seed >> 33) as f64 / f64::from(1_u32 << 31) - 0.5;
            let day = (t as f64 / 24.0 * std::f64::consts::TAU).sin();
            100.0 + 50.0 * day + noise * even
        })
        .collect()
}

/// Forecasts after each observation from `from` on.
fn run(values: &[f64], from: usize) -> Vec<Vec<Outlook>> {
    let mut forecaster = Forecaster::new(SHAPE);
    let mut all = Vec::new();
    for (index, value) in values.iter().enumerate() {
        forecaster.observe(*value);
        if index >= from {
            all.push(forecaster.forecast());
        }
    }
    all
}

fn whole(outlooks: &[Outlook]) {
    assert_eq!(outlooks.len(), SHAPE.horizon);
    for outlook in outlooks {
        let (inner, outer) = (outlook.band80, outlook.band95);
        assert!(outer.0 <= inner.0 && inner.0 <= outlook.mean, "{outlook:?}");
        assert!(outlook.mean <= inner.1 && inner.1 <= outer.1, "{outlook:?}");
        assert!(outer.0.is_finite() && outer.1.is_finite(), "{outlook:?}");
    }
}

#[test]
fn changing_the_future_changes_no_forecast_before_it() {
    let values = wave(600, 30.0);
    let mut other = values.clone();
    for value in &mut other[500..] {
        *value *= 3.0;
    }
    let (first, second) = (run(&values, 100), run(&other, 100));
    assert_eq!(first[..400], second[..400]);
    assert_ne!(first[450], second[450]);
}

#[test]
fn a_days_wave_is_foreseen_better_than_by_the_last_value_or_the_last_day() {
    let values = wave(1_200, 20.0);
    let forecasts = run(&values, 700);
    let (mut ours, mut naive, mut seasonal) = (0.0, 0.0, 0.0);
    for (index, outlooks) in forecasts.iter().enumerate() {
        let at = 700 + index;
        for (step, outlook) in outlooks.iter().enumerate() {
            let Some(truth) = values.get(at + step + 1) else { continue };
            ours += (truth - outlook.mean).abs();
            naive += (truth - values[at]).abs();
            seasonal += (truth - values[at + step + 1 - 24]).abs();
        }
    }
    assert!(ours < 0.3 * naive && ours < 0.85 * seasonal, "{ours} {naive} {seasonal}");
}

#[test]
fn bands_cover_what_they_promise() {
    let values = wave(3_000, 60.0);
    let forecasts = run(&values, 600);
    let (mut inner, mut outer, mut count) = (0.0, 0.0, 0.0);
    for (index, outlooks) in forecasts.iter().enumerate().skip(400) {
        for (step, outlook) in outlooks.iter().enumerate() {
            let Some(truth) = values.get(600 + index + step + 1) else { continue };
            let within =
                |band: (f64, f64)| f64::from(u8::from(band.0 <= *truth && *truth <= band.1));
            inner += within(outlook.band80);
            outer += within(outlook.band95);
            count += 1.0;
        }
    }
    assert!((0.77..=0.83).contains(&(inner / count)), "{}", inner / count);
    assert!((0.935..=0.965).contains(&(outer / count)), "{}", outer / count);
}

#[test]
fn bad_input_has_a_finite_answer() {
    let mut nothing = Forecaster::new(SHAPE);
    assert_eq!(nothing.forecast(), vec![Outlook::default(); SHAPE.horizon]);
    let bad: [&[f64]; 6] = [
        &[5.0],
        &[f64::NAN],
        &[1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 2.0],
        &[0.0; 400],
        &[-3.0; 400],
        &[f64::MAX, f64::MIN, 1e300, -1e300],
    ];
    for values in bad {
        let mut forecaster = Forecaster::new(SHAPE);
        for _ in 0..3 {
            for value in values {
                forecaster.observe(*value);
                whole(&forecaster.forecast());
            }
        }
    }
    let mut zeros = Forecaster::new(SHAPE);
    (0..400).for_each(|_| zeros.observe(0.0));
    assert!(zeros.forecast().iter().all(|outlook| outlook.mean == 0.0));
}

#[test]
fn a_series_without_season_is_taken_as_it_is() {
    let mut forecaster = Forecaster::new(Shape { season: 0, horizon: 0 });
    for value in [1.0, 2.0, 3.0] {
        forecaster.observe(value);
    }
    assert_eq!(forecaster.forecast().len(), 1);
    let names: Vec<_> = forecaster.weights(0).iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), EXPERTS);
}

#[test]
fn no_expert_looks_ahead_and_none_says_what_is_no_number() {
    let mut values = wave(800, 30.0);
    values[300..320].fill(900.0);
    let mut other = values.clone();
    other[600..].fill(7_000.0);
    let all = |values: &[f64]| {
        let mut forecaster = Forecaster::new(SHAPE);
        forecaster.announce(Event { kind: 1, from: 300, until: 320 });
        let mut all = Vec::new();
        for value in values {
            forecaster.observe(*value);
            forecaster.forecast();
            let said = forecaster.said();
            all.push(said.into_iter().map(|(name, said)| (name, said.to_vec())).collect());
        }
        all
    };
    let (first, second): (Vec<Vec<_>>, Vec<Vec<_>>) = (all(&values), all(&other));
    assert_eq!(first[..600], second[..600]);
    for (name, said) in first.iter().flatten() {
        assert!(said.len() == SHAPE.horizon && said.iter().all(|v| v.is_finite()), "{name}");
    }
    for ((name, first), (_, second)) in first[790].iter().zip(&second[790]) {
        assert_ne!(first, second, "{name} has not noticed what came");
    }
}

#[test]
fn a_scheduled_event_is_foreseen_from_the_ones_before() {
    let mut values = wave(1_400, 5.0);
    let mut forecaster = Forecaster::new(SHAPE);
    let days = [10, 17, 25, 31, 38, 44, 55];
    for day in days {
        let event = Event { kind: 3, from: 24 * day + 15, until: 24 * day + 20 };
        values[event.from..event.until].iter_mut().for_each(|value| *value *= 3.0);
        forecaster.announce(event);
    }
    let at = 24 * 55 + 12;
    for value in &values[..=at] {
        forecaster.observe(*value);
        forecaster.forecast();
    }
    forecaster.forecast();
    let said = forecaster.said();
    let (_, curve) = said.iter().find(|(name, _)| name.contains("events")).unwrap();
    for (step, said) in curve.iter().enumerate() {
        let truth = values[at + 1 + step];
        assert!((said / truth - 1.0).abs() < 0.25, "step {step}: {said} where {truth} came");
    }
}

#[test]
fn memory_is_bounded_and_forgetting_costs_nothing() {
    let values = wave(12_000, 20.0);
    let mut forecaster = Forecaster::new(SHAPE);
    let mut wrong = 0.0;
    for (index, value) in values.iter().enumerate() {
        forecaster.observe(*value);
        if index >= 11_000 && index % 7 == 0 {
            for (step, outlook) in forecaster.forecast().iter().enumerate() {
                let Some(truth) = values.get(index + 1 + step) else { continue };
                wrong += (outlook.mean - truth).abs() / 12.0 / 143.0;
            }
        }
    }
    assert_eq!(forecaster.len(), 12_000);
    assert!(forecaster.past.known().len() <= (3_000 + 8 * 24 + 2 * 12) * 5 / 4);
    assert!(wrong < 6.5, "{wrong}: the noise alone makes 5");
}

#[test]
fn after_a_jump_in_level_the_bands_cover_again_and_the_watch_tells() {
    let mut values = wave(2_400, 30.0);
    for (index, value) in values.iter_mut().enumerate().skip(1_500) {
        // Twice the level, and swings that were never seen.
        *value *= if index % 2 == 0 { 2.6 } else { 1.4 };
    }
    let mut forecaster = Forecaster::new(SHAPE);
    let mut made: Vec<Vec<Outlook>> = Vec::new();
    let mut broken = 0;
    for (index, value) in values.iter().enumerate() {
        forecaster.observe(*value);
        made.push(forecaster.forecast());
        let [_, outer] = forecaster.coverage();
        assert!(!(400..1_500).contains(&index) || !outer.broken, "broken at {index}: {outer:?}");
        broken += usize::from(outer.broken);
    }
    assert!(broken > 0, "nobody was told");
    let covered = |range: std::ops::Range<usize>| {
        let hits = range.clone().flat_map(|at| {
            let truths = &values[at + 1..=at + SHAPE.horizon];
            made[at].iter().zip(truths).map(|(made, truth)| {
                f64::from(u8::from(made.band95.0 <= *truth && *truth <= made.band95.1))
            })
        });
        hits.sum::<f64>() / (range.len() * SHAPE.horizon) as f64
    };
    assert!(covered(1_300..1_480) > 0.92, "{}", covered(1_300..1_480));
    assert!(covered(1_560..1_700) > 0.92, "{}", covered(1_560..1_700));
    assert!(!forecaster.coverage()[1].broken);
}

#[test]
fn a_long_horizon_is_scored_without_keeping_every_forecast() {
    let mut forecaster = Forecaster::new(Shape { season: 24, horizon: 1 << 40 });
    for value in wave(700, 5.0) {
        forecaster.observe(value);
        assert_eq!(forecaster.forecast().len(), HORIZON_MAX);
    }
    assert!(forecaster.open.len() <= OPEN_MAX + 1);
    assert!(forecaster.coverage()[0].truths > 0);
}
