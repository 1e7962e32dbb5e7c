//! What a gate is to fetch for sessions that are on their way, and when: little at a time, within
//! a share of the link, after the users, and each thing once however many sessions want it.

use std::collections::{BTreeMap, HashSet, VecDeque};

use crate::spread::BuildKeyHasher;

/// Orders that wait at one time.
const ORDERS_MAX: usize = 4_096;
/// Bytes of what waits, by what each thing is said to cost.
const BYTES_MAX: usize = 16 << 20;
/// An order is begun up to this long after it came, so that a zone's worth of sessions does not
/// begin at one moment.
const JITTER_MS: u64 = 20;
/// What has waited longer is not worth fetching any more: its session has long arrived.
const LATE_MS: u64 = 15_000;
/// How soon to look again while users have to go first.
const PAUSE_MS: u64 = 20;
/// What may be spent at once after a quiet time: this long at the full rate.
const BURST_MS: u64 = 100;

/// How fast.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes a second, on average. Zero: nothing is ever fetched.
    pub bytes_per_second: u64,
    /// Fetches at one time.
    pub at_once: usize,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Things that wait to be fetched now.
    pub waiting: usize,
    /// Things that wait, or are being fetched, for another session.
    pub collapsed: usize,
    /// Things there was no room for.
    pub refused: usize,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn<T> {
    /// Fetch this, then say that it is [done](WarmQueue::done).
    Fetch(u64, T),
    /// Nothing until then, unless something is offered or done.
    Until(u64),
    /// Nothing.
    Idle,
}

/// What waits to be fetched.
#[derive(Debug)]
pub struct WarmQueue<T> {
    pace: Pace,
    /// By when they are due; among equals, who came first.
    orders: BTreeMap<(u64, u64), Order<T>>,
    came: u64,
    /// Everything that waits or is under way.
    named: HashSet<u64, BuildKeyHasher>,
    under_way: usize,
    waiting_bytes: usize,
    late: u64,
    /// When what was fetched so far will have been paid for, microseconds.
    paid_us: u64,
}

#[derive(Debug)]
struct Order<T> {
    came_ms: u64,
    things: VecDeque<(u64, usize, T)>,
}

impl<T> WarmQueue<T> {
    /// Nothing waits yet.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            orders: BTreeMap::new(),
            came: 0,
            named: HashSet::default(),
            under_way: 0,
            waiting_bytes: 0,
            late: 0,
            paid_us: 0,
        }
    }

    /// Takes in what one session will want, the most wanted first: each with a number that tells
    /// things apart and the bytes it takes to remember it. `seed` is a random number.
    pub fn offer(
        &mut self,
        things: impl IntoIterator<Item = (u64, usize, T)>,
        now_ms: u64,
        seed: u64,
    ) -> Taken {
        let mut taken = Taken::default();
        let has_room = self.orders.len() < ORDERS_MAX && self.pace.bytes_per_second > 0;
        let mut kept = VecDeque::new();
        for (id, bytes, thing) in things {
            if self.named.contains(&id) {
                taken.collapsed += 1;
            } else if !has_room || self.waiting_bytes + bytes > BYTES_MAX {
                taken.refused += 1;
            } else {
                self.named.insert(id);
                self.waiting_bytes += bytes;
                kept.push_back((id, bytes, thing));
                taken.waiting += 1;
            }
        }
        if !kept.is_empty() {
            let due_ms = now_ms + seed % (JITTER_MS + 1);
            self.push(due_ms, Order { came_ms: now_ms, things: kept });
        }
        taken
    }

    /// What to do now. `users_first` while the gate has enough to do with its users.
    pub fn turn(&mut self, now_ms: u64, users_first: bool) -> Turn<T> {
        self.drop_late(now_ms);
        let Some((&(due_ms, _), _)) = self.orders.first_key_value() else { return Turn::Idle };
        if self.under_way >= self.pace.at_once {
            // Whatever is done makes room.
            return Turn::Idle;
        }
        let due_ms = due_ms.max(self.paid_us.div_ceil(1_000));
        if due_ms > now_ms {
            return Turn::Until(due_ms);
        }
        if users_first {
            return Turn::Until(now_ms + PAUSE_MS);
        }
        let Some(((due_ms, _), mut order)) = self.orders.pop_first() else { return Turn::Idle };
        let Some((id, bytes, thing)) = order.things.pop_front() else { return Turn::Idle };
        self.waiting_bytes -= bytes;
        self.under_way += 1;
        if !order.things.is_empty() {
            // Behind the others: every session gets its most wanted before any its least.
            self.push(due_ms.max(now_ms), order);
        }
        Turn::Fetch(id, thing)
    }

    /// A thing was fetched, or could not be, at the cost of so many bytes.
    pub fn done(&mut self, id: u64, bytes: u64, now_ms: u64) {
        if !self.named.remove(&id) {
            return;
        }
        self.under_way = self.under_way.saturating_sub(1);
        let from_us = self.paid_us.max(now_ms.saturating_sub(BURST_MS) * 1_000);
        let rate = self.pace.bytes_per_second.max(1);
        self.paid_us = from_us + bytes.saturating_mul(1_000_000) / rate;
    }

    /// Things that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.named.len() - self.under_way
    }

    /// Things that were given up because they had waited too long, since this was last asked.
    pub fn take_late(&mut self) -> u64 {
        std::mem::take(&mut self.late)
    }

    fn push(&mut self, due_ms: u64, order: Order<T>) {
        self.came += 1;
        self.orders.insert((due_ms, self.came), order);
    }

    fn drop_late(&mut self, now_ms: u64) {
        // The due time of an order never lies before the moment it came.
        while let Some(entry) = self.orders.first_entry() {
            if entry.get().came_ms + LATE_MS >= now_ms {
                return;
            }
            let order = entry.remove();
            self.late += order.things.len() as u64;
            for (id, bytes, _) in order.things {
                self.named.remove(&id);
                self.waiting_bytes -= bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests;
