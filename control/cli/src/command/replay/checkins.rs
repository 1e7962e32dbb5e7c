//! Check-ins, made ready to be replayed: a step is a check-in and lasts until the user's next.

use std::collections::BTreeMap;
use std::path::Path;

use super::distance::Distance;
use super::trace::{Foretold, Learned, Step, Trace, chances};
use crate::args::TermsArgs;
use crate::recorded::checkins::{Asked, read};
use crate::trouble::Trouble;

pub(super) fn trace(folder: &Path, terms: &TermsArgs) -> Result<Trace, Trouble> {
    let checkins = read(folder)?;
    super::fits(checkins.checkins.len(), checkins.zones.len())?;
    let zones: Vec<String> = (0..checkins.zones.len()).map(|zone| zone.to_string()).collect();
    let distance = Distance::of(terms, &checkins.zones, &zones)?;
    let all = &checkins.checkins;
    let (users, index) = super::indexed(all.iter().map(|checkin| checkin.user));
    let mut learned = Learned::new(users.len(), zones.len());
    let (mut steps, mut now_ms) = (Vec::new(), Vec::new());
    let mut told = Vec::new();
    let bar =
        super::bar(all.iter().filter(|checkin| checkin.test).count() as u64, "learn, forecast");
    checkins.foretell(Asked::ZoneAfter, |_, ranked| {
        told.push(chances(ranked, zones.len()));
        bar.inc(1);
    })?;
    bar.finish_and_clear();
    // What was foretold of a check-in was so when the user's last was over: it belongs to that.
    let mut told = told.into_iter();
    let mut next: Vec<Vec<f64>> = Vec::new();
    let mut last: BTreeMap<u32, usize> = BTreeMap::new();
    for checkin in all {
        let user = index[&checkin.user];
        let row = distance.from(checkins.venues[checkin.venue as usize]);
        let second = (60.0 * checkin.minute) as i64;
        if !checkin.test {
            learned.add(user, &row);
            continue;
        }
        let foretold = told.next().unwrap_or_default();
        if let Some(before) = last.insert(checkin.user, steps.len()) {
            let before_step: &mut Step = &mut steps[before];
            before_step.lasts = second - before_step.second;
            next[before] = foretold;
        }
        // A user's last has no end: it counts for its requests, not for any time.
        steps.push(Step { user, second, lasts: 0, requests: terms.requests_per_bin });
        now_ms.push(row);
        next.push(vec![0.0; zones.len()]);
    }
    Ok(Trace {
        users,
        zones,
        homes: learned.homes(),
        between_ms: learned.between_ms(&distance),
        steps,
        now_ms,
        foretold: vec![Foretold { bins: 1, chances: next }],
        bin: None,
        notes: vec![
            "the test phase is replayed, the last fifth of each user's check-ins".to_owned(),
            "a bin is the time from a check-in to the user's next, whenever that will be: a copy \
             is held all that time"
                .to_owned(),
        ],
    })
}
