//! The walk of the README: a notebook is written through a proxy that runs alone, its session is
//! moved by hand and by a drain, and the notebook is the same wherever it is.

use crate::run::{Jar, Role, free_ports, homing, json, wait_ready};

const ZONES: [&str; 3] = ["paris", "oregon", "tokyo"];

fn settings(ports: &[u16]) -> String {
    let zones: Vec<String> = ZONES
        .iter()
        .zip(&ports[2..])
        .map(|(name, port)| format!("  - {{ name: {name}, endpoints: [\"127.0.0.1:{port}\"] }}\n"))
        .collect();
    format!(
        "listen: [{{ address: \"127.0.0.1:{}\" }}]\nadmin: {{ address: \"127.0.0.1:{}\" }}\n\
         state_dir: state\nzones:\n{}services:\n  - name: notebook\n    session: {{ from: [{{ \
         cookie: {{ name: homing, secure: false }} }}, {{ header: x-user }}], idle: 1h }}\n    \
         state: hooks\n",
        ports[0],
        ports[1],
        zones.concat()
    )
}

#[test]
fn a_session_moves_by_hand_and_keeps_its_notebook() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(5);
    let file = dir.path().join("solo.yaml");
    std::fs::write(&file, settings(&ports)).unwrap();
    let file = file.display().to_string();
    let mut apps = Role::start(&["app", "--config", &file], &dir.path().join("app.log"));
    let proxy = Role::start(&["proxy", &file], &dir.path().join("proxy.log"));
    wait_ready(ports[1], "/readyz");
    wait_ready(ports[4], "/healthz");

    let mut jar = Jar::default();
    for line in ["milk", "tea"] {
        assert_eq!(jar.ask(ports[0], "POST", "/notebook", line).0, 200);
    }
    let here = json(&jar.ask(ports[0], "GET", "/notebook", "").1);
    let key = here["session"].as_str().unwrap().to_owned();
    let from = here["zone"].as_str().unwrap().to_owned();
    let to = *ZONES.iter().find(|zone| **zone != from).unwrap();

    let admin = format!("127.0.0.1:{}", ports[1]);
    let ask = |args: &[&str]| {
        let mut all = args.to_vec();
        all.extend(["--admin", &admin]);
        homing(&all)
    };
    // By the cookie's value: the proxy knows whose it is.
    let cookie = jar.cookie.clone().unwrap();
    let ran = ask(&["move", cookie.split_once('=').unwrap().1, to, "--wait"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains(&format!("session {key} lives in {to} now")), "{}", ran.out);
    let there = json(&jar.ask(ports[0], "GET", "/notebook/entries", "").1);
    assert_eq!((there["zone"].as_str(), there["session"].as_str()), (Some(to), Some(&*key)));
    assert_eq!(there["digest"], here["digest"]);
    assert_eq!(there["entries"][1]["text"], "tea");

    let why = ask(&["why", &key]);
    assert!(why.out.contains(&format!("home       {to} at epoch 2")), "{}", why.out);
    assert!(why.out.contains(&format!("moved      {from} to {to} (operator): completed")));
    let why = json(&ask(&["why", &key, "--output", "json"]).out);
    assert_eq!(
        (why["home"]["zone"].as_str(), why["choice"]["reason"].as_str()),
        (Some(to), Some("exception"))
    );

    let ran = ask(&["drain", to, "--wait"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, format!("{to} is empty\n").as_str()));
    let after = json(&jar.ask(ports[0], "GET", "/notebook", "").1);
    assert_ne!(after["zone"], to);
    assert_eq!(after["digest"], here["digest"]);
    let refused = ask(&["move", &key, to]);
    assert_eq!(refused.code, 1, "a draining zone takes no sessions");
    assert_eq!(ask(&["open", to]).code, 0);

    let status = json(&ask(&["status", "--output", "json"]).out);
    assert_eq!(status["placement"]["zones"].as_array().map(Vec::len), Some(3));
    let sessions = json(&ask(&["sessions", "--output", "json"]).out);
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(1));
    assert_eq!(sessions["sessions"][0]["session"], *key);

    // A raw key is hashed by the proxy, and only with its service.
    let raw = json(&ask(&["why", "bob", "--service", "notebook", "--output", "json"]).out);
    assert_eq!(raw["session"].as_str().map(str::len), Some(32));
    assert_eq!(ask(&["why", "bob"]).code, 1);
    assert_eq!(ask(&["move", &key, "nowhere"]).code, 1);

    drop(proxy);
    assert!(apps.leaves_with_its_parent());
}
