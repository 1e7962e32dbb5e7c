//! Scaling ahead of time, by region: what the rule of each round would want over a horizon, with an
//! event that only the operator knows of; and handing that event to the rounds themselves.

use std::time::Duration;

use axum::{
    Extension, Json,
    extract::Path,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use homing_plan::schedule::MULTIPLIER_MAX;
use homing_wire::{Act, Facts, document::units};

use super::{
    Api,
    audited::Dry,
    auth::Caller,
    body::Body,
    entry::{Steward, View},
    problem::Problem,
    sessions::idempotency_key,
};
use crate::{
    clock,
    scaling::{
        ScaleSettings,
        expected::{Answered, ExpectFault, ExpectedEvent, surge},
    },
    scope::Scope,
};

mod bodies;
mod predicted;

pub use bodies::*;
pub(super) use predicted::{groups, quantiles};

/// The furthest that is looked ahead: as far as forecasts reach.
const HORIZON_MAX: Duration = Duration::from_secs(48 * 3_600);
/// How long before its end an event may be told of.
const AHEAD_MS_MAX: u64 = 90 * 24 * 3_600_000;
/// Characters of an event's name.
const NAME_MAX: usize = 64;

/// Tells what a region would need over a horizon, and hands an expected event to its rounds.
#[utoipa::path(post, path = "/v1/regions/{region}/predictiveScale", tag = "scaling",
    request_body = PredictAsked,
    params(("region" = String, Path, description = "The region: a zone's name"),
        ("Idempotency-Key" = Option<String>, Header, description = "Required unless it is a dry \
            run; the same key has the same answer")),
    responses((status = 200, body = PredictBody), (status = 400, body = Problem),
        (status = 403, description = "A tenant may only ask dry", body = Problem),
        (status = 404, body = Problem), (status = 409, description = "Too many events are \
            expected", body = Problem),
        (status = 422, description = "The key was used for another request, or what is asked \
            cannot be", body = Problem)))]
pub async fn predictive_scale(
    View(api, scope): View,
    Extension(caller): Extension<Caller>,
    Path(region): Path<String>,
    headers: HeaderMap,
    Body(asked): Body<PredictAsked>,
) -> Result<Response, Problem> {
    let now_ms = clock::now_ms();
    let table = api.table()?;
    let facts = table.facts();
    if facts.zone_named(&region).is_none() {
        return Err(Problem::not_found(format!("there is no region {region:?}")));
    }
    if let Some(service) = &asked.service
        && !facts.services.iter().any(|known| known.name == *service && scope.sees(known))
    {
        return Err(Problem::not_found(format!("there is no service {service:?}")));
    }
    let horizon_ms = horizon(&asked.horizon)?;
    if asked.dry_run {
        let event = match &asked.expected_event {
            Some(event) => Some(event_of(event, &region, &asked, &caller, now_ms)?),
            None => None,
        };
        let body = predict(&api, &scope, facts, &region, &asked, (event, horizon_ms), now_ms);
        let mut response = Json(body).into_response();
        response.extensions_mut().insert(Dry);
        return Ok(response);
    }
    if !scope.is_operator() {
        let detail = "endpoints are paid for by the operators: ask with `dryRun: true`";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail));
    }
    apply(&api, facts, &region, &asked, (&caller, &headers, horizon_ms), now_ms).await
}

async fn apply(
    api: &Api,
    facts: &Facts,
    region: &str,
    asked: &PredictAsked,
    (caller, headers, horizon_ms): (&Caller, &HeaderMap, u64),
    now_ms: u64,
) -> Result<Response, Problem> {
    let Some(key) = idempotency_key(headers, caller)? else {
        let detail = "an event that is to be acted on needs the header Idempotency-Key";
        return Err(Problem::bad_request(detail));
    };
    let what = format!("{region} {}", serde_json::to_string(asked).unwrap_or_default());
    if let Some(before) = api.shared.expected.answered(&key) {
        if before.asked != what {
            return Err(reused());
        }
        let kind = [(axum::http::header::CONTENT_TYPE, "application/json")];
        return Ok((kind, before.answer).into_response());
    }
    let Some(event) = &asked.expected_event else {
        let detail = "each round scales by the forecast anyway; only an `expectedEvent` is new";
        return Err(unprocessable(detail));
    };
    let event = event_of(event, region, asked, caller, now_ms)?;
    let mut body = predict(
        api,
        &Scope::operator(),
        facts,
        region,
        asked,
        (Some(event.clone()), horizon_ms),
        now_ms,
    );
    if facts.policy.act != Act::On || body.groups.is_empty() {
        let mut response = Json(body).into_response();
        response.extensions_mut().insert(Dry);
        return Ok(response);
    }
    body.applied = true;
    "rounds scale by the event until it ends".clone_into(&mut body.note);
    let shared = api.shared.clone();
    let write = move || {
        let answer = |event: &ExpectedEvent| {
            body.event = Some(event_body(event));
            let answer = serde_json::to_string(&body).unwrap_or_default();
            Answered { key, asked: what, answer }
        };
        let mut given = String::new();
        let kept = shared.expected.expect(event, now_ms, |event| {
            let answered = answer(event);
            given.clone_from(&answered.answer);
            answered
        });
        kept.map(|event| (event, given))
    };
    let written = tokio::task::spawn_blocking(write).await.map_err(|_| crate::lead::Ended)?;
    let (event, answer) = written.map_err(expect_problem)?;
    let (by, zone, name) = (&caller.0, &event.zone, &event.name);
    tracing::info!(target: "audit", by, zone, name, id = event.id, "expects an event");
    let kind = [(axum::http::header::CONTENT_TYPE, "application/json")];
    Ok((kind, answer).into_response())
}

