//! The applications that serve clients and edges. One of them fetches ahead of sessions as well:
//! the one whose connections to endpoints those sessions' requests will use.

use std::{io, sync::Arc};

use pingora_core::services::Service as _;
use rustls::crypto::aws_lc_rs;
use tokio::{runtime::Runtime, sync::watch};

use super::{StartFault, spawn};
use crate::{
    config::Settings,
    drain::Leaving,
    http::{
        application::application,
        edge::{Edge, EdgeParts},
        facts::FactsCell,
    },
    listen::Listeners,
    live::LiveTable,
    prewarm::Prewarm,
    telemetry::{Metrics, Recorder},
};

/// What is known of sessions' fetches: nothing yet.
pub(super) fn prewarm(
    settings: &Settings,
    (live, facts): (&Arc<LiveTable>, &Arc<FactsCell>),
    recorder: &Arc<Recorder>,
    metrics: &Metrics,
) -> Result<Arc<Prewarm>, StartFault> {
    let mut seed = [0; 8];
    let random = aws_lc_rs::default_provider().secure_random;
    random.fill(&mut seed).map_err(|_| StartFault::System {
        what: "drawing a random number",
        error: io::Error::other("no randomness"),
    })?;
    Ok(Arc::new(Prewarm::new(
        settings.prewarm,
        settings.limits.threads,
        u64::from_ne_bytes(seed),
        (Arc::clone(live), Arc::clone(facts)),
        Arc::clone(recorder),
        metrics,
    )))
}

/// Serves clients, edges or both; tells when all of them are done.
pub(super) fn start(
    edge: &Runtime,
    parts: EdgeParts,
    threads: usize,
    (clients, edges): (Listeners, Option<Listeners>),
    leaving: &Leaving,
) -> watch::Receiver<bool> {
    let prewarm = Arc::clone(&parts.prewarm);
    let mut served = Vec::new();
    let mut fetching = None;
    if let Some(listeners) = edges {
        let app = Arc::new(application(Edge::for_edges(parts.clone()), threads));
        fetching = Some(Arc::clone(&app));
        served.push(listeners.serve(app));
    }
    if !clients.addresses().is_empty() {
        let app = Arc::new(application(Edge::new(parts), threads));
        fetching.get_or_insert_with(|| Arc::clone(&app));
        served.push(clients.serve(app));
    }
    if let Some(app) = fetching {
        spawn(edge, "prewarming", prewarm.keep(app));
    }
    let (done, edge_done) = watch::channel(false);
    let stop = leaving.watch();
    spawn(edge, "edge", async move {
        let mut services = tokio::task::JoinSet::new();
        for mut service in served {
            let stop = stop.clone();
            services.spawn(async move { service.start_service(None, stop, 1).await });
        }
        while services.join_next().await.is_some() {}
        done.send_replace(true);
    });
    edge_done
}
