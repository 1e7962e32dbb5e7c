//! A small real app: tells what it was asked, and misbehaves on demand.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// A running app. It ends with the test's runtime.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    hits: Arc<AtomicUsize>,
}

impl App {
    /// Serves HTTP/1 and h2c, telling each request back as JSON with the zone's name.
    pub(crate) async fn start(zone: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hits = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&hits);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let hits = Arc::clone(&counted);
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        hits.fetch_add(1, Ordering::Relaxed);
                        tell(zone, request)
                    });
                    let builder = Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { address, hits }
    }

    /// Answers every connection with these bytes, however the request reads, and closes.
    pub(crate) async fn raw(answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hits = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&hits);
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut request = vec![0; 64 << 10];
                    let _ = socket.read(&mut request).await;
                    let _ = socket.write_all(answer).await;
                    let _ = socket.flush().await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                });
            }
        });
        Self { address, hits }
    }

    pub(crate) fn hits(&self) -> usize {
        self.hits.load(Ordering::Relaxed)
    }
}

async fn tell(
    zone: &'static str,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(Response::default()) };
    let body = body.to_bytes();
    if let Some(ms) = head.uri.query().and_then(|query| query.strip_prefix("wait_ms=")) {
        tokio::time::sleep(Duration::from_millis(ms.parse().unwrap())).await;
    }
    let headers: Value = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let told = json!({
        "zone": zone,
        "method": head.method.as_str(),
        "target": head.uri.path_and_query().map(ToString::to_string),
        "version": format!("{:?}", head.version),
        "headers": headers,
        "body_bytes": body.len(),
    });
    let mut response = Response::builder()
        .header("content-type", "application/json")
        .header("homing-secret", "not for clients");
    let mut body = Full::from(told.to_string());
    // What the client wants to be answered, `answer-etag: "1"` for a header of that name.
    for (name, value) in &head.headers {
        match name.as_str().strip_prefix("answer-") {
            Some("status") => response = response.status(value.to_str().unwrap()),
            Some(name) => response = response.header(name, value),
            None => {}
        }
    }
    let tag = head.headers.get("answer-etag");
    if tag.is_some() && tag == head.headers.get("if-none-match") {
        (response, body) = (response.status(304), Full::default());
    }
    Ok(response.body(body).unwrap())
}

/// An address on which nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
