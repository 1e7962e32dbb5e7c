//! What foresight has to say for one decision: the loads until a provider can help, and until it
//! could help again. A forecast that is out of date says nothing.

use homing_forecast::demand::Outlook;
use homing_plan::scale::Load;

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
    now_ms: u64,
) -> Foretold {
    let fresh = |seen: &&Foreseen| {
        let old_ms = (STEPS_OLD * foresight.step_ms).max(OLD_MS_MIN);
        now_ms.saturating_sub(seen.observed_ms) <= old_ms
    };
    let Some(seen) = foresight.series.get(series).filter(fresh) else {
        return Foretold::default();
    };
    Foretold {
        observed: seen.recent.last().copied(),
        lead: loads(seen, now_ms, lead_ms),
        reach: loads(seen, now_ms, lead_ms.saturating_add(more_ms)),
    }
}

/// By step as far as steps are foreseen, by hour from there.
fn loads(seen: &Foreseen, now_ms: u64, span_ms: u64) -> Vec<Load> {
    let until_ms = now_ms.saturating_add(span_ms);
    let (mut loads, reached_ms) = between(&seen.steps, now_ms, until_ms);
    if reached_ms < until_ms
        && let Some(hours) = &seen.hours
    {
        loads.extend(between(hours, reached_ms, until_ms).0);
    }
    loads
}

/// The outlooks of what lies between two times, the ends included, and how far they reach.
fn between(ahead: &Ahead, from_ms: u64, until_ms: u64) -> (Vec<Load>, u64) {
    let step_ms = ahead.step_ms.max(1);
    let index = |at_ms: u64| (at_ms.saturating_sub(ahead.from_ms) / step_ms) as usize;
    let end = index(until_ms).saturating_add(1).min(ahead.outlooks.len());
    // An outlook that should have come true by now is the best there is if it is the last.
    let first = index(from_ms).min(end.saturating_sub(1));
    let loads = ahead.outlooks[first..end].iter().map(load).collect();
    (loads, ahead.from_ms.saturating_add(step_ms.saturating_mul(ahead.outlooks.len() as u64)))
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
        let told = foretold(&foresight(), &series(), (5_000, 10_000), 103_000);
        assert_eq!(told.observed, Some(7.0));
        assert_eq!(medians(&told.lead), [10.0]);
        assert_eq!(medians(&told.reach), [10.0, 20.0]);
        assert_eq!(told.lead[0], Load { median: 10.0, q90: 11.0, q975: 12.0 });
        let far = foretold(&foresight(), &series(), (5_000, 3_600_000), 103_000);
        assert_eq!(medians(&far.reach), [10.0, 20.0, 30.0, 100.0, 200.0]);
        let endless = foretold(&foresight(), &series(), (u64::MAX, u64::MAX), 103_000);
        assert_eq!(endless.lead.len(), 5);
    }

    #[test]
    fn what_is_out_of_date_or_unknown_says_nothing() {
        assert_eq!(foretold(&foresight(), &series(), (1, 1), 130_001), Foretold::default());
        assert!(!foretold(&foresight(), &series(), (1, 1), 130_000).lead.is_empty());
        let other = Series { resource: Resource::Sessions, ..series() };
        assert_eq!(foretold(&foresight(), &other, (1, 1), 100_000), Foretold::default());
        let mut empty = foresight();
        empty.series.get_mut(&series()).unwrap().steps.outlooks.clear();
        assert!(foretold(&empty, &series(), (1, 0), 100_000).lead.len() <= 1);
    }
}
