//! Sessions with their state in Redis, handed over by the whole proxy: values and expiries are in
//! the new home's server, the old one is let go of, and a server that refuses leaves the session at
//! home with its reason told.

use serde_json::{Value, json};

use crate::{
    redis_server::{RedisServer, free_port, installed},
    redis_store::{connect, held, run, ttl},
    whole::{BRISK, Whole},
};

const ZONES: [&str; 2] = ["lisbon", "oslo"];

async fn start(servers: &[RedisServer; 2]) -> Whole {
    let hooks = "{ hooks: { timeout: 400ms, max: 64KiB } }";
    let [lisbon, oslo] = servers.each_ref().map(RedisServer::url);
    let state = format!(
        "{{ redis: {{ lisbon: \"{lisbon}\", oslo: \"{oslo}\" }}, \
         keys: [\"sess:{{id}}\", \"cart:{{id}}:*\"], timeout: 1s, state_max: 64KiB }}"
    );
    Whole::start_edited(&ZONES, BRISK, |text| text.replace(hooks, &state)).await
}

/// A session with state at its home: its key and the indices of its home and of the other zone.
async fn settle(whole: &Whole, servers: &[RedisServer; 2]) -> (String, usize, usize) {
    let told = whole.read("ann").await;
    let session = told["session"].as_str().unwrap().to_owned();
    let home = usize::from(told["zone"] == ZONES[1]);
    let source = connect(&servers[home]).await;
    for line in ["SET sess:SID hello PX 600000", "HSET cart:SID:a apples 3", "SET else mine"] {
        run(&source, &line.replace("SID", &session)).await;
    }
    (session, home, 1 - home)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_session_finds_its_keys_at_its_new_home() {
    if !installed() {
        return;
    }
    let servers = [RedisServer::start(&[]), RedisServer::start(&[])];
    let whole = start(&servers).await;
    let (session, home, to) = settle(&whole, &servers).await;
    let (source, target) = (connect(&servers[home]).await, connect(&servers[to]).await);
    let mut before = held(&source).await;
    before.remove("else");

    let directive = whole.move_to(&session, ZONES[to]).await;
    let outcome = whole.outcome(directive).await;
    assert_eq!(outcome["outcome"], "completed", "{outcome}");
    assert!(outcome["state_bytes"].as_u64().unwrap() > 0, "{outcome}");
    assert_eq!(held(&target).await, before);
    let left = ttl(&target, &format!("sess:{session}")).await;
    assert!((500_000..=600_000).contains(&left), "{left}");
    assert_eq!(ttl(&target, &format!("cart:{session}:a")).await, -1);
    assert_eq!(whole.read("ann").await["zone"], ZONES[to]);
    // The source lets go once the table that says so is on disk; its fence stays.
    whole.until("the release", async || held(&source).await.len() == 1).await;
    let fence = run(&source, &format!("GET homing:epoch:{session}")).await;
    assert_eq!(fence, redis::Value::BulkString(b"2".to_vec()));

    run(&target, &format!("RPUSH cart:{session}:b one two")).await;
    let after = held(&target).await;
    let directive = whole.move_to(&session, ZONES[home]).await;
    assert_eq!(whole.outcome(directive).await["outcome"], "completed");
    let mut back = held(&source).await;
    back.remove("else");
    assert_eq!(back, after);
}

/// Moves a session that cannot be moved, and tells why it says it was not.
async fn undone(whole: &Whole, session: &str, home: usize, to: usize) -> Value {
    let directive = whole.move_to(session, ZONES[to]).await;
    let outcome = whole.outcome(directive).await;
    assert_eq!(outcome["outcome"], "undone", "{outcome}");
    let told = whole.read("ann").await;
    assert_eq!((&told["zone"], &told["session"]), (&json!(ZONES[home]), &json!(session)));
    let why = whole.look(&format!("/why?key={session}")).await;
    assert_eq!(why["home"]["zone"], ZONES[home]);
    let why = why["moves"].to_string();
    assert!(why.contains(outcome["why"].as_str().unwrap()), "{why}");
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_servers_refuse_lives_on_at_home_and_why_names_the_cause() {
    if !installed() {
        return;
    }
    let nowhere = free_port().to_string();
    let servers = [RedisServer::start(&[]), RedisServer::start(&[])];
    let whole = start(&servers).await;
    let (session, home, to) = settle(&whole, &servers).await;
    let (source, target) = (connect(&servers[home]).await, connect(&servers[to]).await);
    let kept = held(&source).await;

    run(&target, &format!("REPLICAOF 127.0.0.1 {nowhere}")).await;
    let outcome = undone(&whole, &session, home, to).await;
    assert_eq!(outcome["why"], "import_refused", "{outcome}");
    let detail = outcome["detail"].as_str().unwrap();
    assert!(detail.contains("read-only") && detail.contains(&servers[to].port.to_string()));
    run(&target, "REPLICAOF NO ONE").await;

    servers[to].pause();
    let outcome = undone(&whole, &session, home, to).await;
    assert_eq!(outcome["why"], "target_timeout", "{outcome}");
    servers[to].resume();

    servers[home].pause();
    let outcome = undone(&whole, &session, home, to).await;
    assert_eq!(outcome["why"], "export_failed", "{outcome}");
    servers[home].resume();
    assert_eq!(held(&source).await, kept);
    assert_eq!(held(&target).await.len(), 0);

    let directive = whole.move_to(&session, ZONES[to]).await;
    assert_eq!(whole.outcome(directive).await["outcome"], "completed");
    assert_eq!(held(&target).await.len(), 2);
}
