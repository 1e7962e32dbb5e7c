//! The messages by which a session changes its gate within a zone, to and from their bytes.

use super::{Cede, CedeOf, Cession, CessionKind, Given};
use crate::{
    codec::{InvalidField, invalid, key, key_to_bytes, text},
    ids::{Epoch, Incarnation, Version},
    limits::NAME_BYTES_MAX,
    proto,
};

const GIVEN: u32 = 1;
const GIVEN_BEFORE: u32 = 2;
const HERE: u32 = 3;
const AWAY: u32 = 4;
const ABSENT: u32 = 5;

pub(super) fn cede_from(cede: proto::LinkCede) -> Result<Cede, InvalidField> {
    Ok(Cede {
        zone: text("cede.zone", cede.zone, NAME_BYTES_MAX)?,
        gate: text("cede.gate", cede.gate, NAME_BYTES_MAX)?,
        incarnation: Incarnation(cede.incarnation),
        table: Version { term: cede.term, n: cede.n },
        of: match cede.key.is_empty() {
            true => CedeOf::Page(cede.cursor),
            false => CedeOf::Session(key("cede.key", &cede.key)?),
        },
    })
}

pub(super) fn cede_to(cede: &Cede) -> proto::LinkCede {
    let (key, cursor) = match cede.of {
        CedeOf::Session(key) => (key_to_bytes(key), 0),
        CedeOf::Page(cursor) => (Default::default(), cursor),
    };
    proto::LinkCede {
        zone: cede.zone.clone(),
        gate: cede.gate.clone(),
        incarnation: cede.incarnation.0,
        term: cede.table.term,
        n: cede.table.n,
        key,
        cursor,
    }
}

pub(super) fn from_proto(cession: proto::LinkCession) -> Result<Cession, InvalidField> {
    let given = |cession: &proto::LinkCession| -> Result<Given, InvalidField> {
        Ok(Given {
            epoch: Epoch(cession.epoch),
            tenant: text("cession.tenant", cession.tenant.clone(), NAME_BYTES_MAX)?,
            service: text("cession.service", cession.service.clone(), NAME_BYTES_MAX)?,
            place: text("cession.place", cession.place.clone(), NAME_BYTES_MAX)?,
            window_bytes: cession.window_bytes,
        })
    };
    let kind = match cession.kind {
        GIVEN => CessionKind::Given(given(&cession)?),
        GIVEN_BEFORE => CessionKind::GivenBefore(given(&cession)?),
        HERE => CessionKind::Here,
        AWAY => CessionKind::Away {
            zone: text("cession.zone", cession.zone, NAME_BYTES_MAX)?,
            epoch: Epoch(cession.epoch),
        },
        ABSENT => CessionKind::Absent,
        _ => return Err(invalid("cession.kind", "no such kind")),
    };
    let table = Version { term: cession.term, n: cession.n };
    Ok(Cession { key: key("cession.key", &cession.key)?, kind, table })
}

pub(super) fn to_proto(cession: &Cession) -> proto::LinkCession {
    let Cession { key, kind, table } = cession;
    let bare = proto::LinkCession {
        key: key_to_bytes(*key),
        term: table.term,
        n: table.n,
        ..Default::default()
    };
    match kind {
        CessionKind::Given(given) => with(bare, GIVEN, given),
        CessionKind::GivenBefore(given) => with(bare, GIVEN_BEFORE, given),
        CessionKind::Here => proto::LinkCession { kind: HERE, ..bare },
        CessionKind::Away { zone, epoch } => {
            proto::LinkCession { kind: AWAY, zone: zone.clone(), epoch: epoch.0, ..bare }
        }
        CessionKind::Absent => proto::LinkCession { kind: ABSENT, ..bare },
    }
}

fn with(bare: proto::LinkCession, kind: u32, given: &Given) -> proto::LinkCession {
    proto::LinkCession {
        kind,
        epoch: given.epoch.0,
        tenant: given.tenant.clone(),
        service: given.service.clone(),
        place: given.place.clone(),
        window_bytes: given.window_bytes,
        ..bare
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LinkFrame, SessionKey};

    fn there_and_back(frame: &LinkFrame) {
        let bytes = frame.encode();
        assert_eq!(LinkFrame::decode(&bytes[4..]).as_ref(), Ok(frame));
    }

    #[test]
    fn what_is_asked_and_answered_arrives_as_it_was() {
        let (key, table) = (SessionKey(7 << 70 | 9), Version { term: 3, n: 14 });
        for of in [CedeOf::Session(key), CedeOf::Page(0), CedeOf::Page(77)] {
            let (zone, gate) = ("paris".to_owned(), "gate-b".to_owned());
            let cede = Cede { zone, gate, incarnation: Incarnation(5), table, of };
            there_and_back(&LinkFrame::Cede(Box::new(cede)));
        }
        let given = Given {
            epoch: Epoch(4),
            tenant: "acme".to_owned(),
            service: "notebook".to_owned(),
            place: "lyon".to_owned(),
            window_bytes: 12,
        };
        for kind in [
            CessionKind::Given(given.clone()),
            CessionKind::GivenBefore(given),
            CessionKind::Here,
            CessionKind::Away { zone: "tokyo".to_owned(), epoch: Epoch(9) },
            CessionKind::Absent,
        ] {
            there_and_back(&LinkFrame::Cession(Box::new(Cession { key, kind, table })));
        }
        for next in [None, Some(1), Some(u64::MAX)] {
            there_and_back(&LinkFrame::CededPage { next, left: 3, table });
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let cession = proto::LinkCession { kind: 9, key: vec![0; 16].into(), ..Default::default() };
        assert!(from_proto(cession).is_err());
        let short = proto::LinkCession { kind: HERE, key: vec![0; 3].into(), ..Default::default() };
        assert!(from_proto(short).is_err());
        let cede = proto::LinkCede { zone: "x".repeat(NAME_BYTES_MAX + 1), ..Default::default() };
        assert!(cede_from(cede).is_err());
    }
}
