//! Emptying zones: least sticky sessions first, spread over the targets by room and score. An
//! operator asked for it, so it is carried out in shadow too.

use homing_wire::{Intake, MoveReason, ZoneId};

use super::{Draft, DrainState, HeldBack};
use crate::profile::Profile;

pub(super) fn drains(draft: &mut Draft<'_>) {
    let zones = draft.inputs.table.facts().zones.len();
    for zone in (0..zones).map(|index| ZoneId(index as u8)) {
        if draft.intake(zone) == Intake::Draining {
            drain(draft, zone);
        }
    }
}

fn drain(draft: &mut Draft<'_>, zone: ZoneId) {
    let now = draft.now_ms;
    let inputs = draft.inputs;
    let mut living: Vec<&Profile> =
        inputs.sessions.iter().filter(|session| draft.home(session) == zone).collect();
    living.sort_by(|a, b| {
        let by_stickiness = a.stickiness(now).total_cmp(&b.stickiness(now));
        by_stickiness.then(a.key.cmp(&b.key))
    });
    let mut state = DrainState { zone, living: living.len() as u64, under_way: 0, planned: 0 };
    for session in living {
        match draft.barred(session) {
            Some(HeldBack::UnderWay) => state.under_way += 1,
            Some(held) => draft.hold_back(held),
            None => state.planned += u64::from(send_away(draft, session, zone)),
        }
    }
    draft.plan.drains.push(state);
}

fn send_away(draft: &mut Draft<'_>, session: &Profile, zone: ZoneId) -> bool {
    let Some((to, terms)) = draft.best_elsewhere(session, zone) else {
        draft.hold_back(HeldBack::NoRoom);
        return false;
    };
    // The pair to the best zone is busy: waiting a round beats a worse home for good.
    if !draft.room.pair_is_free(zone, to) {
        draft.hold_back(HeldBack::PairBudget);
        return false;
    }
    let why = draft.why(session, zone, terms);
    draft.admit(session, (zone, to), MoveReason::Drain, why)
}
