//! The document and the policy in it: read in YAML or JSON, replaced under a condition, tried dry.

use axum::{
    Extension,
    extract::Query,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use homing_wire::document::{self, Document, Faults, tree::Node};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Api, auth::Caller, entry::Operator, problem::Problem};
use crate::{
    lead::{Command, Push, Pushed},
    shared::DocumentVersion,
};

/// Options of a change.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// Tell what would change, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a push did, or would do.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PushedBody {
    /// Whether this was a dry run.
    pub dry_run: bool,
    /// The entity tag of the document in force now.
    pub etag: Option<String>,
    /// Whether the document differs from the one that was in force.
    pub changed: bool,
    /// The table that shows it, `term.number`; absent for a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_version: Option<String>,
    /// Zones that are new.
    pub zones_added: Vec<String>,
    /// Zones that are gone from the document and stay until their sessions are handed over.
    pub zones_leaving: Vec<String>,
    /// Buckets that change hands, of 65,536.
    pub buckets_moved: u64,
    /// Known sessions that keep their home although their bucket moves.
    pub sessions_pinned: u64,
}

/// The document in force, as it was written out when it was taken.
#[utoipa::path(get, path = "/v1/document", tag = "document",
    responses(
        (status = 200, description = "The document, as YAML, or as JSON if `Accept` asks for it",
            content((String = "application/yaml"), (Object = "application/json")),
            headers(("ETag" = String, description = "To be sent back as If-Match"))),
        (status = 404, description = "No document was taken yet", body = Problem),
    ))]
pub async fn get_document(
    Operator(api): Operator,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let version = current(&api)?;
    Ok(rendered(&version, &version.document.to_node(), &headers))
}

/// Replaces the document.
#[utoipa::path(put, path = "/v1/document", tag = "document", params(Options,
        ("If-Match" = Option<String>, Header, description = "The entity tag that is replaced; \
            required once there is a document")),
    request_body(content((String = "application/yaml"), (Object = "application/json"))),
    responses(
        (status = 200, description = "Taken, or told for a dry run", body = PushedBody),
        (status = 412, description = "Another document is in force", body = Problem),
        (status = 422, description = "The document has faults; all are listed", body = Problem),
        (status = 428, description = "If-Match is missing", body = Problem),
    ))]
pub async fn put_document(
    Operator(api): Operator,
    Extension(caller): Extension<Caller>,
    Query(options): Query<Options>,
    headers: HeaderMap,
    body: String,
) -> Result<Response, Problem> {
    check_type(&headers)?;
    let document = read(body).await?;
    push(&api, caller, options, &headers, document, "document").await
}

/// The policy in force.
#[utoipa::path(get, path = "/v1/policy", tag = "document",
    responses(
        (status = 200, description = "The policy, as JSON, or as YAML if `Accept` asks for it",
            content((Object = "application/json"), (String = "application/yaml")),
            headers(("ETag" = String, description = "The document's entity tag"))),
        (status = 404, description = "No document was taken yet", body = Problem),
    ))]
pub async fn get_policy(Operator(api): Operator, headers: HeaderMap) -> Result<Response, Problem> {
    let version = current(&api)?;
    let node = version.document.to_node();
    let policy = node.get("policy").ok_or_else(|| Problem::not_found("there is no policy"))?;
    Ok(rendered(&version, policy, &headers))
}

/// Replaces the policy and leaves the rest of the document as it is.
#[utoipa::path(put, path = "/v1/policy", tag = "document", params(Options,
        ("If-Match" = String, Header, description = "The document's entity tag")),
    request_body(content((Object = "application/json"), (String = "application/yaml"))),
    responses(
        (status = 200, description = "Taken, or told for a dry run", body = PushedBody),
        (status = 404, description = "No document was taken yet", body = Problem),
        (status = 412, description = "Another document is in force", body = Problem),
        (status = 422, description = "The policy has faults; all are listed", body = Problem),
        (status = 428, description = "If-Match is missing", body = Problem),
    ))]
