//! The watch: what a Service's EndpointSlices are, kept up to date by the stream of their changes.
//! A stream that ends is taken up where it was; one that cannot be is begun again with a whole
//! list. A view that nobody has heard of for long is a fault, never an empty list.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use homing_wire::UpstreamProtocol;
use http_body_util::{BodyExt as _, Collected, Limited};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::{
    client::Api,
    slices::{PodEndpoint, Port, Slice, SliceList},
};
use crate::{
    clock,
    provider::{Provided, ProviderFault},
};

/// How long a stream stays open; the server ends it then.
const STREAM_S: u64 = 30;
/// Beyond that it is taken for dead.
const SILENT: Duration = Duration::from_secs(STREAM_S + 5);
/// A view is believed so long after the cluster was last heard of.
const BELIEVED: Duration = Duration::from_secs(60);
/// Bytes of one event.
const EVENT_BYTES_MAX: usize = 4 << 20;
/// Slices of a page, and in all; a slice has 100 endpoints unless the cluster is set otherwise.
const PAGE: usize = 100;
const SLICES_MAX: usize = 1_000;
/// After a fault, at least and at most.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// News that wait to be asked for.
const NEWS_MAX: usize = 16;

/// What is known of a Service.
pub(super) struct View {
    service: String,
    port: Option<Port>,
    protocol: UpstreamProtocol,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    slices: BTreeMap<String, Slice>,
    version: String,
    heard: Option<Instant>,
    /// Why the cluster cannot be heard at the moment.
    problem: Option<String>,
    news: Vec<String>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

/// How a stream ended.
enum Ended {
    /// It may be taken up where it was.
    Resumable,
    /// The server has forgotten what was before: a whole list is needed.
    Expired,
}

impl View {
    pub(super) fn new(service: String, port: Option<Port>, protocol: UpstreamProtocol) -> Self {
        Self { service, port, protocol, known: Mutex::default() }
    }

    /// The endpoints as of now.
    pub(super) fn endpoints(&self) -> Result<Vec<Provided>, String> {
        let known = self.known.lock();
        let heard = known.heard.map(|heard| heard.elapsed());
        match (heard, &known.problem) {
            (Some(since), _) if since <= BELIEVED => {}
            (None, None) => return Err("it was not heard of yet".to_owned()),
            (_, Some(problem)) => return Err(problem.clone()),
            (Some(since), None) => return Err(format!("silent for {} s", since.as_secs())),
        }
        Ok(self.all(&known).into_iter().map(|one| one.provided).collect())
    }

    /// The pods behind addresses.
    pub(super) fn pods(&self, addresses: &[String]) -> Vec<String> {
        let all = self.all(&self.known.lock());
        let wanted =
            all.into_iter().filter(|one| addresses.contains(&one.provided.endpoint.address));
        wanted.filter_map(|one| one.pod).collect()
    }

    pub(super) fn news(&self) -> Vec<String> {
        std::mem::take(&mut self.known.lock().news)
    }

    fn all(&self, known: &Known) -> Vec<PodEndpoint> {
        let slices = known.slices.values();
        slices.flat_map(|slice| slice.endpoints(self.port.as_ref(), self.protocol)).collect()
    }

    fn path(&self, api: &Api, query: &str) -> String {
        let (namespace, service) = (&api.namespace, &self.service);
        format!(
            "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?\
             labelSelector=kubernetes.io%2Fservice-name%3D{service}{query}"
        )
    }

    /// Takes one event in.
    fn take(&self, event: Event) -> Result<(), Ended> {
        let mut known = self.known.lock();
        let changed = match event.kind.as_str() {
            "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" => {
                serde_json::from_value::<Slice>(event.object)
            }
            // A Status: 410 Gone as a rule; whatever it is, a list mends it.
            _ => return Err(Ended::Expired),
        };
        let Ok(slice) = changed else { return Err(Ended::Expired) };
        known.version.clone_from(&slice.metadata.resource_version);
        known.heard = Some(Instant::now());
        match event.kind.as_str() {
            "BOOKMARK" => {}
            "DELETED" => {
                known.slices.remove(&slice.metadata.name);
            }
            _ if known.slices.len() < SLICES_MAX => {
                known.slices.insert(slice.metadata.name.clone(), slice);
            }
            _ => return Err(Ended::Expired),
        }
        Ok(())
    }

    fn fails(&self, fault: &ProviderFault) {
        let mut known = self.known.lock();
        let problem = fault.to_string();
        if known.problem.is_none() && known.news.len() < NEWS_MAX {
            known.news.push(problem.clone());
        }
        known.problem = Some(problem);
    }

