//! Taxis: the zone some minutes on, by position, movement, passenger.

use std::collections::BTreeMap;
use std::path::Path;

use homing_forecast::places::{Expert, Forecaster, Moment, Ranked, key};

use super::rows::{Recording, Row, kilometres, places};
use super::{settings, train};
use crate::trouble::Trouble;

/// Seconds of a bin.
pub(crate) const BIN: i64 = 300;
/// Lists that trees learn from, at most.
const NOTED: usize = 40_000;

/// Where a taxi was in a bin.
#[derive(Clone, Copy)]
pub(crate) struct Fix {
    pub(crate) taxi: u32,
    pub(crate) second: i64,
    /// Degrees.
    pub(crate) place: [f32; 2],
    occupied: bool,
    pub(crate) zone: u32,
}

/// Where a taxi was up to now.
struct Track {
    fixes: BTreeMap<i64, Fix>,
    /// Since when it has or has not had a passenger.
    since: i64,
}

/// The movement of taxis over zones.
pub(crate) struct Taxis {
    /// By time.
    pub(crate) fixes: Vec<Fix>,
    /// Degrees, by number.
    pub(crate) zones: Vec<[f32; 2]>,
}

/// Reads `tracks.csv.gz` and `zones.csv`.
///
/// # Errors
/// If a file, a column or a value is missing or senseless, or a taxi goes back in time.
pub(crate) fn read(folder: &Path) -> Result<Taxis, Trouble> {
    let zones = places(folder, "zones.csv", "zone")?;
    let columns = ["taxi", "t", "lat", "lon", "occ", "zone"];
    let mut last: BTreeMap<u32, i64> = BTreeMap::new();
    let mut fixes = Recording::open(folder, "tracks.csv.gz")?.rows(&columns, |row| {
        let fix = fix(row, &zones)?;
        match last.insert(fix.taxi, fix.second) {
            Some(before) if before >= fix.second => {
                Err(format!("t: {} does not come after {before}, the taxi's last", fix.second))
            }
            _ => Ok(fix),
        }
    })?;
    fixes.sort_by_key(|fix| (fix.second, fix.taxi));
    Ok(Taxis { fixes, zones })
}

fn fix(row: &Row<'_>, zones: &[[f32; 2]]) -> Result<Fix, String> {
    let second = i64::from(row.named(1)?);
    if second % BIN != 0 {
        return Err(format!("t: {second} does not begin a bin of {BIN} s: it is no multiple"));
    }
    Ok(Fix {
        taxi: row.named(0)?,
        second,
        place: row.place(2)?,
        occupied: row.text(4) == "1",
        zone: row.known(5, zones)?,
    })
}

impl Taxis {
    /// When the last quarter of the recorded time begins, which is foretold.
    pub(crate) fn cut(&self) -> f64 {
        let (Some(first), Some(last)) = (self.fixes.first(), self.fixes.last()) else { return 0.0 };
        first.second as f64 + 0.75 * (last.second - first.second) as f64
    }

    /// Foretells, for each fix of the last quarter in turn, the zone `minutes` on. Nothing later
    /// than the fix is known to a forecast.
    pub(crate) fn foretell(
        &self,
        minutes: i64,
        mut tell: impl FnMut(&Fix, &[Ranked]),
    ) -> Result<(), Trouble> {
        let (Some(first), cut) = (self.fixes.first(), self.cut()) else { return Ok(()) };
        let start = first.second as f64;
        let noted_from = start + (cut - start) / 3.0;
        let ahead = minutes * 60;
        let came: BTreeMap<(u32, i64), u32> =
            self.fixes.iter().map(|fix| ((fix.taxi, fix.second), fix.zone)).collect();
        let every = (self.fixes.len() / 2).div_ceil(NOTED).max(1);
        let mut forecaster = Forecaster::new(experts(), 12);
        let mut tracks: BTreeMap<u32, Track> = BTreeMap::new();
        // What was asked and is not answered yet: counts learn an answer when its bin is over.
        let mut open: BTreeMap<(u32, i64), [u64; 14]> = BTreeMap::new();
        let mut trained = false;
        for bin in self.fixes.chunk_by(|a, b| a.second == b.second) {
            for fix in bin {
                if let Some(keys) = open.remove(&(fix.taxi, fix.second)) {
                    forecaster.learn(&keys, fix.second as f64, fix.zone);
                }
                tracks.entry(fix.taxi).or_insert_with(|| Track::new(fix)).follow(fix);
            }
            for (at, fix) in bin.iter().enumerate() {
                let (now, then) = (fix.second as f64, fix.second + ahead);
                let track = &tracks[&fix.taxi];
                let keys = track.keys(fix);
                let hints = track.hints(fix);
                let of_item = |item: Option<u32>| track.of_zone(fix, item, &self.zones, ahead);
                let moment = Moment { keys: &keys, at: now, hints: &hints };
                if now >= cut && !trained {
                    train(&mut forecaster, &settings())?;
                    trained = true;
                }
                if now >= cut {
                    tell(fix, &forecaster.rank(moment, of_item));
                } else if now > noted_from
                    && (then as f64) < cut
                    && (at + (fix.second / BIN) as usize).is_multiple_of(every)
                    && let Some(zone) = came.get(&(fix.taxi, then))
                {
                    forecaster.note(moment, of_item, *zone);
                }
                open.insert((fix.taxi, then), keys);
            }
        }
        Ok(())
    }
}

