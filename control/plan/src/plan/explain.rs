//! The why of one session: the same terms, budgets and hindrances that [`super::plan()`] uses, told
//! instead of acted on.

use homing_wire::{DirectiveId, Home, Intake, ZoneId};

use super::{Draft, HeldBack, Inputs, Why, directive_of, regret};
use crate::{
    affinity::Affinity, feedback::Brought, mobility::HORIZONS, profile::Profile, score::Terms,
};

/// A zone that is so much worse than the best scores 37 of 100.
const SCORE_SCALE_US: f64 = 50_000.0;

/// Why a session lives where it does, and what would make it move.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Where it lives by the table.
    pub home: Home,
    /// Whether that is an exception to its bucket.
    pub exceptional: bool,
    /// The directive that moves it, if one does.
    pub directive: Option<DirectiveId>,
    /// Every zone's terms for it, by zone index.
    pub zones: Vec<ZoneTerms>,
    /// The best other zone that would take it.
    pub best: Option<ZoneId>,
    /// The numbers of moving there.
    pub why: Why,
    /// The regret that would pay for the move.
    pub needed_us: f64,
    /// How long it has lived there.
    pub residence_ms: u64,
    /// Moves that count against its flap budget.
    pub moves_this_hour: u8,
    /// What keeps it; `None` if the next plan moves it, budgets allowing.
    pub held_back: Option<HeldBack>,
}

/// One zone as this session sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZoneTerms {
    /// Which.
    pub zone: ZoneId,
    /// Its terms.
    pub terms: Terms,
    /// The round trip in them as the table states it.
    pub stated_us: f64,
    /// What earlier moves to it brought, with the correction for this session's place.
    pub brought: Option<Brought>,
    /// What the terms come to, 0..=100: 100 is the best zone there is for the session, taking
    /// sessions or not.
    pub score: f64,
    /// How much the session belongs there.
    pub affinity: Affinity,
    /// The chance that its client is nearest to the zone after each of [`HORIZONS`].
    pub nearest_then: [f64; HORIZONS.len()],
    /// Whether it takes sessions.
    pub open: bool,
    /// Whether it has room for one more; true for the zone it lives in.
    pub room: bool,
}

/// Explains one session.
#[must_use]
pub fn explain(inputs: &Inputs<'_>, session: &Profile, now_ms: u64) -> Explanation {
    let draft = Draft::new(inputs, 0, now_ms);
    let home = inputs.table.home(session.key);
    let best = draft.best_elsewhere(session, home.zone);
    let why = draft.why(session, home.zone, best.map_or(Terms::default(), |(_, terms)| terms));
    let held_back = match (draft.barred(session), best) {
        (Some(held), _) => Some(held),
        (None, None) => Some(HeldBack::NoRoom),
        (None, Some(_)) if draft.intake(home.zone) != Intake::Open => None,
        (None, Some(_)) if !regret::is_worth_speaking_of(&why) => Some(HeldBack::NoGain),
        (None, Some(_)) => regret::hindrance(&draft, session, &why),
    };
    let mut zones: Vec<ZoneTerms> = (0..inputs.table.facts().zones.len())
        .map(|index| zone_terms(&draft, session, home.zone, ZoneId(index as u8)))
        .collect();
    let best_us = zones.iter().map(|z| z.terms.total_us()).fold(f64::INFINITY, f64::min);
    for zone in &mut zones {
        let worse_us = (zone.terms.total_us() - best_us).max(0.0);
        zone.score = 100.0 * (-worse_us / SCORE_SCALE_US).exp();
    }
    Explanation {
        home,
        exceptional: inputs.table.exceptions().contains_key(&session.key),
        directive: directive_of(inputs.table, session.key),
        zones,
        best: best.map(|(zone, _)| zone),
        needed_us: regret::needed_us(&draft, &why),
        why,
        residence_ms: now_ms.saturating_sub(session.entered_ms),
        moves_this_hour: session.moves_at(now_ms),
        held_back,
    }
}

fn zone_terms(draft: &Draft<'_>, session: &Profile, home: ZoneId, zone: ZoneId) -> ZoneTerms {
    let lives_here = zone == home;
    ZoneTerms {
        zone,
        terms: draft.terms(session, zone, !lives_here),
        stated_us: draft.scorer.round_trip(session, zone).stated_us,
        brought: draft.inputs.feedback.of_zone(session.place, zone, draft.now_ms),
        score: 0.0,
        affinity: draft.scorer.affinity(session, home, zone),
        nearest_then: std::array::from_fn(|h| draft.scorer.nearest_then(session, h, zone)),
        open: draft.intake(zone) == Intake::Open,
        room: lives_here || draft.room.fits_one_more(zone),
    }
}