    fn hears(&self) {
        let mut known = self.known.lock();
        known.heard = Some(Instant::now());
        if known.problem.take().is_some() && known.news.len() < NEWS_MAX {
            known.news.push("the cluster answers again".to_owned());
        }
    }
}

/// Follows a Service until it is aborted.
pub(super) async fn follow(api: Arc<Api>, view: Arc<View>) {
    let (mut listed, mut pause) = (false, PAUSE);
    loop {
        let turned = async {
            if !listed {
                list(&api, &view).await?;
            }
            stream(&api, &view).await
        };
        match turned.await {
            Ok(Ended::Resumable) => (listed, pause) = (true, PAUSE),
            // A server that forgets again and again is not asked for whole lists in a storm.
            Ok(Ended::Expired) => {
                listed = false;
                sleep(jittered(pause)).await;
                pause = PAUSE_MAX.min(pause * 2);
            }
            Err(fault) => {
                tracing::warn!(%fault, "endpoints are not watched for the moment");
                view.fails(&fault);
                listed = false;
                sleep(jittered(pause)).await;
                pause = PAUSE_MAX.min(pause * 2);
                continue;
            }
        }
        // Streams that end at once must not become a storm.
        sleep(jittered(PAUSE / 5)).await;
    }
}

/// Takes the whole list, page by page; the view changes when all of it is there.
async fn list(api: &Api, view: &View) -> Result<(), ProviderFault> {
    let (mut slices, mut next) = (BTreeMap::new(), None::<String>);
    let version = loop {
        let at = next.map(|next| format!("&continue={}", encoded(&next))).unwrap_or_default();
        let (status, body) = api.get(&view.path(api, &format!("&limit={PAGE}{at}"))).await?;
        if !status.is_success() {
            return Err(refusal(api, status, &body));
        }
        let page: SliceList = api.read(&body)?;
        slices.extend(page.items.into_iter().map(|one| (one.metadata.name.clone(), one)));
        if slices.len() > SLICES_MAX {
            return Err(api.nonsense(format!("more than {SLICES_MAX} slices")));
        }
        match page.metadata.next.filter(|next| !next.is_empty()) {
            Some(more) => next = Some(more),
            None => break page.metadata.resource_version,
        }
    };
    {
        let mut known = view.known.lock();
        (known.slices, known.version) = (slices, version);
    }
    view.hears();
    Ok(())
}

async fn stream(api: &Api, view: &View) -> Result<Ended, ProviderFault> {
    let version = encoded(&view.known.lock().version);
    let query = format!(
        "&watch=1&allowWatchBookmarks=true&timeoutSeconds={STREAM_S}&resourceVersion={version}"
    );
    let response = api.stream(&view.path(api, &query)).await?;
    let status = response.status();
    if status == http::StatusCode::GONE {
        return Ok(Ended::Expired);
    }
    let mut body = response.into_body();
    if !status.is_success() {
        let told = timeout(SILENT, Limited::new(body, EVENT_BYTES_MAX).collect()).await;
        let told = told.ok().and_then(Result::ok).map(Collected::to_bytes).unwrap_or_default();
        return Err(refusal(api, status, &told));
    }
    view.hears();
    let mut lines = Vec::new();
    loop {
        let frame = match timeout(SILENT, body.frame()).await {
            Err(_) => return Err(api.unreachable("a watch fell silent")),
            Ok(None) => break,
            // Whatever was cut off comes again: events are taken whole.
            Ok(Some(Err(fault))) => {
                tracing::debug!(%fault, "a watch broke off");
                break;
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        lines.extend_from_slice(&data);
        while let Some(end) = lines.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = lines.drain(..=end).collect();
            if line.trim_ascii().is_empty() {
                continue;
            }
            let event: Event = api.read(&line)?;
            if let Err(ended) = view.take(event) {
                return Ok(ended);
            }
        }
        if lines.len() > EVENT_BYTES_MAX {
            return Err(api.nonsense(format!("an event of more than {EVENT_BYTES_MAX} bytes")));
        }
    }
    view.hears();
    Ok(Ended::Resumable)
}

fn refusal(api: &Api, status: http::StatusCode, body: &[u8]) -> ProviderFault {
    let message = serde_json::from_slice::<Value>(body).ok();
    let message = message.and_then(|told| told["message"].as_str().map(str::to_owned));
    let words = message.unwrap_or_else(|| "endpoint slices may not be watched".to_owned());
    api.status(status, crate::provider::cut_short(&words))
}

/// A value of a query: what is not plain is percent-encoded (RFC 3986).
fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let one = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(one).collect()
}

/// Half to all of a pause, so that many controls do not come back together.
fn jittered(pause: Duration) -> Duration {
    let draw = blake3::hash(&clock::now_ms().to_le_bytes());
    pause.mul_f64(0.5 + f64::from(draw.as_bytes()[0]) / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_a_list_is_encoded_whole() {
        assert_eq!(encoded("eyJ2+/=&x"), "eyJ2%2B%2F%3D%26x");
        assert_eq!(encoded("10245"), "10245");
    }
}
