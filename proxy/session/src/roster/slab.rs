//! Residents by slot number, in chunks that never move: growing copies nothing and wastes at most
//! one chunk, where a vector would hold twice what it needs at times.

use super::Resident;

/// Residents a chunk holds, about 10 KiB.
const CHUNK: usize = 64;

const _: () = assert!(size_of::<Option<Resident>>() <= 176);

#[derive(Debug, Default)]
pub(super) struct Slab {
    chunks: Vec<Vec<Option<Resident>>>,
    free: Vec<u32>,
    used: u32,
}

impl Slab {
    /// Takes a resident in and names its slot.
    pub(super) fn insert(&mut self, resident: Resident) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.chunks[slot as usize / CHUNK][slot as usize % CHUNK] = Some(resident);
            return slot;
        }
        let slot = self.used;
        if (slot as usize).is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks[slot as usize / CHUNK].push(Some(resident));
        self.used += 1;
        slot
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Resident> {
        let resident = self.chunks[slot as usize / CHUNK][slot as usize % CHUNK].take();
        if resident.is_some() {
            self.free.push(slot);
        }
        resident
    }

    pub(super) fn get(&self, slot: u32) -> &Resident {
        self.at(slot).expect("the index names live slots only")
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Resident {
        self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
            .as_mut()
            .expect("the index names live slots only")
    }

    /// The resident in a slot; `None` if it is free or beyond the end.
    pub(super) fn at(&self, slot: u32) -> Option<&Resident> {
        self.chunks.get(slot as usize / CHUNK)?.get(slot as usize % CHUNK)?.as_ref()
    }

    /// Slots in use or free: all slot numbers are below.
    pub(super) fn slots(&self) -> u32 {
        self.used
    }
}
