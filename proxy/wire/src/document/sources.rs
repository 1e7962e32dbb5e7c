//! How a request finds its service and its session: `match` and `session` of a service.

use super::checks::Routes;
use super::read::{MapReader, Reader};
use super::syntax;
use super::zones::narrow;
use crate::limits::{HOSTS_PER_SERVICE_MAX, KEY_SOURCES_MAX};
use crate::service::{CookieSpec, KeySource, Match, SameSite, SessionSource};

/// The cookie of a service that does not name its own: bound to its host by the browser.
pub(super) const COOKIE_DEFAULT: &str = "__Host-homing";
/// The verification key of a claim that does not name one.
pub(super) const JWT_KEY_DEFAULT: &str = "default";
/// How long an unseen session lasts if not stated.
const IDLE_MS_DEFAULT: u64 = 24 * 3_600_000;
/// Longest time a session may be unseen, a year.
const IDLE_MS_MAX: u64 = 365 * 24 * 3_600_000;
/// Deepest path segment a key may stand in.
const SEGMENT_MAX: u64 = 63;

pub(super) const SAME_SITES: [(&str, SameSite); 3] =
    [("lax", SameSite::Lax), ("strict", SameSite::Strict), ("none", SameSite::None)];

/// Every request, for a service that states no `match`.
pub(super) fn any() -> Match {
    Match { hosts: Vec::new(), path_prefix: "/".to_owned() }
}

/// Reads `match` and notes its routes.
pub(super) fn matches<'a>(
    reader: &Reader<'a>,
    service: &str,
    routes: &mut Routes,
) -> Option<Match> {
    reader.map(|map| {
        let path = map.or("path", "/".to_owned(), |r| Some(prefix(&syntax::path(r)?)));
        let mut hosts = Vec::new();
        let listed = map.find("hosts");
        let items = listed.as_ref().map(|list| list.items(HOSTS_PER_SERVICE_MAX));
        for item in items.iter().flatten().flatten() {
            if let Some(host) = syntax::matched_host(item)
                && routes.take(&host, &path, service, item)
            {
                hosts.push(host);
            }
        }
        // Only a list that is absent or empty means every host; a faulty one is told already.
        if items.is_none_or(|items| items.is_some_and(|items| items.is_empty())) {
            routes.take("", &path, service, map.itself());
        }
        Some(Match { hosts, path_prefix: path })
    })
}

/// A prefix matches whole segments, so a `/` at its end says nothing more.
fn prefix(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

pub(super) fn session(reader: &Reader<'_>) -> Option<SessionSource> {
    reader.map(|map| {
        let from = map.required("from", "write `from: [{cookie: __Host-homing}]`", key_sources);
        let idle_ms = map.or("idle", IDLE_MS_DEFAULT, |r| r.millis(1..=IDLE_MS_MAX));
        Some(SessionSource { from: from?, idle_ms })
    })
}

fn key_sources(reader: &Reader<'_>) -> Option<Vec<KeySource>> {
    let mut sources: Vec<KeySource> = Vec::new();
    let items = reader.items(KEY_SOURCES_MAX)?;
    if items.is_empty() {
        reader.fault("names no source of the session key", "write [{cookie: __Host-homing}]");
        return None;
    }
    for item in &items {
        let Some(source) = key_source(item) else {
            continue;
        };
        let is_cookie = matches!(source, KeySource::Cookie(_));
        if sources.contains(&source) {
            item.fault("is listed twice", "keep one");
        } else if is_cookie && sources.iter().any(|s| matches!(s, KeySource::Cookie(_))) {
            item.fault("is a second cookie", "keep one: minted keys are set in one cookie");
        } else {
            sources.push(source);
        }
    }
    Some(sources)
}

fn key_source(reader: &Reader<'_>) -> Option<KeySource> {
    let (kind, inner) = reader.choice(&["cookie", "header", "jwt", "path", "query"])?;
    if kind == "cookie" {
        return match inner {
            None => Some(KeySource::Cookie(host_cookie(COOKIE_DEFAULT.to_owned()))),
            Some(inner) => cookie(&inner).map(KeySource::Cookie),
        };
    }
    let Some(inner) = inner else {
        let example = match kind {
            "header" => "write {header: x-user}",
            "jwt" => "write {jwt: sub}",
            "path" => "write {path: 0}, the first segment",
            _ => "write {query: sid}",
        };
        reader.fault(format!("`{kind}` does not say which"), example);
        return None;
    };
    match kind {
        "header" => Some(KeySource::Header { name: syntax::header(&inner)? }),
        "jwt" => jwt(&inner),
        "path" => Some(KeySource::PathSegment { index: narrow(inner.whole(0..=SEGMENT_MAX)?)? }),
        _ => Some(KeySource::Query { name: syntax::label(&inner)? }),
    }
}

fn jwt(reader: &Reader<'_>) -> Option<KeySource> {
    let key_id = JWT_KEY_DEFAULT.to_owned();
    if matches!(reader.node().value, super::tree::Value::Map(_)) {
        return reader.map(|map| {
            let claim = map.required("claim", "write `claim: sub`", syntax::label);
            let key_id = map.or("key", key_id, syntax::label);
            Some(KeySource::JwtClaim { claim: claim?, key_id })
        });
    }
    Some(KeySource::JwtClaim { claim: syntax::label(reader)?, key_id })
}

fn cookie(reader: &Reader<'_>) -> Option<CookieSpec> {
    if matches!(reader.node().value, super::tree::Value::Map(_)) {
        return reader.map(cookie_map);
    }
    syntax::token(reader).map(host_cookie)
}

fn host_cookie(name: String) -> CookieSpec {
    CookieSpec { name, same_site: SameSite::default(), secure: true }
}

fn cookie_map(map: &mut MapReader<'_>) -> Option<CookieSpec> {
    let name = map.or("name", COOKIE_DEFAULT.to_owned(), syntax::token);
    let same_site = map.or("same_site", SameSite::default(), |r| r.word(&SAME_SITES));
    let stated = map.find("secure");
    let secure = stated.as_ref().and_then(Reader::boolean).unwrap_or(true);
    if let (false, Some(stated)) = (secure, stated) {
        let lower = name.to_ascii_lowercase();
        if let Some(prefix) = ["__Host-", "__Secure-"]
            .into_iter()
            .find(|prefix| lower.starts_with(&prefix.to_ascii_lowercase()))
        {
            stated.fault(
                format!("browsers refuse a `{prefix}` cookie that is not secure"),
                "take `secure: false` out, or name the cookie without the prefix",
            );
        } else if same_site == SameSite::None {
            stated.fault(
                "browsers refuse `same_site: none` on a cookie that is not secure",
                "take `secure: false` out, or write `same_site: lax`",
            );
        }
    }
    Some(CookieSpec { name, same_site, secure })
}
