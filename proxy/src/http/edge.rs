//! The one pingora application: every protocol's requests pass through these phases. It carries
//! out what [`decide`](super::decide) and the gate decide and holds no decision of its own.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use homing_wire::SessionKey;
use pingora_core::{
    Error, ErrorType, Result,
    upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy},
};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session as Downstream};
use rustls::crypto::{SecureRandom, aws_lc_rs};
use subtle::ConstantTimeEq;

use super::{
    answer,
    exchange::{Exchange, Taken},
    facts::FactsCell,
    failure::{Failure, is_plain},
    forwarded::TrustedPeers,
    key::KeyReader,
    outbound, tunnel,
    zone_view::ZoneViews,
};
use crate::{
    access_log::AccessLog,
    clock::Clock,
    endpoints::{Call, Upstream},
    gates::{Finish, Gates},
    listen::tcp::ConnectionFacts,
    live::LiveTable,
    telemetry::{Metrics, Recorder, StatusClass},
};

/// Header fields one request may have.
const FIELDS_MAX: usize = 128;
/// Longest wait for a client to take what is written to it.
const CLIENT_WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an idle connection to an endpoint is kept.
const UPSTREAM_IDLE: Duration = Duration::from_secs(60);
/// Requests at once on one HTTP/2 connection to an endpoint.
const UPSTREAM_STREAMS: usize = 100;

/// What the edge's work rests on. Everything is shared with the rest of the process.
#[derive(Debug)]
pub struct EdgeParts {
    /// The table in force.
    pub live: Arc<LiveTable>,
    /// The gates of all zones.
    pub gates: Arc<Gates>,
    /// Endpoints and places, compiled from the facts in force.
    pub facts: Arc<FactsCell>,
    /// Health and load of the zones.
    pub views: Arc<ZoneViews>,
    /// What a reload may change.
    pub rules: Arc<ArcSwap<EdgeRules>>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Counts by zone.
    pub recorder: Arc<Recorder>,
    /// Where requests are logged, if anywhere.
    pub log: Option<AccessLog>,
}

/// What a reload may change.
#[derive(Clone, Debug)]
pub struct EdgeRules {
    /// How session keys are read and cookies signed.
    pub keys: KeyReader,
    /// Peers whose forwarding and place headers are believed.
    pub trusted: TrustedPeers,
    /// Whether every response names the zone that answered.
    pub expose_zone: bool,
    /// What `homing-why` must carry for a response to explain itself. Without a token, clients on
    /// this machine may ask, as with the admin listener.
    pub admin_token: Option<String>,
    /// Bytes of a request head.
    pub head_bytes_max: usize,
}

impl EdgeRules {
    /// The rules that the process's settings state.
    #[must_use]
    pub fn new(settings: &crate::config::Settings, secrets: &crate::config::Secrets) -> Self {
        let token = |key: &crate::config::JwtKey| {
            let (issuer, audience) = (key.issuer.as_deref(), key.audience.as_deref());
            let token = super::key::TokenKey::new(key.algorithm, key.key.clone(), issuer, audience);
            (key.id.clone(), token)
        };
        Self {
            keys: KeyReader {
                secret: secrets.session_key.clone(),
                cookies: secrets.cookies.clone(),
                tokens: settings.jwt_keys.iter().map(token).collect::<HashMap<_, _>>(),
            },
            trusted: settings.trusted.clone(),
            expose_zone: settings.expose_zone,
            admin_token: settings.admin.token.clone(),
            head_bytes_max: settings.limits.head_bytes as usize,
        }
    }

    fn may_ask_why(&self, asked: &[u8], exchange: &Exchange) -> bool {
        match &self.admin_token {
            Some(token) => bool::from(token.as_bytes().ct_eq(asked)),
            None => exchange.peer.is_loopback() && asked == b"1",
        }
    }
}

/// The edge.
#[derive(Debug)]
pub struct Edge {
    pub(super) parts: EdgeParts,
    pub(super) clock: Clock,
}