/// Events of a region that rounds scale by.
#[utoipa::path(get, path = "/v1/regions/{region}/events", tag = "scaling",
    params(("region" = String, Path, description = "The region: a zone's name")),
    responses((status = 200, body = EventsBody), (status = 404, body = Problem)))]
pub async fn events(
    View(api, scope): View,
    Path(region): Path<String>,
) -> Result<Json<EventsBody>, Problem> {
    let table = api.table()?;
    if table.facts().zone_named(&region).is_none() {
        return Err(Problem::not_found(format!("there is no region {region:?}")));
    }
    let events = api.shared.expected.of(&region, clock::now_ms());
    let seen = |event: &&ExpectedEvent| scope.sees_named(table.facts(), event.service.as_deref());
    Ok(Json(EventsBody { events: events.iter().filter(seen).map(event_body).collect() }))
}

/// Forgets an event; the next round no longer scales by it.
#[utoipa::path(delete, path = "/v1/regions/{region}/events/{id}", tag = "scaling",
    params(("region" = String, Path, description = "The region: a zone's name"),
        ("id" = u64, Path, description = "The event's number")),
    responses((status = 204), (status = 404, body = Problem)))]
pub async fn forget_event(
    Steward(api): Steward,
    Path((region, id)): Path<(String, u64)>,
) -> Result<StatusCode, Problem> {
    let shared = api.shared.clone();
    let forget = move || shared.expected.forget(&region, id);
    let forgotten = tokio::task::spawn_blocking(forget).await.map_err(|_| crate::lead::Ended)?;
    match forgotten.map_err(|fault| expect_problem(fault.into()))? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::not_found(format!("no event {id} is expected there"))),
    }
}

fn predict(
    api: &Api,
    scope: &Scope,
    facts: &Facts,
    region: &str,
    asked: &PredictAsked,
    (event, horizon_ms): (Option<ExpectedEvent>, u64),
    now_ms: u64,
) -> PredictBody {
    let is_of = |of: &ScaleSettings| {
        of.zone == region
            && (asked.service.is_none() || of.service == asked.service)
            && scope.sees_named(facts, of.service.as_deref())
    };
    let groups = groups(api, is_of, event.as_ref().map(surge), horizon_ms, now_ms);
    let acts = facts.policy.act == Act::On;
    let note = match (groups.is_empty(), acts) {
        (true, _) => "nothing of this is scaled through a provider: control's settings list none",
        (_, false) => "act: shadow: this is only told, and nothing was handed to the rounds",
        (_, true) => "this is only told",
    };
    PredictBody {
        region: region.to_owned(),
        from: clock::rfc3339(now_ms),
        until: clock::rfc3339(now_ms.saturating_add(horizon_ms)),
        dry_run: asked.dry_run,
        applied: false,
        note: note.to_owned(),
        event: event.as_ref().map(event_body),
        groups,
    }
}

fn event_of(
    event: &EventAsked,
    region: &str,
    asked: &PredictAsked,
    caller: &Caller,
    now_ms: u64,
) -> Result<ExpectedEvent, Problem> {
    let time = |name: &str, text: &str| {
        clock::from_rfc3339(text).ok_or_else(|| {
            let words = format!("`{name}` is no time: {text:?}; write 2026-11-27T18:00:00Z");
            unprocessable(words)
        })
    };
    let (starts_ms, ends_ms) = (time("starts", &event.starts)?, time("ends", &event.ends)?);
    if starts_ms >= ends_ms || ends_ms <= now_ms || ends_ms - now_ms > AHEAD_MS_MAX {
        let words = "an event ends after it starts, after now, and within 90 days";
        return Err(unprocessable(words));
    }
    if !(1.0..=MULTIPLIER_MAX).contains(&event.multiplier) {
        let words = format!("`multiplier` is 1 to {MULTIPLIER_MAX}, not {}", event.multiplier);
        return Err(unprocessable(words));
    }
    let length = event.name.chars().count();
    if length == 0 || length > NAME_MAX || event.name.chars().any(char::is_control) {
        return Err(unprocessable(format!("`name` is 1 to {NAME_MAX} printable characters")));
    }
    Ok(ExpectedEvent {
        id: 0,
        zone: region.to_owned(),
        service: asked.service.clone(),
        name: event.name.clone(),
        starts_ms,
        ends_ms,
        multiplier: event.multiplier,
        by: caller.0.clone(),
    })
}

fn event_body(event: &ExpectedEvent) -> EventBody {
    EventBody {
        id: event.id,
        service: event.service.clone(),
        name: event.name.clone(),
        starts: clock::rfc3339(event.starts_ms),
        ends: clock::rfc3339(event.ends_ms),
        multiplier: event.multiplier,
        by: event.by.clone(),
    }
}

pub(super) fn horizon(text: &str) -> Result<u64, Problem> {
    let parsed = units::TIME.parse(text).map(Duration::from_micros);
    let horizon = parsed.ok().filter(|time| !time.is_zero() && *time <= HORIZON_MAX);
    let horizon = horizon.ok_or_else(|| {
        unprocessable(format!("`horizon` is no time up to 48h: {text:?}; write 30m"))
    })?;
    Ok(horizon.as_millis() as u64)
}

fn unprocessable(detail: impl Into<String>) -> Problem {
    let title = "What is asked cannot be";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", title, detail)
}

fn reused() -> Problem {
    crate::lead::MoveFault::KeyReused.into()
}

fn expect_problem(fault: ExpectFault) -> Problem {
    match fault {
        ExpectFault::Full => Problem::conflict(fault.to_string()),
        ExpectFault::Disk(_) => {
            tracing::error!(%fault, "an event is not kept");
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Problem::new(status, "disk", "It cannot be kept", "the log says why")
        }
    }
}
