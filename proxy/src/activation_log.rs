//! Where sessions went, as a file of fixed-size entries with a checksum each. It is written before
//! a session is thawed, so a process killed at any moment comes back knowing where sessions live;
//! the table on disk follows behind and lets the log be cut.
//!
//! No fsync: a killed process loses nothing that reached the page cache, and after a machine crash
//! the last table decides, to which source copies are kept until it is safely on disk.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use homing_wire::{DirectiveId, Epoch, SessionKey, ZoneId, table::Home};
use parking_lot::RwLock;

const ENTRY_BYTES: usize = 40;

/// One session's new home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The directive that brought it there; zero if none did.
    pub directive: DirectiveId,
    /// The session.
    pub key: SessionKey,
    /// Where it lives from now on, and at which epoch.
    pub home: Home,
}

/// The open log.
#[derive(Debug)]
pub struct ActivationLog {
    path: PathBuf,
    /// Appends share it (each is one `write` on a file opened for appending); only cutting the
    /// log excludes them.
    file: RwLock<File>,
}

/// What was read when the log was opened.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The last home of each session named, by key.
    pub homes: BTreeMap<SessionKey, Activation>,
    /// Bytes that were no whole, sound entry: the tail of an interrupted write, or damage.
    pub damaged_bytes: u64,
}

impl ActivationLog {
    /// Opens or creates the log and reads what it holds. Entries are of one size, so damage to one
    /// hides only that one.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn open(path: &Path) -> io::Result<(Self, Recovered)> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(mut file) => {
                file.read_to_end(&mut bytes)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let recovered = read_entries(&bytes);
        if recovered.damaged_bytes > 0 {
            // Appending behind half an entry would shift all later ones: write the sound ones anew.
            replace(path, recovered.homes.values())?;
        }
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok((Self { path: path.to_owned(), file: RwLock::new(file) }, recovered))
    }

    /// Appends one entry in a single write.
    ///
    /// # Errors
    /// The disk's; the session must then stay where it is.
    pub fn append(&self, activation: &Activation) -> io::Result<()> {
        let entry = encode(activation);
        let file = self.file.read();
        // One write of 40 bytes on an appending descriptor is not interleaved with others.
        (&*file).write_all(&entry)
    }

    /// Drops the entries for which `covered` says that a table on disk tells as much, and returns
    /// how many are left.
    ///
    /// # Errors
    /// The disk's; the log is then as it was.
    pub fn cut(&self, covered: impl Fn(&Activation) -> bool) -> io::Result<usize> {
        let mut file = self.file.write();
        let recovered = read_entries(&std::fs::read(&self.path)?);
        let kept: Vec<_> = recovered.homes.values().filter(|entry| !covered(entry)).collect();
        replace(&self.path, kept.iter().copied())?;
        *file = OpenOptions::new().append(true).open(&self.path)?;
        Ok(kept.len())
    }
}

fn replace<'a>(path: &Path, entries: impl Iterator<Item = &'a Activation>) -> io::Result<()> {
    let temp = path.with_extension("new");
    let bytes: Vec<u8> = entries.flat_map(encode).collect();
    std::fs::write(&temp, bytes)?;
    std::fs::rename(&temp, path)
}

fn encode(activation: &Activation) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[4..20].copy_from_slice(&activation.key.0.to_be_bytes());
    entry[20..28].copy_from_slice(&activation.directive.0.to_be_bytes());
    entry[28..36].copy_from_slice(&activation.home.epoch.0.to_be_bytes());
    entry[36] = activation.home.zone.0;
    let sum = crc32c::crc32c(&entry[4..]);
    entry[..4].copy_from_slice(&sum.to_be_bytes());
    entry
}

fn decode(entry: &[u8; ENTRY_BYTES]) -> Option<Activation> {
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&entry[at..at + 8]);
        u64::from_be_bytes(bytes)
    };
    let sum = u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]);
    (sum == crc32c::crc32c(&entry[4..])).then(|| Activation {
        key: SessionKey(u128::from(word(4)) << 64 | u128::from(word(12))),
        directive: DirectiveId(word(20)),
        home: Home { zone: ZoneId(entry[36]), epoch: Epoch(word(28)) },
    })
}

fn read_entries(bytes: &[u8]) -> Recovered {
    let (entries, tail) = bytes.as_chunks::<ENTRY_BYTES>();
    let mut recovered = Recovered { damaged_bytes: tail.len() as u64, ..Recovered::default() };
    for entry in entries {
        let Some(activation) = decode(entry) else {
            recovered.damaged_bytes += ENTRY_BYTES as u64;
            continue;
        };
        let last = recovered.homes.entry(activation.key).or_insert(activation);
        if activation.home.epoch >= last.home.epoch {
            *last = activation;
        }
    }
    recovered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activation(key: u128, zone: u8, epoch: u64) -> Activation {
        Activation {
            directive: DirectiveId(7),
            key: SessionKey(key),
            home: Home { zone: ZoneId(zone), epoch: Epoch(epoch) },
        }
    }

    #[test]
    fn the_last_home_of_each_session_survives_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("activations");
        let (log, recovered) = ActivationLog::open(&path).unwrap();
        assert!(recovered.homes.is_empty());
        for entry in [activation(1, 2, 5), activation(9, 1, 3), activation(1, 0, 6)] {
            log.append(&entry).unwrap();
        }
        let (_, recovered) = ActivationLog::open(&path).unwrap();
        assert_eq!(recovered.damaged_bytes, 0);
        assert_eq!(recovered.homes[&SessionKey(1)], activation(1, 0, 6));
        assert_eq!(recovered.homes[&SessionKey(9)], activation(9, 1, 3));
    }

    #[test]
    fn half_a_write_and_a_flipped_bit_cost_only_their_own_entry() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("activations");
        let (log, _) = ActivationLog::open(&path).unwrap();
        for key in 1..=3 {
            log.append(&activation(key, 1, 2)).unwrap();
        }
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[ENTRY_BYTES + 20] ^= 1;
        bytes.truncate(3 * ENTRY_BYTES);
        bytes.extend_from_slice(&[1; 11]);
        std::fs::write(&path, bytes).unwrap();
        let (log, recovered) = ActivationLog::open(&path).unwrap();
        assert_eq!(recovered.damaged_bytes, 40 + 11);
        assert_eq!(recovered.homes.len(), 2);
        log.append(&activation(4, 1, 2)).unwrap();
        let (_, recovered) = ActivationLog::open(&path).unwrap();
        assert_eq!((recovered.damaged_bytes, recovered.homes.len()), (0, 3));
    }

    #[test]
    fn cutting_keeps_what_no_table_covers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("activations");
        let (log, _) = ActivationLog::open(&path).unwrap();
        for key in 1..=3 {
            log.append(&activation(key, 1, key as u64 + 1)).unwrap();
        }
        assert_eq!(log.cut(|entry| entry.home.epoch < Epoch(4)).unwrap(), 1);
        log.append(&activation(8, 0, 2)).unwrap();
        let (_, recovered) = ActivationLog::open(&path).unwrap();
        assert_eq!(
            recovered.homes.keys().copied().collect::<Vec<_>>(),
            [SessionKey(3), SessionKey(8)]
        );
    }
}
