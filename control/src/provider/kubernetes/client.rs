//! The API server of a cluster: where it is, how it is believed, how it believes us. Tokens are
//! read anew for each request, since clusters rotate them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::MOUNTED;
use crate::provider::ProviderFault;

/// Bytes of an answer that are read.
pub(super) const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Bytes of a token.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// How an API server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// Where it is; `None` for the cluster that control runs in.
    pub api: Option<Uri>,
    /// A file with a bearer token; `None` for the pod's own in a cluster, none elsewhere.
    pub token_file: Option<PathBuf>,
    /// Authorities that are believed; `None` for the cluster's, or the system's elsewhere.
    pub ca_file: Option<PathBuf>,
    /// A certificate with its key, in files, if the server knows clients by them.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// How long one request may take, milliseconds.
    pub timeout_ms: u64,
}

/// A client of one namespace.
pub(super) struct Api {
    pub(super) namespace: String,
    base: String,
    token_file: Option<PathBuf>,
    timeout: Duration,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Api {
    pub(super) fn new(settings: &ClientSettings, namespace: String) -> Result<Self, String> {
        let within = settings.api.is_none();
        let mounted = |name: &str| within.then(|| Path::new(MOUNTED).join(name));
        let base = match &settings.api {
            Some(api) => api.to_string().trim_end_matches('/').to_owned(),
            None => own_cluster()?,
        };
        let ca_file = settings.ca_file.clone().or_else(|| mounted("ca.crt"));
        let config = tls(&base, ca_file.as_deref(), settings.client_cert.as_ref())?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_all_versions()
            .build();
        Ok(Self {
            namespace,
            base,
            token_file: settings.token_file.clone().or_else(|| mounted("token")),
            timeout: Duration::from_millis(settings.timeout_ms),
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// Asks for something, and reads the whole answer.
    pub(super) async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), ProviderFault> {
        self.whole(Method::GET, path, None).await
    }

    /// Changes some fields (a JSON merge patch, RFC 7396).
    pub(super) async fn patch(
        &self,
        path: &str,
        patch: &Value,
    ) -> Result<(StatusCode, Bytes), ProviderFault> {
        let body = Some(("application/merge-patch+json", patch));
        self.whole(Method::PATCH, path, body).await
    }

    /// Writes an object anew, or makes it.
    pub(super) async fn write(
        &self,
        method: Method,
        path: &str,
        object: &Value,
    ) -> Result<(StatusCode, Bytes), ProviderFault> {
        self.whole(method, path, Some(("application/json", object))).await
    }

    /// Asks for something whose answer does not end by itself.
    pub(super) async fn stream(
        &self,
        path: &str,
    ) -> Result<Response<hyper::body::Incoming>, ProviderFault> {
        let sent = tokio::time::timeout(self.timeout, self.send(Method::GET, path, None));
        sent.await.unwrap_or_else(|_| Err(self.late()))
    }

    /// Reads an object of an answer.
    pub(super) fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ProviderFault> {
        serde_json::from_slice(body).map_err(|fault| self.nonsense(fault))
    }

    pub(super) fn status(&self, status: StatusCode, words: String) -> ProviderFault {
        ProviderFault::Status { provider: self.name(), status: status.as_u16(), words }
    }

    pub(super) fn unreachable(&self, problem: impl ToString) -> ProviderFault {
        ProviderFault::Unreachable { provider: self.name(), problem: problem.to_string() }
    }

    pub(super) fn nonsense(&self, problem: impl ToString) -> ProviderFault {
        ProviderFault::Nonsense { provider: self.name(), problem: problem.to_string() }
    }

    fn late(&self) -> ProviderFault {
        let ms = self.timeout.as_millis() as u64;
        ProviderFault::Timeout { provider: self.name(), ms }
    }

    fn name(&self) -> String {
        format!("the cluster at {}", self.base)
    }

    async fn whole(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<(StatusCode, Bytes), ProviderFault> {
        let exchange = async {
            let response = self.send(method, path, body).await?;
            let status = response.status();
            let bounded = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            let answer =
                bounded.collect().await.map_err(|fault| match fault
                    .is::<http_body_util::LengthLimitError>()
                {
                    true => self.nonsense(format!("more than {ANSWER_BYTES_MAX} bytes")),
                    false => self.unreachable(fault),
                })?;
            Ok((status, answer.to_bytes()))
        };
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or_else(|_| Err(self.late()))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Response<hyper::body::Incoming>, ProviderFault> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "homing-control");
        if let Some(token) = self.token().await? {
            request = request.header(header::AUTHORIZATION, token);
        }
        let body = match body {
            None => Bytes::new(),
            Some((kind, object)) => {
                request = request.header(header::CONTENT_TYPE, kind);
                serde_json::to_vec(object).map_err(|fault| self.nonsense(fault))?.into()
            }
        };
        let request = request.body(Full::new(body)).map_err(|fault| self.nonsense(fault))?;
        self.client.request(request).await.map_err(|fault| {
            use std::error::Error as _;
            let cause = fault.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            self.unreachable(format!("{fault}{cause}"))
        })
    }

    /// The header that says who we are. Marked, so that nothing prints it.
    async fn token(&self) -> Result<Option<http::HeaderValue>, ProviderFault> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let shown = file.display();
        let size = tokio::fs::metadata(file).await.map(|about| about.len());
        let text = match size {
            Ok(bytes) if bytes > TOKEN_BYTES_MAX => {
                return Err(self.unreachable(format!("{shown} is too large for a token")));
            }
            _ => tokio::fs::read_to_string(file).await,
        };
        let text = text.map_err(|fault| self.unreachable(format!("{shown}: {fault}")))?;
        let mut value = http::HeaderValue::from_str(&format!("Bearer {}", text.trim()))
            .map_err(|_| self.unreachable(format!("{shown} holds no token")))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// The address that every pod is told.
fn own_cluster() -> Result<String, String> {
    let told = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (host, port) = (told("KUBERNETES_SERVICE_HOST"), told("KUBERNETES_SERVICE_PORT"));
    let host = host.ok_or("no `api` is stated, and this is no pod of a cluster")?;
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(format!("https://{host}:{}", port.as_deref().unwrap_or("443")))
}

fn tls(
    base: &str,
    ca_file: Option<&Path>,
    client: Option<&(PathBuf, PathBuf)>,
) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    let found = match ca_file {
        Some(file) => certificates(file)?,
        None if base.starts_with("https") => rustls_native_certs::load_native_certs().certs,
        None => Vec::new(),
    };
    let (taken, _) = roots.add_parsable_certificates(found);
    if taken == 0 && base.starts_with("https") {
        return Err("there is no authority to believe the API server by: state `ca_file`".into());
    }
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|fault| fault.to_string())?
        .with_root_certificates(roots);
    let Some((cert, key)) = client else { return Ok(config.with_no_client_auth()) };
    let shown = key.display();
    let key = PrivateKeyDer::from_pem_file(key).map_err(|fault| format!("{shown}: {fault}"))?;
    config.with_client_auth_cert(certificates(cert)?, key).map_err(|fault| fault.to_string())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = file.display();
    let text = fs::read(file).map_err(|fault| format!("{shown}: {fault}"))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let read = read.map_err(|fault| format!("{shown}: {fault}"))?;
    if read.is_empty() { Err(format!("{shown} holds no certificate")) } else { Ok(read) }
}
