//! The resource plan of a zone: what each service is expected to need there, what there is for it,
//! and what Homing will do about the difference, when. Only what it really does is in it.

use axum::{
    Json,
    extract::{Path, Query},
};
use homing_plan::{
    scale::Load,
    schedule::{Moment, gap, peak},
};
use homing_wire::{Act, Directive, Facts, Zone};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    entry::View,
    problem::Problem,
    regions::{self, PredictedBody, QuantilesBody, quantiles},
};
use crate::{
    clock,
    foresight::{Resource, Series},
    scaling::{
        ScaleSettings,
        foretold::{fresh, moments},
    },
    scope::Scope,
};

/// Which plan.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Ahead {
    /// How far to look, 48 hours at most; `30m` if not stated.
    pub horizon: Option<String>,
}

/// The plan of a zone.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZonePlanBody {
    /// The zone.
    pub zone: String,
    /// When it was made.
    pub made: String,
    /// Until when it looks.
    pub until: String,
    /// Whether plans are carried out: `shadow` or `on`.
    pub act: String,
    /// What is expected to be needed. What is of all services together only operators see.
    pub demand: Vec<DemandBody>,
    /// What is done about it, in the order of time.
    pub steps: Vec<PlanStepBody>,
}

/// What is expected to be needed of one resource.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DemandBody {
    /// The service; absent for all together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `requests`, `bandwidth` or `sessions`.
    pub resource: String,
    /// Its unit.
    pub unit: String,
    /// `foreseen`, or `no_forecast` if nothing fresh is.
    pub outcome: String,
    /// The moment of the highest demand, by its upper quantile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<QuantilesBody>,
    /// What there is for it; absent if nobody stated it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<f64>,
    /// By how much the upper quantile of the peak exceeds the capacity; 0 if it fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<f64>,
}

/// Something that is done.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStepBody {
    /// `scale`: the provider is asked for another number of endpoints. `stage_data`: the state of
    /// sessions that are being handed over is copied here.
    pub kind: String,
    /// The service, if it is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// When it is begun.
    pub at: String,
    /// When it should be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_by: Option<String>,
    /// What, in words and numbers.
    pub words: String,
    /// Why.
    pub reason: String,
    /// Whether it is carried out; otherwise it is only shown (`act: shadow`).
    pub carried_out: bool,
}

/// The resource plan of a zone.
#[utoipa::path(get, path = "/v1/zones/{name}/plan", tag = "zones",
    params(("name" = String, Path, description = "The zone's name"), Ahead),
    responses((status = 200, body = ZonePlanBody), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub async fn of_zone(
    View(api, scope): View,
    Path(name): Path<String>,
    Query(ahead): Query<Ahead>,
) -> Result<Json<ZonePlanBody>, Problem> {
    let table = api.table()?;
    let facts = table.facts();
    let id = facts
        .zone_named(&name)
        .ok_or_else(|| Problem::not_found(format!("there is no zone {name:?}")))?;
    let horizon_ms = regions::horizon(ahead.horizon.as_deref().unwrap_or("30m"))?;
    let now_ms = clock::now_ms();
    let is_here =
        |of: &ScaleSettings| of.zone == name && scope.sees_named(facts, of.service.as_deref());
    let groups = regions::groups(&api, is_here, None, horizon_ms, now_ms);
    let arriving: Vec<&Directive> =
        table.directives().values().filter(|directive| directive.to == id).collect();
    let keys = arriving.iter().map(|directive| directive.key).collect();
    let seen = api.seen(&scope, keys).await?;
    let arriving = seen.into_iter().filter(|seen| *seen).count();
    let mut steps: Vec<PlanStepBody> = groups.iter().flat_map(scale_steps).collect();
    if arriving > 0 {
        steps.push(PlanStepBody {
            kind: "stage_data".to_owned(),
            service: None,
            at: clock::rfc3339(now_ms),
            ready_by: None,
            words: format!("the state of {arriving} sessions is copied here before their cut"),
            reason: "open directives hand them over to this zone".to_owned(),
            carried_out: true,
        });
    }
    // RFC 3339 in UTC with fixed digits sorts by time.
    steps.sort_by(|a, b| a.at.cmp(&b.at));
    let act = if facts.policy.act == Act::On { "on" } else { "shadow" };
    let zone = &facts.zones[id.index()];
    Ok(Json(ZonePlanBody {
        zone: name.clone(),
        made: clock::rfc3339(now_ms),
        until: clock::rfc3339(now_ms.saturating_add(horizon_ms)),
        act: act.to_owned(),
        demand: demand(&api, &scope, (facts, zone), horizon_ms, now_ms),
        steps,
    }))
}

fn scale_steps(group: &PredictedBody) -> impl Iterator<Item = PlanStepBody> + '_ {
    group.steps.iter().map(|step| PlanStepBody {
        kind: step.kind.clone(),
        service: group.service.clone(),
        at: step.at.clone(),
        ready_by: (step.wanted > step.before).then(|| step.ready_by.clone()),
        words: format!("from {} to {} endpoints", step.before, step.wanted),
        reason: step.reason.clone(),
        carried_out: step.carried_out,
    })
}

