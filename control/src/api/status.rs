//! The process and the installation at a glance, and what machines ask of it: liveness, readiness,
//! metrics, its own description.

use axum::{
    Json,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    entry::{Operator, Probe, View},
    problem::Problem,
};
use crate::{clock, metrics};

/// The table in force.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TableBody {
    /// Its number, `term.number`.
    pub version: String,
    /// The term in it.
    pub term: u64,
    /// The count in it.
    pub number: u64,
    /// When it was drawn up, RFC 3339.
    pub created: String,
    /// Its digest, 16 hexadecimal digits; equal tables share it.
    pub digest: String,
    /// Zones, those still leaving included.
    pub zones: usize,
    /// Services.
    pub services: usize,
    /// Client places.
    pub places: usize,
    /// Sessions owned elsewhere than their bucket.
    pub exceptions: usize,
    /// Directives whose outcome is not known.
    pub directives: usize,
}

/// A service.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ServiceBody {
    /// Its name.
    pub name: String,
    /// Its number in the table.
    pub id: u16,
    /// Whose it is.
    pub tenant: String,
    /// Hosts it answers for; none is any.
    pub hosts: Vec<String>,
    /// Path prefix it answers for.
    pub path: String,
    /// A session unseen for this long is over, milliseconds.
    pub session_idle_ms: u64,
}

/// All services.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ServicesBody {
    /// The services, by their number.
    pub services: Vec<ServiceBody>,
}

/// An attached proxy.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProxyBody {
    /// Its name.
    pub name: String,
    /// Its life, 16 hexadecimal digits.
    pub incarnation: String,
    /// Since when it is attached, RFC 3339.
    pub since: String,
    /// The newest table it has acknowledged.
    pub acked_version: String,
    /// When it did, RFC 3339.
    pub acked: String,
    /// Tables published since, of this term; absent if it still serves by one of another term.
    pub behind: Option<u64>,
    /// Its last refusal of a table, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_nack: Option<String>,
}

/// All attached proxies.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProxiesBody {
    /// The proxies, by name.
    pub proxies: Vec<ProxyBody>,
}

/// The installation at a glance. Those of some tenants are not told what is of all together.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatusBody {
    /// The version of this build.
    pub version: String,
    /// The term this process leads in.
    pub term: u64,
    /// When it started, RFC 3339.
    pub started: String,
    /// The table in force; absent until a document was taken.
    pub table: Option<TableBody>,
    /// The document's entity tag.
    pub document: Option<String>,
    /// Whether plans are carried out: `shadow` or `on`.
    pub act: Option<String>,
    /// Proxies attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxies: Option<usize>,
    /// Of those, serving by the newest table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxies_current: Option<usize>,
    /// Known sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u64>,
    /// Directives completed since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<u64>,
    /// Directives undone since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undone: Option<u64>,
}

/// The installation at a glance.
#[utoipa::path(get, path = "/v1/status", tag = "status",
    responses((status = 200, body = StatusBody)))]
pub async fn status(View(api, scope): View) -> Json<StatusBody> {
    let shared = &api.shared;
    let table = shared.published.table();
    let proxies = shared.roll.list();
    let newest = table.as_ref().map(|table| table.version());
    let current = proxies.iter().filter(|proxy| Some(proxy.acked) == newest);
    let act = table.as_ref().map(|table| match table.facts().policy.act {
        homing_wire::Act::Shadow => "shadow".to_owned(),
        homing_wire::Act::On => "on".to_owned(),
    });
    let all = scope.is_operator();
    let sessions = || shared.zones.read().iter().map(|zone| zone.living).sum();
    Json(StatusBody {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        term: shared.term,
        started: clock::rfc3339(shared.started_ms),
        table: table.as_ref().filter(|_| all).map(|table| table_body(table)),
        document: shared.document.read().as_ref().filter(|_| all).map(|one| one.etag.clone()),
        act,
        proxies_current: all.then(|| current.count()),
        proxies: all.then_some(proxies.len()),
        sessions: all.then(sessions),
        completed: all.then(|| shared.metrics.outcomes.get("completed")),
        undone: all.then(|| shared.metrics.outcomes.get("undone")),
    })
}

