//! The experts that need no fitting: the last value, the season's, and the season's profile.

use super::{Shape, past::Past};

/// How much of a slot's profile the newest value makes up.
const SLOT_GAIN: f64 = 0.25;

/// One way to foresee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expert {
    /// It stays as it is: what every forecast has to beat.
    Naive,
    /// It is as one season ago.
    Seasonal,
    /// It is as seven seasons ago: the same day of the week, if the season is a day.
    Weekly,
    /// It follows the seasons' mean, at today's level, which fades into the mean's.
    Profile,
    /// The same over weeks.
    WeekProfile,
    /// It follows the last season, at today's level.
    Shifted,
}

impl Expert {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Naive,
        Self::Seasonal,
        Self::Weekly,
        Self::Profile,
        Self::WeekProfile,
        Self::Shifted,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::Seasonal => "seasonal naive, day",
            Self::Weekly => "seasonal naive, week",
            Self::Profile => "profile",
            Self::WeekProfile => "week profile",
            Self::Shifted => "shifted season",
        }
    }

    /// What it says of each step of the horizon.
    pub(super) fn ahead(self, past: &Past, profile: &Profile) -> Vec<f64> {
        let at = past.now();
        let last = past.last();
        let steps = 1..=past.shape.horizon;
        match self {
            Self::Naive => vec![last; past.shape.horizon],
            Self::Seasonal => steps.map(|h| past.seasonal(at, h, 1)).collect(),
            Self::Weekly => steps.map(|h| past.seasonal(at, h, 7)).collect(),
            Self::Profile => profile.ahead(past, &profile.day),
            Self::WeekProfile => profile.ahead(past, &profile.week),
            Self::Shifted => {
                let now = recent(past, |back| past.back(back));
                let then = recent(past, |back| past.back(back + past.shape.season));
                let ratio = ratio(now, then);
                steps.map(|h| past.seasonal(at, h, 1) * ratio.powf(fade(past, h))).collect()
            }
        }
    }
}

/// How much of today's departure from the usual is left after so many steps.
fn fade(past: &Past, ahead: usize) -> f64 {
    (-(ahead as f64) / (past.shape.season as f64 / 2.0).max(4.0)).exp()
}

/// A mean of the last few values, the newest counting most.
fn recent(past: &Past, value: impl Fn(usize) -> f64) -> f64 {
    let span = (past.shape.season / 12).clamp(2, 24);
    let (mut sum, mut weights) = (0.0, 0.0);
    for back in 0..span {
        let weight = 0.8_f64.powi(back as i32);
        sum += weight * value(back);
        weights += weight;
    }
    sum / weights
}

fn ratio(now: f64, then: f64) -> f64 {
    if now > 0.0 && then > 0.0 { (now / then).clamp(0.2, 5.0) } else { 1.0 }
}

/// Means by the place in the day and in the week, new days counting more than old.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) day: Vec<Option<f64>>,
    pub(super) week: Vec<Option<f64>>,
}

impl Profile {
    pub(super) fn new(shape: Shape) -> Self {
        Self { day: vec![None; shape.season], week: vec![None; 7 * shape.season] }
    }

    pub(super) fn observe(&mut self, past: &Past) {
        let at = past.now();
        for slots in [&mut self.day, &mut self.week] {
            let slot = at % slots.len();
            let value = past.last();
            slots[slot] = Some(slots[slot].map_or(value, |old| old + SLOT_GAIN * (value - old)));
        }
    }

    fn ahead(&self, past: &Past, slots: &[Option<f64>]) -> Vec<f64> {
        let at = past.now();
        let of = |index: usize| {
            let day = self.day[index % self.day.len()];
            slots[index % slots.len()].or(day).unwrap_or(past.last())
        };
        let now = recent(past, |back| past.back(back));
        let usual = recent(past, |back| of(at.saturating_sub(back)));
        let ratio = ratio(now, usual);
        let steps = 1..=past.shape.horizon;
        steps.map(|h| of(at + h) * ratio.powf(fade(past, h))).collect()
    }
}
