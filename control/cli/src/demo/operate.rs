//! What the demo asks of the running processes, as an operator would: over control's REST, the
//! proxy's metrics and the apps' own pages.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use crate::app::{Execution, parse_executions};
use crate::rest::{Ask, Peer, Rest};
use crate::trouble::Trouble;

use super::scene::Addresses;

/// Handoffs as control's history and the proxy's counters tell them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Handoffs {
    /// Directives issued.
    pub started: u64,
    /// The target owns the session.
    pub completed: u64,
    /// The session goes on at home.
    pub undone: u64,
    /// Not ended yet.
    pub open: u64,
    /// Pauses of completed ones, microseconds.
    pub pauses_us: Vec<u64>,
    /// Requests that waited for a completed one.
    pub held: u64,
    /// State bytes that moved.
    pub state_bytes: u64,
    /// Undone ones by cause.
    pub causes: std::collections::BTreeMap<String, u64>,
    /// Issued, by reason.
    pub reasons: std::collections::BTreeMap<String, u64>,
}

impl Handoffs {
    fn count(&mut self, outcome: &Value) {
        *self.reasons.entry(word(&outcome["reason"])).or_default() += 1;
        if outcome["state"] == "undone" {
            self.undone += 1;
            *self.causes.entry(word(&outcome["why"])).or_default() += 1;
            return;
        }
        self.completed += 1;
        let figure = |name: &str| outcome["figures"][name].as_u64();
        self.pauses_us.extend(figure("pause_us"));
        self.held += figure("held").unwrap_or_default();
        self.state_bytes += figure("state_bytes").unwrap_or_default();
    }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or("unknown").to_owned()
}

/// Everybody who is asked.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The proxy's admin side.
    pub admin: Rest,
    /// Control.
    pub control: Rest,
    /// The zones' apps.
    pub apps: Vec<Rest>,
}

impl Operator {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// Never for addresses.
    pub fn new(at: &Addresses) -> Result<Self, Trouble> {
        let url = |address| format!("http://{address}");
        let app = |address| Rest::new(Peer::App, &url(address), None);
        Ok(Self {
            admin: Rest::new(Peer::Proxy, &url(&at.admin), None)?,
            control: Rest::new(Peer::Control, &url(&at.api), None)?,
            apps: at.apps.iter().map(app).collect::<Result<_, _>>()?,
        })
    }

    /// Where the zones' apps listen.
    ///
    /// # Errors
    /// Never for addresses that were addresses before.
    pub fn app_addresses(&self) -> Result<Vec<SocketAddr>, Trouble> {
        let address = |app: &Rest| app.url().trim_start_matches("http://").parse();
        let all: Result<_, _> = self.apps.iter().map(address).collect();
        all.map_err(|_| Trouble::failure("an app has no address"))
    }

    /// Sends a document to control, whatever is in force there.
    ///
    /// # Errors
    /// If control refuses it.
    pub async fn push(&self, document: &str) -> Result<(), Trouble> {
        let mut ask =
            Ask::send(Method::PUT, "/v1/document").body("application/yaml", document.to_owned());
        let now = self.control.raw(Ask::get("/v1/document")).await?;
        if let Some(etag) = now.header("etag") {
            ask = ask.header("if-match", etag);
        }
        self.control.ask(ask).await.map(drop)
    }

    /// The table's version in force, term first.
    ///
    /// # Errors
    /// If control does not say.
    pub async fn version(&self) -> Result<(u64, u64), Trouble> {
        let table = self.control.get_json("/v1/table").await?;
        let part = |name: &str| table[name].as_u64();
        let version = part("term").zip(part("number"));
        version.ok_or_else(|| Trouble::failure("control does not say its table's version"))
    }

    /// Sessions that live in a zone, as its gate counts them.
    ///
    /// # Errors
    /// If the proxy does not say.
    pub async fn sessions_in(&self, zone: &str) -> Result<u64, Trouble> {
        let placement = self.admin.get_json("/placement").await?;
        let zones = placement["zones"].as_array().map_or(&[][..], Vec::as_slice);
        let zone = zones.iter().find(|z| z["name"] == zone);
        let sessions = zone.and_then(|zone| zone["sessions"].as_u64());
        sessions.ok_or_else(|| Trouble::failure("the proxy does not say where sessions live"))
    }

    /// Drains a zone.
    ///
    /// # Errors
    /// If control refuses.
    pub async fn drain(&self, zone: &str) -> Result<(), Trouble> {
        let path = format!("/v1/zones/{zone}/drain");
        self.control.ask(Ask::send(Method::POST, &path)).await.map(drop)
    }

    /// Opens a drained zone again.
    ///
    /// # Errors
    /// If control refuses.
    pub async fn open(&self, zone: &str) -> Result<(), Trouble> {
        let path = format!("/v1/zones/{zone}/open");
        self.control.ask(Ask::send(Method::POST, &path)).await.map(drop)
    }

    /// Waits until no handoff is under way.
    ///
    /// # Errors
    /// If control does not answer.
    pub async fn settle(&self, longest: Duration) -> Result<(), Trouble> {
        let began = Instant::now();
        while began.elapsed() < longest {
            let directives = self.control.get_json("/v1/directives?limit=1").await?;
            if directives["open"] == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// All handoffs so far, from control's history.
    ///
    /// # Errors
    /// If control does not answer.
    pub async fn handoffs(&self) -> Result<Handoffs, Trouble> {
        let mut handoffs = Handoffs::default();
        let mut cursor = 0;
        loop {
            let page = format!("/v1/outcomes?cursor={cursor}&limit=1000");
            let page = self.control.get_json(&page).await?;
            let ended = page["outcomes"].as_array().map_or(&[][..], Vec::as_slice);
            ended.iter().for_each(|outcome| handoffs.count(outcome));
            let next = page["next"].as_u64().unwrap_or(cursor);
            if ended.is_empty() || next == cursor {
                break;
            }
            cursor = next;
        }
        let directives = self.control.get_json("/v1/directives?limit=1000").await?;
        handoffs.open = directives["open"].as_u64().unwrap_or_default();
        for open in directives["directives"].as_array().into_iter().flatten() {
            *handoffs.reasons.entry(word(&open["reason"])).or_default() += 1;
        }
        handoffs.started = handoffs.completed + handoffs.undone + handoffs.open;
        Ok(handoffs)
    }

    /// Every execution of every zone, and how many were not recorded.
    ///
    /// # Errors
    /// If an app does not answer as it should.
    pub async fn executions(&self) -> Result<(Vec<Vec<Execution>>, u64), Trouble> {
        let (mut zones, mut dropped) = (Vec::new(), 0);
        for app in &self.apps {
            let mut record = Vec::new();
            loop {
                let path = format!("/homing/app/executions?skip={}", record.len());
                let reply = app.ask(Ask::get(&path)).await?;
                let page = parse_executions(&reply.text())
                    .ok_or_else(|| Trouble::failure("a zone's record cannot be read"))?;
                if page.is_empty() {
                    dropped +=
                        reply.header("x-record-dropped").map_or(0, |n| n.parse().unwrap_or(0));
                    break;
                }
                record.extend(page);
            }
            zones.push(record);
        }
        Ok((zones, dropped))
    }

    /// How long one request occupies a place in a zone.
    ///
    /// # Errors
    /// If the app does not take it.
    pub async fn set_work(&self, zone: usize, us: u64) -> Result<(), Trouble> {
        let path = format!("/homing/app/work?us={us}");
        self.apps[zone].ask(Ask::send(Method::POST, &path)).await.map(drop)
    }
}