/// The table in force, summed up.
#[utoipa::path(get, path = "/v1/table", tag = "status",
    responses((status = 200, body = TableBody), (status = 404, body = Problem)))]
pub async fn table(Operator(api): Operator) -> Result<Json<TableBody>, Problem> {
    Ok(Json(table_body(&*api.table()?)))
}

/// The services.
#[utoipa::path(get, path = "/v1/services", tag = "status",
    responses((status = 200, body = ServicesBody), (status = 404, body = Problem)))]
pub async fn services(View(api, scope): View) -> Result<Json<ServicesBody>, Problem> {
    let table = api.table()?;
    let body = |(index, service): (usize, &homing_wire::Service)| ServiceBody {
        name: service.name.clone(),
        id: index as u16,
        tenant: service.tenant.clone(),
        hosts: service.matches.hosts.clone(),
        path: service.matches.path_prefix.clone(),
        session_idle_ms: service.session.idle_ms,
    };
    let services = table.facts().services.iter().enumerate();
    let services = services.filter(|(_, service)| scope.sees(service)).map(body).collect();
    Ok(Json(ServicesBody { services }))
}

/// The proxies that are attached.
#[utoipa::path(get, path = "/v1/proxies", tag = "status",
    responses((status = 200, body = ProxiesBody)))]
pub async fn proxies(Operator(api): Operator) -> Json<ProxiesBody> {
    let newest = api.shared.published.table().map(|table| table.version());
    let body = |proxy: crate::link::Attached| ProxyBody {
        behind: newest
            .filter(|newest| newest.term == proxy.acked.term)
            .map(|newest| newest.n.saturating_sub(proxy.acked.n)),
        name: proxy.name,
        incarnation: format!("{:016x}", proxy.incarnation.0),
        since: clock::rfc3339(proxy.since_ms),
        acked_version: proxy.acked.to_string(),
        acked: clock::rfc3339(proxy.acked_ms),
        last_nack: proxy.last_nack,
    };
    let proxies = api.shared.roll.list().into_iter().map(body).collect();
    Json(ProxiesBody { proxies })
}

/// Whether the process runs.
#[utoipa::path(get, path = "/livez", tag = "machines", responses((status = 200)))]
pub async fn livez() -> &'static str {
    "live\n"
}

/// Whether it leads: a document was taken and the lead answers.
#[utoipa::path(get, path = "/readyz", tag = "machines",
    responses((status = 200), (status = 503, body = Problem)))]
pub async fn readyz(Probe(api): Probe) -> Result<&'static str, Problem> {
    let unready = |detail: &str| {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Problem::new(status, "not-ready", "Not ready", detail)
    };
    if *api.stopping.borrow() {
        return Err(unready("control is stopping"));
    }
    if api.shared.published.table().is_none() {
        return Err(unready("no document was taken yet"));
    }
    Ok("ready\n")
}

/// Counters and gauges, in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "machines",
    responses((status = 200, content((String = "text/plain")))))]
pub async fn metrics(Operator(api): Operator) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics::render(&api.shared)).into_response()
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "machines",
    responses((status = 200, content((Object = "application/json")))))]
pub async fn openapi(View(api, _): View, _: HeaderMap) -> Response {
    let kind = "application/json";
    ([(header::CONTENT_TYPE, kind)], api.openapi.as_ref().clone()).into_response()
}

fn table_body(table: &homing_wire::PlacementTable) -> TableBody {
    let facts = table.facts();
    TableBody {
        version: table.version().to_string(),
        term: table.version().term,
        number: table.version().n,
        created: clock::rfc3339(table.created_ms()),
        digest: format!("{:016x}", table.digest()),
        zones: facts.zones.len(),
        services: facts.services.len(),
        places: facts.places.len(),
        exceptions: table.exceptions().len(),
        directives: table.directives().len(),
    }
}
