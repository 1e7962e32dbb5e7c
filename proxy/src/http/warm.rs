//! A fetch ahead of a session: a request like a user's, through the same application, into the
//! same cache under the same key, on connections that the session's own requests will then find
//! open. But nobody asked: it names no session, carries no one's credentials, is not a request of
//! the zone's figures, is not tried again, and ends where its answer turns out not to be kept.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use homing_session::steer::SteerReason;
use homing_wire::{Epoch, HotObject, prewarm::carried};
use http::{Method, header};
use pingora_cache::{CachePhase, NoCacheReason};
use pingora_core::{Error, ErrorType, Result, protocols::http::ServerSession};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{HttpProxy, Session as Downstream, Subrequest, subrequest};
use xxhash_rust::xxh3::Xxh3;

use super::{
    cache::{Marks, caching},
    edge::Edge,
    exchange::{Exchange, Taken, Way},
    outbound,
};
use crate::prewarm::Order;

mod nobody;

use nobody::Nobody;

/// Longest wait for an app's answer, and for all of it. A user who wants the same waits for this
/// fetch, so it must not be slower than asking anew.
pub(super) const ANSWER: Duration = Duration::from_secs(2);
const WHOLE: Duration = Duration::from_secs(8);
/// What tells the app that nobody has asked yet.
const AHEAD: &str = "homing-prewarm";

/// What came of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It is in the cache now.
    Kept,
    /// It was before.
    Present,
    /// The app has answered, with nothing that was meant to be kept.
    Answered,
    /// The answer may not be kept.
    NotKept,
    /// The answer's status was not 200.
    Status,
    /// There was no answer.
    Failed,
}

/// One fetch, as the application's phases know it.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) order: Arc<Order>,
    pub(super) marks: Arc<Marks>,
    /// Whether its answer is to be kept. If not, only the connection is wanted.
    pub(super) keeps: bool,
    tls: bool,
    began: Instant,
    outcome: OnceLock<(Fetched, u64)>,
}

/// Fetches an object, or anything at all from where it would come; what came of it, and the bytes
/// that took.
pub async fn fetch(
    app: &Arc<HttpProxy<Edge>>,
    order: Arc<Order>,
    object: Option<HotObject>,
    marks: &Arc<Marks>,
) -> (Fetched, u64) {
    let keeps = object.is_some();
    let Some(object) = object.or_else(|| health(&order)) else { return (Fetched::Failed, 0) };
    let ahead = Arc::new(Ahead {
        order,
        marks: Arc::clone(marks),
        keeps,
        tls: object.tls,
        began: Instant::now(),
        outcome: OnceLock::new(),
    });
    let client = ServerSession::new_http1(Box::new(Nobody::asking(&head(&object))));
    let context = subrequest::Ctx::builder().user_ctx(Box::new(Arc::clone(&ahead))).build();
    Arc::clone(app).process_subrequest(Box::new(client), Box::new(context)).await;
    ahead.outcome.get().copied().unwrap_or((Fetched::Failed, 0))
}

/// A request that every app of the service answers without a session.
fn health(order: &Order) -> Option<HotObject> {
    let service = order.service()?;
    let check = service.health.as_ref()?;
    let host = service.matches.hosts.first().cloned().unwrap_or_else(|| "homing".to_owned());
    let host = host.trim_start_matches("*.").to_owned();
    Some(HotObject { tls: false, host, path: check.path.clone(), headers: Vec::new() })
}

fn head(object: &HotObject) -> String {
    let mut head = format!("GET {} HTTP/1.1\r\nhost: {}\r\n", object.path, object.host);
    for (name, value) in &object.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head + "\r\n"
}

/// What tells an object apart.
#[must_use]
pub fn id(object: &HotObject, seed: u64) -> u64 {
    let mut told = begin(object.tls, &object.host, object.path.as_bytes(), seed);
    for (name, value) in &object.headers {
        part(&mut told, name.as_bytes());
        part(&mut told, value.as_bytes());
    }
    told.digest()
}

fn begin(tls: bool, host: &str, path: &[u8], seed: u64) -> Xxh3 {
    let mut told = Xxh3::with_seed(seed);
    told.update(&[u8::from(tls)]);
    part(&mut told, host.as_bytes());
    part(&mut told, path);
    told
}

fn part(told: &mut Xxh3, bytes: &[u8]) {
    told.update(&(bytes.len() as u32).to_be_bytes());
    told.update(bytes);
}

/// Every header that an answer depends on, with its values in the request; `None` if it depends on
/// one that must not travel, or has one that cannot.
fn depends(
    asked: &RequestHeader,
    answer: &ResponseHeader,
    mut each: impl FnMut(&'static str, &str),
) -> Option<()> {
    // The app may tell schemes and hosts apart by these and not say so.
    const FORWARDED: [&str; 2] = ["x-forwarded-proto", "x-forwarded-host"];
    let mut tell = |name: &'static str| {
        for value in asked.headers.get_all(name) {
            each(name, value.to_str().ok()?);
        }
        Some(())
    };
    for name in FORWARDED {
        tell(name)?;
    }
    for field in answer.headers.get_all(header::VARY) {
        for name in field.to_str().ok()?.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let name = carried(name)?;
            if !FORWARDED.contains(&name) {
                tell(name)?;
            }
        }
    }
    Some(())
}

