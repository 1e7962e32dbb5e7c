//! What control must not forget, in one redb file: the term, document versions, the table, the
//! record of every handoff, outcomes, what was taken in of each proxy's records, and profiles.
//! One batch is one transaction: after a kill it is there whole or not at all.

use std::{collections::BTreeMap, path::Path};

use homing_plan::{Feedback, Mobility, Profile};
use homing_session::handoff::Record;
use homing_wire::{
    DecodeFault, Delta, DirectiveId, Incarnation, Intake, PlacementTable, SessionKey, Version,
};
use parking_lot::RwLock;
use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    ReadableTableMetadata as _, TableDefinition, WriteTransaction,
};

mod reads;
mod rows;
#[cfg(test)]
mod tests;

pub use rows::{DocumentRow, EndRow, FiguresRow, HeirRow, HistoryRow, IdempotencyRow, Release};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const SNAPSHOT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("snapshot");
const DELTAS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("deltas");
const DOCUMENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("documents");
const INTAKES: TableDefinition<'_, &str, u8> = TableDefinition::new("intakes");
const AUTHORITY: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("authority");
const RELEASES: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("releases");
const HISTORY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history");
const HISTORY_OF: TableDefinition<'_, u64, u64> = TableDefinition::new("history_of");
const WATERMARKS: TableDefinition<'_, u64, (u64, u64)> = TableDefinition::new("watermarks");
const PROFILES: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("profiles");
const IDEMPOTENCY: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("idempotency");
const HEIRS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("heirs");
const STRUCK: TableDefinition<'_, &str, u64> = TableDefinition::new("struck");

/// Document versions that are kept.
const DOCUMENTS_KEPT: u64 = 50;
/// Ended directives that are kept.
pub const HISTORY_KEPT: u64 = 100_000;
/// Proxy lives whose watermark is kept; the longest silent go first.
const WATERMARKS_KEPT: usize = 10_000;
/// Idempotency keys that are kept.
const IDEMPOTENCY_KEPT: u64 = 10_000;

