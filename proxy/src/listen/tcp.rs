//! The accept loop and a connection's life: TLS if the listener has it, then HTTP/2 or HTTP/1.1,
//! request after request. Each connection is one task and holds one slot of its listener.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use pingora_core::{
    apps::{HttpServerApp, ServerApp},
    listeners::tls::Acceptor,
    protocols::{
        ALPN, GetSocketDigest, IO, SocketDigest, Ssl, Stream, http::ServerSession,
        l4::stream::Stream as Socket,
    },
    server::ShutdownWatch,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    ConnectionCounts, ConnectionLimits,
    paced::{Pace, Paced},
};

/// What an HTTP/2 client opens with (RFC 9113 §3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Pause before looking again at a connection that has sent part of a preface.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);
/// Pause after an accept that failed for want of descriptors, which does not pass by itself.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A dead peer is noticed after this long and a few probes.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// What the edge learns about a connection with each HTTP/1 request on it.
#[derive(Clone, Debug)]
pub struct ConnectionFacts {
    /// Told when the head is complete.
    pub pace: Arc<Pace>,
    /// How long the connection is kept without a request, seconds. Set anew with each request,
    /// since pingora takes HTTP/1.1's default, or a client's word, for "without end".
    pub idle_s: u64,
}

pub(super) fn acceptor(config: Arc<rustls::ServerConfig>) -> Acceptor {
    Acceptor::from_server_config(config)
}

/// Accepts until shutdown.
pub(super) async fn accept_loop<A>(
    listener: TcpListener,
    acceptor: Option<Acceptor>,
    limits: ConnectionLimits,
    app: Arc<A>,
    counts: Arc<ConnectionCounts>,
    mut shutdown: ShutdownWatch,
) where
    A: HttpServerApp + ServerApp + Send + Sync + 'static,
{
    let acceptor = acceptor.map(Arc::new);
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener, &slots, &counts) => accepted,
            changed = shutdown.changed() => {
                if changed.is_err() || *shutdown.borrow() {
                    return;
                }
                continue;
            }
        };
        let (socket, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(fault) => {
                tracing::warn!(%fault, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = Connection {
            acceptor: acceptor.clone(),
            limits,
            app: Arc::clone(&app),
            counts: Open::count(&counts),
            shutdown: shutdown.clone(),
            _slot: slot,
        };
        tokio::spawn(connection.run(socket));
    }
}

/// Waits for a free slot first: a connection over the bound stays in the kernel's backlog.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    counts: &ConnectionCounts,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = match Arc::clone(slots).try_acquire_owned() {
        Ok(slot) => slot,
        Err(_) => {
            counts.full.fetch_add(1, Ordering::Relaxed);
            Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?
        }
    };
    let (socket, _) = listener.accept().await?;
    Ok((socket, slot))
}

/// Counts a connection as open for as long as it lives.
struct Open(Arc<ConnectionCounts>);

impl Open {
    fn count(counts: &Arc<ConnectionCounts>) -> Self {
        counts.open.fetch_add(1, Ordering::AcqRel);
        counts.accepted.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Connection<A> {
    acceptor: Option<Arc<Acceptor>>,
    limits: ConnectionLimits,
    app: Arc<A>,
    counts: Open,
    shutdown: ShutdownWatch,
    _slot: OwnedSemaphorePermit,
}

impl<A> Connection<A>
where
    A: HttpServerApp + ServerApp + Send + Sync + 'static,
{
    async fn run(self, socket: TcpStream) {
        tune(&socket);
        let Some(acceptor) = self.acceptor.clone() else {
            match timeout(self.limits.head_timeout, opens_with_h2(&socket)).await {
                Ok(Ok(true)) => self.serve_h2(described(socket)).await,
                // A slow opening is timed, and answered, as the slow HTTP/1 head that it is.
                Ok(Ok(false)) | Err(_) => self.serve_h1(described(socket)).await,
                Ok(Err(_)) => {}
            }
            return;
        };
        let handshake = acceptor.tls_handshake(described(socket));
        match timeout(self.limits.head_timeout, handshake).await {
            Ok(Ok(stream)) if stream.selected_alpn_proto() == Some(ALPN::H2) => {
                self.serve_h2(stream).await;
            }
            Ok(Ok(stream)) => self.serve_h1(stream).await,
            Ok(Err(fault)) => {
                // The client's doing, and anyone can cause it: counted, and told at debug only.
                tracing::debug!(%fault, "TLS handshake failed");
                self.counts.0.handshakes_failed.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                self.counts.0.handshakes_failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// pingora bounds header lists, streams and idle time of HTTP/2 by the app's settings.
    async fn serve_h2(self, stream: impl IO + 'static) {
        let stream: Stream = Box::new(Paced::new(stream, Pace::free()));
        self.app.process_new(stream, &self.shutdown).await;
    }

    async fn serve_h1(self, stream: impl IO + 'static) {
        let pace = Pace::new(self.limits.head_bytes_max, self.limits.head_timeout);
        let idle_s = self.limits.idle_timeout.as_secs().max(1);
        let facts = ConnectionFacts { pace: Arc::clone(&pace), idle_s };
        let mut session = ServerSession::new_http1(Box::new(Paced::new(stream, pace)));
        let stopping = *self.shutdown.borrow();
        session.set_keepalive((!stopping).then_some(idle_s));
        session.set_keepalive_reuses_remaining(Some(self.limits.requests_max));
        loop {
            session.set_connection_user_context(Some(Box::new(facts.clone())));
            let reused = self.app.process_new_http(session, &self.shutdown).await;
            let Some((stream, settings)) = reused.map(|reused| reused.consume()) else { return };
            facts.pace.await_head();
            session = ServerSession::new_http1(stream);
            if let Some(settings) = settings {
                settings.apply_to_session(&mut session);
            }
        }
    }
}

fn tune(socket: &TcpStream) {
    // Neither is worth losing a connection for.
    let _ = socket.set_nodelay(true);
    let _ = SockRef::from(socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
}

/// Whether a plain connection opens with the HTTP/2 preface. pingora waits for its 24 bytes, which
/// a short HTTP/1 request never sends.
async fn opens_with_h2(socket: &TcpStream) -> io::Result<bool> {
    let mut opening = [0; H2_PREFACE.len()];
    loop {
        let read = socket.peek(&mut opening).await?;
        if read == 0 || !H2_PREFACE.starts_with(&opening[..read]) {
            return Ok(false);
        }
        if read == H2_PREFACE.len() {
            return Ok(true);
        }
        tokio::time::sleep(PREFACE_PAUSE).await;
    }
}

fn described(socket: TcpStream) -> Socket {
    use std::os::fd::AsRawFd;

    let digest = SocketDigest::from_raw_fd(socket.as_raw_fd());
    let mut socket = Socket::from(socket);
    socket.set_socket_digest(digest);
    socket
}
