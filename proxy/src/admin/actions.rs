//! What operators order: moves, drains, leaving.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;

use super::{AdminParts, Parts, Problem, accepted, done, key_named, zone_named};
use crate::local_authority::Order;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MoveTo {
    zone: String,
}

pub(super) async fn move_session(
    State(parts): Parts,
    Path(key): Path<String>,
    Json(MoveTo { zone }): Json<MoveTo>,
) -> Result<Response, Problem> {
    let key = key_named(&key)?;
    let to = zone_named(&parts, &zone)?;
    let directive = order(&parts, |reply| Order::Move { key, to, reply }).await?;
    let directive = directive.map_err(|refused| Problem::conflict(refused.to_string()))?;
    Ok(accepted(json!({ "directive": directive.0, "session": key.to_string(), "zone": zone })))
}

pub(super) async fn drain_zone(
    State(parts): Parts,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let zone = zone_named(&parts, &name)?;
    order(&parts, |reply| Order::Drain { zone, reply })
        .await?
        .map_err(|refused| Problem::conflict(refused.to_string()))?;
    Ok(accepted(super::pages::progress(&parts, zone)))
}

pub(super) async fn open_zone(
    State(parts): Parts,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let zone = zone_named(&parts, &name)?;
    order(&parts, |reply| Order::Open { zone, reply })
        .await?
        .map_err(|refused| Problem::conflict(refused.to_string()))?;
    Ok(done())
}

pub(super) async fn drain_process(State(parts): Parts) -> Response {
    parts.leaving.ask();
    accepted(json!({ "leaving": true })).into_response()
}

async fn order<T>(
    parts: &Arc<AdminParts>,
    make: impl FnOnce(oneshot::Sender<T>) -> Order,
) -> Result<T, Problem> {
    let orders = parts.orders.as_ref().ok_or_else(Problem::under_control)?;
    let (reply, answer) = oneshot::channel();
    let leaving = || Problem::unavailable("the process is leaving");
    orders.send(make(reply)).await.map_err(|_| leaving())?;
    answer.await.map_err(|_| leaving())
}
