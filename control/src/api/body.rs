//! Reads a JSON body, an absent one as the default, and tells what is wrong as a problem document
//! instead of axum's plain text.

use axum::{
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::header,
};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A JSON body.
#[derive(Clone, Copy, Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).cloned();
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|fault: BytesRejection| {
            Problem::new(fault.status(), "body", "The body cannot be read", fault.body_text())
        })?;
        let is_json = kind.as_ref().and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/json")
        });
        if !is_json {
            return Err(Problem::new(
                axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media-type",
                "The content type is not read",
                "send application/json",
            ));
        }
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|fault| Problem::bad_request(format!("the body is not as due: {fault}")))
    }
}
