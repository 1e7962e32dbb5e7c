//! The hooks' contract as app authors read it: the sample app of the docs is handed over, and the
//! OpenAPI file names what Homing really calls.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::{
    client::{ask, get, send},
    whole::{BRISK, Whole, settings_text},
};

struct Sample(Child);

impl Drop for Sample {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn docs(file: &str) -> String {
    format!("{}/../docs/{file}", env!("CARGO_MANIFEST_DIR"))
}

async fn sample(zone: &str) -> Option<(Sample, SocketAddr)> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("python3")
        .args([docs("examples/hooks_app.py"), port.to_string(), zone.to_owned()])
        .stdin(Stdio::null())
        .spawn()
        .ok()?;
    let (sample, address) = (Sample(child), SocketAddr::from(([127, 0, 0, 1], port)));
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return Some((sample, address));
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the sample app does not listen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sample_app_of_the_docs_is_handed_over_with_its_state() {
    let (Some(lisbon), Some(oslo)) = (sample("lisbon").await, sample("oslo").await) else {
        eprintln!("SKIPPED: python3 is not installed");
        return;
    };
    let text = settings_text(&[("lisbon", lisbon.1), ("oslo", oslo.1)], BRISK);
    let whole = Whole::start_edited(&["lisbon", "oslo"], BRISK, |_| text.clone()).await;
    let tick = async || {
        let told = ask(whole.plain(), get("/", &[("x-user", "ann")])).await;
        assert_eq!(told.status, 200, "{told:?}");
        told.json()
    };
    tick().await;
    let mut here = tick().await;
    for ticks in 3..=6 {
        let zone = here["zone"].as_str().unwrap().to_owned();
        let to = whole.other(&zone, &["lisbon", "oslo"]);
        let directive = whole.move_to(here["session"].as_str().unwrap(), to).await;
        let outcome = whole.outcome(directive).await;
        assert_eq!(outcome["outcome"], "completed", "{outcome}");
        here = tick().await;
        assert_eq!((here["zone"].as_str(), here["ticks"].as_u64()), (Some(to), Some(ticks)));
    }
}

#[tokio::test]
async fn the_sample_app_refuses_what_the_contract_does_not_have() {
    let Some((_app, address)) = sample("lisbon").await else {
        eprintln!("SKIPPED: python3 is not installed");
        return;
    };
    let hook = async |method: &str, path: &str, body: &str| {
        let path = format!("/homing/state/00ff/{path}");
        ask(address, send(method, &path, &[], body.to_owned())).await.status.as_u16()
    };
    assert_eq!(hook("POST", "fence?epoch=5", "").await, 204);
    assert_eq!(hook("POST", "fence?epoch=5", "").await, 204, "a fence may be told twice");
    assert_eq!(hook("POST", "fence?epoch=4", "").await, 409, "below the fence that stands");
    assert_eq!(hook("GET", "exports?since=0", "").await, 404);
    assert_eq!(hook("POST", "", "").await, 404);
    assert_eq!(hook("POST", "fence", "").await, 400);
    assert_eq!(hook("POST", "fence?epoch=x", "").await, 400);
    assert_eq!(hook("PUT", "import?directive=1&version=1&kind=full", "no json").await, 400);
    let serve = async |headers: &[(&str, &str)]| ask(address, get("/", headers)).await.status;
    assert_eq!(serve(&[]).await, 400);
    assert_eq!(serve(&[("homing-session", "00ff"), ("homing-epoch", "soon")]).await, 400);
    assert_eq!(serve(&[("homing-session", "00ff"), ("homing-epoch", "4")]).await, 409);
    assert_eq!(serve(&[("homing-session", "00ff"), ("homing-epoch", "5")]).await, 200);
}

#[tokio::test]
async fn the_sample_app_keeps_a_replica_apart_from_what_handoffs_stage() {
    let Some((_app, address)) = sample("lisbon").await else {
        eprintln!("SKIPPED: python3 is not installed");
        return;
    };
    let hook = async |method: &str, path: &str, body: &str| {
        let path = format!("/homing/state/00ff/{path}");
        ask(address, send(method, &path, &[], body.to_owned())).await.status.as_u16()
    };
    let replica = "directive=0&replica=true";
    let kept = format!("import?{replica}&version=3&kind=full");
    assert_eq!(hook("PUT", &kept, "[2, 2]").await, 204);
    let added = format!("import?{replica}&version=4&kind=delta");
    assert_eq!(hook("PUT", &added, "[2]").await, 204);
    // A handoff to this zone that is undone.
    assert_eq!(hook("PUT", "import?directive=9&version=2&kind=full", "[1]").await, 204);
    assert_eq!(hook("POST", "release?epoch=3", "").await, 204);
    assert_eq!(hook("POST", "fence?epoch=4&replica=true", "").await, 204);
    let headers = [("homing-session", "00ff"), ("homing-epoch", "4")];
    assert_eq!(ask(address, get("/", &headers)).await.json()["ticks"], 4);
    // Dropping a replica drops nothing that is live.
    assert_eq!(hook("PUT", &kept, "[5]").await, 204);
    assert_eq!(hook("POST", "release?epoch=0&replica=true", "").await, 204);
    assert_eq!(hook("POST", "fence?epoch=5&replica=true", "").await, 204);
    let headers = [("homing-session", "00ff"), ("homing-epoch", "5")];
    assert_eq!(ask(address, get("/", &headers)).await.json()["ticks"], 5);
}

/// Follows a reference within the document.
fn followed<'a>(document: &'a Value, node: &'a Value) -> &'a Value {
    match node["$ref"].as_str() {
        Some(path) => document.pointer(path.trim_start_matches('#')).expect(path),
        None => node,
    }
}

/// Every reference in the document leads somewhere.
fn follow_all(document: &Value, node: &Value) {
    match node {
        Value::Object(fields) => {
            assert!(!followed(document, node).is_null());
            fields.values().for_each(|field| follow_all(document, field));
        }
        Value::Array(items) => items.iter().for_each(|item| follow_all(document, item)),
        _ => {}
    }
}

#[test]
fn the_contract_names_every_hook_and_what_it_takes() {
    let text = std::fs::read_to_string(docs("hooks.openapi.yaml")).unwrap();
    let document: Value = serde_saphyr::from_str(&text).unwrap();
    follow_all(&document, &document);
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 4);
    // What the client in src/state/hooks.rs sends and reads.
    for (hook, method, asked) in [
        ("export", "get", &["since"][..]),
        ("import", "put", &["directive", "version", "kind"]),
        ("fence", "post", &["epoch"]),
        ("release", "post", &["epoch"]),
    ] {
        let path = &paths[&format!("/{{key}}/{hook}")];
        let call = &path[method];
        let both = [&path["parameters"], &call["parameters"]];
        let stated = both.iter().filter_map(|list| list.as_array()).flatten();
        let stated: Vec<_> = stated.map(|one| followed(&document, one)).collect();
        for name in asked.iter().chain(&["key"]) {
            let found = stated.iter().find(|parameter| parameter["name"] == *name);
            assert_eq!(found.expect(name)["required"], true, "{hook} {name}");
        }
        let replica = stated.iter().find(|parameter| parameter["name"] == "replica");
        assert_eq!(replica.is_none(), hook == "export", "{hook}");
        assert!(call["responses"].as_object().unwrap().len() >= 2, "{hook}");
    }
    let export = &paths["/{key}/export"]["get"]["responses"]["200"]["headers"];
    for header in ["homing-state-version", "homing-state-kind", "content-length"] {
        assert!(export[header].is_object(), "{header}");
    }
    let client = include_str!("../../src/state/hooks.rs");
    for word in ["?since=", "?directive=", "&version=", "&kind=", "?epoch=", "replica=true"] {
        assert!(client.contains(word), "the client does not send {word} any more");
    }
}
