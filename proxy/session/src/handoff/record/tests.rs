use super::*;

const A: ZoneId = ZoneId(0);
const B: ZoneId = ZoneId(1);
const M: DirectiveId = DirectiveId(1);
const BOTH: [Option<Incarnation>; 2] = [Some(Incarnation(1)), Some(Incarnation(1))];
const ONLY_A: [Option<Incarnation>; 2] = [Some(Incarnation(1)), None];
const ONLY_B: [Option<Incarnation>; 2] = [None, Some(Incarnation(1))];
const NEW_A: [Option<Incarnation>; 2] = [Some(Incarnation(2)), Some(Incarnation(1))];
const PREPARE: Event = Event::Prepare { directive: M, to: B };
const ACTIVATED: Event = Event::Activated { directive: M, incarnation: Incarnation(1) };
const FENCED: Event = Event::Fenced { directive: M, incarnation: Incarnation(1) };

fn home() -> Record {
    Record::settled(A, Incarnation(1), Epoch(4))
}

fn take(record: Record, event: Event, lives: &[Option<Incarnation>]) -> Result<Decision, Rejected> {
    record.next(event, Lives { by_zone: lives, heir: None, ephemeral: false })
}

fn prepared() -> Record {
    take(home(), PREPARE, &BOTH).unwrap().record
}

#[test]
fn a_handoff_is_committed_at_the_next_epoch() {
    let decision = take(prepared(), ACTIVATED, &BOTH).unwrap();
    let expected = Record { last: M, ..Record::settled(B, Incarnation(1), Epoch(5)) };
    assert_eq!(decision.record, expected);
    assert_eq!(decision.ended, Some(Ended::Committed { former: A }));
    assert_eq!(take(decision.record, ACTIVATED, &BOTH), Err(Rejected::NotPending), "repeated");
}

#[test]
fn a_promise_takes_it_back_above_the_granted_epoch() {
    let Decision { record, send, ended } = take(prepared(), FENCED, &BOTH).unwrap();
    let from = StartFrom::Retained;
    assert_eq!((record.owner, record.epoch), (A, Epoch(6)));
    assert_eq!(record.pending, Pending::Claim { from });
    let own = Message::Own { directive: M, incarnation: Incarnation(1), epoch: Epoch(6), from };
    assert_eq!((send, ended), (Some((A, own)), Some(Ended::TakenBack)));
    assert_eq!(take(record, ACTIVATED, &BOTH), Err(Rejected::NotPending), "too late");
    assert_eq!(take(record, PREPARE, &BOTH), Err(Rejected::Busy), "not before it is confirmed");
    let owned = Event::Owned { incarnation: Incarnation(1), epoch: Epoch(6) };
    assert_eq!(take(record, owned, &BOTH).unwrap().record.pending, Pending::Settled);
}

#[test]
fn without_a_word_a_review_asks_and_never_decides() {
    let Decision { record, send, .. } = take(prepared(), Event::Review, &BOTH).unwrap();
    let query = Message::FenceQuery { directive: M, to_incarnation: Incarnation(1) };
    assert_eq!((record, send), (prepared(), Some((B, query.clone()))));
    // A dead source changes nothing: the target may own it by now.
    let Decision { record, send, .. } = take(prepared(), Event::Review, &ONLY_B).unwrap();
    assert_eq!((record, send), (prepared(), Some((B, query))));
}

#[test]
fn a_dead_target_is_not_believed_and_the_source_goes_on() {
    assert_eq!(take(prepared(), ACTIVATED, &ONLY_A), Err(Rejected::NotPending));
    let record = take(prepared(), Event::Review, &ONLY_A).unwrap().record;
    assert_eq!((record.owner, record.epoch), (A, Epoch(6)));
}

#[test]
fn a_dead_source_is_followed_by_its_zones_next_life_or_an_heir() {
    let from = StartFrom::Store;
    let next_life = take(prepared(), FENCED, &NEW_A).unwrap().record;
    assert_eq!((next_life.owner, next_life.incarnation), (A, Incarnation(2)));
    assert_eq!(next_life.pending, Pending::Claim { from });
    // Without a replica elsewhere the session waits for its zone: its state is there.
    let waits = take(prepared(), FENCED, &ONLY_B).unwrap().record;
    assert_eq!((waits.owner, waits.epoch, waits.pending), (A, Epoch(5), Pending::Settled));
    let lives = Lives { by_zone: &ONLY_B, heir: Some(B), ephemeral: false };
    let heir = prepared().next(FENCED, lives).unwrap().record;
    assert_eq!((heir.owner, heir.epoch, heir.pending), (B, Epoch(6), Pending::Claim { from }));
    let third = [None, Some(Incarnation(1)), Some(Incarnation(9))];
    let lives = Lives { by_zone: &third, heir: Some(ZoneId(2)), ephemeral: false };
    assert_eq!(home().next(Event::Review, lives).unwrap().record.owner, ZoneId(2));
}

#[test]
fn where_state_ends_with_its_gate_the_heir_comes_first_and_is_waited_for() {
    let heir = |by_zone| Lives { by_zone, heir: Some(B), ephemeral: true };
    let both = [Some(Incarnation(2)), Some(Incarnation(1))];
    let given = home().next(Event::Review, heir(&both)).unwrap().record;
    assert_eq!(given.owner, B, "the next life of A has nothing");
    let waits = home().next(Event::Review, heir(&[Some(Incarnation(2)), None])).unwrap().record;
    assert_eq!((waits.owner, waits.pending), (A, Pending::Settled));
    let alone = Lives { by_zone: &NEW_A, heir: None, ephemeral: true };
    let begins = home().next(Event::Review, alone).unwrap().record;
    assert_eq!((begins.owner, begins.incarnation), (A, Incarnation(2)));
}

#[test]
fn with_nobody_alive_the_session_waits() {
    let waiting = take(prepared(), Event::Review, &[None, None]).unwrap().record;
    assert_eq!((waiting.owner, waiting.epoch, waiting.pending), (A, Epoch(5), Pending::Settled));
    let found = take(waiting, Event::Review, &NEW_A).unwrap().record;
    assert_eq!((found.owner, found.incarnation, found.epoch), (A, Incarnation(2), Epoch(6)));
}

#[test]
fn a_handoff_needs_two_live_gates_and_a_new_directive() {
    assert_eq!(take(home(), PREPARE, &ONLY_A), Err(Rejected::NoGate));
    assert_eq!(take(home(), PREPARE, &ONLY_B), Err(Rejected::NoGate));
    let to_itself = Event::Prepare { directive: M, to: A };
    assert_eq!(take(home(), to_itself, &BOTH), Err(Rejected::NoGate));
    let to_nowhere = Event::Prepare { directive: M, to: ZoneId(200) };
    assert_eq!(take(home(), to_nowhere, &BOTH), Err(Rejected::NoGate));
    let old = Record { last: M, ..home() };
    assert_eq!(take(old, PREPARE, &BOTH), Err(Rejected::OldDirective));
}
