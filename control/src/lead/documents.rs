//! A new document, or the operator's word on a zone: what of the table changes with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use homing_plan::draw::{self, Remap};
use homing_wire::{
    Delta, Facts, Intake, PlacementTable, TableDraft, Version, ZoneId, document::Document,
};

use super::{Lead, Then};
use crate::{
    clock,
    journal::{DocumentRow, Entry},
    shared::{DocumentVersion, facts_of},
};

/// A document to take.
#[derive(Debug)]
pub struct Push {
    /// As it was read.
    pub document: Document,
    /// In its written-out form.
    pub yaml: String,
    /// The entity tags the caller will replace; `None` if it stated no condition.
    pub if_match: Option<Vec<String>>,
    /// Tell what would change, and change nothing.
    pub dry_run: bool,
    /// Who sends it.
    pub by: String,
}

/// What a push did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// The document's entity tag; of the one in force for a dry run.
    pub etag: Option<String>,
    /// Whether the document differs from the one in force.
    pub changed: bool,
    /// The table that shows it; `None` for a dry run.
    pub version: Option<Version>,
    /// Zones that are new.
    pub zones_added: Vec<String>,
    /// Zones that are gone from the document and stay until their sessions are handed over.
    pub zones_leaving: Vec<String>,
    /// Buckets that change hands.
    pub buckets_moved: u64,
    /// Known sessions that keep their home by an exception.
    pub sessions_pinned: u64,
}

/// Why a push was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushFault {
    /// The caller stated no condition, and there is a document already.
    #[error("there is a document already: say which one is replaced with If-Match")]
    ConditionMissing,
    /// Another document is in force than the caller thinks.
    #[error("the document in force is {0}")]
    Changed(String),
    /// The table that it leads to cannot be.
    #[error("{0}")]
    Unsound(String),
}

impl Lead {
    pub(super) fn push(&mut self, push: Push, now_ms: u64) -> Result<Pushed, PushFault> {
        let current = self.document.clone();
        check_condition(current.as_deref(), push.if_match.as_deref())?;
        let unchanged = current.as_ref().is_some_and(|c| c.row.yaml == push.yaml);
        if unchanged {
            return Ok(Pushed {
                etag: current.map(|current| current.etag.clone()),
                version: self.table.as_ref().map(PlacementTable::version),
                ..Pushed::default()
            });
        }
        let intakes = self.intakes_under(current.as_deref(), &push.document);
        let wanted = self.provided.added_to(with_intakes(facts_of(&push.document), &intakes));
        let (mut pushed, change, remap) = self.fit(wanted)?;
        pushed.changed = true;
        if push.dry_run {
            pushed.etag = current.map(|current| current.etag.clone());
            return Ok(pushed);
        }
        let row = DocumentRow {
            seq: current.map_or(1, |current| current.row.seq + 1),
            at_ms: now_ms,
            by: push.by,
            yaml: push.yaml,
        };
        self.keep_intakes(intakes);
        self.out.entries.push(Entry::Document(row.clone()));
        pushed.version = match change {
            Change::First(table) => self.first(*table),
            Change::Next(delta) => self.change(|_, empty| {
                *empty = Delta { version: empty.version, created_ms: empty.created_ms, ..delta };
            }),
        };
        self.remap(&remap);
        let version = DocumentVersion::new(row, push.document);
        pushed.etag = Some(version.etag.clone());
        let version = Arc::new(version);
        self.document = Some(version.clone());
        self.out.then.push(Then::Document(version));
        Ok(pushed)
    }

    /// What the table must become for these facts, checked to its end without changing anything.
    fn fit(&self, wanted: Facts) -> Result<(Pushed, Change, Remap), PushFault> {
        let version = Version { term: self.shared.term, n: 1 };
        let Some(table) = &self.table else {
            let added = wanted.zones.iter().map(|zone| zone.name.clone()).collect();
            let sealed = TableDraft::first(version, wanted, clock::now_ms()).seal();
            let table = sealed.map_err(|faults| unsound(&faults))?;
            let pushed = Pushed { zones_added: added, ..Pushed::default() };
            return Ok((pushed, Change::First(Box::new(table)), Remap::default()));
        };
        let named = self.named_zones(table);
        let renamed = draw::rename(table.facts(), &wanted, |zone| named.contains(&zone))
            .map_err(|fault| PushFault::Unsound(fault.to_string()))?;
        let mut change = Delta::to(table.version().next(), clock::now_ms());
        let residents = self.profiles.residents(table);
        draw::settle_buckets(table, &renamed.facts, &residents, &mut change);
        let name = |zone: &ZoneId| renamed.facts.zones[zone.index()].name.clone();
        let added = |zone: &&homing_wire::Zone| table.facts().zone_named(&zone.name).is_none();
        let pushed = Pushed {
            zones_added: wanted.zones.iter().filter(added).map(|z| z.name.clone()).collect(),
            zones_leaving: renamed.leaving.iter().map(name).collect(),
            buckets_moved: change.buckets.iter().map(|run| u64::from(run.count)).sum(),
            sessions_pinned: change.set.len() as u64,
            ..Pushed::default()
        };
        if renamed.facts != **table.facts() {
            change.facts = Some(renamed.facts);
        }
        table.clone().advance(change.clone()).map_err(|faults| unsound(&faults))?;
        Ok((pushed, Change::Next(change), renamed.remap))
    }

