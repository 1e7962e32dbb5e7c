//! What sessions fetched of late: of each a few objects with a weight that halves as time passes.
//! Where a session has no room for one more, the lightest makes room and leaves its weight behind
//! (space-saving, Metwally et al., ICDT 2005), so that what is asked for often cannot be pushed
//! out by many things that are asked for once.

use std::collections::HashMap;

use homing_wire::{HotObject, SessionKey};

use crate::spread::BuildKeyHasher;

/// Time after which a fetch counts half.
const HALF_LIFE_MS: u64 = 300_000;
/// Weight of one fetch; what it is halved to sixteen times is nothing.
const ONE: u32 = 1 << 16;
/// Sessions looked at when one has to go: the longest idle of so many does.
const LOOKS: usize = 8;
/// Sessions given up for one new object before it is left out.
const GIVEN_UP_MAX: usize = 4;
/// Bytes that a session and an entry of it cost beside their own.
const SESSION_BYTES: usize = 128;
const ENTRY_BYTES: usize = size_of::<Entry>();
/// Bytes that an object costs beside its texts.
const OBJECT_BYTES: usize = 160;

/// The bounds of some sketches.
#[derive(Clone, Copy, Debug)]
pub struct SketchLimits {
    /// Sessions with a sketch; beyond, the longest idle are forgotten.
    pub sessions_max: usize,
    /// Bytes of all together.
    pub bytes_max: usize,
    /// A session that fetched nothing for so long is forgotten.
    pub idle_ms: u64,
}

/// What became of a fetch that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// The session is known to fetch this.
    Counted,
    /// It is new to the session.
    Added,
    /// There is no room for it, or it cannot be told to another gate.
    LeftOut,
}

/// The sketches of some sessions, and the objects they name, each kept once.
#[derive(Debug)]
pub struct Sketches {
    limits: SketchLimits,
    index: HashMap<SessionKey, usize, BuildKeyHasher>,
    sessions: Vec<Sketch>,
    objects: HashMap<u64, Known, BuildKeyHasher>,
    bytes: usize,
    hand: usize,
}

#[derive(Debug)]
struct Sketch {
    key: SessionKey,
    seen_ms: u64,
    /// The half-life that the weights are as of.
    halved: u64,
    /// Fetches of it so far; orders entries of one weight.
    turn: u32,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: u64,
    weight: u32,
    turn: u32,
}

#[derive(Debug)]
struct Known {
    object: HotObject,
    holders: u32,
}

impl Sketches {
    /// No sketches yet.
    #[must_use]
    pub fn new(limits: SketchLimits) -> Self {
        Self {
            limits,
            index: HashMap::default(),
            sessions: Vec::new(),
            objects: HashMap::default(),
            bytes: 0,
            hand: 0,
        }
    }

    /// A session has fetched an object. `id` tells objects apart; `object` is asked for what it is
    /// only if no session has named it yet.
    pub fn note(
        &mut self,
        key: SessionKey,
        id: u64,
        entries_max: usize,
        now_ms: u64,
        object: impl FnOnce() -> Option<HotObject>,
    ) -> Noted {
        if let Some(at) = self.index.get(&key).copied() {
            let sketch = &mut self.sessions[at];
            sketch.age(now_ms);
            sketch.turn = sketch.turn.wrapping_add(1);
            if let Some(entry) = sketch.entries.iter_mut().find(|entry| entry.id == id) {
                entry.weight = entry.weight.saturating_add(ONE);
                entry.turn = sketch.turn;
                return Noted::Counted;
            }
        }
        if entries_max == 0 || !self.hold(key, id, object) {
            return Noted::LeftOut;
        }
        let at = self.sketch_of(key, now_ms);
        self.insert(at, id, entries_max);
        Noted::Added
    }

    /// The objects a session fetched most, those first.
    pub fn list(&mut self, key: SessionKey, now_ms: u64) -> Vec<&HotObject> {
        let Some(at) = self.index.get(&key).copied() else { return Vec::new() };
        let sketch = &mut self.sessions[at];
        let seen_ms = sketch.seen_ms;
        sketch.age(now_ms);
        // Only a fetch is a sign of life.
        sketch.seen_ms = seen_ms;
        let mut entries = sketch.entries.clone();
        entries.sort_by_key(|entry| std::cmp::Reverse((entry.weight, entry.turn)));
        let known = |entry: &Entry| self.objects.get(&entry.id).map(|known| &known.object);
        entries.iter().filter_map(known).collect()
    }

    /// Forgets sessions that fetched nothing for long, of the next few.
    pub fn sweep(&mut self, now_ms: u64, looks: usize) {
        for _ in 0..looks.min(self.sessions.len()) {
            self.hand = if self.hand >= self.sessions.len() { 0 } else { self.hand };
            let Some(sketch) = self.sessions.get(self.hand) else { return };
            if now_ms.saturating_sub(sketch.seen_ms) > self.limits.idle_ms {
                self.forget(self.hand);
            } else {
                self.hand += 1;
            }
        }
    }

