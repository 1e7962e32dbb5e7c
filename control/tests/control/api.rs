//! What operators meet.

use homing_control::api::auth::Role;

use crate::world::{
    self, DOCUMENT, THREE_ZONES, ask, exchange, get, post, push, start, start_with,
};

const KEY: &str = "00000000000000000000000000000001";

#[tokio::test(flavor = "multi_thread")]
async fn a_document_goes_in_and_comes_back_in_either_form() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    assert_eq!(get(control.api, "/v1/document").await.status, 404);
    assert_eq!(get(control.api, "/readyz").await.status, 503);
    assert_eq!(get(control.api, "/livez").await.status, 200);

    let put = push(control.api, None, DOCUMENT).await;
    assert_eq!(put.status, 200, "{put:?}");
    let etag = put.header("etag").unwrap();
    assert_eq!(put.json()["zones_added"], serde_json::json!(["paris", "oregon"]));
    assert_eq!(get(control.api, "/readyz").await.status, 200);

    let yaml = get(control.api, "/v1/document").await;
    assert_eq!(yaml.header("content-type").unwrap(), "application/yaml");
    assert_eq!(yaml.header("etag").unwrap(), etag);
    let json = ask(control.api, "GET", "/v1/document", "accept: application/json\r\n", "").await;
    assert_eq!(json.json()["zones"][0]["name"], "paris");
    let not_modified =
        ask(control.api, "GET", "/v1/document", &format!("if-none-match: {etag}\r\n"), "").await;
    assert_eq!(not_modified.status, 304);

    // What was served is taken back and changes nothing, in either form.
    let same = push(control.api, Some(&etag), &yaml.body).await;
    assert_eq!(same.json()["changed"], false);
    let headers = format!("content-type: application/json\r\nif-match: {etag}\r\n");
    let same = ask(control.api, "PUT", "/v1/document", &headers, &json.body).await;
    assert_eq!(same.json()["changed"], false, "{same:?}");
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_replaced_only_by_who_knows_it() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    let first = push(control.api, None, DOCUMENT).await.header("etag").unwrap();
    let missing = push(control.api, None, THREE_ZONES).await;
    assert_eq!(missing.status, 428);
    assert_eq!(missing.header("content-type").unwrap(), "application/problem+json");

    let dry = format!("content-type: application/yaml\r\nif-match: {first}\r\n");
    let dry = ask(control.api, "PUT", "/v1/document?dryRun=true", &dry, THREE_ZONES).await;
    assert_eq!(dry.json()["dry_run"], true);
    assert_eq!(dry.json()["zones_added"], serde_json::json!(["tokyo"]));
    assert!(dry.json()["buckets_moved"].as_u64().unwrap() > 20_000);
    assert_eq!(get(control.api, "/v1/table").await.json()["zones"], 2);

    let second = push(control.api, Some(&first), THREE_ZONES).await;
    assert_eq!(second.status, 200, "{second:?}");
    let stale = push(control.api, Some(&first), DOCUMENT).await;
    assert_eq!(stale.status, 412);
    assert_eq!(stale.json()["etag"], second.json()["etag"]);
    // Ids follow names, whatever the order in the document.
    let zones = get(control.api, "/v1/zones").await.json();
    let names: Vec<_> = (0..3).map(|n| zones["zones"][n]["name"].clone()).collect();
    assert_eq!(names, ["paris", "oregon", "tokyo"]);
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_document_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    let broken = "zones:\n  - { name: paris, endpoint: [a:1], price: { cpu_hour: -1 } }\n\
                  services:\n  - { name: x, session: { from: [{ header: h }], idle: 5 } }\n";
    let refused = push(control.api, None, broken).await;
    assert_eq!(refused.status, 422);
    let problem = refused.json();
    assert_eq!(problem["type"], "/problems/invalid-document");
    let errors = problem["errors"].as_array().unwrap();
    assert!(errors.len() >= 3, "{errors:?}");
    for error in errors {
        assert!(error["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()));
        assert!(error["pointer"].is_string() && error["line"].as_u64().is_some());
    }
    assert_eq!(get(control.api, "/v1/document").await.status, 404);
    let plain = ask(control.api, "PUT", "/v1/document", "content-type: text/plain\r\n", "x").await;
    assert_eq!(plain.status, 415);
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_is_replaced_alone() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    push(control.api, None, DOCUMENT).await;
    let policy = ask(control.api, "GET", "/v1/policy", "accept: application/json\r\n", "").await;
    let etag = policy.header("etag").unwrap();
    assert_eq!(policy.json()["act"], "shadow");
    let headers = format!("content-type: application/json\r\nif-match: {etag}\r\n");
    let wrong = ask(control.api, "PUT", "/v1/policy", &headers, r#"{"act": "perhaps"}"#).await;
    assert_eq!(wrong.status, 422);
    assert_eq!(wrong.json()["errors"][0]["pointer"], "/policy/act");
    let right = ask(control.api, "PUT", "/v1/policy", &headers, r#"{"act": "on"}"#).await;
    assert_eq!(right.status, 200, "{right:?}");
    assert_eq!(get(control.api, "/v1/status").await.json()["act"], "on");
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_is_drained_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    push(control.api, None, DOCUMENT).await;
    let drained = post(control.api, "/v1/zones/oregon/drain", "").await;
    assert_eq!(drained.status, 202);
    assert_eq!(drained.json()["intake"], "draining");
    assert_eq!(drained.json()["buckets"], 0);
    let zone = get(control.api, "/v1/zones/oregon").await.json();
    assert_eq!((&zone["intake"], &zone["intake_by"]), (&"draining".into(), &"operator".into()));
    assert_eq!(get(control.api, "/v1/zones/oregon/drain").await.json()["state"], "empty");

    let opened = post(control.api, "/v1/zones/oregon/open", "").await;
    assert_eq!(opened.json()["state"], "open");
    assert!(opened.json()["buckets"].as_u64().unwrap() > 30_000);
    let body = r#"{"intake":"closed"}"#;
    let json = "content-type: application/json\r\n";
    let closed = ask(control.api, "PATCH", "/v1/zones/oregon", json, body).await;
    assert_eq!(closed.json()["intake"], "closed");
    assert_eq!(post(control.api, "/v1/zones/nowhere/drain", "").await.status, 404);
    let unknown = ask(control.api, "PATCH", "/v1/zones/oregon", json, r#"{"intak":"open"}"#).await;
    assert_eq!(unknown.status, 400);
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_issued_once_however_often_it_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    push(control.api, None, DOCUMENT).await;
    let home = get(control.api, &format!("/v1/sessions/{KEY}/why")).await.json();
    let to = if home["zone"] == "paris" { "oregon" } else { "paris" };
    let path = format!("/v1/sessions/{KEY}/move");
    let body = format!(r#"{{"zone":"{to}"}}"#);
    let headers = "content-type: application/json\r\nidempotency-key: once\r\n";

    let dry = ask(control.api, "POST", &format!("{path}?dryRun=true"), headers, &body).await;
    assert_eq!(dry.status, 200, "{dry:?}");
    let first = ask(control.api, "POST", &path, headers, &body).await;
    assert_eq!(first.status, 202, "{first:?}");
    let again = ask(control.api, "POST", &path, headers, &body).await;
    assert_eq!(again.json()["directive"], first.json()["directive"]);
    assert_eq!(again.json()["repeated"], true);
    let other = ask(control.api, "POST", &path, headers, r#"{"zone":"nowhere"}"#).await;
    assert_eq!(other.status, 422);
    assert_eq!(post(control.api, &path, &body).await.status, 409);

    let id = first.json()["directive"].clone();
    let open = get(control.api, &format!("/v1/directives/{id}")).await.json();
    assert_eq!((&open["state"], &open["reason"]), (&"open".into(), &"operator".into()));
    let list = get(control.api, "/v1/directives").await.json();
    assert_eq!(list["open"], 1);
    assert_eq!(list["directives"][0]["session"], KEY);
    assert_eq!(get(control.api, "/v1/directives/999").await.status, 404);
    assert_eq!(post(control.api, "/v1/sessions/short/move", &body).await.status, 400);
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_nothing_is_told_and_a_reader_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let control = start_with(folder.path(), |settings| {
        settings.tokens = vec![
            world::token(Role::Read, "a secret for reading"),
            world::token(Role::Write, "a secret for writing"),
        ];
    })
    .await;
    let refused = get(control.api, "/v1/status").await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").is_some());
    assert_eq!(get(control.api, "/metrics").await.status, 401);
    assert_eq!(get(control.api, "/livez").await.status, 200);
    let wrong = ask(control.api, "GET", "/v1/status", "authorization: Bearer no\r\n", "").await;
    assert_eq!(wrong.status, 401);
    let reader = "authorization: Bearer a secret for reading\r\ncontent-type: application/yaml\r\n";
    assert_eq!(ask(control.api, "GET", "/v1/status", reader, "").await.status, 200);
    assert_eq!(ask(control.api, "PUT", "/v1/document", reader, DOCUMENT).await.status, 403);
    let writer = "authorization: Bearer a secret for writing\r\ncontent-type: application/yaml\r\n";
    assert_eq!(ask(control.api, "PUT", "/v1/document", writer, DOCUMENT).await.status, 200);
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn web_pages_and_floods_are_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let control = start_with(folder.path(), |settings| settings.requests_per_second = 5).await;
    let page = "origin: http://evil.example\r\ncontent-type: application/yaml\r\n";
    assert_eq!(ask(control.api, "PUT", "/v1/document", page, DOCUMENT).await.status, 403);
    let mut refused = 0;
    for _ in 0..30 {
        refused += u32::from(get(control.api, "/v1/status").await.status == 429);
    }
    assert!(refused > 0);
    assert_eq!(get(control.api, "/livez").await.status, 200);
    control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_its_bound_is_refused_before_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(folder.path()).await;
    let yaml = "content-type: application/yaml\r\ncontent-length: 9000000\r\n";
    let refused = exchange(control.api, "PUT /v1/document HTTP/1.1", yaml, "").await;
    assert_eq!(refused.status, 413, "{refused:?}");
    let json = "content-type: application/json\r\ncontent-length: 70000\r\n";
    let path = format!("POST /v1/sessions/{KEY}/move HTTP/1.1");
    assert_eq!(exchange(control.api, &path, json, "").await.status, 413);
    control.shutdown().await;
}

#[test]
fn the_description_is_the_one_checked_in() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi/control.json");
    let made = homing_control::api::openapi();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &made).expect("it can be written");
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/openapi/control.json is not what the routes say; \
         UPDATE_OPENAPI=1 cargo test -p homing-control writes it anew"
    );
}
