//! Sessions owned elsewhere than their bucket, as a flat hash table of eight-byte slots in groups
//! of one cache line, each with a small filter in front. Most lookups miss, and nearly every miss
//! ends in its group's filter: the filters together fit a processor's second-level cache where the
//! slots do not. A general hash map would need three times the memory.

use std::{collections::BTreeMap, sync::Arc};

use homing_wire::{Epoch, SessionKey, ZoneId, table::Home};

use crate::spread::spread;

/// A slot: `tag (40) | zone (8) | epoch - base (16)`.
type Slot = u64;

const TAG_SHIFT: u32 = 24;
const ZONE_SHIFT: u32 = 16;
const EPOCH_MASK: u64 = (1 << ZONE_SHIFT) - 1;
/// No key has this tag, so no key matches a slot without an owner.
const NO_TAG: u64 = (1 << 40) - 1;
/// Never used since the table was built. Only at the end of a group.
const EMPTY: Slot = u64::MAX;
/// Removed from a full group: lookups go on behind it.
const GONE: Slot = u64::MAX - 1;
/// In the place of a zone: the owner is in [`Exceptions::exact`], if it has one.
const ELSEWHERE: u8 = u8::MAX;

const GROUP_SLOTS: usize = 8;
/// Groups that are copied together when one of them changes: 36 KiB.
const SEGMENT_GROUPS: usize = 512;
/// Slots filled when built, and at most, in percent.
const LOAD_BUILT: usize = 78;
const LOAD_MAX: usize = 88;
/// Removals after which it is built anew at the earliest: they leave their bits in the filters.
const STALE_MIN: usize = 1_024;

/// One cache line of slots, filled from the left.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Group([Slot; GROUP_SLOTS]);

#[derive(Clone)]
struct Segment {
    /// For each group, three bits of every key whose search begins there.
    filters: [u64; SEGMENT_GROUPS],
    groups: [Group; SEGMENT_GROUPS],
}

#[derive(Clone)]
pub(super) struct Exceptions {
    segments: Vec<Arc<Segment>>,
    groups: usize,
    /// Slots that are not [`EMPTY`].
    used: usize,
    /// Sessions held, wherever.
    len: usize,
    /// Sessions removed since it was built.
    removed: usize,
    /// The epoch that a slot's zero means.
    base: u64,
    /// Sessions that a slot cannot tell: an epoch too far from `base`, or a tag and a position
    /// shared with another exception.
    exact: Arc<BTreeMap<SessionKey, Home>>,
}

/// Where a key's search ended.
enum Found {
    /// At the slot with its tag.
    Here { group: usize, slot: usize },
    /// Nowhere; it belongs into this slot.
    Free { group: usize, slot: usize },
}

