//! Webhooks as providers: whatever makes endpoints elsewhere is told by signed POSTs. Every request
//! carries its time and an HMAC-SHA256 over time and body, so that whoever takes it can refuse what
//! is forged or old; every answer is bounded in size and time.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use aws_lc_rs::hmac;
use bytes::Bytes;
use homing_wire::UpstreamProtocol;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Deserialize, Serialize};

use super::{
    Answer, ENDPOINTS_MAX, Probe, Provided, Provider, ProviderFault, Standing, Wish, cut_short,
    is_address, without_doubles,
};
use crate::clock;

/// When a request was signed, seconds since the Unix epoch.
pub const TIMESTAMP: &str = "x-homing-timestamp";
/// `sha256=` and the signature in hexadecimal.
pub const SIGNATURE: &str = "x-homing-signature";
/// Names a wish; the same wish comes under the same key.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Bytes of an answer that are read.
pub const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Before the first retry at most, milliseconds; twice that before each further one.
const BACKOFF_MS: u64 = 200;
/// Between two retries at most, milliseconds.
const BACKOFF_MS_MAX: u64 = 5_000;

/// A secret that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Keeps a secret.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a webhook is, and how it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Where requests go: `https`, or `http` on loopback.
    pub url: Uri,
    /// What requests are signed with.
    pub secret: Secret,
    /// How long one attempt may take, milliseconds.
    pub timeout_ms: u64,
    /// Attempts after the first.
    pub retries: u32,
    /// How endpoints that it says are ready are looked at.
    pub ready: Probe,
}

/// A webhook.
pub struct Webhook {
    settings: WebhookSettings,
    key: hmac::Key,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The signature of a body at a time: HMAC-SHA256 over the time in decimal, a full stop and the
/// body, in hexadecimal after `sha256=`.
#[must_use]
pub fn signature(secret: &[u8], timestamp: u64, body: &[u8]) -> String {
    sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), timestamp, body)
}

fn sign(key: &hmac::Key, timestamp: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{timestamp}.").as_bytes());
    context.update(body);
    format!("sha256={}", hex::encode(context.sign()))
}

#[derive(Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
enum Told<'a> {
    Scale { zone: &'a str, service: Option<&'a str>, wanted: u32, release: &'a [String] },
    List { zone: &'a str, service: Option<&'a str> },
}

#[derive(Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
enum Said {
    Offered,
    Refused { reason: Option<String> },
    CounterOffer { count: u32, reason: Option<String> },
}

#[derive(Deserialize)]
struct Listed {
    endpoints: Vec<ListedEndpoint>,
}

#[derive(Deserialize)]
struct ListedEndpoint {
    address: String,
    #[serde(default)]
    protocol: Word,
    ready: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    #[default]
    H1,
    H2c,
    Tls,
}

