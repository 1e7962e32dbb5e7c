//! What a token of one tenant is told: nothing of another's, on any route there is. Every route of
//! the API's own description is tried, so one that is added and not thought about is found here.

use std::net::SocketAddr;

use homing_control::{
    Settings,
    api::auth::{Role, Token},
    foresight::Resource,
    provider::{Probe, WebhookSettings, webhook::Secret},
    scaling::{ProviderSettings, ScaleSettings},
};
use homing_wire::{
    Epoch, FromProxy, Incarnation, Outcome, OutcomeEnd, RecordBatch, ServiceId, SessionActivity,
    SessionKey, ToProxy, UndoneReason, ZoneId, ZoneSample,
};
use serde_json::Value;

use crate::world::{Answer, Proxy, ask, eventually, hello, start_with};

/// A session of each tenant, and one that nobody has; all of one bucket, so of one zone.
const SHOPPER: SessionKey = SessionKey(0xa << 124 | 1);
const POSTER: SessionKey = SessionKey(0xb << 124 | 1);
const NOBODY: SessionKey = SessionKey(0xd << 124 | 1);

const DOCUMENT: &str = r#"
zones:
  - { name: paris, endpoints: [127.0.0.1:9101], capacity: { sessions: 100 } }
  - { name: oregon, endpoints: [127.0.0.1:9102], capacity: { sessions: 100 } }
services:
  - name: shop
    tenant: acme
    match: { path: /shop }
    session: { from: [{ header: x-user }], idle: 1h }
    state: memory
  - name: forum
    tenant: globex
    match: { path: /forum }
    session: { from: [{ header: x-user }], idle: 1h }
    state: memory
policy: { act: shadow }
"#;

const OPERATOR: &str = "a secret of operators";
const ACME: &str = "a secret of acme's";
const GLOBEX: &str = "a secret of globex's";
const READER: &str = "a secret of globex's reader";

fn scaled(service: &str) -> ScaleSettings {
    ScaleSettings {
        zone: "paris".to_owned(),
        service: Some(service.to_owned()),
        load: Resource::Requests,
        capacity: 10.0,
        head_room: 0.0,
        min: 0,
        max: 50,
        price: 1.0,
        shortage: 3.0,
        cooldown_ms: 500,
        lead_ms: 500,
        give_up_ms: 20_000,
        drain_ms: 200,
        // It is never wished anything of: the policy is shadow.
        provider: ProviderSettings::Webhook(WebhookSettings {
            url: "http://127.0.0.1:9/hook".parse().expect("a URL"),
            secret: Secret::new(b"0123456789abcdef".to_vec()),
            timeout_ms: 100,
            retries: 0,
            ready: Probe::Connect,
        }),
    }
}

pub(crate) fn with_tenants(settings: &mut Settings) {
    let token =
        |name: &str, role, secret: &str| Token::new(name.to_owned(), role, secret.as_bytes());
    let of = |token: Token, tenant: &str| token.of_tenants([tenant.to_owned()]);
    settings.tokens = vec![
        token("ops", Role::Write, OPERATOR),
        of(token("acme-ci", Role::Write, ACME), "acme"),
        of(token("globex-ci", Role::Write, GLOBEX), "globex"),
        of(token("globex-eye", Role::Read, READER), "globex"),
    ];
    settings.step_ms = 100;
    settings.requests_per_second = 10_000;
    settings.scaling = vec![scaled("shop"), scaled("forum")];
}

pub(crate) async fn by(
    at: SocketAddr,
    secret: &str,
    method: &str,
    path: &str,
    (more, body): (&str, &str),
) -> Answer {
    let headers = format!("authorization: Bearer {secret}\r\n{more}");
    ask(at, method, path, &headers, body).await
}

async fn look(at: SocketAddr, secret: &str, path: &str) -> Answer {
    by(at, secret, "GET", path, ("", "")).await
}

fn records(seq: u64, zone: ZoneId, requests: u32) -> RecordBatch {
    let now = homing_control::clock::now_ms();
    let activity = |key, service, requests| SessionActivity {
        key,
        service: ServiceId(service),
        zone,
        epoch: Epoch(1),
        place: None,
        requests,
        bytes: 1_000,
        latency_us_sum: 5_000,
        last_seen_ms: now,
    };
    RecordBatch {
        incarnation: Incarnation(7),
        seq,
        closed_ms: now,
        sessions: vec![activity(SHOPPER, 0, requests), activity(POSTER, 1, requests / 2)],
        zones: vec![ZoneSample {
            zone,
            sessions: 2,
            requests: u64::from(requests),
            errors: 0,
            in_flight: 0,
            p50_us: 900,
            p99_us: 2_000,
        }],
    }
}

