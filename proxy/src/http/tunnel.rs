//! WebSockets: a tunnel of our own instead of pingora's upgrade path, which takes the end of the
//! handshake's empty body for the end of the tunnel and so loses about one upgrade in ten. The
//! tunnel holds its request's permit: a handoff of the session waits until it has ended, or, where
//! the service says so, has its client reconnect.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use homing_wire::{LongLived, UpstreamProtocol};
use http::header;
use pingora_core::{Error, ErrorType, OrErr, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session as Downstream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    edge::{Edge, Side},
    exchange::{Exchange, Taken},
    failure::Failure,
    outbound,
    upstream::next_upstream,
};
use crate::{
    endpoints::{Call, Upstream},
    gates::Finish,
    hold::Recall,
};

mod frames;

use frames::{Frames, RECONNECT};

/// Bytes of the app's response head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Header fields of it.
const FIELDS_MAX: usize = 128;
/// Bytes passed on at a time.
const PIECE_BYTES: usize = 16 << 10;
/// A tunnel on which neither side says anything for this long is ended.
const SILENCE_MAX: Duration = Duration::from_secs(3_600);
/// Bytes of a refusal's body that are passed on.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Longest time a tunnel goes on after its session was frozen.
const JITTER_MS_MAX: u64 = 1_000;
/// How long a client that was told to reconnect may take to close.
const PARTING: Duration = Duration::from_secs(1);

/// Whether the request asks for a WebSocket. Other upgrades are ignored, as HTTP allows: the
/// request is then served as the plain one that it also is.
pub(super) fn is_asked_for(client: &Downstream) -> bool {
    let names_websocket =
        |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    client.is_upgrade_req()
        && client.req_header().headers.get(header::UPGRADE).is_some_and(names_websocket)
}

/// How a tunnel ended.
enum Ended {
    /// One side closed it.
    Closed,
    /// Its session is being handed over.
    Recalled,
}

/// What the app said to the handshake.
struct Reply {
    head: ResponseHeader,
    /// What came after the head already.
    rest: BytesMut,
}

