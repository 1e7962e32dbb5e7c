//! Relief of zones over their capacity: the sessions that lose least by leaving go first, and only
//! into room that exists.

use homing_wire::{Intake, MoveReason, ZoneId};

use super::{Draft, FLAPS_PER_HOUR, HeldBack};
use crate::profile::Profile;

pub(super) fn relief(draft: &mut Draft<'_>) {
    let zones = draft.inputs.table.facts().zones.len();
    for zone in (0..zones).map(|index| ZoneId(index as u8)) {
        let excess = excess(draft, zone);
        if excess > 0 && draft.intake(zone) == Intake::Open {
            relieve(draft, zone, excess);
        }
    }
}

/// Sessions the zone has over its capacity once the open directives are through.
fn excess(draft: &Draft<'_>, zone: ZoneId) -> u64 {
    let capacity =
        draft.inputs.table.facts().zones.get(zone.index()).map_or(0, |zone| zone.capacity.sessions);
    let state = draft.inputs.zones.get(zone.index()).copied().unwrap_or_default();
    match capacity {
        0 => 0,
        capacity => {
            (state.living + state.inbound).saturating_sub(state.outbound).saturating_sub(capacity)
        }
    }
}

fn relieve(draft: &mut Draft<'_>, zone: ZoneId, excess: u64) {
    let inputs = draft.inputs;
    let mut leavers: Vec<(f64, &Profile)> = Vec::new();
    for session in inputs.sessions {
        if draft.home(session) != zone || draft.barred(session).is_some() {
            continue;
        }
        if session.moves_at(draft.now_ms) >= FLAPS_PER_HOUR {
            draft.hold_back(HeldBack::Flaps);
            continue;
        }
        let Some((_, terms)) = draft.best_elsewhere(session, zone) else {
            continue;
        };
        let stay = draft.scorer.terms(session, zone, 0.0).total_us();
        let loss = (terms.total_us() - stay) * f64::from(session.rate_at(draft.now_ms));
        leavers.push((loss, session));
    }
    leavers.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.key.cmp(&b.1.key)));
    let mut left = excess;
    for (_, session) in leavers {
        if left == 0 {
            return;
        }
        let Some((to, terms)) = draft.best_elsewhere(session, zone) else {
            draft.hold_back(HeldBack::NoRoom);
            return;
        };
        let why = draft.why(session, zone, terms);
        if draft.admit(session, (zone, to), MoveReason::Capacity, why) {
            left -= 1;
        }
    }
}
