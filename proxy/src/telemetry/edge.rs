//! What `/metrics` shows of the edge's sockets and its log. Apart from the other counters because
//! these are kept where they are counted, one set a listener.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::listen::ConnectionCounts;

/// The edge's own counts.
#[derive(Debug)]
pub(super) struct EdgeCounts {
    /// One a listener.
    pub(super) listeners: Vec<Arc<ConnectionCounts>>,
    /// Access log lines dropped; `None` without a log.
    pub(super) lines_dropped: Option<Arc<AtomicU64>>,
}

impl Collector for EdgeCounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut encoder;
        let open = |counts: &ConnectionCounts| {
            ConstGauge::new(i64::try_from(counts.open.load(Relaxed)).unwrap_or(i64::MAX))
        };
        let accepted = |counts: &ConnectionCounts| ConstCounter::new(counts.accepted.load(Relaxed));
        let full = |counts: &ConnectionCounts| ConstCounter::new(counts.full.load(Relaxed));
        let failed =
            |counts: &ConnectionCounts| ConstCounter::new(counts.handshakes_failed.load(Relaxed));
        let kind = MetricType::Counter;
        self.family(out, "connections_open", "Client connections", MetricType::Gauge, open)?;
        self.family(out, "connections_accepted", "Connections accepted", kind, accepted)?;
        let help = "Times a listener had as many connections as it may and let others wait";
        self.family(out, "listener_full", help, kind, full)?;
        self.family(out, "tls_handshakes_failed", "TLS handshakes failed", kind, failed)?;
        if let Some(dropped) = &self.lines_dropped {
            let help = "Access log lines dropped because the writer fell behind";
            let family = out.encode_descriptor("access_log_dropped", help, None, kind)?;
            ConstCounter::new(dropped.load(Relaxed)).encode(family)?;
        }
        Ok(())
    }
}

impl EdgeCounts {
    fn family<M: EncodeMetric>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        kind: MetricType,
        read: impl Fn(&ConnectionCounts) -> M,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        for counts in &self.listeners {
            let address = counts.address.to_string();
            read(counts).encode(family.encode_family(&[("listener", address.as_str())])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text, registry::Registry};

    use super::*;

    #[test]
    fn every_listener_is_shown_with_its_counts() {
        let counts = [80, 443].map(|port| {
            Arc::new(ConnectionCounts::new(std::net::SocketAddr::from(([127, 0, 0, 1], port))))
        });
        counts[0].open.store(3, Relaxed);
        counts[1].accepted.store(7, Relaxed);
        counts[1].full.store(2, Relaxed);
        let lines_dropped = Some(Arc::new(AtomicU64::new(9)));
        let mut registry = Registry::with_prefix("homing");
        registry
            .register_collector(Box::new(EdgeCounts { listeners: counts.to_vec(), lines_dropped }));
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        for line in [
            "homing_connections_open{listener=\"127.0.0.1:80\"} 3",
            "homing_connections_accepted_total{listener=\"127.0.0.1:443\"} 7",
            "homing_listener_full_total{listener=\"127.0.0.1:443\"} 2",
            "homing_tls_handshakes_failed_total{listener=\"127.0.0.1:80\"} 0",
            "homing_access_log_dropped_total 9",
        ] {
            assert!(page.lines().any(|known| known == line), "{line} in {page}");
        }
    }
}
