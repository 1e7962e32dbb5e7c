use super::*;
use homing_wire::Incarnation;

const M: DirectiveId = DirectiveId(7);
const LATER: DirectiveId = DirectiveId(8);
const LIFE: Incarnation = Incarnation(3);
const HERE: ZoneId = ZoneId(0);
const THERE: ZoneId = ZoneId(1);
const GUARD: Guard = Guard { incarnation: LIFE, lease_valid: true, in_flight: 0 };

fn run(start: Ownership, events: &[Event]) -> Result<(Ownership, Reaction), Illegal> {
    let mut last = (start, Reaction::Dropped);
    for &event in events {
        last = last.0.next(event, GUARD)?;
    }
    Ok(last)
}

fn after(start: Ownership, events: &[Event]) -> Ownership {
    run(start, events).unwrap().0
}

fn refusal(at: Ownership, event: Event, guard: Guard) -> Refusal {
    let illegal = at.next(event, guard).unwrap_err();
    assert_eq!((illegal.at, illegal.event), (at, event), "the pair is in the error");
    illegal.why
}

const fn stage(directive: DirectiveId, epoch: u64) -> Event {
    Event::Stage { directive, to_incarnation: LIFE, epoch: Epoch(epoch) }
}

const fn activate(directive: DirectiveId, epoch: u64) -> Event {
    Event::Activate { directive, to_incarnation: LIFE, epoch: Epoch(epoch) }
}

const fn fence(directive: DirectiveId) -> Event {
    Event::FenceQuery { directive, to_incarnation: LIFE }
}

const fn own(epoch: u64, from: StartFrom) -> Event {
    Event::Own { directive: M, incarnation: LIFE, epoch: Epoch(epoch), from }
}

const FREEZE: Event = Event::Freeze { directive: M };
const THAW: Event = Event::Thaw { directive: M };
const GRANT: Event = Event::Grant { directive: M, to: THERE, epoch: Epoch(5) };
const ACK: Event = Event::GrantAck { directive: M };

#[test]
fn a_source_holds_until_the_target_confirms_and_then_redirects() {
    let owner = Ownership::owner(Epoch(4));
    assert_eq!(owner.admit(true), Verdict::Execute { epoch: Epoch(4) });
    assert_eq!(owner.admit(false), Verdict::NoLease);
    let frozen = after(owner, &[FREEZE]);
    assert_eq!(frozen.admit(true), Verdict::Park);
    let granted = after(frozen, &[GRANT]);
    assert_eq!(granted.admit(true), Verdict::Park);
    let retired = after(granted, &[ACK]);
    assert_eq!(retired.admit(true), Verdict::Moved { zone: THERE, epoch: Epoch(5) });
    let away = after(retired, &[Event::Release { to: THERE, epoch: Epoch(5) }]);
    assert_eq!(away, Ownership::moved(THERE, Epoch(5)));
    assert_eq!(away.admit(true), Verdict::Moved { zone: THERE, epoch: Epoch(5) });
    assert_eq!(Ownership::away().admit(true), Verdict::NotOwner);
}

#[test]
fn a_thawed_source_executes_at_its_old_epoch() {
    let (thawed, reaction) = run(Ownership::owner(Epoch(4)), &[FREEZE, THAW]).unwrap();
    assert_eq!((thawed, reaction), (Ownership::owner(Epoch(4)), Reaction::Thawed));
}

#[test]
fn nothing_thaws_a_grant_and_only_a_higher_epoch_takes_it_back() {
    let granted = after(Ownership::owner(Epoch(4)), &[FREEZE, GRANT]);
    assert_eq!(refusal(granted, THAW, GUARD), Refusal::OutOfPlace);
    assert_eq!(refusal(granted, own(5, StartFrom::Retained), GUARD), Refusal::OldEpoch);
    for at in [granted, after(granted, &[ACK])] {
        let back = after(at, &[own(6, StartFrom::Retained)]);
        assert_eq!(back.admit(true), Verdict::Execute { epoch: Epoch(6) });
        assert_eq!(refusal(back, FREEZE, GUARD), Refusal::Fenced, "the directive is over");
    }
}

#[test]
fn a_grant_waits_for_requests_in_execution() {
    let frozen = after(Ownership::owner(Epoch(4)), &[FREEZE]);
    let busy = Guard { in_flight: 1, ..GUARD };
    assert_eq!(refusal(frozen, GRANT, busy), Refusal::InFlight);
    let stale = Event::Grant { directive: M, to: THERE, epoch: Epoch(4) };
    assert_eq!(refusal(frozen, stale, GUARD), Refusal::OldEpoch);
}

#[test]
fn a_target_activates_only_what_was_staged_for_this_life_under_a_lease() {
    let staged = after(Ownership::away(), &[stage(M, 5)]);
    assert_eq!(staged.admit(true), Verdict::NotOwner);
    let other_life = Guard { incarnation: Incarnation(4), ..GUARD };
    assert_eq!(refusal(staged, activate(M, 5), other_life), Refusal::OtherLife);
    let lapsed = Guard { lease_valid: false, ..GUARD };
    assert_eq!(refusal(staged, activate(M, 5), lapsed), Refusal::NoLease);
    assert_eq!(refusal(staged, activate(LATER, 5), GUARD), Refusal::OutOfPlace);
    assert_eq!(refusal(Ownership::away(), activate(M, 5), GUARD), Refusal::OutOfPlace);
    let owner = after(staged, &[activate(M, 5)]);
    assert_eq!(owner.admit(true), Verdict::Execute { epoch: Epoch(5) });
}

