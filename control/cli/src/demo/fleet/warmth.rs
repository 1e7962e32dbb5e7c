//! What a user feels right after a handoff of what the gate there has in its cache: the first
//! requests with what the session fetched before fetched ahead, the same without, and the user's
//! requests before the handoff, when all is in the cache, to measure both by.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::figures::quantile;
use super::mover;
use super::stage::{Stage, ZONES};
use crate::rest::Ask;
use crate::sheet::{right, sheet};
use crate::trouble::Trouble;

mod reader;

use reader::{Read, Reader};

/// How long making an item takes: what a fetch costs where it is not in the cache.
pub const ITEM_WORK: &str = "22ms";
/// The services that are read, alike but for prewarming.
const SERVICES: [(&str, &str, &str); 2] =
    [("shop-warm", "/warm", "on"), ("shop-cold", "/cold", "{ prewarm: off }")];
/// Requests that a user makes before, to measure by, and those right after.
const STEADY: usize = 40;
const FIRST: usize = 10;
/// Users at one time, of both services together.
const USERS_AT_ONCE: usize = 8;
/// How often a user's handoff is looked after, and for how long.
const LOOK: Duration = Duration::from_millis(150);
const LONGEST: Duration = Duration::from_secs(30);

/// What one kind of request came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// `steady`, `prewarmed` or `cold`.
    pub run: &'static str,
    /// Requests.
    pub requests: usize,
    /// Time beyond the way to the zone and back, milliseconds: median and 99th percentile.
    pub beyond_ms: [f64; 2],
    /// The same percentiles as multiples of the steady ones.
    pub of_steady: [f64; 2],
    /// Requests that the cache answered, percent.
    pub hits_percent: f64,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Warmth {
    /// Handoffs measured, of each service.
    pub handoffs: [usize; 2],
    /// By kind of request.
    pub rows: Vec<Row>,
    /// What the gates say of what they fetched ahead, all together.
    pub prewarm: BTreeMap<String, u64>,
}

/// The services' part of the fleet's document.
#[must_use]
pub fn services(shops: &[SocketAddr]) -> String {
    let endpoints = ZONES.iter().zip(shops).map(|(zone, shop)| format!("{zone}: [\"{shop}\"]"));
    let endpoints = endpoints.collect::<Vec<_>>().join(", ");
    let service = |(name, path, cache): (&str, &str, &str)| {
        format!(
            "  - name: {name}\n    match: {{ path: {path} }}\n    session: {{ from: [{{ header: \
             x-user }}], idle: 1h }}\n    state: stateless\n    cache: {cache}\n    endpoints: {{ \
             {endpoints} }}\n    health: {{ path: /healthz, interval: 1s, timeout: 2s }}\n"
        )
    };
    SERVICES.map(service).concat()
}

/// Measures the first requests after so many handoffs of each kind.
///
/// # Errors
/// The fleet does not serve, or does not hand over.
pub async fn measure(stage: &Stage, handoffs: usize) -> Result<Warmth, Trouble> {
    let (mut steady, mut first) = (Vec::new(), [Vec::new(), Vec::new()]);
    let mut found = Warmth::default();
    let turns: Vec<usize> = (0..2 * handoffs).collect();
    for turns in turns.chunks(USERS_AT_ONCE) {
        // Every kind is measured while as many others do the same.
        let mut visits: Vec<_> = turns.iter().map(|turn| Visit::new(stage, *turn)).collect();
        all(visits.iter_mut().map(Visit::arrive)).await?;
        steady.extend(all(visits.iter_mut().map(Visit::stay)).await?.into_iter().flatten());
        let moved = all(visits.iter().map(|visit| visit.move_on(stage))).await?;
        let reads = all(visits.iter_mut().map(Visit::go_on)).await?;
        for ((visit, moved), reads) in visits.iter().zip(moved).zip(reads) {
            if moved {
                found.handoffs[visit.kind] += 1;
                first[visit.kind].extend(reads);
            }
        }
    }
    let base = row("steady", &steady, None);
    let [warm, cold] = &first;
    let rows = [row("prewarmed", warm, Some(&base)), row("cold", cold, Some(&base))];
    found.rows = std::iter::once(base.clone()).chain(rows).collect();
    for zone in ZONES {
        let gate = stage.admins.get(&format!("gate-{zone}"));
        let gate = gate.ok_or_else(|| Trouble::failure(format!("{zone} has no gate")))?;
        add(&gate.get_json("/cache").await?["prewarm"], "", &mut found.prewarm);
    }
    Ok(found)
}

/// One user from the first request to the last that is measured.
struct Visit {
    /// Which of the services it is of.
    kind: usize,
    turn: usize,
    reader: Reader,
    /// Where it was served last.
    home: usize,
}

