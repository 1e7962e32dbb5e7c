//! The REST API, on a listener of its own. Answers come from shared views; changes go to the lead
//! and are answered when they are durable. Its OpenAPI description is made from these very routes.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use homing_wire::{PlacementTable, SessionKey, limits::DOCUMENT_BYTES_MAX};
use tokio::sync::watch;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{audit::Audit, lead, scope::Scope, shared::Shared};

pub mod affinity;
pub mod anomalies;
pub mod audited;
pub mod auth;
pub mod body;
pub mod directives;
pub mod documents;
pub mod entry;
pub mod feedback;
pub mod forecasts;
pub mod pace;
pub mod problem;
pub mod regions;
pub mod scaling;
pub mod sessions;
pub mod status;
pub mod users;
pub mod zone_plan;
pub mod zones;

pub use pace::Pace;
pub use problem::{Problem, ProblemFault};

/// Bytes of a request body other than a document.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long a request may take. Changes wait for the disk, nothing waits for a proxy.
const REQUEST_WAIT: Duration = Duration::from_secs(30);

/// What every request is answered from.
#[derive(Clone, Debug)]
pub struct Api {
    shared: Arc<Shared>,
    lead: lead::Handle,
    tokens: Arc<Vec<auth::Token>>,
    pace: Arc<Pace>,
    audit: Arc<Audit>,
    stopping: watch::Receiver<bool>,
    openapi: Arc<String>,
}

impl Api {
    fn table(&self) -> Result<Arc<PlacementTable>, Problem> {
        let table = self.shared.published.table();
        table.ok_or_else(|| Problem::not_found("no document was taken yet: PUT /v1/document"))
    }

    /// Which of these sessions a caller may see: those whose service is of its tenants.
    async fn seen(&self, scope: &Scope, keys: Vec<SessionKey>) -> Result<Vec<bool>, Problem> {
        if scope.is_operator() || keys.is_empty() {
            return Ok(vec![true; keys.len()]);
        }
        let scope = scope.clone();
        Ok(self.lead.ask(|reply| lead::Command::Seen(scope, keys, reply)).await?)
    }

    /// Refuses a session that the caller may not see as one that nobody has heard of.
    async fn must_see(&self, scope: &Scope, key: SessionKey) -> Result<(), Problem> {
        let seen = self.seen(scope, vec![key]).await?;
        if seen == [true] { Ok(()) } else { Err(Problem::unheard_of()) }
    }
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Homing control",
    description = "Zones, services and policy; sessions, their homes and their moves.",
    license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
))]
struct Description;

fn described() -> (Router<entry::Held>, utoipa::openapi::OpenApi) {
    let documents = OpenApiRouter::new()
        .routes(routes!(documents::get_document, documents::put_document))
        .routes(routes!(documents::get_policy, documents::put_policy))
        .layer(DefaultBodyLimit::max(DOCUMENT_BYTES_MAX));
    let others = OpenApiRouter::new()
        .routes(routes!(zones::list))
        .routes(routes!(zones::get, zones::patch))
        .routes(routes!(zones::drain, zones::drain_progress))
        .routes(routes!(zones::open))
        .routes(routes!(scaling::of_zone))
        .routes(routes!(regions::predictive_scale))
        .routes(routes!(regions::events))
        .routes(routes!(regions::forget_event))
        .routes(routes!(forecasts::of_zone))
        .routes(routes!(zone_plan::of_zone))
        .routes(routes!(forecasts::of_user))
        .routes(routes!(anomalies::list))
        .routes(routes!(users::get, users::delete))
        .routes(routes!(sessions::why))
        .routes(routes!(sessions::move_session))
        .routes(routes!(directives::list))
        .routes(routes!(directives::get))
        .routes(routes!(directives::outcomes))
        .routes(routes!(directives::plan))
        .routes(routes!(feedback::feedback))
        .routes(routes!(audited::list))
        .routes(routes!(status::status))
        .routes(routes!(status::table))
        .routes(routes!(status::services))
        .routes(routes!(status::proxies))
        .routes(routes!(status::metrics))
        .routes(routes!(status::openapi))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    let probes =
        OpenApiRouter::new().routes(routes!(status::livez)).routes(routes!(status::readyz));
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(documents)
        .merge(others)
        .merge(probes)
        .split_for_parts()
}

