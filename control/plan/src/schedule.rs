//! When the number of endpoints would change, if what is foreseen came true: the rule of
//! [`crate::scale`] put to each moment to come at which its answer can differ. It is a look ahead,
//! not an order: each round decides anew.

use std::collections::BTreeSet;

use crate::scale::{Ask, Decision, Load, scale};

/// Changes that are told of one schedule, the first ones.
pub const STEPS_MAX: usize = 64;
/// The most that an expected event may multiply demand by.
pub const MULTIPLIER_MAX: f64 = 100.0;

/// What is foreseen for a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// When it begins, milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// When it ends.
    pub until_ms: u64,
    /// What is foreseen.
    pub load: Load,
}

/// Something that is known to bring more than the past can tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surge {
    /// When it begins, milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// When it ends.
    pub until_ms: u64,
    /// What demand is multiplied by, from 1 to [`MULTIPLIER_MAX`].
    pub multiplier: f64,
}

/// A load under the largest of the surges that touch its stretch of time.
#[must_use]
pub fn surged(moment: Moment, surges: &[Surge]) -> Moment {
    let touches =
        |surge: &&Surge| surge.from_ms < moment.until_ms && moment.from_ms < surge.until_ms;
    let factors = surges.iter().filter(touches).map(|surge| surge.multiplier);
    let factor = factors.filter(|factor| factor.is_finite()).fold(1.0, f64::max);
    let factor = factor.min(MULTIPLIER_MAX);
    let Load { median, q90, q975 } = moment.load;
    let load = Load { median: median * factor, q90: q90 * factor, q975: q975 * factor };
    Moment { load, ..moment }
}

/// The moment of the highest demand by its upper quantile, the first of such; `None` of nothing.
#[must_use]
pub fn peak(moments: &[Moment]) -> Option<Moment> {
    let higher = |best: Moment, one: Moment| {
        if one.load.upper() > best.load.upper() { one } else { best }
    };
    moments.iter().copied().reduce(higher)
}

/// By how much a demand exceeds a capacity; 0 if it fits, or if either is no number.
#[must_use]
pub fn gap(demand: f64, capacity: f64) -> f64 {
    let gap = demand - capacity;
    if gap.is_finite() { gap.max(0.0) } else { 0.0 }
}

/// One change of the number.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When it would be asked for, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// How many there would be before.
    pub before: u32,
    /// What would be decided.
    pub decision: Decision,
}