impl Edge {
    /// Carries a WebSocket of a request that was let in, from handshake to end.
    pub(super) async fn tunnel(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Result<(), Failure> {
        let limits = exchange.taken.as_ref().map(Taken::limits).unwrap_or_default();
        let (mut app, upstream) = self.dial(exchange).await?;
        let patience = Duration::from_millis(limits.response_timeout_ms.into());
        let shaken = timeout(patience, shake_hands(&mut app, client.req_header(), exchange)).await;
        let failed = match shaken {
            Ok(Ok(mut reply)) => {
                let relayed = self.relay(client, exchange, &mut app, &mut reply).await;
                self.call_ended(exchange, &upstream, Call::Answered);
                match relayed {
                    Ok(Ended::Recalled) => {
                        drop(app);
                        self.part(client, exchange).await;
                    }
                    Ok(Ended::Closed) => {}
                    Err(fault) => tracing::debug!(%fault, "a tunnel broke off"),
                }
                return Ok(());
            }
            Ok(Err(failure)) => failure,
            Err(_) => Failure::UpstreamTimeout,
        };
        self.call_ended(exchange, &upstream, Call::Failed);
        Err(failed)
    }

    /// Connects to an endpoint of the zone, and to the next one if that fails.
    async fn dial(&self, exchange: &mut Exchange) -> Result<(TcpStream, Arc<Upstream>), Failure> {
        let limits = exchange.taken.as_ref().map(Taken::limits).unwrap_or_default();
        let patience = Duration::from_millis(limits.connect_timeout_ms.into());
        let mut failure = Failure::NoEndpoint;
        while exchange.tried.is_empty() || self.may_retry(exchange) {
            let Some(upstream) = next_upstream(exchange) else { break };
            if upstream.endpoint.protocol != UpstreamProtocol::H1 {
                return Err(Failure::UpgradeUnsupported);
            }
            let Some(address) = upstream.address() else { break };
            exchange.first_try();
            exchange.tried.push(Arc::clone(&upstream));
            exchange.served_by = Some(Arc::clone(&upstream));
            upstream.begin();
            failure = match timeout(patience, TcpStream::connect(address)).await {
                Ok(Ok(app)) => {
                    // Small messages are what these connections are for.
                    let _ = app.set_nodelay(true);
                    return Ok((app, upstream));
                }
                Ok(Err(_)) => Failure::ConnectFailed,
                Err(_) => Failure::ConnectTimeout,
            };
            self.call_ended(exchange, &upstream, Call::Failed);
        }
        Err(failure)
    }

    /// Passes the reply on, and after a 101 everything else, both ways, until one side ends.
    async fn relay(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
        app: &mut TcpStream,
        reply: &mut Reply,
    ) -> Result<Ended> {
        let mut head = reply.head.clone();
        exchange.status = head.status.as_u16();
        exchange.head_at = Some(Instant::now());
        outbound::towards_client(
            exchange,
            self.parts.rules.load().expose_zone,
            &mut head,
            self.side,
        )?;
        if head.status.as_u16() != 101 {
            refuse(client, app, head, reply).await?;
            return Ok(Ended::Closed);
        }
        let mut recall = self.recall(exchange);
        let mut frames = Frames::default();
        let mut leave_at = None;
        client.write_response_header(Box::new(head), false).await?;
        client.set_keepalive(None);
        client.set_read_timeout(None);
        if !reply.rest.is_empty() {
            let rest = reply.rest.split().freeze();
            frames.pass(&rest);
            client.write_response_body(Some(rest), false).await?;
        }
        let (mut from_app, mut to_app) = app.split();
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        loop {
            piece.reserve(PIECE_BYTES);
            tokio::select! {
                said = client.as_downstream_mut().read_request_body() => match said? {
                    Some(said) => {
                        let written = to_app.write_all(&said).await;
                        written.or_err(ErrorType::WriteError, "app")?;
                    }
                    None => return Ok(Ended::Closed),
                },
                read = from_app.read_buf(&mut piece) => {
                    if read.or_err(ErrorType::ReadError, "app")? == 0 {
                        return Ok(Ended::Closed);
                    }
                    frames.pass(&piece);
                    client.write_response_body(Some(piece.split().freeze()), false).await?;
                },
                () = called(&mut recall), if leave_at.is_none() => {
                    leave_at = Some(tokio::time::Instant::now() + jitter(exchange));
                }
                // Inside a frame of the app's, a frame of ours would be taken for its payload.
                () = come(leave_at), if frames.at_boundary() => return Ok(Ended::Recalled),
                () = tokio::time::sleep(SILENCE_MAX) => {
                    return Err(Error::explain(ErrorType::ReadTimedout, "silence"));
                }
            }
        }
    }
}

impl Edge {
    /// Listens for a freeze of the tunnel's session, if its service has clients reconnect then.
    fn recall(&self, exchange: &Exchange) -> Option<Recall> {
        let taken = exchange.taken.as_ref()?;
        let (key, _) = taken.session?;
        let reconnect = taken.service()?.long_lived == LongLived::Reconnect;
        reconnect.then(|| self.parts.gates.holds().recall(key))
    }

