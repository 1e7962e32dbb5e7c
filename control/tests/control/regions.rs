//! Scaling ahead of time: what a region would need is told; an event that is expected makes the
//! rounds ask a real provider for more.

use std::net::SocketAddr;

use homing_control::scaling::ScaleSettings;
use homing_wire::{FromProxy, ZoneId};
use serde_json::{Value, json};

use crate::{
    link::batch,
    providers::elsewhere,
    scaling::{acting, hook, settings, with},
    world::{Answer, DOCUMENT, Proxy, ask, eventually, get, hello, push, start_with},
};

const PATH: &str = "/v1/regions/paris/predictiveScale";

async fn predict(at: SocketAddr, key: &str, body: &Value) -> Answer {
    let key = if key.is_empty() { String::new() } else { format!("idempotency-key: {key}\r\n") };
    let headers = format!("content-type: application/json\r\n{key}");
    ask(at, "POST", PATH, &headers, &body.to_string()).await
}

/// From now for an hour.
fn event(multiplier: f64) -> Value {
    let now = homing_control::clock::now_ms();
    let at = homing_control::clock::rfc3339;
    json!({
        "name": "sale", "starts": at(now), "ends": at(now + 3_600_000), "multiplier": multiplier,
    })
}

/// Keeps a steady load on the zone until something holds.
async fn under_load<F: Future<Output = bool>>(proxy: &Proxy, holds: impl Fn() -> F) {
    for seq in 1..=300 {
        proxy.say(FromProxy::Records(batch(7, seq, ZoneId(0), 5))).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        if seq > 20 && holds().await {
            return;
        }
    }
    panic!("it never held under load");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_a_region_is_told_what_an_event_would_need_and_nothing_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (hook_at, shared) = elsewhere().await;
    shared.lock().unwrap().answers = vec![(200, json!({ "endpoints": [] }).to_string())];
    let control = start_with(folder.path(), with(settings(hook(hook_at)))).await;
    let at = control.api;
    push(at, None, DOCUMENT).await;
    let plain = json!({ "horizon": "5s" });
    eventually("a round", async || {
        let told = predict(at, "", &plain).await.json();
        told["groups"][0]["outcome"] == "no_forecast"
    })
    .await;
    let told = predict(at, "", &plain).await.json();
    assert!(told["groups"][0]["since"].is_string(), "{told}");
    for (wrong, status) in [
        (json!({}), 400),
        (json!({ "horizon": "99h" }), 422),
        (json!({ "horizon": "5s", "service": "nobody" }), 404),
        (json!({ "horizon": "5s", "expectedEvent": event(0.5) }), 422),
        (json!({ "horizon": "5s", "dryRun": false, "expectedEvent": event(2.0) }), 400),
    ] {
        assert_eq!(predict(at, "", &wrong).await.status, status, "{wrong}");
    }
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    let surge = json!({ "horizon": "5s", "expectedEvent": event(10.0) });
    under_load(&proxy, async || {
        let told = predict(at, "", &plain).await.json();
        told["groups"][0]["outcome"] == "planned"
    })
    .await;
    let calm = predict(at, "", &plain).await.json()["groups"][0].clone();
    let told = predict(at, "", &surge).await.json();
    let group = &told["groups"][0];
    assert!(group["wanted"].as_u64() > calm["wanted"].as_u64(), "{calm} {group}");
    assert!(group["wantedCostPerHour"].as_f64() > calm["wantedCostPerHour"].as_f64());
    assert_eq!((&told["applied"], &told["dryRun"]), (&json!(false), &json!(true)));
    let step = &group["steps"][0];
    assert_eq!((&step["kind"], &step["carriedOut"]), (&json!("scale"), &json!(false)), "{group}");
    assert!(step["readyBy"].as_str() > step["at"].as_str(), "{step}");
    let first = &group["forecast"][0];
    assert!(first["q50"].as_f64() <= first["q90"].as_f64(), "{first}");
    // The zone's plan has the same steps, and what each service needs.
    let plan = get(at, "/zones/paris/plan?horizon=5s").await;
    assert_eq!(plan.status, 200, "{plan:?}");
    let plan = plan.json();
    let demand = plan["demand"].as_array().unwrap();
    let of = |service: Option<&str>, resource: &str| {
        let is = |one: &&Value| one["service"].as_str() == service && one["resource"] == resource;
        demand.iter().find(is).cloned().unwrap_or_default()
    };
    let all = of(None, "requests");
    // One endpoint of the document at 100.
    assert_eq!((&all["outcome"], &all["capacity"]), (&json!("foreseen"), &json!(100.0)), "{plan}");
    let upper = all["peak"]["q975"].as_f64().unwrap();
    let gap = all["gap"].as_f64().unwrap();
    assert!((gap - (upper - 100.0).max(0.0)).abs() < 1e-6, "{all}");
    assert_eq!(of(None, "sessions")["capacity"], json!(100.0));
    assert_eq!(of(Some("notebook"), "bandwidth")["outcome"], "foreseen", "{plan}");
    let steps = plan["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["kind"] == "scale" && step["carriedOut"] == false));
    assert_eq!(get(at, "/v1/zones/atlantis/plan").await.status, 404);
    assert_eq!(get(at, "/v1/zones/paris/plan?horizon=never").await.status, 422);
    // Asked to act, it says why it does not.
    let act = json!({ "horizon": "5s", "dryRun": false, "expectedEvent": event(10.0) });
    let told = predict(at, "one", &act).await.json();
    assert_eq!(told["applied"], false);
    assert!(told["note"].as_str().is_some_and(|note| note.contains("shadow")), "{told}");
    assert_eq!(get(at, "/v1/regions/paris/events").await.json()["events"], json!([]));
    assert_eq!(get(at, "/v1/regions/atlantis/events").await.status, 404);
    let short = "/regions/paris/predictiveScale";
    let json = "content-type: application/json\r\n";
    assert_eq!(ask(at, "POST", short, json, &plain.to_string()).await.status, 200);
    control.shutdown().await;
    let asked = &shared.lock().unwrap().asked;
    assert!(asked.iter().all(|(_, told)| told["action"] != "scale"), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expected_event_makes_rounds_ask_for_more_until_it_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let (hook_at, shared) = elsewhere().await;
    {
        let mut elsewhere = shared.lock().unwrap();
        elsewhere.scale = Some((200, json!({ "answer": "offered" }).to_string()));
        elsewhere.answers = vec![(200, json!({ "endpoints": [] }).to_string())];
    }
    // 50 requests a second fit the document's one endpoint; a hundred times as many need more than
    // there may be.
    let scaled = || ScaleSettings { capacity: 1_000.0, ..settings(hook(hook_at)) };
    let control = start_with(folder.path(), with(scaled())).await;
    let at = control.api;
    push(at, None, &acting()).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    under_load(&proxy, async || {
        // The first forecasts know so little that they may ask for all there is.
        let told = predict(at, "", &json!({ "horizon": "5s" })).await.json();
        let group = &told["groups"][0];
        group["outcome"] == "planned" && group["wanted"].as_u64().is_some_and(|all| all < 3)
    })
    .await;
    let before = shared.lock().unwrap().asked.len();
    let wished = || {
        let asked = &shared.lock().unwrap().asked;
        asked[before..].iter().any(|(_, told)| told["action"] == "scale" && told["wanted"] == 3)
    };
    let act = json!({ "horizon": "5s", "dryRun": false, "expectedEvent": event(100.0) });
    let first = predict(at, "one", &act).await;
    assert_eq!(first.status, 200, "{first:?}");
    let told = first.json();
    assert_eq!((&told["applied"], &told["event"]["id"]), (&json!(true), &json!(1)), "{told}");
    assert_eq!(predict(at, "one", &act).await.body, first.body);
    let other = json!({ "horizon": "6s", "dryRun": false, "expectedEvent": event(100.0) });
    assert_eq!(predict(at, "one", &other).await.status, 422);
    under_load(&proxy, async || wished()).await;
    let events = || get(at, "/v1/regions/paris/events");
    assert_eq!(events().await.json()["events"][0]["name"], "sale");
    control.shutdown().await;

    // It outlives control, and so does the answer.
    let control = start_with(folder.path(), with(scaled())).await;
    let at = control.api;
    assert_eq!(predict(at, "one", &act).await.body, first.body);
    let path = "/v1/regions/paris/events";
    assert_eq!(get(at, path).await.json()["events"].as_array().unwrap().len(), 1);
    let one = format!("{path}/1");
    assert_eq!(ask(at, "DELETE", &one, "", "").await.status, 204);
    assert_eq!(ask(at, "DELETE", &one, "", "").await.status, 404);
    assert_eq!(get(at, path).await.json()["events"], json!([]));
    control.shutdown().await;
}
