//! `POST /key`: the session key of a raw key or of a cookie's value, for operators who know a
//! session only by what its client carries. In a body and not in the path, since raw keys name
//! people.

use axum::{Json, extract::State};
use homing_wire::{KeySource, table::Facts};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Parts, Problem};
use crate::{clock::Clock, http::key::KeyReader};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyOf {
    service: Option<String>,
    raw: Option<String>,
    cookie: Option<String>,
}

pub(super) async fn key(
    State(parts): Parts,
    Json(asked): Json<KeyOf>,
) -> Result<Json<Value>, Problem> {
    let live = parts.live.load_full();
    let rules = parts.rules.load_full();
    find(live.table.facts(), &rules.keys, &asked).map(Json)
}

fn find(facts: &Facts, keys: &KeyReader, asked: &KeyOf) -> Result<Value, Problem> {
    let named = |service: &&homing_wire::Service| {
        asked.service.as_ref().is_none_or(|name| service.name == *name)
    };
    let services: Vec<_> = facts.services.iter().filter(named).collect();
    if services.is_empty() {
        let known: Vec<_> = facts.services.iter().map(|service| service.name.as_str()).collect();
        let text = format!("no such service; the services are {}", known.join(", "));
        return Err(Problem::not_found(text));
    }
    let found = match (&asked.raw, &asked.cookie) {
        (Some(raw), None) => match services.as_slice() {
            [service] => keys.of_raw(service, raw.as_bytes()).map(|key| (*service, key)),
            _ => return Err(Problem::bad_request("say whose raw key it is: `service`")),
        },
        (None, Some(cookie)) => {
            let now_ms = Clock::process().now_ms();
            services.iter().find_map(|service| {
                let specs = service.session.from.iter().filter_map(|source| match source {
                    KeySource::Cookie(spec) => Some(spec),
                    _ => None,
                });
                let mut keys = specs
                    .filter_map(|spec| keys.of_cookie(service, spec, cookie.as_bytes(), now_ms));
                keys.next().map(|key| (*service, key))
            })
        }
        _ => return Err(Problem::bad_request("give either `raw` with `service`, or `cookie`")),
    };
    let (service, key) = found.ok_or_else(|| {
        Problem::not_found("this is no key of a session here: not one of ours, altered, or expired")
    })?;
    Ok(json!({ "session": key.to_string(), "service": service.name }))
}
