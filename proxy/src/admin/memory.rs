//! The memory store's door: an app without storage of its own keeps a session's state in the
//! proxy. It names the epoch it was asked at, so that what has moved on cannot be overwritten.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use homing_wire::Epoch;
use serde_json::json;

use super::{Parts, Problem, key_named, zone_named};

pub(super) async fn read(
    State(parts): Parts,
    Path((zone, key)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (zone, key) = (zone_named(&parts, &zone)?, key_named(&key)?);
    let (version, bytes) = parts
        .stores
        .memory()
        .read(zone, key)
        .ok_or_else(|| Problem::not_found("the session keeps no state here"))?;
    Ok(([("homing-state-version", version.to_string())], bytes).into_response())
}

pub(super) async fn write(
    State(parts): Parts,
    Path((zone, key)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let (zone, key) = (zone_named(&parts, &zone)?, key_named(&key)?);
    let epoch = headers.get("homing-epoch").and_then(|epoch| epoch.to_str().ok()?.parse().ok());
    let epoch = epoch.ok_or_else(|| {
        Problem::bad_request("send homing-epoch as it came with the session's request")
    })?;
    let version = parts
        .stores
        .memory()
        .write(zone, key, Epoch(epoch), body)
        .map_err(|refused| Problem::conflict(refused.to_string()))?;
    Ok(Json(json!({ "version": version })).into_response())
}
