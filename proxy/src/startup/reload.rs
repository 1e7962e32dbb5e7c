//! New settings over a running process: all that can change without a restart changes, or nothing
//! does.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use crate::{
    config::{Secrets, Settings},
    http::edge::EdgeRules,
    listen::tls::{CertFault, CertStore},
    local_authority::{FactsRefused, Order},
    telemetry::Metrics,
};

/// Why new settings were not put in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadFault {
    /// A certificate cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertFault),
    /// The zones or services do not fit what is running.
    #[error("{0}")]
    Facts(#[from] FactsRefused),
    /// A secret cannot be had.
    #[error("a secret cannot be had: {0}")]
    Secrets(std::io::Error),
    /// The process is leaving.
    #[error("the process is leaving")]
    Leaving,
}

pub(super) struct Reloading {
    pub(super) settings: ArcSwap<Settings>,
    pub(super) secrets: Secrets,
    pub(super) rules: Arc<ArcSwap<EdgeRules>>,
    pub(super) certificates: Vec<Option<Arc<CertStore>>>,
    pub(super) orders: Option<mpsc::Sender<Order>>,
    pub(super) metrics: Arc<Metrics>,
}

impl Reloading {
    pub(super) async fn reload(&self, settings: Settings) -> Result<Vec<String>, ReloadFault> {
        let done = self.put_in_force(settings).await;
        if done.is_err() {
            self.metrics.reloads_refused.inc();
        }
        done
    }

    async fn put_in_force(&self, settings: Settings) -> Result<Vec<String>, ReloadFault> {
        let before = self.settings.load_full();
        let mut told = Vec::new();
        let wait_for_restart = [
            (
                "listen",
                before
                    .listen
                    .iter()
                    .map(|l| l.address)
                    .ne(settings.listen.iter().map(|l| l.address)),
            ),
            ("admin", before.admin.address != settings.admin.address),
            ("state_dir", before.state_dir != settings.state_dir),
            ("role", before.role != settings.role),
            ("gate", before.gate != settings.gate),
            ("identity", before.identity != settings.identity),
            ("name", before.name != settings.name),
            ("access_log", before.access_log != settings.access_log),
            ("stores", before.stores != settings.stores),
            ("endpoints_ca", before.endpoints_ca != settings.endpoints_ca),
            ("limits", before.limits != settings.limits),
            ("prewarm", before.prewarm != settings.prewarm),
            ("drain", before.drain != settings.drain),
            ("control", before.control != settings.control),
        ];
        let waiting = wait_for_restart.iter().filter(|(_, changed)| *changed);
        told.extend(waiting.map(|(what, _)| format!("`{what}` changed; it waits for a restart")));
        let mut secrets =
            settings.secrets.resolve(&before.state_dir).map_err(ReloadFault::Secrets)?;
        // Another key would turn every session into a stranger.
        secrets.session_key = self.secrets.session_key.clone();
        // The document first: it is the part that may be refused as a whole.
        if let (Some(orders), Some(facts)) = (&self.orders, &settings.facts)
            && before.facts.as_ref() != Some(facts)
        {
            let (reply, answer) = oneshot::channel();
            let order = Order::Facts { facts: Box::new(facts.clone()), reply };
            orders.send(order).await.map_err(|_| ReloadFault::Leaving)?;
            answer.await.map_err(|_| ReloadFault::Leaving)??;
            told.push("zones, services and policy are in force".to_owned());
        }
        for (store, listen) in self.certificates.iter().zip(&settings.listen) {
            if let (Some(store), Some(files)) = (store, &listen.tls) {
                store.reload(files)?;
            }
        }
        self.rules.store(Arc::new(EdgeRules::new(&settings, &secrets)));
        self.settings.store(Arc::new(settings));
        Ok(told)
    }
}