impl Exceptions {
    pub(super) fn build(sessions: &BTreeMap<SessionKey, Home>) -> Self {
        let groups = (sessions.len() * 100).div_ceil(GROUP_SLOTS * LOAD_BUILT).max(1);
        let segment = || {
            let groups = [Group([EMPTY; GROUP_SLOTS]); SEGMENT_GROUPS];
            Arc::new(Segment { filters: [0; SEGMENT_GROUPS], groups })
        };
        let mut table = Self {
            segments: (0..groups.div_ceil(SEGMENT_GROUPS)).map(|_| segment()).collect(),
            groups,
            used: 0,
            len: 0,
            removed: 0,
            base: sessions.values().map(|home| home.epoch.0).min().unwrap_or(Epoch::FIRST.0),
            exact: Arc::default(),
        };
        let mut twins = Vec::new();
        for (key, home) in sessions {
            if matches!(table.locate(*key), Found::Here { .. }) {
                twins.push(tag(spread(*key)));
            }
            table.set(*key, *home);
        }
        if !twins.is_empty() {
            // Once in about a million tables: whoever shares a tag goes by the whole key.
            let twin = |key: &SessionKey| twins.contains(&tag(spread(*key)));
            for (key, home) in sessions.iter().filter(|(key, _)| twin(key)) {
                table.set_exact(*key, *home);
            }
        }
        table.len = sessions.len();
        table
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> usize {
        // An ordered map's nodes hold a key and a value and are at least half full.
        self.segments.len() * size_of::<Segment>()
            + self.exact.len() * 2 * size_of::<(SessionKey, Home)>()
    }

    #[inline]
    pub(super) fn find(&self, key: SessionKey) -> Option<Home> {
        let hash = spread(key);
        let mut at = self.first_group(hash);
        let bits = filter_bits(hash);
        if self.segments[at / SEGMENT_GROUPS].filters[at % SEGMENT_GROUPS] & bits != bits {
            return None;
        }
        let tag = tag(hash);
        for _ in 0..self.groups {
            let group = &self.group(at).0;
            // Without a branch in it: which slot matches cannot be predicted.
            let mut found = EMPTY;
            for slot in group {
                found = if *slot >> TAG_SHIFT == tag { *slot } else { found };
            }
            if found != EMPTY {
                return self.owner(found, key);
            }
            if group[GROUP_SLOTS - 1] == EMPTY {
                return None;
            }
            at = if at + 1 == self.groups { 0 } else { at + 1 };
        }
        None
    }

    fn owner(&self, slot: Slot, key: SessionKey) -> Option<Home> {
        match (slot >> ZONE_SHIFT) as u8 {
            ELSEWHERE => self.exact.get(&key).copied(),
            zone => {
                Some(Home { zone: ZoneId(zone), epoch: Epoch(self.base + (slot & EPOCH_MASK)) })
            }
        }
    }

    /// Applies a change in place. Returns whether that went well; if not, and if [`Self::len`] is
    /// then not what the table says (keys that share a tag), it must be built anew.
    #[must_use]
    pub(super) fn apply(&mut self, removed: &[SessionKey], set: &[(SessionKey, Home)]) -> bool {
        for key in removed {
            self.remove(*key);
        }
        let limit = self.groups * GROUP_SLOTS * LOAD_MAX / 100;
        for (key, home) in set {
            if self.used >= limit {
                return false;
            }
            self.set(*key, *home);
        }
        self.removed < STALE_MIN.max(self.len / 2)
    }

    fn set(&mut self, key: SessionKey, home: Home) {
        let hash = spread(key);
        let low = home.epoch.0.checked_sub(self.base).filter(|low| *low <= EPOCH_MASK);
        let Some(low) = low else {
            return self.set_exact(key, home);
        };
        let value = tag(hash) << TAG_SHIFT | u64::from(home.zone.0) << ZONE_SHIFT | low;
        match self.locate(key) {
            Found::Here { group, slot } => {
                if (self.group(group).0[slot] >> ZONE_SHIFT) as u8 == ELSEWHERE {
                    return self.set_exact(key, home);
                }
                self.group_mut(group).0[slot] = value;
            }
            Found::Free { group, slot } => {
                self.fill(key, group, slot, value);
                self.len += 1;
            }
        }
    }

    fn set_exact(&mut self, key: SessionKey, home: Home) {
        let value = tag(spread(key)) << TAG_SHIFT | u64::from(ELSEWHERE) << ZONE_SHIFT;
        let known = match self.locate(key) {
            Found::Here { group, slot } => {
                let before = self.group(group).0[slot];
                self.group_mut(group).0[slot] = value;
                // A plain slot with its tag is taken to be its own.
                (before >> ZONE_SHIFT) as u8 != ELSEWHERE
            }
            Found::Free { group, slot } => {
                self.fill(key, group, slot, value);
                false
            }
        };
        if Arc::make_mut(&mut self.exact).insert(key, home).is_none() && !known {
            self.len += 1;
        }
    }

    fn fill(&mut self, key: SessionKey, group: usize, slot: usize, value: Slot) {
        let hash = spread(key);
        let first = self.first_group(hash);
        let segment = Arc::make_mut(&mut self.segments[first / SEGMENT_GROUPS]);
        segment.filters[first % SEGMENT_GROUPS] |= filter_bits(hash);
        self.used += usize::from(self.group(group).0[slot] == EMPTY);
        self.group_mut(group).0[slot] = value;
    }

    fn remove(&mut self, key: SessionKey) {
        let Found::Here { group, slot } = self.locate(key) else {
            return;
        };
        let slots = self.group(group).0;
        if (slots[slot] >> ZONE_SHIFT) as u8 == ELSEWHERE {
            if self.exact.contains_key(&key) {
                Arc::make_mut(&mut self.exact).remove(&key);
                self.len -= 1;
            }
            return;
        }
        self.len -= 1;
        self.removed += 1;
        let filled = slots.iter().filter(|slot| **slot != EMPTY).count();
        let slots = &mut self.group_mut(group).0;
        if filled == GROUP_SLOTS {
            slots[slot] = GONE;
        } else {
            slots[slot] = slots[filled - 1];
            slots[filled - 1] = EMPTY;
            self.used -= 1;
        }
    }

    fn locate(&self, key: SessionKey) -> Found {
        let hash = spread(key);
        let tag = tag(hash);
        let mut at = self.first_group(hash);
        let mut free = None;
        for _ in 0..self.groups {
            for (slot, value) in self.group(at).0.iter().enumerate() {
                match *value {
                    EMPTY => return free.unwrap_or(Found::Free { group: at, slot }),
                    GONE if free.is_none() => free = Some(Found::Free { group: at, slot }),
                    _ if value >> TAG_SHIFT == tag => return Found::Here { group: at, slot },
                    _ => {}
                }
            }
            at = if at + 1 == self.groups { 0 } else { at + 1 };
        }
        // The load is bounded, so the search met an empty slot.
        free.unwrap_or(Found::Free { group: at, slot: 0 })
    }

    /// Where a key's search begins. Takes the hash's high bits; its tag takes the low ones.
    #[inline]
    fn first_group(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.groups as u128) >> 64) as usize
    }

    #[inline]
    fn group(&self, at: usize) -> &Group {
        &self.segments[at / SEGMENT_GROUPS].groups[at % SEGMENT_GROUPS]
    }

    fn group_mut(&mut self, at: usize) -> &mut Group {
        let segment = Arc::make_mut(&mut self.segments[at / SEGMENT_GROUPS]);
        &mut segment.groups[at % SEGMENT_GROUPS]
    }
}

#[inline]
fn tag(hash: u64) -> u64 {
    match hash & NO_TAG {
        NO_TAG => 0,
        tag => tag,
    }
}

/// Three of a filter's 64 bits; about one stranger in fifty has them all set.
#[inline]
fn filter_bits(hash: u64) -> u64 {
    1 << (hash & 63) | 1 << (hash >> 6 & 63) | 1 << (hash >> 12 & 63)
}

#[cfg(test)]
impl Exceptions {
    /// How many sessions went by their whole key.
    pub(super) fn exact(&self) -> usize {
        self.exact.len()
    }
}
