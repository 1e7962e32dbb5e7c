//! Where the demo plays: cities, zones, round trips and prices, from the small tables in
//! `configs/demo` that travel inside the binary.

use crate::trouble::Trouble;

/// Round trips between cities and zones, as the sample app reads them too.
pub const RTT: &str = include_str!("../../../../configs/demo/rtt.csv");
const ZONES: &str = include_str!("../../../../configs/demo/zones.csv");

/// Fewest and most zones of a demo.
pub const ZONES_MIN: usize = 3;
/// The tables hold no more.
pub const ZONES_MAX: usize = 6;

/// A zone of the demo.
#[derive(Clone, Debug, PartialEq)]
pub struct ZoneFacts {
    /// Its name.
    pub name: String,
    /// Degrees.
    pub lat: f64,
    /// Degrees.
    pub lon: f64,
    /// US dollars for one vCPU for an hour.
    pub cpu_hour_usd: f64,
    /// US dollars for one GB to the internet.
    pub egress_gb_usd: f64,
}

/// A city of the demo with its round trip to each zone.
#[derive(Clone, Debug, PartialEq)]
pub struct City {
    /// Its name.
    pub name: String,
    /// Milliseconds, by zone.
    pub rtt_ms: Vec<f64>,
}

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// The zones.
    pub zones: Vec<ZoneFacts>,
    /// The cities.
    pub cities: Vec<City>,
}

impl World {
    /// The first `zones` zones of the tables, with every city.
    ///
    /// # Errors
    /// If `zones` is not 3..=6; never for the tables of an intact binary.
    pub fn bundled(zones: usize) -> Result<Self, Trouble> {
        if !(ZONES_MIN..=ZONES_MAX).contains(&zones) {
            return Err(Trouble::usage(
                format!("the demo has {ZONES_MIN} to {ZONES_MAX} zones, not {zones}"),
                format!("give `--zones` a number from {ZONES_MIN} to {ZONES_MAX}"),
            ));
        }
        Self::read(zones).ok_or_else(|| Trouble::failure("the demo's tables cannot be read"))
    }

    fn read(count: usize) -> Option<Self> {
        let rows = |table: &'static str| table.lines().filter(|l| !l.starts_with('#')).skip(1);
        let zones: Option<Vec<_>> = rows(ZONES).take(count).map(zone).collect();
        let city = |line: &str| {
            let (name, cells) = line.split_once(',')?;
            let rtt_ms: Option<Vec<f64>> =
                cells.split(',').take(count).map(|cell| cell.parse().ok()).collect();
            Some(City { name: name.to_owned(), rtt_ms: rtt_ms? })
        };
        let cities: Option<Vec<_>> = rows(RTT).map(city).collect();
        Some(Self { zones: zones?, cities: cities? })
    }

    /// The zone nearest to a city.
    #[must_use]
    pub fn nearest(&self, city: usize) -> usize {
        let row = &self.cities[city].rtt_ms;
        (0..row.len()).min_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0)
    }
}

fn zone(line: &str) -> Option<ZoneFacts> {
    let mut cells = line.split(',');
    let name = cells.next()?.to_owned();
    let mut number = || cells.next()?.trim().parse::<f64>().ok();
    Some(ZoneFacts {
        name,
        lat: number()?,
        lon: number()?,
        cpu_hour_usd: number()?,
        egress_gb_usd: number()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_agree_with_each_other() {
        let header = RTT.lines().find(|l| !l.starts_with('#')).unwrap();
        for count in ZONES_MIN..=ZONES_MAX {
            let world = World::bundled(count).unwrap();
            let names: Vec<&str> = header.split(',').skip(1).take(count).collect();
            assert_eq!(names, world.zones.iter().map(|z| z.name.as_str()).collect::<Vec<_>>());
            for (index, city) in world.cities.iter().enumerate() {
                assert_eq!(city.rtt_ms.len(), count);
                assert!(city.rtt_ms[world.nearest(index)] <= 260.0);
            }
        }
        assert!(World::bundled(2).is_err() && World::bundled(7).is_err());
    }
}
