//! The faults: each process of the fleet killed, stopped where it stands and cut off in turn, while
//! clients write and sessions are handed over all the time. The order is drawn from a seed; where
//! in its protocol a handoff is hit is left to the number of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;

use super::audit::{self, Audit, Sockets, audit};
use super::gaps::Buckets;
use super::mover;
use super::socket::Talker;
use super::stage::{Stage, ZONES};
use super::writer::Writer;
use crate::args::FleetTier;
use crate::demo::screen::Screen;
use crate::trouble::Trouble;

/// Clients, half of them over HTTP/2.
const WRITERS: usize = 50;
/// Entries that each writes.
const ENTRIES: usize = 100;
/// Pause between two entries of a client.
const THINK: Duration = Duration::from_millis(500);
/// Pause between two faults: whatever one broke is mended by then, so that each is met alone.
const BETWEEN: Duration = Duration::from_millis(2_500);
/// Pause between two orders to move.
const MOVE_EVERY: Duration = Duration::from_millis(40);
/// Clients with a WebSocket, where the app has one.
const TALKERS: usize = 200;
/// How long sessions are handed over before the first fault.
const ALONE: Duration = Duration::from_secs(15);
/// How long the fleet has to settle once the faults stop.
const SETTLE: Duration = Duration::from_secs(120);

/// One fault.
#[derive(Clone, Debug)]
enum Fault {
    /// Killed, and started again after so long.
    Kill(String, Duration),
    /// Stopped where it stands for so long.
    Stop(String, Duration),
    /// Cut off from the others for so long.
    Cut(String, Duration),
}

/// What the chaos came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// Faults, in words.
    pub faults: Vec<String>,
    /// Handoffs ordered.
    pub ordered: u64,
    /// Handoffs completed and undone.
    pub completed: u64,
    /// See `completed`.
    pub undone: std::collections::BTreeMap<String, u64>,
    /// Answers that were no acknowledgement, by status; 0 for none at all.
    pub refusals: std::collections::BTreeMap<u16, u64>,
    /// What the stores hold against what clients saw.
    pub audit: Audit,
    /// The same of WebSockets.
    pub sockets: Sockets,
    /// Legs of theirs that were replaced before the first fault, and how long a client's message
    /// waited for one, milliseconds: median and 99th percentile.
    pub carried_alone: u64,
    /// See `carried_alone`.
    pub gap_alone_ms: [f64; 2],
}

impl Outcome {
    /// Promises that were broken.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.audit.violations() + self.sockets.violations()
    }
}

/// Lets it happen.
///
/// # Errors
/// The fleet does not come back.
pub async fn run(
    stage: &mut Stage,
    tier: FleetTier,
    seed: u64,
    screen: &Screen,
) -> Result<Outcome, Trouble> {
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| Writer::new(format!("chaos-{seed}-{n}"), stage.edges.clone(), n % 2 == 1))
        .collect();
    let talkers: Vec<_> = match stage.stores.is_empty() {
        true => Vec::new(),
        false => (0..TALKERS)
            .map(|n| {
                let edge = stage.edges[n % stage.edges.len()];
                Talker::new(format!("talker-{seed}-{n}"), edge)
            })
            .collect(),
    };
    let (silence, stopped) = tokio::sync::watch::channel(false);
    let mut talking = tokio::task::JoinSet::new();
    for talker in &talkers {
        let (talker, stopped) = (Arc::clone(talker), stopped.clone());
        talking.spawn(async move { talker.talk(stopped).await });
    }
    let counted = Buckets::of(stage).await?;
    let before = mover::outcomes(&stage.control, 0, &mut Default::default()).await?;
    let mut writing = tokio::task::JoinSet::new();
    for (n, writer) in writers.iter().cloned().enumerate() {
        writing.spawn(async move {
            tokio::time::sleep(THINK * n as u32 / WRITERS as u32).await;
            for _ in 0..ENTRIES {
                writer.write(200).await;
                tokio::time::sleep(THINK).await;
            }
        });
    }
    let (stop, ordered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let moving = tokio::spawn(keep_moving(
        stage.control.clone(),
        writers.clone(),
        talkers.clone(),
        Draw(seed | 1),
        Arc::clone(&stop),
        Arc::clone(&ordered),
    ));
    let mut outcome = Outcome::default();
    let mut draw = Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    tokio::time::sleep(ALONE).await;
    let closes = || talkers.iter().map(|t| t.heard().closes.len() as u64).sum::<u64>();
    let closed_alone = closes();
    // A process that is killed forgets what it has counted.
    let gaps = Buckets::of(stage).await?.since(&counted);
    (outcome.carried_alone, outcome.gap_alone_ms) = (gaps.all(), gaps.gap_ms());
    while !writing.is_empty() {
        let faults = round(stage, &mut draw);
        for fault in faults {
            if writing.is_empty() {
                break;
            }
            let words = fault.words();
            screen.tell(&format!("  {words}"));
            outcome.faults.push(words);
            fault.strike(stage).await?;
            let pause = tokio::time::Instant::now() + BETWEEN;
            while let Ok(Some(_)) = tokio::time::timeout_at(pause, writing.join_next()).await {}
            tokio::time::sleep_until(pause).await;
        }
    }
    stop.store(true, Relaxed);
    let _ = moving.await;
    silence.send_replace(true);
    while talking.join_next().await.is_some() {}
    outcome.ordered = ordered.load(Relaxed);
    mover::settle(&stage.control, SETTLE).await?;
    let mut ended = std::collections::BTreeMap::new();
    mover::outcomes(&stage.control, before, &mut ended).await?;
    for moved in ended.values() {
        match &moved.why {
            None => outcome.completed += 1,
            Some(why) => *outcome.undone.entry(why.clone()).or_default() += 1,
        }
    }
    for writer in &writers {
        for (status, count) in writer.seen().refusals {
            *outcome.refusals.entry(status).or_default() += count;
        }
    }
    outcome.audit = audit(stage, tier, &writers).await?;
    outcome.sockets = audit::sockets(stage, tier, &talkers, closed_alone).await?;
    Ok(outcome)
}

