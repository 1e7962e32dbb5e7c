//! Sessions with their state in Redis, handed over by the whole proxy: values and expiries are in
//! the new home's server, the old one is let go of, and a server that refuses leaves the session at
//! home with its reason told.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

use crate::{
    redis_server::{RedisServer, free_port, installed},
    redis_store::{connect, held, run, ttl},
    whole::{BRISK, Whole},
};

const ZONES: [&str; 2] = ["lisbon", "oslo"];

/// The whole proxy over two servers; before these apps, if any, instead of notebooks.
async fn start(servers: &[RedisServer; 2], apps: Option<&[SocketAddr]>) -> Whole {
    let hooks = "{ hooks: { timeout: 400ms, max: 64KiB } }";
    let [lisbon, oslo] = servers.each_ref().map(RedisServer::url);
    let state = format!(
        "{{ redis: {{ lisbon: \"{lisbon}\", oslo: \"{oslo}\" }}, \
         keys: [\"sess:{{id}}\", \"cart:{{id}}:*\"], timeout: 1s, state_max: 64KiB }}"
    );
    let edit = |text: String| {
        let mut text = text.replace(hooks, &state);
        for (zone, app) in ZONES.iter().zip(apps.unwrap_or_default()) {
            let (before, rest) = text.split_once(&format!("name: {zone}, endpoints: [")).unwrap();
            let (_, after) = rest.split_once(']').unwrap();
            text = format!("{before}name: {zone}, endpoints: [\"{app}\"]{after}");
        }
        text
    };
    Whole::start_edited(&ZONES, BRISK, edit).await
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
    let whole = start(&servers, None).await;
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

/// A zone's app that keeps a list per session in its zone's Redis: a POST adds its body and is
/// answered once Redis has it, every request is told the list.
async fn lists(redis: MultiplexedConnection) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let redis = redis.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(request, redis.clone()));
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    address
}

async fn answer(
    request: Request<Incoming>,
    mut redis: MultiplexedConnection,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let session = head.headers["homing-session"].to_str().unwrap();
    let zone = head.headers["homing-zone"].to_str().unwrap();
    let key = format!("cart:{session}:list");
    let body = body.collect().await.unwrap().to_bytes();
    if head.method == "POST" {
        redis::cmd("RPUSH").arg(&key).arg(&body[..]).query_async::<()>(&mut redis).await.unwrap();
    }
    let mut list = redis::cmd("LRANGE");
    let lines: Vec<String> = list.arg(&key).arg(0).arg(-1).query_async(&mut redis).await.unwrap();
    let told = json!({ "zone": zone, "session": session, "lines": lines });
    Ok(Response::new(Full::from(told.to_string())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_answered_write_is_lost_or_doubled_while_its_session_moves_to_and_fro() {
    if !installed() {
        return;
    }
    let servers = [RedisServer::start(&[]), RedisServer::start(&[])];
    let mut apps = Vec::new();
    for server in &servers {
        apps.push(lists(connect(server).await).await);
    }
    let whole = Arc::new(start(&servers, Some(&apps)).await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for user in 0..4 {
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
    let mut completed = 0;
    for round in 0..8 {
        let mut directives = Vec::new();
        for user in 0..4 {
            let told = whole.read(&format!("user-{user}")).await;
            let to = ZONES[(user + round) % 2];
            if told["zone"] != to {
                directives.push(whole.move_to(told["session"].as_str().unwrap(), to).await);
            }
        }
        for directive in directives {
            let outcome = whole.outcome(directive).await;
            assert_eq!(outcome["outcome"], "completed", "{outcome}");
            completed += 1;
        }
    }
    stop.store(true, SeqCst);
    assert!(completed >= 20, "{completed}");
    for writer in writers {
        let (user, written) = writer.await.unwrap();
        let lines: Vec<String> = (0..written).map(|n: i32| n.to_string()).collect();
        let told = whole.read(&user).await;
        assert_eq!(told["lines"], json!(lines), "{user}");
        assert!(written > 20, "{user} wrote {written} times only");
    }
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
    let whole = start(&servers, None).await;
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
