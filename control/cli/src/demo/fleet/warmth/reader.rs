//! A user who reads: a set of items of one's own, some more and some less often, half of them read
//! by all others too, with a cache to be warm or cold at the gate that answers.

use std::net::SocketAddr;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::Instant;

use crate::demo::fleet::stage::{ZONES, one_way};

/// Items that a user reads.
const ITEMS: usize = 48;
/// How unevenly: the weight of the n-th is one over n to this power.
const SKEW: f64 = 0.9;
/// Items asked for at one time when all are read first, as a browser does.
const AT_ONCE: usize = 6;
/// Pause before the next item.
const THINK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(20);
const ITEM_BYTES_MAX: usize = 1 << 20;

/// One answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    /// Where it came from.
    pub(super) zone: usize,
    /// Time to its last byte, without the way from the edge to the zone and back, milliseconds.
    pub(super) beyond_ms: f64,
    /// Whether the cache had it.
    pub(super) hit: bool,
}

/// A user.
pub(super) struct Reader {
    /// Who it is; makes its session.
    pub(super) user: String,
    prefix: &'static str,
    edge: SocketAddr,
    pool: Pool<HttpConnector, Empty<bytes::Bytes>>,
    /// Cumulative weights of the items.
    weights: Vec<f64>,
    rng: StdRng,
}

impl Reader {
    /// A user of an edge. Items' paths begin with `prefix`; `seed` makes its choices.
    #[must_use]
    pub(super) fn new(user: String, prefix: &'static str, edge: SocketAddr, seed: u64) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let mut builder = Pool::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_secs(60));
        let pool = builder.build(connector);
        let mut sum = 0.0;
        let weights = (1..=ITEMS).map(|rank| {
            sum += (rank as f64).powf(-SKEW);
            sum
        });
        let rng = StdRng::seed_from_u64(seed);
        Self { user, prefix, edge, pool, weights: weights.collect(), rng }
    }

    /// Reads everything once, some at a time.
    pub(super) async fn read_all(&self) -> Option<()> {
        for some in (0..ITEMS).collect::<Vec<_>>().chunks(AT_ONCE) {
            let reads = some.iter().map(|rank| self.read(*rank));
            let reads = futures_util::future::join_all(reads).await;
            reads.into_iter().collect::<Option<Vec<_>>>()?;
        }
        Some(())
    }

    /// Reads so many items, one after the other, those that it likes more often.
    pub(super) async fn read_some(&mut self, many: usize) -> Option<Vec<Read>> {
        let mut reads = Vec::with_capacity(many);
        for _ in 0..many {
            tokio::time::sleep(THINK).await;
            let all = self.weights.last().copied().unwrap_or(1.0);
            let drawn = self.rng.random::<f64>() * all;
            let rank = self.weights.partition_point(|weight| *weight < drawn);
            reads.push(self.read(rank.min(ITEMS - 1)).await?);
        }
        Some(reads)
    }

    async fn read(&self, rank: usize) -> Option<Read> {
        // Every other item is the user's own.
        let whose = if rank.is_multiple_of(2) { "all" } else { &self.user };
        let uri = format!("http://{}{}/items/{whose}/{rank}", self.edge, self.prefix);
        let request = Request::get(uri)
            .header("x-user", self.user.as_str())
            // Has the answer name its zone.
            .header("homing-why", "1")
            .body(Empty::new())
            .ok()?;
        let sent = Instant::now();
        let exchange = async {
            let (head, body) = self.pool.request(request).await.ok()?.into_parts();
            Limited::new(body, ITEM_BYTES_MAX).collect().await.ok()?;
            Some(head)
        };
        let head = tokio::time::timeout(PATIENCE, exchange).await.ok()??;
        let took = sent.elapsed();
        let word = |name: &str| head.headers.get(name)?.to_str().ok();
        let zone = ZONES.iter().position(|zone| word("homing-zone") == Some(zone))?;
        let hit = word("cache-status")?.starts_with("homing; hit");
        // Edges stand in the first zone's city.
        let way = 2 * one_way(0, zone);
        let beyond_ms = took.saturating_sub(way).as_secs_f64() * 1e3;
        head.status.is_success().then_some(Read { zone, beyond_ms, hit })
    }
}
