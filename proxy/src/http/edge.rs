//! The one pingora application: every protocol's requests pass through these phases. It carries
//! out what [`decide`](super::decide) and the gate decide and holds no decision of its own.

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use pingora_cache::{
    CacheKey, CacheMeta, ForcedFreshness, HitHandler, NoCacheReason, RespCacheable, key::HashBinary,
};
use pingora_core::{Error, ErrorType, Result, upstreams::peer::HttpPeer};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session as Downstream};
use rustls::crypto::{SecureRandom, aws_lc_rs};

use super::{
    answer, cache, events,
    exchange::{Exchange, Way},
    failure::{Failure, is_plain},
    hop, outbound, tunnel,
    upstream::{endpoint_peer, gate_peer, next_upstream},
    warm::Ahead,
};
use crate::{clock::Clock, endpoints::Call, listen::tcp::ConnectionFacts};

mod calls;
mod parts;
mod replicated;
mod rules;

pub use parts::EdgeParts;
pub use rules::EdgeRules;

/// Header fields one request may have.
const FIELDS_MAX: usize = 128;
/// Longest wait for a client to take what is written to it.
const CLIENT_WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Whose requests are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// Clients': nothing they say of themselves is believed unchecked.
    #[default]
    Clients,
    /// Edges', who have decided already: the gate's own listener, behind client certificates.
    Edges,
}

/// The edge.
#[derive(Debug)]
pub struct Edge {
    pub(super) parts: EdgeParts,
    pub(super) side: Side,
    pub(super) clock: Clock,
}

impl Edge {
    /// An edge over the process's parts.
    #[must_use]
    pub fn new(parts: EdgeParts) -> Self {
        Self { parts, side: Side::Clients, clock: Clock::process() }
    }

