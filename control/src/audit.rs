//! The audit log: every change that somebody asked the API for, what became of it, one line of
//! JSON each, in a file beside the journal. It is kept apart from the journal because what was
//! refused changes nothing there. No body, no secret and no user's key is in it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Bytes after which a file becomes the old one, and the one before is gone.
pub const FILE_BYTES_MAX: u64 = 16 << 20;
/// Characters of a path or a key that are kept.
const TEXT_MAX: usize = 512;

/// One change that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Counts them from 1.
    pub seq: u64,
    /// When it was answered, RFC 3339.
    pub at: String,
    /// The name of the token.
    pub caller: String,
    /// The tenants that it is for; empty for an operator's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// `PUT`, `POST`, `PATCH` or `DELETE`.
    pub method: String,
    /// Of what; a user's key is left out.
    pub path: String,
    /// `accepted`, `dry_run`, `refused` (the caller has no right to it) or `failed`.
    pub outcome: String,
    /// The HTTP status.
    pub status: u16,
    /// The caller's idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// The log.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    old: PathBuf,
    bytes_max: u64,
    file: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
    seq: u64,
}

impl Audit {
    /// Opens or creates the log in a folder.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Self::open_bounded(folder, FILE_BYTES_MAX)
    }

    fn open_bounded(folder: &Path, bytes_max: u64) -> io::Result<Self> {
        let (path, old) = (folder.join("audit.jsonl"), folder.join("audit.old.jsonl"));
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        let written = fs::read(&path)?;
        // A process that was killed may have left half a line: the next must not go on in it.
        if written.last().is_some_and(|last| *last != b'\n') {
            file.write_all(b"\n")?;
        }
        let bytes = file.metadata()?.len();
        let newest = newest_first(&written).next();
        let newest = newest.or_else(|| newest_first(&fs::read(&old).unwrap_or_default()).next());
        let seq = newest.map_or(0, |entry| entry.seq);
        Ok(Self { path, old, bytes_max, file: Mutex::new(Open { file, bytes, seq }) })
    }

    /// Adds an entry, whose number is given here.
    ///
    /// # Errors
    /// The disk failed.
    pub fn append(&self, mut entry: AuditEntry) -> io::Result<()> {
        let mut open = self.file.lock();
        entry.seq = open.seq + 1;
        cut(&mut entry.path);
        if let Some(key) = &mut entry.idempotency_key {
            cut(key);
        }
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        if open.bytes > 0 && open.bytes + line.len() as u64 > self.bytes_max {
            fs::rename(&self.path, &self.old)?;
            open.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            open.bytes = 0;
        }
        open.file.write_all(&line)?;
        open.bytes += line.len() as u64;
        open.seq = entry.seq;
        Ok(())
    }

    /// The newest entries before a number, newest first.
    ///
    /// # Errors
    /// The disk failed.
    pub fn newest(&self, before: u64, limit: usize) -> io::Result<Vec<AuditEntry>> {
        // Under the lock, so that no file becomes the old one between the two looks.
        let open = self.file.lock();
        let written = fs::read(&self.path)?;
        let wanted = |entry: &AuditEntry| entry.seq < before;
        let mut found: Vec<AuditEntry> =
            newest_first(&written).filter(wanted).take(limit).collect();
        if found.len() < limit && self.old.exists() {
            let old = fs::read(&self.old)?;
            let rest = limit - found.len();
            found.extend(newest_first(&old).filter(wanted).take(rest));
        }
        drop(open);
        Ok(found)
    }
}

/// Whole entries of a file, from its end; half a line is none.
fn newest_first(written: &[u8]) -> impl Iterator<Item = AuditEntry> + '_ {
    written.rsplit(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

fn cut(text: &mut String) {
    if let Some((at, _)) = text.char_indices().nth(TEXT_MAX) {
        text.truncate(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> AuditEntry {
        AuditEntry {
            seq: 0,
            at: "2026-11-27T08:28:29.000Z".to_owned(),
            caller: "ci".to_owned(),
            tenants: vec!["acme".to_owned()],
            method: "POST".to_owned(),
            path: path.to_owned(),
            outcome: "accepted".to_owned(),
            status: 202,
            idempotency_key: None,
        }
    }

    fn seqs(audit: &Audit, before: u64, limit: usize) -> Vec<u64> {
        audit.newest(before, limit).unwrap().iter().map(|entry| entry.seq).collect()
    }

    #[test]
    fn entries_are_paged_from_the_newest_and_numbered_across_lives() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::open(folder.path()).unwrap();
        for _ in 0..5 {
            audit.append(entry("/v1/x")).unwrap();
        }
        assert_eq!(seqs(&audit, u64::MAX, 2), [5, 4]);
        assert_eq!(seqs(&audit, 4, 10), [3, 2, 1]);
        drop(audit);
        // Killed within a line.
        let path = folder.path().join("audit.jsonl");
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"{\"seq\": 6, \"at").unwrap();
        let audit = Audit::open(folder.path()).unwrap();
        audit.append(entry(&"/é".repeat(10_000))).unwrap();
        let newest = audit.newest(u64::MAX, 9).unwrap();
        assert_eq!(newest.len(), 6);
        assert_eq!((newest[0].seq, newest[0].path.chars().count()), (6, TEXT_MAX));
    }

    #[test]
    fn two_files_are_kept_however_much_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::open_bounded(folder.path(), 1_000).unwrap();
        for _ in 0..100 {
            audit.append(entry("/v1/x")).unwrap();
        }
        let kept = seqs(&audit, u64::MAX, 1_000);
        assert_eq!(kept[0], 100);
        assert!(kept.len() < 20 && kept.windows(2).all(|pair| pair[0] == pair[1] + 1), "{kept:?}");
        let sizes = |name: &str| fs::metadata(folder.path().join(name)).unwrap().len();
        assert!(sizes("audit.jsonl") <= 1_000 && sizes("audit.old.jsonl") <= 1_000);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        drop(audit);
        let audit = Audit::open_bounded(folder.path(), 1_000).unwrap();
        audit.append(entry("/v1/x")).unwrap();
        assert_eq!(seqs(&audit, u64::MAX, 1), [101]);
    }
}
