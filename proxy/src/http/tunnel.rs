//! WebSockets: a tunnel of our own instead of pingora's upgrade path, which takes the end of the
//! handshake's empty body for the end of the tunnel and so loses about one upgrade in ten. The
//! tunnel holds its request's permit: a handoff of the session waits until it has ended.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use homing_wire::UpstreamProtocol;
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
    edge::{Edge, next_upstream},
    exchange::{Exchange, Taken},
    failure::Failure,
    outbound,
};
use crate::endpoints::{Call, Upstream};

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

/// Whether the request asks for a WebSocket. Other upgrades are ignored, as HTTP allows: the
/// request is then served as the plain one that it also is.
pub(super) fn is_asked_for(client: &Downstream) -> bool {
    let names_websocket =
        |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    client.is_upgrade_req()
        && client.req_header().headers.get(header::UPGRADE).is_some_and(names_websocket)
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
                if let Err(fault) = relayed {
                    tracing::debug!(%fault, "a tunnel broke off");
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
    ) -> Result<()> {
        let mut head = reply.head.clone();
        exchange.status = head.status.as_u16();
        exchange.head_at = Some(Instant::now());
        outbound::towards_client(exchange, self.parts.rules.load().expose_zone, &mut head)?;
        if head.status.as_u16() != 101 {
            return refuse(client, app, head, reply).await;
        }
        client.write_response_header(Box::new(head), false).await?;
        client.set_keepalive(None);
        client.set_read_timeout(None);
        if !reply.rest.is_empty() {
            let rest = reply.rest.split().freeze();
            client.write_response_body(Some(rest), false).await?;
        }
        let (mut from_app, mut to_app) = app.split();
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        loop {
            piece.reserve(PIECE_BYTES);
            tokio::select! {
                said = client.as_downstream_mut().read_request_body() => match said? {
                    Some(said) => to_app.write_all(&said).await.or_err(ErrorType::WriteError, "app")?,
                    None => return Ok(()),
                },
                read = from_app.read_buf(&mut piece) => {
                    if read.or_err(ErrorType::ReadError, "app")? == 0 {
                        return Ok(());
                    }
                    client.write_response_body(Some(piece.split().freeze()), false).await?;
                },
                () = tokio::time::sleep(SILENCE_MAX) => {
                    return Err(Error::explain(ErrorType::ReadTimedout, "silence"));
                }
            }
        }
    }
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
    outbound::towards_app(exchange, asked, &mut head).map_err(|_| Failure::Internal)?;
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
