use super::*;
use crate::gate::Refusal;
use homing_wire::{Epoch, Incarnation, MoveReason, SessionKey, ZoneId};

const M: DirectiveId = DirectiveId(7);
const FREEZE: Action = Action::Gate(gate::Event::Freeze { directive: M });
const THAW: Action = Action::Gate(gate::Event::Thaw { directive: M });

fn source(cut: Cut) -> Source {
    let directive = Directive {
        id: M,
        key: SessionKey(1),
        from: ZoneId(0),
        to: ZoneId(1),
        from_incarnation: Incarnation(0),
        to_incarnation: Incarnation(3),
        epoch: Epoch(5),
        reason: MoveReason::Operator,
        cut,
    };
    let mut source = Source::new(directive, SourceLimits::default(), 0);
    assert_eq!(acts(&mut source), [Action::Export { ticket: 1, since: 0, last: false }]);
    source
}

fn acts(source: &mut Source) -> Vec<Action> {
    std::iter::from_fn(|| source.poll()).collect()
}

fn told(source: &mut Source, event: Event, now_ms: u64) -> Vec<Action> {
    source.handle(event, now_ms);
    acts(source)
}

fn exported(ticket: u32, since: u64, version: u64, bytes: u64) -> Event {
    Event::Exported { ticket, copy: Copied { since, version, bytes } }
}

fn stalled(why: UndoneReason) -> Action {
    Action::SendAuthority(Message::Stalled { directive: M, why })
}

/// A source whose first copy was acknowledged within a millisecond.
fn waiting() -> Source {
    let mut source = source(Cut::IdleGap);
    let sent = told(&mut source, exported(1, 0, 4, 1_000), 1);
    assert!(matches!(sent[..], [Action::SendTarget(Message::Stage { .. })]));
    let actions = told(&mut source, Event::StageAck { version: 4 }, 2);
    assert_eq!(actions, [Action::AwaitGap { pause_ms: 2 }]);
    source
}

/// Frozen at 100 ms and asked to export the cut.
fn cutting() -> Source {
    let mut source = waiting();
    assert_eq!(told(&mut source, Event::Gap, 100), [FREEZE]);
    let drain = told(&mut source, Event::Gate(Reaction::Frozen), 100);
    assert_eq!(drain, [Action::AwaitDrained]);
    let export = Action::Export { ticket: 2, since: 4, last: true };
    assert_eq!(told(&mut source, Event::Drained, 101), [export]);
    source
}

fn granted() -> Source {
    let mut source = cutting();
    let grant = gate::Event::Grant { directive: M, to: ZoneId(1), epoch: Epoch(5) };
    assert_eq!(told(&mut source, exported(2, 4, 6, 200), 102), [Action::Gate(grant)]);
    let sent = told(&mut source, Event::Gate(Reaction::Granted), 102);
    assert!(matches!(sent[..], [Action::SendTarget(Message::Grant { .. })]), "{sent:?}");
    source
}

#[test]
fn hands_over_in_an_idle_gap() {
    let mut source = granted();
    let ack = gate::Event::GrantAck { directive: M };
    assert_eq!(told(&mut source, Event::GrantAck, 104), [Action::Gate(ack)]);
    let figures = HandoffFigures {
        epoch: Epoch(5),
        pause_us: 4_000,
        held: 0,
        state_bytes: 1_200,
        cut_bytes: 200,
        rounds: 2,
        total_us: 104_000,
    };
    let reports = told(&mut source, Event::Gate(Reaction::Retired), 104);
    assert_eq!(reports, [Action::Report(OutcomeEnd::Completed(figures))]);
    assert!(source.is_over() && source.deadline().is_none());
}

#[test]
fn copies_again_while_copies_shrink() {
    let mut source = source(Cut::IdleGap);
    let mut next = Vec::new();
    for (ticket, bytes) in [(1, 1_000), (2, 500), (3, 450)] {
        let version = u64::from(ticket);
        told(&mut source, exported(ticket, version - 1, version, bytes), 0);
        // Ten milliseconds: too long for a pause.
        next = told(&mut source, Event::StageAck { version }, 10 * version);
    }
    assert!(matches!(next[..], [Action::AwaitGap { .. }]), "450 of 500 is no progress: {next:?}");
}