/// The journal. Reads and writes may come from any thread; writes are one at a time.
#[derive(Debug)]
pub struct Journal {
    /// Gone once the journal is closed.
    db: RwLock<Option<Database>>,
}

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalFault {
    /// The file could not be opened.
    #[error("the journal {path} cannot be opened: {source}")]
    Open {
        /// Which file.
        path: String,
        /// Why.
        source: redb::DatabaseError,
    },
    /// Reading or writing failed.
    #[error("the journal failed: {0}")]
    Store(#[from] redb::Error),
    /// The table in it cannot be read.
    #[error("the journal's table cannot be read: {0}")]
    Table(#[from] DecodeFault),
    /// Its deltas do not lead from its snapshot.
    #[error("the journal's delta to {version} does not apply: {why}")]
    Delta {
        /// The delta.
        version: Version,
        /// Why.
        why: String,
    },
    /// It was closed: control is stopping.
    #[error("the journal is closed")]
    Closed,
    /// A row cannot be read.
    #[error("a row of {0} in the journal cannot be read")]
    Row(&'static str),
}

macro_rules! from_redb {
    ($($kind:ty),*) => {$(
        impl From<$kind> for JournalFault {
            fn from(fault: $kind) -> Self {
                Self::Store(fault.into())
            }
        }
    )*};
}
from_redb!(redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);

/// One thing to write.
#[derive(Clone, Debug)]
pub enum Entry {
    /// The term this process leads in.
    Term(u64),
    /// The next directive's number.
    NextDirective(DirectiveId),
    /// A whole table; deltas up to it are dropped.
    Snapshot(Version, bytes::Bytes),
    /// What leads from the table before to this version.
    Delta(Version, bytes::Bytes),
    /// A version of the document.
    Document(DocumentRow),
    /// The operator's word on a zone's intake; `None` leaves it to the document.
    Intake(String, Option<Intake>),
    /// A life of a gate was struck off: it must never hold a lease again.
    Struck(String, Incarnation),
    /// The record of a session's handoff; `None` when nothing is pending any more.
    Authority(SessionKey, Option<Record>),
    /// A former owner still to be released; `None` when it was.
    Release(SessionKey, Option<Release>),
    /// Which zone has a replica of a session; `None` for none.
    Heir(SessionKey, Option<HeirRow>),
    /// What became of a directive, under its place in the history.
    History(u64, HistoryRow),
    /// What became of a directive is not to be remembered any more.
    HistoryGone(u64, DirectiveId),
    /// The highest record batch taken in from one life of one proxy, and when.
    Watermark(Incarnation, u64, u64),
    /// What is known of a session.
    Profile(Profile),
    /// Where clients go.
    Mobility(Vec<u8>),
    /// What moves brought.
    Feedback(Vec<u8>),
    /// A session is over.
    ProfileGone(SessionKey),
    /// What a caller's idempotency key stands for.
    Idempotency(String, IdempotencyRow),
}

/// Everything the journal holds that control keeps in memory.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The last term; 0 if there was none.
    pub term: u64,
    /// The next directive's number.
    pub next_directive: u64,
    /// The table.
    pub table: Option<PlacementTable>,
    /// The deltas that led to it since the snapshot, oldest first.
    pub deltas: Vec<Delta>,
    /// The newest document.
    pub document: Option<DocumentRow>,
    /// The operator's words on intake, by zone name.
    pub intakes: BTreeMap<String, Intake>,
    /// The last life of each gate that was struck off.
    pub struck: BTreeMap<String, Incarnation>,
    /// Records of pending handoffs.
    pub authorities: Vec<(SessionKey, Record)>,
    /// Former owners still to be released.
    pub releases: Vec<(SessionKey, Release)>,
    /// Which zone has a replica, by session.
    pub heirs: Vec<(SessionKey, HeirRow)>,
    /// The next place in the history.
    pub next_history: u64,
    /// The highest record batch taken in, by proxy life.
    pub watermarks: BTreeMap<Incarnation, u64>,
    /// What is known of sessions.
    pub profiles: Vec<(SessionKey, Profile)>,
    /// Where clients go.
    pub mobility: Mobility,
    /// What moves brought.
    pub feedback: Feedback,
}

impl Journal {
    /// Opens or creates the journal in a folder.
    ///
    /// # Errors
    /// The folder or file cannot be used; another control may be running on it.
    pub fn open(folder: &Path) -> Result<Self, JournalFault> {
        let path = folder.join("control.redb");
        let open = |source| JournalFault::Open { path: path.display().to_string(), source };
        let db = Database::create(&path).map_err(open)?;
        let journal = Self { db: RwLock::new(Some(db)) };
        journal.write(&[])?;
        Ok(journal)
    }

    /// Writes a batch, durably and whole.
    ///
    /// # Errors
    /// The disk failed; nothing was written.
    pub fn write(&self, entries: &[Entry]) -> Result<(), JournalFault> {
        let db = self.db.read();
        let txn = db.as_ref().ok_or(JournalFault::Closed)?.begin_write()?;
        open_all(&txn)?;
        for entry in entries {
            write_entry(&txn, entry)?;
        }
        prune(&txn)?;
        txn.commit()?;
        Ok(())
    }

    /// Closes the file, so that the next process, or another control in this one, may open it.
    /// Whoever still holds the journal gets faults from now on.
    pub fn close(&self) {
        drop(self.db.write().take());
    }

    fn reading(&self) -> Result<ReadTransaction, JournalFault> {
        let db = self.db.read();
        Ok(db.as_ref().ok_or(JournalFault::Closed)?.begin_read()?)
    }

    /// Reads everything that control keeps in memory.
    ///
    /// # Errors
    /// The file is damaged. Control does not start then: an older table must not be published.
    pub fn recover(&self) -> Result<Recovered, JournalFault> {
        let txn = self.reading()?;
        let meta = txn.open_table(META)?;
        let number = |name: &str| -> Result<u64, JournalFault> {
            Ok(meta.get(name)?.map_or(0, |row| row.value()))
        };
        let (table, deltas) = reads::table(&txn)?;
        Ok(Recovered {
            term: number("term")?,
            next_directive: number("next_directive")?.max(1),
            table,
            deltas,
            document: reads::last_document(&txn)?,
            intakes: reads::intakes(&txn)?,
            struck: reads::struck(&txn)?,
            authorities: reads::keyed(&txn, AUTHORITY, "authority", rows::record)?,
            releases: reads::keyed(&txn, RELEASES, "releases", rows::json)?,
            heirs: reads::keyed(&txn, HEIRS, "heirs", rows::heir)?,
            next_history: txn.open_table(HISTORY)?.last()?.map_or(1, |(seq, _)| seq.value() + 1),
            watermarks: reads::watermarks(&txn)?,
            profiles: reads::keyed(&txn, PROFILES, "profiles", rows::profile)?,
            mobility: reads::kept(&txn, "mobility", Mobility::from_bytes)?.unwrap_or_default(),
            feedback: reads::kept(&txn, "feedback", Feedback::from_bytes)?.unwrap_or_default(),
        })
    }

    /// What became of a directive, with its place in the history.
    ///
    /// # Errors
    /// The disk failed.
    pub fn history_of(
        &self,
        directive: DirectiveId,
    ) -> Result<Option<(u64, HistoryRow)>, JournalFault> {
        let txn = self.reading()?;
        let Some(seq) = txn.open_table(HISTORY_OF)?.get(directive.0)?.map(|row| row.value()) else {
            return Ok(None);
        };
        let history = txn.open_table(HISTORY)?;
        let Some(row) = history.get(seq)? else {
            return Ok(None);
        };
        let row = rows::json(row.value()).ok_or(JournalFault::Row("history"))?;
        Ok(Some((seq, row)))
    }

    /// Ended directives after a place in the history, oldest first, at most `most`.
    ///
    /// # Errors
    /// The disk failed.
    pub fn history_after(
        &self,
        after: u64,
        most: usize,
    ) -> Result<Vec<(u64, HistoryRow)>, JournalFault> {
        let txn = self.reading()?;
        let history = txn.open_table(HISTORY)?;
        let mut found = Vec::new();
        for row in history.range(after.saturating_add(1)..)?.take(most) {
            let (seq, row) = row?;
            let row = rows::json(row.value()).ok_or(JournalFault::Row("history"))?;
            found.push((seq.value(), row));
        }
        Ok(found)
    }

    /// What a caller's idempotency key stands for.
    ///
    /// # Errors
    /// The disk failed.
    pub fn idempotency(&self, key: &str) -> Result<Option<IdempotencyRow>, JournalFault> {
        let txn = self.reading()?;
        let found = txn.open_table(IDEMPOTENCY)?.get(key)?;
        found.map(|row| rows::json(row.value()).ok_or(JournalFault::Row("idempotency"))).transpose()
    }
}

/// Creates what is missing, so that reads never meet a table that is not there.
fn open_all(txn: &WriteTransaction) -> Result<(), JournalFault> {
    txn.open_table(META)?;
    txn.open_table(SNAPSHOT)?;
    txn.open_table(DELTAS)?;
    txn.open_table(DOCUMENTS)?;
    txn.open_table(INTAKES)?;
    txn.open_table(STRUCK)?;
    txn.open_table(AUTHORITY)?;
    txn.open_table(RELEASES)?;
    txn.open_table(HEIRS)?;
    txn.open_table(HISTORY)?;
    txn.open_table(HISTORY_OF)?;
    txn.open_table(WATERMARKS)?;
    txn.open_table(PROFILES)?;
    txn.open_table(IDEMPOTENCY)?;
    Ok(())
}

fn write_entry(txn: &WriteTransaction, entry: &Entry) -> Result<(), JournalFault> {
    match entry {
        Entry::Term(term) => drop(txn.open_table(META)?.insert("term", term)?),
        Entry::NextDirective(id) => {
            drop(txn.open_table(META)?.insert("next_directive", id.0)?);
        }
        Entry::Snapshot(version, sealed) => {
            txn.open_table(SNAPSHOT)?.insert("table", sealed.as_ref())?;
            let upto = (version.term, version.n);
            txn.open_table(DELTAS)?.retain(|key, _| key > upto)?;
        }
        Entry::Delta(version, sealed) => {
            let key = (version.term, version.n);
            txn.open_table(DELTAS)?.insert(key, sealed.as_ref())?;
        }
        Entry::Document(row) => {
            let bytes = rows::to_json(row);
            txn.open_table(DOCUMENTS)?.insert(row.seq, bytes.as_slice())?;
        }
        Entry::Intake(zone, word) => {
            let mut table = txn.open_table(INTAKES)?;
            match word {
                Some(intake) => drop(table.insert(zone.as_str(), rows::intake_number(*intake))?),
                None => drop(table.remove(zone.as_str())?),
            }
        }
        Entry::Struck(gate, life) => {
            txn.open_table(STRUCK)?.insert(gate.as_str(), life.0)?;
        }
        Entry::Authority(key, record) => {
            put(txn, AUTHORITY, *key, record.as_ref().map(rows::record_bytes))?;
        }
        Entry::Release(key, release) => {
            put(txn, RELEASES, *key, release.as_ref().map(rows::to_json))?;
        }
        Entry::Heir(key, row) => put(txn, HEIRS, *key, row.as_ref().map(rows::heir_bytes))?,
        Entry::History(seq, row) => {
            let bytes = rows::to_json(row);
            txn.open_table(HISTORY)?.insert(seq, bytes.as_slice())?;
            txn.open_table(HISTORY_OF)?.insert(row.directive, seq)?;
        }
        Entry::HistoryGone(seq, directive) => {
            txn.open_table(HISTORY)?.remove(seq)?;
            txn.open_table(HISTORY_OF)?.remove(directive.0)?;
        }
        Entry::Watermark(incarnation, seq, at_ms) => {
            drop(txn.open_table(WATERMARKS)?.insert(incarnation.0, (*seq, *at_ms))?);
        }
        Entry::Profile(profile) => {
            put(txn, PROFILES, profile.key, Some(rows::profile_bytes(profile)))?;
        }
        Entry::Mobility(counts) => {
            txn.open_table(SNAPSHOT)?.insert("mobility", counts.as_slice())?;
        }
        Entry::Feedback(learnt) => {
            txn.open_table(SNAPSHOT)?.insert("feedback", learnt.as_slice())?;
        }
        Entry::ProfileGone(key) => put(txn, PROFILES, *key, None)?,
        Entry::Idempotency(key, row) => {
            let bytes = rows::to_json(row);
            txn.open_table(IDEMPOTENCY)?.insert(key.as_str(), bytes.as_slice())?;
        }
    }
    Ok(())
}

fn put(
    txn: &WriteTransaction,
    table: TableDefinition<'_, u128, &[u8]>,
    key: SessionKey,
    row: Option<Vec<u8>>,
) -> Result<(), JournalFault> {
    let mut table = txn.open_table(table)?;
    match row {
        Some(bytes) => drop(table.insert(key.0, bytes.as_slice())?),
        None => drop(table.remove(key.0)?),
    }
    Ok(())
}

/// Keeps what only grows within its bound.
fn prune(txn: &WriteTransaction) -> Result<(), JournalFault> {
    let mut documents = txn.open_table(DOCUMENTS)?;
    while documents.len()? > DOCUMENTS_KEPT {
        documents.pop_first()?;
    }
    let mut history = txn.open_table(HISTORY)?;
    let mut of = txn.open_table(HISTORY_OF)?;
    while history.len()? > HISTORY_KEPT {
        let gone = history.pop_first()?;
        let gone = gone.and_then(|(_, row)| rows::json::<HistoryRow>(row.value()));
        if let Some(row) = gone {
            of.remove(row.directive)?;
        }
    }
    let mut watermarks = txn.open_table(WATERMARKS)?;
    if watermarks.len()? > WATERMARKS_KEPT as u64 {
        let mut seen = Vec::new();
        for row in watermarks.iter()? {
            let (incarnation, row) = row?;
            seen.push((row.value().1, incarnation.value()));
        }
        seen.sort_unstable();
        for (_, incarnation) in seen.iter().take(WATERMARKS_KEPT / 10) {
            watermarks.remove(incarnation)?;
        }
    }
    let mut idempotency = txn.open_table(IDEMPOTENCY)?;
    if idempotency.len()? > IDEMPOTENCY_KEPT {
        let mut seen = Vec::new();
        for row in idempotency.iter()? {
            let (key, row) = row?;
            let at_ms = rows::json::<IdempotencyRow>(row.value()).map_or(0, |row| row.at_ms);
            seen.push((at_ms, key.value().to_owned()));
        }
        seen.sort_unstable();
        for (_, key) in seen.iter().take(IDEMPOTENCY_KEPT as usize / 10) {
            idempotency.remove(key.as_str())?;
        }
    }
    Ok(())
}
