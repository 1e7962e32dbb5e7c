//! What operators may look at: the placement, sessions, directives, outcomes, drains.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use homing_session::{gate::Tenure, roster::SessionSummary};
use homing_wire::{Intake, OutcomeEnd, ZoneId, table::Facts};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{AdminParts, Parts, Problem, zone_named};
use crate::handoff::Ended;

const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;
/// Exceptions shown with `?full`; the table itself is control's to serve.
const EXCEPTIONS_SHOWN: usize = 10_000;

#[derive(Deserialize)]
pub(super) struct PageQuery {
    cursor: Option<u64>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
pub(super) struct PlacementQuery {
    full: Option<String>,
}

pub(super) fn intake_name(intake: Intake) -> &'static str {
    match intake {
        Intake::Open => "open",
        Intake::Draining => "draining",
        Intake::Closed => "closed",
    }
}

pub(super) fn zone_name(facts: &Facts, zone: ZoneId) -> &str {
    facts.zones.get(zone.index()).map_or("unknown", |zone| zone.name.as_str())
}

pub(super) async fn sessions(State(parts): Parts, Query(query): Query<PageQuery>) -> Json<Value> {
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let page = parts.gates.page(query.cursor.unwrap_or(0), limit);
    let live = parts.live.load();
    let facts = live.table.facts();
    let lines: Vec<_> =
        page.sessions.iter().map(|(zone, session)| line(facts, *zone, session)).collect();
    Json(json!({ "sessions": lines, "next": page.next }))
}

fn line(facts: &Facts, zone: ZoneId, session: &SessionSummary) -> Value {
    let service = facts.services.get(session.service.index());
    json!({
        "session": session.key.to_string(),
        "zone": zone_name(facts, zone),
        "service": service.map(|service| service.name.as_str()),
        "place": session.place.and_then(|place| facts.places.get(place.index()))
            .map(|place| place.name.as_str()),
        "standing": tenure_name(session.ownership.tenure()),
        "epoch": session.ownership.epoch().0,
        "in_flight": session.in_flight,
        "last_seen_ms": session.last_seen_ms,
    })
}

pub(super) fn tenure_name(tenure: Tenure) -> &'static str {
    match tenure {
        Tenure::Away { .. } => "away",
        Tenure::Staged { .. } => "staged",
        Tenure::Owner => "home",
        Tenure::Frozen { .. } => "frozen",
        Tenure::Granted { .. } => "granted",
        Tenure::Retired { .. } => "retired",
    }
}

pub(super) async fn placement(
    State(parts): Parts,
    Query(query): Query<PlacementQuery>,
) -> Json<Value> {
    let live = parts.live.load_full();
    let (table, facts) = (&live.table, live.table.facts());
    let view = parts.views.load();
    let zones: Vec<_> = facts
        .zones
        .iter()
        .enumerate()
        .map(|(index, zone)| {
            let id = ZoneId(index as u8);
            let counts = parts.gates.counts(id);
            let state = view.zones.get(index).copied().unwrap_or_default();
            json!({
                "name": zone.name,
                "intake": intake_name(zone.intake),
                "buckets": live.placement.buckets_owned(id),
                "sessions": counts.homes,
                "in_flight": counts.in_flight,
                "capacity_sessions": zone.capacity.sessions,
                "load_permille": state.load_permille,
                "shadow_price_us": zone.shadow_price_us,
                "endpoints": zone.endpoints.iter().map(|e| e.address.as_str()).collect::<Vec<_>>(),
            })
        })
        .collect();
    let mut page = json!({
        "proxy": parts.name,
        "version": table.version().to_string(),
        "digest": format!("{:016x}", table.digest()),
        "created_ms": table.created_ms(),
        "authority": if parts.orders.is_some() { "local" } else { "control" },
        "services": facts.services.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
        "zones": zones,
        "exceptions": table.exceptions().len(),
        "directives": table.directives().len(),
    });
    if query.full.is_some()
        && let Some(page) = page.as_object_mut()
    {
        let exceptions = table.exceptions().iter().take(EXCEPTIONS_SHOWN).map(|(key, home)| {
            json!({
                "session": key.to_string(),
                "zone": zone_name(facts, home.zone),
                "epoch": home.epoch.0,
            })
        });
        page.insert("exception_list".to_owned(), exceptions.collect());
        let owners = table.buckets().zones();
        page.insert("bucket_zones".to_owned(), runs(facts, owners));
    }
    Json(page)
}

