//! What apps and clients are told, and what neither may claim.

use homing_proxy::{
    access_log::{AccessLog, Destination},
    http::forwarded::TrustedPeers,
};

use crate::{
    app::App,
    client::{ask, get},
    proxy::Setup,
};

#[tokio::test]
async fn a_clients_claims_are_replaced() {
    let app = App::start("paris").await;
    let proxy = Setup::new(&[("paris", &[app.address])]).start();
    let claims = [
        ("homing-session", "00000000000000000000000000000000"),
        ("homing-anything", "x"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=203.0.113.9"),
    ];
    let told = ask(proxy.plain(), get("/", &claims)).await;
    assert_ne!(told.received("homing-session").unwrap(), claims[0].1);
    assert_eq!(told.received("homing-anything"), None);
    assert_eq!(told.received("x-forwarded-for").unwrap(), "127.0.0.1");
    assert_eq!(told.received("x-forwarded-proto").unwrap(), "http");
    assert_eq!(told.received("x-forwarded-host").unwrap(), "shop.example");
    assert_eq!(told.received("host").unwrap(), "shop.example");
    let forwarded = told.received("forwarded").unwrap();
    assert_eq!(forwarded, "for=127.0.0.1;proto=http;host=\"shop.example\"");
    assert_eq!(told.received("via").unwrap(), "1.1 homing");
}

#[tokio::test]
async fn a_trusted_fronts_claims_are_continued() {
    let app = App::start("paris").await;
    let mut setup = Setup::new(&[("paris", &[app.address])]);
    setup.rules.trusted = TrustedPeers::new(vec!["127.0.0.1".parse().unwrap()]);
    let proxy = setup.start();
    let claims = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https")];
    let told = ask(proxy.plain(), get("/", &claims)).await;
    assert_eq!(told.received("x-forwarded-for").unwrap(), "203.0.113.9, 127.0.0.1");
    assert_eq!(told.received("x-forwarded-proto").unwrap(), "https");
}

#[tokio::test]
async fn the_session_cookie_stays_between_client_and_proxy() {
    let app = App::start("paris").await;
    let proxy = Setup::new(&[("paris", &[app.address])]).start();
    let first = ask(proxy.plain(), get("/", &[])).await;
    assert_eq!(first.received("cookie"), None);
    let set = first.header("set-cookie").unwrap();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax") && set.contains("Path=/"));
    let both = format!("theme=dark; {}; lang=fr", first.cookie().unwrap());
    let told = ask(proxy.plain(), get("/", &[("cookie", &both)])).await;
    assert_eq!(told.received("cookie").unwrap(), "theme=dark; lang=fr");
}

#[tokio::test]
async fn only_who_may_ask_is_told_why() {
    let app = App::start("paris").await;
    let mut setup = Setup::new(&[("paris", &[app.address])]);
    setup.rules.admin_token = Some("admin-token".to_owned());
    let proxy = setup.start();
    for asked in ["1", "wrong", ""] {
        let told = ask(proxy.plain(), get("/", &[("homing-why", asked)])).await;
        assert_eq!(told.header("homing-zone"), None);
        assert_eq!(told.header("homing-secret"), None, "the app's own homing header got out");
    }
    let told = ask(proxy.plain(), get("/", &[("homing-why", "admin-token")])).await;
    assert_eq!(told.header("homing-zone"), Some("paris"));
    assert_eq!(told.header("homing-reason"), Some("nearest"));
    assert!(told.header("server-timing").unwrap().starts_with("hold;dur=0"));
    assert_eq!(told.received("homing-why"), None);
}

#[tokio::test]
async fn request_ids_are_kept_or_made() {
    let app = App::start("paris").await;
    let proxy = Setup::new(&[("paris", &[app.address])]).start();
    let kept = ask(proxy.plain(), get("/", &[("x-request-id", "abc-1")])).await;
    assert_eq!(kept.received("x-request-id").as_deref(), Some("abc-1"));
    assert_eq!(kept.header("x-request-id"), Some("abc-1"));
    let made = ask(proxy.plain(), get("/", &[("x-request-id", "a b\"c")])).await;
    assert_eq!(made.received("x-request-id").unwrap().len(), 32);
}

#[tokio::test]
async fn each_request_is_one_line_in_the_access_log_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (log, writer) = AccessLog::open(Destination::File(path.clone())).unwrap();
    let app = App::start("paris").await;
    let mut setup = Setup::new(&[("paris", &[app.address])]);
    setup.log = Some(log);
    let proxy = setup.start();
    let first = ask(proxy.plain(), get("/cart?token=hush", &[])).await;
    let cookie = first.cookie().unwrap();
    ask(proxy.plain(), get("/cart", &[("cookie", &cookie)])).await;
    proxy.stop().await;
    tokio::task::spawn_blocking(|| writer.finish()).await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("hush") && !text.contains(cookie.split_once('=').unwrap().1));
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0]["status"], 200);
    assert_eq!(lines[0]["path"], "/cart");
    assert_eq!(lines[0]["zone"], "paris");
    assert_eq!(lines[0]["session"], lines[1]["session"]);
    assert_eq!(lines[1]["reason"], "bucket");
}
