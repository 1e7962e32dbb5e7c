//! The state hooks the app offers to Homing: `{base}/{key}/export|import|fence|release`. They show
//! an app's author how little is asked: four verbs over whatever the app keeps its sessions in.

use std::collections::HashMap;

use bytes::Bytes;
use http::{Method, Response, StatusCode, header::CONTENT_TYPE};

use super::notebook::Parcel;
use super::shelf::{Refused, Shelf, Staging};

/// Where the hooks answer unless the service says otherwise.
pub const PATH: &str = "/homing/state";

/// What of the request a hook looks at.
#[derive(Debug)]
pub(super) struct HookCall<'a> {
    pub(super) method: &'a Method,
    /// The path below the hooks' own: `/{key}/{verb}`.
    pub(super) rest: &'a str,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
}

/// Carries one hook out.
pub(super) fn carry_out(shelf: &mut Shelf, call: &HookCall<'_>) -> Response<Bytes> {
    let mut parts = call.rest.trim_start_matches('/').splitn(2, '/');
    let key = parts.next().filter(|key| key.len() == 32);
    let Some(session) = key.and_then(|key| u128::from_str_radix(key, 16).ok()) else {
        return plain(StatusCode::BAD_REQUEST, "the key is not 32 hex digits");
    };
    let query = query_pairs(call.query);
    let number = |name: &str| query.get(name)?.parse::<u64>().ok();
    let replica = query.get("replica").is_some_and(|replica| replica == "true");
    match (call.method, parts.next().unwrap_or_default()) {
        (&Method::GET, "export") => export(shelf, session, number("since").unwrap_or(0)),
        (&Method::PUT, "import") => {
            let Ok(parcel) = serde_json::from_slice::<Parcel>(call.body) else {
                return plain(StatusCode::BAD_REQUEST, "the state is not a notebook's");
            };
            // A replica waits apart from what handoffs stage: for the day its owner's zone is lost.
            let of = match (replica, query.get("directive")) {
                (true, _) => Staging::Replica,
                (false, directive) => Staging::Handoff(directive.map_or("", String::as_str)),
            };
            if query.get("kind").is_some_and(|kind| kind == "full") && parcel.from != 0 {
                return plain(StatusCode::BAD_REQUEST, "a whole notebook begins at 0");
            }
            done(shelf.import(session, of, parcel))
        }
        (&Method::POST, "release") if replica => {
            shelf.forsake(session);
            done(Ok(()))
        }
        (&Method::POST, verb @ ("fence" | "release")) => {
            let Some(epoch) = number("epoch") else {
                return plain(StatusCode::BAD_REQUEST, "`epoch` is missing");
            };
            match verb {
                "fence" if replica => shelf.adopt(session, epoch),
                "fence" => shelf.fence(session, epoch),
                _ => shelf.release(session, epoch),
            }
            done(Ok(()))
        }
        (_, "export" | "import" | "fence" | "release") => {
            plain(StatusCode::METHOD_NOT_ALLOWED, "this hook has another method")
        }
        _ => plain(StatusCode::NOT_FOUND, "no such hook"),
    }
}

fn export(shelf: &Shelf, session: u128, since: u64) -> Response<Bytes> {
    let Some((version, parcel)) = shelf.export(session, since) else {
        return plain(StatusCode::NOT_FOUND, "nothing is held for this session");
    };
    let kind = if parcel.from == 0 { "full" } else { "delta" };
    let body = match serde_json::to_vec(&parcel) {
        Ok(body) => body,
        Err(error) => return plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    let mut response = Response::new(Bytes::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    headers.insert("homing-state-version", version.into());
    headers.insert("homing-state-kind", http::HeaderValue::from_static(kind));
    response
}

fn done(result: Result<(), Refused>) -> Response<Bytes> {
    match result {
        Ok(()) => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Err(Refused::Gap) => plain(StatusCode::CONFLICT, "the delta does not fit what is staged"),
        Err(Refused::Full) => plain(StatusCode::INSUFFICIENT_STORAGE, "no room for the session"),
        Err(_) => plain(StatusCode::CONFLICT, "the session may not execute here"),
    }
}

/// A short answer in words.
pub(super) fn plain(status: StatusCode, text: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{text}\n")));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The pairs of a query, undecoded: hooks carry numbers and hex only.
pub(super) fn query_pairs(query: &str) -> HashMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
