//! What every client of the replay does, drawn up before anything runs: the requests of the log
//! spaced as they were and sped up, numbered notebook writes between them, and the city each client
//! is in. A pure function of log, world and seed, so both arms replay the very same plan.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::trace::{Trace, Verb, Visit};
use super::world::World;
use crate::app::FILL_BYTES_MAX;

/// Share of the clients who stay long enough that drift to another city.
const DRIFT_SHARE: f64 = 0.7;
/// They do so between these shares of their own stay.
const DRIFT_WITHIN: std::ops::Range<f64> = 0.2..0.4;
/// Who stays this share of the run may drift: others are gone before anyone could act.
const STAY_SHARE: f64 = 0.1;
/// One write follows a request with this chance...
const WRITE_SHARE: f64 = 0.5;
/// ...unless the client wrote less than this ago. Writes of one notebook go one after the other, so
/// a log sped up a hundred times would only measure a client that waits for itself.
const WRITE_GAP_US: u64 = 700_000;
/// After this many writes the notebook is read and compared.
const READ_EVERY: u32 = 4;
/// Mean request rate that a speed-up may lead to.
const RATE_MAX: f64 = 250.0;

/// One request that a client is to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Microseconds after the start.
    pub at_us: u64,
    /// Which request.
    pub ask: Ask,
}

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A page of the log.
    Page {
        /// Method class.
        verb: Verb,
        /// Path and query.
        path: String,
        /// The status to be answered.
        status: u16,
        /// The body's length to be answered.
        bytes: usize,
    },
    /// The next numbered entry of the client's notebook.
    Write,
    /// The notebook, to be compared with what was acknowledged.
    Read,
}

/// One client, which is one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPlan {
    /// Where it is at first.
    pub city: usize,
    /// When it turns up elsewhere, and where; microseconds after the start.
    pub drift: Option<(u64, usize)>,
    /// What it sends, in the order of time.
    pub steps: Vec<Step>,
}

impl ClientPlan {
    /// The city at a time after the start.
    #[must_use]
    pub fn city_at(&self, at_us: u64) -> usize {
        match self.drift {
            Some((when, city)) if at_us >= when => city,
            _ => self.city,
        }
    }
}

/// What all clients do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The clients, each with at least one step.
    pub clients: Vec<ClientPlan>,
    /// How long the replay takes.
    pub length: Duration,
    /// How much faster than the log.
    pub speed: f64,
    /// Requests of the log beyond the end of the replay.
    pub cut: u64,
}

/// How long and how fast to replay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Speed-up over the log; chosen to fit `length` if not given.
    pub speed: Option<f64>,
    /// Longest replay; a speed-up alone replays the whole log.
    pub length: Option<Duration>,
}

/// What the length is if neither length nor speed-up is given.
pub const LENGTH: Duration = Duration::from_secs(25);

impl Plan {
    /// Draws the plan up.
    #[must_use]
    pub fn draw(trace: &Trace, world: &World, pace: Pace, seed: u64) -> Self {
        let first = trace.visits.first().map_or(0, |visit| visit.at_s);
        let last = trace.visits.last().map_or(0, |visit| visit.at_s);
        // The log counts whole seconds: its last second counts too.
        let span = (last - first) as f64 + 1.0;
        let (speed, length) = fit(span, trace.visits.len(), pace);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut clients = settle(trace.clients, world, &mut rng);
        let mut cut = 0;
        for (at_us, visit) in spread(trace, first, speed, &mut rng) {
            if Duration::from_micros(at_us) >= length {
                cut += 1;
                continue;
            }
            let client = &mut clients[visit.client as usize];
            add(client, at_us, visit, &mut rng);
        }
        clients.retain(|client| !client.steps.is_empty());
        drift(&mut clients, world, length, &mut rng);
        Self { clients, length, speed, cut }
    }

    /// All requests of the plan.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.clients.iter().map(|client| client.steps.len()).sum()
    }
}

