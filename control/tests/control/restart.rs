//! What outlives the process.

use homing_wire::{Activated, FromProxy, SessionKey, ToProxy, ZoneId};

use crate::{
    link::batch,
    world::{DOCUMENT, Proxy, eventually, get, hello, post, push, start, start_with},
};

const KEY: SessionKey = SessionKey(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_directive_outlives_control_and_is_committed_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    push(control.api, None, DOCUMENT).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    let home = proxy.table.as_ref().unwrap().home(KEY).zone;
    let (to, name) = if home == ZoneId(0) { (ZoneId(1), "oregon") } else { (ZoneId(0), "paris") };
    let body = format!(r#"{{"zone":"{name}"}}"#);
    post(control.api, &format!("/v1/sessions/{KEY}/move"), &body).await;
    proxy.until(|table| !table.directives().is_empty()).await;
    let held = proxy.table.clone().unwrap();
    let directive = held.directives().values().next().unwrap().clone();
    let before = get(control.api, "/v1/table").await.json();
    control.shutdown().await;
    drop(proxy);

    // The proxy finished the handoff while control was away, and says so to the next one.
    let control = start(folder.path()).await;
    let after = get(control.api, "/v1/table").await.json();
    assert_eq!(after["digest"], before["digest"]);
    assert_eq!(after["term"].as_u64().unwrap(), before["term"].as_u64().unwrap() + 1);
    let again = hello("edge", 7, Some(&held));
    let mut proxy = Proxy::attach_holding(control.link, again, Some(held)).await.unwrap();
    proxy.update().await;
    assert!(proxy.by_delta, "the journal's deltas lead from the last term into this one");
    proxy.ack().await;
    assert_eq!(proxy.table.as_ref().unwrap().directives().len(), 1);
    proxy
        .say(FromProxy::Activated(Activated {
            directive: directive.id,
            key: KEY,
            zone: to,
            epoch: directive.epoch,
            incarnation: directive.to_incarnation,
        }))
        .await;
    proxy.until(|table| table.directives().is_empty()).await;
    assert_eq!(proxy.table.as_ref().unwrap().home(KEY).zone, to);
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_acknowledged_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    let etag = push(control.api, None, DOCUMENT).await.header("etag").unwrap();
    post(control.api, "/v1/zones/oregon/drain", "").await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    proxy.say(FromProxy::Records(batch(7, 1, ZoneId(0), 30))).await;
    assert_eq!(proxy.order().await, ToProxy::RecordsTaken { seq: 1 });
    let before = get(control.api, "/v1/table").await.json();
    control.shutdown().await;

    let control = start(folder.path()).await;
    assert_eq!(get(control.api, "/v1/document").await.header("etag").unwrap(), etag);
    assert_eq!(get(control.api, "/v1/zones/oregon").await.json()["intake"], "draining");
    assert_eq!(get(control.api, "/v1/table").await.json()["digest"], before["digest"]);
    let why = get(control.api, &format!("/v1/sessions/{KEY}/why")).await.json();
    assert_eq!(why["known"], true);
    // A batch that was answered before is known, so nothing is counted twice.
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    proxy.say(FromProxy::Records(batch(7, 1, ZoneId(0), 30))).await;
    assert_eq!(proxy.order().await, ToProxy::RecordsTaken { seq: 1 });
    let metrics = get(control.api, "/metrics").await.body;
    assert!(metrics.contains("record_batches_repeated_total 1\n"), "{metrics}");
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_zone_leaves_when_nothing_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    let etag = push(control.api, None, crate::world::THREE_ZONES).await.header("etag").unwrap();
    // paris comes first here and keeps its id; tokyo goes.
    let pushed = push(control.api, Some(&etag), DOCUMENT).await;
    assert_eq!(pushed.json()["zones_leaving"], serde_json::json!(["tokyo"]));
    eventually("tokyo's place is closed", async || {
        let zones = get(control.api, "/v1/zones").await.json();
        let tokyo = zones["zones"].as_array().unwrap().iter().find(|z| z["name"] == "tokyo");
        tokyo.is_none_or(|tokyo| tokyo["intake"] == "closed" && tokyo["buckets"] == 0)
    })
    .await;
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_document_comes_from_a_file_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zones.yaml");
    std::fs::write(&file, DOCUMENT).unwrap();
    let named = file.clone();
    let control = start_with(folder.path(), |s| s.document = Some(named)).await;
    assert_eq!(get(control.api, "/readyz").await.status, 200);
    control.shutdown().await;
    std::fs::write(&file, "zones: []").unwrap();
    let control = start_with(folder.path(), |s| s.document = Some(file)).await;
    assert_eq!(get(control.api, "/v1/table").await.json()["zones"], 2);
    control.shutdown().await;
}
