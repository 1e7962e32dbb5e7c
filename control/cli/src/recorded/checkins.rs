//! Check-ins of users: the next venue or zone, knowing the hour but not the place.

use std::collections::BTreeMap;
use std::path::Path;

use homing_forecast::places::{Expert, Forecaster, Moment, Ranked, key};

use super::rows::{Recording, Row, kilometres, places};
use super::{settings, train};
use crate::trouble::Trouble;

const DAY: f64 = 1440.0;

/// What is to be foretold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The venue of a check-in of which the minute is known.
    Venue,
    /// The zone of a check-in of which the minute is known.
    Zone,
    /// The zone of a user's next check-in, asked as soon as the last one is over: nobody knows
    /// when the next will be.
    ZoneAfter,
}

/// A user at a venue.
pub(crate) struct Checkin {
    /// Minutes since some start.
    pub(crate) minute: f64,
    pub(crate) user: u32,
    pub(crate) seq: u32,
    pub(crate) venue: u32,
    pub(crate) zone: u32,
    pub(crate) test: bool,
}

/// Check-ins of users.
pub(crate) struct Checkins {
    /// By time.
    pub(crate) checkins: Vec<Checkin>,
    /// Degrees, by number.
    pub(crate) venues: Vec<[f32; 2]>,
    /// The same of zones.
    pub(crate) zones: Vec<[f32; 2]>,
}

/// What a user did before.
#[derive(Clone, Copy, Default)]
struct Past {
    venues: [u32; 3],
    zones: [u32; 2],
    minute: f64,
    seen: u32,
}

/// Reads `stream.csv.gz`, `venues.csv.gz` and `zones.csv`.
///
/// # Errors
/// If a file, a column or a value is missing or senseless, or the stream goes back in time.
pub(crate) fn read(folder: &Path) -> Result<Checkins, Trouble> {
    let venues = places(folder, "venues.csv.gz", "venue")?;
    let zones = places(folder, "zones.csv", "zone")?;
    let columns = ["t_min", "user", "seq", "venue", "zone", "phase"];
    let mut last = f64::NEG_INFINITY;
    let checkins = Recording::open(folder, "stream.csv.gz")?.rows(&columns, |row| {
        let checkin = checkin(row, &venues, &zones)?;
        if checkin.minute < last {
            return Err(format!("t_min: {} comes before {last}, the last", checkin.minute));
        }
        last = checkin.minute;
        Ok(checkin)
    })?;
    Ok(Checkins { checkins, venues, zones })
}

fn checkin(row: &Row<'_>, venues: &[[f32; 2]], zones: &[[f32; 2]]) -> Result<Checkin, String> {
    Ok(Checkin {
        minute: row.number(0)?,
        user: row.named(1)?,
        seq: row.named(2)?,
        venue: row.known(3, venues)?,
        zone: row.known(4, zones)?,
        test: row.text(5) == "test",
    })
}

impl Checkins {
    /// Foretells each check-in of the test phase in turn, from what came before it.
    pub(crate) fn foretell(
        &self,
        asked: Asked,
        mut tell: impl FnMut(&Checkin, &[Ranked]),
    ) -> Result<(), Trouble> {
        let checkins = &self.checkins;
        let targets = if asked == Asked::Venue { &self.venues } else { &self.zones };
        let mut forecaster = Forecaster::new(experts(), 25);
        let mut pasts: BTreeMap<u32, Past> = BTreeMap::new();
        let mut visits = Visits::default();
        // Users reach their test phase at different times. The trees are grown before the first
        // test row of the calendar, and anew whenever as much again has gone by, or a sixth of
        // the stream.
        let first = checkins.iter().position(|checkin| checkin.test).unwrap_or(checkins.len());
        let (warm, mut due) = (first / 4, first);
        for (at, checkin) in checkins.iter().enumerate() {
            let past = pasts.entry(checkin.user).or_default();
            let minute = if asked == Asked::ZoneAfter { past.minute } else { checkin.minute };
            let keys = keys(checkin.user, minute, past);
            let hints = hints(minute, past);
            let near = visits.near(checkin.user, minute);
            let all = [0, 1].map(|at| 0.1 + near.values().map(|near| near[at]).sum::<f64>());
            let here = self.venues.get(past.venues[0] as usize).copied();
            let of_item = |item: Option<u32>| {
                let Some(item) = item else {
                    return vec![f32::NAN, f32::NAN, all[0] as f32, all[1] as f32, f32::NAN];
                };
                let [near, weekly] = near.get(&item).copied().unwrap_or_default();
                let place = targets.get(item as usize);
                vec![
                    place.map_or(f32::NAN, |to| kilometres(here.unwrap_or([f32::NAN; 2]), *to)),
                    past.again(item, asked),
                    (near / all[0]) as f32,
                    (weekly / all[1]) as f32,
                    near as f32,
                ]
            };
            let came = if asked == Asked::Venue { checkin.venue } else { checkin.zone };
            let moment = Moment { keys: &keys, at: minute, hints: &hints };
            if at == due {
                train(&mut forecaster, &settings())?;
                due += due.clamp(1, checkins.len() / 6 + 1);
            }
            if checkin.test {
                tell(checkin, &forecaster.rank(moment, of_item));
            }
            if at >= warm && at % 2 == 0 {
                forecaster.note(moment, of_item, came);
            }
            forecaster.learn(&keys, checkin.minute, came);
            visits.add(checkin.user, came, checkin.minute);
            past.follow(checkin);
        }
        Ok(())
    }
}

