//! Fetching ahead of a session that is on its way here what it fetched where it was. The decisions
//! (what counts as hot, what is next, how fast) are `homing_session::prewarm`'s; this knows the
//! sessions of this process, takes in what other gates tell, and sees to the fetching. Nothing
//! waits for it: a handoff has said all it has to say when it has named the objects.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use homing_session::prewarm::{Noted, Pace, SketchLimits, Sketches, Turn, WarmQueue};
use homing_wire::{HotObject, Service, ServiceId, SessionKey, ZoneId, prewarm};
use parking_lot::Mutex;
use pingora_proxy::HttpProxy;
use tokio::{sync::Notify, task::JoinSet};

use crate::{
    clock::Clock,
    config::PrewarmSettings,
    http::{
        cache::Marks,
        edge::Edge,
        facts::{EdgeFacts, FactsCell},
        warm::{self, Fetched},
    },
    live::{Live, LiveTable},
    telemetry::{
        Metrics, Recorder,
        prewarm::{PrewarmCounts, Skipped},
    },
};

/// Parts that sessions are spread over, so that requests do not wait for each other.
const SHARDS: usize = 32;
/// Sessions whose fetches are remembered, in all.
const SESSIONS_MAX: usize = 200_000;
/// Bytes that takes, in all.
const SKETCH_BYTES_MAX: usize = 64 << 20;
/// A session that fetched nothing for so long starts anew.
const IDLE_MS: u64 = 30 * 60_000;
/// How often the idle are looked for, and how many of each shard then.
const SWEEP: Duration = Duration::from_secs(5);
const SWEEP_LOOKS: usize = 256;
/// Users' requests in flight, a thread, above which they go first.
const USERS_MAX: usize = 128;
/// A connection opened ahead is taken to last so long.
const CONNECTED: Duration = Duration::from_secs(30);
/// Endpoints that this is remembered of.
const CONNECTED_MAX: usize = 4_096;
/// Bytes that anything waiting costs beside its texts.
const WAITING_BYTES: usize = 160;

/// What is known of sessions' fetches, and what is to be fetched ahead of some.
pub struct Prewarm {
    sketches: Box<[Mutex<Sketches>]>,
    queue: Mutex<WarmQueue<Wanted>>,
    offered: Notify,
    connected: Mutex<HashMap<u64, Instant>>,
    facts: Arc<FactsCell>,
    live: Arc<LiveTable>,
    recorder: Arc<Recorder>,
    counts: Arc<PrewarmCounts>,
    marks: Arc<Marks>,
    clock: Clock,
    users_max: usize,
    /// Makes what tells objects apart a secret of this process.
    seed: u64,
}

/// Something to fetch.
#[derive(Debug)]
struct Wanted {
    order: Arc<Order>,
    /// The object, or only a connection to where it would come from.
    object: Option<HotObject>,
}

/// For whom and where it is fetched.
#[derive(Debug)]
pub struct Order {
    /// The session that is on its way.
    pub key: SessionKey,
    /// The table's facts when it was told.
    pub facts: Arc<EdgeFacts>,
    /// Its service by them.
    pub service: ServiceId,
    /// The zone it is on its way to.
    pub zone: ZoneId,
}

impl Order {
    /// The service.
    #[must_use]
    pub fn service(&self) -> Option<&Service> {
        self.facts.facts.services.get(self.service.index())
    }
}

impl Prewarm {
    /// Knows nothing yet. `seed` is a random number.
    #[must_use]
    pub fn new(
        settings: PrewarmSettings,
        threads: usize,
        seed: u64,
        (live, facts): (Arc<LiveTable>, Arc<FactsCell>),
        recorder: Arc<Recorder>,
        metrics: &Metrics,
    ) -> Self {
        let limits = SketchLimits {
            sessions_max: SESSIONS_MAX / SHARDS,
            bytes_max: SKETCH_BYTES_MAX / SHARDS,
            idle_ms: IDLE_MS,
        };
        let (bytes_per_second, at_once) = (settings.bytes_per_second(), settings.at_once);
        Self {
            sketches: (0..SHARDS).map(|_| Mutex::new(Sketches::new(limits))).collect(),
            queue: Mutex::new(WarmQueue::new(Pace { bytes_per_second, at_once })),
            offered: Notify::new(),
            connected: Mutex::default(),
            facts,
            live,
            recorder,
            counts: Arc::clone(&metrics.prewarm),
            marks: Arc::new(Marks::new(Arc::clone(&metrics.prewarm))),
            clock: Clock::process(),
            users_max: USERS_MAX * threads.max(1),
            seed,
        }
    }

