//! Headers as they leave: towards the app, and back towards the client. What the edge says about a
//! request is set here and nowhere else, and what a client claims of it is removed.

use homing_session::head::HeaderLookup;
use homing_wire::KeySource;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use pingora_core::Result;
use pingora_http::{RequestHeader, ResponseHeader};

use super::{
    cookie,
    edge::Side,
    exchange::{Exchange, Taken},
    forwarded::{Claims, forwarding},
    hop,
    warm::Ahead,
};

/// Everything that begins so is Homing's word, on requests and responses alike.
const OURS: &str = "homing-";

/// A head's headers, as deciding functions look them up.
pub(super) struct Lookup<'a>(pub(super) &'a HeaderMap);

impl HeaderLookup for Lookup<'_> {
    fn nth(&self, name: &str, n: usize) -> Option<&[u8]> {
        self.0.get_all(name).iter().nth(n).map(HeaderValue::as_bytes)
    }
}

/// Host header or authority; empty if neither is text.
pub(super) fn host(head: &RequestHeader) -> &str {
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let host = || head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    authority.or_else(host).unwrap_or_default()
}

/// Prepares the head sent to the app.
pub(super) fn towards_app(
    exchange: &Exchange,
    client: &RequestHeader,
    head: &mut RequestHeader,
    side: Side,
) -> Result<()> {
    for name in ours(&head.headers) {
        head.remove_header(&name);
    }
    if let Some(taken) = &exchange.taken {
        if let Some((key, _)) = taken.session {
            head.insert_header("homing-session", key.to_string())?;
        }
        if let Some(permit) = &taken.permit {
            head.insert_header("homing-epoch", permit.epoch().to_string())?;
        }
        if let Some(zone) = taken.facts.zone_names.get(taken.zone.index()) {
            head.insert_header("homing-zone", zone.clone())?;
        }
    }
    match side {
        _ if exchange.ahead.is_some() => Ahead::tell(head),
        Side::Clients => pass_on(exchange, client, head),
        // The edge has done all of that.
        Side::Edges => Ok(()),
    }
}

/// Prepares the head sent to the gate of another zone.
pub(super) fn towards_gate(
    exchange: &Exchange,
    taken: &Taken,
    client: &RequestHeader,
    head: &mut RequestHeader,
    side: Side,
) -> Result<()> {
    for name in ours(&head.headers) {
        head.remove_header(&name);
    }
    hop::tell(exchange, taken, head)?;
    match side {
        Side::Clients => pass_on(exchange, client, head),
        Side::Edges => Ok(()),
    }
}

/// What the first process of ours that sees a request does to its head.
fn pass_on(exchange: &Exchange, client: &RequestHeader, head: &mut RequestHeader) -> Result<()> {
    let service = exchange.taken.as_ref().and_then(Taken::service);
    for source in service.iter().flat_map(|service| &service.session.from) {
        if let KeySource::Cookie(spec) = source {
            remove_cookie(head, &spec.name)?;
        }
    }
    forward(exchange, client, head)?;
    head.insert_header("x-request-id", exchange.request_id.as_str())?;
    let via = if client.version == Version::HTTP_2 { "2 homing" } else { "1.1 homing" };
    head.append_header(header::VIA, via)?;
    Ok(())
}

fn forward(exchange: &Exchange, client: &RequestHeader, head: &mut RequestHeader) -> Result<()> {
    let text = |name: &str| client.headers.get(name).and_then(|value| value.to_str().ok());
    let claims = Claims {
        x_for: text("x-forwarded-for"),
        x_proto: text("x-forwarded-proto"),
        x_host: text("x-forwarded-host"),
        forwarded: text("forwarded"),
        host: host(client),
    };
    let told = forwarding(exchange.peer, exchange.tls, exchange.trusted, claims);
    head.insert_header("x-forwarded-for", told.x_for)?;
    head.insert_header("x-forwarded-proto", told.x_proto)?;
    if told.x_host.is_empty() {
        head.remove_header("x-forwarded-host");
    } else {
        head.insert_header("x-forwarded-host", told.x_host)?;
    }
    head.insert_header(header::FORWARDED, told.forwarded)?;
    Ok(())
}

/// Takes the session cookie out of every `Cookie` field.
fn remove_cookie(head: &mut RequestHeader, name: &str) -> Result<()> {
    let holds = |value: &HeaderValue| {
        value.as_bytes().windows(name.len()).any(|part| part == name.as_bytes())
    };
    if !head.headers.get_all(header::COOKIE).iter().any(holds) {
        return Ok(());
    }
    let fields: Vec<_> = head.headers.get_all(header::COOKIE).iter().cloned().collect();
    head.remove_header(&header::COOKIE);
    for field in fields {
        let Some(kept) = cookie::without(field.as_bytes(), name) else { continue };
        // A part of a valid field between its semicolons is valid too.
        if let Ok(kept) = HeaderValue::from_bytes(&kept) {
            head.append_header(header::COOKIE, kept)?;
        }
    }
    Ok(())
}

/// Prepares the head sent to the client.
pub(super) fn towards_client(
    exchange: &Exchange,
    expose_zone: bool,
    head: &mut ResponseHeader,
    side: Side,
) -> Result<()> {
    // What a gate said of itself goes on to whoever may ask.
    let from_gate = match exchange.is_for_gate() {
        true => head.headers.get("homing-epoch").cloned(),
        false => None,
    };
    for name in ours(&head.headers) {
        head.remove_header(&name);
    }
    if side == Side::Edges {
        if let Some(permit) = exchange.taken.as_ref().and_then(|taken| taken.permit.as_ref()) {
            head.insert_header("homing-epoch", permit.epoch().to_string())?;
        }
        return Ok(());
    }
    head.append_header(header::VIA, "1.1 homing")?;
    head.insert_header("x-request-id", exchange.request_id.as_str())?;
    let Some(taken) = &exchange.taken else { return Ok(()) };
    if let Some(cookie) = &taken.cookie {
        head.append_header(header::SET_COOKIE, cookie.as_str())?;
    }
    let zone = taken.facts.zone_names.get(taken.zone.index());
    if let Some(zone) = zone.filter(|_| expose_zone || exchange.why) {
        head.insert_header("homing-zone", zone.clone())?;
    }
    if exchange.why {
        head.insert_header("homing-reason", taken.reason.name())?;
        if let Some(permit) = &taken.permit {
            head.insert_header("homing-epoch", permit.epoch().to_string())?;
        } else if let Some(epoch) = from_gate {
            head.insert_header("homing-epoch", epoch)?;
        }
        let held_ms = taken.held.as_secs_f64() * 1e3;
        let total_ms = exchange.arrived.elapsed().as_secs_f64() * 1e3;
        let timing = format!("hold;dur={held_ms:.3}, head;dur={total_ms:.3}");
        head.append_header("server-timing", timing)?;
    }
    Ok(())
}

/// The names among a head's that only Homing may set.
fn ours(headers: &HeaderMap) -> Vec<HeaderName> {
    headers.keys().filter(|name| name.as_str().starts_with(OURS)).cloned().collect()
}
