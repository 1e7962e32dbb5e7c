//! The books of one plan: how much room each zone has left, how many handoffs each pair of zones
//! and the minute may still take. Every move is booked before it is written down.

use std::collections::BTreeMap;

use homing_wire::ZoneId;

use super::{HeldBack, Inputs};
use crate::price;

/// One of so many sessions of a zone may leave it for its drag while that is measured.
const FLEE_PART: u64 = 8;

/// What is left to give.
pub(super) struct Room {
    /// Sessions each zone is committed to, this plan's moves included.
    committed: Vec<u64>,
    /// Capacity of each zone; 0 is unlimited.
    capacity: Vec<u64>,
    /// Sessions this plan gave each zone.
    given: Vec<u64>,
    /// Sessions that were sent away from each zone of late, this plan's included.
    left: Vec<u64>,
    /// Sessions that live in each zone.
    living: Vec<u64>,
    pairs: BTreeMap<(ZoneId, ZoneId), u16>,
    pair_max: u16,
    minute_left: u32,
}

impl Room {
    pub(super) fn new(inputs: &Inputs<'_>) -> Self {
        let facts = inputs.table.facts();
        let zones = facts.zones.len();
        let state = |index: usize| inputs.zones.get(index).copied().unwrap_or_default();
        let committed = |index: usize| state(index).committed();
        let mut pairs = BTreeMap::new();
        for directive in inputs.table.directives().values() {
            let pair = pairs.entry((directive.from, directive.to)).or_insert(0_u16);
            *pair = pair.saturating_add(1);
        }
        let moves = &facts.policy.moves;
        Self {
            committed: (0..zones).map(committed).collect(),
            capacity: facts.zones.iter().map(|zone| zone.capacity.sessions).collect(),
            given: vec![0; zones],
            left: (0..zones).map(|index| state(index).left).collect(),
            living: (0..zones).map(|index| state(index).living).collect(),
            pairs,
            pair_max: moves.concurrent_per_pair,
            minute_left: moves.per_minute.saturating_sub(inputs.started_last_minute),
        }
    }

    /// Whether one more session stays within the zone's capacity.
    pub(super) fn fits_one_more(&self, zone: ZoneId) -> bool {
        let (committed, capacity) = self.figures(zone);
        capacity == 0 || committed < capacity
    }

    /// The zone's price with one more session in it.
    pub(super) fn price_with_one_more(&self, zone: ZoneId) -> f64 {
        let (committed, capacity) = self.figures(zone);
        price::price_us(committed + 1, capacity)
    }

    /// The zone's price as it stands; for a session that is counted in it already. Comparing this
    /// with [`Self::price_with_one_more`] elsewhere is what keeps a tie from flapping.
    pub(super) fn price_as_is(&self, zone: ZoneId) -> f64 {
        let (committed, capacity) = self.figures(zone);
        price::price_us(committed, capacity)
    }

    /// Sessions this plan gave the zone.
    pub(super) fn given(&self, zone: ZoneId) -> u64 {
        self.given.get(zone.index()).copied().unwrap_or(0)
    }

    /// Books one move. The source's place is not given back: it is free only once the handoff is
    /// through. Only plans' own moves count against the minute.
    pub(super) fn book(
        &mut self,
        from: ZoneId,
        to: ZoneId,
        by_operator: bool,
    ) -> Result<(), HeldBack> {
        if !self.fits_one_more(to) {
            return Err(HeldBack::NoRoom);
        }
        if !by_operator && self.minute_left == 0 {
            return Err(HeldBack::MinuteBudget);
        }
        let pair = self.pairs.entry((from, to)).or_insert(0);
        if *pair >= self.pair_max {
            return Err(HeldBack::PairBudget);
        }
        *pair += 1;
        if !by_operator {
            self.minute_left -= 1;
        }
        for (counts, zone) in
            [(&mut self.committed, to), (&mut self.given, to), (&mut self.left, from)]
        {
            if let Some(count) = counts.get_mut(zone.index()) {
                *count += 1;
            }
        }
        Ok(())
    }

    /// Whether one more session may leave a zone only because it drags. If all left at once, their
    /// drag went with them and they would come back: a share goes, and what that does is measured.
    pub(super) fn may_flee(&self, zone: ZoneId) -> bool {
        let at = |list: &[u64]| list.get(zone.index()).copied().unwrap_or(0);
        at(&self.left) < (at(&self.living) / FLEE_PART).max(1)
    }

    /// Whether any more handoffs from one zone to the other may start.
    pub(super) fn pair_is_free(&self, from: ZoneId, to: ZoneId) -> bool {
        self.pairs.get(&(from, to)).is_none_or(|count| *count < self.pair_max)
    }

    fn figures(&self, zone: ZoneId) -> (u64, u64) {
        let at = |list: &Vec<u64>| list.get(zone.index()).copied();
        // A zone without figures has no room.
        (at(&self.committed).unwrap_or(u64::MAX - 1), at(&self.capacity).unwrap_or(1))
    }
}