impl Past {
    fn follow(&mut self, checkin: &Checkin) {
        self.venues = [checkin.venue, self.venues[0], self.venues[1]];
        self.zones = [checkin.zone, self.zones[0]];
        self.minute = checkin.minute;
        self.seen += 1;
    }

    /// Whether an item is the last, the one before it, or neither.
    fn again(&self, item: u32, asked: Asked) -> f32 {
        let [last, before] = match asked {
            Asked::Venue => [self.venues[0], self.venues[1]],
            Asked::Zone | Asked::ZoneAfter => self.zones,
        };
        f32::from(item == last) + 2.0 * f32::from(item == before)
    }
}

/// When each user was where.
#[derive(Default)]
struct Visits(BTreeMap<u32, Vec<(u32, f64)>>);

impl Visits {
    fn add(&mut self, user: u32, item: u32, minute: f64) {
        self.0.entry(user).or_default().push((item, minute));
    }

    /// How much a user was where at about this time of the day, on any day or at about this time
    /// of the week. Hours as keys would cut what happens at 8:55 off from 9:05.
    fn near(&self, user: u32, minute: f64) -> BTreeMap<u32, [f64; 2]> {
        let mut near: BTreeMap<u32, [f64; 2]> = BTreeMap::new();
        for (item, then) in self.0.get(&user).into_iter().flatten() {
            let age = (minute - then).max(0.0);
            let fresh = (-age / (60.0 * DAY)).exp2();
            let sums = near.entry(*item).or_default();
            sums[0] += fresh * closeness(age, DAY, 50.0);
            sums[1] += fresh * closeness(age, 7.0 * DAY, 120.0);
        }
        near
    }
}

/// 1 at whole periods, falling over `width` before and after them.
fn closeness(age: f64, period: f64, width: f64) -> f64 {
    let off = (age.rem_euclid(period)).min(period - age.rem_euclid(period)) / width;
    (-off * off / 2.0).exp()
}

/// From the crowd to the user in this very situation.
fn experts() -> Vec<Expert> {
    vec![
        Expert::new(1.0),
        Expert::new(20.0),
        Expert::new(20.0),
        Expert::new(10.0),
        Expert::new(4.0),
        Expert::new(4.0).fading(30.0 * DAY),
        Expert::new(6.0).fading(3.0 * DAY),
        Expert::new(4.0),
        Expert::new(4.0),
        Expert::new(4.0),
        Expert::new(4.0),
        Expert::new(4.0),
        Expert::new(3.0),
        Expert::new(3.0),
        Expert::new(3.0),
        Expert::new(3.0),
    ]
}

fn keys(user: u32, minute: f64, past: &Past) -> [u64; 16] {
    let hour = (minute / 60.0).rem_euclid(24.0) as u64;
    let day = (minute / DAY).rem_euclid(7.0) as u64;
    let user = u64::from(user);
    let [last, before] = [past.venues[0], past.venues[1]].map(u64::from);
    let zone = u64::from(past.zones[0]);
    [
        key(&[0]),
        key(&[1, hour]),
        key(&[2, last]),
        key(&[3, last, hour / 3]),
        key(&[4, user]),
        key(&[4, user]),
        key(&[4, user]),
        key(&[5, user, day]),
        key(&[6, user, zone]),
        key(&[7, user, last]),
        key(&[8, user, hour / 4]),
        key(&[9, user, hour.div_ceil(2)]),
        key(&[10, user, hour]),
        key(&[11, user, day, hour / 3]),
        key(&[12, user, last, hour / 4]),
        key(&[13, user, last, before]),
    ]
}

fn hints(minute: f64, past: &Past) -> [f32; 4] {
    let gap = minute - past.minute;
    [
        minute.rem_euclid(DAY) as f32,
        (minute / DAY).rem_euclid(7.0).floor() as f32,
        if past.seen > 0 { gap as f32 } else { f32::NAN },
        past.seen as f32,
    ]
}