impl Webhook {
    /// Ready to call.
    ///
    /// # Errors
    /// The system has no authorities that could be believed, which `https` needs.
    pub fn new(settings: WebhookSettings) -> Result<Self, String> {
        let mut roots = rustls::RootCertStore::empty();
        if settings.url.scheme_str() == Some("https") {
            let found = rustls_native_certs::load_native_certs();
            let (taken, _) = roots.add_parsable_certificates(found.certs);
            if taken == 0 {
                return Err("the system has no authorities; install ca-certificates".to_owned());
            }
        }
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|fault| fault.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &settings.secret.0);
        Ok(Self { settings, key, client })
    }

    /// Puts a question until it is answered or the retries are used up.
    async fn ask<T: for<'a> Deserialize<'a>>(
        &self,
        told: &Told<'_>,
        key: &str,
    ) -> Result<T, ProviderFault> {
        let body = serde_json::to_vec(told).map_err(|fault| self.nonsense(fault))?;
        let answer = self.deliver(body.into(), key).await?;
        serde_json::from_slice(&answer).map_err(|fault| self.nonsense(fault))
    }

    /// Posts a body, signed, until it is taken or the retries are used up. Returns the answer.
    ///
    /// # Errors
    /// It was not taken.
    pub async fn deliver(&self, body: Bytes, key: &str) -> Result<Bytes, ProviderFault> {
        let mut attempt = 0;
        loop {
            match self.attempt(&body, key).await {
                Err(fault) if may_pass(&fault) && attempt < self.settings.retries => {
                    tracing::debug!(%fault, attempt, "a webhook is asked again");
                    tokio::time::sleep(backoff(key, attempt, clock::now_ms())).await;
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn attempt(&self, body: &Bytes, key: &str) -> Result<Bytes, ProviderFault> {
        let ms = self.settings.timeout_ms;
        let exchange = tokio::time::timeout(Duration::from_millis(ms), self.exchange(body, key));
        match exchange.await {
            Ok(answered) => answered,
            Err(_) => Err(ProviderFault::Timeout { provider: self.name(), ms }),
        }
    }

    async fn exchange(&self, body: &Bytes, key: &str) -> Result<Bytes, ProviderFault> {
        let timestamp = clock::now_ms() / 1_000;
        let request = Request::post(self.settings.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "homing-control")
            .header(TIMESTAMP, timestamp)
            .header(SIGNATURE, sign(&self.key, timestamp, body))
            .header(IDEMPOTENCY_KEY, key)
            .body(Full::new(body.clone()))
            .map_err(|fault| self.nonsense(fault))?;
        let response = self.client.request(request).await.map_err(|fault| {
            use std::error::Error as _;
            let cause = fault.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            self.unreachable(format!("{fault}{cause}"))
        })?;
        let status = response.status();
        let bounded = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let collected = bounded.collect().await;
        let answer =
            collected.map(http_body_util::Collected::to_bytes).map_err(|fault| {
                match fault.is::<http_body_util::LengthLimitError>() {
                    true => self.nonsense(format!("more than {ANSWER_BYTES_MAX} bytes")),
                    false => self.unreachable(fault),
                }
            })?;
        if status.is_success() {
            return Ok(answer);
        }
        let words = cut_short(&String::from_utf8_lossy(&answer));
        Err(ProviderFault::Status { provider: self.name(), status: status.as_u16(), words })
    }

    fn name(&self) -> String {
        // The host alone: what else a URL holds may be a secret.
        format!("the webhook at {}", self.settings.url.host().unwrap_or("?"))
    }

    fn nonsense(&self, problem: impl ToString) -> ProviderFault {
        ProviderFault::Nonsense { provider: self.name(), problem: problem.to_string() }
    }

    fn unreachable(&self, problem: impl ToString) -> ProviderFault {
        ProviderFault::Unreachable { provider: self.name(), problem: problem.to_string() }
    }
}

/// Whether the same question may be answered later.
#[must_use]
pub fn may_pass(fault: &ProviderFault) -> bool {
    match fault {
        ProviderFault::Unreachable { .. } | ProviderFault::Timeout { .. } => true,
        ProviderFault::Status { status, .. } => {
            *status >= 500 || matches!(*status, 408 | 425 | 429)
        }
        ProviderFault::Nonsense { .. } => false,
    }
}

/// How long to wait before a retry: anything up to the bound, so that many that failed together do
/// not come back together.
fn backoff(key: &str, attempt: u32, now_ms: u64) -> Duration {
    let most = BACKOFF_MS.saturating_mul(1 << attempt.min(16)).min(BACKOFF_MS_MAX);
    let draw = blake3::hash(format!("{key} {attempt} {now_ms}").as_bytes());
    let [a, b, c, d, ..] = *draw.as_bytes();
    Duration::from_millis(u64::from(u32::from_le_bytes([a, b, c, d])) % (most + 1))
}

#[async_trait]
impl Provider for Webhook {
    async fn scale(&self, wish: &Wish) -> Result<Answer, ProviderFault> {
        let told = Told::Scale {
            zone: &wish.zone,
            service: wish.service.as_deref(),
            wanted: wish.wanted,
            release: &wish.release,
        };
        let words = |reason: Option<String>| {
            let words = cut_short(&reason.unwrap_or_default());
            if words.is_empty() { "no reason given".to_owned() } else { words }
        };
        Ok(match self.ask(&told, &wish.idempotency_key).await? {
            Said::Offered => Answer::Offer,
            Said::Refused { reason } => Answer::Refusal { reason: words(reason) },
            // More than was wished for is not taken: it would have to be paid for.
            Said::CounterOffer { count, .. } if count >= wish.wanted => Answer::Offer,
            Said::CounterOffer { count, reason } => {
                Answer::Counter { count, reason: words(reason) }
            }
        })
    }

    async fn list(
        &self,
        zone: &str,
        service: Option<&str>,
    ) -> Result<Vec<Provided>, ProviderFault> {
        let key = format!("list-{zone}-{}-{}", service.unwrap_or_default(), clock::now_ms());
        let listed: Listed = self.ask(&Told::List { zone, service }, &key).await?;
        if listed.endpoints.len() > ENDPOINTS_MAX as usize {
            let count = listed.endpoints.len();
            return Err(self.nonsense(format!("{count} endpoints, over {ENDPOINTS_MAX}")));
        }
        if let Some(odd) = listed.endpoints.iter().find(|one| !is_address(&one.address)) {
            let address = cut_short(&odd.address);
            return Err(self.nonsense(format!("{address:?} is no address such as 10.0.0.7:8080")));
        }
        let claimed = listed.endpoints.into_iter().map(|one| {
            let protocol = match one.protocol {
                Word::H1 => UpstreamProtocol::H1,
                Word::H2c => UpstreamProtocol::H2c,
                Word::Tls => UpstreamProtocol::Tls,
            };
            let standing = if one.ready { Standing::Ready } else { Standing::Starting };
            Provided::at(one.address, protocol, standing)
        });
        Ok(self.settings.ready.look_at_all(without_doubles(claimed.collect())).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_any_other_tool_makes() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let due = SIGNED;
        assert_eq!(signature(b"0123456789abcdef", 1_700_000_000, br#"{"a":1}"#), due);
        assert_ne!(signature(b"0123456789abcdef", 1_700_000_001, br#"{"a":1}"#), due);
    }

    const SIGNED: &str = "sha256=9eb18f493f8ec135d9eb2dad817c369bb4e9cbfa818657897a7437c1cd8c3a23";

    #[test]
    fn a_secret_is_never_shown() {
        let shown = format!("{:?}", Secret::new(b"hunter2".to_vec()));
        assert!(!shown.contains("hunter2") && !shown.contains("104"), "{shown}");
    }

    #[test]
    fn retries_are_spread_and_bounded() {
        let waits: Vec<u64> = (0..200).map(|now| backoff("k", 2, now).as_millis() as u64).collect();
        assert!(waits.iter().all(|ms| *ms <= 800));
        assert!(waits.iter().any(|ms| *ms < 200) && waits.iter().any(|ms| *ms > 600));
        assert!(backoff("k", u32::MAX, 0).as_millis() <= BACKOFF_MS_MAX.into());
    }
}
