//! Where a request goes next: an endpoint of a zone guarded here, or the gate of a zone that is
//! guarded elsewhere. What pingora is told about either is put together in this place.

use std::{sync::Arc, time::Duration};

use homing_identity::Identity;
use homing_wire::{SessionKey, TrafficLimits, UpstreamProtocol};
use http::Version;
use pingora_core::{
    Error, ErrorType, Result,
    protocols::tls::CaType,
    upstreams::peer::{ALPN, HttpPeer, HttpUpstreamRequestPolicy},
    utils::tls::{CertKey, WrappedX509, parse_x509},
};

use super::{
    exchange::{Exchange, Taken, Way},
    warm,
};
use crate::endpoints::Upstream;

/// How long an idle connection to an endpoint or gate is kept.
const UPSTREAM_IDLE: Duration = Duration::from_secs(60);
/// Requests at once on one HTTP/2 connection to an endpoint or gate.
const UPSTREAM_STREAMS: usize = 100;

/// Who this process is to gates, in the forms that its connections are made with.
pub struct Credentials {
    cert_key: Arc<CertKey>,
    ca: Arc<CaType>,
    /// For tunnels, which pingora has no part in.
    pub(super) tunnel: Arc<rustls::ClientConfig>,
}

impl Credentials {
    /// Put together once: every connection to a gate is made with the same.
    #[must_use]
    pub fn new(identity: Arc<Identity>) -> Self {
        let certs = identity.chain().iter().map(|cert| cert.to_vec()).collect();
        // Parsed already by whoever loaded the identity: this cannot fail any more.
        let cas = identity.cas().iter().map(|ca| WrappedX509::new(ca.to_vec(), parse_x509));
        Self {
            cert_key: Arc::new(CertKey::new(certs, identity.key().secret_der().to_vec())),
            ca: cas.collect::<Vec<_>>().into(),
            tunnel: Arc::new(identity.client_config(&[b"http/1.1"])),
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// The next endpoint to try: another one of the zone; for a request without a session, then the
/// zones that come next.
pub(super) fn next_upstream(exchange: &mut Exchange) -> Option<Arc<Upstream>> {
    let taken = exchange.taken.as_mut()?;
    // Without a session, any number that differs between requests spreads them.
    let ahead = exchange.ahead.as_ref().map(|ahead| ahead.order.key);
    let key = taken.session.map(|(key, _)| key).or(ahead);
    let key = key.unwrap_or(SessionKey(exchange.spread.into()));
    loop {
        let found = match taken.way {
            Way::Endpoint => {
                let endpoints = &taken.facts.endpoints;
                endpoints.pick(taken.service, taken.zone, key, &exchange.tried)
            }
            // A session has one gate and no other; who has none may ask at any.
            Way::Gate => taken.gate(key).map(|(_, upstream)| upstream).filter(|upstream| {
                taken.session.is_some()
                    || !exchange.tried.iter().any(|tried| Arc::ptr_eq(tried, upstream))
            }),
        };
        if found.is_some() || exchange.zones_left.is_empty() {
            return found;
        }
        taken.zone = exchange.zones_left.remove(0);
    }
}

/// How an endpoint is spoken to.
pub(super) fn endpoint_peer(exchange: &Exchange, upstream: &Upstream) -> Result<Box<HttpPeer>> {
    let (tls, alpn) = match upstream.endpoint.protocol {
        UpstreamProtocol::H1 => (false, ALPN::H1),
        UpstreamProtocol::H2c => (false, ALPN::H2),
        UpstreamProtocol::Tls => (true, ALPN::H2H1),
    };
    let mut peer = peer(exchange, upstream, tls, upstream.host())?;
    peer.options.alpn = alpn;
    peer.options.ca = exchange.taken.as_ref().and_then(|t| t.facts.endpoints.trust().for_pingora());
    Ok(peer)
}

/// How a gate is spoken to: over mutual TLS under its name, in the client's own version of HTTP,
/// so that what the client could send (trailers, say) arrives.
pub(super) fn gate_peer(
    exchange: &Exchange,
    upstream: &Upstream,
    credentials: &Credentials,
    version: Version,
) -> Result<Box<HttpPeer>> {
    let key = exchange.taken.as_ref().and_then(|taken| taken.session).map(|(key, _)| key);
    let key = key.unwrap_or(SessionKey(exchange.spread.into()));
    let gate = exchange.taken.as_ref().and_then(|taken| taken.gate(key));
    let Some((gate, _)) = gate else {
        return Err(Error::explain(ErrorType::ConnectNoRoute, "the zone has no gate").into_up());
    };
    let mut peer = peer(exchange, upstream, true, &gate.name)?;
    peer.client_cert_key = Some(Arc::clone(&credentials.cert_key));
    peer.options.ca = Some(Arc::clone(&credentials.ca));
    peer.options.alpn = if version == Version::HTTP_2 { ALPN::H2 } else { ALPN::H1 };
    // The gate counts the app's time; what it adds of its own is a hold at most.
    let slack = Duration::from_secs(5);
    peer.options.read_timeout = peer.options.read_timeout.map(|timeout| timeout + slack);
    Ok(peer)
}

fn peer(exchange: &Exchange, upstream: &Upstream, tls: bool, name: &str) -> Result<Box<HttpPeer>> {
    let limits: TrafficLimits = exchange.taken.as_ref().map(Taken::limits).unwrap_or_default();
    let Some(address) = upstream.address() else {
        return Err(Error::explain(ErrorType::ConnectNoRoute, "not resolved").into_up());
    };
    let mut peer = HttpPeer::new(address, tls, name.to_owned());
    let connect = Duration::from_millis(limits.connect_timeout_ms.into());
    let response = Duration::from_millis(limits.response_timeout_ms.into());
    let response = exchange.ahead.as_ref().map_or(response, |_| response.min(warm::ANSWER));
    peer.options.connection_timeout = Some(connect);
    peer.options.total_connection_timeout = Some(connect);
    peer.options.read_timeout = Some(response);
    peer.options.write_timeout = Some(response);
    peer.options.idle_timeout = Some(UPSTREAM_IDLE);
    peer.options.max_h2_streams = UPSTREAM_STREAMS;
    peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
    Ok(Box::new(peer))
}
