//! Heirs: which zone has a replica of each replicated session, as its owner has said, and what
//! becomes of the sessions of a zone that has no live gate any more. An owner's word is stored
//! before it is answered, for only then may the owner rely on it.

use homing_session::handoff::{Authority, Record, authority::Event, record::Pending};
use homing_wire::{Directive, Heir, Home, Incarnation, SessionKey, ToProxy, ZoneId};

use super::{
    Lead,
    handoffs::{Held, patience},
};
use crate::journal::{Entry, HeirRow};

/// For how long a former owner can be trusted to have what it handed over. Shorter than its gate
/// keeps that (`RETAIN` there).
const RETAINED_MS: u64 = 50_000;
/// How old a word must be before it may be forgotten with the session's profile, which follows it.
const SETTLED_MS: u64 = 120_000;

impl Lead {
    /// An owner names its heir. Taken only if the word is the owner's last one, and owner and heir
    /// are what they say they are.
    pub(super) fn heir_named(
        &mut self,
        proxy: &str,
        incarnation: Incarnation,
        heir: Heir,
        now_ms: u64,
    ) {
        let Some(table) = &self.table else { return };
        let home = Home { zone: heir.zone, epoch: heir.epoch };
        let late = self.heirs.get(&heir.key).is_some_and(|row| {
            (row.incarnation, row.epoch) == (incarnation.0, heir.epoch.0) && heir.seq < row.seq
        });
        let sound = table.home(heir.key) == home
            && self.lists_life(heir.zone, incarnation)
            && self.lists_life(heir.heir, heir.heir_incarnation)
            && heir.heir != heir.zone;
        if late || !sound {
            tracing::debug!(proxy, key = %heir.key, late, "a word about an heir is not taken");
            return;
        }
        let row = HeirRow {
            zone: heir.zone.0,
            incarnation: incarnation.0,
            epoch: heir.epoch.0,
            seq: heir.seq,
            heir: heir.heir.0,
            heir_incarnation: heir.heir_incarnation.0,
            told_ms: now_ms,
        };
        self.heir_is(heir.key, Some(row));
        let Heir { key, epoch, seq, .. } = heir;
        self.send(Some(proxy), ToProxy::HeirKnown { key, epoch, seq });
    }

    /// With a new owner comes a new heir, in the same transaction: whoever handed the session over
    /// has all of it until the new owner has named another.
    pub(super) fn heir_passes(&mut self, order: &Directive, now_ms: u64) {
        let Some(known) = self.heirs.get(&order.key) else { return };
        if known.zone != order.from.0 {
            return;
        }
        let former = Some(order.from_incarnation);
        let row = former.filter(|life| self.lists_life(order.from, *life)).map(|life| HeirRow {
            zone: order.to.0,
            incarnation: order.to_incarnation.0,
            epoch: order.epoch.0,
            seq: 0,
            heir: order.from.0,
            heir_incarnation: life.0,
            told_ms: now_ms,
        });
        self.heir_is(order.key, row);
    }

    /// Who takes a session if its owner's zone has no live gate.
    pub(super) fn heir_of(&self, key: SessionKey, now_ms: u64) -> Option<ZoneId> {
        let row = self.heirs.get(&key)?;
        let kept = row.seq > 0 || now_ms.saturating_sub(row.told_ms) < RETAINED_MS;
        let heir = ZoneId(row.heir);
        (kept && self.lists_life(heir, Incarnation(row.heir_incarnation))).then_some(heir)
    }

    /// Gives the sessions of zones without a live gate to their heirs.
    pub(super) fn succeed(&mut self, now_ms: u64) {
        let Some(table) = &self.table else { return };
        let mut orphans = Vec::new();
        for (key, row) in &self.heirs {
            let (home, lives) = (table.home(*key), self.lives(*key));
            let lives_on = lives.get(home.zone.index()).copied().flatten().is_some();
            let known = self.handoffs.contains_key(key);
            if !lives_on && !known && self.heir_of(*key, now_ms).is_some() {
                let life = Incarnation(row.incarnation);
                orphans.push((*key, Record::settled(home.zone, life, home.epoch)));
            }
        }
        let patience = patience(&table.facts().policy);
        for (key, record) in orphans {
            let authority = Authority::new(record, patience, now_ms);
            self.handoffs.insert(key, Held::of(authority, now_ms));
            self.tell(key, Event::LivesChanged, now_ms);
        }
        self.show_claims(now_ms);
    }

    /// Shows where sessions are claimed that the table has elsewhere: all in one table.
    fn show_claims(&mut self, now_ms: u64) {
        let Some(table) = &self.table else { return };
        let claimed: Vec<(SessionKey, Home)> = self
            .handoffs
            .iter()
            .map(|(key, held)| (*key, *held.record()))
            .filter(|(_, record)| matches!(record.pending, Pending::Claim { .. }))
            .map(|(key, record)| (key, Home { zone: record.owner, epoch: record.epoch }))
            .filter(|(key, home)| table.home(*key).epoch < home.epoch)
            .collect();
        if claimed.is_empty() {
            return;
        }
        let inherited = claimed.iter().filter(|(key, home)| table.home(*key).zone != home.zone);
        self.shared.metrics.successions.add(inherited.count() as u64);
        tracing::warn!(sessions = claimed.len(), "sessions of a zone without gates go to heirs");
        let shown = self.change(|_, delta| delta.set.extend(claimed.iter().copied()));
        for (key, home) in claimed {
            if let Some(held) = self.handoffs.get_mut(&key) {
                held.shown = shown;
            }
            self.profiles.settle(key, home.zone, home.epoch, now_ms);
            // Who took it from the dead is alone with it.
            self.heir_is(key, None);
        }
    }

    /// Forgets the heirs of sessions that are over.
    pub(super) fn expire_heirs(&mut self, now_ms: u64) {
        let over: Vec<SessionKey> = self
            .heirs
            .iter()
            .filter(|(_, row)| now_ms.saturating_sub(row.told_ms) > SETTLED_MS)
            .map(|(key, _)| *key)
            .filter(|key| self.profiles.get(*key).is_none())
            .collect();
        for key in over {
            self.heir_is(key, None);
        }
    }

    fn heir_is(&mut self, key: SessionKey, row: Option<HeirRow>) {
        let changed = match row {
            Some(row) => self.heirs.insert(key, row) != Some(row),
            None => self.heirs.remove(&key).is_some(),
        };
        if changed {
            self.out.entries.push(Entry::Heir(key, row));
        }
    }
}
