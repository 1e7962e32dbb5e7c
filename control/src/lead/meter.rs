//! The meter: what proxies tell of traffic, summed until a step is over and then given to
//! foresight.

use std::collections::BTreeMap;

use homing_wire::{Facts, RecordBatch, ServiceId, ZoneId};

use super::Lead;
use crate::{
    foresight::{Observation, Resource, Series},
    shared::ZoneFigures,
};

/// Sums of the step under way.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Since when, milliseconds since the Unix epoch; 0 before the first round.
    since_ms: u64,
    /// Requests and bytes.
    sums: BTreeMap<(ZoneId, ServiceId), (u64, u64)>,
}

impl Meter {
    pub(super) fn take(&mut self, batch: &RecordBatch) {
        for activity in &batch.sessions {
            let sum = self.sums.entry((activity.zone, activity.service)).or_default();
            sum.0 += u64::from(activity.requests);
            sum.1 += activity.bytes;
        }
    }

    /// What was observed if a step is over, and the next begins.
    fn close(
        &mut self,
        step_ms: u64,
        now_ms: u64,
        facts: &Facts,
        figures: &[ZoneFigures],
    ) -> Option<Observation> {
        let since_ms = std::mem::replace(&mut self.since_ms, now_ms);
        if since_ms == 0 {
            self.sums.clear();
            return None;
        }
        if now_ms / step_ms == since_ms / step_ms {
            self.since_ms = since_ms;
            return None;
        }
        let seconds = now_ms.saturating_sub(since_ms).max(1) as f64 / 1e3;
        let mut values = BTreeMap::new();
        let series =
            |zone: &str, service, resource| Series { zone: zone.to_owned(), service, resource };
        for (zone, figures) in facts.zones.iter().zip(figures) {
            let sessions = figures.living.max(figures.reported) as f64;
            values.insert(series(&zone.name, None, Resource::Sessions), sessions);
            for resource in [Resource::Requests, Resource::Bandwidth] {
                values.insert(series(&zone.name, None, resource), 0.0);
            }
        }
        for ((zone, service), (requests, bytes)) in std::mem::take(&mut self.sums) {
            let (Some(zone), Some(service)) =
                (facts.zones.get(zone.index()), facts.services.get(service.index()))
            else {
                continue;
            };
            for (resource, sum) in [(Resource::Requests, requests), (Resource::Bandwidth, bytes)] {
                let a_second = sum as f64 / seconds;
                for of in [None, Some(service.name.clone())] {
                    *values.entry(series(&zone.name, of, resource)).or_default() += a_second;
                }
            }
        }
        Some(Observation { step: since_ms / step_ms, values })
    }
}

impl Lead {
    /// Tells foresight what was observed, once a step is over.
    pub(super) fn observe(&mut self, figures: &[ZoneFigures], now_ms: u64) {
        let Some(table) = &self.table else { return };
        let facts = table.facts();
        let observed = self.meter.close(self.step_ms, now_ms, facts, figures);
        if let Some(observed) = observed
            && self.foresight.try_send(observed).is_err()
        {
            tracing::warn!("forecasts take longer than a step; what was observed in one is lost");
        }
    }
}
