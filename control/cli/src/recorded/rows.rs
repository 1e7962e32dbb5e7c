//! Recorded files, read with the place of whatever is wrong in them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::trouble::Trouble;

/// A file's text; unpacked if its name ends in `.gz`.
pub(crate) struct Recording {
    path: PathBuf,
    text: String,
}

/// The columns asked for, of one line.
pub(crate) struct Row<'a> {
    columns: &'a [&'a str],
    fields: Vec<&'a str>,
}

impl Recording {
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Self, Trouble> {
        Self::file(
            folder.join(name),
            "give the folder that holds the recorded data, a backtest with a folder for each set",
        )
    }

    /// A file by itself; `remedy` says what to give if there is none.
    pub(crate) fn file(path: PathBuf, remedy: &str) -> Result<Self, Trouble> {
        let file = File::open(&path).map_err(|error| {
            Trouble::failure(format!("{}: {error}", path.display())).remedy(remedy)
        })?;
        let mut text = String::new();
        let read = if path.extension().is_some_and(|end| end == "gz") {
            MultiGzDecoder::new(file).read_to_string(&mut text)
        } else {
            (&file).read_to_string(&mut text)
        };
        match read {
            Ok(_) => Ok(Self { path, text }),
            Err(error) => Err(Trouble::failure(format!("{}: {error}", path.display()))
                .remedy("record it again: it is cut off, not gzip, or not UTF-8")),
        }
    }

    /// Whether the header names this column.
    pub(crate) fn has(&self, column: &str) -> bool {
        let header = self.text.lines().next().unwrap_or_default();
        header.trim().split(',').any(|name| name == column)
    }

    /// All lines, as they are.
    pub(crate) fn lines<T>(
        &self,
        mut parse: impl FnMut(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Trouble> {
        let lines = self.text.lines().enumerate();
        lines.map(|(at, line)| parse(line).map_err(|wrong| self.wrong(at + 1, &wrong))).collect()
    }

    /// The lines after the header, as these columns.
    pub(crate) fn rows<T>(
        &self,
        columns: &[&str],
        mut parse: impl FnMut(&Row<'_>) -> Result<T, String>,
    ) -> Result<Vec<T>, Trouble> {
        let mut lines = self.text.lines().enumerate();
        let header: Vec<&str> =
            lines.next().map_or(Vec::new(), |(_, line)| line.trim().split(',').collect());
        let mut places = Vec::with_capacity(columns.len());
        for column in columns {
            match header.iter().position(|name| name == column) {
                Some(place) => places.push(place),
                None => return Err(self.wrong(1, &format!("there is no column `{column}`"))),
            }
        }
        let mut rows = Vec::new();
        for (at, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let all: Vec<&str> = line.trim().split(',').collect();
            let fields: Option<Vec<&str>> =
                places.iter().map(|place| all.get(*place).copied()).collect();
            let parsed = match fields {
                Some(fields) => parse(&Row { columns, fields }),
                None => Err(format!("{} fields where {} are needed", all.len(), header.len())),
            };
            rows.push(parsed.map_err(|wrong| self.wrong(at + 1, &wrong))?);
        }
        Ok(rows)
    }

    fn wrong(&self, line: usize, wrong: &str) -> Trouble {
        Trouble::failure(format!("{}:{line}: {wrong}", self.path.display()))
            .remedy("mend the line or take it out; the README beside the data names the columns")
    }
}

impl Row<'_> {
    pub(crate) fn text(&self, column: usize) -> &str {
        self.fields[column]
    }

    pub(crate) fn number(&self, column: usize) -> Result<f64, String> {
        let field = self.fields[column];
        let number = field.parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| format!("{}: `{field}` is not a number", self.columns[column]))
    }

    /// A number that names something: whole, from 0.
    pub(crate) fn named(&self, column: usize) -> Result<u32, String> {
        let field = self.fields[column];
        let named = field.parse::<u32>().ok();
        named.ok_or_else(|| format!("{}: `{field}` is not a whole number", self.columns[column]))
    }
}

impl Row<'_> {
    /// Latitude and longitude, in this column and the next, in degrees.
    pub(crate) fn place(&self, column: usize) -> Result<[f32; 2], String> {
        let mut place = [0.0; 2];
        for (at, most) in [90.0, 180.0].into_iter().enumerate() {
            let degrees = self.number(column + at)?;
            if degrees.abs() > most {
                let name = self.columns[column + at];
                return Err(format!("{name}: {degrees} is not within -{most} to {most}"));
            }
            place[at] = degrees as f32;
        }
        Ok(place)
    }

    /// The number of a place that is one of these.
    pub(crate) fn known(&self, column: usize, places: &[[f32; 2]]) -> Result<u32, String> {
        let named = self.named(column)?;
        match places.get(named as usize) {
            Some(place) if place[0].is_finite() => Ok(named),
            _ => Err(format!("{}: there is no {named}", self.columns[column])),
        }
    }
}

/// Where numbered places lie; `name` is the column of their numbers.
pub(crate) fn places(folder: &Path, file: &str, name: &str) -> Result<Vec<[f32; 2]>, Trouble> {
    let rows = Recording::open(folder, file)?.rows(&[name, "lat", "lon"], |row| {
        let named = row.named(0)?;
        if named > 10_000_000 {
            return Err(format!("{name}: {named} is larger than 10000000"));
        }
        Ok((named as usize, row.place(1)?))
    })?;
    let most = rows.iter().map(|row| row.0 + 1).max().unwrap_or(0);
    let mut places = vec![[f32::NAN; 2]; most];
    for (named, place) in rows {
        places[named] = place;
    }
    Ok(places)
}

/// About how many kilometres lie between two places.
pub(crate) fn kilometres(a: [f32; 2], b: [f32; 2]) -> f32 {
    let north = (a[0] - b[0]) * 111.0;
    let east = (a[1] - b[1]) * 111.0 * a[0].to_radians().cos();
    north.hypot(east)
}
