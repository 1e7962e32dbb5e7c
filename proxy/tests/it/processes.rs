//! The process itself: signals, exit codes, and death without warning.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    client::{PATIENCE, ask, get, send},
    notebook::Notebook,
    whole::{BRISK, settings_text},
};

const ZONES: [&str; 2] = ["lisbon", "oslo"];

struct Process {
    child: Child,
    plain: SocketAddr,
    admin: SocketAddr,
}

impl Process {
    /// Starts the binary and waits until it says where it listens.
    fn start(config: &std::path::Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_homing-proxy"))
            .arg(config)
            .env("RUST_LOG", "info")
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = lines.by_ref().map_while(Result::ok).find(|line| line.contains("ready"));
        let ready = ready.expect("it says that it is ready");
        let after = |mark: &str| {
            let rest = ready.split_once(mark).unwrap_or_else(|| panic!("{ready}")).1;
            let end = rest.find([']', ' ']).unwrap_or(rest.len());
            rest[..end].parse().unwrap_or_else(|_| panic!("{ready}"))
        };
        let (plain, admin) = (after("listen=["), after("admin="));
        // Or the pipe fills and the process waits.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, plain, admin }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    async fn ended(&mut self) -> Option<i32> {
        let begun = std::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn read(&self, user: &str) -> Value {
        let told = ask(self.plain, get("/", &[("x-user", user)])).await;
        assert_eq!(told.status, 200, "{told:?}");
        told.json()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_reload_drain_and_a_kill_loses_no_home() {
    let apps = [Notebook::start(ZONES[0]).await, Notebook::start(ZONES[1]).await];
    let named: Vec<_> = ZONES.iter().zip(&apps).map(|(zone, app)| (*zone, app.address)).collect();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("proxy.yaml");
    std::fs::write(&config, settings_text(&named, BRISK)).unwrap();

    let mut process = Process::start(&config);
    ask(process.plain, send("POST", "/", &[("x-user", "ann")], "one")).await;
    let told = process.read("ann").await;
    let to = if told["zone"] == ZONES[0] { ZONES[1] } else { ZONES[0] };
    let path = format!("/sessions/{}/move", told["session"].as_str().unwrap());
    let json = [("content-type", "application/json")];
    let order = send("POST", &path, &json, json!({ "zone": to }).to_string());
    assert_eq!(ask(process.admin, order).await.status, 202);
    let begun = std::time::Instant::now();
    while process.read("ann").await["zone"] != to {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Served at its new home once: from then on no death may forget it.
    process.signal("-KILL");
    process.ended().await;
    let mut process = Process::start(&config);
    let told = process.read("ann").await;
    assert_eq!((&told["zone"], &told["lines"]), (&json!(to), &json!(["one"])));

    std::fs::write(&config, "listen: broken\n").unwrap();
    process.signal("-HUP");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(process.read("ann").await["lines"], json!(["one"]));
    let page = ask(process.admin, get("/metrics", &[])).await;
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(page.contains("homing_reloads_refused_total 1"), "{page}");

    process.signal("-TERM");
    assert_eq!(process.ended().await, Some(0));
    let refused = Command::new(env!("CARGO_BIN_EXE_homing-proxy")).arg(&config).output().unwrap();
    assert_eq!(refused.status.code(), Some(78));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("listen") && text.contains("remedy"), "{text}");
}
