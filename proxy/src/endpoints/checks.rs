//! The loop that looks after endpoints: resolves names, runs active checks, lets ejected ones
//! back. One task for all of them; each check is a short task of its own, bounded in number.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use homing_wire::{HealthCheck, UpstreamProtocol};
use pingora_core::{
    Error, ErrorType, Result,
    connectors::http::Connector,
    upstreams::peer::{ALPN, HttpPeer},
};
use pingora_http::RequestHeader;
use tokio::task::JoinSet;

use super::{EndpointPool, EndpointTrust, Upstream};
use crate::clock::Clock;

/// How often the loop looks at what is due.
const TICK: Duration = Duration::from_millis(100);
/// How long a resolved name is believed.
const RESOLVED: Duration = Duration::from_secs(30);
/// Pause before a name that did not resolve is asked for again.
const UNRESOLVED: Duration = Duration::from_secs(1);
/// Longest wait for a resolver.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Checks and resolutions under way at once; more wait for their turn.
const UNDER_WAY_MAX: usize = 256;

/// When an upstream is next looked at.
#[derive(Default)]
struct Due {
    check: Option<Instant>,
    resolve: Option<Instant>,
}

/// Looks after the pool's endpoints for as long as it is polled.
pub async fn keep(pool: Arc<EndpointPool>) {
    let connector = Arc::new(Connector::new(None));
    let mut due: HashMap<usize, Due> = HashMap::new();
    let mut under_way = JoinSet::new();
    loop {
        tokio::time::sleep(TICK).await;
        while under_way.try_join_next().is_some() {}
        pool.retain_used();
        let upstreams = pool.all();
        let address = |upstream: &Arc<Upstream>| Arc::as_ptr(upstream) as usize;
        if due.len() > upstreams.len() * 2 + 16 {
            let known: std::collections::HashSet<_> = upstreams.iter().map(address).collect();
            due.retain(|upstream, _| known.contains(upstream));
        }
        let (now, now_ms) = (Instant::now(), Clock::process().now_ms());
        for upstream in upstreams {
            upstream.tick(now_ms);
            if under_way.len() >= UNDER_WAY_MAX {
                break;
            }
            let due = due.entry(address(&upstream)).or_default();
            if is_name(&upstream) && due.resolve.is_none_or(|at| at <= now) {
                let resolved = upstream.address().is_some();
                due.resolve = Some(now + if resolved { RESOLVED } else { UNRESOLVED });
                let upstream = Arc::clone(&upstream);
                under_way.spawn(async move { resolve(&upstream).await });
            }
            let Some(check) = upstream.check.load_full() else { continue };
            if due.check.is_none_or(|at| at <= now) {
                due.check = Some(now + Duration::from_millis(check.interval_ms.into()));
                let (connector, trust) = (Arc::clone(&connector), Arc::clone(pool.trust()));
                under_way.spawn(async move { run(&connector, &trust, &upstream, &check).await });
            }
        }
    }
}

fn is_name(upstream: &Upstream) -> bool {
    upstream.endpoint.address.parse::<std::net::SocketAddr>().is_err()
}

async fn resolve(upstream: &Upstream) {
    let name = upstream.endpoint.address.as_str();
    let found = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(name)).await;
    match found {
        Ok(Ok(mut addresses)) => {
            if let Some(address) = addresses.next() {
                upstream.address.store(Some(Arc::new(address)));
                upstream.tick(Clock::process().now_ms());
            }
        }
        // What was resolved before is believed on: a resolver's outage must not become ours.
        Ok(Err(fault)) => tracing::debug!(name, %fault, "endpoint does not resolve"),
        Err(_) => tracing::debug!(name, "resolving the endpoint takes too long"),
    }
}

async fn run(
    connector: &Connector,
    trust: &EndpointTrust,
    upstream: &Upstream,
    check: &HealthCheck,
) {
    let limit = Duration::from_millis(check.timeout_ms.into());
    let asked = tokio::time::timeout(limit, ask(connector, trust, upstream, check)).await;
    let passed = matches!(asked, Ok(Ok(status)) if (200..300).contains(&status));
    upstream.checked(passed, check, Clock::process().now_ms());
}

/// GETs the check's path on a connection of its own, since a kept one proves nothing about
/// whether new ones are taken.
async fn ask(
    connector: &Connector,
    trust: &EndpointTrust,
    upstream: &Upstream,
    check: &HealthCheck,
) -> Result<u16> {
    let address = upstream.address().ok_or_else(|| Error::new(ErrorType::ConnectNoRoute))?;
    let tls = upstream.endpoint.protocol == UpstreamProtocol::Tls;
    let mut peer = HttpPeer::new(address, tls, upstream.host().to_owned());
    peer.options.ca = trust.for_pingora();
    peer.options.alpn = match upstream.endpoint.protocol {
        UpstreamProtocol::H1 => ALPN::H1,
        UpstreamProtocol::H2c => ALPN::H2,
        UpstreamProtocol::Tls => ALPN::H2H1,
    };
    let (mut session, _) = connector.get_http_session(&peer).await?;
    let mut head = RequestHeader::build("GET", check.path.as_bytes(), Some(2))?;
    head.insert_header("host", upstream.endpoint.address.as_str())?;
    head.insert_header("user-agent", "homing-check")?;
    session.write_request_header(Box::new(head)).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    let status = session.response_header().map(|head| head.status.as_u16());
    session.shutdown().await;
    status.ok_or_else(|| Error::new(ErrorType::InvalidHTTPHeader))
}
