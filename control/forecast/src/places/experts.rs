//! Counts of what followed in a context, each expert looking at another one.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Entries of a shelf that are looked at; those after it are rare.
const DEPTH: usize = 256;
/// Candidates that one expert proposes.
const PROPOSED: usize = 20;

/// How one expert's counts are used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expert {
    /// How many observations the chance of the weaker experts is worth.
    pub shrink: f64,
    /// After what time a count is worth half; `None` if it never fades.
    pub half_life: Option<f64>,
}

impl Expert {
    /// An expert whose counts never fade.
    #[must_use]
    pub fn new(shrink: f64) -> Self {
        Self { shrink, half_life: None }
    }

    /// The same with counts that halve after this time.
    #[must_use]
    pub fn fading(self, half_life: f64) -> Self {
        Self { half_life: Some(half_life), ..self }
    }
}

/// An item that may come, with what the experts say of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The item; `None` for "none of the others".
    pub item: Option<u32>,
    /// Its chance by the experts' counts, shrunk into one.
    pub chance: f64,
    /// What the trees look at.
    pub features: Vec<f32>,
}

/// Experts from the weakest to the strongest.
#[derive(Debug)]
pub struct Experts {
    experts: Vec<Expert>,
    tables: Vec<HashMap<u64, Shelf, Keyed>>,
}

/// What followed in one context: the most frequent first, or the latest if counts fade.
#[derive(Clone, Debug, Default)]
struct Shelf {
    total: f64,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    item: u32,
    count: f64,
    last: f64,
}

#[derive(Clone, Copy, Default)]
struct Evidence {
    count: f64,
    age: Option<f64>,
}

impl Experts {
    /// Experts that have counted nothing yet, the weakest first.
    #[must_use]
    pub fn new(experts: Vec<Expert>) -> Self {
        let tables = experts.iter().map(|_| HashMap::default()).collect();
        Self { experts, tables }
    }

    /// Counts that `item` came, in the context that each expert looks at.
    pub fn learn(&mut self, keys: &[u64], at: f64, item: u32) {
        for ((expert, table), key) in self.experts.iter().zip(&mut self.tables).zip(keys) {
            table.entry(*key).or_default().add(expert, item, at);
        }
    }

    /// The `limit` most probable items by the counts, "none of these" last. Empty if nothing was
    /// counted in any of the contexts.
    #[must_use]
    pub fn consider(&self, keys: &[u64], at: f64, limit: usize) -> Vec<Candidate> {
        let wide = self.experts.len();
        let mut slots: HashMap<u32, usize, Keyed> = HashMap::default();
        let mut shelves: Vec<(f64, Vec<(Entry, f64)>)> = Vec::with_capacity(wide);
        for ((expert, table), key) in self.experts.iter().zip(&self.tables).zip(keys) {
            let seen = table.get(key).map_or((0.0, Vec::new()), |shelf| shelf.seen(expert, at));
            for (entry, _) in seen.1.iter().take(PROPOSED) {
                let next = slots.len();
                slots.entry(entry.item).or_insert(next);
            }
            shelves.push(seen);
        }
        if slots.is_empty() {
            return Vec::new();
        }
        let mut said = vec![Evidence::default(); slots.len() * wide];
        for (expert, (_, entries)) in shelves.iter().enumerate() {
            for (entry, count) in entries {
                if let Some(slot) = slots.get(&entry.item) {
                    let age = Some((at - entry.last).max(0.0));
                    said[slot * wide + expert] = Evidence { count: *count, age };
                }
            }
        }
        let mut items: Vec<(u32, f64, usize)> = slots
            .iter()
            .map(|(item, slot)| (*item, self.shrunk(&said[slot * wide..][..wide], &shelves), *slot))
            .collect();
        items.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        items.truncate(limit);
        let mut candidates: Vec<Candidate> = items
            .iter()
            .enumerate()
            .map(|(rank, (item, chance, slot))| {
                let said = &said[slot * wide..][..wide];
                self.candidate(Some(*item), *chance, rank, said, &shelves)
            })
            .collect();
        let rest = (1.0 - items.iter().map(|item| item.1).sum::<f64>()).max(0.0);
        let none = vec![Evidence::default(); wide];
        candidates.push(self.candidate(None, rest, limit + 1, &none, &shelves));
        candidates
    }

    /// One chance out of all counts: each expert's own, mixed with that of the weaker ones the
    /// more, the less it has seen.
    fn shrunk(&self, said: &[Evidence], shelves: &[(f64, Vec<(Entry, f64)>)]) -> f64 {
        let each = self.experts.iter().zip(said).zip(shelves);
        each.fold(0.0, |chance, ((expert, said), (total, _))| {
            (said.count + expert.shrink * chance) / (total + expert.shrink).max(1e-9)
        })
    }

    fn candidate(
        &self,
        item: Option<u32>,
        chance: f64,
        rank: usize,
        said: &[Evidence],
        shelves: &[(f64, Vec<(Entry, f64)>)],
    ) -> Candidate {
        let mut features = Vec::with_capacity(self.experts.len() * 3 + 8);
        features.extend([chance as f32, rank as f32]);
        for ((expert, said), (total, _)) in self.experts.iter().zip(said).zip(shelves) {
            features.push((said.count / (total + 1.0)) as f32);
            features.push(*total as f32);
            if expert.half_life.is_some() {
                features.push(said.age.map_or(f32::NAN, |age| age as f32));
            }
        }
        Candidate { item, chance, features }
    }
}

impl Shelf {
    fn add(&mut self, expert: &Expert, item: u32, at: f64) {
        let found = self.entries.iter().position(|entry| entry.item == item);
        let place = found.unwrap_or_else(|| {
            self.entries.push(Entry { item, count: 0.0, last: at });
            self.entries.len() - 1
        });
        let entry = &mut self.entries[place];
        entry.count = entry.faded(expert, at) + 1.0;
        entry.last = at;
        self.total += 1.0;
        let count = entry.count;
        let to = match expert.half_life {
            Some(_) => 0,
            None => self.entries[..place].partition_point(|entry| entry.count >= count),
        };
        self.entries[to..=place].rotate_right(1);
    }

    /// What is left of all counts and of each, the largest first.
    fn seen(&self, expert: &Expert, at: f64) -> (f64, Vec<(Entry, f64)>) {
        let entries = self.entries.iter().take(DEPTH);
        let mut seen: Vec<(Entry, f64)> =
            entries.map(|entry| (*entry, entry.faded(expert, at))).collect();
        if expert.half_life.is_none() {
            return (self.total, seen);
        }
        seen.sort_by(|a, b| b.1.total_cmp(&a.1));
        (seen.iter().map(|(_, count)| count).sum(), seen)
    }
}

impl Entry {
    fn faded(&self, expert: &Expert, at: f64) -> f64 {
        match expert.half_life {
            Some(half) => self.count * (-(at - self.last).max(0.0) / half).exp2(),
            None => self.count,
        }
    }
}

/// The key of a context made of parts; their order matters.
#[must_use]
pub fn key(parts: &[u64]) -> u64 {
    parts.iter().fold(parts.len() as u64, |key, part| stirred(key ^ part.rotate_left(17)))
}

fn stirred(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Hashes numbers, always alike: the order of a table must not differ between two runs.
#[derive(Default)]
struct Stirrer(u64);

type Keyed = BuildHasherDefault<Stirrer>;

impl Hasher for Stirrer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = stirred(self.0 ^ number);
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }
}
