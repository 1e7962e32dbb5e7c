//! Sessions handed over under traffic: nothing fails, nothing is lost or doubled, all in order.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use serde_json::json;

use crate::{
    client::{ask, get, send},
    whole::{BRISK, Whole},
};

const ZONES: [&str; 3] = ["lisbon", "oslo", "tokyo"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_session_finds_its_state_and_why_tells_of_it() {
    let whole = Whole::start(&ZONES).await;
    for line in ["one", "two"] {
        assert_eq!(whole.write("ann", line).await.status, 200);
    }
    let before = whole.read("ann").await;
    let home = before["zone"].as_str().unwrap().to_owned();
    let session = before["session"].as_str().unwrap().to_owned();
    let to = whole.other(&home, &ZONES);

    let directive = whole.move_to(&session, to).await;
    let outcome = whole.outcome(directive).await;
    assert_eq!(outcome["outcome"], "completed", "{outcome}");
    assert!(outcome["pause_us"].as_u64().unwrap() < 300_000, "{outcome}");
    assert!(outcome["state_bytes"].as_u64().unwrap() > 0, "{outcome}");

    let after = whole.read("ann").await;
    assert_eq!((&after["zone"], &after["lines"]), (&json!(to), &json!(["one", "two"])));
    assert_eq!(after["epoch"], 2);
    let why = whole.look(&format!("/why?key={session}")).await;
    assert_eq!(why["home"]["zone"], to);
    assert_eq!(why["choice"]["reason"], "exception");
    // Nothing is known of distances here, so where its state is decides alone.
    for zone in why["zones_for_a_new_session"].as_array().unwrap() {
        let score = if zone["zone"] == to { 1_000 } else { 0 };
        let affinity = &zone["affinity"];
        assert_eq!(affinity["score"], score, "{zone}");
        assert_eq!(affinity["terms"], json!({ "data": { "weight": 200, "score": score } }));
    }
    assert_eq!(why["moves"][0]["reason"], "operator");
    // The source lets go once the table that says so is on disk.
    let source = whole.apps.iter().zip(ZONES).find(|(_, zone)| *zone == home).unwrap().0;
    whole.until("the release", async || source.lines(&session).is_empty()).await;
    assert_eq!(source.faults.releases.load(SeqCst), 1);

    let told = whole.order(&format!("/sessions/{session}/move"), json!({ "zone": to })).await;
    assert_eq!(told.status, 409, "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_write_fails_is_lost_or_doubled_while_sessions_are_moved_about() {
    let whole = Arc::new(Whole::start(&ZONES).await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for user in 0..8 {
        let (whole, stop) = (Arc::clone(&whole), Arc::clone(&stop));
        writers.push(tokio::spawn(async move {
            let user = format!("user-{user}");
            let mut written = 0;
            while !stop.load(SeqCst) {
                let told = whole.write(&user, &written.to_string()).await;
                assert_eq!(told.status, 200, "{user} {written}: {told:?}");
                written += 1;
            }
            (user, written)
        }));
    }
    let mut pauses = Vec::new();
    let mut undone = 0;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    for round in 0..6 {
        let mut directives = Vec::new();
        for user in 0..8 {
            let told = whole.read(&format!("user-{user}")).await;
            let to = ZONES[(user + round) % ZONES.len()];
            if told["zone"] != to {
                directives.push(whole.move_to(told["session"].as_str().unwrap(), to).await);
            }
        }
        for directive in directives {
            let outcome = whole.outcome(directive).await;
            match outcome["outcome"].as_str() {
                Some("completed") => pauses.push(outcome["pause_us"].as_u64().unwrap()),
                _ => undone += 1,
            }
        }
    }
    stop.store(true, SeqCst);
    let mut total = 0;
    for writer in writers {
        let (user, written) = writer.await.unwrap();
        let told = whole.read(&user).await;
        let expected: Vec<String> = (0..written).map(|n: i32| n.to_string()).collect();
        assert_eq!(told["lines"], json!(expected), "{user}");
        total += written;
    }
    for app in &whole.apps {
        assert_eq!(app.faults.below_fence.load(SeqCst), 0);
    }
    pauses.sort_unstable();
    assert!(pauses.len() >= 20 && undone == 0, "{} completed, {undone} undone", pauses.len());
    println!(
        "{} handoffs, {total} writes, pause p50 {} us, max {} us",
        pauses.len(),
        pauses[pauses.len() / 2],
        pauses[pauses.len() - 1]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_kept_by_the_proxy_itself_moves_too_and_is_fenced() {
    let hooks = "hooks: { timeout: 400ms, max: 64KiB }";
    let edit = |text: String| text.replace(&format!("{{ {hooks} }}"), "memory");
    let whole = Whole::start_edited(&ZONES, BRISK, edit).await;
    let told = whole.read("ann").await;
    let (home, session) = (told["zone"].as_str().unwrap(), told["session"].as_str().unwrap());
    let keep = async |zone: &str, epoch: &str, text: &'static str| {
        let path = format!("/memory/{zone}/{session}");
        ask(whole.admin(), send("PUT", &path, &[("homing-epoch", epoch)], text)).await.status
    };
    assert_eq!(keep(home, "1", "a cart").await, 200);
    let to = whole.other(home, &ZONES);
    let directive = whole.move_to(session, to).await;
    assert_eq!(whole.outcome(directive).await["outcome"], "completed");
    let kept = ask(whole.admin(), get(&format!("/memory/{to}/{session}"), &[])).await;
    assert_eq!((kept.status.as_u16(), &kept.body[..]), (200, &b"a cart"[..]));
    assert_eq!(keep(to, "1", "too late").await, 409);
    assert_eq!(keep(to, "2", "a fuller cart").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_what_happened() {
    let whole = Whole::start(&ZONES).await;
    whole.write("ann", "one").await;
    let told = whole.read("ann").await;
    let to = whole.other(told["zone"].as_str().unwrap(), &ZONES);
    let directive = whole.move_to(told["session"].as_str().unwrap(), to).await;
    whole.outcome(directive).await;
    let page = ask(whole.admin(), get("/metrics", &[])).await;
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    for line in [
        "homing_handoffs_total{outcome=\"completed\",reason=\"none\"} 1",
        "homing_handoff_pause_seconds_count 1",
        "homing_handoffs_total{outcome=\"undone\",reason=\"drain_timeout\"} 0",
        "homing_table_term 0",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(text.contains(&format!("homing_sessions{{zone=\"{to}\"}} 1")), "{text}");
}
