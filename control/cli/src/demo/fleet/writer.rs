//! A client that writes numbered entries, one after the other, and remembers what it was told: an
//! entry that was acknowledged must be in the notebook, once and in its place; one without an
//! answer may be, once. It never sends a number twice, so whatever is twice was doubled by others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::app::notebook::Entry;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest answer read.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// The header that names the user.
const USER: &str = "x-user";

/// What became of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The client was told that it is written.
    Acknowledged,
    /// The client was told that it is not, or was told nothing.
    Unknown,
}

/// One client.
#[derive(Debug)]
pub struct Writer {
    /// Who it is; makes its session.
    pub user: String,
    edges: Vec<SocketAddr>,
    pool: Pool<HttpConnector, Full<Bytes>>,
    seen: Mutex<Seen>,
}

/// What a writer has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its session, once an answer named it.
    pub session: Option<String>,
    /// Every entry sent, in order.
    pub fates: Vec<Fate>,
    /// Time to each acknowledgement, with when it was sent.
    pub latencies: Vec<(Instant, Duration)>,
    /// Answers that were no acknowledgement, by status; 0 for none at all.
    pub refusals: std::collections::BTreeMap<u16, u64>,
}

impl Writer {
    /// A client of some edges, over HTTP/1.1 or HTTP/2.
    #[must_use]
    pub fn new(user: String, edges: Vec<SocketAddr>, h2: bool) -> Arc<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(2)));
        let mut builder = Pool::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_secs(20));
        // Sent again by the pool, a number could come twice.
        builder.retry_canceled_requests(false).http2_only(h2);
        let pool = builder.build(connector);
        Arc::new(Self { user, edges, pool, seen: Mutex::default() })
    }

    /// Writes the next entry, with a text of some bytes.
    pub async fn write(&self, text_bytes: usize) -> Fate {
        let seq = self.seen.lock().fates.len() as u64 + 1;
        let body = json!({ "seq": seq, "text": "x".repeat(text_bytes.max(1)) }).to_string();
        let sent = Instant::now();
        let answer = self.ask(seq as usize, Method::POST, "/notebook", body).await;
        let mut seen = self.seen.lock();
        let fate = match answer {
            Some((StatusCode::OK, told)) => {
                seen.session = told["session"].as_str().map(str::to_owned).or(seen.session.take());
                seen.latencies.push((sent, sent.elapsed()));
                Fate::Acknowledged
            }
            other => {
                let status = other.map_or(0, |(status, _)| status.as_u16());
                *seen.refusals.entry(status).or_default() += 1;
                Fate::Unknown
            }
        };
        seen.fates.push(fate);
        fate
    }

    /// Gives the session a blob of some size beside its entries.
    pub async fn grow(&self, bytes: u64) -> bool {
        let path = format!("/blob?bytes={bytes}");
        let answer = self.ask(0, Method::POST, &path, String::new()).await;
        answer.is_some_and(|(status, _)| status == StatusCode::OK)
    }

    /// What the notebook holds, as its app says.
    pub async fn read(&self) -> Option<(String, Vec<Entry>)> {
        let (status, told) = self.ask(0, Method::GET, "/notebook/entries", String::new()).await?;
        let zone = told["zone"].as_str().filter(|_| status == StatusCode::OK)?.to_owned();
        Some((zone, serde_json::from_value(told["entries"].clone()).ok()?))
    }

    /// What it has seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.lock().clone()
    }

    async fn ask(
        &self,
        turn: usize,
        method: Method,
        path: &str,
        body: String,
    ) -> Option<(StatusCode, Value)> {
        // Every edge serves every user: a session must not depend on which one is asked.
        let edge = self.edges[turn % self.edges.len()];
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{edge}{path}"))
            .header(USER, self.user.as_str())
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .ok()?;
        let exchange = async {
            let (head, body) = self.pool.request(request).await.ok()?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.ok()?.to_bytes();
            Some((head.status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
        };
        tokio::time::timeout(PATIENCE, exchange).await.ok().flatten()
    }
}
