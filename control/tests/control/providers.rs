//! Providers by themselves: real processes that are started and ended, and a webhook that checks
//! what it is sent, answers late, too much, or what is not so.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use homing_control::provider::{
    Answer, Probe, ProcessSettings, Processes, Provider, ProviderFault, Standing, Webhook,
    WebhookSettings, Wish, webhook,
};
use homing_wire::UpstreamProtocol;
use serde_json::{Value, json};

use crate::world::eventually;

pub(crate) const SECRET: &[u8] = b"0123456789abcdef";

/// Not a test: this very binary, run by a provider as a server on the port in `port-9000`. It
/// answers every request, ends at `/exit`, and does not end by itself.
#[test]
#[ignore = "a server for the tests of providers"]
fn a_server() {
    let words: Vec<String> = std::env::args().collect();
    let port = words.iter().find_map(|word| word.strip_prefix("port-")?.parse::<u16>().ok());
    let Some(port) = port else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _within = runtime.enter();
    // Whoever asks for its signals no longer ends by them.
    let stubborn = words.iter().any(|word| word == "stubborn");
    let kind = tokio::signal::unix::SignalKind::terminate();
    let _deaf = stubborn.then(|| tokio::signal::unix::signal(kind).unwrap());
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut request = [0; 1_024];
        let read = stream.read(&mut request).unwrap_or(0);
        if request[..read].starts_with(b"GET /exit") {
            std::process::exit(3);
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    }
}

/// How this binary is run as a server.
pub(crate) fn server_command(more: &str) -> Vec<String> {
    let program = std::env::current_exe().expect("the running test").display().to_string();
    let words = ["--ignored", "--exact", "providers::a_server", "port-{port}", more];
    std::iter::once(program).chain(words.map(str::to_owned)).collect()
}

/// Ports next to each other that are free now, from a range of the caller's own.
pub(crate) fn free_ports(from: u16, count: u16) -> std::ops::RangeInclusive<u16> {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let first = (from..from + 400).step_by(usize::from(count));
    let mut first = first.filter(|first| (*first..first + count).all(is_free));
    let first = first.next().expect("free ports");
    first..=first + count - 1
}

fn processes(ports: std::ops::RangeInclusive<u16>, more: &str) -> ProcessSettings {
    ProcessSettings {
        command: server_command(more),
        ports,
        environment: Vec::new(),
        protocol: UpstreamProtocol::H1,
        ready: Probe::Get("/healthz".to_owned()),
        give_up_ms: 20_000,
        grace_ms: 200,
    }
}

fn wish(wanted: u32, release: &[String]) -> Wish {
    Wish {
        zone: "paris".to_owned(),
        service: Some("notebook".to_owned()),
        wanted,
        release: release.to_vec(),
        idempotency_key: format!("key-{wanted}"),
    }
}

async fn ready(provider: &impl Provider) -> Vec<String> {
    let listed = provider.list("paris", None).await.expect("it lists");
    let ready = listed.into_iter().filter(homing_control::provider::Provided::is_ready);
    ready.map(|one| one.endpoint.address).collect()
}