/// The changes within what is foreseen. `ask` is how things stand now; its own loads to come are
/// not looked at.
#[must_use]
pub fn steps(ask: &Ask<'_>, moments: &[Moment], lead_ms: u64, now_ms: u64) -> Vec<Step> {
    let end_ms = moments.last().map_or(now_ms, |last| last.until_ms);
    let mut have = ask.ready.saturating_add(ask.under_way);
    let mut changed_ms = ask.changed_ms_ago.map(|ago| now_ms.saturating_sub(ago));
    // A moment matters when it comes within the lead time, and when it is over.
    let mut looks: BTreeSet<u64> = moments
        .iter()
        .flat_map(|one| [one.from_ms.saturating_sub(lead_ms), one.until_ms])
        .filter(|at_ms| *at_ms > now_ms && *at_ms < end_ms)
        .collect();
    looks.insert(now_ms);
    looks.extend(changed_ms.map(|at_ms| at_ms + ask.cooldown_ms).filter(|at| *at > now_ms));
    let mut steps = Vec::new();
    while let Some(at_ms) = looks.pop_first().filter(|at| *at <= end_ms) {
        let until = |span_ms: u64| -> Vec<Load> {
            let to_ms = at_ms.saturating_add(span_ms);
            let within = |one: &&Moment| one.until_ms > at_ms && one.from_ms <= to_ms;
            moments.iter().filter(within).map(|one| one.load).collect()
        };
        let (lead, reach) = (until(lead_ms), until(lead_ms.saturating_add(ask.cooldown_ms)));
        let decision = scale(&Ask {
            // What is measured now says nothing of later.
            observed: ask.observed.filter(|_| at_ms == now_ms),
            lead: &lead,
            reach: &reach,
            ready: have,
            under_way: 0,
            changed_ms_ago: changed_ms.map(|changed| at_ms.saturating_sub(changed)),
            ..*ask
        });
        if decision.wanted == have {
            continue;
        }
        let before = std::mem::replace(&mut have, decision.wanted);
        changed_ms = Some(at_ms);
        looks.insert(at_ms.saturating_add(ask.cooldown_ms).max(at_ms + 1));
        steps.push(Step { at_ms, before, decision });
        if steps.len() == STEPS_MAX {
            break;
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::Verdict;

    const ASK: Ask<'static> = Ask {
        unit: "requests/s",
        observed: None,
        lead: &[],
        reach: &[],
        capacity: 10.0,
        head_room: 0.0,
        fixed: 0,
        ready: 1,
        under_way: 0,
        min: 1,
        max: 9,
        price: 1.0,
        shortage: 3.0,
        changed_ms_ago: None,
        cooldown_ms: 60_000,
    };

    fn moments(loads: &[f64]) -> Vec<Moment> {
        let moment = |(index, load): (usize, &f64)| Moment {
            from_ms: 1_000_000 + index as u64 * 60_000,
            until_ms: 1_060_000 + index as u64 * 60_000,
            load: Load { median: *load, q90: *load, q975: *load },
        };
        loads.iter().enumerate().map(moment).collect()
    }

    fn shown(steps: &[Step]) -> Vec<(u64, u32, u32)> {
        let shown = |step: &Step| (step.at_ms, step.before, step.decision.wanted);
        steps.iter().map(shown).collect()
    }

    #[test]
    fn more_are_asked_for_a_lead_time_ahead_and_given_back_once_it_is_over() {
        let ahead = moments(&[5.0, 5.0, 35.0, 5.0, 5.0, 5.0, 5.0]);
        let steps = steps(&ASK, &ahead, 30_000, 1_000_000);
        // 35 come at 1,120 s; they are over at 1,180 s, when even the reach needs one.
        assert_eq!(shown(&steps), [(1_090_000, 1, 4), (1_180_000, 4, 1)]);
        assert_eq!(steps[0].decision.verdict, Verdict::Out);
        assert_eq!(steps[1].decision.verdict, Verdict::In);
    }

    #[test]
    fn what_is_needed_at_once_is_a_step_now_and_a_cooldown_is_waited_for() {
        let now = Ask { observed: Some(25.0), ..ASK };
        let steps = steps(&now, &moments(&[5.0; 6]), 30_000, 1_000_000);
        assert_eq!(shown(&steps), [(1_000_000, 1, 3), (1_060_000, 3, 1)]);
        assert!(super::steps(&ASK, &[], 30_000, 1_000_000).is_empty());
        let steady = Ask { ready: 1, ..ASK };
        assert!(super::steps(&steady, &moments(&[5.0; 9]), 0, 1_000_000).is_empty());
    }

    #[test]
    fn the_largest_surge_that_touches_a_moment_counts_and_none_lowers_it() {
        let moment = moments(&[5.0, 5.0])[1];
        let surge = |from_ms, until_ms, multiplier| Surge { from_ms, until_ms, multiplier };
        let factor = |surges: &[Surge]| surged(moment, surges).load.median / 5.0;
        assert_eq!(factor(&[]), 1.0);
        assert_eq!(factor(&[surge(0, 1_060_000, 3.0)]), 1.0);
        assert_eq!(factor(&[surge(0, 1_060_001, 3.0), surge(1_119_999, u64::MAX, 2.0)]), 3.0);
        assert_eq!(factor(&[surge(0, u64::MAX, 0.1), surge(0, u64::MAX, f64::NAN)]), 1.0);
        assert_eq!(factor(&[surge(0, u64::MAX, 1e9)]), MULTIPLIER_MAX);
    }

    #[test]
    fn the_first_of_the_highest_moments_is_the_peak_and_only_excess_is_a_gap() {
        let ahead = moments(&[5.0, 9.0, 9.0, 1.0]);
        assert_eq!(peak(&ahead), Some(ahead[1]));
        assert_eq!(peak(&[]), None);
        assert_eq!((gap(9.0, 4.0), gap(4.0, 9.0), gap(f64::NAN, 1.0)), (5.0, 0.0, 0.0));
        assert_eq!(gap(f64::INFINITY, 1.0), 0.0);
    }

    #[test]
    fn no_schedule_is_longer_than_its_bound() {
        let jagged: Vec<f64> = (0..500).map(|n| f64::from(n % 2) * 80.0).collect();
        let eager = Ask { cooldown_ms: 0, ..ASK };
        assert!(steps(&eager, &moments(&jagged), 0, 1_000_000).len() <= STEPS_MAX);
    }
}
