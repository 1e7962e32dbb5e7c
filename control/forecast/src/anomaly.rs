//! Whether an observation of a series is unusual, judged as it arrives.
//!
//! Four witnesses each tell how strange an observation is, in a unit of their own. What a witness
//! says is compared with what it said before on the same series, so that all of them speak of
//! odds; that is why one threshold fits every series, and why nothing has to be set for one.
//!
//! Bad input has stated outcomes. A value that is no number, or infinite, is a hole: it scores 0
//! and teaches nothing. Times serve to find the time of day only, so repeated ones, or ones that
//! run backwards, are judged in the order of arrival. The first observations score 0, because
//! nothing is rare yet; so does a series that stays constant.

mod profile;
mod shape;
mod tail;
mod window;

#[cfg(test)]
mod tests;

use profile::Profile;
use shape::Shapes;
use tail::Tail;
use window::Window;

/// A score from here on is an alarm, on every series.
pub const THRESHOLD: f64 = 0.5;

/// How much surprise, in powers of ten and over all witnesses, is an alarm.
const ALARM: f64 = 2.7;
/// What each witness' surprise counts for, in their order. One value alone proves less than
/// several in a row: spikes come by chance.
const WEIGHTS: [f64; 4] = [0.6, 1.0, 1.0, 1.0];
/// Observations after an alarm in which its aftermath raises no other.
const HOLD: u32 = 100;
/// What each alarm adds to the surprise that the next one takes, as a share of [`ALARM`]: where
/// alarms are common, one more is no news.
const WEARINESS: f64 = 0.1;
/// Observations after which the weariness has worn off to 1/e.
const REST: f64 = 1_000.0;
/// The last few values, whose level the witnesses compare.
const FEW: usize = 8;
/// The values before the last few that tell the level to expect; a day, at five minutes apart.
const MANY: usize = 288;
/// The last values whose middle the next one is expected to be near.
const NEAR: usize = 24;
/// Values further from zero count as this far: their squares must stay finite.
const FARTHEST: f64 = 1e100;
/// No value counts as further from its time of day, in spreads: a day that is remembered can be
/// any distance away from a series that has since become constant.
const APART_MAX: f64 = 1e6;
/// The share of a series' level below which a difference is taken for rounding.
const ROUNDING: f64 = 1e-6;

/// Who can notice that an observation is unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// The value is far from the last few.
    Spike,
    /// The level of the last few values is far from that of the many before.
    Level,
    /// The last values form a shape that was not seen before.
    Shape,
    /// The last values are far from what this time of day usually brings.
    Daily,
}

impl Witness {
    /// All, in the order of [`Verdict::surprises`].
    pub const ALL: [Self; 4] = [Self::Spike, Self::Level, Self::Shape, Self::Daily];
}

/// What the detector thinks of an observation, with its evidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// From 0, as expected, to 1; an alarm from [`THRESHOLD`] on. Never NaN.
    pub score: f64,
    /// What the witness that noticed most expected; none of the very first observation.
    pub expected: Option<f64>,
    /// What was observed.
    pub observed: f64,
    /// Who noticed most; none if no one noticed anything.
    pub witness: Option<Witness>,
    /// How surprised each witness was, as powers of ten, in the order of [`Witness::ALL`].
    pub surprises: [f64; 4],
}

impl Verdict {
    /// Whether the observation is to be called unusual.
    #[must_use]
    pub fn is_alarm(&self) -> bool {
        self.score >= THRESHOLD
    }
}

/// Judges the observations of one series in the order of their arrival, in bounded memory.
#[derive(Clone, Debug, Default)]
pub struct Detector {
    window: Window,
    shapes: Shapes,
    profile: Profile,
    /// How far the last values were from their time of day.
    astray: Window,
    tails: [Tail; 4],
    /// Observations for which an alarm is still held down.
    held: u32,
    /// Recent alarms, each counting less as it ages.
    weary: f64,
}

/// What one witness says of one observation.
struct Statement {
    expected: f64,
    strangeness: f64,
    /// Strangeness below this is rounding.
    floor: f64,
}

impl Detector {
    /// A detector that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Judges an observation, at a time in Unix seconds, then learns from it.
    pub fn observe(&mut self, at: i64, observed: f64) -> Verdict {
        let near = self.window.median(NEAR);
        if !observed.is_finite() {
            return Verdict {
                score: 0.0,
                expected: near,
                observed,
                witness: None,
                surprises: [0.0; 4],
            };
        }
        let value = observed.clamp(-FARTHEST, FARTHEST);
        let said = self.hear(at, value, near.unwrap_or(value));
        let mut surprises = [0.0; 4];
        let mut most = None;
        let mut loudest = 0.0;
        for (i, statement) in said.iter().enumerate() {
            surprises[i] = self.tails[i].surprise(statement.strangeness, statement.floor);
            if surprises[i] > loudest {
                loudest = surprises[i];
                most = Some(i);
            }
        }
        Verdict {
            score: self.score(&surprises),
            expected: most.map(|i| said[i].expected).or(near),
            observed,
            witness: most.map(|i| Witness::ALL[i]),
            surprises,
        }
    }

    /// All witnesses, in order. They learn the value here.
    fn hear(&mut self, at: i64, value: f64, near: f64) -> [Statement; 4] {
        let usual = self.profile.expect(at);
        self.profile.remember(at, value);
        self.window.push(value);
        let (mean, deviation) = self.window.moments(0, usize::MAX);
        let floor = ROUNDING * (mean.abs() + deviation) + f64::MIN_POSITIVE;
        let (few, _) = self.window.moments(0, FEW);
        let (many, _) = self.window.moments(FEW, MANY);
        // Days that are all alike make any difference infinitely strange; a tenth of the series'
        // own deviation is not.
        let apart = usual
            .map_or(0.0, |usual| (value - usual.middle) / (usual.spread + 0.1 * deviation + floor));
        self.astray.push(apart.clamp(-APART_MAX, APART_MAX));
        let (astray, _) = self.astray.moments(0, NEAR);
        let shape = self.shapes.strangeness(value);
        [
            Statement { expected: near, strangeness: (value - near).abs(), floor },
            Statement { expected: many, strangeness: (few - many).abs(), floor },
            Statement { expected: near, strangeness: shape, floor },
            Statement {
                expected: usual.map_or(near, |usual| usual.middle),
                strangeness: astray.abs(),
                floor: ROUNDING,
            },
        ]
    }

    fn score(&mut self, surprises: &[f64; 4]) -> f64 {
        // The cube norm: close to the loudest alone, and two that agree still count for more.
        let cubes =
            surprises.iter().zip(WEIGHTS).map(|(surprise, weight)| (surprise * weight).powi(3));
        let surprise = cubes.sum::<f64>().cbrt();
        let score = 1.0 - (-surprise / (ALARM * (1.0 + WEARINESS * self.weary))).exp2();
        self.weary *= (-1.0 / REST).exp();
        if self.held > 0 {
            self.held -= 1;
            // Half of what is below 1 is below the threshold.
            return score / 2.0;
        }
        if score >= THRESHOLD {
            self.held = HOLD;
            self.weary += 1.0;
        }
        score
    }
}
