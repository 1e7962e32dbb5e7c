//! A notebook: the entries a session has written, in the order they were executed. Entries are
//! appended as they come, twice if they come twice, so that whoever reads it sees what happened.

use serde::{Deserialize, Serialize};

/// Most entries of one notebook.
pub const ENTRIES_MAX: usize = 10_000;
/// Longest text of an entry, in bytes.
pub const TEXT_BYTES_MAX: usize = 4_096;

/// One line of a notebook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The writer's own number for it.
    pub seq: u64,
    /// What was written.
    pub text: String,
}

/// What a session has written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notebook {
    entries: Vec<Entry>,
}

/// State on its way between zones: the entries after the first `from`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// Entries that come before these; 0 for a whole notebook.
    pub from: usize,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// A notebook has no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotebookFull;

impl Notebook {
    /// The entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// [`NotebookFull`] beyond [`ENTRIES_MAX`].
    pub fn append(&mut self, entry: Entry) -> Result<(), NotebookFull> {
        if self.entries.len() >= ENTRIES_MAX {
            return Err(NotebookFull);
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Rises with every change; what `since` of an export counts in.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.entries.len() as u64
    }

    /// What a holder of version `since` lacks; the whole notebook if it cannot be told.
    #[must_use]
    pub fn parcel(&self, since: u64) -> Parcel {
        let from = usize::try_from(since).unwrap_or(usize::MAX);
        let from = if from > self.entries.len() { 0 } else { from };
        Parcel { from, entries: self.entries[from..].to_vec() }
    }

    /// Adds a parcel to what is here. `false` if it does not fit on: something is missing between.
    #[must_use]
    pub fn unpack(&mut self, parcel: Parcel) -> bool {
        let fits = parcel.from <= self.entries.len()
            && parcel.from.saturating_add(parcel.entries.len()) <= ENTRIES_MAX
            && parcel.entries.iter().all(|entry| entry.text.len() <= TEXT_BYTES_MAX);
        if fits {
            self.entries.truncate(parcel.from);
            self.entries.extend(parcel.entries);
        }
        fits
    }
}

/// A digest of entries in their order, 32 hex digits: equal only if all are equal.
#[must_use]
pub fn digest<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> String {
    let mut hasher = blake3::Hasher::new();
    for Entry { seq, text } in entries {
        hasher.update(&seq.to_le_bytes());
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hex::encode(&hasher.finalize().as_bytes()[..16])
}
