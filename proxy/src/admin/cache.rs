//! The gate's cache: what it holds and what of it was fetched ahead of sessions; purges.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Parts, Problem};
use crate::telemetry::prewarm::Skipped;

/// What to forget: one URI of a service, in every variant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Purge {
    /// `tenant/service`.
    service: String,
    host: String,
    /// Path and query, as requests have them.
    path: String,
}

pub(super) async fn purge(
    State(parts): Parts,
    Json(Purge { service, host, path }): Json<Purge>,
) -> Result<Json<Value>, Problem> {
    let live = parts.live.load();
    let facts = live.table.facts();
    let found = facts.services.iter().find(|known| {
        service.split_once('/') == Some((known.tenant.as_str(), known.name.as_str()))
    });
    let Some(found) = found else {
        let known: Vec<_> =
            facts.services.iter().map(|s| format!("{}/{}", s.tenant, s.name)).collect();
        let detail = format!("no service {service:?}; the services are {}", known.join(", "));
        return Err(Problem::not_found(detail));
    };
    let zones = facts.zones.iter().map(|zone| zone.name.as_str());
    let forgotten = parts.cache.purge(found, zones, &host, &path);
    Ok(Json(json!({ "forgotten": forgotten })))
}

/// What is kept, and whether fetching ahead is worth it.
pub(super) async fn show(State(parts): Parts) -> Json<Value> {
    let counts = parts.prewarm.counts();
    let skipped = Skipped::ALL.map(|why| (why.name().to_owned(), counts.skipped(why).into()));
    Json(json!({
        "objects": parts.cache.store.len(),
        "bytes": parts.cache.store.bytes(),
        "prewarm": {
            "waiting": parts.prewarm.waiting(),
            "offered": counts.offered.get(),
            "fetched": counts.fetched.get(),
            "bytes": counts.bytes.get(),
            "used": counts.used.get(),
            "wasted": counts.wasted.get(),
            "connections": counts.connections.get(),
            "lists_refused": counts.lists_refused.get(),
            "skipped": Map::from_iter(skipped),
        },
    }))
}

pub(super) async fn clear(State(parts): Parts) -> Json<Value> {
    let forgotten = parts.cache.store.len();
    parts.cache.store.clear();
    Json(json!({ "forgotten": forgotten }))
}
