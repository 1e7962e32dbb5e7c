//! What control learns from the moves it made itself.

use std::net::SocketAddr;

use homing_wire::{
    Activated, Epoch, FromProxy, Incarnation, PlaceId, PlacementTable, RecordBatch, ServiceId,
    SessionActivity, SessionKey, ToProxy, ZoneId,
};
use serde_json::Value;

use crate::world::{Proxy, eventually, get, hello, push, start};

/// Oregon says that it is 20 ms from Lyon; it is 90.
const SHADOW: &str = r#"
zones:
  - { name: paris, endpoints: [127.0.0.1:9101] }
  - { name: oregon, endpoints: [127.0.0.1:9102] }
services:
  - name: notebook
    match: { path: / }
    session: { from: [{ header: x-user }], idle: 1h }
    state: memory
places:
  - { name: lyon, rtt: { paris: 60ms, oregon: 20ms } }
policy: { act: shadow, moves: { regret: 0%, residence_min: 0s } }
"#;
const PARIS: ZoneId = ZoneId(0);
const OREGON: ZoneId = ZoneId(1);
/// Sessions that are moved.
const MOVED: usize = 6;

/// Sessions whose home is Paris.
fn parisians(table: &PlacementTable, most: usize) -> Vec<SessionKey> {
    let keys = (1..1_000_u128).map(|n| SessionKey(n << 112 | n));
    keys.filter(|key| table.home(*key).zone == PARIS).take(most).collect()
}

/// A batch in which each session had two requests that took so long.
async fn batch(proxy: &Proxy, seq: u64, keys: &[SessionKey], home: (ZoneId, u64), mean_us: u64) {
    let now_ms = homing_control::clock::now_ms();
    let activity = |key: &SessionKey| SessionActivity {
        key: *key,
        service: ServiceId(0),
        zone: home.0,
        epoch: Epoch(home.1),
        place: Some(PlaceId(0)),
        requests: 2,
        bytes: 2_000,
        latency_us_sum: 2 * mean_us,
        last_seen_ms: now_ms,
    };
    let batch = RecordBatch {
        incarnation: Incarnation(7),
        seq,
        closed_ms: now_ms,
        sessions: keys.iter().map(activity).collect(),
        zones: Vec::new(),
    };
    proxy.say(FromProxy::Records(batch)).await;
}

async fn why(api: SocketAddr, key: SessionKey) -> Value {
    get(api, &format!("/v1/sessions/{key}/why")).await.json()["details"].clone()
}

