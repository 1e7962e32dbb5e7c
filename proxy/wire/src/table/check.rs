//! What makes a table impossible, found all at once. Building, decoding and advancing a table share
//! these checks, so there is one place where a rule can be missing.

use std::collections::BTreeSet;

use super::{Facts, Home, TableDraft};
use crate::{
    directive::Directive,
    ids::{BUCKETS, Bucket, DirectiveId, Epoch, ZONES_MAX},
    limits::{DIRECTIVES_MAX, EXCEPTIONS_MAX, PLACES_MAX, SERVICES_MAX},
    session_key::SessionKey,
};

/// Faults told of one table; a damaged one can hold millions, and a hundred tell the story.
pub(super) const FAULTS_MAX: usize = 100;

/// Why a table cannot be sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableFault {
    /// No zone, or more than ids can name.
    #[error("{0} zones, a table holds 1 to {ZONES_MAX}")]
    ZoneCount(usize),
    /// More of something than its bound.
    #[error("{count} {what}, over the bound of {max}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// Two zones or services share a name.
    #[error("two {what} named {name:?}")]
    DuplicateName {
        /// `zones` or `services`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Something names a zone that the table does not have.
    #[error("{0} names a zone the table does not have")]
    UnknownZone(String),
    /// Something is owned at epoch 0.
    #[error("{0} has epoch 0; ownership starts at 1")]
    ZeroEpoch(String),
    /// A place's round trips do not match the zones.
    #[error("place {place:?} has {have} round trips for {want} zones")]
    PlaceShape {
        /// The place.
        place: String,
        /// Values it has.
        have: usize,
        /// Values due.
        want: usize,
    },
    /// A directive that cannot be carried out.
    #[error("directive {directive}: {problem}")]
    Directive {
        /// Which.
        directive: DirectiveId,
        /// What is wrong with it.
        problem: &'static str,
    },
}

pub(super) fn check_count(
    what: &'static str,
    count: usize,
    max: usize,
    faults: &mut Vec<TableFault>,
) {
    if count > max {
        faults.push(TableFault::TooMany { what, count, max });
    }
}

pub(super) fn check_facts(facts: &Facts, faults: &mut Vec<TableFault>) {
    let zones = facts.zones.len();
    if zones == 0 || zones > ZONES_MAX {
        faults.push(TableFault::ZoneCount(zones));
    }
    check_count("services", facts.services.len(), SERVICES_MAX, faults);
    check_count("places", facts.places.len(), PLACES_MAX, faults);
    check_names("zones", facts.zones.iter().map(|zone| zone.name.as_str()), faults);
    check_names("services", facts.services.iter().map(|service| service.name.as_str()), faults);
    for place in facts.places.iter().filter(|place| place.rtt_us.len() != zones) {
        faults.push(TableFault::PlaceShape {
            place: place.name.clone(),
            have: place.rtt_us.len(),
            want: zones,
        });
    }
    for service in &facts.services {
        if service.endpoints.iter().any(|(zone, _)| zone.index() >= zones) {
            faults.push(TableFault::UnknownZone(format!("service {:?}", service.name)));
        }
    }
}

pub(super) fn check_names<'a>(
    what: &'static str,
    names: impl Iterator<Item = &'a str>,
    faults: &mut Vec<TableFault>,
) {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            faults.push(TableFault::DuplicateName { what, name: name.to_owned() });
        }
    }
}

pub(super) fn check_home(
    what: impl Fn() -> String,
    home: Home,
    zones: usize,
    faults: &mut Vec<TableFault>,
) {
    if faults.len() >= FAULTS_MAX {
        return;
    }
    if home.zone.index() >= zones {
        faults.push(TableFault::UnknownZone(what()));
    }
    if home.epoch.0 == 0 {
        faults.push(TableFault::ZeroEpoch(what()));
    }
}

pub(super) fn check_homes<'a>(
    homes: impl Iterator<Item = &'a (SessionKey, Home)>,
    zones: usize,
    faults: &mut Vec<TableFault>,
) {
    for (key, home) in homes {
        check_home(|| format!("exception {key}"), *home, zones, faults);
    }
}

pub(super) fn check_ownership(draft: &TableDraft, faults: &mut Vec<TableFault>) {
    let zones = draft.facts.zones.len();
    for index in 0..BUCKETS {
        let bucket = Bucket(index as u16);
        check_home(|| format!("bucket {bucket}"), draft.buckets.home(bucket), zones, faults);
    }
    check_count("exceptions", draft.exceptions.len(), EXCEPTIONS_MAX, faults);
    for (key, home) in &draft.exceptions {
        check_home(|| format!("exception {key}"), *home, zones, faults);
    }
    check_count("directives", draft.directives.len(), DIRECTIVES_MAX, faults);
    check_one_per_session(draft.directives.values(), faults);
}

pub(super) fn check_directives<'a>(
    directives: impl Iterator<Item = &'a Directive>,
    zones: usize,
    faults: &mut Vec<TableFault>,
) {
    for directive in directives {
        let mut fault = |problem| {
            faults.push(TableFault::Directive { directive: directive.id, problem });
        };
        if directive.from == directive.to {
            fault("its source is its target");
        }
        if directive.from.index() >= zones || directive.to.index() >= zones {
            fault("it names a zone the table does not have");
        }
        if directive.epoch <= Epoch::FIRST {
            fault("its epoch is not above the first");
        }
    }
}

pub(super) fn check_one_per_session<'a>(
    directives: impl Iterator<Item = &'a Directive>,
    faults: &mut Vec<TableFault>,
) {
    let mut seen = BTreeSet::new();
    for directive in directives {
        if !seen.insert(directive.key) {
            let problem = "another directive already moves its session";
            faults.push(TableFault::Directive { directive: directive.id, problem });
        }
    }
}
