//! What replicas cost, and how far they lag behind.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Counts of copies.
#[derive(Debug)]
pub struct ReplicaCounts {
    /// Copies taken by other gates.
    pub copies: Counter,
    /// Bytes of them.
    pub bytes: Counter,
    /// Copies that did not reach their keeper, or that it refused.
    pub failed: Counter,
    /// Sessions that could not be replicated because there are too many.
    pub refused: Counter,
    /// Copies kept for other gates.
    pub kept: Counter,
    /// Sessions that went on from their replica here.
    pub adopted: Counter,
    /// Sessions whose replica was gone when it was needed.
    pub lost: Counter,
    /// Answers refused because the replica did not have what they tell.
    pub behind: Counter,
    /// From a write's answer to the keeper's word.
    lag: Histogram,
}

impl Default for ReplicaCounts {
    fn default() -> Self {
        let edges = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
        Self {
            copies: Counter::default(),
            bytes: Counter::default(),
            failed: Counter::default(),
            refused: Counter::default(),
            kept: Counter::default(),
            adopted: Counter::default(),
            lost: Counter::default(),
            behind: Counter::default(),
            lag: Histogram::new(edges),
        }
    }
}

impl ReplicaCounts {
    /// A copy of so many bytes has reached its keeper.
    pub fn sent(&self, bytes: u64) {
        self.copies.inc();
        self.bytes.inc_by(bytes);
    }

    /// The keeper has a write so long after it was made.
    pub fn lagged(&self, lag: Duration) {
        self.lag.observe(lag.as_secs_f64());
    }

    /// Has them shown.
    pub(super) fn show(self: &Arc<Self>, registry: &mut Registry) {
        let plain: [(&str, &str, &Counter); 7] = [
            ("copies", "Copies of state that keepers of replicas took", &self.copies),
            ("failed", "Copies that no keeper took", &self.failed),
            ("refused", "Sessions that are too many to be replicated", &self.refused),
            ("kept", "Copies kept for other gates", &self.kept),
            ("adopted", "Sessions that went on from their replica", &self.adopted),
            ("lost", "Sessions whose replica was gone when it was needed", &self.lost),
            ("behind", "Answers refused because their replica was behind", &self.behind),
        ];
        for (name, help, counter) in plain {
            registry.register(format!("replica_{name}"), help, counter.clone());
        }
        let (bytes, lag) = (self.bytes.clone(), self.lag.clone());
        registry.register_with_unit("replica_copied", "Bytes of copies", Unit::Bytes, bytes);
        let help = "From a write to the keeper's word that it has it";
        registry.register_with_unit("replica_lag", help, Unit::Seconds, lag);
    }
}
