//! Asks a proxy's admin side or control's REST. Small on hyper, because a command asks a handful of
//! things and every refusal must become words with a remedy.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;

use crate::trouble::{Trouble, exit};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer taken.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Who is asked; for the words when it does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A proxy's admin side.
    Proxy,
    /// Control.
    Control,
    /// A zone's app.
    App,
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Self::Proxy => "the proxy",
            Self::Control => "control",
            Self::App => "the app",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Proxy => {
                "start it with `homing proxy configs/solo.yaml`, or name its admin address with \
                 --admin or HOMING_ADMIN"
            }
            Self::Control => {
                "start it with `homing control configs/control.yaml`, or name its address with \
                 --control or HOMING_CONTROL"
            }
            Self::App => "start it with `homing app`",
        }
    }
}

/// One side that answers over HTTP.
#[derive(Clone, Debug)]
pub struct Rest {
    peer: Peer,
    url: String,
    token: Option<String>,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn json(&self) -> Result<Value, Trouble> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Trouble::failure(format!("the answer is not JSON: {error}")))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A response header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    method: Method,
    path: &'a str,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl<'a> Ask<'a> {
    /// GET a path, which may carry a query.
    #[must_use]
    pub fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, headers: Vec::new(), body: Bytes::new() }
    }

    /// Send to a path.
    #[must_use]
    pub fn send(method: Method, path: &'a str) -> Self {
        Self { method, ..Self::get(path) }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, kind: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(CONTENT_TYPE_NAME, kind)
    }
}

const CONTENT_TYPE_NAME: &str = "content-type";

impl Rest {
    /// A side at a URL such as `http://127.0.0.1:9900`; a bare `host:port` will do.
    ///
    /// # Errors
    /// If the URL cannot be one.
    pub fn new(peer: Peer, url: &str, token: Option<String>) -> Result<Self, Trouble> {
        let url = match url.contains("://") {
            true => url.trim_end_matches('/').to_owned(),
            false => format!("http://{}", url.trim_end_matches('/')),
        };
        let usable = url
            .parse::<Uri>()
            .ok()
            .filter(|uri| uri.scheme_str() == Some("http") && uri.authority().is_some());
        if usable.is_none() {
            let text = format!("`{url}` is no address to reach {} at", peer.name());
            return Err(Trouble::usage(text, "write http://host:port"));
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(3)));
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_secs(5));
        Ok(Self { peer, url, token, client: builder.build(connector) })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks, whatever the answer's status.
    ///
    /// # Errors
    /// If no whole answer comes.
    pub async fn raw(&self, ask: Ask<'_>) -> Result<Reply, Trouble> {
        let mut request =
            Request::builder().method(ask.method).uri(format!("{}{}", self.url, ask.path));
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .body(Full::new(ask.body))
            .map_err(|error| Trouble::failure(format!("cannot ask {}: {error}", self.url)))?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                self.unreachable(&cause.unwrap_or_else(|| error.to_string()))
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| self.unreachable(&error.to_string()))?.to_bytes();
            Ok(Reply { status: head.status, headers: head.headers, body })
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(reply) => reply,
            Err(_) => Err(self.unreachable("it did not answer in 30 s")),
        }
    }

    /// Asks, and makes every refusal a trouble.
    ///
    /// # Errors
    /// If no whole answer comes, or its status is not 2xx.
    pub async fn ask(&self, ask: Ask<'_>) -> Result<Reply, Trouble> {
        let reply = self.raw(ask).await?;
        if reply.status.is_success() {
            return Ok(reply);
        }
        Err(self.refused(&reply))
    }

    /// GETs a path as JSON.
    ///
    /// # Errors
    /// As [`Rest::ask`], or if the answer is not JSON.
    pub async fn get_json(&self, path: &str) -> Result<Value, Trouble> {
        self.ask(Ask::get(path)).await?.json()
    }

    fn unreachable(&self, cause: &str) -> Trouble {
        let question = match self.peer {
            Peer::Proxy => "is the proxy running?",
            Peer::Control => "is control running?",
            Peer::App => "is the app running?",
        };
        Trouble::unavailable(
            format!("cannot reach {}: {question} ({cause})", self.url),
            self.peer.remedy(),
        )
    }

    /// What a refusal says, from problem+json or plain text.
    #[must_use]
    pub fn refused(&self, reply: &Reply) -> Trouble {
        let told = problem_text(reply);
        let text = format!("{} refuses ({}): {told}", self.peer.name(), reply.status.as_u16());
        let remedy = match reply.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "give its token in the environment variable HOMING_TOKEN"
            }
            StatusCode::PRECONDITION_FAILED => {
                "somebody else changed it: look at `homing config show`, then push again"
            }
            _ => "",
        };
        let code = match reply.status {
            StatusCode::UNPROCESSABLE_ENTITY => exit::CONFIG,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => exit::UNAVAILABLE,
            _ => exit::FAILURE,
        };
        Trouble { code, text, remedy: remedy.to_owned() }
    }
}

fn problem_text(reply: &Reply) -> String {
    let kind = reply.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let json = kind.is_some_and(|kind| kind.contains("json"));
    let problem = reply.json().ok().filter(|_| json);
    let Some(problem) = problem else {
        return reply.text().trim().chars().take(2_000).collect();
    };
    let field = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut text = match (field("detail"), field("title")) {
        ("", "") => problem.to_string(),
        ("", title) => title.to_owned(),
        (detail, _) => detail.to_owned(),
    };
    for error in problem.get("errors").and_then(Value::as_array).into_iter().flatten() {
        let part = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
        text.push_str(&format!("\n  {}: {}", part("pointer"), part("detail")));
        if !part("remedy").is_empty() {
            text.push_str(&format!("; {}", part("remedy")));
        }
    }
    text
}