fn demand(
    api: &Api,
    scope: &Scope,
    (facts, zone): (&Facts, &Zone),
    horizon_ms: u64,
    now_ms: u64,
) -> Vec<DemandBody> {
    let foresight = api.shared.foresight.read().clone();
    let services = facts.services.iter().filter(|service| scope.sees(service));
    let own = services.flat_map(|service| {
        [Resource::Requests, Resource::Bandwidth].map(|of| (Some(service.name.clone()), of))
    });
    let all = Resource::ALL.into_iter().filter(|_| scope.is_operator()).map(|of| (None, of));
    let body = |(service, resource): (Option<String>, Resource)| {
        let series = Series { zone: zone.name.clone(), service, resource };
        let surges = api.shared.expected.surges(&zone.name, series.service.as_deref(), now_ms);
        let ahead: Option<Vec<Moment>> = fresh(&foresight, &series, now_ms)
            .map(|seen| moments(seen, &surges, now_ms, horizon_ms));
        let highest = ahead.as_deref().and_then(peak);
        let capacity = capacity(api, zone, &series);
        let upper = highest.map(|moment| Load::upper(&moment.load));
        DemandBody {
            resource: resource.name().to_owned(),
            unit: resource.unit().to_owned(),
            outcome: if highest.is_some() { "foreseen" } else { "no_forecast" }.to_owned(),
            peak: highest.as_ref().map(quantiles),
            gap: upper.zip(capacity).map(|(upper, capacity)| gap(upper, capacity)),
            capacity,
            service: series.service,
        }
    };
    all.chain(own).map(body).collect()
}

/// What there is for a resource: endpoints where their worth is stated, else what the document says
/// of the zone.
fn capacity(api: &Api, zone: &Zone, series: &Series) -> Option<f64> {
    let standing = api.shared.scaling.read();
    let mut scaled = api.shared.scaled.iter().zip(standing.iter());
    let is = |of: &ScaleSettings| {
        of.zone == series.zone && of.service == series.service && of.load == series.resource
    };
    if let Some((of, stands)) = scaled.find(|(of, _)| is(of)) {
        let fixed = stands.basis.map_or(0, |basis| basis.fixed);
        let endpoints = f64::from(stands.ready.saturating_add(fixed));
        return Some(endpoints * of.capacity * (1.0 - of.head_room));
    }
    let stated = match (series.resource, &series.service) {
        (Resource::Sessions, None) => zone.capacity.sessions as f64,
        (Resource::Bandwidth, None) => zone.capacity.bandwidth_bps as f64 / 8.0,
        _ => 0.0,
    };
    (stated > 0.0).then_some(stated)
}
