//! A recording made ready to be replayed: who was how far from which zone when, and what was
//! foretold of it.

use homing_forecast::places::Ranked;

use super::distance::Distance;

/// A user in a bin, or at a check-in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) user: usize,
    pub(super) second: i64,
    /// For how many seconds: to the end of the bin, or to the user's next check-in.
    pub(super) lasts: i64,
    pub(super) requests: f64,
}

/// The part that is replayed, with what the part before it taught.
pub(super) struct Trace {
    /// Names of the users, by index.
    pub(super) users: Vec<String>,
    /// Names of the zones, by index.
    pub(super) zones: Vec<String>,
    /// By time.
    pub(super) steps: Vec<Step>,
    /// A row for each step: a request's latency from each zone, ms.
    pub(super) now_ms: Vec<Vec<f64>>,
    /// Where each user was most in the part that is learned from.
    pub(super) homes: Vec<Option<usize>>,
    /// The usual latency of a zone for a user nearest to another: `[nearest][zone]`, ms.
    pub(super) between_ms: Vec<Vec<f64>>,
    pub(super) foretold: Vec<Foretold>,
    /// Seconds of a bin; `None` if a step lasts until the user's next.
    pub(super) bin: Option<i64>,
    /// What a reader has to know of how it was made.
    pub(super) notes: Vec<String>,
}

/// Chances of the zones some bins ahead.
pub(super) struct Foretold {
    pub(super) bins: usize,
    /// A row for each step, by zone.
    pub(super) chances: Vec<Vec<f64>>,
}

/// What is learned before the replay begins.
pub(super) struct Learned {
    visits: Vec<Vec<u32>>,
    sums: Vec<Vec<f64>>,
    counts: Vec<f64>,
}

impl Learned {
    pub(super) fn new(users: usize, zones: usize) -> Self {
        Self {
            visits: vec![vec![0; zones]; users],
            sums: vec![vec![0.0; zones]; zones],
            counts: vec![0.0; zones],
        }
    }

    pub(super) fn add(&mut self, user: usize, row: &[f64]) {
        let Some(near) = nearest(row) else { return };
        self.visits[user][near] += 1;
        self.counts[near] += 1.0;
        for (sum, ms) in self.sums[near].iter_mut().zip(row) {
            *sum += ms;
        }
    }

    /// The zone that each user was nearest to most often.
    pub(super) fn homes(&self) -> Vec<Option<usize>> {
        let most = |visits: &Vec<u32>| {
            let zones = 0..visits.len();
            zones.filter(|zone| visits[*zone] > 0).max_by_key(|zone| (visits[*zone], !zone))
        };
        self.visits.iter().map(most).collect()
    }

    /// Mean latencies for users nearest to each zone; where nobody was, those at the zone itself.
    pub(super) fn between_ms(&self, distance: &Distance) -> Vec<Vec<f64>> {
        let row = |(zone, (sums, count)): (usize, (&Vec<f64>, &f64))| match *count {
            0.0 => distance.at_zone(zone),
            count => sums.iter().map(|sum| sum / count).collect(),
        };
        self.sums.iter().zip(&self.counts).enumerate().map(row).collect()
    }
}

/// The zone that answers soonest.
pub(super) fn nearest(row: &[f64]) -> Option<usize> {
    (0..row.len()).min_by(|a, b| row[*a].total_cmp(&row[*b]))
}

/// A ranking as a row of chances by zone.
pub(super) fn chances(ranked: &[Ranked], zones: usize) -> Vec<f64> {
    let mut chances = vec![0.0; zones];
    for ranked in ranked {
        if let Some(chance) = chances.get_mut(ranked.item as usize) {
            *chance = ranked.chance;
        }
    }
    chances
}

impl Trace {
    /// Expected latencies of each of the next bins, by what was foretold at a step. Between two
    /// bins that were foretold, on the line from one to the other.
    pub(super) fn ahead_ms(&self, step: usize) -> Vec<Vec<f64>> {
        let now = &self.now_ms[step];
        let near = nearest(now).unwrap_or(0);
        let mut rows: Vec<Vec<f64>> = Vec::new();
        let mut last = now.clone();
        for foretold in &self.foretold {
            let row = homing_plan::anticipate::expected_ms(
                &foretold.chances[step],
                near,
                now,
                &self.between_ms,
            );
            let from = rows.len();
            for bin in from + 1..=foretold.bins {
                let share = (bin - from) as f64 / (foretold.bins - from) as f64;
                rows.push(last.iter().zip(&row).map(|(a, b)| a + share * (b - a)).collect());
            }
            last = row;
        }
        rows
    }
}
