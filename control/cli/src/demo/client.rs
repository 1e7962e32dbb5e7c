//! One client of the replay: its own cookie, its own connections, its city, its ledger. Requests
//! are sent on schedule whether or not earlier ones were answered, and latency counts from when a
//! request was due: a proxy that stalls cannot hide it by slowing the client down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ledger::Ledger;
use super::plan::{Ask, ClientPlan, entry_text};
use super::tally::{Sample, Tally};
use super::trace::Verb;
use super::world::World;
use crate::app::notebook::{Entry, digest};
use crate::app::{FILL_BYTES_MAX, WAITED_HEADER, WORKED_HEADER, fill};

/// Requests of one client under way at one time, as browsers have it.
const CONNECTIONS: usize = 6;
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The header that names a client's city, as a trusted front would set it.
pub const PLACE_HEADER: &str = "x-client-place";

/// What all clients share.
#[derive(Debug)]
pub struct Replay {
    /// Where the proxy takes clients in.
    pub proxy: SocketAddr,
    /// Cities and zones.
    pub world: Arc<World>,
    /// What happened.
    pub tally: Arc<Tally>,
    /// When the replay begins.
    pub start: Instant,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    replay: Arc<Replay>,
    index: usize,
    plan: ClientPlan,
    pool: Pool<HttpConnector, Full<Bytes>>,
    under_way: Semaphore,
    cookie: Mutex<Option<String>>,
    session: Mutex<Option<String>>,
    ledger: Mutex<Ledger>,
}

/// An answer that came whole.
struct Answer {
    status: u16,
    zone: Option<String>,
    session: Option<String>,
    /// How long it waited for a place in the zone and occupied one, microseconds.
    waited_us: u64,
    worked_us: u64,
    body: Bytes,
}

/// What a notebook answers.
#[derive(Debug, Deserialize)]
struct Told {
    count: usize,
    digest: String,
    #[serde(default)]
    last: Option<Entry>,
    #[serde(default)]
    entries: Option<Vec<Entry>>,
}

