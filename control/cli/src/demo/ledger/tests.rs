//! Every fault the checks exist for is planted, and must be found and named.

use super::*;

fn ledger(writes: &[Heard]) -> Ledger {
    let mut ledger = Ledger::default();
    for heard in writes {
        let seq = ledger.begin();
        if *heard == Heard::Acknowledged {
            ledger.acknowledge(seq);
        }
    }
    ledger
}

fn book(seqs: &[u64]) -> Vec<Entry> {
    seqs.iter().map(|seq| Entry { seq: *seq, text: entry_text(3, *seq) }).collect()
}

fn at(at_us: u64, epoch: u64, kind: Kind, seq: u64) -> Execution {
    Execution { at_us, session: 9, epoch, kind, seq }
}

use Heard::{Acknowledged as A, Unknown as U};

#[test]
fn an_honest_notebook_passes() {
    let ledger = ledger(&[A, A, U, A]);
    assert_eq!(ledger.compare(3, &book(&[1, 2, 3, 4])), Verdict::default());
    assert_eq!(ledger.compare(3, &book(&[1, 2, 4])), Verdict::default());
    assert_eq!((ledger.begun(), ledger.acknowledged()), (4, 3));
    assert_eq!(ledger.expected(3), None, "one write's fate is not known");
}

#[test]
fn planted_faults_are_found() {
    let ledger = ledger(&[A, A, U, A]);
    assert_eq!(ledger.compare(3, &book(&[1, 4])).lost, 1);
    assert_eq!(ledger.compare(3, &[]).lost, 3);
    assert_eq!(ledger.compare(3, &book(&[1, 2, 2, 4])).doubled, 1);
    assert_eq!(ledger.compare(3, &book(&[1, 2, 3, 3, 4])).doubled, 1);
    assert_eq!(ledger.compare(3, &book(&[2, 1, 4])).reordered, 1);
    assert_eq!(ledger.compare(3, &book(&[1, 2, 4, 5])).foreign, 1);
    let mut strange = book(&[1, 2, 4]);
    strange[1].text = entry_text(4, 2);
    let verdict = ledger.compare(3, &strange);
    assert_eq!((verdict.foreign, verdict.lost), (1, 1), "another client's line is not this one's");
}

#[test]
fn a_handoff_is_no_fault() {
    let a = vec![at(10, 1, Kind::Write, 1), at(20, 1, Kind::Read, 0)];
    let b = vec![at(30, 2, Kind::Write, 2), at(40, 2, Kind::Page, 0)];
    let seen = homes(&[a, b], 0);
    assert_eq!((seen.wrong_zone, seen.doubled_writes, seen.changes, seen.executions), (0, 0, 1, 4));
}

#[test]
fn two_homes_are_found() {
    // The old home goes on after the new one has begun.
    let late = homes(
        &[vec![at(10, 1, Kind::Page, 0), at(50, 1, Kind::Page, 0)], vec![at(30, 2, Kind::Page, 0)]],
        0,
    );
    assert_eq!(late.wrong_zone, 1);
    // Both at one epoch.
    let both = homes(&[vec![at(10, 1, Kind::Page, 0)], vec![at(30, 1, Kind::Page, 0)]], 0);
    assert_eq!(both.wrong_zone, 1);
    // A write that ran in both.
    let twice = homes(&[vec![at(10, 1, Kind::Write, 5)], vec![at(30, 2, Kind::Write, 5)]], 0);
    assert_eq!((twice.wrong_zone, twice.doubled_writes), (0, 1));
    // Within one zone the record's order is exact, whatever the slack.
    let fell = homes(&[vec![at(10, 2, Kind::Page, 0), at(10, 1, Kind::Page, 0)]], 1_000);
    assert_eq!(fell.wrong_zone, 1);
}