impl Ahead {
    /// Whether the application is about to serve a fetch ahead, and which.
    pub(super) fn of(client: &Downstream) -> Option<Arc<Self>> {
        client.subrequest_ctx.as_ref()?.user_ctx()?.downcast_ref::<Arc<Self>>().cloned()
    }

    /// Lets the request in: it has no session and nobody to wait for.
    pub(super) fn begin(self: Arc<Self>, exchange: &mut Exchange) {
        let Order { facts, service, zone, .. } = &*self.order;
        exchange.tls = self.tls;
        exchange.spread = self.order.key.low64();
        exchange.taken = Some(Taken {
            near: None,
            facts: Arc::clone(facts),
            service: *service,
            session: None,
            cookie: None,
            zone: *zone,
            way: Way::Endpoint,
            place: None,
            least: Epoch(0),
            hops: 0,
            reason: SteerReason::Bucket,
            permit: None,
            held: Duration::ZERO,
        });
        exchange.ahead = Some(self);
    }

    /// What only the app is told.
    pub(super) fn tell(head: &mut RequestHeader) -> Result<()> {
        head.insert_header(AHEAD, "1")?;
        head.append_header(header::VIA, "1.1 homing")?;
        Ok(())
    }

    /// Why an answer that might be kept is not to be: an error, or a redirect to a login, must not
    /// greet users who never got one.
    pub(super) fn refuses(&self, answer: &ResponseHeader) -> Option<NoCacheReason> {
        (answer.status != 200).then_some(NoCacheReason::Custom("status"))
    }

    /// An answer has begun: if it is not kept, there is no need for the rest of it.
    pub(super) fn answered(&self, client: &Downstream, answer: &ResponseHeader) -> Result<()> {
        match client.cache.phase() {
            CachePhase::Disabled(_) | CachePhase::Bypass if self.keeps => {
                let is_good = answer.status == 200;
                let outcome = if is_good { Fetched::NotKept } else { Fetched::Status };
                let _ = self.outcome.set((outcome, 0));
                Err(Error::explain(ErrorType::InternalError, "not to be kept"))
            }
            CachePhase::Disabled(_) if !self.keeps => {
                let _ = self.outcome.set((Fetched::Answered, 0));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// More of an answer has come: ends it if it is too long in any sense.
    pub(super) fn goes_on(&self, client: &Downstream) -> Result<()> {
        if self.keeps && !client.cache.enabled() {
            let _ =
                self.outcome.set((Fetched::NotKept, client.upstream_body_bytes_received() as u64));
            return Err(Error::explain(ErrorType::InternalError, "too large to be kept"));
        }
        if self.began.elapsed() > WHOLE {
            return Err(Error::explain(ErrorType::ReadTimedout, "too slow").into_up());
        }
        Ok(())
    }

    /// It is over.
    pub(super) fn end(&self, client: &Downstream, exchange: &Exchange, fault: Option<&Error>) {
        use CachePhase::{Expired, Hit, Miss, Revalidated, Stale, StaleUpdating};

        let bytes = client.upstream_body_bytes_received() as u64;
        let outcome = match client.cache.phase() {
            _ if fault.is_some() || exchange.failure.is_some() => Fetched::Failed,
            Miss | Expired => Fetched::Kept,
            Hit | Revalidated | Stale | StaleUpdating => Fetched::Present,
            _ => Fetched::Failed,
        };
        let _ = self.outcome.set((outcome, bytes));
    }
}

impl Edge {
    /// Notes what a session has fetched, if a gate that has the session next could fetch it too.
    pub(super) fn note_fetch(&self, client: &Downstream, exchange: &Exchange) {
        use CachePhase::{Expired, Hit, Miss, Revalidated, Stale, StaleUpdating};

        let Some((_, spec)) = caching(exchange).filter(|(_, spec)| spec.prewarm_objects > 0) else {
            return;
        };
        let session = exchange.taken.as_ref().and_then(|taken| taken.session);
        let kept = matches!(
            client.cache.phase(),
            Miss | Expired | Hit | Revalidated | Stale | StaleUpdating
        );
        let Some((key, _)) = session.filter(|_| kept && exchange.failure.is_none()) else { return };
        let asked = client.req_header();
        // What needs authorization is for whoever has it to fetch.
        if asked.method != Method::GET || asked.headers.contains_key(header::AUTHORIZATION) {
            return;
        }
        let Some(meta) = client.cache.maybe_cache_meta() else { return };
        let answer = meta.response_header();
        if answer.status != 200 {
            return;
        }
        let host = outbound::host(asked);
        let path = asked.raw_path();
        let prewarm = &self.parts.prewarm;
        let mut told = begin(exchange.tls, host, path, prewarm.seed());
        let hash = |name: &'static str, value: &str| {
            part(&mut told, name.as_bytes());
            part(&mut told, value.as_bytes());
        };
        if depends(asked, answer, hash).is_none() {
            return;
        }
        prewarm.fetched(key, told.digest(), spec.prewarm_objects, || {
            let mut headers = Vec::new();
            depends(asked, answer, |name, value| headers.push((name, value.to_owned())))?;
            let path = String::from_utf8(path.to_vec()).ok()?;
            let object = HotObject { tls: exchange.tls, host: host.to_owned(), path, headers };
            object.check().is_ok().then_some(object)
        });
    }
}
