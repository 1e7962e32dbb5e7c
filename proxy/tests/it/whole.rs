//! A whole proxy as an operator would run it, without control, before notebook apps; and the
//! admin's side of it.

use std::{net::SocketAddr, path::Path, time::Duration};

use homing_proxy::{Proxy, Running, config::Settings};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    client::{PATIENCE, Told, ask, get, send},
    notebook::Notebook,
};

pub(crate) struct Whole {
    pub(crate) running: Option<Running>,
    pub(crate) apps: Vec<Notebook>,
    pub(crate) dir: TempDir,
    text: String,
}

/// A settings file over these zones, with sessions by the header `x-user`.
pub(crate) fn settings_text(zones: &[(&str, SocketAddr)], more: &str) -> String {
    let zones: String = zones
        .iter()
        .map(|(name, address)| {
            let capacity = "capacity: { sessions: 1000 }";
            format!("  - {{ name: {name}, endpoints: [\"{address}\"], {capacity} }}\n")
        })
        .collect();
    format!(
        "listen: [{{ address: \"127.0.0.1:0\" }}]\n\
         admin: {{ address: \"127.0.0.1:0\" }}\n\
         limits: {{ threads: 2 }}\n\
         drain: {{ delay: 10ms, patience: 2s }}\n\
         zones:\n{zones}\
         services:\n\
         \x20 - name: notes\n\
         \x20   match: {{ path: / }}\n\
         \x20   session: {{ from: [{{ header: x-user }}], idle: 1h }}\n\
         \x20   state: {{ hooks: {{ timeout: 400ms, max: 64KiB }} }}\n\
         {more}"
    )
}

/// Handoffs that do not wait for a pause in a test's hurry.
pub(crate) const BRISK: &str = "policy:\n  cut: { freeze_max: 300ms, gap_wait: 50ms }\n";

impl Whole {
    pub(crate) async fn start(zones: &[&'static str]) -> Self {
        Self::start_with(zones, BRISK).await
    }

    /// With another policy.
    pub(crate) async fn start_with(zones: &[&'static str], more: &str) -> Self {
        Self::start_edited(zones, more, |text| text).await
    }

    /// With a settings file that is edited first.
    pub(crate) async fn start_edited(
        zones: &[&'static str],
        more: &str,
        edit: impl Fn(String) -> String,
    ) -> Self {
        let mut apps = Vec::new();
        for zone in zones {
            apps.push(Notebook::start(zone).await);
        }
        let named: Vec<_> =
            zones.iter().zip(&apps).map(|(zone, app)| (*zone, app.address)).collect();
        let text = edit(settings_text(&named, more));
        let dir = tempfile::tempdir().unwrap();
        let running = Some(start(&text, dir.path()));
        Self { running, apps, dir, text }
    }

    /// The same proxy after a stop, or as after a kill if the running one was forgotten.
    pub(crate) fn restart(&mut self) {
        drop(self.running.take());
        self.running = Some(start(&self.text, self.dir.path()));
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub(crate) fn plain(&self) -> SocketAddr {
        self.running().addresses()[0]
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.running().admin_address()
    }

    pub(crate) async fn write(&self, user: &str, line: &str) -> Told {
        ask(self.plain(), send("POST", "/", &[("x-user", user)], line.to_owned())).await
    }

    pub(crate) async fn read(&self, user: &str) -> Value {
        let told = ask(self.plain(), get("/", &[("x-user", user)])).await;
        assert_eq!(told.status, 200, "{told:?}");
        told.json()
    }

    pub(crate) async fn look(&self, path: &str) -> Value {
        let told = ask(self.admin(), get(path, &[])).await;
        assert_eq!(told.status, 200, "{path}: {told:?}");
        told.json()
    }

    pub(crate) async fn order(&self, path: &str, body: Value) -> Told {
        let json = [("content-type", "application/json")];
        ask(self.admin(), send("POST", path, &json, body.to_string())).await
    }

    pub(crate) async fn move_to(&self, session: &str, zone: &str) -> u64 {
        let told = self.order(&format!("/sessions/{session}/move"), json!({ "zone": zone })).await;
        assert_eq!(told.status, 202, "{told:?}");
        told.json()["directive"].as_u64().unwrap()
    }

    /// The outcome of a directive, once it is known.
    pub(crate) async fn outcome(&self, directive: u64) -> Value {
        let mut found = Value::Null;
        self.until("an outcome", async || {
            let all = self.look("/outcomes?limit=1000").await;
            let all = all["outcomes"].as_array().unwrap().clone();
            let its = all.into_iter().find(|outcome| outcome["directive"] == directive);
            found = its.unwrap_or_default();
            !found.is_null()
        })
        .await;
        found
    }

    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let begun = std::time::Instant::now();
        while !holds().await {
            assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The one session that lives here, and its zone.
    pub(crate) async fn only_session(&self) -> (String, String) {
        let all = self.look("/sessions?limit=10").await;
        let live = |session: &&Value| session["standing"] == "home";
        let session = all["sessions"].as_array().unwrap().iter().find(live).unwrap().clone();
        let text = |name: &str| session[name].as_str().unwrap().to_owned();
        (text("session"), text("zone"))
    }

    pub(crate) fn other(&self, zone: &str, zones: &[&'static str]) -> &'static str {
        zones.iter().find(|other| **other != zone).unwrap()
    }
}

fn start(text: &str, dir: &Path) -> Running {
    let settings = Settings::parse(text, dir).unwrap_or_else(|faults| panic!("{faults}"));
    Proxy::start(settings).unwrap()
}