/// Moves both sessions; the zone they are asked to go to.
async fn move_both(at: SocketAddr) {
    for key in [SHOPPER, POSTER] {
        let home = look(at, OPERATOR, &format!("/v1/sessions/{key}/why")).await.json();
        let to = if home["zone"] == "paris" { "oregon" } else { "paris" };
        let body = format!(r#"{{"zone":"{to}"}}"#);
        let json = ("content-type: application/json\r\n", body.as_str());
        let path = format!("/v1/sessions/{key}/move");
        let moving = by(at, OPERATOR, "POST", &path, json).await;
        assert_eq!(moving.status, 202, "{moving:?}");
    }
}

/// Has both handoffs fail, so that there are outcomes.
async fn undo_both(proxy: &mut Proxy) {
    proxy.until(|table| table.directives().len() == 2).await;
    let open: Vec<_> =
        proxy.table.as_ref().expect("a table").directives().values().cloned().collect();
    for one in &open {
        let end = OutcomeEnd::Undone {
            why: UndoneReason::ImportRefused,
            detail: "it said 507".to_owned(),
        };
        let outcome = Outcome { directive: one.id, key: one.key, end, at_ms: 1 };
        proxy.say(FromProxy::Outcome(outcome)).await;
    }
    while !proxy.table.as_ref().expect("a table").directives().is_empty() {
        match proxy.take().await {
            Some(ToProxy::FenceQuery { directive, incarnation, .. }) => {
                proxy.say(FromProxy::Fenced { directive, incarnation }).await;
            }
            Some(ToProxy::Own { key, zone, epoch, .. }) => {
                proxy.say(FromProxy::Residence { key, zone, epoch }).await;
            }
            _ => {}
        }
    }
}

/// Every path with every method of the description, its parts filled in for a session, a service
/// and a directive.
fn walk(description: &Value, key: SessionKey, service: &str, ids: &[u64]) -> Vec<(String, String)> {
    let mut calls = Vec::new();
    for (path, item) in description["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("methods").keys() {
            let of = |id: &u64| {
                let path = path.replace("{name}", "paris").replace("{zone}", "paris");
                let path = path.replace("{region}", "paris").replace("{id}", &id.to_string());
                path.replace("{user}", &key.to_string()).replace("{key}", &key.to_string())
            };
            let ids = if path.contains("{id}") { ids } else { &ids[..1] };
            for filled in ids.iter().map(of) {
                assert!(!filled.contains('{'), "the walk cannot fill in {path}");
                let method = method.to_uppercase();
                calls.push((method.clone(), filled.clone()));
                if path.contains("orecast") {
                    calls.push((method, format!("{filled}?service={service}")));
                }
            }
        }
    }
    calls
}