/// From zones to cells with a heading.
fn experts() -> Vec<Expert> {
    [5.0, 20.0, 20.0, 20.0, 20.0, 30.0, 30.0, 20.0, 20.0, 20.0, 20.0, 15.0, 15.0, 10.0]
        .map(Expert::new)
        .to_vec()
}

impl Track {
    fn new(fix: &Fix) -> Self {
        Self { fixes: BTreeMap::new(), since: fix.second }
    }

    fn follow(&mut self, fix: &Fix) {
        let last = self.fixes.last_key_value().map(|(_, last)| last.occupied);
        if last != Some(fix.occupied) {
            self.since = fix.second;
        }
        self.fixes.insert(fix.second, *fix);
        while self.fixes.len() > 12 {
            self.fixes.pop_first();
        }
    }

    fn back(&self, fix: &Fix, bins: i64) -> Option<&Fix> {
        self.fixes.get(&(fix.second - bins * BIN))
    }

    /// Degrees moved within the last bins.
    fn moved(&self, fix: &Fix, bins: i64) -> [f32; 2] {
        self.back(fix, bins).map_or([f32::NAN; 2], |back| {
            [fix.place[0] - back.place[0], fix.place[1] - back.place[1]]
        })
    }

    fn keys(&self, fix: &Fix) -> [u64; 14] {
        let zone = u64::from(fix.zone);
        let taxi = u64::from(fix.taxi);
        let full = u64::from(fix.occupied);
        let [a, b, c] = [1, 2, 3]
            .map(|bins| self.back(fix, bins).map_or(u64::MAX, |back| u64::from(back.zone)));
        let hour = (fix.second / 3600 % 24) as u64;
        let day = (fix.second / 86_400 % 7) as u64;
        let cell = |degrees: f32| fix.place.map(|side| (side / degrees).floor() as i64 as u64);
        let ([north, east], [wide_north, wide_east]) = (cell(0.005), cell(0.015));
        let heading = heading(self.moved(fix, 1));
        let since = ((fix.second - self.since) / BIN).min(6) as u64;
        [
            key(&[0, zone]),
            key(&[1, zone, hour, day]),
            key(&[2, zone, full, hour / 3]),
            key(&[3, zone, full, since]),
            key(&[4, zone, a, full]),
            key(&[5, taxi, zone, full]),
            key(&[6, taxi, zone, hour / 3]),
            key(&[7, zone, a, b, full]),
            key(&[8, zone, a, b, c, full]),
            key(&[9, wide_north, wide_east, full, hour / 4]),
            key(&[10, north, east, full]),
            key(&[11, wide_north, wide_east, full, heading]),
            key(&[12, north, east, full, hour / 4]),
            key(&[13, north, east, full, heading]),
        ]
    }

    fn hints(&self, fix: &Fix) -> Vec<f32> {
        let mut hints = vec![
            fix.place[0],
            fix.place[1],
            f32::from(fix.occupied),
            ((fix.second - self.since) / BIN) as f32,
            (fix.second % 86_400) as f32 / 3600.0,
            (fix.second / 86_400 % 7) as f32,
            fix.zone as f32,
        ];
        for bins in [1, 3] {
            hints.extend(self.moved(fix, bins));
        }
        hints
    }

    /// A zone's place, seen from the taxi and from where it would be if it went on like this.
    fn of_zone(&self, fix: &Fix, zone: Option<u32>, zones: &[[f32; 2]], ahead: i64) -> Vec<f32> {
        let place = zone.and_then(|zone| zones.get(zone as usize));
        let (Some(zone), Some(place)) = (zone, place) else { return vec![f32::NAN; 9] };
        let moved = self.moved(fix, 1);
        let steps = (ahead / BIN) as f32 / 2.0;
        let on = [fix.place[0] + steps * moved[0], fix.place[1] + steps * moved[1]];
        let ago = self.fixes.values().rev().position(|fix| fix.zone == zone);
        let before = self.back(fix, 2).map_or(f32::NAN, |back| kilometres(back.place, *place));
        let toward = self.back(fix, 1).map_or(f32::NAN, |back| {
            kilometres(back.place, *place) - kilometres(fix.place, *place)
        });
        vec![
            zone as f32,
            place[0] - fix.place[0],
            place[1] - fix.place[1],
            kilometres(fix.place, *place),
            kilometres(on, *place),
            before,
            toward,
            ago.map_or(f32::NAN, |ago| ago as f32),
            self.fixes.values().filter(|fix| fix.zone == zone).count() as f32,
        ]
    }
}

/// One of eight directions, or standing still, or unknown.
fn heading(moved: [f32; 2]) -> u64 {
    if !moved[0].is_finite() {
        return 9;
    }
    if moved[0].hypot(moved[1]) < 0.002 {
        return 8;
    }
    let turn = moved[0].atan2(moved[1]) / std::f32::consts::TAU + 0.5;
    (turn * 8.0) as u64 % 8
}
