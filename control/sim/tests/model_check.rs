//! The handoff under the explicit-state check: every interleaving with one fault, and for one
//! client with two, keeps the laws and leads to a served session; each of six planted defects is
//! found.
//! `HOMING_MODEL_FULL=1` adds the second client to the two faults: minutes, and gigabytes.

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
    let report = assert_sound(Scope { handoffs: 1, ..Scope::default() });
    assert!(report.states > 5_000, "the model has shrunk to {} states", report.states);
}

#[test]
fn one_handoff_with_any_one_fault_keeps_every_law() {
    let report = assert_sound(Scope { handoffs: 1, faults: 1, ..Scope::default() });
    assert!(report.states > 500_000, "the model has shrunk to {} states", report.states);
}

#[test]
fn one_handoff_with_any_two_faults_keeps_every_law() {
    let absent = u8::from(std::env::var_os("HOMING_MODEL_FULL").is_none());
    let scope = Scope { handoffs: 1, faults: 2, absent, ..Scope::default() };
    let report = assert_sound(scope);
    assert!(report.states > 400_000, "the model has shrunk to {} states", report.states);
}

#[test]
fn two_handoffs_with_any_one_fault_keep_every_law() {
    let scope = Scope { handoffs: 2, faults: 1, absent: 1, ..Scope::default() };
    let report = assert_sound(scope);
    assert!(report.states > 500_000, "the model has shrunk to {} states", report.states);
}

#[test]
fn two_handoffs_keep_every_law() {
    assert_sound(Scope { handoffs: 2, ..Scope::default() });
}

fn assert_caught(mutant: Mutant, faults: u8, expected: Law) {
    let report = checked(Scope { handoffs: 1, faults, mutant: Some(mutant), ..Scope::default() });
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
