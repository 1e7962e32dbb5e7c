//! What is foreseen of zones and users: values with bands, what they rest on, and how old that is.

use axum::{
    Json,
    extract::{Path, Query},
};
use homing_forecast::demand::Outlook;
use homing_plan::Profile;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Problem,
    entry::View,
    sessions::{session_key, zone_name},
};
use crate::{
    clock,
    foresight::{Ahead, Foreseen, Resource, Series},
    lead::Command,
};

/// Standard deviations of a normal distribution within which four of five values lie, and nineteen
/// of twenty.
const BANDS: [f64; 2] = [1.2816, 1.96];

/// Which forecast.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// `requests`, `bandwidth` or `sessions`; `requests` if not stated.
    pub resource: Option<String>,
    /// One service's share; all services together if not stated.
    pub service: Option<String>,
    /// `step` for the next 30 steps (minutes, unless control is set otherwise), `hour` for the next
    /// 48 hours; `step` if not stated.
    pub by: Option<String>,
}

/// A forecast.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ForecastBody {
    /// The zone.
    pub zone: String,
    /// The service, if it is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What is forecast.
    pub resource: String,
    /// Its unit.
    pub unit: String,
    /// Milliseconds of one value.
    pub step_ms: u64,
    /// When the last observed step ended; nothing later is in the forecast.
    pub observed_until: String,
    /// How old that is, milliseconds.
    pub data_age_ms: u64,
    /// Steps that were observed.
    pub observations: u64,
    /// The last observed steps, oldest first.
    pub recent: Vec<f64>,
    /// The values to come.
    pub values: Vec<ValueBody>,
    /// Which model has which share in the first value, the largest first.
    pub weights: Vec<WeightBody>,
    /// How often the bands held of late.
    pub coverage: Vec<CoverageBody>,
}

/// One value to come.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ValueBody {
    /// When it begins.
    pub at: String,
    /// The middle: as often above as below.
    pub value: f64,
    /// Where four of five truths should lie.
    pub band80: [f64; 2],
    /// Where nineteen of twenty should.
    pub band95: [f64; 2],
}

/// A model's share.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WeightBody {
    /// The model.
    pub model: String,
    /// Its share, 0 to 1.
    pub weight: f64,
}

/// Whether a band keeps its promise.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CoverageBody {
    /// The share of truths it promises to hold.
    pub promised: f64,
    /// The share it held.
    pub seen: f64,
    /// Of how many.
    pub truths: u64,
    /// Whether it is widened because it held too few.
    pub broken: bool,
}

/// What a user is expected to need.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ResourceForecastBody {
    /// The user's session key.
    pub user: String,
    /// Where it lives.
    pub zone: String,
    /// Its service.
    pub service: String,
    /// Its share in its zone's demand for the service, 0 to 1.
    pub share: f64,
    /// The forecast of each resource: the zone's, by that share, with bands as wide as one user's
    /// chance makes them.
    pub resources: Vec<ForecastBody>,
}

/// What is foreseen of a zone.
#[utoipa::path(get, path = "/v1/zones/{name}/forecast", tag = "forecasts",
    params(("name" = String, Path, description = "The zone's name"), Asked),
    responses((status = 200, body = ForecastBody), (status = 400, body = Problem),
        (status = 404, body = Problem)))]
pub async fn of_zone(
    View(api, scope): View,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<ForecastBody>, Problem> {
    let table = api.table()?;
    let facts = table.facts();
    if facts.zone_named(&name).is_none() {
        return Err(Problem::not_found(format!("there is no zone {name:?}")));
    }
    if let Some(service) = &asked.service
        && !facts.services.iter().any(|known| known.name == *service && scope.sees(known))
    {
        return Err(Problem::not_found(format!("there is no service {service:?}")));
    }
    let resource = resource(&asked)?;
    if asked.service.is_some() && resource == Resource::Sessions {
        let detail = "sessions are counted for a zone only; leave `service` out";
        return Err(Problem::bad_request(detail));
    }
    if !scope.sees_named(facts, asked.service.as_deref()) {
        return Err(Problem::not_found("name one of your services: `service=`"));
    }
    let series = Series { zone: name, service: asked.service.clone(), resource };
    let foresight = api.shared.foresight.read().clone();
    let foreseen = foresight.series.get(&series).ok_or_else(nothing_yet)?;
    Ok(Json(body(&series, foreseen, pick(&asked, foreseen)?, clock::now_ms())))
}

/// What a user is expected to need in its zone.
#[utoipa::path(get, path = "/v1/users/{user}/resourceForecast", tag = "forecasts",
    params(("user" = String, Path, description = "The session key, 32 hexadecimal digits"), Asked),
    responses((status = 200, body = ResourceForecastBody), (status = 400, body = Problem),
        (status = 404, body = Problem)))]
