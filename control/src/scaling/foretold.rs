//! What foresight has to say for one decision: the loads until a provider can help, and until it
//! could help again. A forecast that is out of date says nothing.

use homing_forecast::demand::Outlook;
use homing_plan::{
    scale::Load,
    schedule::{Moment, Surge, surged},
};

use crate::foresight::{Ahead, Foreseen, Foresight, Series};

/// Steps after which what was observed is out of date.
const STEPS_OLD: u64 = 3;
/// No forecast is out of date before that, milliseconds: it takes its time to make.
const OLD_MS_MIN: u64 = 5_000;

/// Loads foreseen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Foretold {
    /// The last that was measured.
    pub(super) observed: Option<f64>,
    /// Over the lead time.
    pub(super) lead: Vec<Load>,
    /// Over the lead time and what comes after it.
    pub(super) reach: Vec<Load>,
}

/// What is foreseen of a series over so many milliseconds from now, and over so many more.
pub(super) fn foretold(
    foresight: &Foresight,
    series: &Series,
    (lead_ms, more_ms): (u64, u64),
    surges: &[Surge],
    now_ms: u64,
) -> Foretold {
    let Some(seen) = fresh(foresight, series, now_ms) else {
        return Foretold::default();
    };
    let loads =
        |span_ms| moments(seen, surges, now_ms, span_ms).iter().map(|one| one.load).collect();
    Foretold {
        observed: seen.recent.last().copied(),
        lead: loads(lead_ms),
        reach: loads(lead_ms.saturating_add(more_ms)),
    }
}

/// What is foreseen of a series, unless it is out of date.
pub(crate) fn fresh<'a>(
    foresight: &'a Foresight,
    series: &Series,
    now_ms: u64,
) -> Option<&'a Foreseen> {
    let fresh = |seen: &&Foreseen| {
        let old_ms = (STEPS_OLD * foresight.step_ms).max(OLD_MS_MIN);
        now_ms.saturating_sub(seen.observed_ms) <= old_ms
    };
    foresight.series.get(series).filter(fresh)
}

/// By step as far as steps are foreseen, by hour from there; under what is expected besides.
pub(crate) fn moments(seen: &Foreseen, surges: &[Surge], now_ms: u64, span_ms: u64) -> Vec<Moment> {
    let until_ms = now_ms.saturating_add(span_ms);
    let (mut moments, reached_ms) = between(&seen.steps, now_ms, until_ms);
    if reached_ms < until_ms
        && let Some(hours) = &seen.hours
    {
        moments.extend(between(hours, reached_ms, until_ms).0);
    }
    moments.into_iter().map(|one| surged(one, surges)).collect()
}

/// The outlooks of what lies between two times, the ends included, and how far they reach.
fn between(ahead: &Ahead, from_ms: u64, until_ms: u64) -> (Vec<Moment>, u64) {
    let step_ms = ahead.step_ms.max(1);
    let index = |at_ms: u64| (at_ms.saturating_sub(ahead.from_ms) / step_ms) as usize;
    let end = index(until_ms).saturating_add(1).min(ahead.outlooks.len());
    // An outlook that should have come true by now is the best there is if it is the last.
    let first = index(from_ms).min(end.saturating_sub(1));
    let begins = |at: usize| ahead.from_ms.saturating_add(step_ms.saturating_mul(at as u64));
    let moment = |(at, outlook)| Moment {
        from_ms: begins(at),
        until_ms: begins(at + 1),
        load: load(outlook),
    };
    let moments = ahead.outlooks.iter().enumerate().take(end).skip(first).map(moment).collect();
    (moments, ahead.from_ms.saturating_add(step_ms.saturating_mul(ahead.outlooks.len() as u64)))
}

fn load(outlook: &Outlook) -> Load {
    Load { median: outlook.mean, q90: outlook.band80.1, q975: outlook.band95.1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foresight::Resource;

    fn ahead(step_ms: u64, from_ms: u64, means: &[f64]) -> Ahead {
        let outlook = |mean: &f64| Outlook {
            mean: *mean,
            band80: (mean - 1.0, mean + 1.0),
            band95: (mean - 2.0, mean + 2.0),
        };
        let outlooks = means.iter().map(outlook).collect();
        Ahead { step_ms, from_ms, outlooks, weights: Vec::new(), coverage: Default::default() }
    }

    fn series() -> Series {
        Series { zone: "paris".to_owned(), service: None, resource: Resource::Requests }
    }

    fn foresight() -> Foresight {
        let seen = Foreseen {
            observed_ms: 100_000,
            observations: 9,
            recent: vec![1.0, 7.0],
            steps: ahead(10_000, 100_000, &[10.0, 20.0, 30.0]),
            hours: Some(ahead(3_600_000, 0, &[100.0, 200.0])),
        };
        Foresight { step_ms: 10_000, series: [(series(), seen)].into(), ..Foresight::default() }
    }

    fn medians(loads: &[Load]) -> Vec<f64> {
        loads.iter().map(|load| load.median).collect()
    }

    #[test]
    fn steps_are_taken_as_far_as_they_reach_and_hours_from_there() {
        let told = foretold(&foresight(), &series(), (5_000, 10_000), &[], 103_000);
        assert_eq!(told.observed, Some(7.0));
        assert_eq!(medians(&told.lead), [10.0]);
        assert_eq!(medians(&told.reach), [10.0, 20.0]);
        assert_eq!(told.lead[0], Load { median: 10.0, q90: 11.0, q975: 12.0 });
        let far = foretold(&foresight(), &series(), (5_000, 3_600_000), &[], 103_000);
        assert_eq!(medians(&far.reach), [10.0, 20.0, 30.0, 100.0, 200.0]);
        let endless = foretold(&foresight(), &series(), (u64::MAX, u64::MAX), &[], 103_000);
        assert_eq!(endless.lead.len(), 5);
        let surge = Surge { from_ms: 111_000, until_ms: 112_000, multiplier: 3.0 };
        let told = foretold(&foresight(), &series(), (5_000, 20_000), &[surge], 103_000);
        assert_eq!(medians(&told.reach), [10.0, 60.0, 30.0]);
        assert_eq!(told.reach[1].q975, 66.0);
    }

    #[test]
    fn what_is_out_of_date_or_unknown_says_nothing() {
        assert_eq!(foretold(&foresight(), &series(), (1, 1), &[], 130_001), Foretold::default());
        assert!(!foretold(&foresight(), &series(), (1, 1), &[], 130_000).lead.is_empty());
        let other = Series { resource: Resource::Sessions, ..series() };
        assert_eq!(foretold(&foresight(), &other, (1, 1), &[], 100_000), Foretold::default());
        let mut empty = foresight();
        empty.series.get_mut(&series()).unwrap().steps.outlooks.clear();
        assert!(foretold(&empty, &series(), (1, 0), &[], 100_000).lead.len() <= 1);
    }
}
