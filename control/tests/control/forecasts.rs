//! Forecasts from the records of proxies to the API, and across a restart.

use std::time::Duration;

use homing_wire::{FromProxy, PlaceId, SessionKey, ZoneId};

use crate::{
    link::batch,
    providers::{SECRET, elsewhere, hook_settings},
    world::{DOCUMENT, Proxy, eventually, get, hello, push, start_with},
};

const KEY: SessionKey = SessionKey(1);

#[tokio::test(flavor = "multi_thread")]
async fn what_proxies_tell_becomes_a_forecast_that_outlives_control() {
    let folder = tempfile::tempdir().unwrap();
    let quick = |settings: &mut homing_control::Settings| settings.step_ms = 200;
    let control = start_with(folder.path(), quick).await;
    push(control.api, None, DOCUMENT).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    let zone = proxy.table.as_ref().unwrap().home(KEY).zone;
    let name = if zone == ZoneId(0) { "paris" } else { "oregon" };
    let path = format!("/v1/zones/{name}/forecast");
    for (query, status) in [
        ("?by=year", 404),
        ("?resource=gold", 400),
        ("?service=nobody", 404),
        ("?resource=sessions&service=notebook", 400),
        ("?colour=red", 400),
    ] {
        assert_eq!(get(control.api, &format!("{path}{query}")).await.status, status, "{query}");
    }
    assert_eq!(get(control.api, "/v1/zones/atlantis/forecast").await.status, 404);
    let user = format!("/v1/users/{KEY}/resourceForecast");
    assert_eq!(get(control.api, &user).await.status, 404);
    assert_eq!(get(control.api, "/v1/users/ann/resourceForecast").await.status, 400);

    for seq in 1..=30 {
        proxy.say(FromProxy::Records(batch(7, seq, zone, 20))).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let told = get(control.api, &path).await;
    assert_eq!(told.status, 200, "{told:?}");
    let told = told.json();
    assert_eq!((&told["unit"], &told["step_ms"]), (&"requests/s".into(), &200.into()));
    assert!(told["data_age_ms"].as_u64().unwrap() < 5_000, "{told}");
    let observations = told["observations"].as_u64().unwrap();
    assert!(observations >= 8, "{observations}");
    let values = told["values"].as_array().unwrap();
    assert_eq!(values.len(), 30);
    let mean = values[0]["value"].as_f64().unwrap();
    // Twenty requests each tenth of a second.
    assert!((60.0..400.0).contains(&mean), "{mean}");
    for value in values {
        let band = |name: &str| {
            let band = value[name].as_array().unwrap().clone();
            (band[0].as_f64().unwrap(), band[1].as_f64().unwrap())
        };
        let ((low80, high80), (low95, high95)) = (band("band80"), band("band95"));
        assert!(0.0 <= low95 && low95 <= low80 && high80 <= high95, "{value}");
    }
    let weights = told["weights"].as_array().unwrap();
    let sum: f64 = weights.iter().map(|weight| weight["weight"].as_f64().unwrap()).sum();
    assert!(weights.len() >= 10 && (sum - 1.0).abs() < 0.01, "{sum}");
    assert_eq!(get(control.api, &format!("{path}?by=year")).await.status, 400);

    let told = get(control.api, &user).await;
    assert_eq!(told.status, 200, "{told:?}");
    let short = get(control.api, &format!("/users/{KEY}/resourceForecast")).await;
    assert_eq!(short.status, 200, "{short:?}");
    let told = told.json();
    assert_eq!((&told["zone"], &told["service"]), (&name.into(), &"notebook".into()));
    assert_eq!(told["resources"].as_array().unwrap().len(), 2);
    assert!((0.0..=1.0).contains(&told["share"].as_f64().unwrap()), "{told}");
    control.shutdown().await;

    let control = start_with(folder.path(), quick).await;
    eventually("the next control to go on from what was observed", async || {
        let told = get(control.api, &path).await;
        told.status == 200 && told.json()["observations"].as_u64().unwrap() > observations
    })
    .await;
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_surge_out_of_a_quiet_past_is_told_with_its_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let control = start_with(folder.path(), |settings| settings.step_ms = 100).await;
    push(control.api, None, DOCUMENT).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    let zone = proxy.table.as_ref().unwrap().home(KEY).zone;
    for seq in 1..=120 {
        let requests = if seq > 110 { 5_000 } else { 20 + (seq % 3) as u32 };
        proxy.say(FromProxy::Records(batch(7, seq, zone, requests))).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eventually("the surge to be told", async || {
        let told = get(control.api, "/v1/anomalies").await.json();
        let found = told["anomalies"].as_array().unwrap().clone();
        found.iter().any(|one| {
            let observed = one["observed"].as_f64().unwrap();
            one["resource"] == "requests"
                && observed > 10_000.0
                && one["expected"].as_f64().is_some_and(|expected| expected < observed / 4.0)
                && one["evidence"].as_array().is_some_and(|evidence| evidence.len() == 4)
        })
    })
    .await;
    let told = get(control.api, "/v1/anomalies").await.json();
    let next = told["next"].as_u64().unwrap();
    let later = get(control.api, &format!("/v1/anomalies?after={next}&zone=atlantis")).await.json();
    assert!(later["anomalies"].as_array().unwrap().is_empty());
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_told_of_a_surge_once_it_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    // It fails at first, and answers what comes after without a body.
    let answers = vec![(503, "later".to_owned()), (204, String::new())];
    let (at, elsewhere) = elsewhere().await;
    elsewhere.lock().unwrap().answers = answers;
    let control = start_with(folder.path(), |settings| {
        settings.step_ms = 100;
        settings.alerts = vec![hook_settings(at, SECRET)];
    })
    .await;
    push(control.api, None, DOCUMENT).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    let zone = proxy.table.as_ref().unwrap().home(KEY).zone;
    for seq in 1..=120 {
        let requests = if seq > 110 { 5_000 } else { 20 + (seq % 3) as u32 };
        proxy.say(FromProxy::Records(batch(7, seq, zone, requests))).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eventually("the hook to be told all that the API tells", async || {
        let told = get(control.api, "/v1/anomalies").await.json();
        let asked = elsewhere.lock().unwrap().asked.clone();
        // The first request was not taken, and came again under its key.
        let [first, second, ..] = asked.as_slice() else { return false };
        assert_eq!(first, second);
        let taken = asked.iter().skip(1).flat_map(|(_, told)| {
            assert_eq!((&told["kind"], &told["missed"]), (&"anomalies".into(), &0.into()));
            told["anomalies"].as_array().unwrap().clone()
        });
        let taken: Vec<serde_json::Value> = taken.collect();
        !taken.is_empty() && taken == *told["anomalies"].as_array().unwrap()
    })
    .await;
    let metrics = get(control.api, "/metrics").await.body;
    assert!(metrics.contains("homing_control_alerts_total{end=\"taken\"}"), "{metrics}");
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_belongs_to_is_told_with_its_terms_and_outlives_control() {
    let folder = tempfile::tempdir().unwrap();
    let control = start_with(folder.path(), |_| {}).await;
    push(control.api, None, DOCUMENT).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    let home = proxy.table.as_ref().unwrap().home(KEY).zone;
    let mut told = batch(7, 1, home, 20);
    for activity in &mut told.sessions {
        activity.place = Some(PlaceId(0));
    }
    proxy.say(FromProxy::Records(told)).await;
    let paths = [format!("/v1/users/{KEY}"), format!("/v1/sessions/{KEY}/why")];
    let mut control = control;
    for _ in 0..2 {
        let api = control.api;
        eventually("the user to be known", async || get(api, &paths[0]).await.status == 200).await;
        let user = get(api, &paths[0]).await.json();
        let why = get(api, &paths[1]).await.json();
        for zones in [&user["affinity"], &why["details"]["affinity"]] {
            let zones = zones.as_array().unwrap();
            assert_eq!(zones.len(), 2);
            for (index, zone) in zones.iter().enumerate() {
                let of = |name: &str| zone[name].as_f64().unwrap();
                let lives = index == home.index();
                assert_eq!(
                    (of("data"), of("history")),
                    if lives { (1.0, 1.0) } else { (0.0, 0.0) }
                );
                // The client is in Lyon, which is near to Paris, the first.
                let near = index == 0;
                assert_eq!(of("predicted"), if near { 1.0 } else { 0.0 }, "{zone}");
                assert_eq!(of("latency") > 0.99, near, "{zone}");
                assert_eq!(of("score") > 99.0, near, "{zone}");
                assert_eq!(zone["ahead"].as_array().unwrap().len(), 4);
                assert_eq!(zone["ahead"][3]["minutes"], 30);
            }
        }
        control.shutdown().await;
        control = start_with(folder.path(), |_| {}).await;
    }
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_answers_late_is_told_to_drag() {
    let folder = tempfile::tempdir().unwrap();
    let control = start_with(folder.path(), |_| {}).await;
    push(control.api, None, DOCUMENT).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    // From Lyon it is 6 ms to Paris and 145 to Oregon, which takes half a second beyond that.
    let mut told = batch(7, 1, ZoneId(0), 20);
    told.sessions[0].latency_us_sum = 20 * 10_000;
    let late = batch(7, 1, ZoneId(1), 20).sessions.remove(0);
    let other = homing_wire::SessionKey(KEY.0 ^ 1);
    let latency_us_sum = 20 * (145_000 + 500_000);
    told.sessions.push(homing_wire::SessionActivity { key: other, latency_us_sum, ..late });
    proxy.say(FromProxy::Records(told)).await;
    let path = format!("/v1/sessions/{KEY}/why");
    let why = async || get(control.api, &path).await.json();
    eventually("the user to be known", async || why().await["known"] == true).await;
    let zones = why().await["details"]["zones"].clone();
    let drag = |zone: usize| zones[zone]["drag_us"].as_f64().unwrap();
    assert!(drag(0) == 0.0 && drag(1) > 10_000.0, "{zones}");
    let of = |name: &str| zones[1][name].as_f64().unwrap();
    let sum = of("distance_us") + of("price_us") + of("capacity_us") + of("drag_us");
    assert!((sum - of("total_us")).abs() < 1.0, "{zones}");
    control.shutdown().await;
}