#[test]
fn cuts_without_a_gap_when_patience_ends_and_at_once_when_told() {
    let mut patient = waiting();
    assert_eq!(told(&mut patient, Event::Wake, 9_000), []);
    assert_eq!(patient.deadline(), Some(10_002));
    assert_eq!(told(&mut patient, Event::Wake, 10_002), [FREEZE]);
    let mut hasty = source(Cut::Now);
    told(&mut hasty, exported(1, 0, 4, 1_000), 1);
    assert_eq!(told(&mut hasty, Event::StageAck { version: 4 }, 2), [FREEZE]);
}

#[test]
fn thaws_when_the_freeze_takes_too_long_and_stalls_in_the_end() {
    let mut source = waiting();
    for attempt in 1..=3 {
        let began = attempt * 20_000;
        assert_eq!(told(&mut source, Event::Gap, began), [FREEZE]);
        told(&mut source, Event::Gate(Reaction::Frozen), began);
        let actions = told(&mut source, Event::Wake, began + 500);
        if attempt < 3 {
            assert_eq!(actions, [THAW, Action::AwaitGap { pause_ms: 2 }]);
        } else {
            assert_eq!(actions, [THAW, stalled(UndoneReason::DrainTimeout)]);
        }
        assert_eq!(told(&mut source, Event::Gate(Reaction::Thawed), began + 500), []);
    }
    let undone = OutcomeEnd::Undone { why: UndoneReason::DrainTimeout, detail: String::new() };
    let reports = told(&mut source, Event::Gate(Reaction::Owns), 90_000);
    assert_eq!(reports, [Action::Report(undone)]);
}

#[test]
fn the_export_of_an_abandoned_cut_is_not_taken_for_the_next() {
    let mut source = cutting();
    told(&mut source, Event::Wake, 600);
    told(&mut source, Event::Gap, 700);
    told(&mut source, Event::Gate(Reaction::Frozen), 700);
    told(&mut source, Event::Drained, 700);
    assert_eq!(told(&mut source, exported(2, 4, 6, 200), 701), [], "writes were made since");
    assert!(matches!(told(&mut source, exported(3, 4, 9, 300), 702)[..], [Action::Gate(_)]));
}

#[test]
fn a_grant_is_repeated_and_never_taken_back_by_itself() {
    let mut source = granted();
    let actions = told(&mut source, Event::Wake, 5_000);
    assert!(matches!(actions[0], Action::SendTarget(Message::Grant { .. })));
    assert_eq!(actions[1..], [stalled(UndoneReason::TargetTimeout)]);
    let refused = Event::StageRefused(UndoneReason::ImportRefused);
    assert_eq!(told(&mut source, refused, 5_001), [stalled(UndoneReason::ImportRefused)]);
    let reports = told(&mut source, Event::Gate(Reaction::Owns), 5_002);
    assert!(matches!(reports[..], [Action::Report(OutcomeEnd::Undone { .. })]));
}

#[test]
fn faults_before_the_grant_leave_the_session_served() {
    let mut large = source(Cut::IdleGap);
    let actions = told(&mut large, exported(1, 0, 1, u64::MAX), 1);
    assert_eq!(actions, [stalled(UndoneReason::StateTooLarge)]);
    let mut truncated = source(Cut::IdleGap);
    let why = UndoneReason::ExportTruncated;
    let failed = Event::ExportFailed { ticket: 1, why };
    assert_eq!(told(&mut truncated, failed, 1), [stalled(why)]);
    let mut stale = waiting();
    told(&mut stale, Event::Gap, 3);
    let actions = told(&mut stale, Event::Refused(Refusal::Fenced), 3);
    assert_eq!(actions, [THAW, stalled(UndoneReason::Stale)]);
    let mut cut = cutting();
    let failed = Event::ExportFailed { ticket: 2, why };
    assert_eq!(told(&mut cut, failed, 102), [THAW, stalled(why)]);
}

#[test]
fn an_unanswered_copy_is_sent_again_a_few_times() {
    let mut source = source(Cut::IdleGap);
    told(&mut source, exported(1, 0, 4, 1_000), 0);
    for attempt in 1..=2 {
        let again = told(&mut source, Event::Wake, attempt * 2_000);
        assert!(matches!(again[..], [Action::SendTarget(Message::Stage { .. })]));
    }
    let actions = told(&mut source, Event::Wake, 6_000);
    assert_eq!(actions, [stalled(UndoneReason::TargetTimeout)]);
}

#[test]
fn answers_are_told_apart_by_directive() {
    let ack = Message::StageAck { directive: M, version: 3 };
    assert_eq!(heard(&ack), Some((M, Event::StageAck { version: 3 })));
    assert_eq!(heard(&Message::Moved { zone: ZoneId(1), epoch: Epoch(1) }), None);
}
