use homing_plan::{
    affinity::Served,
    feedback::{Expected, Felt, Measured, RoundTrip, Seen},
    mobility::{Trail, Transition},
};
use homing_session::{gate::StartFrom, handoff::record::Pending};
use homing_wire::{Epoch, PlaceId, ServiceId, ZoneId};

use super::*;

fn profile(key: u128) -> Profile {
    Profile {
        key: SessionKey(key),
        service: ServiceId(3),
        zone: ZoneId(2),
        epoch: Epoch(9),
        place: Some(PlaceId(7)),
        rate: 0.25,
        bytes_per_request: 1_234.5,
        touched_ms: 1,
        last_seen_ms: 2,
        entered_ms: 3,
        regret_us: 4.5,
        regret_ms: 5,
        uncharged: 0,
        moves: 1,
        flap_from_ms: 6,
        trail: Trail::from_bytes(&[7; 200]).0,
        served: Served::from_bytes(&[1; 20]),
        felt: Felt::default(),
    }
}

#[test]
fn a_batch_is_there_whole_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let pending = [
        Pending::Handoff { to: ZoneId(1), to_incarnation: Incarnation(5), epoch: Epoch(8) },
        Pending::Claim { from: StartFrom::Store },
        Pending::Claim { from: StartFrom::Retained },
        Pending::Settled,
    ];
    let records: Vec<(SessionKey, Record)> = pending
        .into_iter()
        .enumerate()
        .map(|(index, pending)| {
            let record = Record {
                last: DirectiveId(index as u64),
                pending,
                ..Record::settled(ZoneId(3), Incarnation(4), Epoch(7))
            };
            (SessionKey(index as u128), record)
        })
        .collect();
    let mut mobility = Mobility::default();
    let (from, to) = (PlaceId(1), PlaceId(2));
    let habits = Trail::default().habits(from);
    mobility.learn(&Transition { horizon: 0, hours: 0, before: None, from, to, habits });
    let mut feedback = Feedback::default();
    let (round_trip, place) = (RoundTrip { stated_us: 4e4, believed_us: 4e4 }, Some(PlaceId(3)));
    let order = Expected {
        from: ZoneId(0),
        to: ZoneId(1),
        place,
        for_gain: true,
        seen: Seen::Way,
        before: round_trip,
        after: round_trip,
        other_us: 0.0,
    };
    feedback.learn(&order, Measured { before_us: 4e4, after_us: 9e4 }, 5).unwrap();
    {
        let journal = Journal::open(folder.path()).unwrap();
        let mut entries = vec![
            Entry::Term(4),
            Entry::NextDirective(DirectiveId(12)),
            Entry::Profile(profile(1)),
            Entry::Profile(profile(2)),
            Entry::ProfileGone(SessionKey(2)),
            Entry::Watermark(Incarnation(6), 77, 0),
            Entry::Mobility(mobility.to_bytes()),
            Entry::Feedback(feedback.to_bytes()),
            Entry::Intake("paris".to_owned(), Some(Intake::Draining)),
        ];
        entries.extend(records.iter().map(|(key, record)| Entry::Authority(*key, Some(*record))));
        journal.write(&entries).unwrap();
        journal.write(&[Entry::Authority(SessionKey(3), None)]).unwrap();
    }
    let found = Journal::open(folder.path()).unwrap().recover().unwrap();
    assert_eq!((found.term, found.next_directive), (4, 12));
    let known: Vec<Profile> =
        found.profiles.iter().map(|(key, of)| Profile { key: *key, ..of.clone() }).collect();
    assert_eq!(known, [profile(1)]);
    assert_eq!((found.mobility, found.feedback), (mobility, feedback));
    assert_eq!(found.watermarks[&Incarnation(6)], 77);
    assert_eq!(found.intakes["paris"], Intake::Draining);
    assert_eq!(found.authorities, records[..3]);
    assert!(found.table.is_none());
}

#[test]
fn a_second_control_cannot_open_the_same_journal() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Journal::open(folder.path()).unwrap();
    assert!(matches!(Journal::open(folder.path()), Err(JournalFault::Open { .. })));
}
