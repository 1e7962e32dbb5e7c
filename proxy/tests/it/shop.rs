//! A small real app whose answers may be kept, or may not, by their path; it remembers who asked
//! for what.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use parking_lot::Mutex;
use tokio::net::TcpListener;

type Asked = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// A running shop. It ends with the test's runtime.
pub(crate) struct Shop {
    pub(crate) address: SocketAddr,
    asked: Asked,
    connections: Arc<std::sync::atomic::AtomicUsize>,
}

impl Shop {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Asked::default();
        let connections = Arc::<std::sync::atomic::AtomicUsize>::default();
        let (told, opened) = (Arc::clone(&asked), Arc::clone(&connections));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let told = Arc::clone(&told);
                tokio::spawn(async move {
                    let serve = service_fn(|request| answer(Arc::clone(&told), request));
                    let builder = Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(socket), serve).await;
                });
            }
        });
        Self { address, asked, connections }
    }

    /// How often a path was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.asked.lock().iter().filter(|(other, _)| other == path).count()
    }

    /// Everything that was asked for, with its headers.
    pub(crate) fn all(&self) -> Vec<(String, HeaderMap)> {
        self.asked.lock().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(std::sync::atomic::Ordering::Relaxed)
    }
}

async fn answer(
    asked: Asked,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path_and_query().unwrap().to_string();
    asked.lock().push((path.clone(), request.headers().clone()));
    let is_ahead = request.headers().contains_key("homing-prewarm");
    let mut response = Response::builder();
    let kind = path.split('/').nth(1).unwrap_or_default();
    let control = match kind {
        "private" => "private, max-age=60",
        "secret" => "no-store",
        "member" => "public, max-age=60",
        _ => "max-age=60",
    };
    response = response.header("cache-control", control);
    match kind {
        "language" => response = response.header("vary", "accept-language"),
        "device" => response = response.header("vary", "x-device"),
        // Asked ahead, this one never answers; asked by a user it does.
        "hang" if is_ahead => tokio::time::sleep(Duration::from_secs(3_600)).await,
        // And this one begins to, and goes on for ever.
        "login" if is_ahead => response = response.status(302).header("location", "/login"),
        "slow" => tokio::time::sleep(Duration::from_millis(25)).await,
        _ => {}
    }
    let bytes = path.rsplit_once("bytes=").and_then(|(_, n)| n.parse().ok());
    let body = bytes.map_or_else(|| path.clone().into_bytes(), |n| vec![b'x'; n]);
    Ok(response.body(Full::from(body)).unwrap())
}
