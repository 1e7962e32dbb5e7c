//! The demand tasks of `homing backtest`: each series told observation by observation, forecast at
//! the origins of its task, in parallel over series.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;

use comfy_table::Table;
use homing_forecast::demand::{Forecaster, Outlook};
use indicatif::ProgressBar;

use crate::args::BacktestTask;
use crate::trouble::Trouble;

mod data;
mod tally;

use data::{Recorded, Series};
use tally::Tally;

/// More series than this are told by their mean and median only.
const ROWS_MAX: usize = 30;

/// A series' forecasts, by origin.
type Foretold = Vec<(usize, Vec<Outlook>)>;

pub(super) fn run(task: BacktestTask, dir: &Path, out: &Path) -> Result<(), Trouble> {
    let recorded = data::read(task, dir)?;
    let mut file = super::create(out)?;
    writeln!(file, "series,origin,h,mean,lo80,hi80,lo95,hi95")?;
    let bar = ProgressBar::new(recorded.series.iter().map(|s| s.values.len() as u64).sum());
    let next = AtomicUsize::new(0);
    // Room for all, so that nobody waits to be heard.
    let (done, finished) = mpsc::sync_channel(recorded.series.len());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut foretold: Vec<Option<Foretold>> = vec![None; recorded.series.len()];
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (done, next, recorded, bar) = (done.clone(), &next, &recorded, &bar);
            scope.spawn(move || {
                while let Some((index, series)) = {
                    let index = next.fetch_add(1, Relaxed);
                    recorded.series.get(index).map(|series| (index, series))
                } {
                    let _ = done.send((index, foretell(recorded, series, bar)));
                }
            });
        }
        drop(done);
        for (index, forecasts) in finished {
            foretold[index] = Some(forecasts);
        }
    });
    bar.finish_and_clear();
    let mut tallies = Vec::new();
    for (series, forecasts) in recorded.series.iter().zip(foretold.into_iter().flatten()) {
        let mut tally = Tally::new(series, recorded.shape.season, recorded.first_origin(series));
        for (origin, outlooks) in &forecasts {
            for (step, outlook) in outlooks.iter().enumerate() {
                let (ahead, (low80, high80)) = (step + 1, outlook.band80);
                let (name, mean, (low95, high95)) = (&series.name, outlook.mean, outlook.band95);
                writeln!(
                    file,
                    "{name},{origin},{ahead},{mean:.4},{low80:.4},{high80:.4},{low95:.4},{high95:.4}"
                )?;
                tally.score(origin + ahead, outlook);
            }
        }
        tallies.push(tally);
    }
    file.flush()?;
    anstream::println!("{}", table(&tallies));
    anstream::println!("written to {}", out.display());
    Ok(())
}

/// Tells a forecaster the series and keeps what it says at the task's origins. It is asked in
/// between as well, now and then before the first of them and at every observation after it: each
/// forecast is scored when its truth arrives, and so it knows how good it is.
fn foretell(recorded: &Recorded, series: &Series, bar: &ProgressBar) -> Foretold {
    let mut forecaster = Forecaster::new(recorded.shape);
    let mut foretold = Vec::new();
    let last = series.origins.last().copied().unwrap_or_default();
    let first = series.origins.first().copied().unwrap_or_default();
    let mut origins = series.origins.iter().copied().peekable();
    for (index, value) in series.values.iter().enumerate().take(last + 1) {
        forecaster.observe(*value);
        if origins.next_if_eq(&index).is_some() {
            foretold.push((index, forecaster.forecast()));
        } else if index > first
            || index >= recorded.shape.season && (first - index) % recorded.stride == 0
        {
            forecaster.forecast();
        }
        bar.inc(1);
    }
    bar.inc((series.values.len() - (last + 1).min(series.values.len())) as u64);
    foretold
}

/// The error table, where the truth is in the data.
fn table(tallies: &[Tally<'_>]) -> Table {
    let mut table = crate::sheet::sheet(&["series", "MASE", "80 % band", "95 % band", "MSIS 95 %"]);
    let figures: Vec<[f64; 4]> = tallies.iter().map(Tally::figures).collect();
    let mut row = |name: &str, [mase, inner, outer, msis]: [f64; 4]| {
        let (inner, outer) = (100.0 * inner, 100.0 * outer);
        table.add_row([
            name.to_owned(),
            format!("{mase:.3}"),
            format!("{inner:.1} %"),
            format!("{outer:.1} %"),
            format!("{msis:.2}"),
        ]);
    };
    if tallies.len() <= ROWS_MAX {
        for (tally, figures) in tallies.iter().zip(&figures) {
            row(&tally.name, *figures);
        }
    }
    let count = figures.len().max(1) as f64;
    row("mean", [0, 1, 2, 3].map(|i| figures.iter().map(|f| f[i]).sum::<f64>() / count));
    row(
        "median",
        [0, 1, 2, 3].map(|i| {
            let mut all: Vec<f64> = figures.iter().map(|f| f[i]).collect();
            all.sort_unstable_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or_default()
        }),
    );
    table
}
