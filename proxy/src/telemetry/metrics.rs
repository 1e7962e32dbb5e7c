//! Counters of rare events and the text of `/metrics`. Labels are bounded: zone and service names
//! of the table, and the words of closed enums; never a session, an address or an error's text.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use homing_wire::{UndoneReason, ZoneId, message::NackReason};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text},
    metrics::{
        counter::{ConstCounter, Counter},
        gauge::ConstGauge,
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};

use super::{
    edge::EdgeCounts,
    prewarm::PrewarmCounts,
    recorder::{Recorder, StatusClass},
    replicas::ReplicaCounts,
};
use crate::{listen::ConnectionCounts, live::LiveTable};

/// Upper edges of the latency histogram that is shown, microseconds; powers of two, at which the
/// recorder's finer buckets add up exactly.
const LATENCY_EDGES_US: [u64; 14] = {
    let mut edges = [0; 14];
    let mut at = 0;
    while at < edges.len() {
        edges[at] = (1 << (at + 8)) - 1;
        at += 1;
    }
    edges
};

/// Counters of the process. Each is an atomic that may be bumped from anywhere.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Session cookies that no key of ours made.
    pub cookies_tampered: Counter,
    /// Session cookies that had outlived their session.
    pub cookies_expired: Counter,
    /// Bearer tokens that could not be verified.
    pub tokens_refused: Counter,
    /// Session keys minted.
    pub sessions_minted: Counter,
    /// Requests redirected from one gate to another.
    pub redirects: Counter,
    /// Sessions given to another gate of the zone.
    pub ceded: Counter,
    /// Sessions that another gate of the zone has given.
    pub received: Counter,
    /// Questions to another gate of the zone that had no answer.
    pub cessions_unanswered: Counter,
    /// Requests that waited in the hold.
    pub holds: Counter,
    /// Of those, requests whose hold reached its bound.
    pub hold_timeouts: Counter,
    /// Requests refused because the hold was full.
    pub hold_refusals: Counter,
    /// Requests sent again to another endpoint.
    pub retries: Counter,
    /// Requests not sent again because their zone's budget of retries was spent.
    pub retries_refused: Counter,
    /// Handoffs completed.
    pub handoffs_completed: Counter,
    /// Handoffs undone, by [`UndoneReason`].
    pub handoffs_undone: [Counter; UndoneReason::ALL.len()],
    /// Handoffs tried again after a passing fault.
    pub handoff_retries: Counter,
    /// Tables and deltas refused, by [`NackReason`].
    pub nacks: [Counter; NackReason::ALL.len()],
    /// Tables that differed from control's and were mended in part.
    pub repairs: Counter,
    /// Configuration reloads that were refused.
    pub reloads_refused: Counter,
    /// WebSockets whose leg was replaced under an open client.
    pub tunnels_carried: Counter,
    /// WebSockets whose client had to be sent away because no next leg could be had.
    pub tunnels_broken: Counter,
    /// WebSockets that were cut off because their client did not read.
    pub tunnels_stuck: Counter,
    /// Event streams whose leg was replaced under an open client.
    pub streams_carried: Counter,
    /// Event streams that were ended because no next leg could be had.
    pub streams_ended: Counter,
    /// Messages of clients given to an app once more.
    pub messages_replayed: Counter,
    /// Answers given out of the cache, fresh or checked.
    pub cache_hits: Counter,
    /// Answers given out of the cache after their time, as they allow.
    pub cache_stale: Counter,
    /// Requests that the cache might have answered and did not.
    pub cache_misses: Counter,
    /// What was fetched ahead of sessions.
    pub prewarm: Arc<PrewarmCounts>,
    /// What replicas of sessions come to.
    pub replicas: Arc<ReplicaCounts>,
    /// Connections of other nodes that were refused for their certificate, name or protocol.
    pub links_refused: Counter,
    /// Pauses of completed handoffs.
    pub pauses: Pauses,
    /// How long clients' messages waited while their WebSockets were carried.
    pub gaps: Gaps,
}

/// The histogram of pauses.
#[derive(Clone, Debug)]
pub struct Pauses(Histogram);

impl Default for Pauses {
    fn default() -> Self {
        let edges = [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512];
        Self(Histogram::new(edges))
    }
}

/// The histogram of a carried WebSocket's gaps.
#[derive(Clone, Debug)]
pub struct Gaps(Histogram);

impl Default for Gaps {
    fn default() -> Self {
        let edges_ms = [
            1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0, 192.0, 256.0,
            384.0, 512.0, 768.0, 1024.0, 1536.0, 2048.0, 4096.0, 8192.0,
        ];
        Self(Histogram::new(edges_ms.map(|ms| ms / 1e3)))
    }
}

impl Metrics {
    /// A WebSocket goes on at its next leg after a gap.
    pub fn carried(&self, gap: Duration) {
        self.tunnels_carried.inc();
        self.gaps.0.observe(gap.as_secs_f64());
    }

