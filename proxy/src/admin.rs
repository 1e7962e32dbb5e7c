//! The operator's listener: health, metrics, why, sessions, placement, moves and drains. Loopback
//! by default; elsewhere every request but the health checks needs the bearer token. Errors are
//! `application/problem+json`.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use homing_wire::ZoneId;
use serde_json::json;
use subtle::ConstantTimeEq as _;
use tokio::sync::mpsc;

use crate::{
    drain::Leaving,
    gates::Gates,
    handoff::Stores,
    http::{cache::GateCache, edge::EdgeRules, zone_view::ZoneViews},
    live::LiveTable,
    local_authority::Order,
    outcomes::Outcomes,
    prewarm::Prewarm,
    telemetry::metrics::{Exposition, Gauges},
};

mod actions;
mod cache;
mod health;
mod key;
mod memory;
mod pages;
mod problem;
mod why;

use problem::Problem;

/// What the pages show and the actions act on.
#[derive(Clone)]
pub struct AdminParts {
    /// The proxy's name.
    pub name: String,
    /// The table in force.
    pub live: Arc<LiveTable>,
    /// The gates.
    pub gates: Arc<Gates>,
    /// Answers that are kept.
    pub cache: Arc<GateCache>,
    /// What is fetched ahead of sessions.
    pub prewarm: Arc<Prewarm>,
    /// How session keys are read.
    pub rules: Arc<ArcSwap<EdgeRules>>,
    /// Health and load of the zones.
    pub views: Arc<ZoneViews>,
    /// The stores; of them, the memory store is reached through here.
    pub stores: Arc<Stores>,
    /// What became of directives.
    pub outcomes: Arc<Outcomes>,
    /// Where moves and drains are ordered; `None` under control, which is then asked instead.
    pub orders: Option<mpsc::Sender<Order>>,
    /// Whether the process is leaving.
    pub leaving: Arc<Leaving>,
    /// Whether control is attached; `None` without control.
    pub attached: Option<Arc<AtomicBool>>,
    /// Handoffs under way.
    pub under_way: Arc<AtomicU64>,
    /// The token every request must carry, if there is one.
    pub token: Option<String>,
}

impl std::fmt::Debug for AdminParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminParts").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Gauges for AdminParts {
    fn resident(&self, zone: ZoneId) -> u64 {
        self.gates.counts(zone).homes
    }

    fn held(&self) -> u64 {
        self.gates.holds().held().into()
    }

    fn handoffs_under_way(&self) -> u64 {
        self.under_way.load(Relaxed)
    }

    fn control_attached(&self) -> Option<bool> {
        self.attached.as_ref().map(|attached| attached.load(Relaxed))
    }
}

type Parts = State<Arc<AdminParts>>;

/// Answers operators for as long as it is polled.
pub async fn serve(socket: TcpListener, parts: AdminParts, exposition: Arc<Exposition>) {
    let listener = match tokio::net::TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the admin listener cannot be served"),
    };
    let served = axum::serve(listener, router(Arc::new(parts), exposition)).await;
    if let Err(error) = served {
        tracing::error!(%error, "the admin listener has failed");
    }
}

fn router(parts: Arc<AdminParts>, exposition: Arc<Exposition>) -> Router {
    let metrics = move || {
        let page = exposition.render();
        async move {
            match page {
                Ok(page) => {
                    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                    ([(header::CONTENT_TYPE, kind)], page).into_response()
                }
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
    };
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/why", get(why::why))
        .route("/key", post(key::key))
        .route("/sessions", get(pages::sessions))
        .route("/sessions/{key}/move", post(actions::move_session))
        .route("/placement", get(pages::placement))
        .route("/directives", get(pages::directives))
        .route("/outcomes", get(pages::outcomes))
        .route("/zones/{name}/drain", get(pages::drain).post(actions::drain_zone))
        .route("/zones/{name}/open", post(actions::open_zone))
        .route("/cache", get(cache::show).delete(cache::clear))
        .route("/cache/purge", post(cache::purge))
        .route("/drain", post(actions::drain_process))
        .route("/memory/{zone}/{key}", get(memory::read).put(memory::write))
        .layer(middleware::from_fn_with_state(Arc::clone(&parts), guard));
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .merge(guarded)
        .fallback(async || Problem::not_found("no such page; see /placement, /sessions, /why"))
        .with_state(parts)
}

/// Lets in whoever carries the token, if there is one.
async fn guard(State(parts): Parts, request: Request, next: Next) -> Response {
    if let Some(token) = &parts.token {
        let given = request.headers().get(header::AUTHORIZATION);
        let given = given.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        if !given.is_some_and(|given| bool::from(given.ct_eq(token.as_bytes()))) {
            return Problem::unauthorised().into_response();
        }
    }
    next.run(request).await
}

/// A zone named in a path.
fn zone_named(parts: &AdminParts, name: &str) -> Result<ZoneId, Problem> {
    let live = parts.live.load();
    let facts = live.table.facts();
    facts.zone_named(name).ok_or_else(|| {
        let known: Vec<_> = facts.zones.iter().map(|zone| zone.name.as_str()).collect();
        Problem::not_found(format!("no zone {name:?}; the zones are {}", known.join(", ")))
    })
}

/// A session key named in a path or query.
fn key_named(text: &str) -> Result<homing_wire::SessionKey, Problem> {
    text.parse().map_err(|_| Problem::bad_request("a session key is 32 hexadecimal digits"))
}

fn accepted(what: serde_json::Value) -> Response {
    (StatusCode::ACCEPTED, Json(what)).into_response()
}

fn done() -> Response {
    Json(json!({ "ok": true })).into_response()
}