/// Owners of all buckets as runs: `[first, count, zone]`.
fn runs(facts: &Facts, owners: &[u8]) -> Value {
    let mut first = 0;
    let runs = owners.chunk_by(|a, b| a == b).map(|run| {
        let from = first;
        first += run.len();
        json!([from, run.len(), zone_name(facts, ZoneId(run[0]))])
    });
    runs.collect()
}

pub(super) async fn directives(State(parts): Parts) -> Json<Value> {
    let live = parts.live.load_full();
    let facts = live.table.facts();
    let lines = live.table.directives().values().take(PAGE_MAX).map(|directive| {
        json!({
            "directive": directive.id.0,
            "session": directive.key.to_string(),
            "from": zone_name(facts, directive.from),
            "to": zone_name(facts, directive.to),
            "epoch": directive.epoch.0,
            "reason": directive.reason.name(),
        })
    });
    let lines: Vec<_> = lines.collect();
    Json(json!({ "directives": lines, "open": live.table.directives().len() }))
}

pub(super) async fn outcomes(State(parts): Parts, Query(query): Query<PageQuery>) -> Json<Value> {
    let live = parts.live.load_full();
    let facts = live.table.facts();
    let last = parts.outcomes.last(query.limit.unwrap_or(PAGE).min(PAGE_MAX));
    let lines: Vec<_> = last.iter().map(|ended| outcome(facts, ended)).collect();
    Json(json!({ "outcomes": lines }))
}

fn outcome(facts: &Facts, ended: &Ended) -> Value {
    let directive = &ended.directive;
    let mut line = json!({
        "directive": directive.id.0,
        "session": directive.key.to_string(),
        "from": zone_name(facts, directive.from),
        "to": zone_name(facts, directive.to),
        "reason": directive.reason.name(),
        "at_ms": ended.at_ms,
    });
    let more = match &ended.end {
        OutcomeEnd::Completed(figures) => json!({
            "outcome": "completed",
            "epoch": figures.epoch.0,
            "pause_us": figures.pause_us,
            "held": figures.held,
            "state_bytes": figures.state_bytes,
            "cut_bytes": figures.cut_bytes,
            "rounds": figures.rounds,
            "total_us": figures.total_us,
        }),
        OutcomeEnd::Undone { why, detail } => json!({
            "outcome": "undone",
            "why": why.name(),
            "detail": detail,
        }),
    };
    if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
        line.extend(more);
    }
    line
}

pub(super) async fn drain(
    State(parts): Parts,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let zone = zone_named(&parts, &name)?;
    Ok(Json(progress(&parts, zone)).into_response())
}

/// How far a zone's drain is.
pub(super) fn progress(parts: &Arc<AdminParts>, zone: ZoneId) -> Value {
    let live = parts.live.load_full();
    let facts = live.table.facts();
    let intake = facts.zones.get(zone.index()).map_or("unknown", |zone| intake_name(zone.intake));
    let drain = parts.outcomes.drain(zone);
    json!({
        "zone": zone_name(facts, zone),
        "intake": intake,
        "sessions": parts.gates.counts(zone).homes,
        "buckets": live.placement.buckets_owned(zone),
        "drain": drain.map(|drain| json!({
            "asked_ms": drain.asked_ms,
            "total": drain.total,
            "moved": drain.moved,
            "remaining": drain.remaining,
            "under_way": drain.under_way,
            "stuck": drain.stuck,
            "eta_ms": drain.eta_ms,
            "done": drain.done,
        })),
    })
}
