//! The recorded series of a demand task, in its bins, with its origins.

use std::path::Path;

use homing_forecast::demand::Shape;

use crate::args::BacktestTask;
use crate::recorded::rows::Recording;
use crate::trouble::Trouble;

/// A task's data.
pub(super) struct Recorded {
    pub(super) shape: Shape,
    /// Steps between two forecasts before the first origin.
    pub(super) stride: usize,
    pub(super) series: Vec<Series>,
}

impl Recorded {
    pub(super) fn first_origin(&self, series: &Series) -> usize {
        series.origins.first().copied().unwrap_or_default()
    }
}

/// One series.
pub(super) struct Series {
    pub(super) name: String,
    /// All that was recorded; what is after an origin is used to score it only.
    pub(super) values: Vec<f64>,
    pub(super) origins: Vec<usize>,
}

/// Reads a task's data.
///
/// # Errors
/// If a file is not there or a line is not as it should be; names both.
pub(super) fn read(task: BacktestTask, dir: &Path) -> Result<Recorded, Trouble> {
    use BacktestTask as Task;
    match task {
        Task::Wc98FiveMinutes => web(dir, "wc98", 5, 7),
        Task::Wc98Hourly => web(dir, "wc98", 60, 7),
        Task::NasaFiveMinutes => web(dir, "nasa", 5, 7),
        Task::NasaHourly => web(dir, "nasa", 60, 7),
        Task::TwitterFiveMinutes => web(dir, "twitter", 5, 4),
        Task::TwitterHourly => web(dir, "twitter", 60, 4),
        Task::Taxi => {
            let columns = columns(dir, "sf-taxi-demand/pickups_15min.csv.gz")?;
            Ok(Recorded {
                shape: Shape { season: 96, horizon: 8 },
                stride: 2,
                series: with_origins(columns, 6 * 96 - 1, 8, 8),
            })
        }
        Task::Vm => {
            let columns = columns(dir, "vm-cpu/cpu_mhz_5min.csv.gz")?;
            Ok(Recorded {
                shape: Shape { season: 288, horizon: 12 },
                stride: 24,
                series: with_origins(columns, 23 * 288 - 1, 12, 24),
            })
        }
        _ => m4(dir),
    }
}

/// Origins from `first` on, every `stride`, as long as the whole horizon was recorded.
fn with_origins(
    columns: Vec<(String, Vec<f64>)>,
    first: usize,
    horizon: usize,
    stride: usize,
) -> Vec<Series> {
    let columns = columns.into_iter();
    columns
        .map(|(name, values)| {
            let end = values.len().saturating_sub(horizon);
            let origins = (first..end).step_by(stride).collect();
            Series { name, values, origins }
        })
        .collect()
}

/// Requests a minute, added up to bins.
fn web(dir: &Path, name: &str, minutes: usize, days: usize) -> Result<Recorded, Trouble> {
    let recording = Recording::open(dir, &format!("web-demand/{name}_1min.csv.gz"))?;
    let values: Vec<f64> = recording.rows(&["requests"], |row| row.number(0))?;
    let binned = values.chunks_exact(minutes).map(|bin| bin.iter().sum()).collect();
    let (season, horizon, stride) = if minutes == 5 { (288, 12, 36) } else { (24, 24, 6) };
    let first = days * 24 * 60 / minutes - 1;
    Ok(Recorded {
        shape: Shape { season, horizon },
        stride: stride / 6,
        series: with_origins(vec![(name.to_owned(), binned)], first, horizon, stride),
    })
}

/// A column a series, after one of times. An empty field is a gap: the value before goes on.
fn columns(dir: &Path, name: &str) -> Result<Vec<(String, Vec<f64>)>, Trouble> {
    let mut columns: Vec<(String, Vec<f64>)> = Vec::new();
    Recording::open(dir, name)?.lines(|line| {
        let fields = line.trim_end().split(',').skip(1);
        if columns.is_empty() {
            columns = fields.map(|name| (name.to_owned(), Vec::new())).collect();
            return Ok(());
        }
        let fields: Vec<&str> = fields.collect();
        if fields.len() != columns.len() {
            return Err(format!("{} series where {} are named", fields.len(), columns.len()));
        }
        for ((_, values), field) in columns.iter_mut().zip(fields) {
            values.push(match field {
                "" => values.last().copied().unwrap_or_default(),
                field => number(field)?,
            });
        }
        Ok(())
    })?;
    Ok(columns)
}

fn number(field: &str) -> Result<f64, String> {
    let number = field.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| format!("`{field}` is not a number"))
}

/// The M4 competition's files: a series a line, its name first.
fn m4(dir: &Path) -> Result<Recorded, Trouble> {
    let lines = |name: &str| {
        Recording::open(dir, name)?.lines(|line| {
            let (name, values) = line.split_once(',').ok_or("a name and no values")?;
            let values: Result<Vec<f64>, String> =
                values.trim_end().split(',').map(number).collect();
            Ok((name.to_owned(), values?))
        })
    };
    let train: Vec<(String, Vec<f64>)> = lines("m4-hourly/train.csv.gz")?;
    let mut test = lines("m4-hourly/test.csv.gz")?;
    let series = train.into_iter().map(|(name, mut values)| {
        let origins = vec![values.len() - 1];
        if let Some((_, rest)) = test.iter_mut().find(|(tested, _)| *tested == name) {
            values.append(rest);
        }
        Series { name, values, origins }
    });
    let shape = Shape { season: 24, horizon: 48 };
    Ok(Recorded { shape, stride: 6, series: series.collect() })
}
