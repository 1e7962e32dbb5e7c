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

/// pingora's settings for the whole process. `grace` is how long requests under way may take
/// once the process is told to leave.
#[must_use]
pub fn server_conf(threads: usize, grace: Duration) -> ServerConf {
    ServerConf {
        threads: threads.max(1),
        upstream_keepalive_pool_size: UPSTREAM_POOL,
        max_retries: TRIES_MAX,
        // What is to end by then waits for it in the edge's own service.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(grace.as_secs().max(1)),
        ..ServerConf::default()
    }
}

/// The application that listeners serve.
#[must_use]
pub fn application(edge: Edge, conf: &Arc<ServerConf>) -> HttpProxy<Edge> {
    let head_bytes_max = edge.parts.rules.load().head_bytes_max;
    let mut proxy = pingora_proxy::http_proxy(conf, edge);
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