fn serves(address: &str) -> bool {
    TcpStream::connect(address.parse::<SocketAddr>().expect("an IP address with a port")).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_started_reached_and_ended() {
    let provider = Processes::new(processes(free_ports(21_000, 4), "-"), None);
    assert_eq!(provider.scale(&wish(2, &[])).await, Ok(Answer::Offer));
    let first = provider.list("paris", None).await.unwrap();
    assert_eq!(first.len(), 2);
    eventually("both to be ready", async || ready(&provider).await.len() == 2).await;
    let both = ready(&provider).await;
    // The same wish again starts nothing.
    assert_eq!(provider.scale(&wish(2, &[])).await, Ok(Answer::Offer));
    assert_eq!(ready(&provider).await, both);
    assert_eq!(provider.scale(&wish(1, &both[..1])).await, Ok(Answer::Offer));
    assert_eq!(ready(&provider).await, both[1..]);
    eventually("the one given back to end", async || !serves(&both[0])).await;
    assert!(provider.news().is_empty());
    provider.end().await;
    assert!(!serves(&both[1]));
    // Dropping is as good as ending, for a control that unwinds.
    assert_eq!(provider.scale(&wish(1, &[])).await, Ok(Answer::Offer));
    eventually("one to be ready", async || ready(&provider).await.len() == 1).await;
    let one = ready(&provider).await.remove(0);
    drop(provider);
    eventually("it to end with its provider", async || !serves(&one)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_is_told_and_one_that_will_not_is_killed() {
    let provider = Processes::new(processes(free_ports(21_500, 2), "stubborn"), None);
    provider.scale(&wish(2, &[])).await.unwrap();
    eventually("both to be ready", async || ready(&provider).await.len() == 2).await;
    let both = ready(&provider).await;
    let mut stream = TcpStream::connect(&both[0]).unwrap();
    stream.write_all(b"GET /exit HTTP/1.1\r\n\r\n").unwrap();
    // It is unreachable first, and gone once it has been looked after.
    let count = async || provider.list("paris", None).await.unwrap().len();
    eventually("the death to be seen", async || count().await == 1).await;
    assert_eq!(ready(&provider).await, both[1..]);
    let news = provider.news().join("\n");
    assert!(news.contains("ended by itself") && news.contains('3'), "{news}");
    // The number is made good by the next wish.
    provider.scale(&wish(2, &[])).await.unwrap();
    eventually("both to be ready again", async || ready(&provider).await.len() == 2).await;
    let begun = Instant::now();
    provider.end().await;
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    assert!(both.iter().all(|address| !serves(address)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_is_refused_with_its_reason() {
    let ports = free_ports(22_000, 2);
    let provider = Processes::new(processes(ports.clone(), "-"), None);
    let Ok(Answer::Counter { count: 2, reason }) = provider.scale(&wish(3, &[])).await else {
        panic!("three on two ports");
    };
    assert!(reason.contains("is free"), "{reason}");
    provider.end().await;

    let command = vec!["/nowhere/server".to_owned(), "{port}".to_owned()];
    let provider =
        Processes::new(ProcessSettings { command, ..processes(ports.clone(), "-") }, None);
    let Ok(Answer::Refusal { reason }) = provider.scale(&wish(1, &[])).await else {
        panic!("a program that is not there");
    };
    assert!(reason.contains("/nowhere/server"), "{reason}");

    // One that never listens is given up, and its port is free again.
    let command = vec!["sleep".to_owned(), "600".to_owned()];
    let settings = ProcessSettings { command, give_up_ms: 300, ..processes(ports, "-") };
    let provider = Processes::new(settings, None);
    provider.scale(&wish(1, &[])).await.unwrap();
    let listed = provider.list("paris", None).await.unwrap();
    assert_eq!(listed[0].standing, Standing::Starting);
    eventually("it to be given up", async || {
        provider.list("paris", None).await.unwrap().is_empty()
    })
    .await;
    assert!(provider.news().join("\n").contains("was not ready within 300 ms"));
    provider.end().await;
}

/// Somebody else's end of a webhook.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    /// What it says to every wish, if that is not one of the answers below.
    pub(crate) scale: Option<(u16, String)>,
    /// Answers to come; the last one stays.
    pub(crate) answers: Vec<(u16, String)>,
    /// What was asked, with its key.
    pub(crate) asked: Vec<(String, Value)>,
    /// Whether it never answers a wish.
    pub(crate) hangs: bool,
    /// How long it thinks.
    pub(crate) delay: Duration,
}

pub(crate) type Shared = Arc<Mutex<Elsewhere>>;

async fn answer(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers[name].to_str().expect("text").to_owned();
    let timestamp: u64 = header(webhook::TIMESTAMP).parse().expect("seconds");
    let signed = webhook::signature(SECRET, timestamp, &body);
    if signed != header(webhook::SIGNATURE) {
        return (StatusCode::FORBIDDEN, "forged").into_response();
    }
    let (status, words, delay) = {
        let mut elsewhere = shared.lock().expect("no panic before");
        let told: Value = serde_json::from_slice(&body).expect("JSON");
        let is_wish = told["action"] == "scale";
        elsewhere.asked.push((header(webhook::IDEMPOTENCY_KEY), told));
        let more = elsewhere.answers.len() > 1;
        let (status, words) = match &elsewhere.scale {
            Some(said) if is_wish => said.clone(),
            _ if more => elsewhere.answers.remove(0),
            _ => elsewhere.answers[0].clone(),
        };
        let forever = Duration::from_secs(600);
        (status, words, if is_wish && elsewhere.hangs { forever } else { elsewhere.delay })
    };
    tokio::time::sleep(delay).await;
    (StatusCode::from_u16(status).expect("a status"), words).into_response()
}

pub(crate) async fn elsewhere() -> (SocketAddr, Shared) {
    let shared = Shared::default();
    let router = Router::new().route("/hook", post(answer)).with_state(shared.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (at, shared)
}

pub(crate) fn hook_settings(at: SocketAddr, secret: &[u8]) -> WebhookSettings {
    WebhookSettings {
        url: format!("http://{at}/hook").parse().expect("a URL"),
        secret: webhook::Secret::new(secret.to_vec()),
        timeout_ms: 300,
        retries: 2,
        ready: Probe::Connect,
    }
}

fn hook(at: SocketAddr, secret: &[u8]) -> Webhook {
    Webhook::new(hook_settings(at, secret)).expect("http needs no authorities")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_told_with_a_signature_and_its_answers_are_understood() {
    let (at, shared) = elsewhere().await;
    let says = |answers: &[(u16, Value)]| {
        let texts = answers.iter().map(|(status, body)| (*status, body.to_string()));
        let mut elsewhere = shared.lock().unwrap();
        (elsewhere.answers, elsewhere.asked) = (texts.collect(), Vec::new());
    };
    let provider = hook(at, SECRET);
    let release = ["10.0.0.7:80".to_owned()];
    let busy = (503, json!({}));
    says(&[busy.clone(), busy.clone(), (200, json!({ "answer": "offered" }))]);
    assert_eq!(provider.scale(&wish(3, &release)).await, Ok(Answer::Offer));
    let asked = std::mem::take(&mut shared.lock().unwrap().asked);
    let due = json!({ "action": "scale", "zone": "paris", "service": "notebook", "wanted": 3,
        "release": release });
    assert_eq!(asked, vec![("key-3".to_owned(), due); 3]);

    says(&[(200, json!({ "answer": "refused", "reason": "no room" }))]);
    let refusal = Answer::Refusal { reason: "no room".to_owned() };
    assert_eq!(provider.scale(&wish(3, &[])).await, Ok(refusal));
    says(&[(200, json!({ "answer": "counter_offer", "count": 2 }))]);
    let counter = Answer::Counter { count: 2, reason: "no reason given".to_owned() };
    assert_eq!(provider.scale(&wish(3, &[])).await, Ok(counter));
    // An offer of more than was wished for is one of what was wished for.
    says(&[(200, json!({ "answer": "counter_offer", "count": 9 }))]);
    assert_eq!(provider.scale(&wish(3, &[])).await, Ok(Answer::Offer));

    says(&[(503, json!("closed"))]);
    let fault = provider.scale(&wish(3, &[])).await.unwrap_err();
    assert!(matches!(&fault, ProviderFault::Status { status: 503, .. }), "{fault}");
    assert_eq!(shared.lock().unwrap().asked.len(), 3);
    says(&[(200, json!({ "answer": "offered" }))]);
    let fault = hook(at, b"another secret!!").scale(&wish(3, &[])).await.unwrap_err();
    assert!(matches!(&fault, ProviderFault::Status { status: 403, .. }), "{fault}");
    assert!(!format!("{provider:?} {fault}").contains("0123456789abcdef"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_lies_hangs_or_talks_nonsense_is_found_out() {
    let (at, shared) = elsewhere().await;
    let says = |text: String| shared.lock().unwrap().answers = vec![(200, text)];
    let provider = hook(at, SECRET);
    for nonsense in ["", "yes", "{}", r#"{"answer":"maybe"}"#, r#"{"endpoints":[]}"#] {
        says(nonsense.to_owned());
        let fault = provider.scale(&wish(1, &[])).await.unwrap_err();
        assert!(matches!(&fault, ProviderFault::Nonsense { .. }), "{nonsense:?}: {fault}");
    }
    says("x".repeat(webhook::ANSWER_BYTES_MAX + 1));
    let fault = provider.scale(&wish(1, &[])).await.unwrap_err();
    assert!(fault.to_string().contains("more than"), "{fault}");

    let open = TcpListener::bind("127.0.0.1:0").unwrap();
    let shut = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let open = open.local_addr().map(|at| (at, open)).unwrap();
    let one = |address: &str, ready: bool| json!({ "address": address, "ready": ready });
    let (open, _held) = (open.0.to_string(), open.1);
    let listed = [one(&open, true), one(&open, true), one(&shut.to_string(), true)];
    let starting = [one("10.0.0.7:80", false)];
    says(json!({ "endpoints": listed.iter().chain(&starting).collect::<Vec<_>>() }).to_string());
    let found = provider.list("paris", None).await.unwrap();
    let standing: Vec<&Standing> = found.iter().map(|one| &one.standing).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!((standing[0], standing[2]), (&Standing::Ready, &Standing::Starting));
    assert!(matches!(standing[1], Standing::Unreachable(_)), "{found:?}");

    let many: Vec<_> = (1..=200).map(|n| one(&format!("10.0.0.{n}:80"), false)).collect();
    says(json!({ "endpoints": many }).to_string());
    assert!(provider.list("paris", None).await.is_err());
    says(json!({ "endpoints": [one("http://10.0.0.1", true)] }).to_string());
    assert!(provider.list("paris", None).await.unwrap_err().to_string().contains("no address"));

    shared.lock().unwrap().delay = Duration::from_secs(30);
    let begun = Instant::now();
    let fault = provider.scale(&wish(1, &[])).await.unwrap_err();
    assert!(matches!(&fault, ProviderFault::Timeout { ms: 300, .. }), "{fault}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let gone = hook(shut, SECRET).scale(&wish(1, &[])).await.unwrap_err();
    assert!(matches!(&gone, ProviderFault::Unreachable { .. }), "{gone}");
}
