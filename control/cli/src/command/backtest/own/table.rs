//! A file of rows with times: read in whole, with the place of whatever is wrong in it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::trouble::Trouble;

/// A file is no longer than this, unpacked.
const TEXT_MAX: u64 = 256 << 20;
/// Columns of values, at most.
const SERIES_MAX: usize = 64;

/// What a file tells.
pub(super) struct Told {
    pub(super) names: Vec<String>,
    /// In the order of the file: the time in milliseconds, and a value for each name, `NaN` where
    /// there is none.
    pub(super) rows: Vec<(i64, Vec<f64>)>,
    /// Fields that tell no number: empty, or infinite, or said to be none.
    pub(super) numberless: usize,
}

/// A file's text; unpacked if its name ends in `.gz`.
///
/// # Errors
/// If it cannot be read or is longer than `most` bytes.
pub(super) fn text(file: &Path, most: u64) -> Result<String, Trouble> {
    let wrong = |wrong: String, remedy: &str| {
        Trouble::failure(format!("{}: {wrong}", file.display())).remedy(remedy)
    };
    let opened = File::open(file)
        .map_err(|error| wrong(error.to_string(), "give a file that is there and may be read"))?;
    let reader: Box<dyn Read> = match file.extension().is_some_and(|end| end == "gz") {
        true => Box::new(MultiGzDecoder::new(opened)),
        false => Box::new(opened),
    };
    let mut text = String::new();
    let read = reader.take(most + 1).read_to_string(&mut text);
    read.map_err(|error| wrong(error.to_string(), "save it as UTF-8, plain or whole gzip"))?;
    if text.len() as u64 > most {
        return Err(wrong(format!("longer than {most} bytes"), "give a part of it"));
    }
    Ok(text)
}

/// Reads the columns of a file.
///
/// # Errors
/// If a column is not there, or a time or a value cannot be read; names the line.
pub(super) fn read(file: &Path, time: &str, values: &[String]) -> Result<Told, Trouble> {
    if values.len() > SERIES_MAX {
        let text = format!("--value names {} columns", values.len());
        return Err(Trouble::usage(text, format!("name {SERIES_MAX} or fewer")));
    }
    let text = text(file, TEXT_MAX)?;
    let wrong = |line: usize, wrong: String, remedy: &str| {
        Trouble::failure(format!("{}:{line}: {wrong}", file.display())).remedy(remedy)
    };
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let header = lines.next().map_or("", |(_, line)| line);
    let mark = [',', ';', '\t'].into_iter().max_by_key(|mark| header.matches(*mark).count());
    let mark = mark.unwrap_or(',');
    let header = fields(header, mark);
    let place = |column: &str| {
        header.iter().position(|name| name == column).ok_or_else(|| {
            let there = header.join(", ");
            wrong(1, format!("there is no column `{column}`"), &format!("there are: {there}"))
        })
    };
    let time_place = place(time)?;
    let value_places = values.iter().map(|name| place(name)).collect::<Result<Vec<_>, _>>()?;
    let mut told = Told { names: values.to_vec(), rows: Vec::new(), numberless: 0 };
    for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let fields = fields(line, mark);
        let field = |place: usize| {
            fields.get(place).map(String::as_str).ok_or_else(|| {
                let text = format!("{} fields where {} are named", fields.len(), header.len());
                wrong(index + 1, text, "mend the line or take it out")
            })
        };
        let at = moment(field(time_place)?).ok_or_else(|| {
            let text = format!("{time}: `{}` is not a time", fields[time_place]);
            wrong(index + 1, text, "write Unix seconds, or such as 2026-03-01T12:00:00Z")
        })?;
        let mut row = Vec::with_capacity(values.len());
        for (place, name) in value_places.iter().zip(values) {
            let value = number(field(*place)?).ok_or_else(|| {
                let text = format!("{name}: `{}` is not a number", fields[*place]);
                wrong(index + 1, text, "write a number, or leave the field empty for a gap")
            })?;
            told.numberless += usize::from(!value.is_finite());
            row.push(if value.is_finite() { value } else { f64::NAN });
        }
        told.rows.push((at, row));
    }
    Ok(told)
}

/// A value; what says that there is none is `NaN`.
fn number(field: &str) -> Option<f64> {
    match field.to_ascii_lowercase().as_str() {
        "" | "na" | "n/a" | "null" | "none" | "-" => Some(f64::NAN),
        field => field.parse().ok(),
    }
}

/// A time in milliseconds of the Unix epoch.
pub(super) fn moment(field: &str) -> Option<i64> {
    if let Ok(number) = field.parse::<f64>() {
        // Seconds until the year 5138; milliseconds beyond.
        let millis = if number.abs() < 1e11 { 1_000.0 * number } else { number };
        return (millis.abs() < 1e15).then_some(millis.round() as i64);
    }
    if let Ok(moment) = field.parse::<jiff::Timestamp>() {
        return Some(moment.as_millisecond());
    }
    let utc = |civil: jiff::civil::DateTime| civil.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let civil = field.parse::<jiff::civil::DateTime>().ok().and_then(utc)?;
    Some(civil.timestamp().as_millisecond())
}

/// A line's fields; a quoted one may hold the mark.
fn fields(line: &str, mark: char) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.trim_end_matches('\r').chars().peekable();
    while let Some(letter) = letters.next() {
        let Some(field) = fields.last_mut() else { break };
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            letter if letter == mark && !quoted => fields.push(String::new()),
            letter => field.push(letter),
        }
    }
    fields.iter().map(|field| field.trim().to_owned()).collect()
}
