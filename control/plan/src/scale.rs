//! How many endpoints a zone should have from its provider: the demand foreseen against what an
//! endpoint bears and costs, decided with its reason in words.
//!
//! The quantile of demand that is provided for is the newsvendor's: one more endpoint pays while
//! the chance that it is needed is more than the share of its cost in that of a shortage. More are
//! asked for at once. Fewer only when even the upper band, over as long as it takes to get one back
//! and the cooldown besides, fits them: a forecast that wobbles within its band therefore never
//! turns a zone round, because what one round gives back no other round would ask for again.

use std::fmt::Write as _;

/// The lowest quantile provided for: nobody provides for less than the middle.
pub const QUANTILE_MIN: f64 = 0.5;
/// The highest: forecasts know no more of the tail, and what is asked for must stay within the band
/// that is waited for before endpoints are given back.
pub const QUANTILE_MAX: f64 = 0.975;
/// The one of the band between.
const QUANTILE_MIDDLE: f64 = 0.9;
/// What is provided for if neither idleness nor shortage costs anything.
const QUANTILE_FREE: f64 = 0.9;
/// The most head-room that can be kept, as a share of what an endpoint bears.
pub const HEAD_ROOM_MAX: f64 = 0.9;
/// Loads that fit but for this many endpoints fit: what sums of decimals are off by.
const ROUNDING: f64 = 1e-9;

/// What load is foreseen for one moment, in the unit of [`Ask::capacity`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// As often above as below.
    pub median: f64,
    /// Nine of ten truths lie below.
    pub q90: f64,
    /// Thirty-nine of forty do.
    pub q975: f64,
}

impl Load {
    /// The load that a share of truths stay below: straight between the known quantiles in the
    /// logarithm of the tail, which is exact for an exponential one and near for a normal one.
    #[must_use]
    pub fn at(&self, quantile: f64) -> f64 {
        let (middle, upper) = (self.q90.max(self.median), self.upper());
        let tail = |quantile: f64| -(1.0 - quantile).ln();
        let between = |from: (f64, f64), to: (f64, f64)| {
            let share = (tail(quantile) - tail(from.0)) / (tail(to.0) - tail(from.0));
            from.1 + (to.1 - from.1) * share.clamp(0.0, 1.0)
        };
        if quantile <= QUANTILE_MIDDLE {
            between((QUANTILE_MIN, self.median), (QUANTILE_MIDDLE, middle))
        } else {
            between((QUANTILE_MIDDLE, middle), (QUANTILE_MAX, upper))
        }
    }

    /// The end of the band; quantiles that cross are put in order upwards.
    #[must_use]
    pub fn upper(&self) -> f64 {
        self.q975.max(self.q90).max(self.median)
    }

    fn is_sound(&self) -> bool {
        [self.median, self.q90, self.q975].iter().all(|load| load.is_finite())
    }
}

/// What is known when the number is decided.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What load is counted in: `requests/s`, `sessions`.
    pub unit: &'a str,
    /// The load measured now; `None` if nothing was.
    pub observed: Option<f64>,
    /// What is foreseen until an endpoint asked for now is ready, moment by moment.
    pub lead: &'a [Load],
    /// What is foreseen until one given back now could be had again, and the cooldown after it: as
    /// a rule `lead` and more.
    pub reach: &'a [Load],
    /// What one endpoint bears.
    pub capacity: f64,
    /// The share of it that is kept free, 0 up to [`HEAD_ROOM_MAX`].
    pub head_room: f64,
    /// Endpoints that the document states, which bear load too and are never given back.
    pub fixed: u32,
    /// Endpoints of the provider that are ready.
    pub ready: u32,
    /// Endpoints that it was asked for and has yet to make ready.
    pub under_way: u32,
    /// The fewest endpoints of the provider.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// What an endpoint costs for an hour, in the installation's currency.
    pub price: f64,
    /// What it costs to be an endpoint short for an hour, in the same.
    pub shortage: f64,
    /// Milliseconds since the number last changed; `None` if it never did.
    pub changed_ms_ago: Option<u64>,
    /// Milliseconds that it then stands before endpoints are given back.
    pub cooldown_ms: u64,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Endpoints of the provider that there should be.
    pub wanted: u32,
    /// Why, for programs.
    pub verdict: Verdict,
    /// The quantile of demand that is provided for.
    pub quantile: f64,
    /// The load that is provided for.
    pub load: f64,
    /// Why, for people.
    pub reason: String,
}

/// What kind of decision it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// More are needed.
    Out,
    /// Fewer are enough, whatever the band allows.
    In,
    /// It stays as it is.
    Stay,
    /// More are needed than there may be: the most there may be are wanted.
    Capped,
    /// Nothing can be decided from what was given: it stays as it is, within the bounds.
    Unsound,
}

impl Verdict {
    /// The word in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
            Self::Stay => "stay",
            Self::Capped => "capped",
            Self::Unsound => "unsound",
        }
    }
}

