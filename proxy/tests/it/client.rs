//! Clients of the proxy: one that speaks HTTP for tests about what is said, and a raw socket for
//! tests about how.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A response, read whole.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Told {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// Which zone's app answered.
    pub(crate) fn zone(&self) -> String {
        self.json()["zone"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }

    /// A header that the app received.
    pub(crate) fn received(&self, name: &str) -> Option<String> {
        self.json()["headers"].get(name).map(|value| value.as_str().unwrap().to_owned())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// `name=value` of the cookie it set.
    pub(crate) fn cookie(&self) -> Option<String> {
        let set = self.header("set-cookie")?;
        Some(set.split(';').next().unwrap().to_owned())
    }

    /// The last part of the problem's type.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let json = self.json();
        assert_eq!(json["status"], self.status.as_u16());
        json["type"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    }
}

/// A request without a body.
pub(crate) fn get(path: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    send("GET", path, headers, Bytes::new())
}

/// A request with a body.
pub(crate) fn send(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

/// Sends one request on a new HTTP/1 connection.
pub(crate) async fn ask(proxy: SocketAddr, request: Request<Full<Bytes>>) -> Told {
    let socket = TcpStream::connect(proxy).await.unwrap();
    ask_h1(socket, request).await.unwrap()
}

/// Sends one request as HTTP/1 on a connection.
pub(crate) async fn ask_h1(
    socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    mut request: Request<Full<Bytes>>,
) -> hyper::Result<Told> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let connection = tokio::spawn(connection);
    if !request.headers().contains_key("host") {
        request.headers_mut().insert("host", "shop.example".parse().unwrap());
    }
    let told = read(sender.send_request(request).await?).await;
    connection.abort();
    told
}

/// Sends one request as HTTP/2 on a connection.
pub(crate) async fn ask_h2(
    socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    scheme: &str,
    mut request: Request<Full<Bytes>>,
) -> hyper::Result<Told> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await?;
    let connection = tokio::spawn(connection);
    let target = format!("{scheme}://shop.example{}", request.uri());
    *request.uri_mut() = target.parse().unwrap();
    let told = read(sender.send_request(request).await?).await;
    connection.abort();
    told
}

async fn read(response: hyper::Response<hyper::body::Incoming>) -> hyper::Result<Told> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Told { status: head.status, headers: head.headers, body })
}

/// Writes raw bytes and reads until the proxy closes.
pub(crate) async fn raw(proxy: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(proxy).await.unwrap();
    // The proxy may answer and close before it has taken everything.
    let _ = socket.write_all(bytes).await;
    drain(&mut socket).await
}

/// Reads until the proxy closes.
pub(crate) async fn drain(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let reading = socket.read_to_end(&mut answer);
    let _ = tokio::time::timeout(PATIENCE, reading).await.expect("never closed");
    String::from_utf8_lossy(&answer).into_owned()
}
