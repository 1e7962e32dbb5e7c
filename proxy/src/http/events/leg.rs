//! One leg of an event stream: a request of its own on a connection of its own, to an endpoint or
//! to the gate of another zone.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::Empty;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::{task::JoinHandle, time::timeout};

use super::{RESUME, TOKEN, names_events};
use crate::http::{
    dial::{Dialled, Underway},
    edge::{Edge, Side},
    exchange::{Exchange, Taken, Way},
    failure::Failure,
    hop, outbound,
};

/// A leg whose request was answered.
pub(super) struct Leg {
    pub(super) head: ResponseHeader,
    pub(super) body: Incoming,
    /// Drives the connection, which ends with the leg.
    driver: Driver,
    /// Counted out with the leg.
    _call: Underway,
}

/// The connection's task. Dropping it closes the connection.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Leg {
    /// Whether the answer is an event stream that has begun.
    pub(super) fn is_event_stream(&self) -> bool {
        let kind = self.head.headers.get(header::CONTENT_TYPE);
        self.head.status.as_u16() == 200 && kind.is_some_and(names_events)
    }

    /// Reads no more: the app is to see that its client is gone.
    pub(super) fn close(&mut self) {
        self.driver.0.abort();
    }
}

impl Edge {
    /// Asks where the request was let in, or at the gate that is to let it in, following the
    /// session if that gate says that it has moved.
    pub(super) async fn event_leg(
        &self,
        asked: &RequestHeader,
        exchange: &mut Exchange,
        resume: Option<&HeaderValue>,
        token: &str,
    ) -> Result<Leg, Failure> {
        let limits = exchange.taken.as_ref().map(Taken::limits).unwrap_or_default();
        let patience = Duration::from_millis(limits.response_timeout_ms.into());
        loop {
            if exchange.is_for_gate() {
                self.await_gate(exchange).await;
            }
            let (dialled, mut call) = self.dial(exchange, true).await?;
            let head = head_for(asked, exchange, resume, token, self.side)?;
            let request = request(asked, &head, &dialled)?;
            let answered = timeout(patience, ask(dialled, request)).await;
            let (response, driver) = match answered {
                Ok(Ok(answered)) => answered,
                Ok(Err(_)) => {
                    call.failed();
                    return Err(Failure::UpstreamClosed);
                }
                Err(_) => {
                    call.failed();
                    return Err(Failure::UpstreamTimeout);
                }
            };
            call.answered();
            let (parts, body) = response.into_parts();
            let head = response_head(&parts).ok_or(Failure::UpstreamInvalid)?;
            let taken = exchange.taken.as_ref().filter(|taken| taken.way == Way::Gate);
            let Some(home) = taken.and_then(|taken| hop::moved(&head, &taken.facts)) else {
                return Ok(Leg { head, body, driver, _call: call });
            };
            drop((driver, call));
            if let Some((key, _)) = exchange.taken.as_ref().and_then(|taken| taken.session) {
                self.parts.learned.learn(key, home);
            }
            self.parts.metrics.redirects.inc();
            if !exchange.follow(home) {
                return Err(Failure::GateUnavailable);
            }
        }
    }
}

async fn ask(
    dialled: Dialled,
    request: Request<Empty<Bytes>>,
) -> hyper::Result<(http::Response<Incoming>, Driver)> {
    let io = TokioIo::new(dialled.stream);
    if dialled.speaks_h2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        let driver = Driver(tokio::spawn(async move {
            // How it ended, the body tells.
            let _ = connection.await;
        }));
        return Ok((sender.send_request(request).await?, driver));
    }
    let (mut sender, connection) = http1::handshake(io).await?;
    let driver = Driver(tokio::spawn(async move {
        let _ = connection.await;
    }));
    Ok((sender.send_request(request).await?, driver))
}

fn head_for(
    asked: &RequestHeader,
    exchange: &Exchange,
    resume: Option<&HeaderValue>,
    token: &str,
    side: Side,
) -> Result<RequestHeader, Failure> {
    let internal = |_| Failure::Internal;
    let mut head = asked.clone();
    match (&exchange.taken, exchange.is_for_gate()) {
        (Some(taken), true) => {
            outbound::towards_gate(exchange, taken, asked, &mut head, side).map_err(internal)?;
            head.insert_header(TOKEN, token).map_err(internal)?;
        }
        _ => outbound::towards_app(exchange, asked, &mut head, side).map_err(internal)?,
    }
    if let Some(resume) = resume {
        head.insert_header(RESUME, resume.clone()).map_err(internal)?;
    }
    Ok(head)
}

/// The request as it is sent: in HTTP/1 with the path alone, which is what apps look for there; in
/// HTTP/2 with the authority, which stands for the host.
fn request(
    asked: &RequestHeader,
    head: &RequestHeader,
    dialled: &Dialled,
) -> Result<Request<Empty<Bytes>>, Failure> {
    let host = outbound::host(asked);
    let path = asked.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let scheme = if dialled.tls { "https" } else { "http" };
    let uri = match dialled.speaks_h2 {
        true => Uri::builder().scheme(scheme).authority(host).path_and_query(path).build(),
        false => Uri::builder().path_and_query(path).build(),
    };
    let mut request = Request::builder().method("GET").uri(uri.map_err(|_| Failure::Internal)?);
    let hops = ["connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "host"];
    for (name, value) in head.headers.iter().filter(|(name, _)| !hops.contains(&name.as_str())) {
        request = request.header(name, value);
    }
    if !dialled.speaks_h2 {
        request = request.header(header::HOST, host);
    }
    request.body(Empty::new()).map_err(|_| Failure::Internal)
}

fn response_head(parts: &http::response::Parts) -> Option<ResponseHeader> {
    let mut head = ResponseHeader::build(parts.status, Some(parts.headers.len())).ok()?;
    for (name, value) in &parts.headers {
        head.append_header(name.clone(), value.clone()).ok()?;
    }
    Some(head)
}
