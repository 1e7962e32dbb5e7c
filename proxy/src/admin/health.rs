//! `/livez`: the process answers. `/readyz`: it should be sent requests.

use std::sync::atomic::Ordering::Relaxed;

use axum::{
    Json,
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::Parts;

pub(super) async fn live() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(parts): Parts, RawQuery(query): RawQuery) -> Response {
    let live = parts.live.load();
    let table = !live.is_void();
    // In a fleet requests are served by gates: before there are any, an edge can only refuse.
    let gates = parts.gates.seat().is_solo()
        || (live.table.facts().zones.iter().any(|zone| !zone.gates.is_empty())
            && parts.views.is_current());
    let staying = !parts.leaving.has_begun();
    let ready = table && gates && staying;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if !query.is_some_and(|query| query.split('&').any(|part| part.starts_with("verbose"))) {
        return (status, if ready { "ok\n" } else { "not ready\n" }).into_response();
    }
    let checks = json!({
        "ready": ready,
        "table_loaded": table,
        "gates_known": gates,
        "not_draining": staying,
        "control_attached": parts.attached.as_ref().map(|attached| attached.load(Relaxed)),
    });
    (status, Json(checks)).into_response()
}
