//! How long a table takes to all of a thousand proxies, over real sockets from a real control: one
//! move, ten thousand, and all proxies attaching at once. Control and subscribers share one
//! machine's cores, so what is printed is an upper bound for either.
//!
//! Every subscriber has a stream of its own, reassembles and decodes its own bytes and
//! acknowledges with the digest; the table those bytes lead to is made once a version and shared,
//! because a thousand whole tables in one process would measure its memory.
//!
//! `cargo run --release -p homing-bench --bin fan_out`

use std::{
    collections::HashMap,
    error::Error,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use clap::Parser;
use homing_control::{Control, startup::Settings};
use homing_wire::{
    Delta, FromProxy, Hello, Incarnation, PlacementTable, SessionKey, ToProxy, Version, ZoneId,
    chunk::Assembly,
    envelope::{self, Kind},
    limits::MESSAGE_BYTES_MAX,
    proto,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

type Odd = Box<dyn Error + Send + Sync>;

/// Measure a table's way to many proxies.
#[derive(Parser)]
struct Arguments {
    /// Proxies.
    #[arg(long, default_value_t = 1_000)]
    proxies: usize,
    /// Moves, one at a time.
    #[arg(long, default_value_t = 200)]
    moves: usize,
    /// Moves at once.
    #[arg(long, default_value_t = 10_000)]
    burst: u64,
}

const DOCUMENT: &str = "zones:\n  - { name: east, endpoints: [\"127.0.0.1:1\"] }\n  - { name: \
                        west, endpoints: [\"127.0.0.1:2\"] }\nservices:\n  - name: bench\n    \
                        session: { from: [{ header: x-user }], idle: 1h }\n    state: stateless\n";

/// Tables that subscribers have come to, made by whoever came first.
#[derive(Default)]
struct Tables(Mutex<HashMap<Version, Arc<PlacementTable>>>);

/// What a subscriber has in force, and since when.
type InForce = (Version, usize, Instant);

#[tokio::main]
async fn main() -> Result<(), Odd> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let document = folder.path().join("zones.yaml");
    std::fs::write(&document, DOCUMENT)?;
    let any = ([127, 0, 0, 1], 0).into();
    let control = Control::start(Settings {
        api: any,
        link: any,
        data_dir: folder.path().join("data"),
        document: Some(document),
        round_ms: 60_000,
        ..Settings::default()
    })
    .await?;
    let url = format!("http://{}", control.link);
    let tables = Arc::<Tables>::default();

    let begun = Instant::now();
    let mut states = Vec::new();
    let mut outboxes = Vec::new();
    let mut subscribers = tokio::task::JoinSet::new();
    for n in 0..arguments.proxies {
        let (state, seen) = watch::channel((Version::default(), 0, begun));
        let (outbox, said) = mpsc::channel(1_024);
        let (url, tables, answers) = (url.clone(), Arc::clone(&tables), outbox.clone());
        subscribers.spawn(async move {
            if let Err(fault) = subscribe(n, url, tables, state, answers, said).await {
                eprintln!("proxy {n}: {fault}");
            }
        });
        states.push(seen);
        outboxes.push(outbox);
    }
    let first = all(&mut states, |(version, ..)| version.n > 0).await?;
    let last = first.iter().max().copied().unwrap_or(begun);
    println!(
        "{} proxies attach at once: all have the table after {:.0} ms",
        arguments.proxies,
        (last - begun).as_secs_f64() * 1e3
    );

    let mut each = Vec::new();
    for n in 0..arguments.moves {
        let held = states[0].borrow().1;
        let sent = Instant::now();
        outboxes[0].send(residence(n as u64)).await?;
        let reached = all(&mut states, |(_, homes, _)| *homes > held).await?;
        each.extend(reached.iter().map(|at| (*at - sent).as_secs_f64() * 1e3));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    each.sort_by(f64::total_cmp);
    let quantile = |share: f64| each[((each.len() - 1) as f64 * share) as usize];
    println!(
        "one move, from a proxy's word through control's journal into effect at all: p50 {:.1} ms, \
         p99 {:.1} ms, max {:.1} ms over {} moves",
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
        arguments.moves
    );

    let held = states[0].borrow().1;
    let sent = Instant::now();
    for n in 0..arguments.burst {
        outboxes[0].send(residence(1_000_000 + n)).await?;
    }
    let said = sent.elapsed();
    let wanted = held + arguments.burst as usize;
    let reached = all(&mut states, |(_, homes, _)| *homes >= wanted).await?;
    let last = reached.iter().max().copied().unwrap_or(sent);
    println!(
        "{} moves, each told by itself: all in effect at all after {:.0} ms; telling them took \
         {:.0} ms of it",
        arguments.burst,
        (last - sent).as_secs_f64() * 1e3,
        said.as_secs_f64() * 1e3
    );
    println!("peak memory of control and all proxies: {} MiB", peak_kib() >> 10);
    // They would tell that control has gone.
    subscribers.shutdown().await;
    control.shutdown().await;
    Ok(())
}

/// When each subscriber came to hold what is wanted.
async fn all(
    states: &mut [watch::Receiver<InForce>],
    wanted: impl Fn(&InForce) -> bool,
) -> Result<Vec<Instant>, Odd> {
    let mut reached = Vec::with_capacity(states.len());
    for state in states {
        let wait = tokio::time::timeout(Duration::from_secs(60), state.wait_for(|s| wanted(s)));
        let (.., at) = *wait.await.map_err(|_| "not all came to hold it within a minute")??;
        reached.push(at);
    }
    Ok(reached)
}

fn residence(n: u64) -> proto::FromProxy {
    // Scattered over the key space, and away from whatever zone their bucket is in.
    let half = |salt: u64| (n ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    let key = SessionKey(u128::from(half(1)) << 64 | u128::from(half(2)));
    let (zone, epoch) = (ZoneId((n % 2) as u8), homing_wire::Epoch(2 + n));
    FromProxy::Residence { key, zone, epoch }.to_proto()
}

async fn subscribe(
    n: usize,
    url: String,
    tables: Arc<Tables>,
    state: watch::Sender<InForce>,
    answers: mpsc::Sender<proto::FromProxy>,
    said: mpsc::Receiver<proto::FromProxy>,
) -> Result<(), Odd> {
    let hello = Hello {
        proxy: format!("proxy-{n}"),
        incarnation: Incarnation(1 + n as u64),
        holds: Version::default(),
        digest: 0,
        format: envelope::FORMAT,
        gate: None,
        sums: None,
    };
    answers.send(FromProxy::Hello(hello).to_proto()).await?;
    let channel = Endpoint::from_shared(url)?.tcp_nodelay(true).connect().await?;
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    grpc.ready().await?;
    let codec = tonic_prost::ProstCodec::<proto::FromProxy, proto::ToProxy>::default();
    let path = http::uri::PathAndQuery::from_static("/homing.v1.Link/Attach");
    let request = tonic::Request::new(ReceiverStream::new(said));
    let mut stream = grpc.streaming(request, path, codec).await?.into_inner();
    let mut assembly = Assembly::default();
    let mut held: Option<Arc<PlacementTable>> = None;
    while let Some(message) = stream.message().await? {
        let ToProxy::Chunk(chunk) = ToProxy::from_proto(message)? else { continue };
        let Some((_, sealed)) = assembly.push(chunk)? else { continue };
        let table = tables.after(held.take(), &sealed)?;
        let (version, digest) = (table.version(), table.digest());
        state.send_replace((version, table.exceptions().len(), Instant::now()));
        held = Some(table);
        answers.send(FromProxy::Ack { version, digest }.to_proto()).await?;
    }
    Ok(())
}

impl Tables {
    fn after(
        &self,
        held: Option<Arc<PlacementTable>>,
        sealed: &[u8],
    ) -> Result<Arc<PlacementTable>, Odd> {
        let (kind, _) = envelope::open(sealed)?;
        let delta = match kind {
            Kind::Table => {
                let table = Arc::new(PlacementTable::decode(sealed)?);
                let mut known = self.lock();
                return Ok(Arc::clone(known.entry(table.version()).or_insert(table)));
            }
            Kind::Delta => Delta::decode(sealed)?,
            Kind::Repair => return Err("a repair came, and no sums were sent".into()),
        };
        let held = held.ok_or("a delta came before a table")?;
        let mut known = self.lock();
        if let Some(table) = known.get(&delta.version) {
            return match table.digest() == delta.digest {
                true => Ok(Arc::clone(table)),
                false => Err("two ways to one version differ".into()),
            };
        }
        let mut next = PlacementTable::clone(&held);
        next.apply(&delta)?;
        let next = Arc::new(next);
        known.retain(|version, table| Arc::strong_count(table) > 1 || *version >= delta.version);
        known.insert(delta.version, Arc::clone(&next));
        Ok(next)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Version, Arc<PlacementTable>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The process's peak resident memory; 0 where the system does not tell.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
