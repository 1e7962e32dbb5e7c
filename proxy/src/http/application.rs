//! The edge as pingora runs it: its defaults replaced where they are unbounded or made for a demo.

use std::{sync::Arc, time::Duration};

use pingora_core::{
    apps::HttpServerOptions, protocols::http::v2::server::default_h2_options,
    server::configuration::ServerConf,
};
use pingora_proxy::HttpProxy;

use super::edge::Edge;

/// Idle connections kept to all endpoints together. One too few costs a connect per request.
const UPSTREAM_POOL: usize = 16_384;
/// Requests at once on one client's HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// How long an HTTP/2 connection without requests is kept.
const H2_IDLE: Duration = Duration::from_secs(60);
/// Times pingora may come back to the edge for another endpoint; the edge keeps the real budget.
const TRIES_MAX: usize = 32;

/// The application that listeners serve, on a runtime of `threads` threads.
#[must_use]
pub fn application(edge: Edge, threads: usize) -> HttpProxy<Edge> {
    let conf = ServerConf {
        threads: threads.max(1),
        upstream_keepalive_pool_size: UPSTREAM_POOL,
        max_retries: TRIES_MAX,
        ..ServerConf::default()
    };
    let head_bytes_max = edge.parts.rules.load().head_bytes_max;
    let mut proxy = pingora_proxy::http_proxy(&Arc::new(conf), edge);
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.h2_idle_timeout = Some(H2_IDLE);
    proxy.server_options = Some(options);
    let mut h2 = default_h2_options();
    h2.max_header_list_size(u32::try_from(head_bytes_max).unwrap_or(u32::MAX));
    h2.max_concurrent_streams(STREAMS_MAX);
    proxy.h2_options = Some(h2);
    proxy
}
