//! Counters of the process, plain atomics, written out in the Prometheus text format. Names and
//! units follow Prometheus' conventions; no label holds a session or a user.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;

use crate::{clock, shared::Shared};

/// The counters.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Rounds turned.
    pub rounds: Counter,
    /// Microseconds the last plan took.
    pub plan_us: Counter,
    /// Journal transactions written.
    pub journal_writes: Counter,
    /// Microseconds of all journal transactions.
    pub journal_us: Counter,
    /// Record batches taken in.
    pub record_batches: Counter,
    /// Record batches that had been taken in before.
    pub record_batches_repeated: Counter,
    /// Sessions' activities taken in.
    pub activities: Counter,
    /// Deltas sent to proxies.
    pub deltas_sent: Counter,
    /// Whole tables sent to proxies.
    pub snapshots_sent: Counter,
    /// Parts of tables sent to proxies whose own differed.
    pub repairs_sent: Counter,
    /// Bytes of all three.
    pub table_bytes_sent: Counter,
    /// Directives issued.
    pub directives_issued: Counter,
    /// Steps of series that were unusual.
    pub anomalies: Counter,
    /// Sessions given to their heirs.
    pub successions: Counter,
    /// Links refused at their first message.
    pub links_refused: Counter,
    /// Proxies that waited in line to be brought up to date.
    pub links_waited: Counter,
    /// Nacks, by reason.
    pub nacks: Labelled,
    /// Outcomes, by end.
    pub outcomes: Labelled,
    /// Requests to webhooks about anomalies, by what became of them.
    pub alerts: Labelled,
    /// API requests, by status class.
    pub requests: Labelled,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Sets, for the few that are gauges.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter for each of a few fixed words.
#[derive(Debug, Default)]
pub struct Labelled(Mutex<BTreeMap<&'static str, u64>>);

impl Labelled {
    /// Adds one.
    pub fn add(&self, word: &'static str) {
        *self.0.lock().entry(word).or_default() += 1;
    }

    /// Its value for a word.
    pub fn get(&self, word: &'static str) -> u64 {
        self.0.lock().get(word).copied().unwrap_or(0)
    }
}

/// Everything, in the Prometheus text format.
#[must_use]
pub fn render(shared: &Shared) -> String {
    let metrics = &shared.metrics;
    let mut out = String::new();
    let plain = [
        ("rounds_total", "counter", &metrics.rounds),
        ("plan_microseconds", "gauge", &metrics.plan_us),
        ("journal_writes_total", "counter", &metrics.journal_writes),
        ("journal_microseconds_total", "counter", &metrics.journal_us),
        ("record_batches_total", "counter", &metrics.record_batches),
        ("record_batches_repeated_total", "counter", &metrics.record_batches_repeated),
        ("activities_total", "counter", &metrics.activities),
        ("deltas_sent_total", "counter", &metrics.deltas_sent),
        ("snapshots_sent_total", "counter", &metrics.snapshots_sent),
        ("repairs_sent_total", "counter", &metrics.repairs_sent),
        ("table_bytes_sent_total", "counter", &metrics.table_bytes_sent),
        ("directives_issued_total", "counter", &metrics.directives_issued),
        ("anomalies_total", "counter", &metrics.anomalies),
        ("successions_total", "counter", &metrics.successions),
        ("links_refused_total", "counter", &metrics.links_refused),
        ("links_waited_total", "counter", &metrics.links_waited),
    ];
    for (name, kind, counter) in plain {
        number(&mut out, name, kind, counter.get());
    }
    let labelled = [
        ("nacks_total", "reason", &metrics.nacks),
        ("outcomes_total", "end", &metrics.outcomes),
        ("alerts_total", "end", &metrics.alerts),
        ("api_requests_total", "status", &metrics.requests),
    ];
    for (name, label, counters) in labelled {
        let _ = writeln!(out, "# TYPE homing_control_{name} counter");
        for (word, n) in counters.0.lock().iter() {
            let _ = writeln!(out, "homing_control_{name}{{{label}=\"{word}\"}} {n}");
        }
    }
    let lessons = shared.lessons.read().clone();
    number(&mut out, "moves_compared_total", "counter", lessons.compared);
    let _ = writeln!(out, "# TYPE homing_control_moves_uncompared_total counter");
    for (word, n) in &lessons.uncompared {
        let _ = writeln!(out, "homing_control_moves_uncompared_total{{reason=\"{word}\"}} {n}");
    }
    number(&mut out, "term", "gauge", shared.term);
    number(&mut out, "proxies_attached", "gauge", shared.roll.list().len() as u64);
    if let Some(table) = shared.published.table() {
        number(&mut out, "table_number", "gauge", table.version().n);
        number(&mut out, "exceptions", "gauge", table.exceptions().len() as u64);
        number(&mut out, "directives_open", "gauge", table.directives().len() as u64);
        zones(&mut out, shared, &table.facts().zones);
        brought(&mut out, shared, &table.facts().zones);
    }
    let _ = writeln!(out, "# TYPE homing_control_build_info gauge");
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(out, "homing_control_build_info{{version=\"{version}\"}} 1");
    out
}

fn zones(out: &mut String, shared: &Shared, zones: &[homing_wire::Zone]) {
    let figures = shared.zones.read().clone();
    let _ = writeln!(out, "# TYPE homing_control_zone_sessions gauge");
    for (zone, figures) in zones.iter().zip(figures.iter()) {
        let (name, living) = (&zone.name, figures.living.max(figures.reported));
        let _ = writeln!(out, "homing_control_zone_sessions{{zone=\"{name}\"}} {living}");
    }
    let _ = writeln!(out, "# TYPE homing_control_zone_shadow_price_microseconds gauge");
    for zone in zones {
        let (name, price) = (&zone.name, zone.shadow_price_us);
        let metric = "homing_control_zone_shadow_price_microseconds";
        let _ = writeln!(out, "{metric}{{zone=\"{name}\"}} {price}");
    }
}

/// What stated round trips to each zone are multiplied by, and what share of moves there made
/// things worse, for zones that sessions were moved to.
fn brought(out: &mut String, shared: &Shared, zones: &[homing_wire::Zone]) {
    let (lessons, now_ms) = (shared.lessons.read().clone(), clock::now_ms());
    let told: Vec<_> = zones
        .iter()
        .enumerate()
        .filter_map(|(index, zone)| {
            let id = homing_wire::ZoneId(index as u8);
            Some((&zone.name, lessons.feedback.of_zone(None, id, now_ms)?))
        })
        .collect();
    let _ = writeln!(out, "# TYPE homing_control_zone_round_trip_factor gauge");
    for (name, brought) in &told {
        let (metric, factor) = ("homing_control_zone_round_trip_factor", brought.correction.factor);
        let _ = writeln!(out, "{metric}{{zone=\"{name}\"}} {factor:.3}");
    }
    let _ = writeln!(out, "# TYPE homing_control_zone_moves_regretted_ratio gauge");
    for (name, brought) in &told {
        let (metric, share) = ("homing_control_zone_moves_regretted_ratio", brought.regretted);
        let _ = writeln!(out, "{metric}{{zone=\"{name}\"}} {share:.3}");
    }
}

fn number(out: &mut String, name: &str, kind: &str, n: u64) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# TYPE homing_control_{name} {kind}\nhoming_control_{name} {n}");
}