    /// A session has fetched an object that is kept. `id` tells objects apart.
    pub fn fetched(
        &self,
        key: SessionKey,
        id: u64,
        objects_max: u16,
        object: impl FnOnce() -> Option<HotObject>,
    ) -> Noted {
        let now_ms = self.clock.now_ms();
        self.shard(key).lock().note(key, id, objects_max.into(), now_ms, object)
    }

    /// What tells an object apart in this process begins with this.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Objects that a session is known to fetch.
    #[must_use]
    pub fn objects_of(&self, key: SessionKey) -> usize {
        self.shard(key).lock().objects_of(key)
    }

    /// What came of it all.
    #[must_use]
    pub fn counts(&self) -> &PrewarmCounts {
        &self.counts
    }

    /// What waits to be fetched.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.lock().waiting()
    }

    /// The list of a session's objects for the gate it is handed over to; empty if there are none.
    #[must_use]
    pub fn list(&self, key: SessionKey, service: &Service) -> Bytes {
        let objects_max = objects_max(service);
        if objects_max == 0 {
            return Bytes::new();
        }
        let mut shard = self.shard(key).lock();
        let hot = shard.list(key, self.clock.now_ms());
        let (list, _) = prewarm::encode(hot.into_iter().take(objects_max));
        list.into()
    }

    /// Another gate has named the objects of a session that it hands over to this one. A list that
    /// cannot be read costs the list and nothing else.
    pub fn told(
        &self,
        live: &Live,
        zone: ZoneId,
        service: ServiceId,
        key: SessionKey,
        list: &[u8],
    ) {
        match prewarm::decode(list) {
            Ok(objects) => self.offer(live, zone, service, key, objects),
            Err(fault) => {
                self.counts.lists_refused.inc();
                tracing::warn!(%key, %fault, "refused a list of objects to prewarm");
            }
        }
    }

    /// A session moves between two zones of this process.
    pub fn moves(&self, live: &Live, to: ZoneId, service: ServiceId, key: SessionKey) {
        let facts = live.table.facts();
        let objects_max = facts.services.get(service.index()).map_or(0, objects_max);
        let objects = {
            let mut shard = self.shard(key).lock();
            let hot = shard.list(key, self.clock.now_ms());
            hot.into_iter().take(objects_max).cloned().collect()
        };
        self.offer(live, to, service, key, objects);
    }

    fn offer(
        &self,
        live: &Live,
        zone: ZoneId,
        service: ServiceId,
        key: SessionKey,
        mut objects: Vec<HotObject>,
    ) {
        let facts = self.facts.of(live.table.facts());
        let order = Arc::new(Order { key, facts, service, zone });
        let objects_max = order.service().map_or(0, objects_max);
        if objects_max == 0 {
            return;
        }
        objects.truncate(objects_max);
        self.counts.offered.inc_by(objects.len() as u64);
        self.adopt(key, &objects, objects_max);
        let things: Vec<_> = objects
            .into_iter()
            .map(|object| {
                let id = warm::id(&object, self.place_seed(&order));
                let bytes = object.text_bytes() + WAITING_BYTES;
                (id, bytes, Wanted { order: Arc::clone(&order), object: Some(object) })
            })
            .collect();
        let (now_ms, seed) = (self.clock.now_ms(), self.seed ^ key.low64());
        let mut queue = self.queue.lock();
        let mut taken = queue.offer(things, now_ms, seed);
        self.counts.skip(Skipped::Collapsed, taken.collapsed as u64);
        self.counts.skip(Skipped::NoRoom, taken.refused as u64);
        if taken.waiting == 0
            && let Some(id) = self.connection(&order)
        {
            let connection = Wanted { order, object: None };
            taken = queue.offer([(id, WAITING_BYTES, connection)], now_ms, seed);
        }
        drop(queue);
        if taken.waiting > 0 {
            self.offered.notify_one();
        }
    }

    /// The session's next handoff starts from what this one was told.
    fn adopt(&self, key: SessionKey, objects: &[HotObject], objects_max: usize) {
        let now_ms = self.clock.now_ms();
        let mut shard = self.shard(key).lock();
        if shard.objects_of(key) > 0 {
            // It moves within this process, or has been here before: better is known of it.
            return;
        }
        for object in objects.iter().rev() {
            let id = warm::id(object, self.seed);
            shard.note(key, id, objects_max, now_ms, || Some(object.clone()));
        }
    }

    /// The endpoint that the session's requests will go to, if no connection to it is known and
    /// there is something harmless to ask it.
    fn connection(&self, order: &Order) -> Option<u64> {
        order.service()?.health.as_ref()?;
        let Order { key, facts, service, zone } = order;
        let endpoint = facts.endpoints.pick(*service, *zone, *key, &[])?;
        let name = endpoint.endpoint.address.as_bytes();
        let id = xxhash_rust::xxh3::xxh3_64_with_seed(name, self.seed);
        let mut connected = self.connected.lock();
        connected.retain(|_, since| since.elapsed() < CONNECTED);
        let new = !connected.contains_key(&id) && connected.len() < CONNECTED_MAX;
        if new {
            connected.insert(id, Instant::now());
        }
        new.then_some(id)
    }

    /// The same object of another service or zone is another.
    fn place_seed(&self, order: &Order) -> u64 {
        let place = [order.service.0.to_be_bytes(), u16::from(order.zone.0).to_be_bytes()];
        xxhash_rust::xxh3::xxh3_64_with_seed(place.as_flattened(), self.seed)
    }

    fn shard(&self, key: SessionKey) -> &Mutex<Sketches> {
        &self.sketches[key.low64() as usize % SHARDS]
    }

    /// Whether the gate has enough to do with its users.
    fn users_first(&self) -> bool {
        let zones = self.live.load().table.facts().zones.len();
        let in_flight = (0..zones).map(|zone| self.recorder.in_flight(ZoneId(zone as u8)) as usize);
        in_flight.sum::<usize>() > self.users_max
    }

    /// Fetches for as long as it is polled, through the application that serves users.
    pub async fn keep(self: Arc<Self>, app: Arc<HttpProxy<Edge>>) {
        let mut fetches = JoinSet::new();
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            let now_ms = self.clock.now_ms();
            let until_ms = match self.next(now_ms) {
                Turn::Fetch(id, wanted) => {
                    let slot = Slot { prewarm: Arc::clone(&self), id, bytes: 0 };
                    fetches.spawn(fetch(Arc::clone(&app), slot, wanted));
                    continue;
                }
                Turn::Until(at_ms) => at_ms.saturating_sub(now_ms),
                Turn::Idle => u64::MAX >> 32,
            };
            tokio::select! {
                () = self.offered.notified() => {}
                Some(done) = fetches.join_next() => if let Err(error) = done {
                    tracing::error!(%error, "a prewarming task failed");
                },
                _ = sweep.tick() => self.sweep(),
                () = tokio::time::sleep(Duration::from_millis(until_ms)) => {}
            }
        }
    }

    fn next(&self, now_ms: u64) -> Turn<Wanted> {
        let users_first = self.users_first();
        let mut queue = self.queue.lock();
        let turn = queue.turn(now_ms, users_first);
        self.counts.skip(Skipped::Late, queue.take_late());
        turn
    }

    fn sweep(&self) {
        let now_ms = self.clock.now_ms();
        self.sketches.iter().for_each(|shard| shard.lock().sweep(now_ms, SWEEP_LOOKS));
        self.marks.tire(Instant::now());
    }
}

