//! What a repair weighs beside the table it saves sending, on a table of the size that matters.

use homing_wire::{
    Capacity, Epoch, Facts, FromProxy, Home, Intake, NackReason, PlacementTable, Policy, Price,
    Repair, SessionKey, TableDraft, Version, Zone, ZoneId,
};
use prost::Message as _;

const EXCEPTIONS: u64 = 100_000;

fn facts() -> Facts {
    let zone = |name: &str| Zone {
        name: name.to_owned(),
        location: None,
        endpoints: Vec::new(),
        capacity: Capacity::default(),
        price: Price::default(),
        intake: Intake::Open,
        shadow_price_us: 0,
        gates: Vec::new(),
    };
    let zones = ["paris", "oregon", "tokyo"].map(zone).to_vec();
    Facts { zones, services: Vec::new(), places: Vec::new(), policy: Policy::default() }
}

/// Keys spread as keyed hashes are, the same on every run.
fn key(n: u64) -> SessionKey {
    let high = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    SessionKey(u128::from(high) << 64 | u128::from(n.wrapping_mul(high)))
}

/// A large table, without the sessions `lost`.
fn table(lost: std::ops::Range<u64>) -> PlacementTable {
    let mut draft = TableDraft::first(Version { term: 1, n: 9 }, facts(), 1_700_000_000_000);
    draft.exceptions = (0..EXCEPTIONS)
        .filter(|n| !lost.contains(n))
        .map(|n| (key(n), Home { zone: ZoneId((n % 3) as u8), epoch: Epoch(2 + n % 500) }))
        .collect();
    draft.seal().expect("the sample table has no faults")
}

#[test]
fn a_repair_is_a_small_part_of_a_large_table() {
    let right = table(0..0);
    let snapshot = right.encode().len();
    let nack = FromProxy::Nack {
        version: right.version(),
        reason: NackReason::Invalid,
        detail: String::new(),
        sums: Some(Box::new(right.sums())),
    };
    println!("snapshot {snapshot} bytes, sums {} bytes", nack.to_proto().encoded_len());
    let mut theirs = right.sums();
    theirs.buckets ^= 1;
    let buckets = Repair::toward(&right, &right.sums(), &theirs).encode().len();
    println!("all buckets: {buckets} bytes");
    for (lost, share) in [(1, 200), (4, 50), (16, 14), (64, 4)] {
        let spoilt = table(0..lost);
        let repair = Repair::toward(&right, &right.sums(), &spoilt.sums());
        let sealed = repair.encode();
        let (bytes, segments) = (sealed.len(), repair.segments.len());
        println!("{lost} entries lost: {segments} segments, {bytes} bytes");
        assert!(bytes * share < snapshot, "{bytes} of {snapshot} bytes");
        let about = repair.weight();
        assert!((about * 4 / 5..about * 6 / 5).contains(&bytes), "{bytes}, not about {about}");
        let repair = Repair::decode(&sealed).expect("a repair comes back");
        assert_eq!(spoilt.mended(&repair), Ok(right.clone()));
    }
}
