//! A control process in this process, on real sockets and a real journal, and the other end of both
//! its protocols: a plain HTTP client and a proxy's side of the link.

#![allow(dead_code)] // each test file uses its part

use std::{net::SocketAddr, path::Path, time::Duration};

use bytes::Bytes;
use homing_control::{Control, Running, Settings, api::auth::Token};
use homing_wire::{
    Delta, FromProxy, Hello, Incarnation, PlacementTable, Repair, ToProxy, Version,
    chunk::Assembly, envelope, proto,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Endpoint};

pub(crate) const DOCUMENT: &str = r#"
zones:
  - { name: paris, endpoints: [127.0.0.1:9101], capacity: { sessions: 100 } }
  - { name: oregon, endpoints: [127.0.0.1:9102], capacity: { sessions: 100 } }
services:
  - name: notebook
    match: { path: / }
    session: { from: [{ header: x-user }], idle: 1h }
    state: memory
places:
  - { name: lyon, rtt: { paris: 6ms, oregon: 145ms } }
policy: { act: shadow }
"#;

pub(crate) const THREE_ZONES: &str = r#"
zones:
  - { name: tokyo, endpoints: [127.0.0.1:9103], capacity: { sessions: 100 } }
  - { name: oregon, endpoints: [127.0.0.1:9102], capacity: { sessions: 100 } }
  - { name: paris, endpoints: [127.0.0.1:9101], capacity: { sessions: 100 } }
services:
  - name: notebook
    match: { path: / }
    session: { from: [{ header: x-user }], idle: 1h }
    state: memory
policy: { act: shadow }
"#;

pub(crate) async fn start(folder: &Path) -> Running {
    start_with(folder, |_| {}).await
}

pub(crate) async fn start_with(folder: &Path, adjust: impl FnOnce(&mut Settings)) -> Running {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut settings = Settings {
        api: any,
        link: any,
        data_dir: folder.to_owned(),
        round_ms: 100,
        ..Settings::default()
    };
    adjust(&mut settings);
    Control::start(settings).await.expect("control starts")
}

pub(crate) fn token(role: homing_control::api::auth::Role, secret: &str) -> Token {
    Token::new("tester".to_owned(), role, secret.as_bytes())
}

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}

