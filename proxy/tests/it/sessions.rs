//! Sessions stick to their zone, whatever key they are known by.

use std::{collections::BTreeSet, sync::Arc};

use homing_proxy::http::{
    cookie::{CookieKey, CookieKeys},
    forwarded::TrustedPeers,
    key::TokenKey,
};
use homing_wire::KeySource;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde_json::json;

use crate::{
    app::App,
    client::{ask, get},
    proxy::{Proxy, Setup},
};

async fn two_zones(change: impl FnOnce(&mut Setup)) -> (Proxy, [App; 2]) {
    let apps = [App::start("paris").await, App::start("oregon").await];
    let zones: [(&str, &[_]); 2] = [("paris", &[apps[0].address]), ("oregon", &[apps[1].address])];
    let mut setup = Setup::new(&zones);
    change(&mut setup);
    (setup.start(), apps)
}

fn trust_loopback(setup: &mut Setup) {
    setup.rules.trusted = TrustedPeers::new(vec!["127.0.0.0/8".parse().unwrap()]);
}

#[tokio::test]
async fn a_cookie_session_stays_where_it_began() {
    let (proxy, _apps) = two_zones(trust_loopback).await;
    for (place, other) in [("near-paris", "near-oregon"), ("NEAR-OREGON", "near-paris")] {
        let first = ask(proxy.plain(), get("/", &[("x-place", place)])).await;
        assert_eq!(first.status, 200);
        assert_eq!(format!("near-{}", first.zone()), place.to_ascii_lowercase());
        let cookie = first.cookie().unwrap();
        let session = first.received("homing-session").unwrap();
        for _ in 0..10 {
            let headers = [("cookie", cookie.as_str()), ("x-place", other)];
            let again = ask(proxy.plain(), get("/", &headers)).await;
            assert_eq!(again.zone(), first.zone());
            assert_eq!(again.received("homing-session").unwrap(), session);
            assert_eq!(again.cookie(), None);
        }
    }
    assert_eq!(proxy.metrics.sessions_minted.get(), 2);
}

#[tokio::test]
async fn newcomers_leave_out_a_zone_that_got_slow_and_who_lives_there_stays() {
    let (proxy, _apps) = two_zones(trust_loopback).await;
    let place = ("x-place", "near-paris");
    for _ in 0..20 {
        assert_eq!(ask(proxy.plain(), get("/", &[place])).await.zone(), "paris");
    }
    let cookie = ask(proxy.plain(), get("/", &[place])).await.cookie().unwrap();
    let settled = [("cookie", cookie.as_str()), place];
    // Paris is 85 ms nearer, and answers 600 ms later than it did.
    for _ in 0..100 {
        let mut slow = tokio::task::JoinSet::new();
        for _ in 0..6 {
            slow.spawn(ask(proxy.plain(), get("/?wait_ms=600", &settled)));
        }
        for answer in slow.join_all().await {
            assert_eq!(answer.zone(), "paris");
        }
        if ask(proxy.plain(), get("/", &[place])).await.zone() == "oregon" {
            return;
        }
    }
    panic!("newcomers go on to the slow zone");
}

#[tokio::test]
async fn a_strangers_place_header_is_not_believed() {
    let (proxy, _apps) = two_zones(|_| {}).await;
    let mut zones = BTreeSet::new();
    for _ in 0..40 {
        zones.insert(ask(proxy.plain(), get("/", &[("x-place", "near-paris")])).await.zone());
    }
    assert_eq!(zones.len(), 2, "the header alone decided");
}

#[tokio::test]
async fn a_tampered_cookie_is_a_new_session_and_counted() {
    let (proxy, _apps) = two_zones(|_| {}).await;
    let first = ask(proxy.plain(), get("/", &[])).await;
    let mut cookie = first.cookie().unwrap();
    let last = cookie.pop().unwrap();
    cookie.push(if last == 'A' { 'B' } else { 'A' });
    for forged in [cookie.as_str(), "homing=", "homing=AAAA", "homing=\u{7f}"] {
        let Ok(value) = hyper::header::HeaderValue::from_str(forged) else { continue };
        let mut request = get("/", &[]);
        request.headers_mut().insert("cookie", value);
        let told = ask(proxy.plain(), request).await;
        assert_eq!(told.status, 200);
        assert!(told.cookie().is_some(), "{forged}");
        assert_ne!(told.received("homing-session"), first.received("homing-session"));
    }
    assert_eq!(proxy.metrics.cookies_tampered.get(), 3);
}

#[tokio::test]
async fn a_new_cookie_key_renews_and_keeps_the_session() {
    let (proxy, _apps) = two_zones(|_| {}).await;
    let first = ask(proxy.plain(), get("/", &[])).await;
    let mut rules = proxy.rules.load().as_ref().clone();
    let old = CookieKey::from_material(b"first");
    rules.keys.cookies = CookieKeys::new(CookieKey::from_material(b"second"), vec![old]);
    proxy.rules.store(Arc::new(rules));
    let renewed = ask(proxy.plain(), get("/", &[("cookie", &first.cookie().unwrap())])).await;
    assert_eq!(renewed.received("homing-session"), first.received("homing-session"));
    let cookie = renewed.cookie().expect("not renewed");
    assert_ne!(Some(&cookie), first.cookie().as_ref());
    let again = ask(proxy.plain(), get("/", &[("cookie", &cookie)])).await;
    assert_eq!(again.received("homing-session"), first.received("homing-session"));
    assert_eq!(again.cookie(), None);
}

#[tokio::test]
async fn a_verified_token_names_the_session_and_a_bad_one_none() {
    let (proxy, _apps) = two_zones(|setup| {
        setup.service().session.from =
            vec![KeySource::JwtClaim { claim: "sub".to_owned(), key_id: "main".to_owned() }];
        let key = DecodingKey::from_secret(b"token");
        let key = TokenKey::new(Algorithm::HS256, key, None, None);
        setup.rules.keys.tokens.insert("main".to_owned(), key);
    })
    .await;
    let token = |sub: &str, secret: &[u8]| {
        let claims = json!({"sub": sub, "exp": 4_102_444_800_u64});
        let key = EncodingKey::from_secret(secret);
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
        format!("Bearer {token}")
    };
    let mut zones = BTreeSet::new();
    for user in 0..12 {
        let good = token(&user.to_string(), b"token");
        let first = ask(proxy.plain(), get("/", &[("authorization", &good)])).await;
        let again = ask(proxy.plain(), get("/", &[("authorization", &good)])).await;
        assert!(first.received("homing-session").is_some());
        assert_eq!(first.received("homing-session"), again.received("homing-session"));
        assert_eq!(first.zone(), again.zone());
        zones.insert(first.zone());
    }
    assert_eq!(zones.len(), 2);
    let forged = token("1", b"another secret");
    let told = ask(proxy.plain(), get("/", &[("authorization", &forged)])).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.received("homing-session"), None);
    assert_eq!(proxy.metrics.tokens_refused.get(), 1);
}

#[tokio::test]
async fn the_app_is_told_session_epoch_and_zone() {
    let (proxy, _apps) = two_zones(|_| {}).await;
    let told = ask(proxy.plain(), get("/", &[])).await;
    assert_eq!(told.received("homing-zone").unwrap(), told.zone());
    assert_eq!(told.received("homing-epoch").unwrap(), "1");
    assert_eq!(told.received("homing-session").unwrap().len(), 32);
}
