//! The hold: every bound is kept, order is kept, and the account always adds up.

use std::collections::BTreeMap;

use homing_wire::{HoldLimits, SessionKey};
use proptest::prelude::*;

use super::{Hold, HoldRefused, Ticket};

const LIMITS: HoldLimits =
    HoldLimits { requests_per_session: 3, requests_total: 5, bytes_total: 100, ms_max: 50 };

fn key(n: u128) -> SessionKey {
    SessionKey(n)
}

#[test]
fn each_bound_refuses() {
    let mut hold = Hold::default();
    let mut park = |n, bytes, since| hold.park(key(n), bytes, since, &LIMITS, 50);
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
    let tickets: Vec<_> =
        (0..3).map(|n| hold.park(key(1), n, n, &LIMITS, n).expect("room")).collect();
    let released = hold.release(key(1), 100, 7);
    assert_eq!(released.iter().map(|go| go.ticket).collect::<Vec<_>>(), tickets);
    assert!(released.windows(2).all(|two| two[0].after_ms <= two[1].after_ms));
    assert!(released.iter().all(|go| go.after_ms < 100));
    assert!(hold.release(key(1), 100, 7).is_empty());
    assert_eq!((hold.requests(), hold.bytes()), (0, 0));
}

#[test]
fn sessions_start_apart() {
    let mut starts = std::collections::BTreeSet::new();
    for n in 0..100 {
        let mut hold = Hold::default();
        hold.park(key(n), 0, 0, &LIMITS, 0).expect("room");
        starts.insert(hold.release(key(n), 1_000, 3)[0].after_ms);
    }
    assert!(starts.len() > 80, "{}", starts.len());
}

#[test]
fn being_held_again_gives_no_more_time() {
    let mut hold = Hold::default();
    hold.park(key(1), 0, 10, &LIMITS, 10).expect("room");
    hold.release(key(1), 0, 0);
    let again = hold.park(key(1), 0, 10, &LIMITS, 40).expect("room");
    assert_eq!((again.deadline_ms(), hold.next_deadline_ms()), (60, Some(60)));
    assert!(hold.expire(59, 10).is_empty());
    assert_eq!(hold.expire(60, 10), [again]);
    assert!(!hold.cancel(again));
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
                    if let Ok(ticket) = hold.park(key(n), bytes, now_ms, &LIMITS, now_ms) {
                        prop_assert!(waiting.insert(ticket, bytes).is_none());
                    }
                }
                2 => {
                    for go in hold.release(key(n), 10, 1) {
                        prop_assert!(waiting.remove(&go.ticket).is_some());
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
            for ticket in hold.expire(now_ms, usize::MAX) {
                prop_assert!(waiting.remove(&ticket).is_some());
            }
            prop_assert!(waiting.keys().all(|ticket| ticket.deadline_ms() > now_ms));
            prop_assert_eq!(hold.requests(), waiting.len());
            prop_assert_eq!(hold.bytes(), waiting.values().sum::<u64>());
            prop_assert!(hold.requests() <= 5 && hold.bytes() <= 100);
        }
        for n in 0..4 {
            hold.release(key(n), 0, 0);
        }
        prop_assert!(hold.sessions.is_empty());
        prop_assert_eq!((hold.requests(), hold.bytes()), (0, 0));
    }
}
