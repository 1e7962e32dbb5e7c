//! What a handoff costs the client of an open WebSocket: how long a message of its waited for the
//! next leg, as the edges and gates that replaced legs have counted it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::figures;
use super::socket::Talker;
use super::stage::Stage;
use super::writer::{Fate, Writer};
use crate::rest::Ask;
use crate::trouble::Trouble;

/// The histogram's buckets on a process's page.
const BUCKET: &str = "homing_tunnel_gap_seconds_bucket{le=\"";
/// Clients with a WebSocket that take turns.
const TALKERS: usize = 12;
/// Handoffs at most: they are many times slower than what is measured of them.
const HANDOFFS_MAX: usize = 120;
/// Time that clients have to open their sockets.
const OPENING: Duration = Duration::from_secs(2);

/// What carries came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Gaps {
    /// Handoffs completed.
    pub handoffs: usize,
    /// Legs that were replaced.
    pub carried: u64,
    /// Sockets that were closed.
    pub closed: usize,
    /// Median and 99th percentile, milliseconds; between the edges of a bucket they are guessed.
    pub gap_ms: [f64; 2],
    /// Pause of the same handoffs, likewise.
    pub pause_ms: [f64; 2],
}

/// Hands sessions with an open WebSocket over, and nothing else happens.
///
/// # Errors
/// The fleet does not serve.
pub async fn measure(stage: &Stage, wanted: usize) -> Result<Gaps, Trouble> {
    let mut users = Vec::new();
    let mut talkers = Vec::new();
    for n in 0..TALKERS {
        let user = Writer::new(format!("gaps-{n}"), stage.edges.clone(), false);
        if user.write(40).await != Fate::Acknowledged {
            return Err(Trouble::failure(format!("{} cannot write", user.user)));
        }
        talkers.push(Talker::new(user.user.clone(), stage.edges[n % stage.edges.len()]));
        users.push(user);
    }
    let (silence, stopped) = tokio::sync::watch::channel(false);
    let mut talking = tokio::task::JoinSet::new();
    for talker in &talkers {
        let (talker, stopped) = (Arc::clone(talker), stopped.clone());
        talking.spawn(async move { talker.talk(stopped).await });
    }
    tokio::time::sleep(OPENING).await;
    let before = Buckets::of(stage).await?;
    let ended = figures::hand_over(stage, &users, wanted.min(HANDOFFS_MAX)).await;
    // A leg is replaced after its handoff is over.
    tokio::time::sleep(OPENING).await;
    let counted = Buckets::of(stage).await?.since(&before);
    silence.send_replace(true);
    while talking.join_next().await.is_some() {}
    let row = figures::row(&ended?);
    Ok(Gaps {
        handoffs: row.completed,
        carried: counted.all(),
        closed: talkers.iter().map(|talker| talker.heard().closes.len()).sum(),
        gap_ms: counted.gap_ms(),
        pause_ms: row.pause_ms,
    })
}

/// The line for people.
#[must_use]
pub fn text(gaps: &Gaps) -> String {
    let pair = |[a, b]: [f64; 2]| format!("{a:.1} / {b:.1} ms");
    format!(
        "\n{} handoffs under open WebSockets, pause p50/p99 {}: {} legs replaced, a client's message \
         waited p50/p99 {}, {} sockets closed\n",
        gaps.handoffs,
        pair(gaps.pause_ms),
        gaps.carried,
        pair(gaps.gap_ms),
        gaps.closed
    )
}

/// Gaps of at most so many microseconds, by upper edge, of the whole fleet.
#[derive(Debug, Default)]
pub struct Buckets(BTreeMap<u64, u64>);

impl Buckets {
    /// What all edges and gates have counted since they were started.
    ///
    /// # Errors
    /// A process does not answer.
    pub async fn of(stage: &Stage) -> Result<Self, Trouble> {
        let mut buckets = Self::default();
        for admin in stage.admins.values() {
            buckets.add(&admin.raw(Ask::get("/metrics")).await?.text());
        }
        Ok(buckets)
    }

    /// What came after an earlier look.
    #[must_use]
    pub fn since(mut self, before: &Self) -> Self {
        for (edge, count) in &before.0 {
            let now = self.0.entry(*edge).or_default();
            *now = now.saturating_sub(*count);
        }
        self
    }

    /// How many there were.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.0.values().next_back().copied().unwrap_or(0)
    }

    /// Median and 99th percentile, milliseconds.
    #[must_use]
    pub fn gap_ms(&self) -> [f64; 2] {
        [0.5, 0.99].map(|share| self.at(share * self.all() as f64))
    }

    fn add(&mut self, page: &str) {
        for line in page.lines().filter_map(|line| line.strip_prefix(BUCKET)) {
            let Some((edge, count)) = line.split_once("\"} ") else { continue };
            let edge_us = edge.parse::<f64>().ok().filter(|edge| edge.is_finite());
            let edge_us = edge_us.map_or(u64::MAX, |edge| (edge * 1e6).round() as u64);
            *self.0.entry(edge_us).or_default() += count.trim().parse::<u64>().unwrap_or(0);
        }
    }

    /// Milliseconds that so many gaps do not exceed.
    fn at(&self, rank: f64) -> f64 {
        let (mut from_us, mut below) = (0, 0);
        for (edge_us, count) in &self.0 {
            if *count as f64 >= rank && *count > below {
                if *edge_us == u64::MAX {
                    break;
                }
                let within = (rank - below as f64) / (count - below) as f64;
                return (from_us as f64 + within * (edge_us - from_us) as f64) / 1e3;
            }
            (from_us, below) = (*edge_us, *count);
        }
        // Beyond the last edge nothing is known.
        from_us as f64 / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_add_up_and_what_lies_in_a_bucket_is_guessed() {
        let page = |counts: [u64; 3]| {
            let [one, two, all] = counts;
            format!(
                "homing_tunnel_gap_seconds_sum 1.5\nhoming_tunnel_gap_seconds_count {all}\n\
                 {BUCKET}0.01\"}} {one}\n{BUCKET}0.03\"}} {two}\n{BUCKET}+Inf\"}} {all}\n"
            )
        };
        let mut before = Buckets::default();
        assert_eq!((before.all(), before.gap_ms()), (0, [0.0, 0.0]));
        before.add(&page([5, 5, 5]));
        let mut buckets = Buckets::default();
        for counts in [[30, 80, 80], [5, 25, 25]] {
            buckets.add(&page(counts));
        }
        let mut buckets = buckets.since(&before);
        let [p50, p99] = buckets.gap_ms();
        assert_eq!(buckets.all(), 100);
        // The 50th and the 99th of a hundred: 20 and 69 of the 70 between 10 and 30 ms.
        assert!((p50 - 15.714).abs() < 0.001 && (p99 - 29.714).abs() < 0.001, "{p50} {p99}");
        buckets.add(&page([0, 0, 100]));
        assert_eq!((buckets.all(), buckets.gap_ms()[1]), (200, 30.0));
    }
}
