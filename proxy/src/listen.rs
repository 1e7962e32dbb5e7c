//! The sockets clients connect to. Bound at once, so that a port in use is told at start and a
//! free port's number is known; served by an accept loop of our own, because pingora's neither
//! bounds connections nor tells the port it got.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use pingora_core::{
    apps::{HttpServerApp, ServerApp},
    server::{ListenFds, ShutdownWatch},
    services::Service,
};
use socket2::{Domain, Protocol, Socket, Type};

use self::tls::{CertFault, CertFiles, CertStore};

pub mod paced;
pub mod tcp;
pub mod tls;

/// Connections the kernel completes before they are accepted.
const BACKLOG: i32 = 4_096;

/// One listener, checked.
#[derive(Clone, Debug)]
pub struct ListenSettings {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Certificates, the default first; none means plain HTTP/1.1 and h2c.
    pub certificates: Vec<CertFiles>,
    /// TLS for nodes of the installation instead: their certificates are asked for.
    pub mutual: Option<Arc<rustls::ServerConfig>>,
    /// Bounds on its connections.
    pub limits: ConnectionLimits,
}

/// Bounds on the connections of one listener.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections served at once; more wait in the kernel's backlog.
    pub connections_max: usize,
    /// Longest time for a request head to arrive, and for a TLS handshake.
    pub head_timeout: Duration,
    /// Bytes of an HTTP/1 request head.
    pub head_bytes_max: usize,
    /// How long an idle keep-alive connection is kept.
    pub idle_timeout: Duration,
    /// Requests served on one HTTP/1 connection before it is closed.
    pub requests_max: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections_max: 50_000,
            head_timeout: Duration::from_secs(10),
            head_bytes_max: 64 << 10,
            idle_timeout: Duration::from_secs(60),
            requests_max: 10_000,
        }
    }
}

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenFault {
    /// The address cannot be bound.
    #[error("{address}: {fault}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        fault: io::Error,
    },
    /// Its certificates cannot be used.
    #[error("{address}: {fault}")]
    Certificates {
        /// Where.
        address: SocketAddr,
        /// Why not.
        fault: CertFault,
    },
}

/// What one listener did, for metrics.
#[derive(Debug)]
pub struct ConnectionCounts {
    /// Where it listens.
    pub address: SocketAddr,
    /// Connections open now.
    pub open: AtomicUsize,
    /// Connections accepted since the start.
    pub accepted: AtomicU64,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: AtomicU64,
    /// Times it stopped accepting because it had as many connections as it may; further ones
    /// waited in the kernel's backlog.
    pub full: AtomicU64,
}

impl ConnectionCounts {
    /// A listener that has done nothing yet.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            open: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            handshakes_failed: AtomicU64::new(0),
            full: AtomicU64::new(0),
        }
    }
}

/// What a TLS listener needs: the certificates in force, if a reload may change them, and the
/// settings that ask them.
type Tls = (Option<Arc<CertStore>>, Arc<rustls::ServerConfig>);

/// A bound listener.
struct Bound {
    socket: TcpListener,
    tls: Option<Tls>,
    limits: ConnectionLimits,
    counts: Arc<ConnectionCounts>,
}

/// Bound listeners that are not served yet.
pub struct Listeners {
    bound: Vec<Bound>,
    addresses: Vec<SocketAddr>,
}

impl Listeners {
    /// Binds all sockets and reads all certificates.
    ///
    /// # Errors
    /// The first listener that cannot be opened.
    pub fn bind(settings: &[ListenSettings]) -> Result<Self, ListenFault> {
        let mut bound = Vec::with_capacity(settings.len());
        let mut addresses = Vec::with_capacity(settings.len());
        for one in settings {
            let address = one.address;
            let socket = bind(address).map_err(|fault| ListenFault::Bind { address, fault })?;
            let tls = match &one.mutual {
                Some(config) => Some((None, Arc::clone(config))),
                None => open_tls(&one.certificates)
                    .map_err(|fault| ListenFault::Certificates { address, fault })?,
            };
            let got = socket.local_addr().map_err(|fault| ListenFault::Bind { address, fault })?;
            addresses.push(got);
            let counts = Arc::new(ConnectionCounts::new(got));
            bound.push(Bound { socket, tls, limits: one.limits, counts });
        }
        Ok(Self { bound, addresses })
    }

    /// Where they listen, in the order of the settings, with the ports they got.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Counters that live on while the listeners are served, one a listener.
    #[must_use]
    pub fn counts(&self) -> Vec<Arc<ConnectionCounts>> {
        self.bound.iter().map(|bound| Arc::clone(&bound.counts)).collect()
    }

    /// The certificates in force, by listener; `None` for plain ones. For reloads.
    #[must_use]
    pub fn certificates(&self) -> Vec<Option<Arc<CertStore>>> {
        let store = |bound: &Bound| bound.tls.as_ref().and_then(|(store, _)| store.clone());
        self.bound.iter().map(store).collect()
    }

    /// The pingora service that serves them with `app`.
    #[must_use]
    pub fn serve<A>(self, app: Arc<A>) -> EdgeService<A> {
        EdgeService { app, bound: self.bound }
    }
}

/// Serves the listeners until shutdown, then waits for open connections to end. The server's own
/// grace period bounds that wait.
pub struct EdgeService<A> {
    app: Arc<A>,
    bound: Vec<Bound>,
}

#[async_trait]
impl<A> Service for EdgeService<A>
where
    A: HttpServerApp + ServerApp + Send + Sync + 'static,
{
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
    ) {
        let mut loops = tokio::task::JoinSet::new();
        let all: Vec<_> = self.bound.iter().map(|bound| Arc::clone(&bound.counts)).collect();
        for bound in self.bound.drain(..) {
            let listener = match tokio::net::TcpListener::from_std(bound.socket) {
                Ok(listener) => listener,
                Err(fault) => {
                    tracing::error!(%fault, "a bound listener cannot be served");
                    continue;
                }
            };
            let acceptor = bound.tls.map(|(_, config)| tcp::acceptor(config));
            let app = Arc::clone(&self.app);
            let (limits, counts, shutdown) = (bound.limits, bound.counts, shutdown.clone());
            loops.spawn(async move {
                tcp::accept_loop(listener, acceptor, limits, app, counts, shutdown).await;
            });
        }
        while loops.join_next().await.is_some() {}
        // Wakes keep-alive connections that wait for a next request.
        ServerApp::cleanup(&*self.app).await;
        while all.iter().any(|counts| counts.open.load(Ordering::Acquire) > 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn name(&self) -> &str {
        "edge"
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted process must not wait for old connections of its port to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn open_tls(files: &[CertFiles]) -> Result<Option<Tls>, CertFault> {
    if files.is_empty() {
        return Ok(None);
    }
    let store = Arc::new(CertStore::load(files)?);
    let config = tls::server_config(Arc::clone(&store))?;
    Ok(Some((Some(store), config)))
}
