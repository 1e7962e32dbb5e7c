//! An access log, made ready to be replayed. A log does not say where its clients are, nor that
//! any of them moves: they are placed by a rule, which the report states.

use std::collections::BTreeMap;
use std::path::Path;

use super::distance::Distance;
use super::trace::{Foretold, Learned, Step, Trace, nearest};
use crate::args::TermsArgs;
use crate::demo::trace::Trace as Log;
use crate::recorded::rows::Recording;
use crate::trouble::Trouble;

/// Seconds of a bin.
const BIN: i64 = 300;
/// How far from a zone clients are put whose place nobody knows if it is the only zone, in degrees;
/// of several, half the way to the next.
const SURROUNDINGS: f32 = 0.5;

pub(super) fn trace(
    file: &Path,
    zones: &Path,
    places: Option<&Path>,
    terms: &TermsArgs,
) -> Result<Trace, Trouble> {
    let (names, sites) = named_places(zones, "zone", "give --zones a file with zone,lat,lon")?;
    if names.is_empty() {
        let text = format!("{}: no zones", zones.display());
        return Err(Trouble::failure(text).remedy("add a line zone,lat,lon for each zone"));
    }
    let distance = Distance::of(terms, &sites, &names)?;
    let known: BTreeMap<String, [f32; 2]> = match places {
        Some(file) => {
            let (names, places) =
                named_places(file, "client", "give --places a file with client,lat,lon")?;
            names.into_iter().zip(places).collect()
        }
        None => BTreeMap::new(),
    };
    let log = Log::open(file)?;
    super::fits(log.visits.len(), names.len())?;
    let place =
        |client: &String| known.get(client).copied().unwrap_or_else(|| drawn(client, &sites));
    let rows: Vec<Vec<f64>> = log.names.iter().map(|name| distance.from(place(name))).collect();
    let unknown = log.names.iter().filter(|name| !known.contains_key(*name)).count();
    let mut bins: BTreeMap<(i64, usize), f64> = BTreeMap::new();
    for visit in &log.visits {
        let second = visit.at_s.div_euclid(BIN) * BIN;
        *bins.entry((second, visit.client as usize)).or_default() += 1.0;
    }
    let first = bins.first_key_value().map_or(0, |((second, _), _)| *second);
    let last = bins.last_key_value().map_or(0, |((second, _), _)| *second);
    let cut = first + (last - first) / 4 * 3;
    let mut learned = Learned::new(log.names.len(), names.len());
    let (mut steps, mut now_ms, mut chances) = (Vec::new(), Vec::new(), Vec::new());
    for ((second, user), requests) in bins {
        let row = rows[user].clone();
        if second < cut {
            learned.add(user, &row);
            continue;
        }
        // Who never moves is next time where it is now.
        let mut stays = vec![0.0; names.len()];
        if let Some(near) = nearest(&row) {
            stays[near] = 1.0;
        }
        chances.push(stays);
        steps.push(Step { user, second, lasts: BIN, requests });
        now_ms.push(row);
    }
    let notes = notes(&log, unknown);
    Ok(Trace {
        users: log.names,
        homes: learned.homes(),
        between_ms: learned.between_ms(&distance),
        zones: names,
        steps,
        now_ms,
        foretold: vec![Foretold { bins: 1, chances }],
        bin: Some(BIN),
        notes,
    })
}

fn notes(log: &Log, unknown: usize) -> Vec<String> {
    let mut notes = vec![
        "the last quarter of the log's time is replayed, its requests counted in bins of 5 min"
            .to_owned(),
        "a log tells of no movement: every client stays where it is, so only where sessions begin \
         and whether they ever move differs between policies"
            .to_owned(),
    ];
    if unknown > 0 {
        notes.push(format!(
            "MADE UP: {unknown} of {} clients have no known place; each is put near a zone that \
             the hash of its name draws, so their latencies say nothing of real ones (--places \
             gives places)",
            log.names.len()
        ));
    }
    if log.skipped + log.left_out > 0 {
        let (skipped, left_out) = (log.skipped, log.left_out);
        notes.push(format!("{skipped} line(s) could not be read, {left_out} request(s) left out"));
    }
    notes
}

/// A place in the surroundings of a zone, both drawn by the hash of a name.
fn drawn(client: &str, zones: &[[f32; 2]]) -> [f32; 2] {
    let hash = blake3::hash(client.as_bytes());
    let words: Vec<u64> = hash
        .as_bytes()
        .chunks_exact(8)
        .map(|bytes| bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)))
        .collect();
    let zone = zones[(words[0] % zones.len() as u64) as usize];
    let way = |other: &[f32; 2]| (other[0] - zone[0]).hypot(other[1] - zone[1]);
    let next = zones.iter().map(way).filter(|way| *way > 0.0).fold(f32::INFINITY, f32::min);
    let reach = if next.is_finite() { next / 2.0 } else { SURROUNDINGS };
    let offset = |word: u64| (word as f64 / u64::MAX as f64 * 2.0 - 1.0) as f32 * reach;
    [zone[0] + offset(words[1]), zone[1] + offset(words[2])]
}

/// Names with their places, in the order of the file.
fn named_places(
    file: &Path,
    column: &str,
    remedy: &str,
) -> Result<(Vec<String>, Vec<[f32; 2]>), Trouble> {
    let mut seen = std::collections::BTreeSet::new();
    let rows = Recording::file(file.to_owned(), remedy)?.rows(&[column, "lat", "lon"], |row| {
        let name = row.text(0).to_owned();
        if !seen.insert(name.clone()) {
            return Err(format!("{column}: {name} is there already"));
        }
        Ok((name, row.place(1)?))
    })?;
    Ok(rows.into_iter().unzip())
}
