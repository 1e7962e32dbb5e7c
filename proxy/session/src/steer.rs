//! Which zone a request goes to. A session with state goes home and nowhere else; only where no
//! state can be left behind is anything chosen, by one cost in microseconds that the explained
//! form shows term by term. Two forms of one rule, so that explaining costs the hot path nothing.

use homing_wire::{Intake, ServiceId, SessionKey, ZoneId, table::Home};

use crate::placement::{Placed, Placement};

mod cost;
mod explain;
#[cfg(test)]
mod tests;
mod view;

pub use cost::{DistanceFrom, Excluded, ZoneTerms};
pub use explain::{Explained, steer_explained};
pub use view::{CLAIM_GAIN_US, Distances, UNKNOWN_RTT_US, ZoneSet, ZoneState, ZoneView};

use cost::Ranking;

/// Whom to steer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What is known of the session.
    pub standing: Standing,
    /// The service the request is for.
    pub service: ServiceId,
    /// Where the client is, if a trusted front said so.
    pub place: Option<homing_wire::PlaceId>,
    /// The session's affinity with its home, 0..=1000; see [`crate::affinity`].
    pub affinity: u16,
}

/// What is known of a session before it is steered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has no key: one will be minted in the chosen zone, or it needs none.
    New,
    /// It has a key, and it is certain that no zone holds state of it.
    Fresh(SessionKey),
    /// It has a key and may have state at home.
    Settled(SessionKey),
}

/// Where to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The zone.
    pub zone: ZoneId,
    /// Where the session lives as far as is known here; `None` if it has no key yet.
    ///
    /// If it is another zone than `zone`, the session must be made to live in `zone` (an
    /// exception at the next epoch) before anything is executed there; whoever cannot do that
    /// sends the request to this home. Only a [`Standing::Fresh`] session is ever chosen for so.
    pub home: Option<Home>,
    /// Next choices if the zone fails before the request is sent there, best first. Always empty
    /// for a session that may have state.
    pub fallbacks: Fallbacks,
    /// Why.
    pub reason: SteerReason,
}

/// The next best zones, at most three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fallbacks {
    zones: [ZoneId; Self::MAX],
    len: u8,
}

impl Fallbacks {
    /// Most zones one choice names besides the chosen one.
    pub const MAX: usize = 3;

    /// The zones, best first.
    #[must_use]
    pub fn as_slice(&self) -> &[ZoneId] {
        &self.zones[..usize::from(self.len)]
    }

    fn push(&mut self, zone: ZoneId) {
        if let Some(place) = self.zones.get_mut(usize::from(self.len)) {
            *place = zone;
            self.len += 1;
        }
    }
}

/// Why a request goes where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SteerReason {
    /// Its bucket is owned there.
    Bucket,
    /// An exception says so.
    Exception,
    /// A gate has said so since the table was published.
    Hint,
    /// It has no home yet, or no state there, and this zone costs least.
    Nearest,
    /// It lives there; the zone is full, draining or failing, and it stays until it is handed over.
    Kept,
    /// It lives there without state; the zone is full, but its affinity holds it.
    Held,
    /// It has no state yet, and its home is full, draining, failing, closed or without endpoints.
    Spilled,
}

impl SteerReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Bucket,
        Self::Exception,
        Self::Hint,
        Self::Nearest,
        Self::Kept,
        Self::Held,
        Self::Spilled,
    ];

    /// The word for people and metric labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::Exception => "exception",
            Self::Hint => "hint",
            Self::Nearest => "nearest",
            Self::Kept => "kept",
            Self::Held => "held",
            Self::Spilled => "spilled",
        }
    }
}

/// No zone may execute the request now: 503 with Retry-After, or a bounded hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unavailable {
    /// The zone that holds its state is closed.
    #[error("zone {0}, where the session lives, is closed")]
    HomeClosed(ZoneId),
    /// The zone that holds its state has no healthy endpoint for the service.
    #[error("zone {0}, where the session lives, has no healthy endpoint")]
    HomeDown(ZoneId),
    /// No zone is open, healthy and has room.
    #[error("no zone takes new sessions")]
    NoZone,
}

