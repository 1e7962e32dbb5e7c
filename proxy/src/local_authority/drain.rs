//! Emptying a zone: no new sessions, the least sticky residents first, a bounded number at once,
//! spread over the other zones by their room; then its buckets are dealt to the others.

use std::collections::{HashMap, HashSet, VecDeque};

use homing_wire::{Cut, DirectiveId, Intake, MoveReason, SessionKey, ZoneId};

use super::{Change, LocalAuthority, OrderRefused};
use crate::outcomes::DrainProgress;

/// How long a session that could not be handed over is left alone.
const STUCK_MS: u64 = 10_000;

/// One zone being emptied.
#[derive(Debug, Default)]
pub(super) struct Drain {
    asked_ms: u64,
    moved: u64,
    open: HashMap<DirectiveId, SessionKey>,
    /// Sessions that could not be handed over, and when to try again.
    stuck: HashMap<SessionKey, u64>,
    todo: VecDeque<SessionKey>,
    done: bool,
}

impl Drain {
    /// One of its directives has ended.
    pub(super) fn ended(&mut self, id: DirectiveId, key: SessionKey, completed: bool, now_ms: u64) {
        if self.open.remove(&id).is_none() {
            return;
        }
        if completed {
            self.moved += 1;
            self.stuck.remove(&key);
        } else {
            self.stuck.insert(key, now_ms + STUCK_MS);
        }
    }
}

impl LocalAuthority {
    /// A table from an earlier life may name zones that were being drained.
    pub(super) fn take_up_drains(&mut self) {
        let live = self.live.load_full();
        let asked_ms = self.clock.now_ms();
        for (index, zone) in live.table.facts().zones.iter().enumerate() {
            if zone.intake == Intake::Draining {
                self.drains.insert(ZoneId(index as u8), Drain { asked_ms, ..Drain::default() });
            }
        }
    }

    pub(super) fn start_drain(
        &mut self,
        zone: ZoneId,
        change: &mut Change,
        now_ms: u64,
    ) -> Result<(), OrderRefused> {
        let open = |(index, other): (usize, &homing_wire::Zone)| {
            index != zone.index() && other.intake == Intake::Open
        };
        if !change.zones().iter().enumerate().any(open) {
            return Err(OrderRefused::NoOtherZone);
        }
        let Some(named) = change.facts_mut().zones.get_mut(zone.index()) else {
            return Err(OrderRefused::NotOpen("not in the table"));
        };
        if named.intake == Intake::Closed {
            return Err(OrderRefused::NotOpen("closed"));
        }
        named.intake = Intake::Draining;
        let drain = || Drain { asked_ms: now_ms, ..Drain::default() };
        self.drains.entry(zone).or_insert_with(drain);
        Ok(())
    }

    pub(super) fn open(&mut self, zone: ZoneId, change: &mut Change) -> Result<(), OrderRefused> {
        let Some(named) = change.facts_mut().zones.get_mut(zone.index()) else {
            return Err(OrderRefused::NotOpen("not in the table"));
        };
        named.intake = Intake::Open;
        if self.drains.remove(&zone).is_some() {
            self.outcomes.set_drain(zone, None);
        }
        self.deal_share(zone, change);
        Ok(())
    }

    /// Gets every drain on by one turn.
    pub(super) fn drain_on(&mut self, change: &mut Change, now_ms: u64) {
        let zones: Vec<_> = self.drains.keys().copied().collect();
        for zone in zones {
            // Taken out so that directives can be written meanwhile.
            let Some(mut drain) = self.drains.remove(&zone) else { continue };
            self.drain_zone(zone, &mut drain, change, now_ms);
            self.drains.insert(zone, drain);
        }
    }

    fn drain_zone(&mut self, zone: ZoneId, drain: &mut Drain, change: &mut Change, now_ms: u64) {
        let homes = self.gates.counts(zone).homes;
        if drain.todo.is_empty() && homes > 0 {
            drain.todo = self.candidates(zone, drain, now_ms);
        }
        let targets = self.targets(zone, change);
        let at_once = usize::from(self.policy_pair_max(change)) * targets.len().max(1);
        let mut rooms = targets;
        while drain.open.len() < at_once {
            let Some(key) = drain.todo.pop_front() else { break };
            let Some(best) = rooms.iter_mut().max_by_key(|(_, room)| *room) else { break };
            let to = best.0;
            match self.direct(key, to, MoveReason::Drain, Cut::IdleGap, change) {
                Ok(id) => {
                    best.1 -= 1;
                    drain.open.insert(id, key);
                }
                // It has moved, or is being moved, by other means.
                Err(_) => continue,
            }
        }
        let empty = homes == 0 && drain.open.is_empty();
        if empty && change.live.placement.buckets_owned(zone) > 0 {
            self.deal_away(zone, change, now_ms);
        }
        drain.done = empty && change.live.placement.buckets_owned(zone) == 0;
        let elapsed_ms = now_ms.saturating_sub(drain.asked_ms);
        let progress = DrainProgress {
            asked_ms: drain.asked_ms,
            total: drain.moved + homes,
            moved: drain.moved,
            remaining: homes,
            under_way: drain.open.len() as u64,
            stuck: drain.stuck.len() as u64,
            eta_ms: match (homes, drain.moved) {
                (0, _) => Some(0),
                (_, 0) => None,
                (homes, moved) => Some(elapsed_ms * homes / moved),
            },
            buckets: change.live.placement.buckets_owned(zone),
            done: drain.done,
        };
        self.outcomes.set_drain(zone, Some(progress));
    }

    /// The zone's residents, the least sticky first: whoever was silent longest is felt least.
    fn candidates(&self, zone: ZoneId, drain: &mut Drain, now_ms: u64) -> VecDeque<SessionKey> {
        drain.stuck.retain(|_, again_ms| *again_ms > now_ms);
        let under_way: HashSet<_> = drain.open.values().collect();
        let mut homes = self.gates.homes(zone);
        homes.retain(|session| {
            !drain.stuck.contains_key(&session.key) && !under_way.contains(&session.key)
        });
        homes.sort_by_key(|session| (session.in_flight > 0, session.last_seen_ms));
        homes.into_iter().map(|session| session.key).collect()
    }

    /// Open zones other than `zone` and how many sessions each has room for; without a stated
    /// capacity, as many as the fullest stated one, so that all are used.
    fn targets(&self, zone: ZoneId, change: &Change) -> Vec<(ZoneId, i64)> {
        let most = change.zones().iter().map(|zone| zone.capacity.sessions).max().unwrap_or(0);
        let open = change
            .zones()
            .iter()
            .enumerate()
            .filter(|(index, other)| *index != zone.index() && other.intake == Intake::Open);
        let room = |(index, zone): (usize, &homing_wire::Zone)| {
            let id = ZoneId(index as u8);
            let capacity = if zone.capacity.sessions > 0 { zone.capacity.sessions } else { most };
            (id, capacity as i64 - self.gates.counts(id).homes as i64)
        };
        open.map(room).collect()
    }

    fn policy_pair_max(&self, change: &Change) -> u16 {
        change.live.table.facts().policy.moves.concurrent_per_pair.max(1)
    }
}
