//! The cache of a gate: what is given out again, to whom, and what never is.

use homing_wire::CacheSpec;
use serde_json::json;

use crate::{
    app::App,
    client::{Told, ask, get, send},
    proxy::{Proxy, Setup},
    whole::Whole,
};

const KEEP: (&str, &str) = ("answer-cache-control", "max-age=60");

async fn start(change: impl FnOnce(&mut CacheSpec)) -> (Proxy, App) {
    let app = App::start("paris").await;
    let mut setup = Setup::new(&[("paris", &[app.address])]);
    let mut spec = CacheSpec::default();
    change(&mut spec);
    setup.service().cache = Some(spec);
    (setup.start(), app)
}

async fn fetch(proxy: &Proxy, path: &str, headers: &[(&str, &str)]) -> Told {
    let told = ask(proxy.plain(), get(path, headers)).await;
    assert_eq!(told.status, 200, "{told:?}");
    told
}

fn outcome(told: &Told) -> &str {
    told.header("cache-status").unwrap_or("none")
}

#[tokio::test]
async fn a_fresh_answer_is_given_again_with_its_age_and_its_target_told_apart() {
    let (proxy, app) = start(|_| {}).await;
    let first = fetch(&proxy, "/a?x=1", &[KEEP]).await;
    assert_eq!(outcome(&first), "homing; fwd=miss; stored");
    let second = fetch(&proxy, "/a?x=1", &[KEEP]).await;
    assert_eq!((outcome(&second), &second.body), ("homing; hit", &first.body));
    assert!(second.header("age").is_some(), "{second:?}");
    assert!(second.header("homing-secret").is_none(), "what is not for clients is not in a hit");
    assert_eq!(app.hits(), 1);
    fetch(&proxy, "/a?x=2", &[KEEP]).await;
    fetch(&proxy, "/a?x=1", &[KEEP, ("host", "elsewhere")]).await;
    assert_eq!(app.hits(), 3, "another query and another host are other things");
    assert_eq!(proxy.metrics.cache_hits.get(), 1);
    assert_eq!(proxy.metrics.cache_misses.get(), 3);
}

#[tokio::test]
async fn what_is_one_clients_own_is_never_kept() {
    let (proxy, app) = start(|_| {}).await;
    let own: [&[(&str, &str)]; 8] = [
        &[],
        &[("answer-cache-control", "private, max-age=60")],
        &[("answer-cache-control", "no-store")],
        &[KEEP, ("answer-set-cookie", "name=value")],
        &[KEEP, ("authorization", "Bearer mine")],
        &[KEEP, ("answer-vary", "*")],
        &[KEEP, ("cache-control", "no-store")],
        &[("answer-cache-control", "max-age=0")],
    ];
    for (index, headers) in own.iter().enumerate() {
        let path = format!("/{index}");
        for _ in 0..2 {
            let told = fetch(&proxy, &path, headers).await;
            assert!(!outcome(&told).contains("hit"), "{headers:?}: {told:?}");
        }
        assert_eq!(app.hits(), 2 * (index + 1), "{headers:?}");
    }
    let public = [("answer-cache-control", "public, max-age=60"), ("authorization", "Bearer mine")];
    fetch(&proxy, "/public", &public).await;
    assert_eq!(outcome(&fetch(&proxy, "/public", &public).await), "homing; hit");
}

#[tokio::test]
async fn the_sessions_cookie_is_each_clients_own_though_the_answer_is_everyones() {
    let (proxy, app) = start(|_| {}).await;
    let first = fetch(&proxy, "/a", &[KEEP]).await.cookie();
    let second = fetch(&proxy, "/a", &[KEEP]).await;
    assert_eq!((outcome(&second), app.hits()), ("homing; hit", 1));
    assert!(first.is_some() && second.cookie().is_some() && first != second.cookie());
}

#[tokio::test]
async fn variants_are_told_apart_by_what_the_answer_says_it_varies_by() {
    let (proxy, app) = start(|_| {}).await;
    let vary = ("answer-vary", "Accept-Language");
    for (language, hits) in [("fr", 1), ("en", 2), ("fr", 2), ("en", 2)] {
        let told = fetch(&proxy, "/a", &[KEEP, vary, ("accept-language", language)]).await;
        assert_eq!(told.received("accept-language").as_deref(), Some(language));
        assert_eq!(app.hits(), hits, "{language}");
    }
}

#[tokio::test]
async fn an_answer_past_its_time_is_checked_and_not_fetched_again() {
    let (proxy, app) = start(|_| {}).await;
    let headers = [("answer-cache-control", "max-age=1"), ("answer-etag", "\"one\"")];
    let first = fetch(&proxy, "/a", &headers).await;
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    let again = fetch(&proxy, "/a", &headers).await;
    assert_eq!(
        (outcome(&again), &again.body),
        ("homing; hit; fwd=stale; fwd-status=304", &first.body)
    );
    assert_eq!(app.hits(), 2);
    let demanded = [headers[0], headers[1], ("cache-control", "no-cache")];
    let told = fetch(&proxy, "/a", &demanded).await;
    assert_eq!((outcome(&told), app.hits()), ("homing; hit; fwd=stale; fwd-status=304", 3));
}

