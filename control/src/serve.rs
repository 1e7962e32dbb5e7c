//! The listeners. The API's by hand over hyper, because a slow client must be bounded in number and
//! in time, which axum's own loop leaves open; the link's over mutual TLS, where control has an
//! identity.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use homing_identity::Identity;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::server::Connected;

use crate::{
    link::LinkServer,
    tasks::{Tasks, stopped},
};

/// Connections at one time.
const CONNECTIONS_MAX: usize = 512;
/// How long a request's head may take.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// How long a connection may live; scripts that poll reconnect.
const CONNECTION_LIFE: Duration = Duration::from_secs(3_600);
/// How long to wait before accepting again when the system has no more to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes connections until told to stop.
pub(crate) async fn api(router: Router, listener: TcpListener, tasks: Tasks) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stop = tasks.stopping();
    loop {
        let Ok(place) = room.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, tasks_here) = (router.clone(), tasks.clone());
                tasks.spawn("api", async move {
                    connection(router, stream, tasks_here).await;
                    drop(place);
                });
            }
            Err(fault) => {
                tracing::warn!(%fault, "a connection to the API could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(router: Router, stream: TcpStream, tasks: Tasks) {
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(15))
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_concurrent_streams(64);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(served);
    let mut stop = tasks.stopping();
    tokio::select! {
        _ = served.as_mut() => return,
        () = stopped(&mut stop) => {}
        () = tokio::time::sleep(CONNECTION_LIFE) => {}
    }
    served.as_mut().graceful_shutdown();
    // What is being answered is answered; the stop itself bounds how long that may take.
    let _ = tokio::time::timeout(HEAD_WAIT, served).await;
}

/// How long a handshake on the link may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at one time. A stranger needs no certificate to begin one.
const HANDSHAKES_MAX: usize = 256;
/// Connections that may wait for the link to take them.
const READY_MAX: usize = 64;

/// Takes proxies in until told to stop.
pub(crate) async fn link(
    server: LinkServer,
    listener: TcpListener,
    identity: Option<Arc<Identity>>,
    tasks: Tasks,
) {
    let mut stop = tasks.stopping();
    let mut builder = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .tcp_nodelay(true)
        .max_concurrent_streams(16);
    let router = builder.add_service(server);
    let served = match identity {
        None => {
            let incoming = TcpListenerStream::new(listener);
            let stop = async move { stopped(&mut stop).await };
            router.serve_with_incoming_shutdown(incoming, stop).await
        }
        Some(identity) => {
            let incoming = secured(listener, &identity, &tasks);
            let stop = async move { stopped(&mut stop).await };
            router.serve_with_incoming_shutdown(incoming, stop).await
        }
    };
    if let Err(fault) = served {
        tracing::error!(%fault, "the link's listener ended");
    }
}

/// Connections whose peer has shown a certificate of the installation's CA. Each handshake is a
/// task of its own: one that dawdles holds up nobody.
fn secured(
    listener: TcpListener,
    identity: &Identity,
    tasks: &Tasks,
) -> ReceiverStream<Result<Secured, std::io::Error>> {
    let acceptor = TlsAcceptor::from(Arc::new(identity.server_config(&[b"h2"])));
    let (ready, incoming) = mpsc::channel(READY_MAX);
    tasks.spawn("link-handshakes", handshakes(listener, acceptor, ready, tasks.clone()));
    ReceiverStream::new(incoming)
}

type Ready = mpsc::Sender<Result<Secured, std::io::Error>>;

async fn handshakes(listener: TcpListener, acceptor: TlsAcceptor, ready: Ready, tasks: Tasks) {
    let room = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let mut stop = tasks.stopping();
    loop {
        let next = async {
            let place = room.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let accepted = tokio::select! {
            accepted = next => accepted,
            () = ready.closed() => return,
            () = stopped(&mut stop) => return,
        };
        match accepted {
            (Ok(place), Ok((stream, _))) => {
                let shaken = handshake(stream, acceptor.clone(), ready.clone(), place);
                let mut stop = tasks.stopping();
                tasks.spawn("link-handshake", async move {
                    tokio::select! {
                        () = shaken => {}
                        () = stopped(&mut stop) => {}
                    }
                });
            }
            (_, Err(fault)) => {
                tracing::warn!(%fault, "a connection to the link could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            // Nobody closes the room.
            (Err(_), Ok(_)) => return,
        }
    }
}

async fn handshake(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    ready: Ready,
    place: OwnedSemaphorePermit,
) {
    let from = stream.peer_addr().ok();
    let _ = stream.set_nodelay(true);
    let shaken = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
    drop(place);
    match shaken {
        Ok(Ok(stream)) => drop(ready.send(Ok(Secured(stream))).await),
        Ok(Err(fault)) => tracing::warn!(?from, %fault, "refused a connection to the link"),
        Err(_) => tracing::warn!(?from, "a handshake on the link took too long"),
    }
}

/// A connection of a node whose certificate is known.
struct Secured(TlsStream<TcpStream>);

/// The names that a node's certificate carries.
#[derive(Clone, Debug)]
pub(crate) struct Node(pub(crate) Vec<String>);

impl Connected for Secured {
    type ConnectInfo = Node;

    fn connect_info(&self) -> Node {
        let (_, session) = self.0.get_ref();
        Node(session.peer_certificates().map_or_else(Vec::new, homing_identity::peer_names))
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
