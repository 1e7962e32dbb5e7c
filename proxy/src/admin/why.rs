//! `/why`: where a session lives, who says so, and every term of the choice.

use axum::{
    Json,
    extract::{Query, State},
};
use homing_session::steer::{Standing, Subject, steer_explained};
use homing_wire::{OutcomeEnd, ServiceId, SessionKey, ZoneId, table::Facts};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    AdminParts, Parts, Problem, key_named,
    pages::{tenure_name, zone_name},
};

#[derive(Deserialize)]
pub(super) struct WhyQuery {
    key: Option<String>,
    session: Option<String>,
}

pub(super) async fn why(
    State(parts): Parts,
    Query(query): Query<WhyQuery>,
) -> Result<Json<Value>, Problem> {
    let text = query.key.or(query.session);
    let text = text.ok_or_else(|| Problem::bad_request("ask with ?key= and a session key"))?;
    Ok(Json(explain(&parts, key_named(&text)?)))
}

fn explain(parts: &AdminParts, key: SessionKey) -> Value {
    let live = parts.live.load_full();
    let facts = live.table.facts();
    let home = parts.gates.home(&live, key);
    let known = parts.gates.ownership(home.zone, key);
    let service = parts.gates.service_of(home.zone, key);
    let subject = Subject {
        standing: Standing::Settled(key),
        service: service.unwrap_or(ServiceId(0)),
        place: None,
        affinity: 1_000,
    };
    let explained =
        steer_explained(&live.placement, &parts.views.load(), Some(home), &subject, key.low64());
    let zones: Vec<_> = explained
        .zones
        .iter()
        .enumerate()
        .map(|(index, (terms, excluded))| {
            json!({
                "zone": zone_name(facts, ZoneId(index as u8)),
                "distance_us": terms.distance_us,
                "price_us": terms.price_us,
                "load_us": terms.load_us,
                "prestage_us": terms.prestage_us,
                "total_us": terms.total_us(),
                "excluded": excluded.map(|excluded| excluded.name()),
            })
        })
        .collect();
    let bucket = live.placement.bucket_home(key.bucket());
    let choice = match &explained.choice {
        Ok(choice) => json!({
            "zone": zone_name(facts, choice.zone),
            "reason": choice.reason.name(),
        }),
        Err(unavailable) => json!({ "unavailable": unavailable.to_string() }),
    };
    json!({
        "session": key.to_string(),
        "home": { "zone": zone_name(facts, home.zone), "epoch": home.epoch.0 },
        "choice": choice,
        "remembered": known.map(|known| tenure_name(known.tenure())),
        "service": service.and_then(|id| facts.services.get(id.index())).map(|s| s.name.as_str()),
        "in_flight": parts.gates.in_flight(home.zone, key),
        "bucket": {
            "number": key.bucket().0,
            "zone": zone_name(facts, bucket.zone),
            "epoch": bucket.epoch.0,
        },
        "exception": live.table.exceptions().get(&key).map(|own| json!({
            "zone": zone_name(facts, own.zone),
            "epoch": own.epoch.0,
        })),
        "directive": live.table.directives().values().find(|d| d.key == key).map(|d| json!({
            "directive": d.id.0,
            "to": zone_name(facts, d.to),
            "reason": d.reason.name(),
        })),
        "moves": moves(parts, facts, key),
        "zones_for_a_new_session": zones,
        "table": live.table.version().to_string(),
    })
}

/// The session's last moves, the latest first.
fn moves(parts: &AdminParts, facts: &Facts, key: SessionKey) -> Vec<Value> {
    let all = parts.outcomes.last(usize::MAX);
    let its = all.iter().filter(|ended| ended.directive.key == key).take(10);
    its.map(|ended| {
        let (outcome, why) = match &ended.end {
            OutcomeEnd::Completed(_) => ("completed", None),
            OutcomeEnd::Undone { why, .. } => ("undone", Some(why.name())),
        };
        json!({
            "directive": ended.directive.id.0,
            "from": zone_name(facts, ended.directive.from),
            "to": zone_name(facts, ended.directive.to),
            "reason": ended.directive.reason.name(),
            "outcome": outcome,
            "why": why,
            "at_ms": ended.at_ms,
        })
    })
    .collect()
}
