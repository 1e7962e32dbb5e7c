//! What each zone and service would need by the rule of the rounds: from what stands now to the
//! steps that would follow if what is foreseen came true.

use homing_plan::{
    scale::{Ask, Load, scale},
    schedule::{self, Moment, Surge},
};

use super::{super::Api, PredictedBody, QuantilesBody, StepBody};
use crate::{
    clock,
    foresight::{Foreseen, Series},
    scaling::{
        Basis, ScaleSettings, Scaling,
        foretold::{fresh, moments},
    },
};

/// What each zone and service that fits would need.
pub(in crate::api) fn groups(
    api: &Api,
    fits: impl Fn(&ScaleSettings) -> bool,
    extra: Option<Surge>,
    horizon_ms: u64,
    now_ms: u64,
) -> Vec<PredictedBody> {
    let foresight = api.shared.foresight.read().clone();
    let standing = api.shared.scaling.read().clone();
    let pairs = api.shared.scaled.iter().zip(&standing).filter(|(of, _)| fits(of));
    let predicted = |(of, stands): (&ScaleSettings, &Scaling)| {
        let service = of.service.clone();
        let series = Series { zone: of.zone.clone(), service, resource: of.load };
        let mut surges = api.shared.expected.surges(&of.zone, of.service.as_deref(), now_ms);
        surges.extend(extra);
        let seen = fresh(&foresight, &series, now_ms);
        let last_ms = foresight.series.get(&series).map(|seen| seen.observed_ms);
        let mut body = blank(of, stands);
        match (stands.basis, seen) {
            (None, _) => {
                "no_round".clone_into(&mut body.outcome);
                "no round has decided yet".clone_into(&mut body.reason);
            }
            (_, None) => {
                let since_ms = last_ms.unwrap_or(api.shared.started_ms);
                "no_forecast".clone_into(&mut body.outcome);
                body.since = Some(clock::rfc3339(since_ms));
                "nothing fresh is foreseen of it".clone_into(&mut body.reason);
            }
            (Some(basis), Some(seen)) => {
                let ahead = moments(seen, &surges, now_ms, horizon_ms);
                fill(&mut body, (of, stands, basis), (seen, &ahead), now_ms);
            }
        }
        body
    };
    pairs.map(predicted).collect()
}

fn blank(of: &ScaleSettings, stands: &Scaling) -> PredictedBody {
    let current = stands.ready.saturating_add(stands.under_way);
    PredictedBody {
        zone: of.zone.clone(),
        service: of.service.clone(),
        outcome: "planned".to_owned(),
        since: None,
        acts: stands.acts,
        current,
        fixed: stands.basis.map_or(0, |basis| basis.fixed),
        wanted: None,
        reason: String::new(),
        unit: of.load.unit().to_owned(),
        lead_time_ms: stands.basis.map_or(of.lead_ms, |basis| basis.lead_ms),
        cost_per_hour: of.price * f64::from(current),
        wanted_cost_per_hour: None,
        forecast: Vec::new(),
        steps: Vec::new(),
    }
}

fn fill(
    body: &mut PredictedBody,
    (of, stands, basis): (&ScaleSettings, &Scaling, Basis),
    (seen, ahead): (&Foreseen, &[Moment]),
    now_ms: u64,
) {
    let loads: Vec<Load> = ahead.iter().map(|one| one.load).collect();
    let ask = Ask {
        unit: of.load.unit(),
        observed: seen.recent.last().copied(),
        lead: &loads,
        reach: &loads,
        capacity: of.capacity,
        head_room: of.head_room,
        fixed: basis.fixed,
        ready: stands.ready,
        under_way: stands.under_way,
        min: of.min,
        max: of.max,
        price: of.price,
        shortage: of.shortage,
        changed_ms_ago: basis.changed_ms.map(|at_ms| now_ms.saturating_sub(at_ms)),
        cooldown_ms: of.cooldown_ms,
    };
    let decision = scale(&ask);
    body.wanted = Some(decision.wanted);
    body.wanted_cost_per_hour = Some(of.price * f64::from(decision.wanted));
    body.reason = decision.reason;
    body.forecast = ahead.iter().map(quantiles).collect();
    let steps = schedule::steps(&ask, ahead, basis.lead_ms, now_ms);
    body.steps = steps
        .into_iter()
        .map(|step| StepBody {
            kind: "scale".to_owned(),
            at: clock::rfc3339(step.at_ms),
            ready_by: clock::rfc3339(step.at_ms.saturating_add(basis.lead_ms)),
            before: step.before,
            wanted: step.decision.wanted,
            reason: step.decision.reason,
            carried_out: stands.acts,
        })
        .collect();
}

pub(in crate::api) fn quantiles(moment: &Moment) -> QuantilesBody {
    let Load { median, q90, q975 } = moment.load;
    QuantilesBody { at: clock::rfc3339(moment.from_ms), q50: median, q90, q975 }
}
