//! Zones that are scaled: from the records of proxies to real processes in the published table, and
//! back; a webhook whose endpoints are believed when they are reached.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use homing_control::{
    Settings,
    foresight::Resource,
    provider::{Probe, ProcessSettings, WebhookSettings, webhook::Secret},
    scaling::{ProviderSettings, ScaleSettings},
};
use homing_wire::{FromProxy, PlacementTable, UpstreamProtocol, ZoneId};
use serde_json::{Value, json};

use crate::{
    link::batch,
    providers::{Elsewhere, SECRET, elsewhere, free_ports, server_command},
    world::{DOCUMENT, Proxy, eventually, get, hello, push, start_with},
};

pub(crate) fn settings(provider: ProviderSettings) -> ScaleSettings {
    ScaleSettings {
        zone: "paris".to_owned(),
        service: None,
        load: Resource::Requests,
        capacity: 100.0,
        head_room: 0.0,
        min: 0,
        max: 3,
        price: 1.0,
        shortage: 3.0,
        cooldown_ms: 500,
        lead_ms: 500,
        give_up_ms: 20_000,
        drain_ms: 200,
        provider,
    }
}

fn processes(from: u16) -> ProviderSettings {
    ProviderSettings::Process(ProcessSettings {
        command: server_command("-"),
        ports: free_ports(from, 4),
        environment: Vec::new(),
        protocol: UpstreamProtocol::H1,
        ready: Probe::Get("/healthz".to_owned()),
        give_up_ms: 20_000,
        grace_ms: 200,
    })
}

pub(crate) fn hook(at: SocketAddr) -> ProviderSettings {
    ProviderSettings::Webhook(WebhookSettings {
        url: format!("http://{at}/hook").parse().expect("a URL"),
        secret: Secret::new(SECRET.to_vec()),
        timeout_ms: 500,
        retries: 1,
        ready: Probe::Connect,
    })
}

pub(crate) fn with(scaling: ScaleSettings) -> impl FnOnce(&mut Settings) {
    move |settings| {
        settings.step_ms = 200;
        settings.scaling = vec![scaling];
    }
}

pub(crate) fn acting() -> String {
    DOCUMENT.replace("act: shadow", "act: on")
}

/// Addresses of a zone's endpoints in a table.
fn endpoints(table: &PlacementTable, zone: &str) -> Vec<String> {
    let facts = table.facts();
    let id = facts.zone_named(zone).expect("the zone");
    facts.zones[id.index()].endpoints.iter().map(|one| one.address.clone()).collect()
}

/// A zone's endpoints once they have become what is due; the link is served in the meantime.
async fn become_of(proxy: &mut Proxy, zone: &str, due: impl Fn(&[String]) -> bool) -> Vec<String> {
    let fits = |table: &PlacementTable| due(&endpoints(table, zone));
    tokio::time::timeout(Duration::from_secs(60), proxy.until(fits)).await.expect("in time");
    endpoints(proxy.table.as_ref().expect("a table"), zone)
}