impl Client {
    /// A client that has sent nothing.
    #[must_use]
    pub fn new(replay: Arc<Replay>, index: usize, plan: ClientPlan) -> Arc<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(PATIENCE));
        let mut builder = Pool::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(CONNECTIONS);
        Arc::new(Self {
            replay,
            index,
            plan,
            pool: builder.build(connector),
            under_way: Semaphore::new(CONNECTIONS),
            cookie: Mutex::default(),
            session: Mutex::default(),
            ledger: Mutex::default(),
        })
    }

    /// Replays the plan to its end. The first answer is waited for, since it brings the cookie:
    /// what was due meanwhile counts as due when it came.
    pub async fn run(self: Arc<Self>) {
        let mut pages = JoinSet::new();
        let (lane, orders) = mpsc::channel(self.plan.steps.len().max(1));
        // Writes and reads of one notebook go one after the other, or their order meant nothing.
        let writer = tokio::spawn(self.clone().write_in_order(orders));
        let mut opened_us = 0;
        for (number, step) in self.plan.steps.iter().enumerate() {
            tokio::time::sleep_until(self.replay.start + Duration::from_micros(step.at_us)).await;
            let due_us = step.at_us.max(opened_us);
            if number == 0 {
                self.carry_out(&step.ask, due_us).await;
                opened_us = self.now_us();
                continue;
            }
            match &step.ask {
                Ask::Page { .. } => {
                    let (client, ask) = (self.clone(), step.ask.clone());
                    pages.spawn(async move { client.carry_out(&ask, due_us).await });
                    while pages.try_join_next().is_some() {}
                }
                // The lane has room for every step of the plan.
                ask => drop(lane.send((ask.clone(), due_us)).await),
            }
        }
        drop(lane);
        while pages.join_next().await.is_some() {}
        let _ = writer.await;
    }

    async fn write_in_order(self: Arc<Self>, mut orders: mpsc::Receiver<(Ask, u64)>) {
        while let Some((ask, due_us)) = orders.recv().await {
            self.carry_out(&ask, due_us).await;
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.replay.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    async fn carry_out(&self, ask: &Ask, due_us: u64) {
        // Never closed.
        let _turn = self.under_way.acquire().await;
        self.replay.tally.sent();
        let sent_us = self.now_us();
        let outcome = match ask {
            Ask::Page { verb, path, status, bytes } => {
                self.page(*verb, path, *status, *bytes, due_us).await
            }
            Ask::Write => self.write(due_us).await,
            Ask::Read => self.read(due_us).await,
        };
        let took_us = self.now_us().saturating_sub(due_us);
        let outcome = outcome.and_then(|answer| {
            self.same_session(answer.session.as_deref())?;
            Ok(answer)
        });
        let answer = match outcome {
            Ok(answer) => answer,
            Err(why) => {
                let at = due_us as f64 / 1e6;
                self.replay.tally.failed(format!("{at:.2} s, client {}: {why}", self.index));
                return;
            }
        };
        let zones = &self.replay.world.zones;
        let zone = answer.zone.and_then(|name| zones.iter().position(|zone| zone.name == name));
        let city = self.plan.city_at(due_us);
        let rtt_ms = &self.replay.world.cities[city].rtt_ms;
        let nearest_ms = rtt_ms[self.replay.world.nearest(city)];
        let detour_ms = zone.map_or(0.0, |zone| rtt_ms[zone] - nearest_ms);
        self.replay.tally.answered(Sample {
            client: self.index as u32,
            page: matches!(ask, Ask::Page { .. }),
            due_us,
            took_us,
            detour_us: (detour_ms * 1e3) as u64,
            queued_us: sent_us.saturating_sub(due_us),
            way_us: zone.map_or(0, |zone| (rtt_ms[zone] * 1e3) as u64),
            waited_us: answer.waited_us,
            worked_us: answer.worked_us,
            zone: zone.and_then(|zone| u8::try_from(zone).ok()),
            drifter: self.plan.drift.is_some(),
            drifted: self.plan.drift.is_some_and(|(when, _)| due_us >= when),
        });
    }

    async fn page(
        &self,
        verb: Verb,
        path: &str,
        status: u16,
        bytes: usize,
        due_us: u64,
    ) -> Result<Answer, String> {
        let method = match verb {
            Verb::Get => Method::GET,
            Verb::Head => Method::HEAD,
            Verb::Post => Method::POST,
        };
        let bytes = bytes.min(FILL_BYTES_MAX);
        let request = Request::builder()
            .method(method)
            .uri(self.uri(path))
            .header("x-notebook-bytes", bytes)
            .header("x-notebook-status", status);
        let answer = self.send(request, Bytes::new(), due_us).await?;
        if answer.status != status {
            return Err(format!("{path} answered {} instead of {status}", said(&answer)));
        }
        let empty = verb == Verb::Head || status == 304;
        let path = path.split('?').next().unwrap_or_default();
        let right = if empty { answer.body.is_empty() } else { answer.body == fill(path, bytes) };
        match right {
            true => Ok(answer),
            false => Err(format!("{path} has another body than it should")),
        }
    }

    async fn write(&self, due_us: u64) -> Result<Answer, String> {
        let seq = self.ledger.lock().begin();
        let text = entry_text(self.index, seq);
        let body = serde_json::json!({ "seq": seq, "text": text }).to_string();
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.uri("/notebook"))
            .header(header::CONTENT_TYPE, "application/json");
        let answer = self.send(request, Bytes::from(body), due_us).await?;
        if answer.status != 200 {
            return Err(format!("write {seq} answered {}", said(&answer)));
        }
        let last = told(&answer.body)?.last;
        if last != Some(Entry { seq, text }) {
            return Err(format!("write {seq} was answered, but is not the notebook's last line"));
        }
        self.ledger.lock().acknowledge(seq);
        Ok(answer)
    }

    async fn read(&self, due_us: u64) -> Result<Answer, String> {
        let request = Request::builder().uri(self.uri("/notebook"));
        let answer = self.send(request, Bytes::new(), due_us).await?;
        if answer.status != 200 {
            return Err(format!("the notebook answered {}", said(&answer)));
        }
        let told = told(&answer.body)?;
        match self.ledger.lock().expected(self.index) {
            Some(want) if want.len() != told.count || digest(&want) != told.digest => Err(format!(
                "the notebook has {} lines, {} were acknowledged, or they differ",
                told.count,
                want.len()
            )),
            _ => Ok(answer),
        }
    }

    /// The whole notebook at the end of the replay, with what was acknowledged.
    ///
    /// # Errors
    /// If it is not answered.
    pub async fn settle(&self) -> Result<(Vec<Entry>, Ledger), String> {
        let ledger = self.ledger.lock().clone();
        if self.session.lock().is_none() {
            return Ok((Vec::new(), ledger));
        }
        let request = Request::builder().uri(self.uri("/notebook/entries"));
        let answer = self.send(request, Bytes::new(), self.now_us()).await?;
        if answer.status != 200 {
            return Err(format!("the notebook answered {}", said(&answer)));
        }
        self.same_session(answer.session.as_deref())?;
        Ok((told(&answer.body)?.entries.unwrap_or_default(), ledger))
    }

    /// This client's number.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.replay.proxy)
    }

    async fn send(
        &self,
        request: http::request::Builder,
        body: Bytes,
        due_us: u64,
    ) -> Result<Answer, String> {
        let city = &self.replay.world.cities[self.plan.city_at(due_us)].name;
        let mut request = request.header(PLACE_HEADER, city);
        if let Some(cookie) = self.cookie.lock().as_deref() {
            request = request.header(header::COOKIE, cookie);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let exchange = async {
            let response = self.pool.request(request).await.map_err(|error| {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                format!("no answer: {}", cause.unwrap_or_else(|| error.to_string()))
            })?;
            let (head, body) = response.into_parts();
            self.keep_cookie(&head.headers);
            let body = Limited::new(body, 4 * FILL_BYTES_MAX).collect().await;
            let body = body.map_err(|error| format!("the answer broke off: {error}"))?.to_bytes();
            let text = |name| head.headers.get(name)?.to_str().ok().map(str::to_owned);
            let (zone, session) = (text("x-notebook-zone"), text("x-notebook-session"));
            let us = |name| text(name).and_then(|us| us.parse().ok()).unwrap_or_default();
            let (waited_us, worked_us) = (us(WAITED_HEADER), us(WORKED_HEADER));
            let status = head.status.as_u16();
            Ok(Answer { status, zone, session, waited_us, worked_us, body })
        };
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer in {} s", PATIENCE.as_secs())),
        }
    }

    /// A jar for one site: the latest value of the one cookie it sets.
    fn keep_cookie(&self, headers: &http::HeaderMap) {
        for value in headers.get_all(header::SET_COOKIE) {
            let pair = value.to_str().ok().and_then(|value| value.split(';').next());
            if let Some(pair) = pair.map(str::trim).filter(|pair| pair.contains('=')) {
                *self.cookie.lock() = Some(pair.to_owned());
            }
        }
    }

    /// A session never turns into another one.
    fn same_session(&self, session: Option<&str>) -> Result<(), String> {
        let session = session.ok_or("the answer names no session")?;
        let mut mine = self.session.lock();
        let mine = mine.get_or_insert_with(|| session.to_owned());
        match mine == session {
            true => Ok(()),
            false => Err("the answer is for another session than before".to_owned()),
        }
    }
}

fn told(body: &Bytes) -> Result<Told, String> {
    serde_json::from_slice(body).map_err(|error| format!("no notebook was answered: {error}"))
}

/// A bad answer in words.
fn said(answer: &Answer) -> String {
    let text: String = String::from_utf8_lossy(&answer.body).chars().take(160).collect();
    format!("{} ({})", answer.status, text.trim())
}
