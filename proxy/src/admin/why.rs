//! `/why`: where a session lives, who says so, and every term of the choice.

use axum::{
    Json,
    extract::{Query, State},
};
use homing_session::{
    affinity::{Evidence, affinity},
    steer::{DistanceFrom, Standing, Subject, ZoneView, steer_explained},
};
use homing_wire::{OutcomeEnd, PlaceId, ServiceId, SessionKey, StateSpec, ZoneId, table::Facts};
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
    let session = parts.gates.session(home.zone, key);
    let service = session.map(|session| session.service);
    let place = session.and_then(|session| session.place);
    let subject = Subject {
        standing: Standing::Settled(key),
        service: service.unwrap_or(ServiceId(0)),
        place,
        affinity: 1_000,
    };
    let view = parts.views.load_full();
    let explained = steer_explained(&live.placement, &view, Some(home), &subject, key.low64());
    let stateful = service
        .and_then(|id| facts.services.get(id.index()))
        .is_some_and(|service| service.state != StateSpec::Stateless);
    let belonging = |zone| belonging(&view, place, stateful.then_some(home.zone), zone);
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
                "drag_us": terms.drag_us,
                "total_us": terms.total_us(),
                "excluded": excluded.map(|excluded| excluded.name()),
                "affinity": belonging(terms.zone),
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
        "place": place.and_then(|id| facts.places.get(id.index())).map(|p| p.name.as_str()),
        "service": service.and_then(|id| facts.services.get(id.index())).map(|s| s.name.as_str()),
        "hot_objects": parts.prewarm.objects_of(key),
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

/// How much the session belongs in a zone, by what is known here: where its client is and where
/// its state is. What control knows besides is in its own explanation.
fn belonging(
    view: &ZoneView,
    place: Option<PlaceId>,
    state_in: Option<ZoneId>,
    zone: ZoneId,
) -> Value {
    let rtt_us = |zone| match view.distances.rtt_us(place, zone) {
        (_, DistanceFrom::Unknown) => None,
        (rtt_us, DistanceFrom::Place | DistanceFrom::Edge) => Some(rtt_us),
    };
    let zones = (0..view.zones.len()).map(|index| ZoneId(index as u8));
    let nearest = zones.filter_map(rtt_us).min();
    let affinity = affinity(&Evidence {
        rtt_us: rtt_us(zone).zip(nearest),
        data_bytes: state_in.map(|home| (u64::from(home == zone), 1)),
        ..Evidence::default()
    });
    let terms = affinity.terms().into_iter().filter_map(|(name, weight, term)| {
        Some((name.to_owned(), json!({ "weight": weight, "score": term? })))
    });
    json!({ "score": affinity.score, "terms": terms.collect::<serde_json::Map<_, _>>() })
}

/// The session's last moves, the latest first.
fn moves(parts: &AdminParts, facts: &Facts, key: SessionKey) -> Vec<Value> {
    let all = parts.outcomes.last(usize::MAX);
    let its = all.iter().filter(|ended| ended.directive.key == key).take(10);
    its.map(|ended| {
        let (outcome, why, detail) = match &ended.end {
            OutcomeEnd::Completed(_) => ("completed", None, None),
            OutcomeEnd::Undone { why, detail } => ("undone", Some(why.name()), Some(detail)),
        };
        json!({
            "directive": ended.directive.id.0,
            "from": zone_name(facts, ended.directive.from),
            "to": zone_name(facts, ended.directive.to),
            "reason": ended.directive.reason.name(),
            "outcome": outcome,
            "why": why,
            "detail": detail,
            "at_ms": ended.at_ms,
        })
    })
    .collect()
}