    /// Sessions with a sketch.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Objects that a session is known to fetch.
    #[must_use]
    pub fn objects_of(&self, key: SessionKey) -> usize {
        self.index.get(&key).map_or(0, |at| self.sessions[*at].entries.len())
    }

    /// Bytes of all together, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps an object once more, for a session about to name it.
    fn hold(
        &mut self,
        key: SessionKey,
        id: u64,
        object: impl FnOnce() -> Option<HotObject>,
    ) -> bool {
        let mut made = None;
        let mut more = ENTRY_BYTES;
        if !self.objects.contains_key(&id) {
            let Some(object) = object() else { return false };
            more += cost(&object);
            made = Some(object);
        }
        let new = !self.index.contains_key(&key);
        more += if new { SESSION_BYTES } else { 0 };
        for _ in 0..GIVEN_UP_MAX {
            let full = new && self.sessions.len() >= self.limits.sessions_max;
            if !full && self.bytes + more <= self.limits.bytes_max {
                break;
            }
            if !self.give_up_one(key) {
                break;
            }
        }
        let full = new && self.sessions.len() >= self.limits.sessions_max;
        if full || self.bytes + more > self.limits.bytes_max {
            return false;
        }
        if let Some(known) = self.objects.get_mut(&id) {
            known.holders += 1;
            return true;
        }
        // Whoever was given up may have been the last to name it: then it is known no more.
        let Some(object) = made else { return false };
        self.bytes += cost(&object);
        self.objects.insert(id, Known { object, holders: 1 });
        true
    }

    fn sketch_of(&mut self, key: SessionKey, now_ms: u64) -> usize {
        if let Some(at) = self.index.get(&key) {
            return *at;
        }
        let at = self.sessions.len();
        let halved = now_ms / HALF_LIFE_MS;
        self.sessions.push(Sketch { key, seen_ms: now_ms, halved, turn: 0, entries: Vec::new() });
        self.index.insert(key, at);
        self.bytes += SESSION_BYTES;
        at
    }

    fn insert(&mut self, at: usize, id: u64, entries_max: usize) {
        let sketch = &mut self.sessions[at];
        let turn = sketch.turn;
        let mut entry = Entry { id, weight: ONE, turn };
        let mut out = Vec::new();
        while sketch.entries.len() >= entries_max {
            let lightest = sketch.entries.iter().enumerate();
            let lightest = lightest.min_by_key(|(_, entry)| (entry.weight, entry.turn));
            let Some((lightest, _)) = lightest else { break };
            let gone = sketch.entries.swap_remove(lightest);
            entry.weight = gone.weight.saturating_add(ONE);
            out.push(gone.id);
        }
        sketch.entries.push(entry);
        self.bytes += ENTRY_BYTES;
        for id in out {
            self.let_go(id);
        }
    }

    /// Forgets the longest idle of a few sessions, but not one.
    fn give_up_one(&mut self, but: SessionKey) -> bool {
        let many = self.sessions.len();
        let looked = (0..LOOKS.min(many)).map(|step| (self.hand + step) % many);
        let idlest = looked
            .filter(|at| self.sessions[*at].key != but)
            .min_by_key(|at| self.sessions[*at].seen_ms);
        self.hand = (self.hand + LOOKS) % many.max(1);
        match idlest {
            Some(at) => {
                self.forget(at);
                true
            }
            None => false,
        }
    }

    fn forget(&mut self, at: usize) {
        let sketch = self.sessions.swap_remove(at);
        self.index.remove(&sketch.key);
        if let Some(moved) = self.sessions.get(at) {
            self.index.insert(moved.key, at);
        }
        self.bytes -= SESSION_BYTES;
        for entry in &sketch.entries {
            self.let_go(entry.id);
        }
    }

    /// One session less names an object.
    fn let_go(&mut self, id: u64) {
        self.bytes -= ENTRY_BYTES;
        let Some(known) = self.objects.get_mut(&id) else { return };
        known.holders -= 1;
        if known.holders == 0 {
            self.bytes -= cost(&known.object);
            self.objects.remove(&id);
        }
    }
}

impl Sketch {
    /// Lets time pass: halves what is due to be, and forgets nothing.
    fn age(&mut self, now_ms: u64) {
        self.seen_ms = self.seen_ms.max(now_ms);
        let halved = now_ms / HALF_LIFE_MS;
        let times = halved.saturating_sub(self.halved).min(31) as u32;
        if times > 0 {
            self.halved = halved;
            self.entries.iter_mut().for_each(|entry| entry.weight >>= times);
        }
    }
}

fn cost(object: &HotObject) -> usize {
    OBJECT_BYTES + object.text_bytes()
}

#[cfg(test)]
mod tests;
