//! The table's publisher for benches: control's side of the link with tables made to order, since
//! real control would take a day to make half a million exceptions.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use homing_control::link::rpc::link_server::{Link, LinkServer};
use homing_wire::{
    Bucket, Delta, Endpoint, Epoch, Facts, FromProxy, Home, KeySource, LongLived, Match,
    PlacementTable, Policy, Service, SessionKey, SessionSource, StateSpec, TableDraft, ToProxy,
    TrafficLimits, UpstreamProtocol, Version, Zone, ZoneId, chunk, limits::MESSAGE_BYTES_MAX,
    proto,
};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_stream::{
    StreamExt as _,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// Most documents that wait for the proxy to take them.
const OUTBOX: usize = 64;

/// A publisher with one proxy attached.
#[derive(Debug)]
pub struct Publisher {
    /// Where the proxy attaches.
    pub address: SocketAddr,
    table: PlacementTable,
    outbox: mpsc::Sender<ToProxy>,
    acked: watch::Receiver<Version>,
    salt: u64,
}

#[derive(Debug)]
struct Attach {
    outbox: Arc<Mutex<Option<mpsc::Receiver<ToProxy>>>>,
    acked: watch::Sender<Version>,
}

#[tonic::async_trait]
impl Link for Attach {
    type AttachStream =
        std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<proto::ToProxy, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<proto::FromProxy>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let Some(outbox) = self.outbox.lock().await.take() else {
            return Err(Status::resource_exhausted("one proxy is attached already"));
        };
        let acked = self.acked.clone();
        let mut heard = request.into_inner();
        tokio::spawn(async move {
            while let Some(Ok(message)) = heard.next().await {
                if let Ok(FromProxy::Ack { version, .. }) = FromProxy::from_proto(message) {
                    acked.send_replace(version);
                }
            }
        });
        let sent = ReceiverStream::new(outbox).map(|message| Ok(message.to_proto()));
        Ok(Response::new(Box::pin(sent)))
    }
}

impl Publisher {
    /// Starts on a free loopback port with a first table: two zones of `origins`, one service with
    /// a session cookie, and `exceptions` sessions that nobody uses.
    ///
    /// # Errors
    /// No port is free, or the table cannot be sealed.
    pub async fn start(origins: &[SocketAddr], exceptions: u64) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (outbox, waiting) = mpsc::channel(OUTBOX);
        let (acked, watched) = watch::channel(Version::default());
        let attach = Attach { outbox: Arc::new(Mutex::new(Some(waiting))), acked };
        let server = LinkServer::new(attach).max_decoding_message_size(MESSAGE_BYTES_MAX);
        tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            // Ends with the runtime; a failed bench shows in what it measures.
            let _ = Server::builder().add_service(server).serve_with_incoming(incoming).await;
        });
        let mut draft = TableDraft::first(Version { term: 1, n: 1 }, facts(origins), 0);
        for index in 0..exceptions {
            let key = scattered(index);
            draft.exceptions.insert(key, elsewhere(&draft, key));
        }
        let table = draft.seal().map_err(|faults| io::Error::other(format!("{faults:?}")))?;
        Ok(Self { address, table, outbox, acked: watched, salt: 0 })
    }

    /// Draws up the whole table anew, to be sent later: drawing up is control's work, and is not to
    /// compete with the load for the processor.
    ///
    /// # Errors
    /// The table cannot be advanced.
    pub fn draw_whole(&mut self) -> io::Result<Sealed> {
        let next = Delta::to(self.table.version().next(), 0);
        self.table.advance(next).map_err(|faults| io::Error::other(format!("{faults:?}")))?;
        Ok(Sealed { version: self.table.version(), bytes: self.table.encode() })
    }

    /// Draws up a delta that moves that many sessions.
    ///
    /// # Errors
    /// As [`Self::draw_whole`].
    pub fn draw_moves(&mut self, count: u64) -> io::Result<Sealed> {
        let mut next = Delta::to(self.table.version().next(), 0);
        self.salt += 1;
        let epoch = Epoch(2 + self.salt);
        let zone = ZoneId((self.salt % 2) as u8);
        next.set = (0..count).map(|i| (scattered(i), Home { zone, epoch })).collect();
        let delta =
            self.table.advance(next).map_err(|faults| io::Error::other(format!("{faults:?}")))?;
        Ok(Sealed { version: self.table.version(), bytes: delta.encode() })
    }

    /// Sends what was drawn up, in the order it was, and waits until it is in force.
    ///
    /// # Errors
    /// The proxy does not acknowledge it within a minute.
    pub async fn send(&mut self, sealed: &Sealed) -> io::Result<Duration> {
        let started = std::time::Instant::now();
        for piece in chunk::cut(sealed.version, &sealed.bytes) {
            let sent = self.outbox.send(ToProxy::Chunk(piece)).await;
            sent.map_err(|_| io::Error::other("the proxy is gone"))?;
        }
        let in_force = self.acked.wait_for(|acked| *acked >= sealed.version);
        match tokio::time::timeout(Duration::from_secs(60), in_force).await {
            Ok(Ok(_)) => Ok(started.elapsed()),
            _ => Err(io::Error::other(format!("table {} is not acknowledged", sealed.version))),
        }
    }
}

/// A table or delta, ready to be sent.
#[derive(Debug)]
pub struct Sealed {
    version: Version,
    bytes: bytes::Bytes,
}

/// The n-th of a sequence of keys spread over the key space.
fn scattered(n: u64) -> SessionKey {
    let mix = |seed: u64| {
        let mut x = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    };
    SessionKey(u128::from(mix(1)) << 64 | u128::from(mix(2)))
}

fn elsewhere(draft: &TableDraft, key: SessionKey) -> Home {
    let bucket: Bucket = key.bucket();
    Home { zone: ZoneId(1 - draft.buckets.home(bucket).zone.0), epoch: Epoch(2) }
}

fn facts(origins: &[SocketAddr]) -> Facts {
    let zone = |name: &str, origins: &[SocketAddr]| Zone {
        name: name.to_owned(),
        endpoints: origins
            .iter()
            .map(|origin| Endpoint {
                address: origin.to_string(),
                weight: 100,
                protocol: UpstreamProtocol::H1,
            })
            .collect(),
        location: None,
        capacity: Default::default(),
        price: Default::default(),
        intake: Default::default(),
        shadow_price_us: 0,
        gates: Vec::new(),
    };
    let (east, west) = origins.split_at(origins.len().div_ceil(2));
    let cookie = homing_wire::CookieSpec {
        name: "homing".to_owned(),
        same_site: Default::default(),
        secure: false,
    };
    Facts {
        zones: vec![zone("east", east), zone("west", west)],
        services: vec![Service {
            name: "bench".to_owned(),
            tenant: "default".to_owned(),
            matches: Match { hosts: Vec::new(), path_prefix: "/".to_owned() },
            session: SessionSource { from: vec![KeySource::Cookie(cookie)], idle_ms: 3_600_000 },
            state: StateSpec::Stateless,
            long_lived: LongLived::Drain,
            cache: None,
            idempotency: false,
            lease_lost: homing_wire::LeaseLost::Stop,
            tier: homing_wire::Tier::T0,
            endpoints: Vec::new(),
            health: None,
            limits: TrafficLimits::default(),
        }],
        places: Vec::new(),
        policy: Policy::default(),
    }
}
