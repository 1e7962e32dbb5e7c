//! The handoff under the explicit-state check: every interleaving with one fault keeps the laws
//! and leads to a served session, and each of six planted defects is found.

use homing_sim::model::{Law, Mutant, Report, Scope, check};

fn checked(scope: Scope) -> Report {
    let began = std::time::Instant::now();
    let report = check(scope);
    println!(
        "{scope:?}: {} states, {} steps, {} letters, {} good, {:.1} s",
        report.states,
        report.steps,
        report.letters,
        report.good,
        began.elapsed().as_secs_f64(),
    );
    report
}

fn assert_sound(scope: Scope) -> Report {
    let report = checked(scope);
    if let Some((law, trace)) = &report.broken {
        panic!("{law:?} is broken after {} steps:\n  {}", trace.len(), trace.join("\n  "));
    }
    if let Some(trace) = &report.stuck {
        panic!("stuck after {} steps:\n  {}", trace.len(), trace.join("\n  "));
    }
    assert!(report.good > 0);
    report
}

#[test]
fn one_handoff_without_faults_keeps_every_law() {
    let report = assert_sound(Scope { handoffs: 1, faults: 0, mutant: None, ..Scope::default() });
    assert!(report.states > 5_000, "the model has shrunk to {} states", report.states);
}

#[test]
fn one_handoff_with_any_one_fault_keeps_every_law() {
    let report = assert_sound(Scope { handoffs: 1, faults: 1, mutant: None, ..Scope::default() });
    assert!(report.states > 500_000, "the model has shrunk to {} states", report.states);
}

#[test]
fn one_handoff_with_any_two_faults_keeps_every_law() {
    let report = assert_sound(Scope { handoffs: 1, faults: 2, ..Scope::default() });
    assert!(report.states > 20_000_000, "the model has shrunk to {} states", report.states);
}

#[test]
fn two_handoffs_keep_every_law() {
    assert_sound(Scope { handoffs: 2, faults: 0, mutant: None, ..Scope::default() });
}

#[test]
fn one_handoff_under_controls_that_succeed_each_other_keeps_every_law() {
    assert_sound(Scope { handoffs: 1, successions: 2, ..Scope::default() });
}

#[test]
fn a_fault_and_another_control_keep_every_law() {
    let report = assert_sound(Scope { handoffs: 1, faults: 1, successions: 1, ..Scope::default() });
    assert!(report.states > 1_000_000, "the model has shrunk to {} states", report.states);
}

fn assert_caught(mutant: Mutant, faults: u8, expected: Law) {
    assert_caught_in(
        Scope { handoffs: 1, faults, mutant: Some(mutant), ..Scope::default() },
        expected,
    );
}

fn assert_caught_in(scope: Scope, expected: Law) {
    let mutant = scope.mutant;
    let report = checked(scope);
    let (law, trace) = report.broken.expect("the planted defect is found");
    println!("{mutant:?}: {law:?} after {} steps:\n  {}", trace.len(), trace.join("\n  "));
    assert_eq!(law, expected, "{mutant:?}");
}

#[test]
fn a_grant_not_bound_to_a_life_is_caught() {
    assert_caught(Mutant::GrantNotBound, 1, Law::OneExecutor);
}

#[test]
fn a_forgotten_promise_is_caught() {
    // Found where the word is broken, two steps before two gates would execute.
    assert_caught(Mutant::FenceForgotten, 0, Law::WordKept);
}

#[test]
fn taking_back_without_a_promise_is_caught() {
    assert_caught(Mutant::ReclaimUnfenced, 0, Law::OneExecutor);
}

#[test]
fn forgetting_executed_requests_is_caught() {
    assert_caught(Mutant::DedupForgotten, 0, Law::OnceOnly);
}

#[test]
fn executing_without_a_lease_is_caught() {
    assert_caught(Mutant::LeaseIgnored, 1, Law::OneExecutor);
}

#[test]
fn declaring_dead_without_proof_is_caught() {
    assert_caught(Mutant::DeadWithoutProof, 0, Law::OneExecutor);
}

/// What keeps order between controls is the store, which takes records of one term only.
#[test]
fn gates_that_obey_a_replaced_control_break_no_law() {
    let mutant = Some(Mutant::TermsForgotten);
    assert_sound(Scope { handoffs: 1, successions: 2, mutant, ..Scope::default() });
}

#[test]
fn a_replaced_control_that_still_stores_is_caught() {
    let mutant = Some(Mutant::StoreUnfenced);
    let scope = Scope { handoffs: 1, faults: 1, successions: 1, mutant };
    assert_caught_in(scope, Law::EpochsRise);
}
