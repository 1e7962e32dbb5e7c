//! The lags of a series around one step ahead, in units that series of any size share.

use super::past::Past;

/// How a series is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// Logarithms: what is multiplied adds up.
    Log,
    /// As it is, in units of its own level.
    Level,
}

/// Regressors of one step.
pub(super) const WIDTH: usize = 24;
/// How far from its level anything may be, in the units of its space.
const REACH: f64 = 4.0;

/// A step's regressors with what they are relative to.
pub(super) struct Lags {
    pub(super) x: [f64; WIDTH],
    space: Space,
    centre: f64,
    unit: f64,
}

impl Space {
    pub(super) fn view(self, past: &Past, index: usize) -> f64 {
        match self {
            Self::Log => past.log(index),
            Self::Level => past.at(index),
        }
    }

    /// The value that is seen so.
    pub(super) fn back(self, seen: f64) -> f64 {
        match self {
            Self::Log => seen.exp_m1(),
            Self::Level => seen,
        }
    }
}

impl Lags {
    /// The regressors of the step `ahead` of index `at`; nothing after `at` is looked at.
    pub(super) fn of(space: Space, past: &Past, at: usize, ahead: usize) -> Self {
        let season = past.shape.season;
        let lag = |back: usize| space.view(past, at.saturating_sub(back));
        let mean = |span: usize| (0..span).map(lag).sum::<f64>() / span as f64;
        let level = mean(season.clamp(6, 96));
        let (centre, unit) = match space {
            Space::Log => (level, 1.0),
            Space::Level => (level, level.abs().max(1e-6)),
        };
        let seasonal = |offset: isize, seasons: usize| {
            let ahead = ahead.saturating_add_signed(offset).max(1);
            space.view(past, past.seasonal_index(at, ahead, seasons))
        };
        let week = |back: usize| lag(back + 7 * season);
        let phase = (at + ahead) as f64 / season as f64 * std::f64::consts::TAU;
        let x = [
            1.0,
            lag(0),
            lag(1),
            lag(2),
            lag(3),
            lag(5),
            lag(8),
            mean(6),
            mean(12),
            mean(24),
            seasonal(0, 1),
            seasonal(-1, 1),
            seasonal(1, 1),
            seasonal(0, 2),
            seasonal(0, 3),
            seasonal(0, 7),
            seasonal(1, 7),
            lag(season),
            lag(season + 1),
            week(0),
            phase.sin(),
            phase.cos(),
            (2.0 * phase).sin(),
            (2.0 * phase).cos(),
        ];
        let mut row = Self { x, space, centre, unit };
        for value in &mut row.x[1..20] {
            *value = ((*value - centre) / unit).clamp(-REACH, REACH);
        }
        row
    }

    /// The value at an index relative to the regressors' level.
    pub(super) fn target(&self, past: &Past, index: usize) -> f64 {
        ((self.space.view(past, index) - self.centre) / self.unit).clamp(-REACH, REACH)
    }

    /// The value that is so far from the level.
    pub(super) fn value(&self, target: f64) -> f64 {
        self.space.back(target.clamp(-REACH, REACH) * self.unit + self.centre)
    }
}
