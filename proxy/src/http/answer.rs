//! How a request ends: pingora's errors sorted into our failures, the problem document written,
//! the line drawn up for the access log.

use std::time::Instant;

use http::{Version, header};
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::Session as Downstream;

use super::{exchange::Exchange, failure::Failure, hop, outbound};
use crate::access_log::{Line, cut};

/// The failure an error of pingora's is told as; `None` if the client is gone.
pub(super) fn failure_of(fault: &Error) -> Option<Failure> {
    use ErrorType::{
        ConnectError, ConnectNoRoute, ConnectRefused, ConnectTimedout, ConnectionClosed, H1Error,
        HTTPStatus, HandshakeError, InvalidCert, InvalidH2, InvalidHTTPHeader, ReadError,
        ReadTimedout, SocketError, TLSHandshakeFailure, TLSHandshakeTimedout, WriteError,
        WriteTimedout,
    };
    let failure = match (fault.esource(), fault.etype()) {
        (_, HTTPStatus(413)) => Failure::BodyTooLarge,
        (_, HTTPStatus(431)) => Failure::HeadTooLarge,
        (ErrorSource::Downstream, ReadTimedout) => Failure::ClientTimeout,
        (
            ErrorSource::Downstream,
            ReadError | WriteError | WriteTimedout | ConnectionClosed | ErrorType::H2Error,
        ) => return None,
        (ErrorSource::Downstream, _) => Failure::BadRequest,
        (ErrorSource::Upstream, ConnectTimedout | TLSHandshakeTimedout) => Failure::ConnectTimeout,
        (
            ErrorSource::Upstream,
            ConnectRefused | ConnectNoRoute | ConnectError | TLSHandshakeFailure | InvalidCert
            | HandshakeError | SocketError,
        ) => Failure::ConnectFailed,
        (ErrorSource::Upstream, ReadTimedout | WriteTimedout) => Failure::UpstreamTimeout,
        (ErrorSource::Upstream, InvalidHTTPHeader | H1Error | InvalidH2) => {
            Failure::UpstreamInvalid
        }
        (ErrorSource::Upstream, _) => Failure::UpstreamClosed,
        (ErrorSource::Internal | ErrorSource::Unset, _) => Failure::Internal,
    };
    Some(failure)
}

/// Writes the failure's problem document.
pub(super) async fn write(
    client: &mut Downstream,
    exchange: &Exchange,
    failure: Failure,
) -> Result<()> {
    let body = failure.problem(&exchange.request_id);
    let mut head = ResponseHeader::build(failure.status(), Some(10))?;
    head.insert_header(header::CONTENT_TYPE, "application/problem+json")?;
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    head.insert_header("proxy-status", failure.proxy_status())?;
    if let Some(seconds) = failure.retry_after_s() {
        head.insert_header(header::RETRY_AFTER, seconds)?;
    }
    if !exchange.request_id.is_empty() {
        head.insert_header("x-request-id", exchange.request_id.as_str())?;
    }
    // What is left of a body would be taken for the next request's head, and whoever breaks the
    // protocol's bounds once is not worth a kept connection.
    let offence = matches!(failure, Failure::BadRequest | Failure::HeadTooLarge);
    if offence || !client.as_downstream_mut().is_body_done() {
        client.set_keepalive(None);
    }
    let bodiless = client.req_header().method == http::Method::HEAD;
    client.write_response_header(Box::new(head), bodiless).await?;
    if !bodiless {
        client.write_response_body(Some(body.into()), true).await?;
    }
    Ok(())
}

/// Tells an edge where the session lives. Its promise: nothing of the request was executed.
pub(super) async fn moved(
    client: &mut Downstream,
    exchange: &mut Exchange,
    home: &str,
) -> Result<()> {
    let status = Failure::Misdirected.status();
    exchange.status = status;
    let mut head = ResponseHeader::build(status, Some(3))?;
    head.insert_header(hop::MOVED, home)?;
    head.insert_header(header::CONTENT_LENGTH, 0)?;
    // What is left of a body would be taken for the next request's head.
    if !client.as_downstream_mut().is_body_done() {
        client.set_keepalive(None);
    }
    client.write_response_header(Box::new(head), true).await
}

/// The request's line in the access log.
pub(super) fn line(
    client: &Downstream,
    exchange: &Exchange,
    now_ms: u64,
    bytes: u64,
    ended: Instant,
) -> Line {
    let head = client.req_header();
    let taken = exchange.taken.as_ref();
    let zone = taken.and_then(|taken| taken.facts.facts.zones.get(taken.zone.index()));
    Line {
        at_ms: now_ms,
        client: exchange.peer.to_string(),
        method: cut(head.method.as_str()),
        host: cut(outbound::host(head)),
        path: cut(head.uri.path()),
        protocol: match head.version {
            Version::HTTP_2 => "2",
            Version::HTTP_10 => "1.0",
            _ => "1.1",
        },
        status: exchange.status,
        bytes,
        duration_us: exchange.us_to(ended),
        held_us: taken.map_or(0, |taken| taken.held.as_micros() as u64),
        service: taken.and_then(|taken| Some(taken.service()?.name.clone())),
        zone: zone.map(|zone| zone.name.clone()),
        reason: taken.map(|taken| taken.reason.name()),
        session: taken
            .and_then(|taken| taken.session)
            .map(|(key, _)| format!("{:08x}", (key.0 >> 96) as u32)),
        endpoint: exchange.served_by.as_ref().map(|upstream| upstream.endpoint.address.clone()),
        failure: exchange.failure.map(Failure::name),
        request_id: exchange.request_id.clone(),
    }
}