pub async fn of_user(
    View(api, scope): View,
    Path(user): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<ResourceForecastBody>, Problem> {
    let key = session_key(&user)?;
    let unknown = Problem::unheard_of;
    let why = api.lead.ask(|reply| Command::Why(key, reply)).await?.ok_or_else(unknown)?;
    let (profile, _) = why.known.as_ref().ok_or_else(unknown)?;
    let service = why.facts.services.get(profile.service.index()).ok_or_else(unknown)?;
    if !scope.sees(service) {
        return Err(unknown());
    }
    let zone = zone_name(&why.facts, why.home.zone);
    let foresight = api.shared.foresight.read().clone();
    let now_ms = clock::now_ms();
    let wanted: Vec<Resource> = match &asked.resource {
        Some(_) => vec![resource(&asked)?],
        None => vec![Resource::Requests, Resource::Bandwidth],
    };
    let (mut resources, mut share) = (Vec::new(), 0.0);
    for resource in wanted {
        let series = Series { zone: zone.clone(), service: Some(service.name.clone()), resource };
        let foreseen = foresight.series.get(&series).ok_or_else(nothing_yet)?;
        let ahead = pick(&asked, foreseen)?;
        let requests = Series { resource: Resource::Requests, ..series.clone() };
        share = foresight.series.get(&requests).map_or(0.0, |zone| share_of(profile, zone, now_ms));
        // What comes at once: a request, or the bytes of one.
        let unit = match resource {
            Resource::Bandwidth => f64::from(profile.bytes_per_request).max(1.0),
            Resource::Requests | Resource::Sessions => 1.0,
        };
        let of_user = Ahead {
            outlooks: ahead
                .outlooks
                .iter()
                .map(|outlook| one_users(*outlook, share, unit, ahead.step_ms))
                .collect(),
            ..ahead.clone()
        };
        let recent = foreseen.recent.iter().map(|value| value * share).collect();
        let scaled = Foreseen { recent, ..foreseen.clone() };
        resources.push(body(&series, &scaled, &of_user, now_ms));
    }
    let service = service.name.clone();
    Ok(Json(ResourceForecastBody { user: key.to_string(), zone, service, share, resources }))
}

fn resource(asked: &Asked) -> Result<Resource, Problem> {
    let name = asked.resource.as_deref().unwrap_or("requests");
    Resource::named(name).ok_or_else(|| {
        let names = Resource::ALL.map(Resource::name).join(", ");
        Problem::bad_request(format!("there is no resource {name:?}; there are {names}"))
    })
}

fn pick<'a>(asked: &Asked, foreseen: &'a Foreseen) -> Result<&'a Ahead, Problem> {
    match asked.by.as_deref() {
        None | Some("step") => Ok(&foreseen.steps),
        Some("hour") => foreseen.hours.as_ref().ok_or_else(|| {
            Problem::not_found("no whole hour was observed yet; ask `by=step` meanwhile")
        }),
        Some(other) => {
            Err(Problem::bad_request(format!("`by` is `step` or `hour`, not {other:?}")))
        }
    }
}

fn nothing_yet() -> Problem {
    Problem::not_found(
        "nothing was observed of it yet: the first forecast comes a step after the first record",
    )
}

/// A user's part of its zone's demand of late.
fn share_of(profile: &Profile, zone: &Foreseen, now_ms: u64) -> f64 {
    let mean = zone.recent.iter().sum::<f64>() / zone.recent.len().max(1) as f64;
    if mean > 0.0 { (f64::from(profile.rate_at(now_ms)) / mean).clamp(0.0, 1.0) } else { 0.0 }
}

/// A zone's outlook by a user's share. The zone's band is of what all users do together; one user's
/// requests come by chance besides, as often as a Poisson process of that rate says.
fn one_users(outlook: Outlook, share: f64, unit: f64, step_ms: u64) -> Outlook {
    let seconds = step_ms as f64 / 1e3;
    let chance = |rate: f64| (rate.max(0.0) / unit * seconds).sqrt() * unit / seconds;
    let widened = |(low, high): (f64, f64), deviations: f64| {
        let (low, high) = (low * share, high * share);
        ((low - deviations * chance(low)).max(0.0), high + deviations * chance(high))
    };
    Outlook {
        mean: outlook.mean * share,
        band80: widened(outlook.band80, BANDS[0]),
        band95: widened(outlook.band95, BANDS[1]),
    }
}

fn body(series: &Series, foreseen: &Foreseen, ahead: &Ahead, now_ms: u64) -> ForecastBody {
    let at = |step: usize| clock::rfc3339(ahead.from_ms + step as u64 * ahead.step_ms);
    let mut weights: Vec<WeightBody> = ahead
        .weights
        .iter()
        .map(|(model, weight)| WeightBody { model: (*model).to_owned(), weight: *weight })
        .collect();
    weights.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    let values = ahead.outlooks.iter().enumerate().map(|(step, outlook)| ValueBody {
        at: at(step),
        value: outlook.mean,
        band80: [outlook.band80.0, outlook.band80.1],
        band95: [outlook.band95.0, outlook.band95.1],
    });
    let coverage = ahead.coverage.iter().map(|coverage| CoverageBody {
        promised: coverage.promised,
        seen: coverage.seen,
        truths: coverage.truths as u64,
        broken: coverage.broken,
    });
    ForecastBody {
        zone: series.zone.clone(),
        service: series.service.clone(),
        resource: series.resource.name().to_owned(),
        unit: series.resource.unit().to_owned(),
        step_ms: ahead.step_ms,
        observed_until: clock::rfc3339(foreseen.observed_ms),
        data_age_ms: now_ms.saturating_sub(foreseen.observed_ms),
        observations: foreseen.observations as u64,
        recent: foreseen.recent.clone(),
        values: values.collect(),
        weights,
        coverage: coverage.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_band_is_the_zones_by_its_share_and_its_own_chance() {
        let zone = Outlook { mean: 100.0, band80: (80.0, 120.0), band95: (60.0, 140.0) };
        let user = one_users(zone, 0.01, 1.0, 60_000);
        assert!((user.mean - 1.0).abs() < 1e-9);
        // 0.8 a second are 48 a minute, and by chance 6.9 fewer or more.
        assert!((user.band80.0 - (0.8 - 1.2816 * 48_f64.sqrt() / 60.0)).abs() < 1e-9);
        assert!(user.band95.0 < user.band80.0 && user.band80.1 < user.band95.1);
        let none = one_users(zone, 0.0, 1.0, 60_000);
        assert_eq!((none.mean, none.band95), (0.0, (0.0, 0.0)));
    }
}
