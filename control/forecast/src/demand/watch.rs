//! Whether the bands keep what they promise, counted as truths arrive.

use std::collections::VecDeque;

use super::Outlook;

/// Observations that are looked back on.
const WATCHED: usize = 200;
/// Observations before a promise can be said to be broken.
const ENOUGH: usize = 60;
/// What the bands promise.
const PROMISED: [f64; 2] = [0.80, 0.95];
/// How far below its promise the coverage may be.
const SLACK: [f64; 2] = [0.08, 0.05];
/// A band whose promise is broken is so much wider until it is kept again.
const WIDENED: f64 = 1.25;

/// How often the truth lay within a band of late.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Coverage {
    /// What the band promises.
    pub promised: f64,
    /// The share of the truths that lay within it, 0 if there were none.
    pub seen: f64,
    /// Of how many truths.
    pub truths: usize,
    /// Whether the promise is broken: the band is widened until it is kept again.
    pub broken: bool,
}

/// The last observations.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    last: VecDeque<Seen>,
    all: Seen,
}

/// How many forecasts of an observation there were, and how many bands it lay within.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    truths: usize,
    within: [usize; 2],
}

impl Watch {
    /// Counts an observation: each of the outlooks was for it.
    pub(super) fn score<'a>(&mut self, outlooks: impl Iterator<Item = &'a Outlook>, truth: f64) {
        let mut seen = Seen::default();
        for outlook in outlooks {
            seen.truths += 1;
            let bands = [outlook.band80, outlook.band95];
            for (within, (low, high)) in seen.within.iter_mut().zip(bands) {
                *within += usize::from(low <= truth && truth <= high);
            }
        }
        if seen.truths == 0 {
            return;
        }
        let full = self.last.len() == WATCHED;
        let oldest = if full { self.last.pop_front() } else { None }.unwrap_or_default();
        self.all.truths = self.all.truths + seen.truths - oldest.truths;
        for (band, all) in self.all.within.iter_mut().enumerate() {
            *all = *all + seen.within[band] - oldest.within[band];
        }
        self.last.push_back(seen);
    }

    /// Of 80 and 95 %.
    pub(super) fn coverage(&self) -> [Coverage; 2] {
        let truths = self.all.truths;
        [0, 1].map(|band| {
            let promised = PROMISED[band];
            let seen = self.all.within[band] as f64 / truths.max(1) as f64;
            let broken = self.last.len() >= ENOUGH && seen < promised - SLACK[band];
            Coverage { promised, seen, truths, broken }
        })
    }

    /// The outlook with the bands whose promise is broken made wider.
    pub(super) fn widened(&self, outlook: Outlook, floor: f64) -> Outlook {
        let [inner, outer] = self.coverage().map(|coverage| coverage.broken);
        let mean = outlook.mean;
        let wider = |(low, high): (f64, f64), broken: bool| match broken {
            true => {
                let low = (mean - WIDENED * (mean - low)).max(floor).min(mean);
                (low, mean + WIDENED * (high - mean))
            }
            false => (low, high),
        };
        let (inner, outer) = (wider(outlook.band80, inner), wider(outlook.band95, outer));
        Outlook { mean, band80: inner, band95: (outer.0.min(inner.0), outer.1.max(inner.1)) }
    }
}