/// Sends one request over a connection of its own.
pub(crate) async fn ask(
    at: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Answer {
    let length = body.len();
    let headers = format!("content-length: {length}\r\n{headers}");
    exchange(at, &format!("{method} {path} HTTP/1.1"), &headers, body).await
}

/// Sends these very bytes, and reads what comes until the connection ends.
pub(crate) async fn exchange(at: SocketAddr, line: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(at).await.expect("the API listens");
    let fixed = "host: control\r\nconnection: close\r\n";
    let request = format!("{line}\r\n{fixed}{headers}\r\n{body}");
    stream.write_all(request.as_bytes()).await.expect("it takes a request");
    let mut answer = String::new();
    let read = timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await;
    read.expect("it answers in time").expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer { status: status.expect("a status"), head: head.to_owned(), body: body.to_owned() }
}

pub(crate) async fn get(at: SocketAddr, path: &str) -> Answer {
    ask(at, "GET", path, "", "").await
}

pub(crate) async fn push(at: SocketAddr, etag: Option<&str>, document: &str) -> Answer {
    let condition = etag.map(|etag| format!("if-match: {etag}\r\n")).unwrap_or_default();
    let headers = format!("content-type: application/yaml\r\n{condition}");
    ask(at, "PUT", "/v1/document", &headers, document).await
}

pub(crate) async fn post(at: SocketAddr, path: &str, body: &str) -> Answer {
    ask(at, "POST", path, "content-type: application/json\r\n", body).await
}

/// A proxy's side of the link.
pub(crate) struct Proxy {
    pub(crate) incarnation: Incarnation,
    pub(crate) table: Option<PlacementTable>,
    outbox: mpsc::Sender<proto::FromProxy>,
    inbound: Streaming<proto::ToProxy>,
    assembly: Assembly,
    /// Whether the last update came as a delta.
    pub(crate) by_delta: bool,
}

pub(crate) fn hello(name: &str, incarnation: u64, holds: Option<&PlacementTable>) -> Hello {
    Hello {
        proxy: name.to_owned(),
        incarnation: Incarnation(incarnation),
        holds: holds.map_or(Version::default(), PlacementTable::version),
        digest: holds.map_or(0, PlacementTable::digest),
        format: envelope::FORMAT,
        gate: None,
        sums: None,
    }
}

impl Proxy {
    pub(crate) async fn attach(at: SocketAddr, hello: Hello) -> Result<Self, Status> {
        Self::attach_holding(at, hello, None).await
    }

    pub(crate) async fn attach_holding(
        at: SocketAddr,
        hello: Hello,
        table: Option<PlacementTable>,
    ) -> Result<Self, Status> {
        let endpoint = Endpoint::from_shared(format!("http://{at}")).expect("an address");
        let channel = endpoint.connect().await.expect("the link listens");
        let (outbox, outbound) = mpsc::channel(64);
        let incarnation = hello.incarnation;
        outbox.send(FromProxy::Hello(hello).to_proto()).await.expect("room");
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.expect("ready");
        let codec = tonic_prost::ProstCodec::<proto::FromProxy, proto::ToProxy>::default();
        let path = http::uri::PathAndQuery::from_static("/homing.v1.Link/Attach");
        let request = tonic::Request::new(ReceiverStream::new(outbound));
        let response = client.streaming(request, path, codec).await?;
        Ok(Self {
            incarnation,
            table,
            outbox,
            inbound: response.into_inner(),
            assembly: Assembly::default(),
            by_delta: false,
        })
    }

    pub(crate) async fn say(&self, message: FromProxy) {
        self.outbox.send(message.to_proto()).await.expect("the link is up");
    }

    /// The next message; `None` when the stream ends or is silent for long.
    pub(crate) async fn next(&mut self) -> Option<ToProxy> {
        let next = timeout(Duration::from_secs(10), self.inbound.message()).await.ok()?;
        let message = next.ok()??;
        Some(ToProxy::from_proto(message).expect("control sends sound messages"))
    }

    /// Whether nothing comes for a while.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(400), self.inbound.message()).await.is_err()
    }

    /// Takes the next whole update without answering it; other messages are skipped.
    pub(crate) async fn update(&mut self) -> Version {
        let (version, sealed) = self.untried().await;
        let (kind, _) = envelope::open(&sealed).expect("sealed");
        self.by_delta = kind == envelope::Kind::Delta;
        match kind {
            envelope::Kind::Table => {
                self.table = Some(PlacementTable::decode(&sealed).expect("a table"));
            }
            envelope::Kind::Delta => {
                let delta = Delta::decode(&sealed).expect("a delta");
                let table = self.table.as_mut().expect("a table to apply it to");
                table.apply(&delta).expect("it applies");
            }
            envelope::Kind::Repair => {
                let repair = Repair::decode(&sealed).expect("a repair");
                let table = self.table.as_ref().expect("a table to mend");
                self.table = Some(table.mended(&repair).expect("it mends"));
            }
        }
        version
    }

    /// Takes the next whole update, sealed, and leaves the table alone; other messages are skipped.
    pub(crate) async fn untried(&mut self) -> (Version, Bytes) {
        loop {
            let Some(ToProxy::Chunk(piece)) = self.next().await else {
                continue;
            };
            let whole = self.assembly.push(piece).expect("pieces in order");
            if let Some(whole) = whole {
                return whole;
            }
        }
    }

    pub(crate) async fn ack(&self) {
        let table = self.table.as_ref().expect("a table");
        self.say(FromProxy::Ack { version: table.version(), digest: table.digest() }).await;
    }

    /// Takes updates, acknowledging each, until one fits.
    pub(crate) async fn until(&mut self, fits: impl Fn(&PlacementTable) -> bool) {
        loop {
            if self.table.as_ref().is_some_and(&fits) {
                return;
            }
            self.update().await;
            self.ack().await;
        }
    }

    /// Skips to the next message that is not a piece of an update.
    pub(crate) async fn order(&mut self) -> ToProxy {
        loop {
            if let Some(order) = self.take().await {
                return order;
            }
        }
    }

    /// Takes the next message: an update is applied and acknowledged, all else is returned.
    pub(crate) async fn take(&mut self) -> Option<ToProxy> {
        let piece = match self.next().await.expect("a message comes") {
            ToProxy::Chunk(piece) => piece,
            other => return Some(other),
        };
        let Ok(Some((_, sealed))) = self.assembly.push(piece) else { return None };
        if let Ok(table) = PlacementTable::decode(&sealed) {
            self.table = Some(table);
            self.ack().await;
        } else if let Ok(delta) = Delta::decode(&sealed)
            && let Some(table) = self.table.as_mut()
        {
            table.apply(&delta).expect("it applies");
            self.ack().await;
        }
        None
    }
}

/// Waits until something holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    for _ in 0..200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never came true: {what}");
}
