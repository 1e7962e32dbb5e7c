//! Endpoints that fail: what is tried elsewhere, what is told, and what is never hidden.

use std::time::Duration;

use homing_proxy::http::forwarded::TrustedPeers;
use homing_wire::{HealthCheck, UpstreamProtocol};
use tokio::net::TcpStream;

use crate::{
    app::{App, nobody},
    client::{PATIENCE, ask, ask_h1, ask_h2, get, raw, send},
    proxy::{Setup, endpoint},
};

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_costs_no_request_of_any_method() {
    let app = App::start("paris").await;
    let dead = nobody();
    let proxy = Setup::new(&[("paris", &[dead, app.address])]).start();
    for method in ["GET", "POST", "PUT", "DELETE"] {
        for _ in 0..5 {
            let told = ask(proxy.plain(), send(method, "/", &[], "body")).await;
            assert_eq!(told.status, 200, "{told:?}");
            assert_eq!(told.json()["body_bytes"], 4);
        }
    }
    let retries = proxy.metrics.retries.get();
    // Three failures in a row, and the dead endpoint is left alone for a while.
    assert!((1..12).contains(&retries), "{retries}");
}

#[tokio::test]
async fn another_zone_is_never_tried_for_a_session() {
    let app = App::start("oregon").await;
    let mut setup = Setup::new(&[("paris", &[nobody()]), ("oregon", &[app.address])]);
    setup.limits().retries = 5;
    let proxy = setup.start();
    let (mut served, mut failed) = (0, 0);
    for user in 0..20 {
        let told = ask(proxy.plain(), get("/", &[("x-user", &user.to_string())])).await;
        match told.status.as_u16() {
            200 => served += 1,
            502 | 503 => {
                assert!(["connect-failed", "no-endpoint"].contains(&told.problem().as_str()));
                failed += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(served > 0 && served + failed == 20, "{served} {failed}");
}

#[tokio::test]
async fn a_zone_without_endpoints_that_answer_is_told_as_such() {
    let proxy = Setup::new(&[("paris", &[nobody()])]).start();
    let told = ask(proxy.plain(), get("/", &[])).await;
    assert_eq!((told.status.as_u16(), told.problem()), (502, "connect-failed".to_owned()));
    for _ in 0..5 {
        ask(proxy.plain(), get("/", &[])).await;
    }
    // With nowhere else to go it is tried on, so that it serves again as soon as it can.
    let told = ask(proxy.plain(), get("/", &[])).await;
    assert_eq!((told.status.as_u16(), told.problem()), (502, "connect-failed".to_owned()));
    assert_eq!(proxy.metrics.retries_refused.get(), 0);
}

#[tokio::test]
async fn new_sessions_avoid_a_zone_in_which_every_request_fails() {
    let app = App::start("oregon").await;
    let mut setup = Setup::new(&[("paris", &[nobody()]), ("oregon", &[app.address])]);
    setup.facts.policy.place_header = Some("x-place".to_owned());
    setup.rules.trusted = TrustedPeers::new(vec!["127.0.0.1".parse().unwrap()]);
    let proxy = setup.start();
    let near = || get("/", &[("x-place", "near-paris")]);
    let mut failed = 0;
    while ask(proxy.plain(), near()).await.status != 200 {
        failed += 1;
        assert!(failed < 20, "the zone is still taken to be well");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(failed >= 3);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_passed_off_as_whole() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nonly this"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nonly this\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\nonly this",
    ] {
        let app = App::raw(answer).await;
        let proxy = Setup::new(&[("paris", &[app.address])]).start();
        let socket = TcpStream::connect(proxy.plain()).await.unwrap();
        let told = tokio::time::timeout(PATIENCE, ask_h1(socket, get("/", &[]))).await.unwrap();
        assert!(told.is_err(), "{told:?}");
        let socket = TcpStream::connect(proxy.plain()).await.unwrap();
        let told =
            tokio::time::timeout(PATIENCE, ask_h2(socket, "http", get("/", &[]))).await.unwrap();
        assert!(told.is_err(), "{told:?}");
        let text = raw(proxy.plain(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(text.contains("only this") && !text.ends_with("0\r\n\r\n"), "{text}");
    }
}

#[tokio::test]
async fn answers_that_are_no_http_or_never_come_are_told_apart() {
    for (answer, status, problem) in [
        (&b"this is not http\r\n\r\n"[..], 502, "upstream-invalid"),
        (b"", 502, "upstream-closed"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", 502, "upstream-closed"),
    ] {
        let app = App::raw(answer).await;
        let proxy = Setup::new(&[("paris", &[app.address])]).start();
        let told = ask(proxy.plain(), send("POST", "/", &[], "x")).await;
        assert_eq!((told.status.as_u16(), told.problem().as_str()), (status, problem));
        assert_eq!(app.hits(), 1, "a request that was sent was sent again");
    }
    let app = App::start("paris").await;
    let mut setup = Setup::new(&[("paris", &[app.address])]);
    setup.limits().response_timeout_ms = 200;
    let proxy = setup.start();
    let told = ask(proxy.plain(), get("/?wait_ms=2000", &[])).await;
    assert_eq!((told.status.as_u16(), told.problem()), (504, "upstream-timeout".to_owned()));
}

#[tokio::test]
async fn checks_take_an_endpoint_out_and_new_sessions_elsewhere() {
    let apps = [App::start("paris").await, App::start("oregon").await];
    let sick = App::raw(b"HTTP/1.1 500 no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let mut setup = Setup::new(&[("paris", &[sick.address]), ("oregon", &[apps[1].address])]);
    setup.service().health = Some(HealthCheck {
        path: "/health".to_owned(),
        interval_ms: 100,
        timeout_ms: 500,
        fall: 2,
        rise: 2,
    });
    setup.facts.zones[1].endpoints.push(endpoint(apps[0].address, UpstreamProtocol::H2c));
    let proxy = setup.start();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    for _ in 0..20 {
        let told = ask(proxy.plain(), get("/", &[])).await;
        assert_eq!(told.status, 200);
        assert_eq!(told.received("homing-zone").unwrap(), "oregon");
    }
}