    /// Tells the client to reconnect, and gives the session's place back: the app's side is closed
    /// already, so nothing is executed here any more.
    async fn part(&self, client: &mut Downstream, exchange: &mut Exchange) {
        let told = client.write_response_body(Some(Bytes::from_static(RECONNECT)), false).await;
        let latency_us = exchange.us_to(exchange.head_at.unwrap_or_else(Instant::now));
        if let Some(permit) = exchange.taken.as_mut().and_then(|taken| taken.permit.take()) {
            let (status, bytes) = (exchange.status, client.body_bytes_sent() as u64);
            permit.finish(Finish { status, bytes, latency_us });
        }
        // Closing a socket with unread bytes resets it, and the client might never read why.
        let read_out = async {
            while let Ok(Some(_)) = client.as_downstream_mut().read_request_body().await {}
        };
        if told.is_ok() {
            let _ = timeout(PARTING, read_out).await;
        }
    }
}

async fn called(recall: &mut Option<Recall>) {
    match recall {
        Some(recall) => recall.called().await,
        None => std::future::pending().await,
    }
}

async fn come(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// How long a recalled tunnel goes on: different for each, so that clients do not all come back at
/// once, and at most half the freeze, so that they come back into the hold and go on from there.
fn jitter(exchange: &Exchange) -> Duration {
    let freeze_ms =
        exchange.taken.as_ref().map_or(0, |taken| taken.facts.facts.policy.cut.freeze_ms_max);
    let ms_max = u64::from(freeze_ms / 2).min(JITTER_MS_MAX);
    Duration::from_millis(exchange.spread % (ms_max + 1))
}

/// Passes on an answer other than 101 with as much of its body as its length tells.
async fn refuse(
    client: &mut Downstream,
    app: &mut TcpStream,
    mut head: ResponseHeader,
    reply: &mut Reply,
) -> Result<()> {
    let told = head.headers.get(header::CONTENT_LENGTH).and_then(|told| told.to_str().ok());
    let length: usize = told.and_then(|told| told.parse().ok()).unwrap_or(0);
    let length = length.min(REFUSAL_BYTES_MAX);
    let mut body = reply.rest.split();
    while body.len() < length {
        let read = app.read_buf(&mut body).await.or_err(ErrorType::ReadError, "app")?;
        if read == 0 {
            break;
        }
    }
    body.truncate(length);
    for hop in ["connection", "upgrade", "transfer-encoding", "keep-alive"] {
        head.remove_header(hop);
    }
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    let bodiless = body.is_empty();
    client.write_response_header(Box::new(head), bodiless).await?;
    if !bodiless {
        client.write_response_body(Some(body.freeze()), true).await?;
    }
    Ok(())
}

/// Sends the client's handshake and reads the app's reply.
async fn shake_hands(
    app: &mut TcpStream,
    asked: &RequestHeader,
    exchange: &Exchange,
) -> Result<Reply, Failure> {
    let mut head = asked.clone();
    outbound::towards_app(exchange, asked, &mut head, Side::Clients)
        .map_err(|_| Failure::Internal)?;
    app.write_all(&written(&head)).await.map_err(|_| Failure::UpstreamClosed)?;
    let mut read = BytesMut::with_capacity(PIECE_BYTES);
    loop {
        if let Some((head, length)) = parse(&read)? {
            let rest = read.split_off(length);
            // An interim answer may come before the real one.
            if head.status.is_informational() && head.status.as_u16() != 101 {
                read = rest;
                continue;
            }
            return Ok(Reply { head, rest });
        }
        if read.len() >= HEAD_BYTES_MAX {
            return Err(Failure::UpstreamInvalid);
        }
        match app.read_buf(&mut read).await {
            Ok(0) | Err(_) => return Err(Failure::UpstreamClosed),
            Ok(_) => {}
        }
    }
}

/// The head as HTTP/1.1 bytes. Of the hop-by-hop fields only the upgrade's own go on.
fn written(head: &RequestHeader) -> Bytes {
    let mut out = Vec::with_capacity(1_024);
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.raw_path());
    out.extend_from_slice(b" HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n");
    let hops = [
        "connection",
        "upgrade",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "content-length",
    ];
    for (name, value) in head.headers.iter().filter(|(name, _)| !hops.contains(&name.as_str())) {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.into()
}

/// A response head and its length, if it is complete.
fn parse(read: &[u8]) -> Result<Option<(ResponseHeader, usize)>, Failure> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(read) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Failure::UpstreamInvalid),
    };
    let status = response.code.ok_or(Failure::UpstreamInvalid)?;
    let invalid = |_| Failure::UpstreamInvalid;
    let mut head = ResponseHeader::build(status, Some(response.headers.len())).map_err(invalid)?;
    for field in response.headers.iter() {
        head.append_header(field.name.to_owned(), field.value).map_err(invalid)?;
    }
    Ok(Some((head, length)))
}