pub async fn put_policy(
    Operator(api): Operator,
    Extension(caller): Extension<Caller>,
    Query(options): Query<Options>,
    headers: HeaderMap,
    body: String,
) -> Result<Response, Problem> {
    check_type(&headers)?;
    let version = current(&api)?;
    let policy = document::parse_node(&body)?;
    let mut node = version.document.to_node();
    match node.get_mut("policy") {
        Some(place) => *place = policy,
        None => return Err(Problem::not_found("there is no policy")),
    }
    let document = Document::from_node(&node)?;
    push(&api, caller, options, &headers, document, "policy").await
}

fn current(api: &Api) -> Result<std::sync::Arc<DocumentVersion>, Problem> {
    let version = api.shared.document.read().clone();
    version.ok_or_else(|| Problem::not_found("no document was taken yet: PUT /v1/document"))
}

/// Reads a document where its size cannot keep other requests waiting.
async fn read(text: String) -> Result<Document, Problem> {
    let reading =
        tokio::task::spawn_blocking(move || -> Result<Document, Faults> { Document::parse(&text) });
    let read = reading.await.map_err(|_| Problem::bad_request("the document cannot be read"))?;
    Ok(read?)
}

async fn push(
    api: &Api,
    caller: Caller,
    options: Options,
    headers: &HeaderMap,
    document: Document,
    what: &'static str,
) -> Result<Response, Problem> {
    let yaml = serde_yaml::to_string(&document.to_node())
        .map_err(|fault| Problem::bad_request(fault.to_string()))?;
    let if_match = headers.get(header::IF_MATCH).map(|value| {
        let tags = value.to_str().unwrap_or_default().split(',');
        tags.map(|tag| tag.trim().to_owned()).collect()
    });
    let push = Push { document, yaml, if_match, dry_run: options.dry_run, by: caller.0.clone() };
    let pushed = api.lead.ask(|reply| Command::Push(Box::new(push), reply)).await??;
    if !options.dry_run && pushed.changed {
        tracing::info!(target: "audit", by = caller.0, what, etag = ?pushed.etag, "replaced");
    }
    Ok(answer(pushed, options.dry_run))
}

fn answer(pushed: Pushed, dry_run: bool) -> Response {
    let etag = pushed.etag.clone();
    let body = PushedBody {
        dry_run,
        etag: pushed.etag,
        changed: pushed.changed,
        table_version: pushed.version.map(|version| version.to_string()),
        zones_added: pushed.zones_added,
        zones_leaving: pushed.zones_leaving,
        buckets_moved: pushed.buckets_moved,
        sessions_pinned: pushed.sessions_pinned,
    };
    let mut response = (StatusCode::OK, axum::Json(body)).into_response();
    tag(&mut response, etag.as_deref());
    response
}

fn rendered(version: &DocumentVersion, node: &Node, headers: &HeaderMap) -> Response {
    if let Some(known) = headers.get(header::IF_NONE_MATCH)
        && known.to_str().is_ok_and(|known| known.contains(&version.etag))
    {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        tag(&mut response, Some(&version.etag));
        return response;
    }
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let wants_json = accept.is_some_and(|accept| {
        let json = accept.find("json");
        let yaml = accept.find("yaml");
        json.is_some_and(|json| yaml.is_none_or(|yaml| json < yaml))
    });
    let (kind, body) = match wants_json {
        true => ("application/json", serde_json::to_string_pretty(node).unwrap_or_default()),
        false => ("application/yaml", serde_yaml::to_string(node).unwrap_or_default()),
    };
    let mut response = ([(header::CONTENT_TYPE, kind)], body).into_response();
    tag(&mut response, Some(&version.etag));
    response
}

fn tag(response: &mut Response, etag: Option<&str>) {
    if let Some(value) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
        response.headers_mut().insert(header::ETAG, value);
    }
}

/// YAML is a superset of JSON, so one reader takes both; anything else is refused.
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_lowercase());
    let known = ["application/yaml", "application/x-yaml", "text/yaml", "application/json"];
    match kind {
        Some(kind) if known.contains(&kind.as_str()) => Ok(()),
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            "The content type is not read",
            "send application/yaml or application/json",
        )),
    }
}
