//! Moves that pay: a session gathers regret while another zone would serve it better, and moves
//! when the regret has paid for the move (ski rental: at most twice the cost of foresight).

use homing_wire::{Intake, MoveReason, ZoneId};

use super::{Draft, FLAPS_PER_HOUR, HeldBack, Why};
use crate::{profile::Profile, score::Terms};

/// A gain per request below this many microseconds is noise.
const GAIN_US_MIN: f64 = 2_000.0;
/// So is one below this share of what a request costs now.
const GAIN_SHARE_MIN: f64 = 0.05;

/// What is expected is charged for at most this long at once: nobody knows what a gap in the rounds
/// held.
const CHARGE_MS_MAX: u64 = 60_000;

/// A session whose regret has paid for its move.
struct Candidate<'a> {
    session: &'a Profile,
    home: ZoneId,
    /// Gain per second over the cost of the move.
    worth: f64,
}

pub(super) fn regrets(draft: &mut Draft<'_>) {
    let inputs = draft.inputs;
    let mut candidates = Vec::new();
    for session in inputs.sessions {
        let home = draft.home(session);
        if draft.intake(home) != Intake::Open || draft.barred(session).is_some() {
            continue;
        }
        if let Some(candidate) = charge(draft, session, home) {
            candidates.push(candidate);
        }
    }
    candidates.sort_by(|a, b| {
        let by_worth = b.worth.total_cmp(&a.worth);
        by_worth.then(a.session.key.cmp(&b.session.key))
    });
    for candidate in candidates {
        commit(draft, &candidate);
    }
}

/// Brings a session's regret up to date by the requests that came since the last plan, which is
/// what was lost: a rate that was averaged over minutes tells of a young session far too little.
/// One that rests is charged for what was to be expected of it, so that it is found at its best
/// zone when it comes back. Returns the session if it is due to move.
fn charge<'a>(draft: &mut Draft<'_>, session: &'a Profile, home: ZoneId) -> Option<Candidate<'a>> {
    let best = draft.best_elsewhere(session, home);
    let why = match best {
        Some((_, terms)) => draft.why(session, home, terms),
        None => Why { regret_us: f64::from(session.regret_at(draft.now_ms)), ..Why::default() },
    };
    let gains = best.is_some() && is_worth_speaking_of(&why);
    let elapsed = draft.now_ms.saturating_sub(session.regret_ms).min(CHARGE_MS_MAX);
    let expected = why.rate * elapsed as f64 / 1e3;
    let added = match gains {
        true => why.gain_us() * f64::from(session.uncharged).max(expected),
        false => 0.0,
    };
    let regret = why.regret_us + added;
    if regret >= 1.0 {
        draft.plan.regrets.push((session.key, regret as f32));
    }
    if !gains {
        return None;
    }
    let why = Why { regret_us: regret, ..why };
    match hindrance(draft, session, &why) {
        Some(held) => {
            draft.hold_back(held);
            None
        }
        None => Some(Candidate {
            session,
            home,
            worth: why.gain_us() * why.rate / why.move_us.max(1.0),
        }),
    }
}

/// Books the move if it still is one now that others were booked.
fn commit(draft: &mut Draft<'_>, candidate: &Candidate<'_>) {
    let (session, home) = (candidate.session, candidate.home);
    let Some((to, terms)) = draft.best_elsewhere(session, home) else {
        draft.hold_back(HeldBack::NoRoom);
        return;
    };
    let why = draft.why(session, home, terms);
    if !is_worth_speaking_of(&why) {
        draft.hold_back(HeldBack::NoGain);
        return;
    }
    if flees(&why) && !draft.room.may_flee(home) {
        draft.hold_back(HeldBack::Pace);
        return;
    }
    let reason = reason(&why.from, &why.to);
    draft.admit(session, (home, to), reason, why);
}

/// Whether a gain is more than noise.
pub(super) fn is_worth_speaking_of(why: &Why) -> bool {
    let from = why.from.total_us();
    why.gain_us() > GAIN_US_MIN && why.gain_us() > from * GAIN_SHARE_MIN
}

/// Whether it is only the drag of its zone that makes a session go.
fn flees(why: &Why) -> bool {
    let from = Terms { drag_us: 0.0, ..why.from };
    let to = Terms { drag_us: 0.0, ..why.to };
    !is_worth_speaking_of(&Why { from, to, ..*why })
}

/// What still keeps a session that gains from moving.
pub(super) fn hindrance(draft: &Draft<'_>, session: &Profile, why: &Why) -> Option<HeldBack> {
    let limits = &draft.inputs.table.facts().policy.moves;
    if session.moves_at(draft.now_ms) >= FLAPS_PER_HOUR {
        return Some(HeldBack::Flaps);
    }
    if draft.now_ms.saturating_sub(session.entered_ms) < limits.residence_ms_min {
        return Some(HeldBack::Residence);
    }
    if why.regret_us < needed_us(draft, why) {
        return Some(HeldBack::Regret);
    }
    // Whoever belongs where it is does not leave for the price alone; whoever does not, does.
    let home = draft.home(session);
    let threshold = f64::from(draft.inputs.table.facts().policy.affinity_threshold) / 1e3;
    let belongs = || draft.scorer.affinity(session, home, home).score() >= threshold;
    (reason(&why.from, &why.to) == MoveReason::Cost && belongs()).then_some(HeldBack::Affinity)
}

/// The regret that pays for the move.
pub(super) fn needed_us(draft: &Draft<'_>, why: &Why) -> f64 {
    let percent = draft.inputs.table.facts().policy.moves.regret_percent;
    why.move_us * f64::from(percent) / 100.0
}

/// The term that gains most names the reason.
fn reason(from: &Terms, to: &Terms) -> MoveReason {
    let gains = [
        (from.distance_us - to.distance_us, MoveReason::Latency),
        (from.price_us - to.price_us, MoveReason::Cost),
        (from.room_us() - to.room_us(), MoveReason::Capacity),
    ];
    let most = gains.iter().max_by(|a, b| a.0.total_cmp(&b.0));
    most.map_or(MoveReason::Latency, |(_, reason)| *reason)
}