impl Visit {
    fn new(stage: &Stage, turn: usize) -> Self {
        let (kind, turn) = (turn % 2, turn / 2);
        let user = format!("reader-{turn}");
        let reader = Reader::new(user, SERVICES[kind].1, stage.edges[0], turn as u64);
        Self { kind, turn, reader, home: 0 }
    }

    /// Reads everything once.
    async fn arrive(&mut self) -> Result<(), Trouble> {
        self.reader.read_all().await.ok_or_else(|| self.unserved())
    }

    async fn stay(&mut self) -> Result<Vec<Read>, Trouble> {
        let reads = self.reader.read_some(STEADY).await.ok_or_else(|| self.unserved())?;
        self.home = reads.last().map_or(0, |read| read.zone);
        Ok(reads)
    }

    /// Has its session handed over; whether that was done.
    async fn move_on(&self, stage: &Stage) -> Result<bool, Trouble> {
        let to = (self.home + 1 + self.turn % (ZONES.len() - 1)) % ZONES.len();
        let session = session(stage, SERVICES[self.kind].0, &self.reader.user).await?;
        hand_over(stage, &session, ZONES[to]).await
    }

    async fn go_on(&mut self) -> Result<Vec<Read>, Trouble> {
        self.reader.read_some(FIRST).await.ok_or_else(|| self.unserved())
    }

    fn unserved(&self) -> Trouble {
        let (service, user) = (SERVICES[self.kind].0, &self.reader.user);
        Trouble::failure(format!("{user} of {service} is not served"))
    }
}

async fn all<T>(
    of: impl Iterator<Item = impl Future<Output = Result<T, Trouble>>>,
) -> Result<Vec<T>, Trouble> {
    futures_util::future::join_all(of).await.into_iter().collect()
}

async fn session(stage: &Stage, service: &str, user: &str) -> Result<String, Trouble> {
    let edge = stage.admins.get("edge-1").ok_or_else(|| Trouble::failure("there is no edge"))?;
    let asked = json!({ "service": service, "raw": user });
    let told = edge.ask(Ask::send(http::Method::POST, "/key").json(&asked)).await?.json()?;
    Ok(told["session"].as_str().unwrap_or_default().to_owned())
}

/// Hands a session over; whether that was done.
async fn hand_over(stage: &Stage, session: &str, to: &str) -> Result<bool, Trouble> {
    let began = Instant::now();
    let Some(directive) = mover::ask(&stage.control, session, to).await? else { return Ok(false) };
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(moved) = mover::ended(&stage.control, directive).await? {
            return Ok(moved.figures.is_some());
        }
        if began.elapsed() > LONGEST {
            return Err(Trouble::failure(format!("the handoff of {session} does not get on")));
        }
    }
}

fn row(run: &'static str, reads: &[Read], steady: Option<&Row>) -> Row {
    let mut times: Vec<f64> = reads.iter().map(|read| read.beyond_ms).collect();
    let beyond_ms = [quantile(&mut times, 0.5), quantile(&mut times, 0.99)];
    let hits = reads.iter().filter(|read| read.hit).count();
    let base = steady.map_or(beyond_ms, |steady| steady.beyond_ms);
    Row {
        run,
        requests: reads.len(),
        beyond_ms,
        of_steady: [0, 1].map(|at| beyond_ms[at] / base[at].max(0.001)),
        hits_percent: 100.0 * hits as f64 / reads.len().max(1) as f64,
    }
}

/// Adds up a gate's counts, those of a group under its name.
fn add(counts: &Value, group: &str, into: &mut BTreeMap<String, u64>) {
    for (name, count) in counts.as_object().into_iter().flatten() {
        match count.as_u64() {
            Some(count) => *into.entry(format!("{group}{name}")).or_default() += count,
            None => add(count, &format!("{name}_"), into),
        }
    }
}

/// The table for people.
#[must_use]
pub fn text(warmth: &Warmth) -> String {
    let mut table =
        sheet(&["first 10 requests after a move", "requests", "p50/p99", "of steady", "hits"]);
    for row in &warmth.rows {
        let [p50, p99] = row.beyond_ms;
        let [half, most] = row.of_steady;
        table.add_row([
            right(row.run),
            right(row.requests),
            right(format!("{p50:.1} / {p99:.1} ms")),
            right(format!("{half:.2} / {most:.2}")),
            right(format!("{:.1} %", row.hits_percent)),
        ]);
    }
    let count = |name: &str| warmth.prewarm.get(name).copied().unwrap_or_default();
    format!(
        "\n{table}\nbeyond the way there and back; {} + {} handoffs. Ahead: {} objects named, {} \
         fetched ({} KiB), {} there already, {} used by now, {} failed\n",
        warmth.handoffs[0],
        warmth.handoffs[1],
        count("offered"),
        count("fetched"),
        count("bytes") >> 10,
        count("skipped_present") + count("skipped_collapsed"),
        count("used"),
        count("skipped_failed"),
    )
}
