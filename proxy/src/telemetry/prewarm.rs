//! Whether prewarming is worth what it costs: what was named, fetched, found useful, thrown away.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::Counter},
    registry::Registry,
};

/// Counts of objects.
#[derive(Debug, Default)]
pub struct PrewarmCounts {
    /// Named by gates that hand sessions over to this one.
    pub offered: Counter,
    /// Fetched and kept.
    pub fetched: Counter,
    /// Bytes of what was fetched, kept or not.
    pub bytes: Counter,
    /// Fetched, and asked for by a user while that was of use.
    pub used: Counter,
    /// Fetched, and thrown out or grown old before a user asked.
    pub wasted: Counter,
    /// Connections opened to endpoints where no object had to be fetched.
    pub connections: Counter,
    /// Lists that were refused whole: damaged, or longer than allowed.
    pub lists_refused: Counter,
    skipped: [Counter; Skipped::ALL.len()],
}

/// Why an object that was named was not fetched and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// It was in the cache.
    Present,
    /// It is fetched for another session.
    Collapsed,
    /// The app's answer may not be kept.
    NotKept,
    /// The app did not answer 200.
    Status,
    /// The app did not answer, or not in time.
    Failed,
    /// It had waited too long.
    Late,
    /// Too much waits already, or nothing may be spent.
    NoRoom,
}

impl Skipped {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Present,
        Self::Collapsed,
        Self::NotKept,
        Self::Status,
        Self::Failed,
        Self::Late,
        Self::NoRoom,
    ];

    /// Its name, for metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Collapsed => "collapsed",
            Self::NotKept => "not_kept",
            Self::Status => "status",
            Self::Failed => "failed",
            Self::Late => "late",
            Self::NoRoom => "no_room",
        }
    }
}

impl PrewarmCounts {
    /// Objects that were not fetched and kept, for one reason.
    pub fn skip(&self, why: Skipped, many: u64) {
        self.skipped[why as usize].inc_by(many);
    }

    /// How many were not.
    #[must_use]
    pub fn skipped(&self, why: Skipped) -> u64 {
        self.skipped[why as usize].get()
    }

    /// Has them shown.
    pub(super) fn show(self: &Arc<Self>, registry: &mut Registry) {
        let plain: [(&str, &str, &Counter); 7] = [
            ("objects_offered", "Objects named by gates that hand over", &self.offered),
            ("objects_fetched", "Objects fetched ahead of their session", &self.fetched),
            ("bytes", "Bytes fetched ahead", &self.bytes),
            ("objects_used", "Objects fetched ahead that a user asked for", &self.used),
            ("objects_wasted", "Objects fetched ahead that no user asked for", &self.wasted),
            (
                "connections",
                "Connections opened ahead where nothing was fetched",
                &self.connections,
            ),
            ("lists_refused", "Lists of objects refused", &self.lists_refused),
        ];
        for (name, help, counter) in plain {
            registry.register(format!("prewarm_{name}"), help, counter.clone());
        }
        registry.register_collector(Box::new(ByReason(Arc::clone(self))));
    }
}

/// What was skipped, by reason.
#[derive(Debug)]
struct ByReason(Arc<PrewarmCounts>);

impl Collector for ByReason {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Objects named and not fetched, or fetched and not kept";
        let name = "prewarm_objects_skipped";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for why in Skipped::ALL {
            let labels = [("reason", why.name())];
            self.0.skipped[why as usize].encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
