//! The anomaly task of `homing backtest`: each series from its first row on, one row at a time.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use homing_forecast::anomaly::{Detector, THRESHOLD};

use crate::trouble::Trouble;

/// Names the series. The windows in it are for the scorer; only the names are looked at here.
const NAMES: &str = "windows.json";

pub(super) fn run(data: &Path, out: &Path) -> Result<(), Trouble> {
    let names = names(&data.join(NAMES))?;
    let cannot = |error: std::io::Error| {
        Trouble::failure(format!("cannot write {}: {error}", out.display()))
            .remedy("give --out a file in a folder that is there, on a disk with room")
    };
    let mut sheet = BufWriter::new(File::create(out).map_err(cannot)?);
    writeln!(sheet, "file,row,score").map_err(cannot)?;
    let (mut rows, mut alarms) = (0_usize, 0_usize);
    for name in &names {
        let mut detector = Detector::new();
        for (row, (at, value)) in series(data, name)?.into_iter().enumerate() {
            let score = detector.observe(at, value).score;
            writeln!(sheet, "{name},{row},{score:.6}").map_err(cannot)?;
            rows += 1;
            alarms += usize::from(score >= THRESHOLD);
        }
    }
    sheet.flush().map_err(cannot)?;
    anstream::println!("threshold: {THRESHOLD}");
    anstream::println!("{alarms} alarms in {rows} rows of {} series", names.len());
    Ok(())
}

fn names(file: &Path) -> Result<Vec<String>, Trouble> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        Trouble::failure(format!("cannot read {shown}: {error}"))
            .remedy(format!("give a folder that holds {NAMES} beside its series"))
    })?;
    let parsed: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(&text);
    let windows = parsed.map_err(|error| {
        Trouble::failure(format!("{shown}:{}: {error}", error.line()))
            .remedy(r#"write an object with a key for each series: {"kind/name.csv": []}"#)
    })?;
    Ok(windows.into_iter().map(|(name, _)| name).collect())
}

/// The times and values of a series, which is there as `name` or as `name.gz`.
fn series(data: &Path, name: &str) -> Result<Vec<(i64, f64)>, Trouble> {
    let plain = data.join(name);
    let zipped = PathBuf::from(format!("{}.gz", plain.display()));
    let path = if zipped.exists() { zipped } else { plain };
    let shown = path.display();
    let cannot = |error: std::io::Error| {
        Trouble::failure(format!("cannot read {shown}: {error}"))
            .remedy(format!("{NAMES} names it; put it there as CSV, plain or gzip"))
    };
    let mut source = BufReader::new(File::open(&path).map_err(cannot)?);
    let gzip = source.fill_buf().map_err(cannot)?.starts_with(&[0x1f, 0x8b]);
    let lines: Box<dyn Iterator<Item = std::io::Result<String>>> = if gzip {
        Box::new(BufReader::new(MultiGzDecoder::new(source)).lines())
    } else {
        Box::new(source.lines())
    };
    let mut series = Vec::new();
    for (index, line) in lines.enumerate() {
        let line = line.map_err(cannot)?;
        if index == 0 || line.trim().is_empty() {
            continue;
        }
        let observed = observation(&line).ok_or_else(|| {
            Trouble::failure(format!("{shown}:{}: cannot read `{line}`", index + 1)).remedy(
                "write a time and a value, such as `2014-04-01 00:05:00,19.8`, below one header",
            )
        })?;
        series.push(observed);
    }
    Ok(series)
}

/// A time, as a date or in Unix seconds, and a value; columns after these are not looked at.
fn observation(line: &str) -> Option<(i64, f64)> {
    let mut columns = line.split(',').map(str::trim);
    let (time, value) = (columns.next()?, columns.next()?);
    // A hole in the recording is no mistake of the file; the detector says what becomes of it.
    let value = if value.is_empty() { f64::NAN } else { value.parse().ok()? };
    Some((unix_seconds(time)?, value))
}

fn unix_seconds(time: &str) -> Option<i64> {
    if let Ok(seconds) = time.parse::<i64>() {
        return Some(seconds);
    }
    let date: jiff::civil::DateTime = time.parse().ok()?;
    // Recordings leave the zone out; any fixed one gives the same hours apart.
    Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_or_seconds() {
        assert_eq!(observation("1970-01-02 00:00:05, 2.5"), Some((86_405, 2.5)));
        assert_eq!(observation("1970-01-01 00:00:05.000000,1"), Some((5, 1.0)));
        assert_eq!(observation("86405,-1e3,0"), Some((86_405, -1_000.0)));
        assert!(observation("5,").is_some_and(|(_, value)| value.is_nan()));
        assert_eq!(observation("yesterday,1"), None);
        assert_eq!(observation("5,many"), None);
        assert_eq!(observation("5"), None);
    }
}
