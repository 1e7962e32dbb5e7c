//! The meter: what proxies tell of traffic, summed until a step is over and then given to
//! foresight; and how slow it shows zones to be.

use std::collections::BTreeMap;

use homing_plan::draw::Remap;
use homing_session::drag::Drags;
use homing_wire::{Facts, PlaceId, RecordBatch, ServiceId, ZoneId};

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
    /// How slow zones are.
    drags: Drags,
}

impl Meter {
    pub(super) fn take(&mut self, batch: &RecordBatch, facts: Option<&Facts>, now_ms: u64) {
        let mut answers = BTreeMap::<_, (u64, u64)>::new();
        for activity in &batch.sessions {
            let of = (activity.zone, activity.service);
            let requests = u64::from(activity.requests);
            let sum = self.sums.entry(of).or_default();
            sum.0 += requests;
            sum.1 += activity.bytes;
            let way = |place| way_us(facts?, place, activity.zone);
            if let Some(way_us) = activity.place.and_then(way) {
                let sum = answers.entry(of).or_default();
                sum.0 += requests;
                sum.1 += activity.latency_us_sum.saturating_sub(requests * way_us);
            }
        }
        for ((zone, service), told) in answers {
            self.drags.take(service, zone, told, now_ms);
        }
    }

    /// How slow zones are.
    pub(super) fn drags(&self) -> &Drags {
        &self.drags
    }

    /// Services have other numbers now: what was measured by the old ones tells nothing.
    pub(super) fn remap(&mut self, remap: &Remap) {
        if !remap.is_identity() {
            self.drags = Drags::default();
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

/// The way to a zone and back from a place, microseconds, if it was stated.
fn way_us(facts: &Facts, place: PlaceId, zone: ZoneId) -> Option<u64> {
    let rtt_us = *facts.places.get(place.index())?.rtt_us.get(zone.index())?;
    (rtt_us != u32::MAX).then_some(rtt_us.into())
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