async fn rounds(api: SocketAddr) -> u64 {
    let metrics = get(api, "/metrics").await.body;
    let rounds = metrics.lines().find_map(|l| l.strip_prefix("homing_control_rounds_total "));
    rounds.and_then(|rounds| rounds.parse().ok()).expect("a counter")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_lies_about_its_round_trip_loses_its_appeal_after_a_few_moves() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    let etag = push(control.api, None, SHADOW).await.header("etag").unwrap();
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    let mut keys = parisians(proxy.table.as_ref().unwrap(), MOVED + 1);
    let newcomer = keys.pop().unwrap();
    // What they are used to, while plans are only shown.
    for seq in 1..=5 {
        batch(&proxy, seq, &keys, (PARIS, 1), 65_000).await;
    }
    while proxy.order().await != (ToProxy::RecordsTaken { seq: 5 }) {}
    let before = why(control.api, keys[0]).await;
    assert_eq!((&before["best"], &before["brought"]), (&"oregon".into(), &Value::Null));
    assert_eq!(before["gain_us"], 40_000.0);

    // Control moves them, and Oregon keeps less than it promised.
    let on = SHADOW.replace("act: shadow", "act: on");
    push(control.api, Some(&etag), &on).await;
    proxy.until(|table| table.directives().len() == MOVED).await;
    let table = proxy.table.clone().unwrap();
    for directive in table.directives().values() {
        assert_eq!((directive.to, keys.contains(&directive.key)), (OREGON, true));
        let activated = Activated {
            directive: directive.id,
            key: directive.key,
            zone: OREGON,
            epoch: directive.epoch,
            incarnation: directive.to_incarnation,
        };
        proxy.say(FromProxy::Activated(activated)).await;
    }
    let there = |table: &PlacementTable| keys.iter().all(|k| table.home(*k).zone == OREGON);
    proxy.until(there).await;
    eventually("all are watched", async || {
        get(control.api, "/v1/feedback").await.json()["watched"] == MOVED
    })
    .await;
    for seq in 6..=14 {
        batch(&proxy, seq, &keys, (OREGON, 2), 95_000).await;
    }
    eventually("all moves are compared", async || {
        get(control.api, "/v1/feedback").await.json()["compared"] == MOVED
    })
    .await;
    let told = get(control.api, "/v1/feedback").await.json();
    let oregon = &told["zones"][0];
    let number = |name: &str| oregon[name].as_f64().unwrap();
    assert_eq!((&oregon["zone"], told["zones"].as_array().unwrap().len()), (&"oregon".into(), 1));
    assert!((number("moves") - 6.0).abs() < 0.01 && number("regretted") > 0.99, "{told}");
    assert!((number("expected_us") - 40_000.0).abs() < 1.0, "{told}");
    assert!((number("realised_us") + 30_000.0).abs() < 100.0, "{told}");
    let way = &told["ways"][1];
    assert_eq!((&way["place"], &way["zone"]), (&"lyon".into(), &"oregon".into()));
    let honest = told["ways"][0]["correction"]["factor"].as_f64().unwrap();
    assert!((honest - 1.0).abs() < 0.001, "{told}");

    let metrics = get(control.api, "/metrics").await.body;
    for line in ["moves_compared_total 6", "zone_moves_regretted_ratio{zone=\"oregon\"} 1.000"] {
        assert!(metrics.contains(&format!("homing_control_{line}\n")), "{line}: {metrics}");
    }

    // Who comes now stays where it is, though the document says the same as before.
    batch(&proxy, 15, &[newcomer], (PARIS, 1), 65_000).await;
    eventually("the newcomer is known", async || why(control.api, newcomer).await.is_object())
        .await;
    let after = why(control.api, newcomer).await;
    assert_eq!(after["held_back"], "no_gain", "{after}");
    assert!(after["zones"][1]["distance_us"].as_f64().unwrap() > 60_000.0, "{after}");
    assert_eq!(after["brought"][0]["zone"], "oregon");
    // New sessions are placed by proxies, who are told by the zone's price.
    eventually("the liar has its price", async || {
        let zones = get(control.api, "/v1/zones").await.json();
        let price = |zone: usize| zones["zones"][zone]["shadow_price_us"].as_u64().unwrap_or(0);
        price(0) == 0 && price(1) > 40_000
    })
    .await;
    let seen = rounds(control.api).await;
    eventually("more rounds", async || rounds(control.api).await > seen + 5).await;
    let open = get(control.api, "/v1/directives?limit=1000").await.json();
    assert!(!open.to_string().contains(&newcomer.to_string()), "{open}");
    control.shutdown().await;

    // It outlives the process; what was being compared does not.
    let control = start(folder.path()).await;
    let again = get(control.api, "/v1/feedback").await.json();
    assert_eq!((&again["compared"], &again["zones"][0]["zone"]), (&0.into(), &"oregon".into()));
    let factor = |told: &Value| told["ways"][1]["correction"]["factor"].as_f64().unwrap();
    assert!((factor(&again) - factor(&told)).abs() < 0.01, "{again} {told}");
    // A further zone leaves it as it is.
    let etag = get(control.api, "/v1/document").await.header("etag").unwrap();
    let further = on
        .replace("rtt: { paris", "rtt: { tokyo: 30ms, paris")
        .replace("services:", "  - { name: tokyo, endpoints: [127.0.0.1:9103] }\nservices:");
    push(control.api, Some(&etag), &further).await;
    eventually("rounds go on", async || rounds(control.api).await > 3).await;
    let told = get(control.api, "/v1/feedback").await.json();
    assert_eq!(told["zones"].as_array().unwrap().len(), 1, "{told}");
    control.shutdown().await;
}
