//! `homing backtest --csv`: a user's own series, foretold observation by observation, with what
//! each expert and the blend came to, and a plot.

use std::io::Write as _;
use std::path::Path;

use comfy_table::Table;
use indicatif::ProgressBar;

use crate::args::OwnArgs;
use crate::trouble::Trouble;

mod events;
mod foretell;
mod grid;
mod plot;
mod table;

use foretell::Foretold;
use grid::Grid;

/// Origins that are scored; of more, every second or third and so on is.
const ORIGINS_MAX: usize = 2_000;

pub(super) fn run(args: &OwnArgs, out: Option<&Path>) -> Result<(), Trouble> {
    let (Some(csv), Some(horizon)) = (&args.csv, args.horizon) else {
        return Err(Trouble::usage("there is nothing to forecast", "give a task or --csv FILE"));
    };
    let season = args.season;
    for (name, value, most) in [
        ("--season", season, homing_forecast::demand::SEASON_MAX),
        ("--horizon", horizon, homing_forecast::demand::HORIZON_MAX),
    ] {
        if !(1..=most).contains(&value) {
            let remedy = format!("give a number from 1 to {most}");
            return Err(Trouble::usage(format!("{name} {value} is out of range"), remedy));
        }
    }
    let mut grid = Grid::of(table::read(csv, &args.time, &args.value)?, csv)?;
    let scheduled = match &args.events {
        Some(file) => events::read(file, &grid, horizon)?,
        None => events::Known::default(),
    };
    grid.notes.extend(scheduled.notes.iter().cloned());
    let needed = 2 * horizon + 8;
    if grid.length < needed {
        return Err(Trouble::failure(format!(
            "{}: {} observation(s): too few to score a forecast of {horizon} steps",
            csv.display(),
            grid.length
        ))
        .remedy(format!("record {needed} or more, or ask for a shorter --horizon")));
    }
    let foretold = all(&grid, season, horizon, &scheduled);
    if let Some(out) = out {
        write(out, &foretold)?;
    }
    for series in &foretold {
        anstream::println!("{}", sheet(series));
    }
    for note in grid.notes.iter().chain(foretold.iter().flat_map(|series| &series.notes)) {
        anstream::println!("note: {note}");
    }
    if let Some(file) = &args.plot {
        std::fs::write(file, plot::draw(&grid, &foretold, &scheduled)).map_err(|error| {
            Trouble::failure(format!("{}: {error}", file.display()))
                .remedy("give --plot a file in a folder that you may write to")
        })?;
        anstream::println!("drawn in {}", file.display());
    }
    if let Some(out) = out {
        anstream::println!("written to {}", out.display());
    }
    Ok(())
}

/// Foretells every series, as many at once as there are cores.
fn all(grid: &Grid, season: usize, horizon: usize, events: &events::Known) -> Vec<Foretold> {
    let bar = ProgressBar::new((grid.length * grid.series.len()) as u64);
    let mut foretold: Vec<Option<Foretold>> = Vec::new();
    foretold.resize_with(grid.series.len(), || None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = grid.series.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        for (series, told) in grid.series.chunks(share).zip(foretold.chunks_mut(share)) {
            let bar = &bar;
            scope.spawn(move || {
                for (series, told) in series.iter().zip(told) {
                    let shape = homing_forecast::demand::Shape { season, horizon };
                    *told = Some(foretell::run(series, shape, &events.events, bar));
                }
            });
        }
    });
    bar.finish_and_clear();
    foretold.into_iter().flatten().collect()
}

fn write(out: &Path, foretold: &[Foretold]) -> Result<(), Trouble> {
    let mut file = super::create(out)?;
    writeln!(file, "series,origin,h,mean,lo80,hi80,lo95,hi95")?;
    for series in foretold {
        // A name with a comma would be two columns.
        let name = match series.name.contains([',', '"']) {
            true => format!("\"{}\"", series.name.replace('"', "\"\"")),
            false => series.name.clone(),
        };
        for (origin, outlooks) in &series.outlooks {
            for (step, outlook) in outlooks.iter().enumerate() {
                let ((low80, high80), (low95, high95)) = (outlook.band80, outlook.band95);
                writeln!(
                    file,
                    "{name},{origin},{},{:.4},{low80:.4},{high80:.4},{low95:.4},{high95:.4}",
                    step + 1,
                    outlook.mean
                )?;
            }
        }
    }
    Ok(file.flush()?)
}

/// The error table of one series.
fn sheet(series: &Foretold) -> Table {
    let head = [&series.name[..], "weight", "MAE", "MASE", "pinball .5", "80 % band", "95 % band"];
    let mut table = crate::sheet::sheet(&head);
    let mut row = |name: &str, weight: String, mae: f64, bands: [String; 2]| {
        let [inner, outer] = bands;
        let figures = [
            weight,
            short(mae),
            format!("{:.3}", mae / series.scale),
            short(mae / 2.0),
            inner,
            outer,
        ];
        let cells = figures.into_iter().map(crate::sheet::right);
        table.add_row(std::iter::once(name.into()).chain(cells).collect::<Vec<_>>());
    };
    let covered = series.covered.map(|share| format!("{:.1} %", 100.0 * share));
    row("the blend", String::new(), series.mae, covered);
    for expert in &series.experts {
        let weight = format!("{:.1} %", 100.0 * expert.weight);
        row(expert.name, weight, expert.mae, [String::new(), String::new()]);
    }
    table
}

/// A number in four digits or so.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(0.001..1e7).contains(&size) => format!("{value:.3e}"),
        size if size < 10.0 => format!("{value:.4}"),
        size if size < 1_000.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}