/// Every kind of fault for every process, shuffled.
fn round(stage: &Stage, draw: &mut Draw) -> Vec<Fault> {
    let second = Duration::from_secs(1);
    let mut all = Vec::new();
    for zone in ZONES {
        let gate = format!("gate-{zone}");
        all.push(Fault::Kill(gate.clone(), Duration::from_millis(200)));
        all.push(Fault::Stop(gate.clone(), second * 2));
        // Longer than its lease: it must find out that it may not go on.
        all.push(Fault::Stop(gate.clone(), second * 14));
        all.push(Fault::Cut(gate.clone(), second));
        all.push(Fault::Cut(format!("{gate}-link"), second * 3));
    }
    for n in 1..=stage.edges.len() {
        all.push(Fault::Kill(format!("edge-{n}"), Duration::from_millis(100)));
        all.push(Fault::Stop(format!("edge-{n}"), second));
    }
    for store in &stage.stores {
        all.push(Fault::Kill(store.name.clone(), Duration::from_millis(500)));
        all.push(Fault::Stop(store.name.clone(), second));
    }
    all.push(Fault::Kill("control".to_owned(), second * 2));
    all.push(Fault::Stop("control".to_owned(), second * 4));
    for n in (1..all.len()).rev() {
        all.swap(n, draw.below(n + 1));
    }
    all
}

impl Fault {
    fn words(&self) -> String {
        match self {
            Self::Kill(name, down) => format!("kill {name}, back after {down:?}"),
            Self::Stop(name, long) => format!("stop {name} for {long:?}"),
            Self::Cut(name, long) => format!("cut {name} off for {long:?}"),
        }
    }

    async fn strike(&self, stage: &mut Stage) -> Result<(), Trouble> {
        match self {
            Self::Kill(name, down) => stage.kill(name, *down).await,
            Self::Stop(name, long) => {
                stage.pause(name, true)?;
                tokio::time::sleep(*long).await;
                stage.pause(name, false)
            }
            Self::Cut(name, long) => {
                let switch = stage.switches.of(name);
                switch.cut(true);
                tokio::time::sleep(*long).await;
                switch.cut(false);
                Ok(())
            }
        }
    }
}

async fn keep_moving(
    control: crate::rest::Rest,
    writers: Vec<Arc<Writer>>,
    talkers: Vec<Arc<Talker>>,
    mut draw: Draw,
    stop: Arc<AtomicBool>,
    ordered: Arc<AtomicU64>,
) {
    while !stop.load(Relaxed) {
        tokio::time::sleep(MOVE_EVERY).await;
        let n = draw.below(writers.len() + talkers.len());
        let session = match talkers.get(n) {
            Some(talker) => talker.heard().session,
            None => writers[n - talkers.len()].seen().session,
        };
        let Some(session) = session else { continue };
        let to = ZONES[draw.below(ZONES.len())];
        // Control may be dead just now; and most refusals say that the session is moving already.
        if let Ok(Some(_)) = mover::ask(&control, &session, to).await {
            ordered.fetch_add(1, Relaxed);
        }
    }
}

/// Xorshift: faults need variety, not secrecy, and a seed that repeats them.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}
