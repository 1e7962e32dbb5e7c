//! A factor that is learnt from ratios: their mean logarithm, faded, shrunk by how little it rests
//! on, within bounds.

/// The least and the most a round trip is corrected by.
pub const FACTOR_MIN: f64 = 0.5;
/// See [`FACTOR_MIN`].
pub const FACTOR_MAX: f64 = 4.0;
/// One ratio counts as at most this much, or as one over it.
const RATIO_MAX: f64 = 8.0;
/// Time constant: what was seen half a day ago weighs 37 %.
const TAU_MS: f64 = 12.0 * 3_600_000.0;
/// Ratios that are remembered; what is older weighs less and less.
const WEIGHT_MAX: f64 = 40.0;
/// How many ratios "as stated" is worth to a zone's factor.
const SHRINK_ZONE: f64 = 3.0;
/// How many a zone's factor is worth to that of a way to it.
const SHRINK_WAY: f64 = 5.0;
/// The variance of a logarithm before any was seen: ratios from 0.6 to 1.6 are nothing special.
const VARIANCE: f64 = 0.25;
/// Within so many standard errors lie four of five.
const ERRORS: f64 = 1.2816;

/// How much of a weight is left at a later time.
pub(super) fn faded(at_ms: u64, now_ms: u64) -> f64 {
    (-(now_ms.saturating_sub(at_ms) as f64) / TAU_MS).exp()
}

/// Ratios, as the mean and variance of their logarithms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Factor {
    pub(super) weight: f64,
    pub(super) mean: f64,
    pub(super) variance: f64,
    pub(super) at_ms: u64,
}

/// A factor with what it rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Correction {
    /// What stated round trips are multiplied by, 10 ms added to each for the while.
    pub factor: f64,
    /// It lies above this with nine chances of ten,
    pub low: f64,
    /// and below this.
    pub high: f64,
    /// The moves it rests on, faded.
    pub worth: f64,
}

impl Factor {
    pub(super) fn weight_at(&self, now_ms: u64) -> f64 {
        self.weight * faded(self.at_ms, now_ms)
    }

    /// Takes the logarithm of a ratio in.
    pub(super) fn add(&mut self, log: f64, now_ms: u64) {
        if log.is_nan() {
            return;
        }
        let log = log.clamp(-RATIO_MAX.ln(), RATIO_MAX.ln());
        self.weight = self.weight_at(now_ms).min(WEIGHT_MAX - 1.0) + 1.0;
        let off = log - self.mean;
        self.mean += off / self.weight;
        let square = (off * (log - self.mean)).max(0.0);
        self.variance += (square - self.variance) / self.weight;
        // A clock that ran ahead and was put back must not keep it fresh for ever.
        self.at_ms = now_ms;
    }

    /// The factor of a way with these ratios to a zone with those; of the zone alone where the way
    /// has none.
    pub(super) fn within(&self, zone: &Self, now_ms: u64) -> Correction {
        let of_zone = zone.weight_at(now_ms);
        let zone_log = of_zone * zone.mean / (of_zone + SHRINK_ZONE);
        let own = self.weight_at(now_ms);
        let log = (own * self.mean + SHRINK_WAY * zone_log) / (own + SHRINK_WAY);
        let pooled = |own: f64, variance: f64, rest: f64| {
            (own * variance + SHRINK_ZONE * rest) / (own + SHRINK_ZONE)
        };
        let variance = pooled(own, self.variance, pooled(of_zone, zone.variance, VARIANCE));
        let error = (variance.max(0.0) / (own.max(of_zone) + SHRINK_ZONE)).sqrt();
        let bounded = |log: f64| log.exp().clamp(FACTOR_MIN, FACTOR_MAX);
        Correction {
            factor: bounded(log),
            low: bounded(log - ERRORS * error),
            high: bounded(log + ERRORS * error),
            worth: own.max(of_zone),
        }
    }
}
