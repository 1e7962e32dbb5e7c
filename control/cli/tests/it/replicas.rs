//! Replicated sessions when a whole zone is lost: its gate and the app that held the state.

use std::time::{Duration, Instant};

use crate::{
    fleet::{Fleet, document},
    run::{Jar, json},
};

/// Longer than a lease and the silence after it.
const STRUCK: Duration = Duration::from_secs(40);

fn start(tier: &str) -> Fleet {
    let stated = format!("idempotency: on\n    tier: {tier}\n");
    Fleet::start_over(|apps| document(apps).replace("idempotency: on\n", &stated))
}

fn other(zone: &str) -> &'static str {
    if zone == "paris" { "tokyo" } else { "paris" }
}

/// A counter of a zone's gate.
fn counted(fleet: &Fleet, zone: &str, name: &str) -> u64 {
    let process = if zone == "paris" { 1 } else { 2 };
    let (_, page) = fleet.look(process, "/metrics");
    let line = page.lines().find(|line| line.starts_with(&format!("{name} ")));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("waited in vain for {what}");
}

/// Kills the zone a session lives in, and waits until the session is served by its heir.
fn lose(fleet: &mut Fleet, jar: &mut Jar, zone: &str) -> serde_json::Value {
    fleet.kill(&format!("gate-{zone}"));
    fleet.kill(&format!("app-{zone}"));
    let mut told = (0, String::new());
    until("the heir to serve the session", STRUCK, || {
        told = jar.ask(fleet.edge, "GET", "/notebook", "");
        told.0 == 200
    });
    json(&told.1)
}

#[test]
fn what_was_answered_under_t2_outlives_its_zone_and_a_move_before() {
    let mut fleet = start("t2");
    let mut jar = Jar::default();
    for line in 0..10 {
        jar.key = Some(format!("line-{line}"));
        let (status, told) = jar.ask(fleet.edge, "POST", "/notebook", &format!("line {line}"));
        assert_eq!(status, 200, "{told}\n{}", fleet.logs());
    }
    let here = json(&jar.ask(fleet.edge, "GET", "/notebook", "").1);
    let key = here["session"].as_str().unwrap().to_owned();
    let first = here["zone"].as_str().unwrap().to_owned();
    assert_eq!(counted(&fleet, other(&first), "homing_replica_adopted_total"), 0);
    // Moved to where its replica is: the replica goes the other way from then on.
    assert_eq!(fleet.ask(&["move", &key, other(&first), "--wait"]).code, 0);
    for line in 10..15 {
        jar.key = Some(format!("line-{line}"));
        let (status, told) = jar.ask(fleet.edge, "POST", "/notebook", &format!("line {line}"));
        assert_eq!(status, 200, "{told}\n{}", fleet.logs());
    }
    jar.key = None;
    let there = lose(&mut fleet, &mut jar, other(&first));
    assert_eq!((there["zone"].as_str(), there["count"].as_u64()), (Some(first.as_str()), Some(15)));
    assert_eq!(counted(&fleet, &first, "homing_replica_adopted_total"), 1);
    // What was executed is not executed again by the heir.
    jar.key = Some("line-14".to_owned());
    let (status, told) = jar.ask(fleet.edge, "POST", "/notebook", "line 14");
    assert!(status == 409 && told.contains("request-executed"), "{status} {told}");
    // With nobody left to keep a replica, nothing is taken for done.
    jar.key = Some("line-15".to_owned());
    let (status, told) = jar.ask(fleet.edge, "POST", "/notebook", "line 15");
    assert!(status == 502 && told.contains("replica-behind"), "{status} {told}");
}

#[test]
fn a_session_of_t1_goes_on_from_what_its_replica_had() {
    let mut fleet = start("t1");
    let mut jar = Jar::default();
    for line in 0..20 {
        assert_eq!(jar.ask(fleet.edge, "POST", "/notebook", &format!("line {line}")).0, 200);
    }
    let here = json(&jar.ask(fleet.edge, "GET", "/notebook", "").1);
    let zone = here["zone"].as_str().unwrap().to_owned();
    // Answers do not wait for it, so it may be a moment behind.
    let lag = Duration::from_secs(5);
    until("the lag to be made up", lag, || {
        let (_, page) = fleet.look(if zone == "paris" { 1 } else { 2 }, "/metrics");
        let counted = |name: &str| {
            let line = page.lines().find(|line| line.starts_with(name))?;
            line.rsplit(' ').next()?.parse::<u64>().ok()
        };
        counted("homing_replica_lag_seconds_count") == Some(20)
    });
    let there = lose(&mut fleet, &mut jar, &zone);
    assert_eq!((there["zone"].as_str(), there["count"].as_u64()), (Some(other(&zone)), Some(20)));
    assert_eq!(jar.ask(fleet.edge, "POST", "/notebook", "one more").0, 200, "alone, and at work");
}