    /// A handoff has completed after a pause.
    pub fn completed(&self, pause_us: u64) {
        self.handoffs_completed.inc();
        self.pauses.0.observe(pause_us as f64 / 1e6);
    }

    /// The cache had a part in an answer.
    pub fn cached(&self, phase: pingora_cache::CachePhase) {
        use pingora_cache::CachePhase::{Hit, Revalidated, Stale, StaleUpdating};

        match phase {
            Hit | Revalidated => &self.cache_hits,
            Stale | StaleUpdating => &self.cache_stale,
            _ => &self.cache_misses,
        }
        .inc();
    }

    /// A handoff was undone.
    pub fn undone(&self, why: UndoneReason) {
        if let Some(index) = UndoneReason::ALL.iter().position(|known| *known == why) {
            self.handoffs_undone[index].inc();
        }
    }

    /// A table was refused.
    pub fn nack(&self, reason: NackReason) {
        if let Some(index) = NackReason::ALL.iter().position(|known| *known == reason) {
            self.nacks[index].inc();
        }
    }
}

/// What else is shown, asked at each scrape.
pub trait Gauges: fmt::Debug + Send + Sync + 'static {
    /// Sessions resident in a zone's gate.
    fn resident(&self, zone: ZoneId) -> u64;
    /// Requests held now.
    fn held(&self) -> u64;
    /// Handoffs under way.
    fn handoffs_under_way(&self) -> u64;
    /// Whether control is attached; `None` without control.
    fn control_attached(&self) -> Option<bool>;
}

/// The page behind `/metrics`.
#[derive(Debug)]
pub struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// Everything that is shown.
    pub fn new(
        metrics: &Metrics,
        recorder: Arc<Recorder>,
        live: Arc<LiveTable>,
        gauges: Arc<dyn Gauges>,
    ) -> Self {
        let mut registry = Registry::with_prefix("homing");
        let plain: [(&str, &str, &Counter); 26] = [
            ("cookies_tampered", "Session cookies that no key made", &metrics.cookies_tampered),
            ("cookies_expired", "Session cookies past their session", &metrics.cookies_expired),
            ("tokens_refused", "Bearer tokens not verified", &metrics.tokens_refused),
            ("sessions_minted", "Session keys minted", &metrics.sessions_minted),
            ("redirects", "Requests redirected between gates", &metrics.redirects),
            ("holds", "Requests that waited in the hold", &metrics.holds),
            ("hold_timeouts", "Holds that reached their bound", &metrics.hold_timeouts),
            ("hold_refusals", "Requests refused by a full hold", &metrics.hold_refusals),
            ("retries", "Requests sent again to another endpoint", &metrics.retries),
            ("retries_refused", "Retries not in the zone's budget", &metrics.retries_refused),
            ("handoff_retries", "Handoffs tried again", &metrics.handoff_retries),
            ("repairs", "Tables mended by parts of control's", &metrics.repairs),
            ("reloads_refused", "Reloads refused for a bad file", &metrics.reloads_refused),
            ("tunnels_carried", "WebSockets carried to a new leg", &metrics.tunnels_carried),
            ("tunnels_broken", "WebSockets that could not be", &metrics.tunnels_broken),
            ("tunnels_stuck", "WebSockets whose client did not read", &metrics.tunnels_stuck),
            ("streams_carried", "Event streams carried to a new home", &metrics.streams_carried),
            ("streams_ended", "Event streams ended for want of one", &metrics.streams_ended),
            ("messages_replayed", "Messages given to an app again", &metrics.messages_replayed),
            ("cache_hits", "Answers out of the cache", &metrics.cache_hits),
            ("cache_stale", "Answers out of the cache after their time", &metrics.cache_stale),
            ("cache_misses", "Answers the cache did not have", &metrics.cache_misses),
            ("sessions_ceded", "Sessions given to a gate that joined", &metrics.ceded),
            ("sessions_received", "Sessions taken over on joining", &metrics.received),
            ("cessions_unanswered", "Asked for a session in vain", &metrics.cessions_unanswered),
            ("links_refused", "Nodes refused on the handoff link", &metrics.links_refused),
        ];
        for (name, help, counter) in plain {
            registry.register(name, help, counter.clone());
        }
        metrics.prewarm.show(&mut registry);
        metrics.replicas.show(&mut registry);
        let pause = "Time from freeze to thaw of completed handoffs";
        registry.register_with_unit(
            "handoff_pause",
            pause,
            Unit::Seconds,
            metrics.pauses.0.clone(),
        );
        let gap = "Time that a client's messages wait while its WebSocket is carried";
        registry.register_with_unit("tunnel_gap", gap, Unit::Seconds, metrics.gaps.0.clone());
        let undone = UndoneReason::ALL.iter().zip(&metrics.handoffs_undone);
        let labelled = Labelled {
            handoffs: std::iter::once(("completed", "none", metrics.handoffs_completed.clone()))
                .chain(undone.map(|(why, counter)| ("undone", why.name(), counter.clone())))
                .collect(),
            nacks: NackReason::ALL
                .iter()
                .zip(&metrics.nacks)
                .map(|(reason, counter)| (reason.name(), counter.clone()))
                .collect(),
        };
        registry.register_collector(Box::new(labelled));
        registry.register_collector(Box::new(ByZone { recorder, live, gauges }));
        Self { registry }
    }

    /// Shows what the edge's listeners did too, and how many lines its log has dropped.
    #[must_use]
    pub fn with_edge(
        mut self,
        listeners: Vec<Arc<ConnectionCounts>>,
        lines_dropped: Option<Arc<AtomicU64>>,
    ) -> Self {
        self.registry.register_collector(Box::new(EdgeCounts { listeners, lines_dropped }));
        self
    }

    /// The page in OpenMetrics text.
    ///
    /// # Errors
    /// None in practice: it is written to a string.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

