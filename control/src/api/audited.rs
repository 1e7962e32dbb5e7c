//! What of a request goes into the audit log. The log is read here too.

use std::sync::Arc;

use axum::{
    Json,
    extract::{MatchedPath, Query, Request},
    http::{Method, StatusCode},
    response::Response,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    auth::Caller, directives::Page, documents::Options, entry::Operator, problem::Problem,
};
use crate::{
    audit::{Audit, AuditEntry},
    clock,
    scope::Scope,
};

/// Put by a handler into its response if nothing was changed because the body asked for no more
/// than an answer.
#[derive(Clone, Copy, Debug)]
pub struct Dry;

/// A page of the audit log.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditBody {
    /// Its entries, newest first.
    pub entries: Vec<AuditEntry>,
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// What changes were asked for, newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "status", params(Page),
    responses((status = 200, body = AuditBody), (status = 500, body = Problem)))]
pub async fn list(
    Operator(api): Operator,
    Query(page): Query<Page>,
) -> Result<Json<AuditBody>, Problem> {
    let (before, limit) = (page.cursor.unwrap_or(u64::MAX), page.limit());
    let audit = api.audit.clone();
    let read = tokio::task::spawn_blocking(move || audit.newest(before, limit + 1)).await;
    let unreadable = || {
        let (status, title) = (StatusCode::INTERNAL_SERVER_ERROR, "The audit log cannot be read");
        Problem::new(status, "audit", title, "the log says why")
    };
    let mut entries = match read {
        Ok(Ok(entries)) => entries,
        Ok(Err(fault)) => {
            tracing::error!(%fault, "the audit log could not be read for a request");
            return Err(unreadable());
        }
        Err(_) => return Err(unreadable()),
    };
    let is_more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().map(|last| last.seq).filter(|_| is_more);
    Ok(Json(AuditBody { entries, next }))
}

/// What is known of a change before it is tried; `None` for what only looks.
pub(super) fn begun(request: &Request, caller: &Caller, scope: &Scope) -> Option<AuditEntry> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return None;
    }
    let uri = request.uri();
    let dry = Query::<Options>::try_from_uri(uri).is_ok_and(|options| options.dry_run);
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    // Who is forgotten must not be remembered here.
    let path = match matched.filter(|path| path.contains("{user}")) {
        Some(path) => path,
        None => uri.path(),
    };
    let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok());
    Some(AuditEntry {
        seq: 0,
        at: String::new(),
        caller: caller.0.clone(),
        tenants: scope.tenants().map(str::to_owned).collect(),
        method: request.method().to_string(),
        path: path.to_owned(),
        outcome: if dry { "dry_run" } else { "accepted" }.to_owned(),
        status: 0,
        idempotency_key: key.map(str::to_owned),
    })
}

/// What became of it.
pub(super) fn ended(mut entry: AuditEntry, scope: &Scope, response: &Response) -> AuditEntry {
    let status = response.status();
    entry.at = clock::rfc3339(clock::now_ms());
    entry.status = status.as_u16();
    // What a tenant may not see is answered as what is not there.
    let hidden = status == StatusCode::NOT_FOUND && !scope.is_operator();
    if status == StatusCode::FORBIDDEN || hidden {
        "refused".clone_into(&mut entry.outcome);
    } else if !status.is_success() {
        "failed".clone_into(&mut entry.outcome);
    } else if response.extensions().get::<Dry>().is_some() {
        "dry_run".clone_into(&mut entry.outcome);
    }
    entry
}

/// Writes it down, before the caller is told.
pub(super) async fn keep(audit: Arc<Audit>, entry: AuditEntry) {
    let written = tokio::task::spawn_blocking(move || audit.append(entry)).await;
    if let Ok(Err(fault)) = written {
        // The change itself is made: a full disk stops control at its journal, not here.
        tracing::error!(%fault, "the audit log could not be written");
    }
}
