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

/// What all listeners did, for metrics.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    /// Connections open now.
    pub open: AtomicUsize,
    /// Connections accepted since the start.
    pub accepted: AtomicU64,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: AtomicU64,
}

/// What a TLS listener needs: the certificates in force, and the settings that ask them.
type Tls = (Arc<CertStore>, Arc<rustls::ServerConfig>);

/// A bound listener.
struct Bound {
    socket: TcpListener,
    tls: Option<Tls>,
    limits: ConnectionLimits,
}

/// Bound listeners that are not served yet.
pub struct Listeners {
    bound: Vec<Bound>,
    addresses: Vec<SocketAddr>,
    counts: Arc<ConnectionCounts>,
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
            let tls = open_tls(&one.certificates)
                .map_err(|fault| ListenFault::Certificates { address, fault })?;
            addresses
                .push(socket.local_addr().map_err(|fault| ListenFault::Bind { address, fault })?);
            bound.push(Bound { socket, tls, limits: one.limits });
        }
        Ok(Self { bound, addresses, counts: Arc::default() })
    }

    /// Where they listen, in the order of the settings, with the ports they got.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Counters that live on while the listeners are served.
    #[must_use]
    pub fn counts(&self) -> Arc<ConnectionCounts> {
        Arc::clone(&self.counts)
    }

    /// The certificates in force, by listener; `None` for plain ones. For reloads.
    #[must_use]
    pub fn certificates(&self) -> Vec<Option<Arc<CertStore>>> {
        let store = |bound: &Bound| bound.tls.as_ref().map(|(store, _)| Arc::clone(store));
        self.bound.iter().map(store).collect()
    }

    /// The pingora service that serves them with `app`.
    #[must_use]
    pub fn serve<A>(self, app: A) -> EdgeService<A> {
        EdgeService { app: Arc::new(app), bound: self.bound, counts: self.counts }
    }
}

/// Serves the listeners until shutdown, then waits for open connections to end. The server's own
/// grace period bounds that wait.
pub struct EdgeService<A> {
    app: Arc<A>,
    bound: Vec<Bound>,
    counts: Arc<ConnectionCounts>,
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
            let counts = Arc::clone(&self.counts);
            let shutdown = shutdown.clone();
            loops.spawn(async move {
                tcp::accept_loop(listener, acceptor, bound.limits, app, counts, shutdown).await;
            });
        }
        while loops.join_next().await.is_some() {}
        // Wakes keep-alive connections that wait for a next request.
        ServerApp::cleanup(&*self.app).await;
        while self.counts.open.load(Ordering::Acquire) > 0 {
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
    Ok(Some((store, config)))
}
