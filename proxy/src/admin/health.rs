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
    let table = !parts.live.load().is_void();
    let staying = !parts.leaving.has_begun();
    let ready = table && staying;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if !query.is_some_and(|query| query.split('&').any(|part| part.starts_with("verbose"))) {
        return (status, if ready { "ok\n" } else { "not ready\n" }).into_response();
    }
    let checks = json!({
        "ready": ready,
        "table_loaded": table,
        "not_draining": staying,
        "control_attached": parts.attached.as_ref().map(|attached| attached.load(Relaxed)),
    });
    (status, Json(checks)).into_response()
}