#[tokio::test]
async fn a_change_and_a_purge_make_it_forgotten() {
    let (proxy, app) = start(|_| {}).await;
    for variant in ["fr", "en"] {
        let vary = ("answer-vary", "accept-language");
        fetch(&proxy, "/a", &[KEEP, vary, ("accept-language", variant)]).await;
    }
    assert_eq!(app.hits(), 2);
    assert_eq!(ask(proxy.plain(), send("POST", "/a", &[], "new")).await.status, 200);
    for (variant, hits) in [("fr", 4), ("en", 5), ("en", 5)] {
        let vary = ("answer-vary", "accept-language");
        fetch(&proxy, "/a", &[KEEP, vary, ("accept-language", variant)]).await;
        assert_eq!(app.hits(), hits, "{variant}");
    }
    let refused = send("POST", "/a", &[("answer-status", "500")], "no");
    assert_eq!(ask(proxy.plain(), refused).await.status, 500);
    let facts = std::sync::Arc::clone(proxy.live.load().table.facts());
    assert_eq!(app.hits(), 6);
    let vary = ("answer-vary", "accept-language");
    fetch(&proxy, "/a", &[KEEP, vary, ("accept-language", "en")]).await;
    assert_eq!(app.hits(), 6, "a change that failed changed nothing");
    proxy.cache.purge(&facts.services[0], ["paris"].into_iter(), "shop.example", "/a");
    fetch(&proxy, "/a", &[KEEP, vary, ("accept-language", "en")]).await;
    assert_eq!(app.hits(), 7);
}

#[tokio::test]
async fn many_who_want_the_same_at_once_are_one_fetch() {
    let (proxy, app) = start(|_| {}).await;
    let address = proxy.plain();
    let asked: Vec<_> = (0..20)
        .map(|_| tokio::spawn(async move { ask(address, get("/?wait_ms=300", &[KEEP])).await }))
        .collect();
    for told in asked {
        assert_eq!(told.await.unwrap().status, 200);
    }
    assert_eq!(app.hits(), 1);
}

#[tokio::test]
async fn a_failing_app_is_covered_for_as_long_as_the_operator_says() {
    let (proxy, app) = start(|spec| spec.stale_if_error_ms = 60_000).await;
    let first = fetch(&proxy, "/a", &[("answer-cache-control", "max-age=1")]).await;
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    let failing = [("answer-cache-control", "max-age=1"), ("answer-status", "503")];
    let told = fetch(&proxy, "/a", &failing).await;
    assert_eq!((outcome(&told), &told.body), ("homing; hit; detail=stale", &first.body));
    assert_eq!(app.hits(), 2);
}

#[tokio::test]
async fn the_store_is_bounded_in_bytes_and_so_is_each_answer() {
    let (proxy, app) = start(|spec| spec.object_bytes_max = 4_096).await;
    let long = "x".repeat(5_000);
    for _ in 0..2 {
        fetch(&proxy, "/long", &[KEEP, ("x-long", &long)]).await;
    }
    assert_eq!((app.hits(), proxy.cache.store.len()), (2, 0));
    let some = "x".repeat(3_000);
    for n in 0..600 {
        fetch(&proxy, &format!("/{n}"), &[KEEP, ("x-some", &some)]).await;
    }
    let bytes = proxy.cache.store.bytes();
    assert!((1 << 19..=1 << 20).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn without_the_services_word_nothing_is_kept() {
    let app = App::start("paris").await;
    let proxy = Setup::new(&[("paris", &[app.address])]).start();
    for hits in 1..=2 {
        let told = fetch(&proxy, "/a", &[KEEP]).await;
        assert_eq!((outcome(&told), app.hits()), ("none", hits));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_purge_by_service_host_and_path() {
    let whole = Whole::start(&["lisbon"]).await;
    let purge = |service: &str| json!({ "service": service, "host": "a", "path": "/" });
    let told = whole.order("/cache/purge", purge("default/none")).await;
    assert_eq!(told.status, 404);
    assert!(told.json()["detail"].as_str().unwrap().contains("default/notes"), "{told:?}");
    let told = whole.order("/cache/purge", purge("default/notes")).await;
    assert_eq!((told.status.as_u16(), told.json()["forgotten"].as_u64()), (200, Some(0)));
}

#[tokio::test]
async fn a_head_first_and_a_range_first_leave_the_whole_answer_to_others() {
    let (proxy, app) = start(|_| {}).await;
    let head = ask(proxy.plain(), send("HEAD", "/head", &[KEEP], "")).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    let whole = fetch(&proxy, "/head", &[KEEP]).await;
    assert_eq!(whole.json()["target"], "/head");
    let again = ask(proxy.plain(), send("HEAD", "/head", &[KEEP], "")).await;
    assert_eq!((outcome(&again), again.body.len()), ("homing; hit", 0));
    let hits = app.hits();
    let ranged = get("/range", &[KEEP, ("range", "bytes=0-3")]);
    let first = ask(proxy.plain(), ranged).await;
    let whole = fetch(&proxy, "/range", &[KEEP]).await;
    assert_eq!(whole.json()["target"], "/range");
    // A part of what is kept is given as such, or the whole is; never a part as if it were whole.
    let ranged = ask(proxy.plain(), get("/range", &[KEEP, ("range", "bytes=0-3")])).await;
    for told in [&first, &ranged] {
        let part = told.status == 206 && told.header("content-range").is_some();
        assert!(part && told.body.len() == 4 || told.status == 200 && told.json().is_object());
    }
    assert!(app.hits() <= hits + 2);
}
