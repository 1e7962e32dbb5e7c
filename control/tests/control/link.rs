//! What proxies meet.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use homing_wire::{
    Activated, Epoch, FromProxy, HandoffFigures, Incarnation, NackReason, Outcome, OutcomeEnd,
    PlaceId, RecordBatch, ServiceId, SessionActivity, SessionKey, ToProxy, UndoneReason, Version,
    ZoneId, ZoneSample,
};

use crate::world::{DOCUMENT, Proxy, ask, eventually, get, hello, post, push, start};

const KEY: SessionKey = SessionKey(1);

fn other(zone: ZoneId) -> (ZoneId, &'static str) {
    match zone {
        ZoneId(0) => (ZoneId(1), "oregon"),
        _ => (ZoneId(0), "paris"),
    }
}

pub(crate) fn batch(incarnation: u64, seq: u64, zone: ZoneId, requests: u32) -> RecordBatch {
    let now = homing_control::clock::now_ms();
    RecordBatch {
        incarnation: Incarnation(incarnation),
        seq,
        closed_ms: now,
        sessions: vec![SessionActivity {
            key: KEY,
            service: ServiceId(0),
            zone,
            epoch: Epoch(1),
            place: Some(PlaceId(0)),
            requests,
            bytes: 1_000,
            latency_us_sum: 5_000,
            last_seen_ms: now,
        }],
        zones: vec![ZoneSample {
            zone,
            sessions: 1,
            requests: u64::from(requests),
            errors: 0,
            in_flight: 0,
            p50_us: 900,
            p99_us: 2_000,
        }],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_gets_the_table_then_deltas_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    let etag = push(control.api, None, DOCUMENT).await.header("etag").unwrap();
    let mut proxy = Proxy::attach(control.link, hello("edge-1", 7, None)).await.unwrap();
    proxy.update().await;
    assert!(!proxy.by_delta);
    // Nothing more goes out before the first is answered, and what gathers goes as one.
    post(control.api, "/v1/zones/oregon/drain", "").await;
    post(control.api, "/v1/zones/oregon/open", "").await;
    let more = DOCUMENT.replace("145ms", "155ms");
    push(control.api, Some(&etag), &more).await;
    assert!(proxy.is_quiet().await);
    proxy.ack().await;
    proxy.update().await;
    assert!(proxy.by_delta);
    proxy.ack().await;
    assert!(proxy.is_quiet().await);
    let digest = format!("{:016x}", proxy.table.as_ref().unwrap().digest());
    assert_eq!(get(control.api, "/v1/table").await.json()["digest"], digest);

    eventually("the roll shows it", async || {
        let proxies = get(control.api, "/v1/proxies").await.json();
        proxies["proxies"][0]["behind"] == 0
    })
    .await;
    // Back with what it holds, it is sent nothing; with another under that number, the whole.
    let table = proxy.table.clone().unwrap();
    let mut again = Proxy::attach(control.link, hello("edge-1", 8, Some(&table))).await.unwrap();
    assert!(again.is_quiet().await);
    let mut odd = hello("edge-2", 9, Some(&table));
    odd.digest ^= 1;
    let mut odd = Proxy::attach(control.link, odd).await.unwrap();
    odd.update().await;
    assert!(!odd.by_delta);
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_comes_at_once_is_brought_up_to_date_by_turns() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    push(control.api, None, DOCUMENT).await;
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut fleet = tokio::task::JoinSet::new();
    for n in 0..200 {
        let (inside, most, link) = (Arc::clone(&inside), Arc::clone(&most), control.link);
        fleet.spawn(async move {
            let hello = hello(&format!("edge-{n}"), n + 1, None);
            let mut proxy = Proxy::attach(link, hello).await.unwrap();
            proxy.update().await;
            most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            inside.fetch_sub(1, SeqCst);
            proxy.ack().await;
            proxy
        });
    }
    // The API answers meanwhile.
    assert_eq!(get(control.api, "/v1/table").await.status, 200);
    let proxies = fleet.join_all().await;
    assert_eq!(proxies.len(), 200);
    let most = most.load(SeqCst);
    assert!((2..=64).contains(&most), "{most} at one time");
    let metrics = get(control.api, "/metrics").await.body;
    let waited = metrics.lines().find_map(|l| l.strip_prefix("homing_control_links_waited_total "));
    assert!(waited.unwrap().parse::<u32>().unwrap() >= 10, "{metrics}");
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nacked_delta_is_followed_by_the_whole_table() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    push(control.api, None, DOCUMENT).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    post(control.api, "/v1/zones/oregon/drain", "").await;
    let version = proxy.update().await;
    assert!(proxy.by_delta);
    proxy
        .say(FromProxy::Nack {
            version,
            reason: NackReason::Gap,
            detail: "lost it".to_owned(),
            sums: None,
        })
        .await;
    proxy.update().await;
    assert!(!proxy.by_delta);
    proxy.ack().await;
    let metrics = get(control.api, "/metrics").await.body;
    assert!(metrics.contains("homing_control_nacks_total{reason=\"gap\"} 1"), "{metrics}");
    let proxies = get(control.api, "/v1/proxies").await.json();
    assert!(proxies["proxies"][0]["last_nack"].as_str().unwrap().contains("lost it"));
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_cannot_be_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    push(control.api, None, DOCUMENT).await;
    let mut later = hello("edge", 7, None);
    later.holds = Version { term: 99, n: 3 };
    let refused = Proxy::attach(control.link, later).await.err().unwrap();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    assert!(refused.message().contains("min_term: 100"), "{refused:?}");
    let mut old = hello("edge", 7, None);
    old.format = 0;
    let refused = Proxy::attach(control.link, old).await.err().unwrap();
    assert!(refused.message().contains("upgrade the proxy"));
    let refused = Proxy::attach(control.link, hello("no such name!", 7, None)).await.err().unwrap();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_taken_in_once() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    push(control.api, None, DOCUMENT).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    let zone = proxy.table.as_ref().unwrap().home(KEY).zone;
    for _ in 0..3 {
        proxy.say(FromProxy::Records(batch(7, 1, zone, 30))).await;
    }
    assert_eq!(proxy.order().await, ToProxy::RecordsTaken { seq: 1 });
    let why = get(control.api, &format!("/v1/sessions/{KEY}/why")).await.json();
    let rate = why["details"]["requests_per_second"].as_f64().unwrap();
    assert!((rate - 0.1).abs() < 0.01, "30 requests once, not thrice: {rate}");
    assert_eq!(why["details"]["place"], "lyon");
    assert_eq!(why["details"]["zones"][0]["distance_us"], 6_000.0);
    let metrics = get(control.api, "/metrics").await.body;
    assert!(metrics.contains("record_batches_total 1\n"), "{metrics}");
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_committed_on_the_targets_word_and_the_source_released() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    push(control.api, None, DOCUMENT).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    let (to, name) = other(proxy.table.as_ref().unwrap().home(KEY).zone);
    let body = format!(r#"{{"zone":"{name}"}}"#);
    post(control.api, &format!("/v1/sessions/{KEY}/move"), &body).await;
    proxy.until(|table| !table.directives().is_empty()).await;
    let directive = proxy.table.as_ref().unwrap().directives().values().next().unwrap().clone();
    assert_eq!((directive.key, directive.to, directive.epoch), (KEY, to, Epoch(2)));

    proxy
        .say(FromProxy::Activated(Activated {
            directive: directive.id,
            key: KEY,
            zone: to,
            epoch: Epoch(2),
            incarnation: directive.to_incarnation,
        }))
        .await;
    proxy.until(|table| table.directives().is_empty() && table.home(KEY).zone == to).await;
    assert_eq!(proxy.table.as_ref().unwrap().home(KEY).epoch, Epoch(2));
    let release = ToProxy::Release { directive: directive.id, key: KEY, epoch: Epoch(2) };
    assert_eq!(proxy.order().await, release);

    let figures =
        HandoffFigures { epoch: Epoch(2), pause_us: 1_500, held: 2, ..HandoffFigures::default() };
    proxy
        .say(FromProxy::Outcome(Outcome {
            directive: directive.id,
            key: KEY,
            end: OutcomeEnd::Completed(figures),
            at_ms: 1,
        }))
        .await;
    let taken = ToProxy::OutcomeTaken { directive: directive.id };
    assert_eq!(proxy.order().await, taken);
    let ended = get(control.api, &format!("/v1/directives/{}", directive.id)).await.json();
    assert_eq!(ended["state"], "completed");
    assert_eq!(ended["figures"]["pause_us"], 1_500);
    let outcomes = get(control.api, "/v1/outcomes").await.json();
    assert_eq!(outcomes["outcomes"].as_array().unwrap().len(), 1);
    let next = outcomes["next"].as_u64().unwrap();
    let none = get(control.api, &format!("/v1/outcomes?cursor={next}")).await.json();
    assert!(none["outcomes"].as_array().unwrap().is_empty());

    // What is known of the user, until it is to be forgotten; where it lives stays.
    let user = format!("/v1/users/{KEY}");
    let known = get(control.api, &user).await.json();
    assert_eq!(known["moves"][0]["to"], name);
    assert_eq!(ask(control.api, "DELETE", &user, "", "").await.status, 204);
    assert_eq!(get(control.api, &user).await.status, 404);
    assert_eq!(ask(control.api, "DELETE", &user, "", "").await.status, 404);
    let of_directive = format!("/v1/directives/{}", directive.id);
    assert_eq!(get(control.api, &of_directive).await.status, 404);
    control.shutdown().await;
    let control = start(folder.path()).await;
    assert_eq!(get(control.api, &user).await.status, 404);
    assert!(
        get(control.api, "/v1/outcomes").await.json()["outcomes"].as_array().unwrap().is_empty()
    );
    let why = get(control.api, &format!("/v1/sessions/{KEY}/why")).await.json();
    assert_eq!(why["zone"], name);
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undone_move_is_taken_back_one_epoch_higher() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    push(control.api, None, DOCUMENT).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    let home = proxy.table.as_ref().unwrap().home(KEY).zone;
    let body = format!(r#"{{"zone":"{}"}}"#, other(home).1);
    post(control.api, &format!("/v1/sessions/{KEY}/move"), &body).await;
    proxy.until(|table| !table.directives().is_empty()).await;
    let directive = proxy.table.as_ref().unwrap().directives().values().next().unwrap().clone();
    let undone = OutcomeEnd::Undone {
        why: UndoneReason::ImportRefused,
        detail: "oregon said 507".to_owned(),
    };
    proxy
        .say(FromProxy::Outcome(Outcome {
            directive: directive.id,
            key: KEY,
            end: undone,
            at_ms: 1,
        }))
        .await;
    let query = ToProxy::FenceQuery {
        directive: directive.id,
        incarnation: directive.to_incarnation,
        key: KEY,
        zone: directive.to,
    };
    let taken = ToProxy::OutcomeTaken { directive: directive.id };
    let orders = [proxy.order().await, proxy.order().await];
    assert!(orders.contains(&query) && orders.contains(&taken), "{orders:?}");
    proxy
        .say(FromProxy::Fenced { directive: directive.id, incarnation: directive.to_incarnation })
        .await;
    let own = loop {
        match proxy.order().await {
            ToProxy::FenceQuery { .. } => continue,
            other => break other,
        }
    };
    let expected = ToProxy::Own {
        key: KEY,
        zone: home,
        incarnation: directive.to_incarnation,
        epoch: Epoch(3),
        keep: true,
        directive: directive.id,
    };
    assert_eq!(own, expected);
    proxy.say(FromProxy::Residence { key: KEY, zone: home, epoch: Epoch(3) }).await;
    proxy.until(|table| table.directives().is_empty()).await;
    let home_now = proxy.table.as_ref().unwrap().home(KEY);
    assert_eq!((home_now.zone, home_now.epoch), (home, Epoch(3)));
    let ended = get(control.api, &format!("/v1/directives/{}", directive.id)).await.json();
    assert_eq!((&ended["state"], &ended["why"]), (&"undone".into(), &"import_refused".into()));
    assert_eq!(ended["detail"], "oregon said 507");
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_the_proxy_took_back_itself_is_told_with_its_reason_and_can_be_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    push(control.api, None, DOCUMENT).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    let home = proxy.table.as_ref().unwrap().home(KEY).zone;
    let body = format!(r#"{{"zone":"{}"}}"#, other(home).1);
    let path = format!("/v1/sessions/{KEY}/move");
    post(control.api, &path, &body).await;
    proxy.until(|table| !table.directives().is_empty()).await;
    let directive = proxy.table.as_ref().unwrap().directives().values().next().unwrap().clone();
    let (id, incarnation) = (directive.id, directive.to_incarnation);
    proxy.say(FromProxy::Fenced { directive: id, incarnation }).await;
    let undone =
        OutcomeEnd::Undone { why: UndoneReason::StateTooLarge, detail: "17 MiB".to_owned() };
    proxy.say(FromProxy::Outcome(Outcome { directive: id, key: KEY, end: undone, at_ms: 1 })).await;
    proxy.until(|table| table.directives().is_empty()).await;
    eventually("the reason is told", async || {
        get(control.api, &format!("/v1/directives/{id}")).await.json()["why"] == "state_too_large"
    })
    .await;
    // The gate owns the session already and has nothing to answer to the claim.
    let api = control.api;
    let again = tokio::spawn(async move {
        eventually("it can be tried again", async || post(api, &path, &body).await.status == 202)
            .await;
    });
    proxy.until(|table| !table.directives().is_empty()).await;
    again.await.unwrap();
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_zone_is_emptied_even_in_shadow() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    push(control.api, None, DOCUMENT).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    let home = proxy.table.as_ref().unwrap().home(KEY).zone;
    let (to, _) = other(home);
    let (_, name) = other(to);
    proxy.say(FromProxy::Records(batch(7, 1, home, 5))).await;
    eventually("the session is known", async || {
        get(control.api, &format!("/v1/sessions/{KEY}/why")).await.json()["known"] == true
    })
    .await;
    post(control.api, &format!("/v1/zones/{name}/drain"), "").await;
    proxy.until(|table| !table.directives().is_empty()).await;
    let directive = proxy.table.as_ref().unwrap().directives().values().next().unwrap().clone();
    // Its bucket went to the other zone, its home did not: that is what the handoff is for.
    assert_eq!((directive.from, directive.to), (home, to));
    let progress = get(control.api, &format!("/v1/zones/{name}/drain")).await.json();
    assert_eq!((&progress["state"], &progress["under_way"]), (&"draining".into(), &1.into()));
    proxy
        .say(FromProxy::Activated(Activated {
            directive: directive.id,
            key: KEY,
            zone: to,
            epoch: directive.epoch,
            incarnation: directive.to_incarnation,
        }))
        .await;
    eventually("it is empty", async || {
        get(control.api, &format!("/v1/zones/{name}/drain")).await.json()["state"] == "empty"
    })
    .await;
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_homed_by_a_proxy_becomes_an_exception() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    push(control.api, None, DOCUMENT).await;
    let mut proxy = Proxy::attach(control.link, hello("edge", 7, None)).await.unwrap();
    proxy.update().await;
    proxy.ack().await;
    let (zone, _) = other(proxy.table.as_ref().unwrap().home(KEY).zone);
    let epoch = Epoch(4);
    proxy.say(FromProxy::Residence { key: KEY, zone, epoch }).await;
    proxy.until(|table| table.exceptions().contains_key(&KEY)).await;
    let home = proxy.table.as_ref().unwrap().home(KEY);
    assert_eq!((home.zone, home.epoch), (zone, epoch));
    control.shutdown().await;
}