impl std::fmt::Debug for Prewarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prewarm").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

/// A fetch under way. However it ends, it makes room for the next.
struct Slot {
    prewarm: Arc<Prewarm>,
    id: u64,
    bytes: u64,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let now_ms = self.prewarm.clock.now_ms();
        self.prewarm.queue.lock().done(self.id, self.bytes, now_ms);
    }
}

/// Fetches one thing and counts what came of it.
async fn fetch(app: Arc<HttpProxy<Edge>>, mut slot: Slot, wanted: Wanted) {
    let Wanted { order, object } = wanted;
    let is_object = object.is_some();
    let (fetched, bytes) = warm::fetch(&app, order, object, &slot.prewarm.marks).await;
    slot.bytes = bytes;
    let counts = &slot.prewarm.counts;
    counts.bytes.inc_by(bytes);
    let skipped = match fetched {
        Fetched::Kept => {
            counts.fetched.inc();
            return;
        }
        Fetched::Answered if !is_object => {
            counts.connections.inc();
            return;
        }
        Fetched::Answered | Fetched::NotKept => Skipped::NotKept,
        Fetched::Present => Skipped::Present,
        Fetched::Status => Skipped::Status,
        Fetched::Failed => Skipped::Failed,
    };
    counts.skip(skipped, 1);
}

fn objects_max(service: &Service) -> usize {
    service.cache.map_or(0, |cache| cache.prewarm_objects.into())
}