impl Edge {
    /// An edge over the process's parts.
    #[must_use]
    pub fn new(parts: EdgeParts) -> Self {
        Self { parts, clock: Clock::process() }
    }

    /// Answers with a failure; the connection is kept where that is safe.
    async fn answer(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
        failure: Failure,
    ) -> Result<()> {
        let failure = exchange.fail(failure);
        exchange.status = failure.status();
        exchange.head_at.get_or_insert_with(Instant::now);
        answer::write(client, exchange, failure).await
    }
}

/// Bytes of a head as they travelled in HTTP/1; the bound means the same in every protocol.
pub(super) fn head_bytes(head: &RequestHeader) -> usize {
    let fields = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    head.method.as_str().len() + head.raw_path().len() + 12 + fields.sum::<usize>()
}

/// `N` bytes from the provider's random source.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    // Making a provider lists every cipher suite; its random source is one for the whole process.
    static SOURCE: LazyLock<&dyn SecureRandom> =
        LazyLock::new(|| aws_lc_rs::default_provider().secure_random);
    let mut bytes = [0; N];
    match SOURCE.fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(Error::explain(ErrorType::InternalError, "no randomness")),
    }
}

#[async_trait]
impl ProxyHttp for Edge {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        Exchange::new()
    }

    /// Compression is the app's business: the default module would only cost time.
    fn init_downstream_modules(&self, _modules: &mut pingora_core::modules::http::HttpModules) {}

    fn on_connection_reuse(
        &self,
        client: &mut Downstream,
        _exchange: &mut Exchange,
        facts: Box<dyn std::any::Any + Send + Sync>,
    ) {
        if let Ok(facts) = facts.downcast::<ConnectionFacts>() {
            facts.pace.head_is_read();
            if client.get_keepalive().is_some() {
                client.set_keepalive(Some(facts.idle_s));
            }
        }
    }

    async fn early_request_filter(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let rules = self.parts.rules.load();
        if let Some(peer) = client.client_addr().and_then(|address| address.as_inet()) {
            exchange.peer = peer.ip().to_canonical();
        }
        exchange.tls = client.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        exchange.trusted = rules.trusted.contains(exchange.peer);
        client.set_write_timeout(Some(CLIENT_WRITE_TIMEOUT));
        let head = client.req_header();
        let given = head.headers.get("x-request-id").and_then(|id| id.to_str().ok());
        exchange.request_id = match given.filter(|id| is_plain(id)) {
            Some(id) => id.to_owned(),
            None => hex::encode(random::<16>()?),
        };
        if let Some(asked) = head.headers.get("homing-why") {
            exchange.why = rules.may_ask_why(asked.as_bytes(), exchange);
        }
        if head.headers.len() > FIELDS_MAX || head_bytes(head) > rules.head_bytes_max {
            exchange.fail(Failure::HeadTooLarge);
            return Err(Error::new_down(ErrorType::HTTPStatus(431)));
        }
        Ok(())
    }

    async fn request_filter(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Result<bool> {
        let served = match self.take_in(client, exchange).await {
            Ok(()) if tunnel::is_asked_for(client) => self.tunnel(client, exchange).await,
            Ok(()) => return Ok(false),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = served {
            self.answer(client, exchange, failure).await?;
        }
        Ok(true)
    }

    async fn upstream_peer(
        &self,
        _client: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Result<Box<HttpPeer>> {
        match next_upstream(exchange) {
            Some(upstream) => {
                let peer = peer(exchange, &upstream)?;
                upstream.begin();
                exchange.first_try();
                exchange.tried.push(Arc::clone(&upstream));
                exchange.served_by = Some(Arc::clone(&upstream));
                exchange.upstream = Some(upstream);
                Ok(peer)
            }
            None => {
                let failure = match exchange.tried.is_empty() {
                    true => Failure::NoEndpoint,
                    false => Failure::ConnectFailed,
                };
                let failure = exchange.fail(failure);
                Err(Error::new_up(ErrorType::HTTPStatus(failure.status())))
            }
        }
    }

    fn fail_to_connect(
        &self,
        _client: &mut Downstream,
        _peer: &HttpPeer,
        exchange: &mut Exchange,
        mut fault: Box<Error>,
    ) -> Box<Error> {
        self.end_call(exchange, Call::Failed);
        // Nothing was sent, so any method may be sent elsewhere in the zone.
        fault.set_retry(self.may_retry(exchange));
        fault
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        client: &mut Downstream,
        mut fault: Box<Error>,
        exchange: &mut Exchange,
        reused: bool,
    ) -> Box<Error> {
        let theirs = fault.esource() == &pingora_core::ErrorSource::Upstream;
        // A kept connection that the endpoint closed as we used it says nothing of its health.
        self.end_call(exchange, if theirs && !reused { Call::Failed } else { Call::Dropped });
        let safe = client.req_header().method.is_safe();
        let again = theirs
            && safe
            && reused
            && client.response_written().is_none()
            && !client.as_ref().retry_buffer_truncated()
            && self.may_retry(exchange);
        if again {
            // The endpoint is well; it is the connection that had ended.
            exchange.tried.pop();
            exchange.zones_left.clear();
            exchange.body = exchange.body.restarted();
        }
        fault.set_retry(again);
        fault
    }

    async fn request_body_filter(
        &self,
        _client: &mut Downstream,
        body: &mut Option<Bytes>,
        _end: bool,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let piece = body.as_ref().map_or(0, Bytes::len);
        if exchange.body.add(piece).is_err() {
            exchange.fail(Failure::BodyTooLarge);
            return Err(Error::new_down(ErrorType::HTTPStatus(413)));
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        client: &mut Downstream,
        head: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        outbound::towards_app(exchange, client.req_header(), head)
    }

    async fn response_filter(
        &self,
        _client: &mut Downstream,
        head: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        if head.status.is_informational() {
            return Ok(());
        }
        exchange.status = head.status.as_u16();
        exchange.head_at = Some(Instant::now());
        outbound::towards_client(exchange, self.parts.rules.load().expose_zone, head)
    }

    async fn fail_to_proxy(
        &self,
        client: &mut Downstream,
        fault: &Error,
        exchange: &mut Exchange,
    ) -> FailToProxy {
        let failure = match exchange.failure {
            Some(failure) => Some(failure),
            None => answer::failure_of(fault),
        };
        let begun = client.response_written().is_some_and(|head| !head.status.is_informational());
        if begun {
            // The client must see that the answer is cut short: reset, never a clean end.
            client.as_downstream_mut().shutdown().await;
            exchange.fail(failure.unwrap_or(Failure::UpstreamClosed));
            return FailToProxy { error_code: exchange.status, can_reuse_downstream: false };
        }
        let Some(failure) = failure else {
            // The client has left; there is nobody to answer.
            exchange.status = 0;
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        };
        if let Err(fault) = self.answer(client, exchange, failure).await {
            tracing::debug!(%fault, "the client left before it was answered");
        }
        let can_reuse_downstream = client.as_downstream_mut().is_body_done();
        FailToProxy { error_code: failure.status(), can_reuse_downstream }
    }

    async fn logging(
        &self,
        client: &mut Downstream,
        _fault: Option<&Error>,
        exchange: &mut Exchange,
    ) {
        self.end_call(exchange, Call::Answered);
        self.close(client, exchange);
    }

    fn request_summary(&self, client: &Downstream, exchange: &Exchange) -> String {
        // The default repeats the query, which may hold secrets.
        format!("{} {}", client.req_header().method, exchange.request_id)
    }

    /// Failures are counted and in the access log; a line each would let clients fill the disk.
    fn suppress_error_log(&self, _: &Downstream, _: &Exchange, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Downstream,
        _: &Exchange,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

impl Edge {
    /// Counts the request out and logs it.
    fn close(&self, client: &Downstream, exchange: &mut Exchange) {
        let ended = Instant::now();
        let bytes = client.body_bytes_sent() as u64;
        let latency_us = exchange.us_to(exchange.head_at.unwrap_or(ended));
        if let Some(taken) = &mut exchange.taken {
            match taken.permit.take() {
                // Without a status nobody was answered: dropping the permit says so.
                Some(permit) if exchange.status > 0 => {
                    permit.finish(Finish { status: exchange.status, bytes, latency_us });
                }
                Some(_) => {}
                // Its permit was finished before its end.
                None if taken.session.is_some() => {}
                None => {
                    self.parts.recorder.started(taken.zone);
                    let class = StatusClass::of(exchange.status);
                    self.parts.recorder.finished(taken.zone, class, bytes, latency_us);
                }
            }
        }
        if let Some(log) = &self.parts.log {
            log.write(answer::line(client, exchange, self.clock.now_ms(), bytes, ended));
        }
    }

    /// Tells the endpoint how the call ended, once.
    fn end_call(&self, exchange: &mut Exchange, call: Call) {
        if let Some(upstream) = exchange.upstream.take() {
            self.call_ended(exchange, &upstream, call);
        }
    }

    pub(super) fn call_ended(&self, exchange: &Exchange, upstream: &Upstream, call: Call) {
        if let Some(taken) = &exchange.taken {
            let (endpoints, now_ms) = (&taken.facts.endpoints, self.clock.now_ms());
            endpoints.end(taken.service, taken.zone, upstream, call, now_ms);
        }
    }

    /// Whether the request may be tried again: by its service's limit, and by its zone's budget.
    pub(super) fn may_retry(&self, exchange: &Exchange) -> bool {
        let Some(taken) = &exchange.taken else { return false };
        if exchange.tried.len() > usize::from(taken.limits().retries) {
            return false;
        }
        let metrics = &self.parts.metrics;
        let left = taken.facts.endpoints.may_retry(taken.zone, self.clock.now_ms());
        if left { &metrics.retries } else { &metrics.retries_refused }.inc();
        left
    }
}

/// The next endpoint to try: another one of the zone; for a request without a session, then the
/// zones that come next.
pub(super) fn next_upstream(exchange: &mut Exchange) -> Option<Arc<Upstream>> {
    let taken = exchange.taken.as_mut()?;
    // Without a session, any number that differs between requests spreads them.
    let key = taken.session.map_or(SessionKey(exchange.spread.into()), |(key, _)| key);
    loop {
        let endpoints = &taken.facts.endpoints;
        let found = endpoints.pick(taken.service, taken.zone, key, &exchange.tried);
        if found.is_some() || exchange.zones_left.is_empty() {
            return found;
        }
        taken.zone = exchange.zones_left.remove(0);
    }
}

fn peer(exchange: &Exchange, upstream: &Upstream) -> Result<Box<HttpPeer>> {
    use homing_wire::UpstreamProtocol;
    use pingora_core::upstreams::peer::ALPN;

    let limits = exchange.taken.as_ref().map(Taken::limits).unwrap_or_default();
    let Some(address) = upstream.address() else {
        return Err(Error::explain(ErrorType::ConnectNoRoute, "not resolved").into_up());
    };
    let (tls, alpn) = match upstream.endpoint.protocol {
        UpstreamProtocol::H1 => (false, ALPN::H1),
        UpstreamProtocol::H2c => (false, ALPN::H2),
        UpstreamProtocol::Tls => (true, ALPN::H2H1),
    };
    let mut peer = HttpPeer::new(address, tls, upstream.host().to_owned());
    let connect = Duration::from_millis(limits.connect_timeout_ms.into());
    let response = Duration::from_millis(limits.response_timeout_ms.into());
    peer.options.connection_timeout = Some(connect);
    peer.options.total_connection_timeout = Some(connect);
    peer.options.read_timeout = Some(response);
    peer.options.write_timeout = Some(response);
    peer.options.idle_timeout = Some(UPSTREAM_IDLE);
    peer.options.alpn = alpn;
    peer.options.max_h2_streams = UPSTREAM_STREAMS;
    peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
    Ok(Box::new(peer))
}
