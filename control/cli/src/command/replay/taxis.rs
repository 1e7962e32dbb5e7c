//! Movement in bins, made ready to be replayed.

use std::path::Path;
use std::sync::Mutex;

use super::distance::Distance;
use super::trace::{Foretold, Learned, Step, Trace, chances};
use crate::args::TermsArgs;
use crate::recorded::taxis::{BIN, read};
use crate::trouble::Trouble;

/// Bins ahead that are foretold; those between them lie in between. A longer look costs time, and
/// moves decided by expectations that far ahead are worse.
const AHEAD: [usize; 2] = [1, 3];

pub(super) fn trace(folder: &Path, terms: &TermsArgs) -> Result<Trace, Trouble> {
    let taxis = read(folder)?;
    super::fits(taxis.fixes.len(), taxis.zones.len())?;
    let zones: Vec<String> = (0..taxis.zones.len()).map(|zone| zone.to_string()).collect();
    let distance = Distance::of(terms, &taxis.zones, &zones)?;
    let (users, index) = super::indexed(taxis.fixes.iter().map(|fix| fix.taxi));
    let mut learned = Learned::new(users.len(), zones.len());
    let (mut steps, mut now_ms) = (Vec::new(), Vec::new());
    let cut = taxis.cut();
    for fix in &taxis.fixes {
        let (user, row) = (index[&fix.taxi], distance.from(fix.place));
        if (fix.second as f64) < cut {
            learned.add(user, &row);
        } else {
            let requests = terms.requests_per_bin;
            steps.push(Step { user, second: fix.second, lasts: BIN, requests });
            now_ms.push(row);
        }
    }
    let bar = super::bar((AHEAD.len() * steps.len()) as u64, "learn, forecast");
    let foretold: Mutex<Vec<Result<Foretold, Trouble>>> = Mutex::default();
    std::thread::scope(|scope| {
        for bins in AHEAD {
            let (taxis, foretold, bar) = (&taxis, &foretold, &bar);
            scope.spawn(move || {
                let mut rows = Vec::new();
                let told = taxis.foretell(bins as i64 * BIN / 60, |_, ranked| {
                    rows.push(chances(ranked, taxis.zones.len()));
                    bar.inc(1);
                });
                let told = told.map(|()| Foretold { bins, chances: rows });
                foretold.lock().unwrap_or_else(|broken| broken.into_inner()).push(told);
            });
        }
    });
    bar.finish_and_clear();
    let foretold = foretold.into_inner().unwrap_or_else(|broken| broken.into_inner());
    let mut foretold = foretold.into_iter().collect::<Result<Vec<_>, _>>()?;
    foretold.sort_by_key(|foretold| foretold.bins);
    Ok(Trace {
        users,
        zones,
        homes: learned.homes(),
        between_ms: learned.between_ms(&distance),
        steps,
        now_ms,
        foretold,
        bin: Some(BIN),
        notes: vec!["the last quarter of the recorded time is replayed".to_owned()],
    })
}
