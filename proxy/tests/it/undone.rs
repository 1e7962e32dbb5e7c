//! Handoffs that cannot be completed: the session goes on at home, whole, and the outcome says why.

use std::sync::atomic::Ordering::SeqCst;

use serde_json::Value;

use crate::{
    client::{ask, get},
    notebook::{Faults, Notebook},
    whole::Whole,
};

const ZONES: [&str; 2] = ["lisbon", "oslo"];

/// Breaks something, moves a session, and tells the first outcome. The session must go on at home.
async fn undone_by(whole: &Whole, break_it: impl Fn(&Notebook, &Notebook)) -> Value {
    for line in ["one", "two"] {
        assert_eq!(whole.write("ann", line).await.status, 200);
    }
    let before = whole.read("ann").await;
    let session = before["session"].as_str().unwrap();
    let home = before["zone"].as_str().unwrap();
    let at_home = usize::from(home == ZONES[1]);
    break_it(&whole.apps[at_home], &whole.apps[1 - at_home]);
    let directive = whole.move_to(session, ZONES[1 - at_home]).await;
    let outcome = whole.outcome(directive).await;
    assert_eq!(outcome["outcome"], "undone", "{outcome}");
    assert_eq!(whole.write("ann", "three").await.status, 200);
    let after = whole.read("ann").await;
    assert_eq!(after["zone"], home, "{outcome}");
    assert_eq!(after["lines"], serde_json::json!(["one", "two", "three"]), "{outcome}");
    for app in &whole.apps {
        assert_eq!(app.faults.below_fence.load(SeqCst), 0);
    }
    outcome
}

fn set(fault: impl Fn(&Faults) -> &std::sync::atomic::AtomicBool) -> impl Fn(&Notebook) {
    move |app| fault(&app.faults).store(true, SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_refuses_the_import() {
    let whole = Whole::start(&ZONES).await;
    let refuse = set(|faults| &faults.refuse_import);
    let outcome = undone_by(&whole, |_, target| refuse(target)).await;
    assert_eq!(outcome["why"], "import_refused");
    assert!(outcome["detail"].as_str().unwrap().contains("no room on this shelf"), "{outcome}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_whose_fence_fails_inside_the_pause() {
    let whole = Whole::start(&ZONES).await;
    let refuse = set(|faults| &faults.refuse_fence);
    let outcome = undone_by(&whole, |_, target| refuse(target)).await;
    assert_eq!(outcome["why"], "import_refused", "{outcome}");
    // Once it works again, so does the handoff.
    whole.apps.iter().for_each(|app| app.faults.refuse_fence.store(false, SeqCst));
    let told = whole.read("ann").await;
    let to = whole.other(told["zone"].as_str().unwrap(), &ZONES);
    let directive = whole.move_to(told["session"].as_str().unwrap(), to).await;
    assert_eq!(whole.outcome(directive).await["outcome"], "completed");
    assert_eq!(whole.read("ann").await["lines"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_ends_early() {
    let whole = Whole::start(&ZONES).await;
    let truncate = set(|faults| &faults.truncate_export);
    let outcome = undone_by(&whole, |source, _| truncate(source)).await;
    assert_eq!(outcome["why"], "export_truncated", "{outcome}");
}

/// The switch of a fault.
type Fault = fn(&Faults) -> &std::sync::atomic::AtomicBool;

/// What `homing why` tells of a session's last move.
async fn why(whole: &Whole) -> Value {
    let session = whole.read("ann").await["session"].as_str().unwrap().to_owned();
    whole.look(&format!("/why?key={session}")).await["moves"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_never_comes_fails_or_never_ends() {
    let ways: [(Fault, &str, &str); 3] = [
        (|faults| &faults.hang_export, "export_failed", "400 ms"),
        (|faults| &faults.refuse_export, "export_failed", "the shelf is on fire"),
        (|faults| &faults.endless_export, "export_failed", "no content-length"),
    ];
    for (fault, name, detail) in ways {
        let whole = Whole::start(&ZONES).await;
        let begun = std::time::Instant::now();
        let outcome = undone_by(&whole, |source, _| set(fault)(source)).await;
        assert!(begun.elapsed().as_secs() < 10, "{detail} takes {:?}", begun.elapsed());
        assert_eq!(outcome["why"], name, "{outcome}");
        assert!(outcome["detail"].as_str().unwrap().contains(detail), "{outcome}");
        let told = why(&whole).await;
        assert_eq!(told["why"], name, "{told}");
        assert!(told["detail"].as_str().unwrap().contains(detail), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_larger_than_the_service_allows() {
    let whole = Whole::start(&ZONES).await;
    let outcome =
        undone_by(&whole, |source, _| source.faults.ballast.store(65 << 10, SeqCst)).await;
    assert_eq!(outcome["why"], "state_too_large", "{outcome}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_never_answers() {
    let whole = Whole::start(&ZONES).await;
    let hang = set(|faults| &faults.hang_import);
    let outcome = undone_by(&whole, |_, target| hang(target)).await;
    assert_eq!(outcome["why"], "target_timeout", "{outcome}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_outlasts_every_freeze() {
    let whole = Whole::start(&ZONES).await;
    assert_eq!(whole.write("bob", "one").await.status, 200);
    let before = whole.read("bob").await;
    let plain = whole.plain();
    let long =
        tokio::spawn(async move { ask(plain, get("/?wait_ms=3000", &[("x-user", "bob")])).await });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let home = before["zone"].as_str().unwrap();
    let to = whole.other(home, &ZONES);
    let directive = whole.move_to(before["session"].as_str().unwrap(), to).await;
    let outcome = whole.outcome(directive).await;
    assert_eq!(outcome["why"], "drain_timeout", "{outcome}");
    let told = long.await.unwrap();
    assert_eq!((told.status.as_u16(), told.json()["zone"].as_str()), (200, Some(home)));
    // The fault has passed, so the order is carried out after all.
    whole.until("the retry", async || whole.read("bob").await["zone"] == to).await;
    assert_eq!(whole.read("bob").await["lines"], serde_json::json!(["one"]));
}