    /// A gate's listener over the process's parts.
    #[must_use]
    pub fn for_edges(parts: EdgeParts) -> Self {
        Self { side: Side::Edges, ..Self::new(parts) }
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
        exchange: &mut Exchange,
        facts: Box<dyn std::any::Any + Send + Sync>,
    ) {
        if let Ok(facts) = facts.downcast::<ConnectionFacts>() {
            facts.pace.head_is_read();
            exchange.pace = Some(Arc::clone(&facts.pace));
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
        if let Some(ahead) = Ahead::of(client) {
            ahead.begin(exchange);
            return Ok(());
        }
        let rules = self.parts.rules.load();
        if let Some(peer) = client.client_addr().and_then(|address| address.as_inet()) {
            exchange.peer = peer.ip().to_canonical();
        }
        exchange.tls = client.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        exchange.trusted = rules.trusted.contains(exchange.peer);
        if self.side == Side::Edges {
            let told = hop::client_told(&client.req_header().headers);
            exchange.peer = told.unwrap_or(exchange.peer);
        }
        client.set_write_timeout(Some(CLIENT_WRITE_TIMEOUT));
        let head = client.req_header();
        let given = head.headers.get("x-request-id").and_then(|id| id.to_str().ok());
        exchange.request_id = match given.filter(|id| is_plain(id)) {
            Some(id) => id.to_owned(),
            None => hex::encode(random::<16>()?),
        };
        if let Some(asked) = head.headers.get("homing-why") {
            exchange.why =
                self.side == Side::Edges || rules.may_ask_why(asked.as_bytes(), exchange);
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
        if exchange.ahead.is_some() {
            return Ok(false);
        }
        let served = match self.take_in(client, exchange).await {
            Ok(false) => return Ok(true),
            Ok(true) if tunnel::is_asked_for(client) => self.tunnel(client, exchange).await,
            Ok(true) if events::is_asked_for(client, exchange, self.side) => {
                self.events(client, exchange).await
            }
            Ok(true) => return Ok(false),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = served {
            self.answer(client, exchange, failure).await?;
        }
        Ok(true)
    }

    fn request_cache_filter(&self, client: &mut Downstream, exchange: &mut Exchange) -> Result<()> {
        self.parts.cache.enable(client, exchange);
        Ok(())
    }

    fn cache_key_callback(&self, client: &Downstream, exchange: &mut Exchange) -> Result<CacheKey> {
        Ok(cache::key(client, exchange))
    }

    async fn cache_hit_filter(
        &self,
        client: &mut Downstream,
        _meta: &CacheMeta,
        hit: &mut HitHandler,
        is_fresh: bool,
        exchange: &mut Exchange,
    ) -> Result<Option<ForcedFreshness>> {
        let checked = cache::wants_checked(client.req_header());
        let user = exchange.ahead.is_none() && is_fresh && !checked;
        exchange.prewarmed = user && cache::is_prewarmed(hit);
        Ok(checked.then_some(ForcedFreshness::ForceExpired))
    }

    fn response_cache_filter(
        &self,
        client: &Downstream,
        answer: &ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<RespCacheable> {
        Ok(match cache::caching(exchange) {
            Some((_, spec)) => cache::keepable(client, answer, spec, exchange.ahead.as_deref()),
            None => RespCacheable::Uncacheable(NoCacheReason::Custom("off")),
        })
    }

    fn cache_vary_filter(
        &self,
        meta: &CacheMeta,
        _exchange: &mut Exchange,
        asked: &RequestHeader,
    ) -> Option<HashBinary> {
        cache::variance(meta, asked)
    }

    /// By default only where the app fails; while it is asked anew, too, if the answer allows it.
    fn should_serve_stale(
        &self,
        _client: &mut Downstream,
        _exchange: &mut Exchange,
        fault: Option<&Error>,
    ) -> bool {
        fault.is_none_or(|fault| fault.esource() == &pingora_core::ErrorSource::Upstream)
    }

    async fn upstream_peer(
        &self,
        client: &mut Downstream,
        exchange: &mut Exchange,
    ) -> Result<Box<HttpPeer>> {
        if exchange.is_for_gate() {
            self.await_gate(exchange).await;
        }
        match next_upstream(exchange) {
            Some(upstream) => {
                let peer = match (&self.parts.credentials, exchange.is_for_gate()) {
                    (Some(credentials), true) => {
                        gate_peer(exchange, &upstream, credentials, client.req_header().version)?
                    }
                    _ => endpoint_peer(exchange, &upstream)?,
                };
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
        // Nothing was sent, so any method may be sent elsewhere in the zone, or to its gate again.
        let again = match exchange.is_for_gate() {
            true => exchange.tried.len() < hop::CONNECTS_MAX,
            false => exchange.ahead.is_none() && self.may_retry(exchange),
        };
        fault.set_retry(again);
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
        if let Some(home) = exchange.redirect.take() {
            self.end_call(exchange, Call::Answered);
            let again = client.response_written().is_none()
                && !client.as_ref().retry_buffer_truncated()
                && exchange.follow(home);
            fault.set_retry(again);
            return fault;
        }
        let theirs = fault.esource() == &pingora_core::ErrorSource::Upstream;
        // A kept connection that the endpoint closed as we used it says nothing of its health.
        // Nor does a fetch that nobody waits for, and so is given less time.
        let telling = theirs && !reused && exchange.ahead.is_none();
        self.end_call(exchange, if telling { Call::Failed } else { Call::Dropped });
        let safe = client.req_header().method.is_safe();
        let again = theirs
            && safe
            && exchange.ahead.is_none()
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
        if let Some(permit) = exchange.taken.as_mut().and_then(|taken| taken.permit.as_mut()) {
            permit.is_sent();
        }
        match (&exchange.taken, exchange.is_for_gate()) {
            (Some(taken), true) => {
                outbound::towards_gate(exchange, taken, client.req_header(), head, self.side)
            }
            _ => outbound::towards_app(exchange, client.req_header(), head, self.side),
        }
    }

    fn upstream_response_body_filter(
        &self,
        client: &mut Downstream,
        _body: &mut Option<Bytes>,
        _end: bool,
        exchange: &mut Exchange,
    ) -> Result<Option<Duration>> {
        if let Some(ahead) = &exchange.ahead {
            ahead.goes_on(client)?;
        }
        Ok(None)
    }

    /// A gate's word that a session has moved is not an answer for the client.
    async fn upstream_response_filter(
        &self,
        _client: &mut Downstream,
        head: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let Some(taken) = exchange.taken.as_ref().filter(|taken| taken.way == Way::Gate) else {
            return Ok(());
        };
        let Some(home) = hop::moved(head, &taken.facts) else { return Ok(()) };
        if let Some((key, _)) = taken.session {
            self.parts.learned.learn(key, home);
        }
        self.parts.metrics.redirects.inc();
        exchange.redirect = Some(home);
        Err(Error::new_up(ErrorType::HTTPStatus(Failure::GateUnavailable.status())))
    }

    async fn response_filter(
        &self,
        client: &mut Downstream,
        head: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        if head.status.is_informational() {
            return Ok(());
        }
        let permit = exchange.taken.as_ref().and_then(|taken| taken.permit.as_ref());
        if permit.is_some_and(|permit| !permit.may_answer()) {
            let failure = exchange.fail(Failure::OwnershipLost);
            return Err(Error::new_in(ErrorType::HTTPStatus(failure.status())));
        }
        self.replicated(client, exchange, head.status.as_u16()).await?;
        exchange.status = head.status.as_u16();
        exchange.head_at = Some(Instant::now());
        if let Some(ahead) = &exchange.ahead {
            return ahead.answered(client, head);
        }
        let expose_zone = self.side == Side::Edges || self.parts.rules.load().expose_zone;
        outbound::towards_client(exchange, expose_zone, head, self.side)?;
        let phase = client.cache.phase();
        if let Some(status) = cache::status(phase, exchange.prewarmed) {
            self.parts.metrics.cached(phase);
            head.append_header("cache-status", status)?;
        }
        Ok(())
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
        fault: Option<&Error>,
        exchange: &mut Exchange,
    ) {
        self.end_call(exchange, Call::Answered);
        if let Some(ahead) = &exchange.ahead {
            return ahead.end(client, exchange, fault);
        }
        self.note_fetch(client, exchange);
        self.parts.cache.changed(client, exchange);
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
