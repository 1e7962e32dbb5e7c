//! The recurrent network of one series, trained by one window of its past at each observation, so
//! that an observation costs the same whenever it comes.

use super::{Shape, lags::Space, past::Past};
use crate::lstm::{FEATURES, INPUTS, Network, Trainer, Window, draw};

/// Steps of the past that are read.
const READ: usize = 24;
/// Steps ahead that a window is trained on, at most.
const ASKED: usize = 12;
/// How far anything may be from its level, in the units of its spread.
const REACH: f64 = 6.0;
/// Every series begins with the same network, so that means of them make sense.
const SEED: u64 = 0x4C53_544D;
/// Windows before anything is said.
const TRAINED: usize = 200;

/// The network of one series.
#[derive(Clone, Debug)]
pub(super) struct Recurrent {
    trainer: Trainer,
    drawn: u64,
    trained: usize,
}

/// What values are relative to: the level before them, and how far they usually are from it.
struct Frame {
    space: Space,
    centre: f64,
    unit: f64,
    /// Nothing was ever off the level: there is nothing to learn from.
    flat: bool,
}

impl Frame {
    fn of(past: &Past, at: usize) -> Self {
        let space = if past.signed { Space::Level } else { Space::Log };
        let span = past.shape.season.clamp(8, 96);
        let seen = || (0..span).map(|back| space.view(past, at.saturating_sub(back)));
        let centre = seen().sum::<f64>() / span as f64;
        let spread = seen().map(|value| (value - centre).abs()).sum::<f64>() / span as f64;
        let least = if past.signed { 1e-6 } else { 0.02 };
        Self { space, centre, unit: spread.max(least), flat: spread == 0.0 }
    }

    fn view(&self, past: &Past, index: usize) -> f32 {
        let seen = (self.space.view(past, index) - self.centre) / self.unit;
        seen.clamp(-REACH, REACH) as f32
    }

    fn back(&self, said: f32) -> f64 {
        let said = f64::from(said).clamp(-REACH - 1.0, REACH + 1.0);
        self.space.back(said * self.unit + self.centre)
    }

    fn inputs(&self, past: &Past, at: usize) -> Vec<[f32; INPUTS]> {
        let steps = (0..READ).rev().map(|back| at.saturating_sub(back));
        steps
            .map(|index| {
                let next = self.view(past, past.seasonal_index(index, 1, 1));
                let (sin, cos) = phase(past, index);
                [self.view(past, index), next, sin, cos]
            })
            .collect()
    }

    fn step(&self, past: &Past, at: usize, ahead: usize) -> [f32; FEATURES] {
        let usual = self.view(past, past.seasonal_index(at, ahead, 1));
        let now = self.view(past, at) - self.view(past, past.seasonal_index(at, 0, 1));
        let week = self.view(past, past.seasonal_index(at, ahead, 7));
        let far = ahead as f32 / past.shape.horizon as f32;
        let (sin, cos) = phase(past, at + ahead);
        [usual, now, week, far, sin, cos]
    }
}

fn phase(past: &Past, index: usize) -> (f32, f32) {
    let season = past.shape.season;
    (((index % season) as f64 / season as f64 * std::f64::consts::TAU) as f32).sin_cos()
}

impl Recurrent {
    pub(super) fn new() -> Self {
        Self { trainer: Trainer::new(Network::new(SEED)), drawn: SEED, trained: 0 }
    }

    pub(super) fn network(&self) -> &Network {
        self.trainer.network()
    }

    pub(super) fn adopt(&mut self, network: Network) {
        self.trainer.adopt(network);
        self.trained = self.trained.max(TRAINED);
    }

    /// Trains on one window, drawn from those whose truths are known.
    pub(super) fn observe(&mut self, past: &Past) {
        let Shape { season, horizon } = past.shape;
        let known = past.known();
        let first = known.start + season + READ;
        let Some(windows) = (known.end - 1).checked_sub(first + horizon) else { return };
        let at = first + (draw(&mut self.drawn) % (windows as u64 + 1)) as usize;
        let frame = Frame::of(past, at);
        let from = draw(&mut self.drawn) as usize;
        let asked = ASKED.min(horizon);
        let aheads = (0..asked).map(|turn| (from % horizon + turn * horizon / asked) % horizon + 1);
        let (steps, truths): (Vec<_>, Vec<_>) =
            aheads.map(|ahead| (frame.step(past, at, ahead), frame.view(past, at + ahead))).unzip();
        let inputs = frame.inputs(past, at);
        self.trainer.learn(&Window { inputs: &inputs, steps: &steps, truths: &truths });
        self.trained += 1;
    }

    /// Its middle quantile of each step; the season's last until it has trained a little.
    pub(super) fn ahead(&self, past: &Past) -> Vec<f64> {
        let (at, horizon) = (past.now(), past.shape.horizon);
        let frame = Frame::of(past, at);
        if self.trained < TRAINED || frame.flat {
            return (1..=horizon).map(|ahead| past.seasonal(at, ahead, 1)).collect();
        }
        let inputs = frame.inputs(past, at);
        let steps: Vec<_> = (1..=horizon).map(|ahead| frame.step(past, at, ahead)).collect();
        let said = self.network().say(&Window { inputs: &inputs, steps: &steps, truths: &[] });
        said.into_iter().map(|[_, middle, _]| frame.back(middle)).collect()
    }
}