#[derive(Debug)]
struct Labelled {
    handoffs: Vec<(&'static str, &'static str, Counter)>,
    nacks: Vec<(&'static str, Counter)>,
}

impl Collector for Labelled {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let kind = prometheus_client::metrics::MetricType::Counter;
        let mut family =
            encoder.encode_descriptor("handoffs", "Handoffs by outcome", None, kind)?;
        for (outcome, reason, counter) in &self.handoffs {
            let labels = [("outcome", *outcome), ("reason", *reason)];
            counter.encode(family.encode_family(&labels)?)?;
        }
        let help = "Tables and deltas refused";
        let mut family = encoder.encode_descriptor("nacks", help, None, kind)?;
        for (reason, counter) in &self.nacks {
            counter.encode(family.encode_family(&[("reason", *reason)])?)?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct ByZone {
    recorder: Arc<Recorder>,
    live: Arc<LiveTable>,
    gauges: Arc<dyn Gauges>,
}

impl Collector for ByZone {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        use prometheus_client::metrics::MetricType::{Counter, Gauge};
        let live = self.live.load();
        let zones = || live.table.facts().zones.iter().zip(0..=u8::MAX);
        let read = |id: u8| self.recorder.read(ZoneId(id));

        let mut family =
            encoder.encode_descriptor("requests", "Requests answered", None, Counter)?;
        for (zone, reading) in zones().filter_map(|(zone, id)| Some((zone, read(id)?))) {
            for class in StatusClass::ALL {
                let labels = [("zone", zone.name.as_str()), ("class", class.name())];
                let count = ConstCounter::new(reading.requests[class as usize]);
                count.encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Requests whose response head came within the time";
        let mut family = encoder.encode_descriptor("requests_within", help, None, Counter)?;
        for (zone, reading) in zones().filter_map(|(zone, id)| Some((zone, read(id)?))) {
            for edge in LATENCY_EDGES_US {
                let seconds = ((edge + 1) as f64 / 1e6).to_string();
                let labels = [("zone", zone.name.as_str()), ("le", seconds.as_str())];
                let count = ConstCounter::new(reading.at_most(edge));
                count.encode(family.encode_family(&labels)?)?;
            }
        }
        let mut family =
            encoder.encode_descriptor("requests_in_flight", "Requests in flight", None, Gauge)?;
        for (zone, reading) in zones().filter_map(|(zone, id)| Some((zone, read(id)?))) {
            let gauge = ConstGauge::new(i64::from(reading.in_flight));
            gauge.encode(family.encode_family(&[("zone", zone.name.as_str())])?)?;
        }
        let help = "Sessions that live in the zone and are remembered";
        let mut family = encoder.encode_descriptor("sessions", help, None, Gauge)?;
        for (zone, id) in zones() {
            let gauge = ConstGauge::new(self.gauges.resident(ZoneId(id)) as i64);
            gauge.encode(family.encode_family(&[("zone", zone.name.as_str())])?)?;
        }
        self.encode_table(&mut encoder)
    }
}

impl ByZone {
    fn encode_table(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let live = self.live.load();
        let version = live.table.version();
        let mut gauge = |name: &str, help: &str, value: i64| {
            let gauge = ConstGauge::new(value);
            let kind = prometheus_client::metrics::MetricType::Gauge;
            gauge.encode(encoder.encode_descriptor(name, help, None, kind)?)
        };
        gauge("table_term", "Leadership term of the table in force", version.term as i64)?;
        gauge("table_number", "Number of the table in force within its term", version.n as i64)?;
        gauge("table_exceptions", "Exceptions in it", live.table.exceptions().len() as i64)?;
        gauge("table_directives", "Open directives in it", live.table.directives().len() as i64)?;
        gauge("requests_held", "Requests held now", self.gauges.held() as i64)?;
        let under_way = self.gauges.handoffs_under_way();
        gauge("handoffs_under_way", "Handoffs under way", under_way as i64)?;
        if let Some(attached) = self.gauges.control_attached() {
            gauge("control_attached", "Whether control is attached", attached.into())?;
        }
        Ok(())
    }
}
