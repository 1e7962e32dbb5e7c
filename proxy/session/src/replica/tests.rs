use super::*;

const R: ZoneId = ZoneId(1);
const OTHER: ZoneId = ZoneId(2);
const LIFE: Incarnation = Incarnation(5);

fn actions(replica: &mut Replica) -> Vec<Action> {
    std::iter::from_fn(|| replica.poll()).collect()
}

fn kept(version: u64) -> Event {
    Event::Kept { zone: R, life: LIFE, version }
}

#[test]
fn without_a_replica_and_with_a_lagging_one_answers_go_out_at_once() {
    for tier in [Tier::T0, Tier::T1] {
        let mut replica = Replica::new(tier, 0, 100);
        replica.handle(Event::Use(R), 0);
        let before = actions(&mut replica);
        assert_eq!(before.is_empty(), tier == Tier::T0);
        replica.handle(Event::Answer { version: 1, ticket: 7 }, 1);
        assert_eq!(actions(&mut replica), [Action::Release(7)]);
        assert_eq!(replica.lag(), 1);
    }
}

#[test]
fn an_answer_waits_for_the_replica_and_for_control_to_know_it() {
    let mut replica = Replica::new(Tier::T2, 3, 100);
    replica.handle(Event::Use(R), 0);
    assert_eq!(actions(&mut replica), [Action::Send { zone: R, since: 0 }]);
    replica.handle(Event::Answer { version: 4, ticket: 1 }, 10);
    assert_eq!(actions(&mut replica), [], "one delta at a time");
    replica.handle(kept(3), 20);
    let tell = |seq| Action::TellControl { seq, zone: R, life: LIFE };
    // The life was not known before: what it had then is the least it must have.
    assert_eq!(actions(&mut replica), [Action::Send { zone: R, since: 3 }]);
    replica.handle(kept(4), 30);
    assert_eq!(actions(&mut replica), [tell(2)]);
    replica.handle(Event::Known { seq: 1 }, 40);
    assert_eq!((actions(&mut replica), replica.held()), (vec![], 0), "an earlier word");
    replica.handle(Event::Known { seq: 2 }, 50);
    assert_eq!(actions(&mut replica), [Action::Release(1)]);
    assert_eq!((replica.held(), replica.lag()), (4, 0));
}

#[test]
fn another_life_of_the_replica_starts_from_what_it_has() {
    let mut replica = Replica::new(Tier::T2, 2, 100);
    replica.handle(Event::Use(R), 0);
    replica.handle(kept(2), 10);
    replica.handle(Event::Known { seq: 2 }, 20);
    assert_eq!(replica.held(), 2);
    let next = Incarnation(6);
    replica.handle(Event::Kept { zone: R, life: next, version: 0 }, 30);
    assert_eq!(replica.held(), 0, "the former life took its copy along");
    actions(&mut replica);
    replica.handle(kept(2), 40);
    assert_eq!((actions(&mut replica), replica.held()), (vec![], 0), "the former life's, late");
    replica.handle(Event::Kept { zone: R, life: next, version: 2 }, 50);
    let tell = Action::TellControl { seq: 3, zone: R, life: next };
    assert_eq!(actions(&mut replica), [tell]);
}

#[test]
fn a_word_that_control_does_not_take_is_repeated_and_the_replica_asked_again() {
    let mut replica = Replica::new(Tier::T2, 1, 100);
    replica.handle(Event::Use(R), 0);
    replica.handle(kept(1), 10);
    actions(&mut replica);
    replica.handle(Event::Wake, 110);
    let tell = Action::TellControl { seq: 2, zone: R, life: LIFE };
    assert_eq!(actions(&mut replica), [tell, Action::Send { zone: R, since: 1 }]);
    replica.handle(Event::Known { seq: 2 }, 120);
    // That delta is lost, and with nothing left to say the machine rests. It goes on all the same.
    replica.handle(Event::Wake, 210);
    replica.handle(Event::Answer { version: 2, ticket: 1 }, 300);
    assert_eq!(actions(&mut replica), [Action::Send { zone: R, since: 1 }]);
}

#[test]
fn what_is_not_answered_is_said_again_and_another_zone_can_be_used() {
    let mut replica = Replica::new(Tier::T2, 1, 100);
    replica.handle(Event::Use(R), 0);
    actions(&mut replica);
    replica.handle(Event::Wake, 99);
    assert_eq!(actions(&mut replica), []);
    replica.handle(Event::Wake, 100);
    assert_eq!(actions(&mut replica), [Action::Send { zone: R, since: 0 }]);
    replica.handle(Event::Use(OTHER), 150);
    assert_eq!(actions(&mut replica), [Action::Send { zone: OTHER, since: 0 }]);
    replica.handle(kept(1), 160);
    assert_eq!(actions(&mut replica), [], "no longer the replica");
    assert_eq!(replica.keeper(), Some((OTHER, Incarnation(0))));
}
