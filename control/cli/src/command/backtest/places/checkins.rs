//! Check-ins of users: the next venue or zone, knowing the hour but not the place.

use std::collections::BTreeMap;
use std::path::Path;

use homing_forecast::places::{Expert, Forecaster, Moment, key};

use super::recording::{Recording, kilometres, places};
use super::{Answer, settings, train};
use crate::trouble::Trouble;

const DAY: f64 = 1440.0;

/// What is to be foretold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Venue,
    Zone,
}

struct Checkin {
    minute: f64,
    user: u32,
    seq: u32,
    venue: u32,
    zone: u32,
    test: bool,
}

/// What a user did before.
#[derive(Clone, Copy, Default)]
struct Past {
    venues: [u32; 3],
    zones: [u32; 2],
    minute: f64,
    seen: u32,
}

pub(super) fn answers(data: &Path, asked: Asked) -> Result<Vec<Answer>, Trouble> {
    let folder = data.join("nyc-checkins");
    let columns = ["t_min", "user", "seq", "venue", "zone", "phase"];
    let checkins = Recording::open(&folder, "stream.csv.gz")?.rows(&columns, |row| {
        Ok(Checkin {
            minute: row.number(0)?,
            user: row.named(1)?,
            seq: row.named(2)?,
            venue: row.named(3)?,
            zone: row.named(4)?,
            test: row.text(5) == "test",
        })
    })?;
    let venues = places(&folder, "venues.csv.gz", "venue")?;
    let zones = places(&folder, "zones.csv", "zone")?;
    let targets = if asked == Asked::Venue { &venues } else { &zones };
    let mut forecaster = Forecaster::new(experts(), 25);
    let mut pasts: BTreeMap<u32, Past> = BTreeMap::new();
    let mut visits = Visits::default();
    let mut answers = Vec::new();
    // Users reach their test phase at different times. The trees are grown before the first test
    // row of the calendar, and anew whenever as much again has gone by, or a sixth of the stream.
    let first = checkins.iter().position(|checkin| checkin.test).unwrap_or(checkins.len());
    let (warm, mut due) = (first / 4, first);
    for (at, checkin) in checkins.iter().enumerate() {
        let past = pasts.entry(checkin.user).or_default();
        let keys = keys(checkin, past);
        let hints = hints(checkin, past);
        let here = venues.get(past.venues[0] as usize).copied().unwrap_or([f32::NAN; 2]);
        let last =
            if asked == Asked::Venue { past.venues } else { [past.zones[0], past.zones[1], 0] };
        let near = visits.near(checkin.user, checkin.minute);
        let all = [0, 1].map(|at| 0.1 + near.values().map(|near| near[at]).sum::<f64>());
        let of_item = |item: Option<u32>| match item {
            Some(item) => {
                let [near, weekly] = near.get(&item).copied().unwrap_or_default();
                vec![
                    targets.get(item as usize).map_or(f32::NAN, |place| kilometres(here, *place)),
                    f32::from(item == last[0]) + 2.0 * f32::from(item == last[1]),
                    (near / all[0]) as f32,
                    (weekly / all[1]) as f32,
                    near as f32,
                ]
            }
            None => vec![f32::NAN, f32::NAN, all[0] as f32, all[1] as f32, f32::NAN],
        };
        let came = if asked == Asked::Venue { checkin.venue } else { checkin.zone };
        let moment = Moment { keys: &keys, at: checkin.minute, hints: &hints };
        if at == due {
            train(&mut forecaster, &settings())?;
            due += due.clamp(1, checkins.len() / 6 + 1);
        }
        if checkin.test {
            let id = format!("{}:{}", checkin.user, checkin.seq);
            answers.push(Answer::new(id, &forecaster.rank(moment, of_item)));
        }
        if at >= warm && at % 2 == 0 {
            forecaster.note(moment, of_item, came);
        }
        forecaster.learn(&keys, checkin.minute, came);
        visits.add(checkin.user, came, checkin.minute);
        past.venues = [checkin.venue, past.venues[0], past.venues[1]];
        past.zones = [checkin.zone, past.zones[0]];
        past.minute = checkin.minute;
        past.seen += 1;
    }
    Ok(answers)
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

fn keys(checkin: &Checkin, past: &Past) -> [u64; 16] {
    let hour = (checkin.minute / 60.0).rem_euclid(24.0) as u64;
    let day = (checkin.minute / DAY).rem_euclid(7.0) as u64;
    let user = u64::from(checkin.user);
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

fn hints(checkin: &Checkin, past: &Past) -> [f32; 4] {
    let gap = checkin.minute - past.minute;
    [
        checkin.minute.rem_euclid(DAY) as f32,
        (checkin.minute / DAY).rem_euclid(7.0).floor() as f32,
        if past.seen > 0 { gap as f32 } else { f32::NAN },
        past.seen as f32,
    ]
}