#[test]
fn a_fence_is_for_good_and_so_is_an_activation() {
    let (fenced, reaction) = run(Ownership::away(), &[stage(M, 5), fence(M)]).unwrap();
    assert_eq!(reaction, Reaction::Fenced);
    assert_eq!(refusal(fenced, stage(M, 5), GUARD), Refusal::Fenced);
    assert_eq!(refusal(fenced, activate(M, 5), GUARD), Refusal::OutOfPlace);
    assert!(!fenced.may_forget(DirectiveId(6)) && fenced.may_forget(M));
    // A later handoff is another matter.
    let again = after(fenced, &[stage(LATER, 7), activate(LATER, 7)]);
    let (same, reaction) = run(again, &[fence(LATER)]).unwrap();
    assert_eq!((same, reaction), (again, Reaction::Activated));
    assert_eq!(refusal(again, fence(M), GUARD), Refusal::Fenced, "settled long ago");
}

#[test]
fn the_source_cannot_answer_for_what_it_has_granted() {
    let granted = after(Ownership::owner(Epoch(4)), &[FREEZE, GRANT]);
    assert_eq!(refusal(granted, fence(M), GUARD), Refusal::OutOfPlace);
}

#[test]
fn repeated_events_change_nothing_and_are_answered_again() {
    let cases: [(Ownership, &[Event]); 7] = [
        (Ownership::owner(Epoch(4)), &[FREEZE]),
        (Ownership::owner(Epoch(4)), &[FREEZE, THAW]),
        (Ownership::owner(Epoch(4)), &[FREEZE, GRANT]),
        (Ownership::owner(Epoch(4)), &[FREEZE, GRANT, ACK]),
        (Ownership::away(), &[stage(M, 5)]),
        (Ownership::away(), &[stage(M, 5), activate(M, 5)]),
        (Ownership::away(), &[own(5, StartFrom::Store)]),
    ];
    for (start, events) in cases {
        let once = run(start, events).unwrap();
        assert_eq!(once.0.next(*events.last().unwrap(), GUARD), Ok(once));
    }
}

#[test]
fn a_session_may_come_back_before_its_old_home_was_released() {
    let retired = after(Ownership::owner(Epoch(4)), &[FREEZE, GRANT, ACK]);
    let staged = after(retired, &[stage(LATER, 6)]);
    assert_eq!(staged.admit(true), Verdict::Moved { zone: THERE, epoch: Epoch(5) });
    let late = Event::Release { to: THERE, epoch: Epoch(5) };
    assert_eq!(refusal(staged, late, GUARD), Refusal::OldEpoch);
    assert_eq!(refusal(staged, stage(M, 6), GUARD), Refusal::OutOfPlace);
    let home = after(staged, &[activate(LATER, 6)]);
    assert_eq!(home.admit(true), Verdict::Execute { epoch: Epoch(6) });
}

#[test]
fn a_superseded_owner_stops_and_a_lost_lease_leaves_nothing() {
    let owner = Ownership::owner(Epoch(4));
    let stale = Event::Release { to: THERE, epoch: Epoch(4) };
    assert_eq!(refusal(owner, stale, GUARD), Refusal::OldEpoch);
    let away = after(owner, &[Event::Release { to: THERE, epoch: Epoch(5) }]);
    assert_eq!(away.admit(true), Verdict::Moved { zone: THERE, epoch: Epoch(5) });
    let lost = after(owner, &[Event::LeaseLost]);
    assert_eq!(lost.admit(true), Verdict::NotOwner);
    assert_eq!(refusal(lost, own(9, StartFrom::Retained), GUARD), Refusal::NothingRetained);
    assert_eq!(after(lost, &[own(9, StartFrom::Store)]).epoch(), Epoch(9));
}

/// Walks everything reachable with a small alphabet: no step lowers an epoch, and none leads from
/// a grant back to execution at or below the granted epoch.
#[test]
fn every_reachable_step_keeps_the_two_laws() {
    let mut events = vec![Event::LeaseLost];
    for directive in [M, LATER] {
        events.extend([Event::Freeze { directive }, Event::Thaw { directive }]);
        events.extend([Event::GrantAck { directive }, fence(directive)]);
        for epoch in 1..6 {
            events.extend([stage(directive, epoch), activate(directive, epoch)]);
            let epoch = Epoch(epoch);
            events.push(Event::Grant { directive, to: THERE, epoch });
            events.push(Event::Release { to: HERE, epoch });
            for from in [StartFrom::Retained, StartFrom::Store] {
                events.push(Event::Own { directive, incarnation: LIFE, epoch, from });
            }
        }
    }
    let mut seen = std::collections::HashSet::from([Ownership::away()]);
    let mut queue = vec![Ownership::away(), Ownership::owner(Epoch(1))];
    while let Some(at) = queue.pop() {
        for &event in &events {
            let Ok((to, _)) = at.next(event, GUARD) else {
                continue;
            };
            assert!(to.epoch >= at.epoch, "{at:?} {event:?} {to:?}");
            if matches!(at.tenure, Tenure::Granted { .. } | Tenure::Retired { .. }) && to.is_home()
            {
                assert!(to.epoch > at.epoch, "{at:?} {event:?} {to:?}");
            }
            if seen.insert(to) {
                queue.push(to);
            }
        }
    }
    assert!(seen.len() > 200, "only {} ownerships reached", seen.len());
}
