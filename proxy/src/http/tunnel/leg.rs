//! One leg of a tunnel: the connection behind the client's, to an endpoint or to the gate of
//! another zone, from its dial to the answer of its handshake.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use homing_wire::LongLived;
use http::{HeaderValue, header};
use pingora_core::{ErrorType, OrErr, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session as Downstream;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf},
    time::timeout,
};

use crate::http::{
    dial::{Io, Underway},
    edge::{Edge, Side},
    exchange::{Exchange, Taken, Way},
    failure::Failure,
    hop, outbound,
};

/// What an app is told at the start of a leg that is not the first, and what it answers.
pub(in crate::http) const RESUME: &str = "homing-resume";

/// Bytes of the app's response head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Header fields of it.
const FIELDS_MAX: usize = 128;
/// Bytes read at a time.
pub(super) const PIECE_BYTES: usize = 16 << 10;
/// Bytes of a refusal's body that are passed on.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// A leg whose handshake was answered.
pub(super) struct Leg {
    pub(super) read: ReadHalf<Box<dyn Io>>,
    pub(super) write: WriteHalf<Box<dyn Io>>,
    pub(super) reply: Reply,
    /// Counted out with the leg.
    _call: Underway,
}

/// What was said to the handshake.
pub(super) struct Reply {
    pub(super) head: ResponseHeader,
    /// What came after the head already.
    pub(super) rest: BytesMut,
}

impl Leg {
    /// Messages of the client that the app says it has taken.
    pub(super) fn taken(&self) -> Option<u64> {
        number(self.reply.head.headers.get(RESUME)?, "client")
    }

    /// Writes, and sees it off: TLS keeps what the socket does not take at once, and might keep it
    /// until the client says something more.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.write.write_all(bytes).await.or_err(ErrorType::WriteError, "app")?;
        self.write.flush().await.or_err(ErrorType::WriteError, "app")
    }
}

/// A number of a `name=value; ...` header.
pub(in crate::http) fn number(value: &HeaderValue, name: &str) -> Option<u64> {
    let mut pairs = value.to_str().ok()?.split(';').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| key.trim() == name).and_then(|(_, number)| number.trim().parse().ok())
}

impl Edge {
    /// Opens a leg where the request was let in, or at the gate that is to let it in, following
    /// the session if that gate says that it has moved.
    pub(super) async fn leg(
        &self,
        asked: &RequestHeader,
        exchange: &mut Exchange,
        resume: Option<&HeaderValue>,
    ) -> Result<Leg, Failure> {
        let limits = exchange.taken.as_ref().map(Taken::limits).unwrap_or_default();
        let patience = Duration::from_millis(limits.response_timeout_ms.into());
        loop {
            if exchange.is_for_gate() {
                self.await_gate(exchange).await;
            }
            let (dialled, mut call) = self.dial(exchange, false).await?;
            let mut stream = dialled.stream;
            let shaken = shake_hands(&mut stream, asked, exchange, resume, self.side);
            let failure = match timeout(patience, shaken).await {
                Ok(Ok(reply)) => {
                    call.answered();
                    let taken = exchange.taken.as_ref().filter(|taken| taken.way == Way::Gate);
                    let moved = taken.and_then(|taken| hop::moved(&reply.head, &taken.facts));
                    let Some(home) = moved else {
                        let (read, write) = tokio::io::split(stream);
                        return Ok(Leg { read, write, reply, _call: call });
                    };
                    drop(call);
                    if let Some((key, _)) = exchange.taken.as_ref().and_then(|t| t.session) {
                        self.parts.learned.learn(key, home);
                    }
                    self.parts.metrics.redirects.inc();
                    if exchange.follow(home) {
                        continue;
                    }
                    return Err(Failure::GateUnavailable);
                }
                Ok(Err(failure)) => failure,
                Err(_) => Failure::UpstreamTimeout,
            };
            call.failed();
            return Err(failure);
        }
    }
}

/// Sends the client's handshake and reads the reply.
async fn shake_hands(
    stream: &mut Box<dyn Io>,
    asked: &RequestHeader,
    exchange: &Exchange,
    resume: Option<&HeaderValue>,
    side: Side,
) -> Result<Reply, Failure> {
    let internal = |_| Failure::Internal;
    let mut head = asked.clone();
    match (&exchange.taken, exchange.is_for_gate()) {
        (Some(taken), true) => {
            outbound::towards_gate(exchange, taken, asked, &mut head, side).map_err(internal)?;
        }
        _ => outbound::towards_app(exchange, asked, &mut head, side).map_err(internal)?,
    }
    if let Some(resume) = resume {
        head.insert_header(RESUME, resume.clone()).map_err(internal)?;
    }
    let service = exchange.taken.as_ref().and_then(Taken::service);
    if service.is_some_and(|service| service.long_lived == LongLived::Carry) {
        // An extension (compression, say) keeps a state of the stream, which would end with its
        // leg and could not be carried to the next.
        head.remove_header("sec-websocket-extensions");
    }
    stream.write_all(&written(&head)).await.map_err(|_| Failure::UpstreamClosed)?;
    stream.flush().await.map_err(|_| Failure::UpstreamClosed)?;
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
        match stream.read_buf(&mut read).await {
            Ok(0) | Err(_) => return Err(Failure::UpstreamClosed),
            Ok(_) => {}
        }
    }
}

/// Passes on an answer other than 101 with as much of its body as its length tells.
pub(super) async fn refuse(
    client: &mut Downstream,
    leg: &mut Leg,
    mut head: ResponseHeader,
) -> Result<()> {
    let told = head.headers.get(header::CONTENT_LENGTH).and_then(|told| told.to_str().ok());
    let length: usize = told.and_then(|told| told.parse().ok()).unwrap_or(0);
    let length = length.min(REFUSAL_BYTES_MAX);
    let mut body = leg.reply.rest.split();
    while body.len() < length {
        let read = leg.read.read_buf(&mut body).await.or_err(ErrorType::ReadError, "app")?;
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
