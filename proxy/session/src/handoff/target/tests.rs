use super::*;

const M: DirectiveId = DirectiveId(7);
const LIFE: Incarnation = Incarnation(3);
const FULL: Copied = Copied { since: 0, version: 5, bytes: 500 };
const DELTA: Copied = Copied { since: 5, version: 6, bytes: 100 };
const ACTIVATE: Action =
    Action::Gate(gate::Event::Activate { directive: M, to_incarnation: LIFE, epoch: Epoch(2) });

fn told(target: &mut Target, event: Event) -> Vec<Action> {
    target.handle(event);
    std::iter::from_fn(|| target.poll()).collect()
}

fn ack(version: u64) -> Action {
    Action::SendSource(Message::StageAck { directive: M, version })
}

fn kept() -> Target {
    let mut target = Target::new(M, LIFE, Epoch(2));
    let asked = told(&mut target, Event::Stage(FULL));
    assert!(matches!(asked[..], [Action::Gate(gate::Event::Stage { directive: M, .. })]));
    let import = told(&mut target, Event::Gate(Reaction::Staged));
    assert_eq!(import, [Action::Import(FULL)]);
    assert_eq!(told(&mut target, Event::Imported), [ack(5)]);
    target
}

#[test]
fn keeps_copies_installs_the_cut_takes_over_and_says_so() {
    let mut target = kept();
    let install = told(&mut target, Event::Grant(DELTA));
    assert_eq!(install, [Action::Install { copy: DELTA, epoch: Epoch(2) }]);
    assert_eq!(told(&mut target, Event::Grant(DELTA)), [], "repeated meanwhile");
    assert_eq!(told(&mut target, Event::Installed), [ACTIVATE]);
    let said = [
        Action::SendAuthority(Message::Activated { directive: M, incarnation: LIFE }),
        Action::SendSource(Message::GrantAck { directive: M }),
    ];
    assert_eq!(told(&mut target, Event::Gate(Reaction::Activated)), said);
    // The confirmation was lost: the grant comes again and is answered again.
    assert_eq!(told(&mut target, Event::Grant(DELTA)), [ACTIVATE]);
    assert_eq!(told(&mut target, Event::Gate(Reaction::Activated)), said);
}

#[test]
fn repeated_and_gapped_copies_are_answered_with_what_is_kept() {
    let mut target = kept();
    assert_eq!(told(&mut target, Event::Stage(FULL)), [ack(5)]);
    let gapped = Copied { since: 8, version: 9, bytes: 1 };
    assert_eq!(told(&mut target, Event::Stage(gapped)), [ack(5)]);
    assert_eq!(told(&mut target, Event::Grant(gapped)), [], "half a state is not taken over");
}

#[test]
fn what_cannot_be_installed_is_fenced_unasked() {
    let mut target = kept();
    told(&mut target, Event::Grant(DELTA));
    let why = UndoneReason::ImportRefused;
    let actions = told(&mut target, Event::ImportFailed(why));
    let refused = Action::SendSource(Message::StageRefused { directive: M, why });
    let asks = gate::Event::FenceQuery { directive: M, to_incarnation: LIFE };
    assert_eq!(actions, [refused, Action::Gate(asks)]);
    let fenced = Action::SendAuthority(Message::Fenced { directive: M, incarnation: LIFE });
    let actions = told(&mut target, Event::Gate(Reaction::Fenced));
    assert_eq!(actions, [fenced, Action::Discard { epoch: Epoch(3) }]);
    assert_eq!(told(&mut target, Event::Grant(DELTA)), [], "for good");
}

#[test]
fn a_fence_discards_the_copy() {
    let mut target = kept();
    let discard = [Action::Discard { epoch: Epoch(3) }];
    assert_eq!(told(&mut target, Event::Gate(Reaction::Fenced)), discard);
    assert_eq!(told(&mut target, Event::Stage(FULL)), []);
}

#[test]
fn a_lapsed_lease_may_come_back_before_the_grant_does() {
    let mut target = kept();
    told(&mut target, Event::Grant(DELTA));
    told(&mut target, Event::Installed);
    assert_eq!(told(&mut target, Event::Refused(Refusal::NoLease)), []);
    assert_eq!(told(&mut target, Event::Grant(DELTA)), [ACTIVATE], "without installing again");
}

#[test]
fn a_word_is_made_of_a_reaction() {
    let activated = Message::Activated { directive: M, incarnation: LIFE };
    assert_eq!(word(Reaction::Activated, M, LIFE), Some(activated));
    let fenced = Message::Fenced { directive: M, incarnation: LIFE };
    assert_eq!(word(Reaction::Fenced, M, LIFE), Some(fenced));
    assert_eq!(word(Reaction::Dropped, M, LIFE), None);
}
