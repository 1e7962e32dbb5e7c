//! A small real origin: answers every request with a body of the size its path names
//! (`/1024` gives 1 KiB), over HTTP/1.1 keep-alive.

use std::{convert::Infallible, io, net::SocketAddr};

use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Largest body an origin gives.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Starts an origin on a free loopback port; it lives as long as the runtime.
///
/// # Errors
/// No port is free.
pub async fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let answer =
                    service_fn(|request| async move { Ok::<_, Infallible>(answer(&request)) });
                // A peer that goes away ends its connection; nothing is to be done about it.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    });
    Ok(address)
}

fn answer<B>(request: &Request<B>) -> Response<Full<Bytes>> {
    let wanted = request.uri().path().trim_start_matches('/').parse::<usize>();
    let size = wanted.unwrap_or(1_024).min(BODY_BYTES_MAX);
    Response::new(Full::new(Bytes::from(vec![b'x'; size])))
}
