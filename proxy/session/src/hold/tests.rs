//! The hold: every bound is kept, order is kept, and the account always adds up.

use std::collections::BTreeMap;

use homing_wire::{HoldLimits, SessionKey};
use proptest::prelude::*;

use super::{Hold, HoldRefused, Ticket, Waiting};

const LIMITS: HoldLimits =
    HoldLimits { requests_per_session: 3, requests_total: 5, bytes_total: 100, ms_max: 50 };

fn key(n: u128) -> SessionKey {
    SessionKey(n)
}

#[test]
fn each_bound_refuses() {
    let mut hold = Hold::default();
    let mut park = |n, bytes, since_ms| hold.park(key(n), Waiting { since_ms, bytes }, &LIMITS, 50);
    assert_eq!(park(1, 0, 0), Err(HoldRefused::Time));
    assert_eq!(park(1, 101, 50), Err(HoldRefused::Bytes));
    for _ in 0..3 {
        assert!(park(1, 10, 50).is_ok());
    }
    assert_eq!(park(1, 10, 50), Err(HoldRefused::Session));
    assert_eq!(park(2, 71, 50), Err(HoldRefused::Bytes));
    assert!(park(2, 70, 50).is_ok());
    assert!(park(3, 0, 50).is_ok());
    assert_eq!(park(4, 0, 50), Err(HoldRefused::Process));
    assert_eq!((hold.requests(), hold.bytes()), (5, 100));
}

#[test]
fn requests_go_on_in_the_order_they_came() {
    let mut hold = Hold::default();
    let mut park = |n| hold.park(key(1), Waiting { since_ms: n, bytes: n }, &LIMITS, n);
    let tickets: Vec<_> = (0..3).map(|n| park(n).expect("room")).collect();
    assert_eq!(hold.release(key(1)).collect::<Vec<_>>(), tickets);
    assert_eq!(hold.release(key(1)).count(), 0);
    assert_eq!((hold.requests(), hold.bytes()), (0, 0));
}

#[test]
fn being_held_again_gives_no_more_time() {
    let mut hold = Hold::default();
    let waiting = Waiting { since_ms: 10, bytes: 0 };
    hold.park(key(1), waiting, &LIMITS, 10).expect("room");
    assert_eq!(hold.release(key(1)).count(), 1);
    let again = hold.park(key(1), waiting, &LIMITS, 40).expect("room");
    assert_eq!((again.deadline_ms(), again.key()), (60, key(1)));
    assert_eq!(hold.park(key(1), waiting, &LIMITS, 60), Err(HoldRefused::Time));
    assert!(hold.cancel(again) && !hold.cancel(again));
}

proptest! {
    #[test]
    fn the_account_adds_up(
        steps in prop::collection::vec((0..4_u8, 0..4_u128, 0..60_u64, 0..20_u64), 0..200),
    ) {
        let mut hold = Hold::default();
        let mut waiting: BTreeMap<Ticket, u64> = BTreeMap::new();
        let mut now_ms = 0;
        for (what, n, bytes, pause_ms) in steps {
            now_ms += pause_ms;
            match what {
                0 | 1 => {
                    let asked = Waiting { since_ms: now_ms, bytes };
                    if let Ok(ticket) = hold.park(key(n), asked, &LIMITS, now_ms) {
                        prop_assert!(waiting.insert(ticket, bytes).is_none());
                        prop_assert_eq!(ticket.deadline_ms(), now_ms + 50);
                    }
                }
                2 => {
                    for ticket in hold.release(key(n)) {
                        prop_assert!(waiting.remove(&ticket).is_some());
                    }
                    prop_assert!(waiting.keys().all(|ticket| ticket.key() != key(n)));
                }
                _ => {
                    if let Some(ticket) = waiting.keys().nth(n as usize).copied() {
                        prop_assert!(hold.cancel(ticket));
                        waiting.remove(&ticket);
                    }
                }
            }
            prop_assert_eq!(hold.requests(), waiting.len());
            prop_assert_eq!(hold.bytes(), waiting.values().sum::<u64>());
            prop_assert!(hold.requests() <= 5 && hold.bytes() <= 100);
        }
        for n in 0..4 {
            drop(hold.release(key(n)));
        }
        prop_assert!(hold.sessions.is_empty());
        prop_assert_eq!((hold.requests(), hold.bytes()), (0, 0));
    }
}
