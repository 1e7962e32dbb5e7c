//! A Lease (coordination.k8s.io/v1): of several controls the one that holds it may scale. As in the
//! cluster's own leader election, what another holder wrote is judged by how long it has stood
//! unchanged on our own clock: no two clocks are compared.

use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::client::Api;
use crate::{clock, provider::ProviderFault};

/// How long a holder holds it without renewing it.
const HELD_S: u64 = 15;
/// Between two renewals.
const RENEW: Duration = Duration::from_secs(3);
/// The longest time another holder may have asked for and is granted.
const HELD_S_MAX: u64 = 600;

/// The Lease as it is known here.
pub(super) struct Lease {
    name: String,
    /// Who we are: the host's name and a word that is ours alone.
    me: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Until when it is ours.
    until: Option<Instant>,
    /// What another holder wrote, and since when it has stood so.
    seen: Option<(String, Instant)>,
    holder: String,
    news: Vec<String>,
}

#[derive(Deserialize)]
struct Found {
    metadata: Value,
    spec: Option<Spec>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<u64>,
    acquire_time: Option<String>,
    renew_time: Option<String>,
    lease_transitions: Option<u64>,
}

impl Lease {
    pub(super) fn new(name: String) -> Self {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy().into_owned();
        let word = blake3::hash(format!("{} {}", std::process::id(), clock::now_ms()).as_bytes());
        let me = format!("{host}_{}", &word.to_hex()[..12]);
        Self { name, me, state: Mutex::default() }
    }

    /// Whether it is ours now; who has it otherwise.
    pub(super) fn is_held(&self) -> Result<(), String> {
        let state = self.state.lock();
        if state.until.is_some_and(|until| until > Instant::now()) {
            return Ok(());
        }
        let holder = if state.holder.is_empty() { "nobody yet" } else { &state.holder };
        Err(format!("the lease {} is held by {holder}: only its holder scales", self.name))
    }

    pub(super) fn news(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().news)
    }

    /// Whether what another wrote has stood for as long as it asked for.
    fn has_ended(&self, spec: &Spec) -> bool {
        let mut state = self.state.lock();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        state.holder.clone_from(&holder);
        if holder.is_empty() {
            return true;
        }
        let written = format!(
            "{holder} {} {}",
            spec.renew_time.as_deref().unwrap_or_default(),
            spec.lease_transitions.unwrap_or_default()
        );
        let since = match &state.seen {
            Some((before, since)) if *before == written => *since,
            _ => {
                let now = Instant::now();
                state.seen = Some((written, now));
                now
            }
        };
        let held = spec.lease_duration_seconds.unwrap_or(HELD_S).min(HELD_S_MAX);
        since.elapsed() > Duration::from_secs(held)
    }

    fn takes(&self, from: Instant) {
        let mut state = self.state.lock();
        let was = state.until.replace(from + Duration::from_secs(HELD_S));
        state.holder.clone_from(&self.me);
        if was.is_none_or(|until| until < from) && state.news.len() < 8 {
            let words = format!("holds the lease {}", self.name);
            state.news.push(words);
        }
    }

    fn path(&self, api: &Api) -> String {
        let namespace = &api.namespace;
        format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{}", self.name)
    }

    fn body(&self, metadata: Value, spec: &Spec, holder: &str, taken: bool) -> Value {
        let now = micro_time();
        let transitions = spec.lease_transitions.unwrap_or_default() + u64::from(taken);
        let acquired = if taken { None } else { spec.acquire_time.clone() };
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": HELD_S,
                "acquireTime": acquired.unwrap_or_else(|| now.clone()),
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        })
    }
}

/// Takes it when it may, and renews it, until aborted.
pub(super) async fn hold(api: Arc<Api>, lease: Arc<Lease>) {
    loop {
        if let Err(fault) = turn(&api, &lease).await {
            tracing::warn!(%fault, lease = lease.name, "the lease was not renewed");
        }
        sleep(RENEW).await;
    }
}

async fn turn(api: &Api, lease: &Lease) -> Result<(), ProviderFault> {
    // It is ours from before it was asked for: answers may be late.
    let from = Instant::now();
    let path = lease.path(api);
    let (status, body) = api.get(&path).await?;
    let (method, path, object) = match status {
        StatusCode::NOT_FOUND => {
            let parent = path.rsplit_once('/').map_or(path.as_str(), |(parent, _)| parent);
            let metadata = json!({ "name": lease.name, "namespace": api.namespace });
            let object = lease.body(metadata, &Spec::default(), &lease.me, false);
            (Method::POST, parent.to_owned(), object)
        }
        status if status.is_success() => {
            let found: Found = api.read(&body)?;
            let spec = found.spec.unwrap_or_default();
            let mine = spec.holder_identity.as_deref() == Some(lease.me.as_str());
            if !mine {
                // Whoever wrote over ours has it now, whatever time we had left.
                lease.state.lock().until = None;
                if !lease.has_ended(&spec) {
                    return Ok(());
                }
            }
            // The version that was read goes with it: whoever was quicker wins.
            (Method::PUT, path, lease.body(found.metadata, &spec, &lease.me, !mine))
        }
        status => return Err(refused(api, status, &body)),
    };
    let (status, body) = api.write(method, &path, &object).await?;
    match status {
        StatusCode::CONFLICT => Ok(()),
        status if status.is_success() => {
            lease.takes(from);
            Ok(())
        }
        status => Err(refused(api, status, &body)),
    }
}

/// Gives it back, so that the next need not wait for it to end.
pub(super) async fn release(api: &Api, lease: &Lease) {
    if lease.is_held().is_err() {
        return;
    }
    lease.state.lock().until = None;
    let path = lease.path(api);
    let given = async {
        let (_, body) = api.get(&path).await?;
        let found: Found = api.read(&body)?;
        let spec = found.spec.unwrap_or_default();
        if spec.holder_identity.as_deref() == Some(lease.me.as_str()) {
            let object = lease.body(found.metadata, &spec, "", false);
            api.write(Method::PUT, &path, &object).await?;
        }
        Ok::<(), ProviderFault>(())
    };
    if let Err(fault) = given.await {
        tracing::debug!(%fault, "the lease ends by itself");
    }
}

fn refused(api: &Api, status: StatusCode, body: &[u8]) -> ProviderFault {
    let told = serde_json::from_slice::<Value>(body).ok();
    let words = told.and_then(|told| told["message"].as_str().map(str::to_owned));
    api.status(status, crate::provider::cut_short(&words.unwrap_or_default()))
}

/// Now as the API's MicroTime: six digits behind the second, no more and no fewer.
fn micro_time() -> String {
    clock::rfc3339(clock::now_ms()).replace('Z', "000Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_six_digits_behind_the_second() {
        let now = micro_time();
        let (_, behind) = now.split_once('.').expect("a fraction");
        assert_eq!((behind.len(), behind.ends_with("000Z")), (7, true), "{now}");
    }
}
