use super::*;
use homing_wire::{Cut, Incarnation, MoveReason, SessionKey, UndoneReason};

const LIVE: [Option<Incarnation>; 2] = [Some(Incarnation(1)), Some(Incarnation(1))];
const PATIENCE: Patience = Patience { handoff_ms: 500, answer_ms: 100, release_ms: 300 };

fn lives() -> Lives<'static> {
    Lives { by_zone: &LIVE, heir: None, ephemeral: false }
}

fn prepared() -> Authority {
    let record = Record::settled(ZoneId(0), Incarnation(1), Epoch(4));
    let mut authority = Authority::new(record, PATIENCE, 0);
    assert_eq!((authority.poll(), authority.deadline()), (None, None));
    let wanted = Directive {
        id: DirectiveId(1),
        key: SessionKey(1),
        from: ZoneId(9),
        to: ZoneId(1),
        from_incarnation: Incarnation(0),
        to_incarnation: Incarnation(0),
        epoch: Epoch(0),
        reason: MoveReason::Operator,
        cut: Cut::IdleGap,
    };
    let directive = authority.prepare(wanted, lives(), 0).unwrap();
    assert_eq!((directive.from, directive.epoch), (ZoneId(0), Epoch(5)));
    assert_eq!(directive.to_incarnation, Incarnation(1));
    let stored = authority.poll();
    assert!(matches!(stored, Some(Action::Persist(r)) if r.last == DirectiveId(1)), "{stored:?}");
    let told = Action::Send(ZoneId(0), Message::Prepare(directive));
    assert_eq!((authority.poll(), authority.poll()), (Some(told), None));
    authority
}

fn heard(authority: &mut Authority, message: Message, now_ms: u64) -> Vec<Action> {
    authority.handle(Event::Heard(message), lives(), now_ms);
    std::iter::from_fn(|| authority.poll()).collect()
}

const ACTIVATED: Message =
    Message::Activated { directive: DirectiveId(1), incarnation: Incarnation(1) };

#[test]
fn commits_and_releases_when_every_proxy_knows() {
    let mut authority = prepared();
    let actions = heard(&mut authority, ACTIVATED, 20);
    let [Action::Persist(record), Action::Report(id, ended)] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!((record.owner, record.epoch, id.0), (ZoneId(1), Epoch(5), 1));
    assert_eq!(*ended, Ended::Committed { former: ZoneId(0) });
    assert_eq!(heard(&mut authority, ACTIVATED, 21), [], "said twice");
    authority.handle(Event::Published(Epoch(4)), lives(), 30);
    assert_eq!(authority.poll(), None, "an older table");
    authority.handle(Event::Published(Epoch(5)), lives(), 31);
    let release = Message::Release { to: ZoneId(1), epoch: Epoch(5) };
    assert_eq!(authority.poll(), Some(Action::Send(ZoneId(0), release)));
    assert_eq!(authority.deadline(), None);
}

#[test]
fn releases_after_a_while_even_if_some_proxy_is_silent() {
    let mut authority = prepared();
    heard(&mut authority, ACTIVATED, 20);
    assert_eq!(authority.deadline(), Some(320));
    authority.handle(Event::Wake, lives(), 320);
    assert!(matches!(authority.poll(), Some(Action::Send(_, Message::Release { .. }))));
}

#[test]
fn repeats_the_order_then_asks_for_the_word() {
    let mut authority = prepared();
    authority.handle(Event::Wake, lives(), 99);
    assert_eq!(authority.poll(), None, "early");
    authority.handle(Event::Wake, lives(), 100);
    assert!(matches!(authority.poll(), Some(Action::Send(ZoneId(0), Message::Prepare(_)))));
    authority.handle(Event::Wake, lives(), 500);
    assert!(matches!(authority.poll(), Some(Action::Send(ZoneId(1), Message::FenceQuery { .. }))));
    assert_eq!(authority.deadline(), Some(600), "and asks again");
}

#[test]
fn a_stalled_source_has_it_resolved_at_once() {
    let mut authority = prepared();
    let why = UndoneReason::ExportFailed;
    let stalled = |id| Message::Stalled { directive: DirectiveId(id), why };
    assert_eq!(heard(&mut authority, stalled(9), 10), [], "another's");
    let actions = heard(&mut authority, stalled(1), 10);
    assert!(matches!(actions[..], [Action::Send(ZoneId(1), Message::FenceQuery { .. })]));
    let fenced = Message::Fenced { directive: DirectiveId(1), incarnation: Incarnation(1) };
    let actions = heard(&mut authority, fenced, 20);
    assert!(
        matches!(
            actions[..],
            [
                Action::Persist(_),
                Action::Send(ZoneId(0), Message::Own { epoch: Epoch(6), .. }),
                Action::Report(_, Ended::TakenBack)
            ]
        ),
        "{actions:?}"
    );
}

#[test]
fn goes_on_from_the_record_alone() {
    let record = *prepared().record();
    let mut authority = Authority::new(record, PATIENCE, 1_000);
    assert_eq!(authority.deadline(), Some(1_100));
    authority.handle(Event::Wake, lives(), 1_100);
    assert!(matches!(authority.poll(), Some(Action::Send(ZoneId(1), Message::FenceQuery { .. }))));
}

#[test]
fn only_a_death_that_matters_is_acted_on() {
    let mut authority = prepared();
    authority.handle(Event::LivesChanged, lives(), 10);
    assert_eq!(authority.poll(), None);
    let without_target = Lives { by_zone: &LIVE[..1], heir: None, ephemeral: false };
    authority.handle(Event::LivesChanged, without_target, 10);
    assert!(matches!(authority.poll(), Some(Action::Persist(r)) if r.epoch == Epoch(6)));
}
