//! What survives a restart, a kill, and a settings file that is wrong.

use homing_proxy::config::Settings;
use serde_json::json;

use crate::{
    client::{ask, get},
    whole::{Whole, settings_text},
};

const ZONES: [&str; 2] = ["lisbon", "oslo"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_proxy_knows_where_sessions_live() {
    let mut whole = Whole::start(&ZONES).await;
    whole.write("ann", "one").await;
    let told = whole.read("ann").await;
    let to = whole.other(told["zone"].as_str().unwrap(), &ZONES);
    let session = told["session"].as_str().unwrap().to_owned();
    let directive = whole.move_to(&session, to).await;
    assert_eq!(whole.outcome(directive).await["outcome"], "completed");
    whole.restart();
    let told = whole.read("ann").await;
    assert_eq!((&told["zone"], &told["session"]), (&json!(to), &json!(session)));
    assert_eq!((&told["lines"], &told["epoch"]), (&json!(["one"]), &json!(2)));
    // Nothing is remembered of it but its home, and still it can be handed over with its state.
    let back = whole.other(to, &ZONES);
    whole.restart();
    let directive = whole.move_to(&session, back).await;
    let outcome = whole.outcome(directive).await;
    assert_eq!(outcome["outcome"], "completed", "{outcome}");
    assert_eq!(whole.read("ann").await["lines"], json!(["one"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_activation_log_alone_brings_a_killed_proxy_home() {
    let mut whole = Whole::start(&ZONES).await;
    whole.write("ann", "one").await;
    let told = whole.read("ann").await;
    let to = whole.other(told["zone"].as_str().unwrap(), &ZONES);
    // As if the process had been killed before it stored a later table.
    whole.until("the first table", async || whole.dir.path().join("state/table").exists()).await;
    let early = std::fs::read(whole.dir.path().join("state/table")).unwrap();
    let directive = whole.move_to(told["session"].as_str().unwrap(), to).await;
    whole.outcome(directive).await;
    let log = std::fs::read(whole.dir.path().join("state/activations")).unwrap();
    drop(whole.running.take());
    std::fs::write(whole.dir.path().join("state/table"), early).unwrap();
    if !log.is_empty() {
        std::fs::write(whole.dir.path().join("state/activations"), log).unwrap();
    }
    whole.restart();
    let told = whole.read("ann").await;
    assert_eq!((&told["zone"], &told["lines"]), (&json!(to), &json!(["one"])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_table_is_set_aside_and_the_proxy_serves() {
    let mut whole = Whole::start(&ZONES).await;
    whole.write("ann", "one").await;
    drop(whole.running.take());
    let path = whole.dir.path().join("state/table");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&path, bytes).unwrap();
    whole.restart();
    assert_eq!(whole.read("ann").await["lines"], json!(["one"]));
    assert!(whole.dir.path().join("state/table.damaged").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_changes_what_it_can_or_nothing() {
    let whole = Whole::start(&ZONES).await;
    let named: Vec<_> =
        ZONES.iter().zip(&whole.apps).map(|(zone, app)| (*zone, app.address)).collect();
    let parse = |text: &str| Settings::parse(text, whole.dir.path());
    assert!(parse("listen: nonsense\n").is_err());

    // A zone that still owns sessions may not vanish.
    let fewer = parse(&settings_text(&named[..1], "")).unwrap();
    let refused = whole.running().reload(fewer).await.unwrap_err();
    assert!(refused.to_string().contains("drain it first"), "{refused}");
    assert_eq!(whole.look("/placement").await["zones"].as_array().unwrap().len(), 2);

    let mut more = named.clone();
    more.insert(0, ("tokyo", whole.apps[0].address));
    let told = whole.running().reload(parse(&settings_text(&more, "")).unwrap()).await.unwrap();
    assert!(told.iter().any(|line| line.contains("in force")), "{told:?}");
    let placement = whole.look("/placement").await;
    let names: Vec<_> = placement["zones"]
        .as_array()
        .unwrap()
        .iter()
        .map(|zone| zone["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["lisbon", "oslo", "tokyo"], "ids stay with names");
    assert!(placement["zones"][2]["buckets"].as_u64().unwrap() > 20_000);

    for file in ["ca.pem", "solo.pem", "solo.key"] {
        std::fs::write(whole.dir.path().join(file), "").unwrap();
    }
    let identity = "identity: { ca: ca.pem, cert: solo.pem, key: solo.key }\n";
    let other = parse(&settings_text(&more, identity)).unwrap_or_else(|f| panic!("{f}"));
    let told = whole.running().reload(other).await.unwrap();
    assert!(told.iter().any(|line| line.starts_with("`identity` changed")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaving_proxy_is_not_ready_and_lets_requests_end() {
    let whole = Whole::start(&ZONES).await;
    let plain = whole.plain();
    assert_eq!(ask(whole.admin(), get("/readyz?verbose", &[])).await.status, 200);
    let long =
        tokio::spawn(async move { ask(plain, get("/?wait_ms=400", &[("x-user", "bob")])).await });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let (admin, running) = (whole.admin(), whole.running());
    let watch = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        ask(admin, get("/readyz", &[])).await.status
    };
    let begun = std::time::Instant::now();
    let ((), ready) = tokio::join!(running.drain(), watch);
    assert_eq!(ready, 503);
    assert_eq!(long.await.unwrap().status, 200);
    assert!(begun.elapsed().as_millis() < 1_900, "it leaves once idle: {:?}", begun.elapsed());
    assert!(tokio::net::TcpStream::connect(plain).await.is_err());
}