async fn scaling(at: SocketAddr, zone: &str) -> Value {
    let told = get(at, &format!("/v1/zones/{zone}/scaling")).await;
    assert_eq!(told.status, 200, "{told:?}");
    told.json()["groups"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn load_starts_processes_that_reach_the_table_and_quiet_ends_them() {
    let folder = tempfile::tempdir().unwrap();
    let (name, zone) = ("paris", ZoneId(0));
    let scaled = ScaleSettings { drain_ms: 2_000, ..settings(processes(22_500)) };
    let control = start_with(folder.path(), with(scaled)).await;
    push(control.api, None, &acting()).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    assert_eq!(endpoints(proxy.table.as_ref().unwrap(), name).len(), 1);
    let mut grown = Vec::new();
    for seq in 1..=200 {
        proxy.say(FromProxy::Records(batch(7, seq, zone, 25))).await;
        let _ = tokio::time::timeout(Duration::from_millis(100), proxy.take()).await;
        let now = endpoints(proxy.table.as_ref().unwrap(), name);
        if now.len() >= 3 {
            grown = now;
            break;
        }
    }
    assert!(grown.len() >= 3, "{}", scaling(control.api, name).await);
    let told = scaling(control.api, name).await;
    assert!(told["lead_time"]["p50_ms"].as_u64().is_some_and(|ms| ms > 0), "{told}");
    assert_eq!((&told["acts"], &told["provider"]), (&true.into(), &"process".into()), "{told}");
    assert_eq!(told["answers"][0]["answer"], "offered", "{told}");
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains("requests/s") && reason.contains("beside 1"), "{reason}");
    for address in &grown[1..] {
        let served = get(address.parse().unwrap(), "/").await;
        assert_eq!(served.body, "ok", "{address}");
    }
    // Nothing is asked of it any more: what was started leaves the table, and ends after that.
    let fewer = become_of(&mut proxy, name, |now| now.len() < grown.len()).await;
    for address in grown.iter().filter(|address| !fewer.contains(address)) {
        assert_eq!(get(address.parse().unwrap(), "/").await.body, "ok", "{address} ended at once");
    }
    become_of(&mut proxy, name, |now| now.len() == 1).await;
    eventually("the processes to be gone", async || {
        grown[1..].iter().all(|at| std::net::TcpStream::connect(at).is_err())
    })
    .await;
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_it_is_only_told_and_what_runs_ends_with_control() {
    let folder = tempfile::tempdir().unwrap();
    let scaled = || ScaleSettings { min: 2, ..settings(processes(23_000)) };
    let control = start_with(folder.path(), with(scaled())).await;
    let etag = push(control.api, None, DOCUMENT).await.header("etag");
    eventually("the wish to be shown", async || {
        let told = scaling(control.api, "paris").await;
        told["wanted"] == 2 && told["acts"] == false && told["verdict"] == "out"
    })
    .await;
    let told = scaling(control.api, "paris").await;
    assert_eq!((&told["ready"], &told["under_way"]), (&0.into(), &0.into()), "{told}");
    assert_eq!(get(control.api, "/v1/zones/atlantis/scaling").await.status, 404);
    let none = get(control.api, "/v1/zones/oregon/scaling").await.json();
    assert_eq!(none["groups"], json!([]));

    push(control.api, etag.as_deref(), &acting()).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    let three = become_of(&mut proxy, "paris", |now| now.len() == 3).await;
    control.shutdown().await;
    for address in &three[1..] {
        assert!(std::net::TcpStream::connect(address).is_err(), "{address} outlives control");
    }

    // The next control starts its own.
    let control = start_with(folder.path(), with(scaled())).await;
    eventually("two to be ready again", async || scaling(control.api, "paris").await["ready"] == 2)
        .await;
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhooks_endpoints_count_when_they_are_reached_and_outlive_control() {
    let folder = tempfile::tempdir().unwrap();
    let (at, shared): (_, Arc<Mutex<Elsewhere>>) = elsewhere().await;
    let listeners: Vec<_> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let address = |index: usize| listeners[index].local_addr().unwrap().to_string();
    let shut = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let one = |address: String| json!({ "address": address, "ready": true });
    // It offers, and lists one that is there and one that is not.
    let lists = |endpoints: Vec<Value>| {
        let mut elsewhere = shared.lock().unwrap();
        elsewhere.scale = Some((200, json!({ "answer": "offered" }).to_string()));
        elsewhere.answers = vec![(200, json!({ "endpoints": endpoints }).to_string())];
    };
    lists(vec![one(address(0)), one(shut.clone())]);
    let scaled = || ScaleSettings { min: 2, max: 3, give_up_ms: 1_000, ..settings(hook(at)) };
    let control = start_with(folder.path(), with(scaled())).await;
    push(control.api, None, &acting()).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    let two = become_of(&mut proxy, "paris", |now| now.len() == 2).await;
    assert_eq!(two[1], address(0));
    // The one that is not there is given back by name, and another is asked for.
    eventually("the liar to be given back", async || {
        let asked = &shared.lock().unwrap().asked;
        asked.iter().any(|(_, told)| {
            told["action"] == "scale" && told["wanted"] == 2 && told["release"] == json!([shut])
        })
    })
    .await;
    // It delivers more than was ever wished for: no more than there may be are taken.
    lists((0..4).map(|index| one(address(index))).collect());
    become_of(&mut proxy, "paris", |now| now.len() == 4).await;
    eventually("the delivery to be told", async || {
        let told = scaling(control.api, "paris").await;
        told["news"].as_array().unwrap().iter().any(|news| news["kind"] == "over_delivered")
    })
    .await;
    lists((0..2).map(|index| one(address(index))).collect());
    become_of(&mut proxy, "paris", |now| now.len() == 3).await;

    // Refused from now on; what is there stays there while it cannot even be asked.
    let nothing = (503, String::new());
    shared.lock().unwrap().answers = vec![nothing];
    eventually("the silence to be told", async || {
        let told = scaling(control.api, "paris").await;
        told["news"].as_array().unwrap().iter().any(|news| news["kind"] == "fault")
    })
    .await;
    assert_eq!(scaling(control.api, "paris").await["ready"], 2);
    control.shutdown().await;

    // The next control lists them anew, and the table never lacked them.
    lists((0..2).map(|index| one(address(index))).collect());
    let control = start_with(folder.path(), with(scaled())).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 8, None)).await.unwrap();
    proxy.update().await;
    assert_eq!(endpoints(proxy.table.as_ref().unwrap(), "paris").len(), 3);
    eventually("them to be listed anew", async || {
        scaling(control.api, "paris").await["ready"] == 2
    })
    .await;
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_comes_is_asked_for_anew_and_what_was_not_heard_by_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let (at, shared) = elsewhere().await;
    {
        let mut elsewhere = shared.lock().unwrap();
        elsewhere.scale = Some((200, json!({ "answer": "offered" }).to_string()));
        elsewhere.answers = vec![(200, json!({ "endpoints": [] }).to_string())];
    }
    // The keys of wishes so far, and of those that came later.
    let keys = || -> Vec<String> {
        let asked = &shared.lock().unwrap().asked;
        let wishes = asked.iter().filter(|(_, told)| told["action"] == "scale");
        wishes.map(|(key, _)| key.clone()).collect()
    };
    let scaled = ScaleSettings { min: 1, give_up_ms: 1_000, ..settings(hook(at)) };
    let control = start_with(folder.path(), with(scaled)).await;
    push(control.api, None, &acting()).await;
    eventually("it to be asked anew", async || keys().len() == 2).await;
    assert_ne!(keys()[0], keys()[1]);
    let told = scaling(control.api, "paris").await;
    assert_eq!(told["news"][0]["kind"], "never_came", "{told}");

    shared.lock().unwrap().hangs = true;
    // Each wish makes two attempts.
    eventually("a wish to hang", async || keys().len() >= 3).await;
    eventually("it to be put again", async || keys().len() >= 6).await;
    let hung = keys();
    assert!(hung[2..6].iter().all(|key| *key == hung[2]) && hung[2] != hung[1], "{hung:?}");
    let told = scaling(control.api, "paris").await;
    let last = told["answers"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["answer"], "fault", "{told}");
    let begun = std::time::Instant::now();
    control.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "a provider that hangs holds up the end");
}
