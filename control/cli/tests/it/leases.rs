//! What a gate does once its lease has ended because control is gone for longer than it lasts.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    fleet::{Fleet, document},
    run::Jar,
};

/// Longer than a lease, shorter than any test's patience.
const BEYOND: Duration = Duration::from_secs(14);

/// A session's answer to a write when control has been gone for longer than the lease lasts, and
/// how the write fared while the lease lasted.
fn without_control(policy: &str) -> ((u16, String), u16) {
    let stated = format!("idempotency: on\n    lease_lost: {policy}\n");
    let mut fleet = Fleet::start_over(|apps| document(apps).replace("idempotency: on\n", &stated));
    let mut jar = Jar::default();
    assert_eq!(jar.ask(fleet.edge, "POST", "/notebook", "milk").0, 200);
    fleet.kill("control");
    let gone = Instant::now();
    let meanwhile = jar.ask(fleet.edge, "POST", "/notebook", "bread").0;
    sleep(BEYOND.saturating_sub(gone.elapsed()));
    (jar.ask(fleet.edge, "POST", "/notebook", "eggs"), meanwhile)
}

#[test]
fn a_gate_stops_when_its_lease_has_ended() {
    let ((status, told), meanwhile) = without_control("stop");
    assert_eq!((meanwhile, status), (200, 503), "{told}");
    assert!(told.contains("gate-unavailable"), "{told}");
}

#[test]
fn a_gate_serves_on_without_a_lease_where_the_service_says_so() {
    let ((status, told), meanwhile) = without_control("serve");
    assert_eq!((meanwhile, status), (200, 200), "{told}");
}
