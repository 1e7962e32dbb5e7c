//! Records: each batch is taken in once, however often it is sent, and answered when what it
//! changed is in the journal. They are written once a round, so that the disk sees one transaction
//! a second and not one a batch.

use homing_wire::{Home, Incarnation, RecordBatch, ToProxy};

use super::Lead;
use crate::journal::Entry;

impl Lead {
    pub(super) fn records(
        &mut self,
        proxy: &str,
        incarnation: Incarnation,
        batch: RecordBatch,
        now_ms: u64,
    ) {
        if batch.incarnation != incarnation {
            tracing::warn!(proxy, "a batch of records names another life than its link; dropped");
            return;
        }
        let mark = self.marks.get(&incarnation).copied().unwrap_or(0);
        if batch.seq <= mark {
            self.shared.metrics.record_batches_repeated.add(1);
            if !self.unmarked.contains_key(&incarnation) {
                self.send(Some(proxy), ToProxy::RecordsTaken { seq: mark });
            }
            return;
        }
        self.shared.metrics.record_batches.add(1);
        self.shared.metrics.activities.add(batch.sessions.len() as u64);
        let facts = self.table.as_ref().map(|table| &**table.facts());
        self.meter.take(&batch, facts, now_ms);
        for activity in &batch.sessions {
            self.seen.extend(self.profiles.take(activity, now_ms));
            self.served_by(activity.key, activity.zone, incarnation);
            self.heed(activity, now_ms);
            // A gate that executes at a higher epoch than the table shows knows better.
            let home = Home { zone: activity.zone, epoch: activity.epoch };
            let shown = self.table.as_ref().map(|table| table.home(activity.key));
            let pending = self.handoffs.contains_key(&activity.key);
            if pending || shown.is_some_and(|shown| home.epoch > shown.epoch) {
                self.residence(activity.key, home, now_ms);
            }
        }
        let before = self.samples.get(proxy).map_or(batch.closed_ms, |(_, _, closed)| *closed);
        let span_ms = batch.closed_ms.saturating_sub(before).clamp(500, 60_000);
        let per_second = |n: u64| n * 1_000 / span_ms;
        let mut zones = batch.zones;
        for zone in &mut zones {
            zone.requests = per_second(zone.requests);
            zone.errors = per_second(zone.errors);
        }
        self.samples.insert(proxy.to_owned(), (now_ms, zones, batch.closed_ms));
        self.marks.insert(incarnation, batch.seq);
        self.unmarked.insert(incarnation, (batch.seq, proxy.to_owned()));
    }

    /// Leaves what records changed to the journal, and the answers to wait for it.
    pub(super) fn write_records(&mut self) {
        let now_ms = crate::clock::now_ms();
        self.out.entries.extend(self.profiles.unwritten());
        for (incarnation, (seq, proxy)) in std::mem::take(&mut self.unmarked) {
            self.out.entries.push(Entry::Watermark(incarnation, seq, now_ms));
            self.send(Some(&proxy), ToProxy::RecordsTaken { seq });
        }
    }
}
