//! The link's listening side: connections of other gates are checked against the table before a
//! stream of theirs is looked at, and each stream is a task of its own.

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Report,
    driver::{Driver, Fleet},
    incoming::Incoming,
};

/// Connections served at one time; a fleet has fewer gates.
const CONNECTIONS_MAX: usize = 1_024;
/// How often handoffs that are over are forgotten.
const SWEEP: std::time::Duration = std::time::Duration::from_secs(10);

/// Serves the link for as long as it is polled.
pub async fn serve(
    driver: Arc<Driver>,
    fleet: Arc<Fleet>,
    incoming: Arc<Incoming>,
    reports: mpsc::Sender<Report>,
) {
    let mut connections = JoinSet::new();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            asked = fleet.link.accept() => {
                let Some(asked) = asked else { return };
                if connections.len() >= CONNECTIONS_MAX {
                    asked.refuse();
                    continue;
                }
                let parts = (Arc::clone(&driver), Arc::clone(&fleet), Arc::clone(&incoming));
                connections.spawn(connection(asked, parts, reports.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = sweep.tick() => incoming.sweep(&driver.live.load()),
        }
    }
}

type Parts = (Arc<Driver>, Arc<Fleet>, Arc<Incoming>);

async fn connection(
    asked: quinn::Incoming,
    (driver, fleet, incoming): Parts,
    reports: mpsc::Sender<Report>,
) {
    let from = asked.remote_address();
    let connection = match asked.await {
        Ok(connection) => connection,
        Err(fault) => {
            driver.metrics.links_refused.inc();
            tracing::warn!(%from, %fault, "refused a connection on the handoff link");
            return;
        }
    };
    let names = fleet.peer_names(&connection);
    let is_gate = {
        let live = driver.live.load();
        let mut gates = live.table.facts().zones.iter().flat_map(|zone| &zone.gates);
        gates.any(|gate| names.contains(&gate.name))
    };
    if !is_gate {
        driver.metrics.links_refused.inc();
        tracing::warn!(%from, ?names, "refused a connection on the handoff link: no gate's name");
        connection.close(1_u8.into(), b"the table has no gate of your certificate's name");
        return;
    }
    let names = Arc::new(names);
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_bi() => {
                let Ok(stream) = stream else { break };
                let (driver, fleet) = (Arc::clone(&driver), Arc::clone(&fleet));
                let (incoming, reports) = (Arc::clone(&incoming), reports.clone());
                let names = Arc::clone(&names);
                streams.spawn(async move {
                    incoming.serve(&driver, &fleet, &reports, (&names, stream)).await;
                });
            }
            Some(_) = streams.join_next() => {}
        }
    }
    // What is under way ends by itself: dropping it in the middle of an import would leave the
    // store with half of what the machine believes.
    while streams.join_next().await.is_some() {}
}
