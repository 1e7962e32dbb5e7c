//! A proxy at work, from the side of whoever started it: where it listens, how to change its
//! settings, how to end it.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use tokio::runtime::Runtime;

use super::{
    fleet::LifeOf,
    reload::{ReloadFault, Reloading},
};
use crate::{
    access_log::Writer, cession::Cessions, config::Settings, drain::Leaving, gates::Gates,
    live::LiveTable, outcomes::Outcomes, table_file::TableFile,
};

/// A proxy at work. Dropping it stops it at once.
pub struct Running {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) gate: Option<SocketAddr>,
    pub(super) _life: Option<LifeOf>,
    pub(super) admin: SocketAddr,
    pub(super) live: Arc<LiveTable>,
    pub(super) gates: Arc<Gates>,
    pub(super) outcomes: Arc<Outcomes>,
    pub(super) leaving: Arc<Leaving>,
    pub(super) reloading: Reloading,
    /// Sessions of a gate that go to others when it leaves.
    pub(super) cessions: Option<Arc<Cessions>>,
    pub(super) file: TableFile,
    pub(super) edge_done: tokio::sync::watch::Receiver<bool>,
    pub(super) writer: Option<Writer>,
    pub(super) side: Option<Runtime>,
    pub(super) edge: Option<Runtime>,
}

impl Running {
    /// Where clients are taken in, in the order of the settings, with the ports they got.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where edges are taken in, if it is a gate.
    #[must_use]
    pub fn gate_address(&self) -> Option<SocketAddr> {
        self.gate
    }

    /// Where operators are answered.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// The table in force.
    #[must_use]
    pub fn live(&self) -> &Arc<LiveTable> {
        &self.live
    }

    /// The gates.
    #[must_use]
    pub fn gates(&self) -> &Arc<Gates> {
        &self.gates
    }

    /// What became of directives.
    #[must_use]
    pub fn outcomes(&self) -> &Arc<Outcomes> {
        &self.outcomes
    }

    /// Whether and how far it is leaving.
    #[must_use]
    pub fn leaving(&self) -> &Arc<Leaving> {
        &self.leaving
    }

    /// Puts new settings in force as far as that is possible without a restart. Returns what
    /// changed and what waits for a restart, in words.
    ///
    /// # Errors
    /// Everything stays as it was.
    pub async fn reload(&self, settings: Settings) -> Result<Vec<String>, ReloadFault> {
        self.reloading.reload(settings).await
    }

    /// Counts a reload whose file could not even be read.
    pub(super) fn reload_refused(&self) {
        self.reloading.metrics.reloads_refused.inc();
    }

    /// Leaves gently: not ready, then no new connections, then what is under way may end.
    pub async fn drain(&self) {
        let mut done = self.edge_done.clone();
        let idle = async move {
            // Without a sender the edge has ended as well.
            let _ = done.wait_for(|done| *done).await;
        };
        // A gate's sessions go to the zone's other gates while it still serves.
        self.leaving.begin();
        let began = Instant::now();
        let given = match &self.cessions {
            Some(cessions) => cessions.leave(self.leaving.patience()).await,
            None => false,
        };
        self.leaving.leave(idle, began.elapsed()).await;
        if let Some(cessions) = self.cessions.as_ref().filter(|_| given) {
            cessions.resign().await;
        }
    }

    /// Stops at once and waits for what must be on disk.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        self.leaving.stop();
        // Not joined: a runtime may not be waited for inside another, and tests live in one.
        for runtime in [self.edge.take(), self.side.take()].into_iter().flatten() {
            runtime.shutdown_background();
        }
        let live = self.live.load_full();
        if !live.is_void()
            && let Err(error) = self.file.save(&live.table)
        {
            tracing::error!(%error, "the last table could not be stored");
        }
        drop(self.writer.take());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.edge.is_some() {
            self.halt();
        }
    }
}
