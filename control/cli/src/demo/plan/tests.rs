//! The plan is the same for the same seed, and holds what it promises about rate and length.

use super::*;

fn drawn(pace: Pace, seed: u64) -> Plan {
    let world = World::bundled(4).unwrap();
    Plan::draw(&Trace::bundled().unwrap(), &world, pace, seed)
}

#[test]
fn a_seed_repeats_and_another_differs() {
    let pace = Pace { speed: None, length: None };
    assert_eq!(drawn(pace, 7), drawn(pace, 7));
    assert_ne!(drawn(pace, 7).clients, drawn(pace, 8).clients);
}

#[test]
fn length_and_speed_hold() {
    let whole = drawn(Pace { speed: None, length: None }, 1);
    assert_eq!((whole.length, whole.cut), (LENGTH, 0));
    for client in &whole.clients {
        assert!(client.steps.is_sorted_by_key(|step| step.at_us));
        assert!(client.steps.iter().all(|step| u128::from(step.at_us) < LENGTH.as_micros()));
    }
    let drifting = whole.clients.iter().filter(|client| client.drift.is_some()).count();
    assert!(drifting > 20, "{drifting} drift");

    let short = drawn(Pace { speed: Some(100.0), length: Some(Duration::from_secs(4)) }, 1);
    assert!(short.cut > 0 && short.length == Duration::from_secs(4));
    // Too short for the whole log at a bearable rate: the rate holds and the rest is cut.
    let hasty = drawn(Pace { speed: None, length: Some(Duration::from_secs(2)) }, 1);
    assert!(hasty.cut > 0);
    assert!((hasty.requests() as f64) < 2.0 * RATE_MAX * 2.5);
}
