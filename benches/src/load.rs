//! Load over real sockets. `closed` keeps every connection busy and counts (for CPU per request);
//! `open` starts requests when they are due and times them from then, so that a stall is charged to
//! every request it delayed (no coordinated omission).

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time};

/// What a run saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Answers with status 200 and the whole body.
    pub answered: u64,
    /// Everything else.
    pub failed: u64,
    /// Time to the end of the answer, microseconds.
    pub latency_us: Histogram<u64>,
}

impl Seen {
    fn empty() -> Self {
        // Bounds that `new_with_bounds` always accepts: 1 us to 60 s at three digits.
        let latency_us = Histogram::new_with_bounds(1, 60_000_000, 3)
            .unwrap_or_else(|_| unreachable!("the bounds are constants"));
        Self { answered: 0, failed: 0, latency_us }
    }

    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.failed += other.failed;
        // Same bounds on both sides, so nothing can be out of range.
        let _ = self.latency_us.add(&other.latency_us);
    }
}

/// A client with one connection and one session.
struct Client {
    target: SocketAddr,
    path: String,
    cookie: Option<header::HeaderValue>,
    sender: Option<SendRequest<Empty<Bytes>>>,
}

impl Client {
    fn new(target: SocketAddr, path: &str) -> Self {
        Self { target, path: path.to_owned(), cookie: None, sender: None }
    }

    async fn connect(&mut self) -> io::Result<()> {
        let stream = TcpStream::connect(self.target).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        self.sender = Some(sender);
        Ok(())
    }

    async fn ask(&mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if self.sender.as_ref().is_none_or(SendRequest::is_closed) {
            self.connect().await?;
        }
        let Some(sender) = &mut self.sender else { return Err("not connected".into()) };
        sender.ready().await?;
        let mut request = Request::get(self.path.as_str()).header(header::HOST, "bench.example");
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let response = sender.send_request(request.body(Empty::new())?).await?;
        if let Some(cookie) = response.headers().get(header::SET_COOKIE) {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
            self.cookie = Some(header::HeaderValue::from_str(pair)?);
        }
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status != http::StatusCode::OK || body.is_empty() {
            return Err(format!("status {status}, {} bytes", body.len()).into());
        }
        Ok(())
    }

    async fn ask_and_count(&mut self, since: Instant, seen: &mut Seen) {
        match self.ask().await {
            Ok(()) => {
                seen.answered += 1;
                seen.latency_us.saturating_record(since.elapsed().as_micros() as u64);
            }
            Err(_) => {
                seen.failed += 1;
                self.sender = None;
            }
        }
    }
}

/// Keeps `connections` connections busy for `duration`.
pub async fn closed(
    target: SocketAddr,
    path: &str,
    connections: usize,
    duration: Duration,
) -> Seen {
    let end = Instant::now() + duration;
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let mut client = Client::new(target, path);
        tasks.spawn(async move {
            let mut seen = Seen::empty();
            while Instant::now() < end {
                client.ask_and_count(Instant::now(), &mut seen).await;
            }
            seen
        });
    }
    gather(tasks).await
}

/// Sends `rate` requests a second for `duration`, spread over `sessions` sessions with a connection
/// each.
pub async fn open(
    target: SocketAddr,
    path: &str,
    sessions: usize,
    rate: u32,
    duration: Duration,
) -> Seen {
    let start = Instant::now() + Duration::from_millis(50);
    let gap = Duration::from_secs(1) * sessions as u32 / rate.max(1);
    let mut tasks = JoinSet::new();
    for index in 0..sessions {
        let mut client = Client::new(target, path);
        let first = start + gap * index as u32 / sessions as u32;
        tasks.spawn(async move {
            let mut seen = Seen::empty();
            let mut due = first;
            while due < start + duration {
                time::sleep_until(due.into()).await;
                client.ask_and_count(due, &mut seen).await;
                due += gap;
            }
            seen
        });
    }
    gather(tasks).await
}

async fn gather(mut tasks: JoinSet<Seen>) -> Seen {
    let mut sum = Seen::empty();
    while let Some(seen) = tasks.join_next().await {
        match seen {
            Ok(seen) => sum.add(&seen),
            Err(_) => sum.failed += 1,
        }
    }
    sum
}
