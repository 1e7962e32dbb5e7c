//! What the API says when it cannot do what was asked: problem documents (RFC 9457) with every
//! fault of a document listed, never a bare status.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use homing_wire::document::Faults;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    journal::JournalFault,
    lead::{Ended, MoveFault, PushFault},
};

/// A problem document.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem, for programs: a path under `/problems/`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this very request.
    pub detail: String,
    /// Every fault of the document that was sent, if one was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemFault>,
    /// Faults beyond those listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_errors: usize,
    /// The entity tag in force, where another was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

/// One fault of a document.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProblemFault {
    /// Where, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// Line, from 1; absent if the fault has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column, from 1; absent if the fault has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What was found there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What is wrong.
    pub detail: String,
    /// What to do about it.
    pub remedy: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Problem {
    /// A problem of a kind.
    pub fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems/{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            more_errors: 0,
            etag: None,
        }
    }

    /// The thing asked for does not exist.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// Control has heard of no such session, or of none that the caller may see.
    pub fn unheard_of() -> Self {
        Self::not_found("control has heard of no request of this user")
    }

    /// The request itself is not sound.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "Bad request", detail)
    }

    /// The request cannot be carried out as things stand.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "Conflict", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        match status {
            StatusCode::UNAUTHORIZED => {
                let challenge = HeaderValue::from_static("Bearer realm=\"homing\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

impl From<Faults> for Problem {
    fn from(faults: Faults) -> Self {
        let count = faults.list().len() + faults.more();
        let mut problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-document",
            "The document has faults",
            format!("{count} {}", if count == 1 { "fault" } else { "faults" }),
        );
        let some = |n: u32| (n > 0).then_some(n);
        let fault = |fault: &homing_wire::document::Fault| ProblemFault {
            pointer: fault.pointer.clone(),
            line: some(fault.line),
            column: some(fault.column),
            value: fault.value.clone(),
            detail: fault.problem.clone(),
            remedy: fault.remedy.clone(),
        };
        problem.errors = faults.list().iter().map(fault).collect();
        problem.more_errors = faults.more();
        problem
    }
}

impl From<PushFault> for Problem {
    fn from(fault: PushFault) -> Self {
        let words = fault.to_string();
        match fault {
            PushFault::ConditionMissing => Self::new(
                StatusCode::PRECONDITION_REQUIRED,
                "condition-missing",
                "A condition is required",
                words,
            ),
            PushFault::Changed(etag) => Self {
                etag: Some(etag),
                ..Self::new(
                    StatusCode::PRECONDITION_FAILED,
                    "changed",
                    "The document has changed",
                    words,
                )
            },
            PushFault::Unsound(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unsound",
                "The table it leads to cannot be",
                words,
            ),
        }
    }
}

impl From<MoveFault> for Problem {
    fn from(fault: MoveFault) -> Self {
        let words = fault.to_string();
        match fault {
            MoveFault::UnknownZone(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unknown-zone",
                "There is no such zone",
                words,
            ),
            MoveFault::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "key-reused",
                "The idempotency key was used for another request",
                words,
            ),
            MoveFault::NoTable
            | MoveFault::NotOpen(_)
            | MoveFault::AlreadyThere(_)
            | MoveFault::UnderWay(_)
            | MoveFault::Busy => Self::conflict(words),
        }
    }
}

impl From<Ended> for Problem {
    fn from(ended: Ended) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "Control is stopping",
            ended.to_string(),
        )
    }
}

impl From<JournalFault> for Problem {
    fn from(fault: JournalFault) -> Self {
        tracing::error!(%fault, "the journal could not be read for a request");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "journal",
            "The journal cannot be read",
            "the log says why",
        )
    }
}