/// Speed-up and length: what is given holds, the rest is chosen to fit, and not faster than
/// [`RATE_MAX`].
fn fit(span_s: f64, visits: usize, pace: Pace) -> (f64, Duration) {
    let whole = |speed: f64| Duration::from_secs_f64((span_s / speed).clamp(0.1, 86_400.0));
    match (pace.speed, pace.length) {
        (Some(speed), None) => (speed, whole(speed)),
        (Some(speed), Some(length)) => (speed, length.min(whole(speed))),
        (None, length) => {
            let length = length.unwrap_or(LENGTH);
            let bearable = RATE_MAX * span_s / (visits.max(1) as f64);
            let speed = (span_s / length.as_secs_f64()).min(bearable).max(f64::MIN_POSITIVE);
            (speed, length.min(whole(speed)))
        }
    }
}

/// Gives every client a city. The first zone's neighbourhood gets half of the clients, so that it
/// is crowded.
fn settle(count: u32, world: &World, rng: &mut StdRng) -> Vec<ClientPlan> {
    let all: Vec<usize> = (0..world.cities.len()).collect();
    let near: Vec<usize> = all.iter().copied().filter(|city| world.nearest(*city) == 0).collect();
    let one = |_| {
        let crowd = rng.random_bool(0.5);
        let from = if crowd && !near.is_empty() { &near } else { &all };
        let city = from.choose(rng).copied().unwrap_or(0);
        ClientPlan { city, drift: None, steps: Vec::new() }
    };
    (0..count).map(one).collect()
}

/// Lets some of those who stay turn up nearer to another zone.
fn drift(clients: &mut [ClientPlan], world: &World, length: Duration, rng: &mut StdRng) {
    let stay_min = length.as_micros() as f64 * STAY_SHARE;
    for client in clients {
        let first = client.steps.first().map_or(0, |step| step.at_us);
        let stay = client.steps.last().map_or(0, |step| step.at_us) - first;
        // Drawn for all, so that one client's stay does not change what the next one does.
        let (drifts, when) = (rng.random_bool(DRIFT_SHARE), rng.random_range(DRIFT_WITHIN));
        let home = world.nearest(client.city);
        let away: Vec<usize> =
            (0..world.cities.len()).filter(|city| world.nearest(*city) != home).collect();
        let to = away.choose(rng).copied();
        if drifts && stay as f64 >= stay_min {
            client.drift = to.map(|to| (first + (when * stay as f64) as u64, to));
        }
    }
}

/// The log's requests with their times in the replay. The log counts whole seconds; requests of one
/// second are spread over it at random, in their order.
fn spread<'a>(trace: &'a Trace, first: i64, speed: f64, rng: &mut StdRng) -> Vec<(u64, &'a Visit)> {
    let mut timed: Vec<(u64, &Visit)> = Vec::with_capacity(trace.visits.len());
    for second in trace.visits.chunk_by(|a, b| a.at_s == b.at_s) {
        let mut within: Vec<f64> = second.iter().map(|_| rng.random::<f64>()).collect();
        within.sort_by(f64::total_cmp);
        for (visit, part) in second.iter().zip(within) {
            let at_s = ((visit.at_s - first) as f64 + part) / speed;
            timed.push(((at_s * 1e6) as u64, visit));
        }
    }
    timed
}

fn add(client: &mut ClientPlan, at_us: u64, visit: &Visit, rng: &mut StdRng) {
    let writes = client.steps.iter().filter(|step| step.ask == Ask::Write);
    let (count, last_us) = writes.fold((0_u32, None), |(n, _), step| (n + 1, Some(step.at_us)));
    let bytes = usize::try_from(visit.bytes).unwrap_or(usize::MAX).min(FILL_BYTES_MAX);
    // What the log's server refused for its own reasons is answered here.
    let status = match visit.status {
        302 | 304 | 403 | 404 => visit.status,
        _ => 200,
    };
    let ask = Ask::Page { verb: visit.verb, path: visit.path.clone(), status, bytes };
    client.steps.push(Step { at_us, ask });
    let rested = last_us.is_none_or(|last| at_us - last >= WRITE_GAP_US);
    if rng.random_bool(WRITE_SHARE) && rested {
        client.steps.push(Step { at_us, ask: Ask::Write });
        if (count + 1).is_multiple_of(READ_EVERY) {
            client.steps.push(Step { at_us, ask: Ask::Read });
        }
    }
}

/// The text of a client's entry: what the ledger expects to read back.
#[must_use]
pub fn entry_text(client: usize, seq: u64) -> String {
    format!("client {client} wrote line {seq}")
}

#[cfg(test)]
mod tests;