/// The OpenAPI description, as it is served and checked in.
#[must_use]
pub fn openapi() -> String {
    let (_, description) = described();
    let mut text = description.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// The whole API.
pub fn router(
    shared: Arc<Shared>,
    lead: lead::Handle,
    tokens: Vec<auth::Token>,
    pace: Pace,
    audit: Audit,
    stopping: watch::Receiver<bool>,
) -> Router {
    let api = Api {
        shared,
        lead,
        tokens: Arc::new(tokens),
        pace: Arc::new(pace),
        audit: Arc::new(audit),
        stopping,
        openapi: Arc::new(openapi()),
    };
    let (router, _) = described();
    router
        // The same without the version, for callers that know only these.
        .route("/regions/{region}/predictiveScale", axum::routing::post(regions::predictive_scale))
        .route("/zones/{name}/plan", axum::routing::get(zone_plan::of_zone))
        .route("/zones/{name}/forecast", axum::routing::get(forecasts::of_zone))
        .route("/users/{user}/resourceForecast", axum::routing::get(forecasts::of_user))
        .fallback(async || entry::no_such_path())
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method",
                "Method not allowed",
                "the path does not take this method",
            )
        })
        .layer(middleware::from_fn(as_problem))
        .layer(middleware::from_fn_with_state(api.clone(), admit))
        .with_state(entry::Held::new(api))
}

/// Checks right and pace before anything is read, bounds the time, writes down what was to be
/// changed, and counts the answer.
async fn admit(State(api): State<Api>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // Probes must answer when everything else is refused, and they tell nothing.
    let is_probe = path == "/livez" || path == "/readyz";
    let response = if is_probe {
        next.run(request).await
    } else {
        let checked = auth::check(&api.tokens, request.method(), request.headers());
        let token = checked.as_ref().ok().map(|admitted| admitted.token);
        match checked {
            // Refusals are paced too: guessing is asking.
            _ if !api.pace.admit(token) => too_fast().into_response(),
            Err(problem) => problem.into_response(),
            Ok(admitted) => answer(&api, admitted, request, next).await,
        }
    };
    let class = match response.status().as_u16() / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    api.shared.metrics.requests.add(class);
    response
}

async fn answer(api: &Api, admitted: auth::Admitted, mut request: Request, next: Next) -> Response {
    let auth::Admitted { caller, scope, allowed, .. } = admitted;
    let entry = audited::begun(&request, &caller, &scope);
    let response = if !allowed {
        auth::reads_only().into_response()
    } else if let Err(problem) = claims_less_than_bound(&request) {
        problem.into_response()
    } else {
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(scope.clone());
        let answered = tokio::time::timeout(REQUEST_WAIT, next.run(request)).await;
        answered.unwrap_or_else(|_| too_slow().into_response())
    };
    if let Some(entry) = entry.map(|entry| audited::ended(entry, &scope, &response)) {
        audited::keep(api.audit.clone(), entry).await;
    }
    response
}

fn too_fast() -> Problem {
    let detail = "wait a second; each token has a pace of its own";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "pace", "Too many requests", detail)
}

/// Refuses a body by its claimed length, before any of it is waited for.
fn claims_less_than_bound(request: &Request) -> Result<(), Problem> {
    let takes_document = matches!(request.uri().path(), "/v1/document" | "/v1/policy");
    let bound = if takes_document { DOCUMENT_BYTES_MAX } else { BODY_BYTES_MAX };
    let claimed = request.headers().get(axum::http::header::CONTENT_LENGTH);
    let claimed = claimed.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if claimed.is_none_or(|bytes| bytes <= bound as u64) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        "The body is too large",
        format!("this path takes {bound} bytes"),
    ))
}

fn too_slow() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "timeout",
        "It took too long",
        "the request was not answered within 30 s; a change may have been made",
    )
}

/// Turns the plain-text refusals of the extractors into problem documents.
async fn as_problem(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let plain = response
        .headers()
        .get(axum::http::header::CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !(status.is_client_error() && plain) {
        return response;
    }
    let body = axum::body::to_bytes(response.into_body(), 4_096).await.unwrap_or(Bytes::new());
    let detail = String::from_utf8_lossy(&body).into_owned();
    let title = status.canonical_reason().unwrap_or("Refused");
    Problem::new(status, "bad-request", title, detail).into_response()
}
