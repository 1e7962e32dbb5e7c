//! Once a second: what sessions and zones did becomes one numbered batch of records for control.
//! Without control the same is taken out and dropped, since a gate cannot forget a session whose
//! activity was never taken.

use std::{sync::Arc, time::Duration};

use homing_wire::{Incarnation, RecordBatch, ZoneId, ZoneSample, limits::ACTIVITIES_PER_BATCH_MAX};
use tokio::sync::mpsc;

use super::recorder::{Recorder, ZoneReading};
use crate::{clock::Clock, gates::Gates, live::LiveTable};

const PERIOD: Duration = Duration::from_secs(1);

/// The shipper. [`Shipper::run`] is its task.
pub struct Shipper {
    /// Names the zones.
    pub live: Arc<LiveTable>,
    /// Know what sessions did.
    pub gates: Arc<Gates>,
    /// Knows what zones did.
    pub recorder: Arc<Recorder>,
    /// Where batches go; `None` without control.
    pub batches: Option<mpsc::Sender<RecordBatch>>,
    /// This life.
    pub incarnation: Incarnation,
}

impl Shipper {
    /// Runs for as long as it is polled.
    pub async fn run(self) {
        let clock = Clock::process();
        let mut seq = 0;
        let mut before: Vec<ZoneReading> = Vec::new();
        let mut tick = tokio::time::interval(PERIOD);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let live = self.live.load_full();
            let now_ms = clock.now_ms();
            self.gates.sweep(&live, now_ms);
            let zones = live.table.facts().zones.len();
            let samples = self.sample(zones, &mut before);
            // A busy second fills more than one batch; the zones go with the first.
            let mut samples = Some(samples);
            loop {
                let mut sessions = Vec::new();
                self.gates.drain_activity(zones, ACTIVITIES_PER_BATCH_MAX, &mut sessions);
                let full = sessions.len() >= ACTIVITIES_PER_BATCH_MAX;
                let zones = samples.take().unwrap_or_default();
                if let Some(batches) = &self.batches {
                    seq += 1;
                    let incarnation = self.incarnation;
                    let batch =
                        RecordBatch { incarnation, seq, closed_ms: now_ms, sessions, zones };
                    // Records are a sample of the past: a link that is behind loses the oldest.
                    let _ = batches.try_send(batch);
                }
                if !full {
                    break;
                }
            }
        }
    }

    fn sample(&self, zones: usize, before: &mut Vec<ZoneReading>) -> Vec<ZoneSample> {
        before.resize(zones, ZoneReading::default());
        let sample = |(index, before): (usize, &mut ZoneReading)| {
            let zone = ZoneId(index as u8);
            let now = self.recorder.read(zone).unwrap_or_default();
            let since = now.since(before);
            *before = now;
            let us = |share| since.quantile_us(share).min(u32::MAX.into()) as u32;
            ZoneSample {
                zone,
                sessions: self.gates.counts(zone).homes,
                requests: since.total(),
                errors: since.errors(),
                in_flight: since.in_flight,
                p50_us: us(0.5),
                p99_us: us(0.99),
            }
        };
        before.iter_mut().enumerate().map(sample).collect()
    }
}
