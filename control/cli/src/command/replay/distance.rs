//! A request's latency from each zone, by kilometres or by measured round trips.

use std::path::Path;

use crate::args::TermsArgs;
use crate::recorded::rows::{Recording, kilometres};
use crate::trouble::Trouble;

/// How far users are from zones.
pub(super) enum Distance {
    /// By the way over the earth.
    Kilometres { zones: Vec<[f32; 2]>, base_ms: f64, per_km_ms: f64 },
    /// As far as the zone that is nearest on the earth is, by measured round trips.
    Measured { zones: Vec<[f32; 2]>, rows: Vec<Vec<f64>> },
}

impl Distance {
    /// By the terms; `zones` are their places and `names` what a matrix calls them.
    ///
    /// # Errors
    /// If the matrix cannot be read, or leaves a pair of zones out.
    pub(super) fn of(
        terms: &TermsArgs,
        zones: &[[f32; 2]],
        names: &[String],
    ) -> Result<Self, Trouble> {
        let zones = zones.to_vec();
        match &terms.rtt {
            Some(file) => Ok(Self::Measured { zones, rows: matrix(file, names, terms.base_ms)? }),
            None => {
                let (base_ms, per_km_ms) = (terms.base_ms, terms.ms_per_km);
                Ok(Self::Kilometres { zones, base_ms, per_km_ms })
            }
        }
    }

    /// From a user at this place, ms by zone.
    pub(super) fn from(&self, place: [f32; 2]) -> Vec<f64> {
        match self {
            Self::Kilometres { zones, base_ms, per_km_ms } => zones
                .iter()
                .map(|zone| base_ms + per_km_ms * f64::from(kilometres(place, *zone)))
                // A number that names no zone is infinitely far.
                .map(|ms| if ms.is_finite() { ms } else { f64::INFINITY })
                .collect(),
            Self::Measured { zones, rows } => {
                let way = |zone: &usize| kilometres(place, zones[*zone]);
                let known = (0..zones.len()).filter(|zone| zones[*zone][0].is_finite());
                let near = known.min_by(|a, b| way(a).total_cmp(&way(b)));
                near.map_or(Vec::new(), |near| rows[near].clone())
            }
        }
    }

    /// From a user next door to a zone.
    pub(super) fn at_zone(&self, zone: usize) -> Vec<f64> {
        match self {
            Self::Kilometres { zones, .. } => self.from(zones[zone]),
            Self::Measured { rows, .. } => rows[zone].clone(),
        }
    }
}

/// Round trips from each zone to each; what is said one way only holds for both.
fn matrix(file: &Path, names: &[String], base_ms: f64) -> Result<Vec<Vec<f64>>, Trouble> {
    let recording = Recording::file(file.to_owned(), "give --rtt a file with src,dst,ms")?;
    let mut rows = vec![vec![f64::NAN; names.len()]; names.len()];
    let place = |name: &str| names.iter().position(|known| known == name);
    let column = if recording.has("avg_ms") { "avg_ms" } else { "ms" };
    let pairs = recording.rows(&["src", "dst", column], |row| {
        let ms = row.number(2)?;
        if ms < 0.0 {
            return Err(format!("{column}: {ms} is below 0"));
        }
        Ok((place(row.text(0)), place(row.text(1)), ms))
    })?;
    for (from, to, ms) in pairs {
        let (Some(from), Some(to)) = (from, to) else { continue };
        rows[from][to] = base_ms + ms;
        if rows[to][from].is_nan() {
            rows[to][from] = base_ms + ms;
        }
    }
    for from in 0..names.len() {
        rows[from][from] = base_ms;
        if let Some(to) = rows[from].iter().position(|ms| ms.is_nan()) {
            let (from, to) = (&names[from], &names[to]);
            let text = format!("{}: no round trip from zone {from} to {to}", file.display());
            return Err(Trouble::failure(text).remedy("add a line src,dst,ms for the two zones"));
        }
    }
    Ok(rows)
}
