//! The app's own state hooks over HTTP, as the contract for app authors has them. Written on
//! hyper's pooled client: a handoff makes a handful of small calls in a row, and the last ones are
//! inside the pause, where a fresh connection would be felt.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use homing_wire::{DirectiveId, Epoch, Hooks, SessionKey, UpstreamProtocol};
use http::{Method, Request, Response, StatusCode, header::CONTENT_LENGTH};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Builder, Client, ResponseFuture, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use super::{CopyKind, Hook, Site, StateCopy, StateFault, StateStore};
use crate::endpoints::EndpointTrust;

/// Bytes of a refusal's text that are kept for people.
const REFUSAL_BYTES_MAX: usize = 256;

type Pool<C = HttpConnector> = Client<C, Full<Bytes>>;

/// Pooled connections to the zones' endpoints, shared by all services.
#[derive(Clone)]
pub struct HookClient {
    h1: Pool,
    h2c: Pool,
    /// Made at the first use, as the trust that it needs is.
    tls: Arc<OnceLock<Pool<HttpsConnector<HttpConnector>>>>,
    trust: Arc<EndpointTrust>,
}

impl HookClient {
    /// An empty pool, which believes endpoints that speak TLS as requests to them do.
    #[must_use]
    pub fn new(trust: Arc<EndpointTrust>) -> Self {
        let h1 = pooled().build(connector());
        let h2c = pooled().http2_only(true).build(connector());
        Self { h1, h2c, tls: Arc::default(), trust }
    }

    fn request(&self, protocol: UpstreamProtocol, request: Request<Full<Bytes>>) -> ResponseFuture {
        match protocol {
            UpstreamProtocol::H1 => self.h1.request(request),
            UpstreamProtocol::H2c => self.h2c.request(request),
            UpstreamProtocol::Tls => self.tls.get_or_init(|| self.over_tls()).request(request),
        }
    }

    fn over_tls(&self) -> Pool<HttpsConnector<HttpConnector>> {
        let mut plain = connector();
        plain.enforce_http(false);
        let tls = HttpsConnectorBuilder::new()
            .with_tls_config((*self.trust.client_config()).clone())
            .https_only()
            .enable_all_versions()
            .wrap_connector(plain);
        pooled().build(tls)
    }
}

impl std::fmt::Debug for HookClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HookClient").field("trust", &self.trust).finish_non_exhaustive()
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(2)));
    connector
}

fn pooled() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(8);
    builder
}

/// The hooks of one service.
#[derive(Clone, Debug)]
pub struct HookStore {
    client: HookClient,
    hooks: Hooks,
}

impl HookStore {
    /// The hooks of a service, called through a shared pool.
    #[must_use]
    pub fn new(client: HookClient, hooks: Hooks) -> Self {
        Self { client, hooks }
    }

    /// One call, from its first byte to the last byte of its answer, within the service's time.
    async fn call(
        &self,
        site: &Site,
        key: SessionKey,
        call: Call<'_>,
    ) -> Result<Option<Answer>, StateFault> {
        let hook = call.hook;
        let timeout_ms = self.hooks.timeout_ms;
        let exchange = async {
            let response = self.send(site, key, call).await?;
            self.take(response, hook).await
        };
        match tokio::time::timeout(Duration::from_millis(timeout_ms.into()), exchange).await {
            Ok(done) => done,
            Err(_) => Err(StateFault::Timeout { hook, ms: timeout_ms }),
        }
    }

    async fn send(
        &self,
        site: &Site,
        key: SessionKey,
        call: Call<'_>,
    ) -> Result<Response<Incoming>, StateFault> {
        let hook = call.hook;
        let unreachable = |site: &str, detail: String| StateFault::Unreachable {
            hook,
            site: site.to_owned(),
            detail,
        };
        let Some(endpoint) = &site.endpoint else {
            return Err(unreachable("the zone", "it has no endpoint for this service".to_owned()));
        };
        let scheme = match endpoint.protocol {
            UpstreamProtocol::Tls => "https",
            UpstreamProtocol::H1 | UpstreamProtocol::H2c => "http",
        };
        let base = self.hooks.path.trim_end_matches('/');
        let uri =
            format!("{scheme}://{}{base}/{key}/{}{}", endpoint.address, hook.name(), call.query);
        let request = Request::builder()
            .method(call.method)
            .uri(uri)
            .header("user-agent", "homing")
            .header(CONTENT_LENGTH, call.body.len())
            .body(Full::new(call.body))
            .map_err(|error| unreachable(&endpoint.address, error.to_string()))?;
        self.client.request(endpoint.protocol, request).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            unreachable(&endpoint.address, cause.unwrap_or_else(|| error.to_string()))
        })
    }

    async fn take(
        &self,
        response: Response<Incoming>,
        hook: Hook,
    ) -> Result<Option<Answer>, StateFault> {
        let (head, body) = response.into_parts();
        if head.status == StatusCode::NOT_FOUND && matches!(hook, Hook::Export | Hook::Release) {
            return Ok(None);
        }
        if !head.status.is_success() {
            let said = read_text(body).await;
            return Err(StateFault::Refused { hook, detail: format!("{} {said}", head.status) });
        }
        if hook != Hook::Export {
            return Ok(None);
        }
        let number = |name: &str| head.headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        let malformed = |detail| StateFault::Malformed { hook, detail };
        let want = number(CONTENT_LENGTH.as_str())
            .ok_or(malformed("the answer has no content-length, so a cut would go unseen"))?;
        let version = number("homing-state-version")
            .ok_or(malformed("the answer has no homing-state-version"))?;
        let kind = match head.headers.get("homing-state-kind").map(|kind| kind.as_bytes()) {
            None | Some(b"full") => CopyKind::Full,
            Some(b"delta") => CopyKind::Delta,
            Some(_) => return Err(malformed("homing-state-kind is neither full nor delta")),
        };
        let bytes = read_exactly(body, want, self.hooks.state_bytes_max).await?;
        Ok(Some(Answer { version, kind, bytes }))
    }
}

