//! Round trips between client cities and one zone, from a small CSV table. Everything runs on
//! loopback, so the app itself waits the round trip out: half before it executes, half after.

use std::collections::HashMap;
use std::time::Duration;

/// Longest round trip a table may state; a larger one is a slip of the unit.
const RTT_MS_MAX: f64 = 10_000.0;

/// Round trips to one zone by client city.
#[derive(Clone, Debug, Default)]
pub struct Distances {
    by_city: HashMap<String, Duration>,
}

impl Distances {
    /// Reads the column of `zone` out of a table with a header line `city,zone,zone,...` and round
    /// trips in milliseconds; `#` begins a comment line.
    ///
    /// # Errors
    /// A text that names the line at fault.
    pub fn read(table: &str, zone: &str) -> Result<Self, String> {
        let mut lines =
            (1..).zip(table.lines()).filter(|(_, l)| !l.is_empty() && !l.starts_with('#'));
        let (_, header) = lines.next().ok_or("the table of round trips is empty")?;
        let column =
            header.split(',').skip(1).position(|name| name.trim() == zone).ok_or_else(|| {
                format!("the table of round trips has no column for zone `{zone}`")
            })?;
        let mut by_city = HashMap::new();
        for (number, line) in lines {
            let mut cells = line.split(',');
            let city = cells.next().unwrap_or_default().trim().to_ascii_lowercase();
            let rtt = cells.nth(column).and_then(|cell| cell.trim().parse::<f64>().ok());
            let rtt = rtt.filter(|ms| (0.0..=RTT_MS_MAX).contains(ms)).ok_or_else(|| {
                format!("line {number} of the round trips: no time in ms for zone `{zone}`")
            })?;
            by_city.insert(city, Duration::from_secs_f64(rtt / 1e3));
        }
        Ok(Self { by_city })
    }

    /// The round trip from a city; zero if it is not in the table.
    #[must_use]
    pub fn from(&self, city: Option<&str>) -> Duration {
        let known = city.and_then(|city| self.by_city.get(&city.trim().to_ascii_lowercase()));
        known.copied().unwrap_or_default()
    }
}
