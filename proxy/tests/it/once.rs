//! Requests that carry an `Idempotency-Key` are executed once, wherever their session lives by
//! then.

use std::{net::SocketAddr, time::Duration};

use homing_wire::KeySource;

use crate::{
    app::{App, nobody},
    client::{Told, ask, get, send},
    proxy::{Proxy, Setup},
    whole::{BRISK, Whole},
};

/// A user's request, in the session that goes by its name.
async fn post(proxy: &Proxy, user: &str, path: &str, key: &str) -> Told {
    let headers = [("x-user", user), ("idempotency-key", key)];
    ask(proxy.plain(), send("POST", path, &headers, "x")).await
}

fn setup(address: SocketAddr) -> Setup {
    let mut setup = Setup::new(&[("paris", &[address])]);
    setup.service().session.from = vec![KeySource::Header { name: "x-user".to_owned() }];
    setup.service().idempotency = true;
    setup
}

#[tokio::test]
async fn a_key_is_executed_once_in_a_session() {
    let app = App::start("paris").await;
    let proxy = setup(app.address).start();
    assert_eq!(post(&proxy, "ann", "/pay", "a").await.status, 200);
    let hits = app.hits();
    let again = post(&proxy, "ann", "/pay", "a").await;
    assert_eq!((again.status.as_u16(), again.problem().as_str()), (409, "request-executed"));
    assert_eq!(again.json()["executedStatus"], 200);
    let other = post(&proxy, "ann", "/refund", "a").await;
    assert_eq!((other.status.as_u16(), other.problem().as_str()), (422, "idempotency-key-reused"));
    assert_eq!(post(&proxy, "ann", "/pay", &"k".repeat(256)).await.status, 400);
    assert_eq!(app.hits(), hits);
    // Another key is another request, and another session's key is its own.
    assert_eq!(post(&proxy, "ann", "/pay", "b").await.status, 200);
    assert_eq!(post(&proxy, "bob", "/pay", "a").await.status, 200);
    // What changes nothing may be asked as often as one likes.
    let headers = [("x-user", "ann"), ("idempotency-key", "a")];
    assert_eq!(ask(proxy.plain(), get("/pay", &headers)).await.status, 200);
}

#[tokio::test]
async fn a_service_that_did_not_ask_for_it_gets_every_request() {
    let app = App::start("paris").await;
    let mut setup = setup(app.address);
    setup.service().idempotency = false;
    let proxy = setup.start();
    assert_eq!(post(&proxy, "ann", "/pay", "a").await.status, 200);
    assert_eq!(post(&proxy, "ann", "/pay", "a").await.status, 200);
}

#[tokio::test]
async fn a_key_that_is_under_way_is_told_so() {
    let app = App::start("paris").await;
    let proxy = setup(app.address).start();
    let (first, second) = tokio::join!(post(&proxy, "ann", "/pay?wait_ms=600", "a"), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        post(&proxy, "ann", "/pay?wait_ms=600", "a").await
    });
    assert_eq!(first.status, 200);
    assert_eq!((second.status.as_u16(), second.problem().as_str()), (409, "request-under-way"));
    assert_eq!(second.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn what_never_reached_the_app_may_come_again_and_what_may_have_may_not() {
    let proxy = setup(nobody()).start();
    for _ in 0..2 {
        let told = post(&proxy, "ann", "/pay", "a").await;
        assert!([502, 503].contains(&told.status.as_u16()), "{told:?}");
    }
    // An app that takes the request and breaks off.
    let app = App::raw(b"").await;
    let proxy = setup(app.address).start();
    assert_eq!(post(&proxy, "ann", "/pay", "a").await.status, 502);
    let told = post(&proxy, "ann", "/pay", "a").await;
    assert_eq!((told.status.as_u16(), told.problem().as_str()), (409, "request-outcome-unknown"));
    assert_eq!(app.hits(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_means_the_same_where_its_session_has_moved() {
    let zones = ["lisbon", "oslo"];
    let keyed = |text: String| text.replace("name: notes\n", "name: notes\n    idempotency: on\n");
    let whole = Whole::start_edited(&zones, BRISK, keyed).await;
    let write = async |key: &str| {
        let headers = [("x-user", "ann"), ("idempotency-key", key)];
        ask(whole.plain(), send("POST", "/", &headers, key.to_owned())).await
    };
    assert_eq!(write("one").await.status, 200);
    let before = whole.read("ann").await;
    let session = before["session"].as_str().unwrap().to_owned();
    let mut home = before["zone"].as_str().unwrap().to_owned();
    for lines in [vec!["one"], vec!["one", "more"]] {
        let to = whole.other(&home, &zones).to_owned();
        let directive = whole.move_to(&session, &to).await;
        assert_eq!(whole.outcome(directive).await["outcome"], "completed");
        for key in &lines {
            assert_eq!(write(key).await.problem(), "request-executed", "{key} in {to}");
        }
        assert_eq!(whole.read("ann").await["lines"], serde_json::json!(lines));
        home = to;
        if lines.len() == 1 {
            assert_eq!(write("more").await.status, 200);
        }
    }
}