struct Call<'a> {
    hook: Hook,
    method: Method,
    query: &'a str,
    body: Bytes,
}

struct Answer {
    version: u64,
    kind: CopyKind,
    bytes: Bytes,
}

async fn read_exactly(mut body: Incoming, want: u64, max: u64) -> Result<Bytes, StateFault> {
    if want > max {
        return Err(StateFault::TooLarge { bytes: want, max });
    }
    let mut bytes = BytesMut::with_capacity(want.min(1 << 20) as usize);
    while let Some(frame) = body.frame().await {
        // The only way a body fails here is that it ends before its length.
        let Ok(frame) = frame else {
            return Err(StateFault::Truncated { have: bytes.len() as u64, want });
        };
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
        if bytes.len() as u64 > want {
            break;
        }
    }
    if bytes.len() as u64 != want {
        return Err(StateFault::Truncated { have: bytes.len() as u64, want });
    }
    Ok(bytes.freeze())
}

/// The first words of a refusal, on one line.
async fn read_text(mut body: Incoming) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < REFUSAL_BYTES_MAX {
        match body.frame().await {
            Some(Ok(frame)) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            _ => break,
        }
    }
    bytes.truncate(REFUSAL_BYTES_MAX);
    let text = String::from_utf8_lossy(&bytes);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[async_trait]
impl StateStore for HookStore {
    async fn export(
        &self,
        site: &Site,
        key: SessionKey,
        since: u64,
    ) -> Result<Option<StateCopy>, StateFault> {
        let query = format!("?since={since}");
        let call =
            Call { hook: Hook::Export, method: Method::GET, query: &query, body: Bytes::new() };
        let answer = self.call(site, key, call).await?;
        Ok(answer.map(|Answer { version, kind, bytes }| StateCopy { version, kind, bytes }))
    }

    async fn import(
        &self,
        site: &Site,
        key: SessionKey,
        directive: DirectiveId,
        copy: &StateCopy,
    ) -> Result<(), StateFault> {
        let query =
            format!("?directive={directive}&version={}&kind={}", copy.version, copy.kind.name());
        let body = copy.bytes.clone();
        let call = Call { hook: Hook::Import, method: Method::PUT, query: &query, body };
        self.call(site, key, call).await.map(drop)
    }

    async fn fence(&self, site: &Site, key: SessionKey, epoch: Epoch) -> Result<(), StateFault> {
        let query = format!("?epoch={epoch}");
        let call =
            Call { hook: Hook::Fence, method: Method::POST, query: &query, body: Bytes::new() };
        self.call(site, key, call).await.map(drop)
    }

    async fn keep(&self, site: &Site, key: SessionKey, copy: &StateCopy) -> Result<(), StateFault> {
        // No directive has the number 0: to an app that tells stagings apart by it, it is one.
        let (version, kind) = (copy.version, copy.kind.name());
        let query = format!("?directive=0&version={version}&kind={kind}&replica=true");
        let body = copy.bytes.clone();
        let call = Call { hook: Hook::Import, method: Method::PUT, query: &query, body };
        self.call(site, key, call).await.map(drop)
    }

    async fn adopt(&self, site: &Site, key: SessionKey, epoch: Epoch) -> Result<bool, StateFault> {
        let query = format!("?epoch={epoch}&replica=true");
        let call =
            Call { hook: Hook::Fence, method: Method::POST, query: &query, body: Bytes::new() };
        self.call(site, key, call).await.map(|_| true)
    }

    async fn forsake(&self, site: &Site, key: SessionKey) -> Result<(), StateFault> {
        let call = Call {
            hook: Hook::Release,
            method: Method::POST,
            query: "?epoch=0&replica=true",
            body: Bytes::new(),
        };
        self.call(site, key, call).await.map(drop)
    }

    async fn release(&self, site: &Site, key: SessionKey, epoch: Epoch) -> Result<(), StateFault> {
        let query = format!("?epoch={epoch}");
        let call =
            Call { hook: Hook::Release, method: Method::POST, query: &query, body: Bytes::new() };
        self.call(site, key, call).await.map(drop)
    }
}
