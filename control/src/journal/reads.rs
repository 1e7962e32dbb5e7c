//! Reading back what control keeps in memory.

use std::collections::BTreeMap;

use homing_wire::{Delta, Incarnation, Intake, PlacementTable, SessionKey};
use redb::{ReadTransaction, ReadableTable as _, TableDefinition};

use super::{
    DELTAS, DOCUMENTS, DocumentRow, INTAKES, JournalFault, SNAPSHOT, STRUCK, WATERMARKS, rows,
};

pub(super) fn table(
    txn: &ReadTransaction,
) -> Result<(Option<PlacementTable>, Vec<Delta>), JournalFault> {
    let Some(snapshot) = txn.open_table(SNAPSHOT)?.get("table")? else {
        return Ok((None, Vec::new()));
    };
    let mut table = PlacementTable::decode(snapshot.value())?;
    let mut deltas = Vec::new();
    for row in txn.open_table(DELTAS)?.iter()? {
        let (_, sealed) = row?;
        let delta = Delta::decode(sealed.value())?;
        table
            .apply(&delta)
            .map_err(|why| JournalFault::Delta { version: delta.version, why: why.to_string() })?;
        deltas.push(delta);
    }
    Ok((Some(table), deltas))
}

/// What is kept whole under a name and read as nothing if it cannot be read: it is learnt again.
pub(super) fn kept<T>(
    txn: &ReadTransaction,
    name: &str,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Result<Option<T>, JournalFault> {
    let kept = txn.open_table(SNAPSHOT)?.get(name)?;
    Ok(kept.and_then(|row| read(row.value())))
}

pub(super) fn last_document(txn: &ReadTransaction) -> Result<Option<DocumentRow>, JournalFault> {
    let documents = txn.open_table(DOCUMENTS)?;
    let last = documents.last()?;
    last.map(|(_, row)| rows::json(row.value()).ok_or(JournalFault::Row("documents"))).transpose()
}

pub(super) fn intakes(txn: &ReadTransaction) -> Result<BTreeMap<String, Intake>, JournalFault> {
    let mut intakes = BTreeMap::new();
    for row in txn.open_table(INTAKES)?.iter()? {
        let (zone, number) = row?;
        let intake = rows::intake(number.value()).ok_or(JournalFault::Row("intakes"))?;
        intakes.insert(zone.value().to_owned(), intake);
    }
    Ok(intakes)
}

pub(super) fn struck(txn: &ReadTransaction) -> Result<BTreeMap<String, Incarnation>, JournalFault> {
    let mut struck = BTreeMap::new();
    for row in txn.open_table(STRUCK)?.iter()? {
        let (gate, life) = row?;
        struck.insert(gate.value().to_owned(), Incarnation(life.value()));
    }
    Ok(struck)
}

pub(super) fn watermarks(
    txn: &ReadTransaction,
) -> Result<BTreeMap<Incarnation, u64>, JournalFault> {
    let mut marks = BTreeMap::new();
    for row in txn.open_table(WATERMARKS)?.iter()? {
        let (incarnation, mark) = row?;
        marks.insert(Incarnation(incarnation.value()), mark.value().0);
    }
    Ok(marks)
}

pub(super) fn keyed<T>(
    txn: &ReadTransaction,
    table: TableDefinition<'_, u128, &[u8]>,
    name: &'static str,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Result<Vec<(SessionKey, T)>, JournalFault> {
    let mut found = Vec::new();
    for row in txn.open_table(table)?.iter()? {
        let (key, bytes) = row?;
        let value = read(bytes.value()).ok_or(JournalFault::Row(name))?;
        found.push((SessionKey(key.value()), value));
    }
    Ok(found)
}