fn body_for(path: &str) -> (&'static str, String) {
    let json = "content-type: application/json\r\nidempotency-key: walk\r\nif-match: \"x\"\r\n";
    let body = match path {
        path if path.ends_with("/move") => r#"{"zone":"paris"}"#.to_owned(),
        path if path.ends_with("/predictiveScale") => r#"{"horizon":"10m"}"#.to_owned(),
        path if path.starts_with("/v1/zones/") => r#"{"intake":"closed"}"#.to_owned(),
        _ => DOCUMENT.to_owned(),
    };
    (json, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_token_is_told_nothing_of_another_tenant_on_any_route() {
    let folder = tempfile::tempdir().unwrap();
    let control = start_with(folder.path(), with_tenants).await;
    let at = control.api;
    let yaml = "content-type: application/yaml\r\n";
    let put = by(at, OPERATOR, "PUT", "/v1/document", (yaml, DOCUMENT)).await;
    assert_eq!(put.status, 200, "{put:?}");
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    for key in [SHOPPER, POSTER] {
        assert_eq!(proxy.table.as_ref().unwrap().home(key).zone, ZoneId(0));
    }
    // Quiet, then a surge: forecasts and anomalies of both. On a machine that is busy itself a
    // surge may drown; the next is ten times as high.
    let (mut seq, mut surge) = (0, 5_000);
    loop {
        for at in 0..120 {
            seq += 1;
            let requests = if at >= 110 { surge } else { 20 + at % 3 };
            proxy.say(FromProxy::Records(records(seq, ZoneId(0), requests))).await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let told = look(at, OPERATOR, "/v1/anomalies").await.body;
        if told.contains("shop") && told.contains("forum") {
            break;
        }
        surge *= 10;
        assert!(surge < 1_000_000_000, "no surge is ever told: {told}");
    }
    move_both(at).await;
    undo_both(&mut proxy).await;
    eventually("both outcomes to be told", async || {
        let told = look(at, OPERATOR, "/v1/outcomes").await.json();
        told["outcomes"].as_array().is_some_and(|outcomes| outcomes.len() == 2)
    })
    .await;
    // What was undone rests for a while; two others' are open.
    eventually("both to be moved again", async || {
        for (key, to) in
            [(SHOPPER, "paris"), (SHOPPER, "oregon"), (POSTER, "paris"), (POSTER, "oregon")]
        {
            let body = format!(r#"{{"zone":"{to}"}}"#);
            let json = ("content-type: application/json\r\n", body.as_str());
            by(at, OPERATOR, "POST", &format!("/v1/sessions/{key}/move"), json).await;
        }
        look(at, OPERATOR, "/v1/directives").await.json()["open"] == 2
    })
    .await;
    let description = look(at, ACME, "/openapi.json").await.json();
    let ended = look(at, OPERATOR, "/v1/outcomes").await.json();
    let open = look(at, OPERATOR, "/v1/directives").await.json();
    let ids: Vec<u64> = [&ended["outcomes"], &open["directives"]]
        .into_iter()
        .flat_map(|list| list.as_array().unwrap())
        .map(|one| one["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids.len(), 4);
    let poster = POSTER.to_string();
    let foreign = ["forum", "globex", poster.as_str()];
    // An operator is told of it on these: the walk below would find it.
    let telling = [
        "/v1/services".to_owned(),
        "/v1/directives".to_owned(),
        "/v1/outcomes".to_owned(),
        "/v1/anomalies".to_owned(),
        "/v1/zones/paris/scaling".to_owned(),
        "/v1/zones/paris/plan".to_owned(),
        "/v1/zones/paris/forecast?service=forum".to_owned(),
        format!("/v1/users/{POSTER}"),
        format!("/v1/users/{POSTER}/resourceForecast"),
        format!("/v1/sessions/{POSTER}/why"),
        "/v1/document".to_owned(),
    ];
    for path in &telling {
        let told = look(at, OPERATOR, path).await;
        assert!(
            told.status == 200 && foreign.iter().any(|word| told.body.contains(word)),
            "{path}"
        );
        let own = look(at, GLOBEX, path).await;
        if path != "/v1/document" {
            assert!(own.status == 200, "{path}: {own:?}");
            assert!(foreign.iter().any(|word| own.body.contains(word)), "{path}: {own:?}");
            assert!(!own.body.contains("shop") && !own.body.contains("acme"), "{path}: {own:?}");
        }
    }

    let calls = walk(&description, POSTER, "forum", &ids);
    assert!(calls.len() > 30, "{calls:?}");
    for (method, path) in &calls {
        if path == "/openapi.json" {
            continue; // its examples are of nobody
        }
        let (headers, body) = body_for(path);
        let (headers, body) = if method == "GET" { ("", "") } else { (headers, body.as_str()) };
        let told = by(at, ACME, method, path, (headers, body)).await;
        // What was asked for by name may be named again; an unknown name gets the same words.
        let said = match path.contains("service=forum") {
            true => {
                let other = path.replace("service=forum", "service=nosuch");
                let other = by(at, ACME, method, &other, (headers, body)).await;
                let same = told.body.replace("forum", "nosuch");
                assert_eq!((told.status, &same), (other.status, &other.body), "{path}");
                String::new()
            }
            false => told.body.clone(),
        };
        for word in foreign {
            assert!(!said.contains(word), "{method} {path} tells {word}: {told:?}");
        }
        if path.contains(&poster) {
            let nobody = path.replace(&poster, &NOBODY.to_string());
            let nobody = by(at, ACME, method, &nobody, (headers, body)).await;
            assert_eq!(told.status, 404, "{method} {path}: {told:?}");
            let same = (nobody.status, nobody.body.as_str());
            assert_eq!((told.status, told.body.as_str()), same, "{method} {path}");
        }
        let changes = method != "GET" && !path.ends_with("/predictiveScale");
        assert!(!changes || matches!(told.status, 403 | 404), "{method} {path}: {told:?}");
    }
    // Whole-zone numbers are nobody's but the operators'.
    let zone = look(at, ACME, "/v1/zones/paris").await.json();
    let keys: Vec<&String> = zone.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["name", "id", "intake"]);
    assert_eq!(look(at, ACME, "/v1/zones/paris/forecast").await.status, 404);
    assert!(look(at, ACME, "/v1/status").await.json()["sessions"].is_null());
    // Nothing of the other tenant was changed by all this.
    let user = look(at, OPERATOR, &format!("/v1/users/{POSTER}")).await;
    assert_eq!(user.status, 200, "{user:?}");
    assert_eq!(look(at, OPERATOR, "/v1/zones/paris").await.json()["intake"], "open");
    assert_eq!(look(at, OPERATOR, "/v1/directives").await.json()["open"], 2);

    // A reader of its own tenant may look at it and not touch it.
    let own = format!("/v1/users/{POSTER}");
    assert_eq!(look(at, READER, &own).await.status, 200);
    assert_eq!(by(at, READER, "DELETE", &own, ("", "")).await.status, 403);
    assert_eq!(by(at, GLOBEX, "DELETE", &own, ("", "")).await.status, 204);
    assert_eq!(look(at, OPERATOR, &own).await.status, 404);
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_written_down_with_what_became_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let control = start_with(folder.path(), with_tenants).await;
    let at = control.api;
    let yaml = ("content-type: application/yaml\r\n", DOCUMENT);
    by(at, OPERATOR, "PUT", "/v1/document?dryRun=true", yaml).await;
    by(at, OPERATOR, "PUT", "/v1/document", yaml).await;
    by(at, ACME, "PUT", "/v1/document", yaml).await;
    by(at, ACME, "POST", "/v1/zones/paris/drain", ("", "")).await;
    by(at, READER, "DELETE", &format!("/v1/users/{POSTER}"), ("", "")).await;
    let odd = ("content-type: application/json\r\nidempotency-key: k1\r\n", "{}");
    by(at, OPERATOR, "POST", &format!("/v1/sessions/{NOBODY}/move"), odd).await;
    // Who is not known leaves nothing, and neither does who only looks.
    by(at, "a secret that nobody has", "DELETE", "/v1/users/1", ("", "")).await;
    look(at, OPERATOR, "/v1/zones").await;

    let told = look(at, OPERATOR, "/v1/audit?limit=4").await.json();
    let rest = format!("/v1/audit?limit=4&cursor={}", told["next"]);
    let rest = look(at, OPERATOR, &rest).await.json();
    assert!(rest["next"].is_null(), "{rest}");
    let entries = [&told["entries"], &rest["entries"]].into_iter();
    let entries: Vec<&Value> = entries.flat_map(|list| list.as_array().unwrap()).collect();
    let shown = |entry: &&Value| {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        (text("caller"), text("method"), text("path"), text("outcome"), entry["status"].clone())
    };
    let due = |caller: &str, method: &str, path: &str, outcome: &str, status: u16| {
        let text = str::to_owned;
        (text(caller), text(method), text(path), text(outcome), Value::from(status))
    };
    let shown: Vec<_> = entries.iter().map(shown).collect();
    let moved = format!("/v1/sessions/{NOBODY}/move");
    let expected = [
        due("ops", "POST", &moved, "failed", 400),
        due("globex-eye", "DELETE", "/v1/users/{user}", "refused", 403),
        due("acme-ci", "POST", "/v1/zones/paris/drain", "refused", 403),
        due("acme-ci", "PUT", "/v1/document", "refused", 404),
        due("ops", "PUT", "/v1/document", "accepted", 200),
        due("ops", "PUT", "/v1/document", "dry_run", 200),
    ];
    assert_eq!(shown, expected);
    assert_eq!(entries[0]["idempotency_key"], "k1");
    assert_eq!(entries[2]["tenants"], serde_json::json!(["acme"]));
    let file = std::fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    assert!(
        !file.contains("secret") && !file.contains("9101") && !file.contains(&POSTER.to_string())
    );
    assert_eq!(look(at, ACME, "/v1/audit").await.status, 404);
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_in_a_tight_loop_is_slowed_down_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let control = start_with(folder.path(), |settings| {
        with_tenants(settings);
        settings.requests_per_second = 5;
    })
    .await;
    let at = control.api;
    for secret in [ACME, "a secret that nobody has"] {
        let mut refused = None;
        for _ in 0..100 {
            let answer = look(at, secret, "/openapi.json").await;
            if answer.status == 429 {
                refused = Some(answer);
                break;
            }
        }
        let refused = refused.expect("it is slowed down");
        assert_eq!(refused.header("retry-after").as_deref(), Some("1"));
    }
    assert_eq!(look(at, GLOBEX, "/openapi.json").await.status, 200);
    assert_eq!(look(at, OPERATOR, "/openapi.json").await.status, 200);
    control.shutdown().await;
}
