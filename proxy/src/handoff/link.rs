//! The handoff link: QUIC between gates under mutual TLS, one connection a pair of gates, one
//! stream a handoff. QUIC and not TCP because a lost packet of one session's state must not hold
//! up another session's grant, and because flow control of each stream is the back-pressure.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use homing_identity::Identity;
use homing_wire::{Gate, link::PROTOCOL};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use tokio::sync::Mutex;

pub mod frames;

/// A connection without a word for this long is lost.
const IDLE: Duration = Duration::from_secs(6);
/// How often a quiet connection says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Handoffs from one gate at one time; more wait for their turn at the sender.
const STREAMS_MAX: u32 = 1_024;
/// Bytes under way on one stream, and on one connection, before the sender waits.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 32 << 20;

/// This gate's end of the link.
#[derive(Debug)]
pub struct HandoffLink {
    endpoint: quinn::Endpoint,
    /// By the other gate's name and address. The lock is held while one is made, so that many
    /// handoffs to one gate make one connection.
    connections: Mutex<HashMap<(String, String), quinn::Connection>>,
}

/// Why a gate cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum LinkDown {
    /// Its name does not resolve.
    #[error("{address} does not resolve: {error}")]
    Unresolved {
        /// What was looked up.
        address: String,
        /// The system's words.
        error: io::Error,
    },
    /// It cannot be asked.
    #[error("{gate} at {address}: {detail}")]
    Refused {
        /// The gate's name.
        gate: String,
        /// Where.
        address: String,
        /// Why.
        detail: String,
    },
}

impl HandoffLink {
    /// Opens the link on a bound socket. Must be called within the runtime that is to drive it.
    ///
    /// # Errors
    /// The system, or the TLS library, refuses.
    pub fn open(socket: UdpSocket, identity: &Identity) -> io::Result<Self> {
        let odd = |fault: &dyn std::fmt::Display| io::Error::other(fault.to_string());
        let server = QuicServerConfig::try_from(identity.server_config(&[PROTOCOL]))
            .map_err(|fault| odd(&fault))?;
        let client = QuicClientConfig::try_from(identity.client_config(&[PROTOCOL]))
            .map_err(|fault| odd(&fault))?;
        let transport = Arc::new(transport());
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(server));
        server.transport_config(Arc::clone(&transport));
        // A gate's address does not change under it; a client's may be forged.
        server.migration(false);
        let mut client = quinn::ClientConfig::new(Arc::new(client));
        client.transport_config(transport);
        socket.set_nonblocking(true)?;
        let runtime = quinn::default_runtime().ok_or_else(|| odd(&"no runtime"))?;
        let mut endpoint =
            quinn::Endpoint::new(quinn::EndpointConfig::default(), Some(server), socket, runtime)?;
        endpoint.set_default_client_config(client);
        Ok(Self { endpoint, connections: Mutex::default() })
    }

    /// The next connection that another gate makes; `None` once the link is closed.
    pub async fn accept(&self) -> Option<quinn::Incoming> {
        self.endpoint.accept().await
    }

    /// A stream to another gate, over the connection there is or a new one.
    ///
    /// # Errors
    /// It cannot be reached, or is not who it should be.
    pub async fn stream(&self, gate: &Gate) -> Result<Stream, LinkDown> {
        let refused = |detail: String| LinkDown::Refused {
            gate: gate.name.clone(),
            address: gate.link.clone(),
            detail,
        };
        let connection = self.connection(gate).await?;
        match connection.open_bi().await {
            Ok((send, receive)) => Ok(Stream { send, receive, rtt: connection.rtt() }),
            Err(fault) => {
                self.forget(gate).await;
                Err(refused(fault.to_string()))
            }
        }
    }

    async fn connection(&self, gate: &Gate) -> Result<quinn::Connection, LinkDown> {
        let mut connections = self.connections.lock().await;
        let name = (gate.name.clone(), gate.link.clone());
        if let Some(known) = connections.get(&name)
            && known.close_reason().is_none()
        {
            return Ok(known.clone());
        }
        connections.retain(|_, connection| connection.close_reason().is_none());
        let made = tokio::time::timeout(CONNECT, self.connect(gate)).await;
        let connection = match made {
            Ok(made) => made?,
            Err(_) => {
                let detail = "no answer within 3 s".to_owned();
                let (gate, address) = name;
                return Err(LinkDown::Refused { gate, address, detail });
            }
        };
        connections.insert(name, connection.clone());
        Ok(connection)
    }

    async fn connect(&self, gate: &Gate) -> Result<quinn::Connection, LinkDown> {
        let unresolved = |error| LinkDown::Unresolved { address: gate.link.clone(), error };
        let refused = |detail: String| LinkDown::Refused {
            gate: gate.name.clone(),
            address: gate.link.clone(),
            detail,
        };
        let mut found = tokio::net::lookup_host(&gate.link).await.map_err(unresolved)?;
        let address = found.next().ok_or_else(|| unresolved(io::ErrorKind::NotFound.into()))?;
        let connecting = self.endpoint.connect(address, &gate.name);
        let connecting = connecting.map_err(|fault| refused(fault.to_string()))?;
        connecting.await.map_err(|fault| refused(fault.to_string()))
    }

    async fn forget(&self, gate: &Gate) {
        self.connections.lock().await.remove(&(gate.name.clone(), gate.link.clone()));
    }

    /// Where the link listens.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }
}

/// One handoff's stream.
#[derive(Debug)]
pub struct Stream {
    /// Towards the target.
    pub send: quinn::SendStream,
    /// From it.
    pub receive: quinn::RecvStream,
    /// The round trip, as the connection measures it.
    pub rtt: Duration,
}

fn transport() -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(STREAMS_MAX.into())
        .max_concurrent_uni_streams(0_u8.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(CONNECTION_WINDOW.into())
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IDLE.try_into().ok())
        .keep_alive_interval(Some(KEEP_ALIVE));
    transport
}
