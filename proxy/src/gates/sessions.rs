//! Going through all sessions: for people page by page, for draining a zone, for records, and to
//! forget those that are over. Each look holds one shard for a bounded time.

use homing_session::roster::{Ended, SessionSummary};
use homing_wire::{DirectiveId, ServiceId, SessionActivity, ZONES_MAX, ZoneId};

use super::{Gates, SHARD_BITS, SHARDS};
use crate::live::Live;

/// Sessions taken out of one shard at a time.
const CHUNK: usize = 1_024;
/// Slots of one shard that one sweep looks at.
const SWEEP_SLOTS: u32 = 256;

/// Some sessions, and where the next ones are.
#[derive(Clone, Debug, Default)]
pub struct SessionPage {
    /// The sessions with the zone whose gate tells of them.
    pub sessions: Vec<(ZoneId, SessionSummary)>,
    /// Where to go on; `None` after the last.
    pub next: Option<u64>,
}

impl Gates {
    /// Up to `max` sessions from a cursor on; the first page begins at 0.
    #[must_use]
    pub fn page(&self, cursor: u64, max: usize) -> SessionPage {
        let mut page = SessionPage::default();
        let mut at = (cursor >> 32) as usize;
        let mut slot = cursor as u32;
        while at < ZONES_MAX << SHARD_BITS {
            let zone = ZoneId((at >> SHARD_BITS) as u8);
            let Some(shard) = self.shards(zone).get(at % SHARDS) else {
                // This zone's gate was never asked: on to the next zone.
                at = ((at >> SHARD_BITS) + 1) << SHARD_BITS;
                slot = 0;
                continue;
            };
            let (sessions, next) = shard.lock().page(slot, max - page.sessions.len());
            page.sessions.extend(sessions.into_iter().map(|session| (zone, session)));
            match next {
                Some(next) => slot = next,
                None => (at, slot) = (at + 1, 0),
            }
            if page.sessions.len() >= max {
                page.next = Some((at as u64) << 32 | u64::from(slot));
                break;
            }
        }
        page
    }

    /// Up to `max` sessions that one zone's gate knows, from a cursor on, and where the next ones
    /// are; the first page begins at 0.
    #[must_use]
    pub fn page_of(
        &self,
        zone: ZoneId,
        cursor: u64,
        max: usize,
    ) -> (Vec<SessionSummary>, Option<u64>) {
        let (at, slot) = ((cursor >> 32) as usize, cursor as u32);
        let Some(shard) = self.shards(zone).get(at) else { return (Vec::new(), None) };
        let (sessions, next) = shard.lock().page(slot, max);
        let next = match next {
            Some(next) => Some((at as u64) << 32 | u64::from(next)),
            None => (at + 1 < SHARDS).then_some(((at + 1) as u64) << 32),
        };
        (sessions, next)
    }

    /// Every session that lives in a zone, as its gate knows it.
    #[must_use]
    pub fn homes(&self, zone: ZoneId) -> Vec<SessionSummary> {
        let mut homes = Vec::new();
        for shard in self.shards(zone) {
            let mut cursor = Some(0);
            while let Some(at) = cursor {
                let (sessions, next) = shard.lock().page(at, CHUNK);
                homes.extend(sessions.into_iter().filter(|session| session.ownership.is_home()));
                cursor = next;
            }
        }
        homes
    }

    /// Takes out what sessions did since they were last asked, up to `max` of them.
    pub fn drain_activity(&self, zones: usize, max: usize, into: &mut Vec<SessionActivity>) {
        for zone in (0..zones.min(ZONES_MAX)).map(|zone| ZoneId(zone as u8)) {
            for shard in self.shards(zone) {
                let room = max.saturating_sub(into.len());
                shard.lock().drain_activity(room, into);
            }
        }
    }

    /// Looks at some sessions of every zone and forgets those that are over; tells those that
    /// lived in the zone.
    pub fn sweep(&self, live: &Live, now_ms: u64) -> Vec<(ZoneId, Ended)> {
        let facts = live.table.facts();
        let idle_ms = |service: ServiceId| {
            facts.services.get(service.index()).map_or(u64::MAX, |service| service.session.idle_ms)
        };
        // Promises about directives below the oldest open one cannot be tested any more.
        let oldest = live.table.directives().keys().next();
        let settled =
            oldest.map_or(DirectiveId(u64::MAX), |id| DirectiveId(id.0.saturating_sub(1)));
        let mut ended = Vec::new();
        for zone in (0..facts.zones.len()).map(|zone| ZoneId(zone as u8)) {
            for shard in self.shards(zone) {
                let tell = |session| ended.push((zone, session));
                let (placement, now) = (&live.placement, now_ms);
                shard.lock().expire(placement, settled, idle_ms, tell, now, SWEEP_SLOTS);
            }
        }
        ended
    }
}