/// Decides. The same question always has the same answer.
#[must_use]
pub fn scale(ask: &Ask<'_>) -> Decision {
    let have = ask.ready.saturating_add(ask.under_way);
    if let Some(problem) = unsound(ask) {
        let wanted = have.max(ask.min).min(ask.max);
        let reason = format!("{problem}: {wanted} it stays");
        let quantile = QUANTILE_MIN;
        return Decision { wanted, verdict: Verdict::Unsound, quantile, load: 0.0, reason };
    }
    let quantile = quantile(ask.price, ask.shortage);
    let observed = ask.observed.unwrap_or(0.0);
    let peak = |loads: &[Load], of: &dyn Fn(&Load) -> f64| {
        loads.iter().map(of).fold(observed, f64::max).max(0.0)
    };
    let load = peak(ask.lead, &|load| load.at(quantile));
    // A reach that is shorter than the lead would give back what the lead needs.
    let upper = peak(ask.reach, &Load::upper).max(peak(ask.lead, &Load::upper));
    let needed = endpoints(ask, load);
    let bounded = needed.clamp(f64::from(ask.min), f64::from(ask.max)) as u32;
    let decided = |wanted, verdict, words: String| {
        let reason = format!("{}; {words}", given(ask, quantile, load, needed));
        Decision { wanted, verdict, quantile, load, reason }
    };
    if needed > f64::from(ask.max) {
        let short = needed - f64::from(ask.max);
        let words = format!("{short} more than the most there may be, {}", ask.max);
        return decided(ask.max, Verdict::Capped, words);
    }
    if bounded > have {
        let words = match needed < f64::from(ask.min) {
            true => format!("{} are the fewest there may be, {have} are there", ask.min),
            false => format!("{have} are there"),
        };
        return decided(bounded, Verdict::Out, words);
    }
    if have > ask.max {
        let words = format!("{have} are there, {} are the most there may be", ask.max);
        return decided(ask.max, Verdict::In, words);
    }
    let (wanted, verdict, words) = fewer(ask, have, upper);
    decided(wanted, verdict, words)
}

/// Whether some of those that are enough can be given back.
fn fewer(ask: &Ask<'_>, have: u32, upper: f64) -> (u32, Verdict, String) {
    if have == ask.min {
        return (have, Verdict::Stay, format!("{have} are there, the fewest there may be"));
    }
    if ask.reach.is_empty() {
        return (have, Verdict::Stay, format!("{have} stay while nothing is foreseen"));
    }
    let fits = endpoints(ask, upper).clamp(f64::from(ask.min), f64::from(ask.max)) as u32;
    let unit = ask.unit;
    if fits >= have {
        let words = format!("{have} stay, as up to {} {unit} may come", shown(upper));
        return (have, Verdict::Stay, words);
    }
    if let Some(rested) = ask.changed_ms_ago.filter(|rested| *rested < ask.cooldown_ms) {
        let rest = (ask.cooldown_ms - rested).div_ceil(1_000);
        let words = format!("{fits} would do, but {have} stay for {rest} s of the cooldown");
        return (have, Verdict::Stay, words);
    }
    let words = format!("{have} are there, and even {} {unit} fit {fits}", shown(upper));
    (fits, Verdict::In, words)
}

/// What was given, for people.
fn given(ask: &Ask<'_>, quantile: f64, load: f64, needed: f64) -> String {
    let (unit, lead) = (ask.unit, ask.lead.len());
    let mut words = match lead {
        0 => format!("nothing is foreseen, {} {unit} are measured", shown(load)),
        _ => format!("up to {} {unit} at quantile {quantile:.3}", shown(load)),
    };
    let _ = write!(words, " need {needed} of {} {unit} each", shown(ask.capacity));
    if ask.head_room > 0.0 {
        let _ = write!(words, ", {:.0} % of it kept free", ask.head_room * 100.0);
    }
    if ask.fixed > 0 {
        let _ = write!(words, ", beside {} of the document", ask.fixed);
    }
    words
}

fn shown(load: f64) -> String {
    if load >= 100.0 || load.fract() == 0.0 { format!("{load:.0}") } else { format!("{load:.2}") }
}

/// Endpoints of the provider that a load needs. Sound: what was asked has been looked at.
fn endpoints(ask: &Ask<'_>, load: f64) -> f64 {
    let each = ask.capacity * (1.0 - ask.head_room);
    ((load / each - ROUNDING).ceil() - f64::from(ask.fixed)).max(0.0)
}

/// The newsvendor's quantile: what a shortage costs, as a share of what either mistake costs.
fn quantile(price: f64, shortage: f64) -> f64 {
    let both = price + shortage;
    let share = if both > 0.0 { shortage / both } else { QUANTILE_FREE };
    share.clamp(QUANTILE_MIN, QUANTILE_MAX)
}

/// What keeps anything from being decided.
fn unsound(ask: &Ask<'_>) -> Option<String> {
    let negative = |value: f64| !value.is_finite() || value < 0.0;
    if ask.min > ask.max {
        return Some(format!("the fewest, {}, are more than the most, {}", ask.min, ask.max));
    }
    if !ask.capacity.is_finite() || ask.capacity <= 0.0 {
        return Some(format!("an endpoint cannot bear {} {}", ask.capacity, ask.unit));
    }
    if negative(ask.head_room) || ask.head_room > HEAD_ROOM_MAX {
        return Some(format!("a head-room of {} is none from 0 to {HEAD_ROOM_MAX}", ask.head_room));
    }
    if negative(ask.price) || negative(ask.shortage) {
        return Some(format!("{} and {} are no prices", ask.price, ask.shortage));
    }
    if let Some(observed) = ask.observed.filter(|observed| !observed.is_finite()) {
        return Some(format!("a measured load of {observed} {} is none", ask.unit));
    }
    let odd = ask.lead.iter().chain(ask.reach).find(|load| !load.is_sound());
    odd.map(|load| format!("a forecast of {load:?} is none"))
}

#[cfg(test)]
mod tests;