    fn first(&mut self, table: PlacementTable) -> Option<Version> {
        let version = table.version();
        self.out.entries.push(Entry::Snapshot(version, table.encode()));
        self.out.then.push(Then::Replace(Box::new(table.clone())));
        self.table = Some(table);
        Some(version)
    }

    /// The operator's word on a zone's intake. False if there is no such zone.
    pub(super) fn set_intake(&mut self, zone: &str, intake: Intake) -> bool {
        let Some(document) = self.document.clone() else {
            return false;
        };
        let stated = document.document.zones.iter().find(|z| z.name == zone);
        let Some(stated) = stated else {
            return false;
        };
        let mut intakes = self.intakes.clone();
        match stated.intake == intake {
            true => intakes.remove(zone),
            false => intakes.insert(zone.to_owned(), intake),
        };
        self.keep_intakes(intakes);
        self.refit();
        true
    }

    /// Brings the table up to the document and the operator's words: after either changed, and
    /// while a bucket or a removed zone waits for sessions to be handed over.
    pub(super) fn refit(&mut self) {
        let Some(document) = self.document.clone() else {
            return;
        };
        if self.table.is_none() {
            return;
        }
        let stated = with_intakes(facts_of(&document.document), &self.intakes);
        let wanted = self.provided.added_to(stated);
        match self.fit(wanted) {
            Ok((pushed, Change::Next(delta), remap)) => {
                self.leaving = !pushed.zones_leaving.is_empty();
                self.change(|_, empty| {
                    *empty =
                        Delta { version: empty.version, created_ms: empty.created_ms, ..delta };
                });
                self.remap(&remap);
            }
            Ok((_, Change::First(_), _)) => {}
            Err(fault) => tracing::error!(%fault, "the table cannot follow the document"),
        }
    }

    /// A word on a zone's intake holds until a document changes what it states for that zone.
    fn intakes_under(
        &self,
        current: Option<&DocumentVersion>,
        next: &Document,
    ) -> BTreeMap<String, Intake> {
        let stated = |document: &Document, name: &str| {
            let zone = document.zones.iter().find(|zone| zone.name == name);
            zone.map(|zone| zone.intake)
        };
        let mut intakes = self.intakes.clone();
        intakes.retain(|name, _| {
            let before = current.and_then(|current| stated(&current.document, name));
            let after = stated(next, name);
            after.is_some() && before == after
        });
        intakes
    }

    fn keep_intakes(&mut self, intakes: BTreeMap<String, Intake>) {
        for name in self.intakes.keys().filter(|name| !intakes.contains_key(*name)) {
            self.out.entries.push(Entry::Intake(name.clone(), None));
        }
        for (name, intake) in &intakes {
            if self.intakes.get(name) != Some(intake) {
                self.out.entries.push(Entry::Intake(name.clone(), Some(*intake)));
            }
        }
        self.intakes = intakes;
    }

    /// Zones that something in the table or a known session names.
    fn named_zones(&self, table: &PlacementTable) -> BTreeSet<ZoneId> {
        let mut named: BTreeSet<ZoneId> =
            table.buckets().zones().iter().map(|zone| ZoneId(*zone)).collect();
        // A removed zone's buckets go with it; its sessions are what keeps it.
        let open = |zone: &ZoneId| {
            let spec = table.facts().zones.get(zone.index());
            spec.is_some_and(|zone| zone.intake != Intake::Closed)
        };
        named.retain(open);
        named.extend(table.exceptions().values().map(|home| home.zone));
        let directives = table.directives().values();
        named.extend(directives.flat_map(|directive| [directive.from, directive.to]));
        named
    }
}

enum Change {
    First(Box<PlacementTable>),
    Next(Delta),
}

fn with_intakes(mut facts: Facts, intakes: &BTreeMap<String, Intake>) -> Facts {
    for zone in &mut facts.zones {
        if let Some(intake) = intakes.get(&zone.name) {
            zone.intake = *intake;
        }
    }
    facts
}

fn check_condition(
    current: Option<&DocumentVersion>,
    if_match: Option<&[String]>,
) -> Result<(), PushFault> {
    match (current, if_match) {
        (None, None) => Ok(()),
        (Some(_), None) => Err(PushFault::ConditionMissing),
        (None, Some(_)) => Err(PushFault::Changed("none".to_owned())),
        (Some(current), Some(tags)) => {
            let fits = tags.iter().any(|tag| tag == "*" || *tag == current.etag);
            match fits {
                true => Ok(()),
                false => Err(PushFault::Changed(current.etag.clone())),
            }
        }
    }
}

fn unsound(faults: &[homing_wire::TableFault]) -> PushFault {
    let words: Vec<String> = faults.iter().map(ToString::to_string).collect();
    PushFault::Unsound(words.join("; "))
}
