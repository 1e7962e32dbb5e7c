use homing_wire::{Epoch, SessionKey, ZoneId, chunk, table::Home};

use super::*;

fn void() -> LiveTable {
    LiveTable::new(Live::void())
}

/// The void's own table under a number that control would give it.
fn table(n: u64) -> PlacementTable {
    let mut table = PlacementTable::clone(&Live::void().table);
    table.advance(Delta::to(Version { term: 1, n }, 1)).unwrap();
    table
}

#[test]
fn a_table_then_a_delta_come_into_force() {
    let live = void();
    let version = Version { term: 1, n: 1 };
    let digest = table(1).digest();
    let told = put_in_force(&live, &table(1).encode(), &mut |_| {}).unwrap();
    assert_eq!(told, InForce { version, digest, by: Kind::Table });
    let mut after = table(1);
    let mut change = Delta::to(version.next(), 2);
    change.set.push((SessionKey(7), Home { zone: ZoneId(0), epoch: Epoch(4) }));
    let delta = after.advance(change).unwrap();
    assert_eq!(
        put_in_force(&live, &delta.encode(), &mut |_| {}).unwrap(),
        InForce { version: version.next(), digest: after.digest(), by: Kind::Delta }
    );
    assert_eq!(live.load().home(SessionKey(7)).epoch, Epoch(4));
}

#[test]
fn what_is_damaged_older_or_from_elsewhere_is_refused_and_the_last_good_stays() {
    let live = void();
    put_in_force(&live, &table(5).encode(), &mut |_| {}).unwrap();
    let refused = |sealed: &[u8]| put_in_force(&live, sealed, &mut |_| {}).unwrap_err().reason;
    let mut damaged = table(6).encode().to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    assert_eq!(refused(&damaged), NackReason::Corrupt);
    assert_eq!(refused(b"no table at all, whatever it is"), NackReason::Corrupt);
    let mut future = table(6).encode().to_vec();
    future[4..6].copy_from_slice(&99_u16.to_be_bytes());
    assert_eq!(refused(&future), NackReason::Format);
    assert_eq!(refused(&table(5).encode()), NackReason::Older);
    assert_eq!(refused(&table(4).encode()), NackReason::Older);
    let mut elsewhere = table(8);
    let gap = elsewhere.advance(Delta::to(Version { term: 1, n: 9 }, 2)).unwrap();
    assert_eq!(refused(&gap.encode()), NackReason::Gap);
    assert_eq!(live.load().table.version(), Version { term: 1, n: 5 });
}

#[test]
fn a_table_of_the_same_version_mends_one_that_differs() {
    let live = void();
    let mut wrong = Live::void().table.as_ref().clone();
    let mut change = Delta::to(Version { term: 1, n: 5 }, 1);
    change.set.push((SessionKey(7), Home { zone: ZoneId(0), epoch: Epoch(4) }));
    wrong.advance(change).unwrap();
    put_in_force(&live, &wrong.encode(), &mut |_| {}).unwrap();
    let right = table(5);
    let told = put_in_force(&live, &right.encode(), &mut |_| {}).unwrap();
    assert_eq!((told.version, told.digest), (right.version(), right.digest()));
    assert_eq!(live.load().home(SessionKey(7)).epoch, right.home(SessionKey(7)).epoch);
}

#[test]
fn a_spoilt_table_is_told_by_its_sums_and_mended_by_its_parts() {
    let (live, metrics) = (void(), Metrics::default());
    let mut assembly = Assembly::default();
    let mut take = |version, sealed: &bytes::Bytes| {
        let piece = chunk::cut(version, sealed).next().unwrap();
        take_table(&live, &metrics, &mut assembly, piece, &mut |_| {}).unwrap()
    };
    let home = Home { zone: ZoneId(0), epoch: Epoch(4) };
    let (mut right, mut spoilt) = (table(5), table(4));
    let mut change = Delta::to(right.version(), 1);
    change.set.push((SessionKey(7), home));
    spoilt.advance(change).unwrap();
    take(spoilt.version(), &spoilt.encode());
    let mut change = Delta::to(right.version().next(), 2);
    change.set.push((SessionKey(9 << 120), home));
    let delta = right.advance(change).unwrap();
    let answer = take(delta.version, &delta.encode());
    let FromProxy::Nack { reason: NackReason::Invalid, sums: Some(sums), .. } = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(*sums, spoilt.sums());
    assert_eq!(*live.load().table, spoilt);

    let repair = Repair::toward(&right, &right.sums(), &sums);
    assert_eq!(repair.segments, [0, 9]);
    let mut useless = repair.clone();
    useless.segments = vec![9];
    let answer = take(repair.version, &useless.encode());
    let FromProxy::Nack { reason: NackReason::Invalid, sums: None, .. } = answer else {
        panic!("{answer:?}");
    };
    assert_eq!((*live.load().table).clone(), spoilt);
    let answer = take(repair.version, &repair.encode());
    assert_eq!(answer, FromProxy::Ack { version: right.version(), digest: right.digest() });
    assert_eq!(*live.load().table, right);
    assert_eq!(live.load().home(SessionKey(7)), right.home(SessionKey(7)));
    assert_eq!((metrics.repairs.get(), metrics.nacks[3].get()), (1, 2));
}

#[test]
fn pieces_are_put_together_and_a_missing_one_is_told() {
    let (live, metrics) = (void(), Metrics::default());
    let version = Version { term: 1, n: 1 };
    let mut assembly = Assembly::default();
    let pieces: Vec<_> = chunk::cut(version, &table(1).encode()).collect();
    let mut torn = pieces[0].clone();
    torn.index = 3;
    let answer = take_table(&live, &metrics, &mut assembly, torn, &mut |_| {});
    assert!(matches!(answer, Some(FromProxy::Nack { reason: NackReason::Corrupt, .. })));
    let mut answers = pieces
        .into_iter()
        .filter_map(|piece| take_table(&live, &metrics, &mut assembly, piece, &mut |_| {}));
    assert!(matches!(answers.next(), Some(FromProxy::Ack { version: v, .. }) if v == version));
}