/// Chooses the zone of one request.
///
/// `hint` is what a gate has said about the session (its roster, a redirect); it counts if its
/// epoch is higher than the table's. `seed` is any number that differs between requests; it
/// spreads sessions over zones that cost nearly the same.
///
/// # Errors
/// [`Unavailable`] if no zone may execute the request now.
#[inline]
pub fn steer(
    placement: &Placement,
    view: &ZoneView,
    hint: Option<Home>,
    subject: &Subject,
    seed: u64,
) -> Result<Choice, Unavailable> {
    match subject.standing {
        Standing::New => nearest(view, subject, None, SteerReason::Nearest, seed),
        Standing::Settled(key) => {
            let (home, reason) = home_of(placement.home(key), hint);
            let kept = match view.standing(home.zone, subject.service) {
                Pressure::None => reason,
                Pressure::Full | Pressure::Draining | Pressure::Failing => SteerReason::Kept,
                Pressure::Closed => return Err(Unavailable::HomeClosed(home.zone)),
                Pressure::Down => return Err(Unavailable::HomeDown(home.zone)),
            };
            Ok(at_home(home, kept))
        }
        Standing::Fresh(key) => {
            let (home, reason) = home_of(placement.home(key), hint);
            let held = subject.affinity >= view.affinity_threshold;
            match view.standing(home.zone, subject.service) {
                // Only a bucket's zone is chance; an exception or a gate put the session there.
                Pressure::None if held || reason != SteerReason::Bucket => {
                    Ok(at_home(home, reason))
                }
                Pressure::None => Ok(claim(view, subject, home, seed)),
                Pressure::Full if held => Ok(at_home(home, SteerReason::Held)),
                _ => nearest(view, subject, Some(home), SteerReason::Spilled, seed),
            }
        }
    }
}

/// What stands against a zone, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressure {
    Closed,
    Down,
    Draining,
    Full,
    Failing,
    None,
}

impl ZoneView {
    #[inline]
    fn standing(&self, zone: ZoneId, service: ServiceId) -> Pressure {
        match self.zones.get(zone.index()) {
            None => Pressure::Closed,
            Some(state) if state.intake == Intake::Closed => Pressure::Closed,
            Some(_) if self.is_down(zone, service) => Pressure::Down,
            Some(state) if state.intake == Intake::Draining => Pressure::Draining,
            Some(state) if state.is_full() => Pressure::Full,
            Some(_) if self.is_failing(zone, service) => Pressure::Failing,
            Some(_) => Pressure::None,
        }
    }
}

#[inline]
fn home_of(placed: Placed, hint: Option<Home>) -> (Home, SteerReason) {
    match hint {
        Some(hint) if hint.epoch > placed.home.epoch => (hint, SteerReason::Hint),
        _ if placed.exceptional => (placed.home, SteerReason::Exception),
        _ => (placed.home, SteerReason::Bucket),
    }
}

#[inline]
fn at_home(home: Home, reason: SteerReason) -> Choice {
    Choice { zone: home.zone, home: Some(home), fallbacks: Fallbacks::default(), reason }
}

/// A session without state whose bucket is in a zone that takes it: somewhere else only if that
/// gains more than an exception is worth.
fn claim(view: &ZoneView, subject: &Subject, home: Home, seed: u64) -> Choice {
    let cost = |zone| cost::terms(view, zone, subject, seed).total_us();
    match nearest(view, subject, Some(home), SteerReason::Nearest, seed) {
        Ok(choice) if cost(choice.zone) + u64::from(view.claim_gain_us) < cost(home.zone) => choice,
        _ => at_home(home, SteerReason::Bucket),
    }
}

/// The zone that costs least among those that take the session, and the next three. Where all that
/// would take it fail, one of them is tried: nothing else would find them well again.
fn nearest(
    view: &ZoneView,
    subject: &Subject,
    home: Option<Home>,
    reason: SteerReason,
    seed: u64,
) -> Result<Choice, Unavailable> {
    let rank = |pressure| {
        let mut ranking = Ranking::default();
        for index in 0..view.zones.len() {
            let zone = ZoneId(index as u8);
            if view.standing(zone, subject.service) == pressure {
                ranking.insert(zone, cost::terms(view, zone, subject, seed).total_us());
            }
        }
        ranking.finish()
    };
    let (zone, fallbacks) =
        rank(Pressure::None).or_else(|| rank(Pressure::Failing)).ok_or(Unavailable::NoZone)?;
    Ok(Choice { zone, home, fallbacks, reason })
}
