//! Looking at a group: what its provider lists becomes what is known of each endpoint, which of
//! them serve, how many are yet to come.

use std::collections::BTreeSet;

use homing_wire::Endpoint;

use super::{Count, Group};
use crate::provider::Provided;

/// Looks that may miss an endpoint that serves before it leaves the table.
const MISSES_MAX: u32 = 2;

impl Group {
    /// Has the provider list what it has. False if it cannot be asked: what it had stays, as far
    /// as anybody knows.
    pub(super) async fn look(&mut self, now_ms: u64) -> bool {
        let (zone, service) = self.of();
        let listed = self.provider.list(&zone, service.as_deref()).await;
        for words in self.provider.news() {
            self.tell(now_ms, "event", words);
        }
        match listed {
            Ok(listed) => {
                self.take(listed, now_ms);
                true
            }
            Err(fault) => {
                self.tell(now_ms, "fault", fault.to_string());
                false
            }
        }
    }

    fn take(&mut self, listed: Vec<Provided>, now_ms: u64) {
        let there: BTreeSet<String> =
            listed.iter().map(|one| one.endpoint.address.clone()).collect();
        self.known.retain(|address, _| there.contains(address));
        self.leaving.retain(|address, _| there.contains(address));
        let mut lost = Vec::new();
        for one in &listed {
            let known = self.known.entry(one.endpoint.address.clone()).or_default();
            if !one.is_ready() {
                known.misses = known.misses.saturating_add(1);
                if known.lost_ms == 0 {
                    known.lost_ms = now_ms;
                }
                if known.misses == MISSES_MAX && known.ready_ms > 0 {
                    lost.push(format!("{}: {:?}", one.endpoint.address, one.standing));
                }
                continue;
            }
            (known.misses, known.lost_ms) = (0, 0);
            if known.ready_ms == 0 {
                known.ready_ms = now_ms;
                if let Some(asked_ms) = self.orders.pop_front() {
                    self.lead_times.measure(now_ms.saturating_sub(asked_ms));
                }
            }
        }
        self.listed = listed;
        for words in lost {
            self.tell(now_ms, "lost", words);
        }
        let there = self.staying().count();
        if let Some(granted) = self.granted.filter(|granted| there > *granted as usize) {
            let words = format!("{there} are there, {granted} were wished for");
            self.tell(now_ms, "over_delivered", words);
        }
        self.write_off(now_ms);
    }

    /// Those that are not about to be given back.
    pub(super) fn staying(&self) -> impl Iterator<Item = &Provided> {
        self.listed.iter().filter(|one| !self.leaving.contains_key(&one.endpoint.address))
    }

    /// Orders that never came are given up, so that they are asked for anew.
    fn write_off(&mut self, now_ms: u64) {
        if self.provider.lists_at_once() {
            let starting = self.staying().filter(|one| self.is_starting(one)).count();
            while self.orders.len() > starting {
                self.orders.pop_back();
            }
        }
        let before = self.orders.len();
        let give_up_ms = self.settings.give_up_ms;
        self.orders.retain(|asked_ms| now_ms.saturating_sub(*asked_ms) < give_up_ms);
        let never = before - self.orders.len();
        if never > 0 {
            let words = format!("{never} that were offered did not come within {give_up_ms} ms");
            self.tell(now_ms, "never_came", words);
        }
    }

    fn is_starting(&self, one: &Provided) -> bool {
        self.known.get(&one.endpoint.address).is_some_and(|known| known.ready_ms == 0)
    }

    /// Whether an endpoint has been out of reach for too long to be waited for.
    pub(super) fn is_lost(&self, one: &Provided, now_ms: u64) -> bool {
        let known = self.known.get(&one.endpoint.address);
        let lost_ms = known.map_or(0, |known| known.lost_ms);
        lost_ms > 0 && now_ms.saturating_sub(lost_ms) >= self.settings.give_up_ms
    }

    pub(super) fn may_serve(&self, one: &Provided) -> bool {
        let known = self.known.get(&one.endpoint.address);
        let reached = known.is_some_and(|known| known.ready_ms > 0 && known.misses < MISSES_MAX);
        reached && !self.leaving.contains_key(&one.endpoint.address)
    }

    /// Those that serve: no more than there may be, however many the provider delivers.
    pub(super) fn serving(&self) -> Vec<Endpoint> {
        let may = self.listed.iter().filter(|one| self.may_serve(one));
        let mut serving: Vec<Endpoint> = may.map(|one| one.endpoint.clone()).collect();
        let since = |one: &Endpoint| self.known.get(&one.address).map_or(0, |known| known.ready_ms);
        serving.sort_by_key(|one| (since(one), one.address.clone()));
        serving.truncate(self.settings.max as usize);
        serving.sort();
        serving
    }

    /// How many there are of those that are not about to be given back.
    pub(super) fn count(&self, now_ms: u64) -> Count {
        let ready = self.staying().filter(|one| self.may_serve(one)).count();
        let waited = |one: &&Provided| !self.may_serve(one) && !self.is_lost(one, now_ms);
        let (starting, away): (Vec<_>, Vec<_>) =
            self.staying().filter(waited).partition(|one| self.is_starting(one));
        // One that is listed as starting is one that was asked for.
        let coming = starting.len().max(self.orders.len());
        Count { ready: ready as u32, away: away.len() as u32, coming: coming as u32 }
    }
}
