//! What a policy came to: latency, arrivals, moves, copies, bytes, money.

use serde::Serialize;

use super::trace::Step;
use crate::args::TermsArgs;

/// Sums over the steps of a replay.
#[derive(Default)]
pub(super) struct Tally {
    /// Latency of the requests, and how many had it.
    latency: Vec<(f64, f64)>,
    pub(super) user_s: f64,
    pub(super) held_s: f64,
    /// Copies made.
    pub(super) made: u64,
    /// Copies sent what has changed, summed over bins.
    updated: u64,
    moves: u64,
    cold: u64,
    /// Arrivals without a copy: moves, with the latency they are to add.
    cold_at: Vec<(f64, f64)>,
}

/// The figures of one policy.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    pub(super) policy: String,
    pub(super) mean_ms: f64,
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
    /// Of the moves, how many came to a zone without a copy.
    pub(super) cold_share: f64,
    pub(super) moves: u64,
    pub(super) moves_per_user_hour: f64,
    /// Copies of a user beside the home, mean over time.
    pub(super) copies_per_user: f64,
    pub(super) moved_gb: f64,
    pub(super) copy_hours: f64,
    pub(super) usd: f64,
}

impl Tally {
    /// A step served at this latency; `arrival` says of a move whether it was cold.
    pub(super) fn add(&mut self, step: &Step, ms: f64, arrival: Option<bool>, copies: usize) {
        self.user_s += step.lasts as f64;
        self.updated += copies as u64;
        let mut requests = step.requests;
        if let Some(cold) = arrival {
            self.moves += 1;
            self.cold += u64::from(cold);
            if cold {
                let first = requests.min(1.0);
                self.cold_at.push((ms, first));
                requests -= first;
            }
        }
        self.latency.push((ms, requests));
    }

    pub(super) fn figures(mut self, policy: String, terms: &TermsArgs) -> Figures {
        let cold_ms = terms.cold_ms;
        self.latency.extend(self.cold_at.iter().map(|(ms, first)| (ms + cold_ms, *first)));
        self.latency.sort_by(|a, b| a.0.total_cmp(&b.0));
        let requests: f64 = self.latency.iter().map(|(_, requests)| requests).sum();
        let total: f64 = self.latency.iter().map(|(ms, requests)| ms * requests).sum();
        let kib = (self.made + self.cold) as f64 * terms.state_kib
            + (self.updated + self.moves - self.cold) as f64 * terms.delta_kib;
        let moved_gb = kib * 1024.0 / 1e9;
        let copy_hours = self.held_s / 3_600.0;
        Figures {
            policy,
            mean_ms: total / requests.max(1e-9),
            p50_ms: self.quantile(0.5 * requests),
            p95_ms: self.quantile(0.95 * requests),
            p99_ms: self.quantile(0.99 * requests),
            cold_share: self.cold as f64 / self.moves.max(1) as f64,
            moves: self.moves,
            moves_per_user_hour: self.moves as f64 / (self.user_s / 3_600.0).max(1e-9),
            copies_per_user: self.held_s / self.user_s.max(1e-9),
            moved_gb,
            copy_hours,
            usd: moved_gb * terms.usd_per_gb + copy_hours * terms.usd_per_copy_hour,
        }
    }

    /// The latency that so many requests do not exceed.
    fn quantile(&self, of: f64) -> f64 {
        let mut seen = 0.0;
        let reached = self.latency.iter().find(|(_, requests)| {
            seen += requests;
            seen >= of
        });
        reached.or(self.latency.last()).map_or(0.0, |(ms, _)| *ms)
    }
}
