//! Connections of our own, for what pingora's pools cannot hold: tunnels and event streams that
//! outlive their upstream. One is dialled where the request was let in, an endpoint or a gate.

use std::{sync::Arc, time::Duration};

use homing_wire::{ServiceId, UpstreamProtocol, ZoneId};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    edge::Edge,
    exchange::{Exchange, Taken},
    facts::EdgeFacts,
    failure::Failure,
    upstream::next_upstream,
};
use crate::{
    clock::Clock,
    endpoints::{Call, Upstream},
};

/// A stream of either kind.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// HTTP/2 in TLS (RFC 9113 §3.2).
const H2: &[u8] = b"h2";

/// A connection that was made.
pub(super) struct Dialled {
    pub(super) stream: Box<dyn Io>,
    /// What is spoken on it is HTTP/2.
    pub(super) speaks_h2: bool,
    /// It is an endpoint's own TLS.
    pub(super) tls: bool,
}

impl Dialled {
    fn h1(stream: Box<dyn Io>) -> Self {
        Self { stream, speaks_h2: false, tls: false }
    }
}

/// A call that was begun. A leg has many ways out, and is itself dropped when the proxy stops: an
/// upstream that one of them forgot to count out would look busy for ever.
pub(super) struct Underway {
    upstream: Arc<Upstream>,
    /// As they were when it began: the tunnel may be elsewhere by its end.
    place: Option<(Arc<EdgeFacts>, ServiceId, ZoneId)>,
    clock: Clock,
    end: Call,
}

impl Underway {
    /// Begins a call of this request.
    pub(super) fn begin(exchange: &Exchange, upstream: Arc<Upstream>, clock: Clock) -> Self {
        let taken = exchange.taken.as_ref();
        let place = taken.map(|taken| (Arc::clone(&taken.facts), taken.service, taken.zone));
        if place.is_some() {
            upstream.begin();
        }
        Self { upstream, place, clock, end: Call::Dropped }
    }

    /// The upstream has answered: it is well, however long the leg goes on.
    pub(super) fn answered(&mut self) {
        self.end = Call::Answered;
    }

    /// The upstream did not answer as it should.
    pub(super) fn failed(mut self) {
        self.end = Call::Failed;
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Some((facts, service, zone)) = &self.place {
            let now_ms = self.clock.now_ms();
            facts.endpoints.end(*service, *zone, &self.upstream, self.end, now_ms);
        }
    }
}

impl Edge {
    /// Connects to an endpoint of the zone, and to the next one if that fails; or to its gate.
    /// Whoever does not speak HTTP/2 is given no endpoint that speaks nothing else; who does is
    /// told whether it is spoken on this connection.
    pub(super) async fn dial(
        &self,
        exchange: &mut Exchange,
        speaks_h2: bool,
    ) -> Result<(Dialled, Underway), Failure> {
        let limits = exchange.taken.as_ref().map(Taken::limits).unwrap_or_default();
        let patience = Duration::from_millis(limits.connect_timeout_ms.into());
        let mut failure = Failure::NoEndpoint;
        while exchange.tried.is_empty() || (!exchange.is_for_gate() && self.may_retry(exchange)) {
            let Some(upstream) = next_upstream(exchange) else { break };
            let is_gate = exchange.is_for_gate();
            if !is_gate && !speaks_h2 && upstream.endpoint.protocol == UpstreamProtocol::H2c {
                return Err(Failure::UpgradeUnsupported);
            }
            let Some(address) = upstream.address() else { break };
            exchange.first_try();
            exchange.tried.push(Arc::clone(&upstream));
            exchange.served_by = Some(Arc::clone(&upstream));
            let call = Underway::begin(exchange, Arc::clone(&upstream), self.clock);
            let connect = async {
                let stream = TcpStream::connect(address).await?;
                // Small messages are what these connections are for.
                let _ = stream.set_nodelay(true);
                match (is_gate, upstream.endpoint.protocol) {
                    (true, _) => Ok(Dialled::h1(self.secure(exchange, stream).await?)),
                    (false, UpstreamProtocol::Tls) => {
                        secure_endpoint(exchange, &upstream, stream, speaks_h2).await
                    }
                    (false, protocol) => {
                        let speaks_h2 = protocol == UpstreamProtocol::H2c;
                        Ok(Dialled { stream: Box::new(stream), speaks_h2, tls: false })
                    }
                }
            };
            failure = match timeout(patience, connect).await {
                Ok(Ok(dialled)) => return Ok((dialled, call)),
                Ok(Err(_)) => Failure::ConnectFailed,
                Err(_) => Failure::ConnectTimeout,
            };
            call.failed();
        }
        Err(failure)
    }

    async fn secure(&self, exchange: &Exchange, stream: TcpStream) -> std::io::Result<Box<dyn Io>> {
        let odd = |what: &str| std::io::Error::other(what.to_owned());
        let taken = exchange.taken.as_ref().ok_or_else(|| odd("not taken in"))?;
        let (key, _) = taken.session.ok_or_else(|| odd("no session"))?;
        let (gate, _) = taken.gate(key).ok_or_else(|| odd("no gate"))?;
        let credentials = self.parts.credentials.as_ref().ok_or_else(|| odd("no identity"))?;
        let name = ServerName::try_from(gate.name.clone()).map_err(|_| odd("no name"))?;
        let connector = TlsConnector::from(Arc::clone(&credentials.tunnel));
        Ok(Box::new(connector.connect(name, stream).await?))
    }
}

/// TLS to an endpoint, under the host of its address.
async fn secure_endpoint(
    exchange: &Exchange,
    upstream: &Upstream,
    stream: TcpStream,
    speaks_h2: bool,
) -> std::io::Result<Dialled> {
    let odd = |what: &str| std::io::Error::other(what.to_owned());
    let taken = exchange.taken.as_ref().ok_or_else(|| odd("not taken in"))?;
    let name = ServerName::try_from(upstream.host().to_owned()).map_err(|_| odd("no name"))?;
    // Without ALPN what is spoken is HTTP/1.1, which an upgrade is one of.
    let mut config = taken.facts.endpoints.trust().client_config();
    if speaks_h2 {
        Arc::make_mut(&mut config).alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    }
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    let speaks_h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
    Ok(Dialled { stream: Box::new(stream), speaks_h2, tls: true })
}
