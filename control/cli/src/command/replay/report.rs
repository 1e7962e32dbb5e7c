//! What a replay came to: the policies that matter, a verdict in words, a table, a file.

use std::path::Path;

use comfy_table::Table;
use serde::Serialize;

use super::figures::Figures;
use super::foresight::{self, Foresight};
use super::policy::Policy;
use super::trace::Trace;
use crate::args::ReplayArgs;
use crate::sheet::{right, sheet};
use crate::trouble::Trouble;

/// A policy with what it came to.
#[derive(Serialize)]
pub(super) struct Row {
    #[serde(skip)]
    pub(super) policy: Policy,
    #[serde(flatten)]
    pub(super) figures: Figures,
    /// Whether it stands for its kind: no other of the kind is better in all.
    pub(super) shown: bool,
}

/// All policies of a replay, with those that are compared.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) users: usize,
    pub(super) zones: usize,
    pub(super) steps: usize,
    pub(super) rows: Vec<Row>,
    /// The best of those without forecast or copies, by mean latency.
    pub(super) reactive: String,
    /// The best by forecast that makes no more moves than it and holds no more copies than asked.
    pub(super) predictive: Option<String>,
    /// The lowest mean latency possible with so many moves, all future known, copies everywhere.
    pub(super) foresight_ms: f64,
    pub(super) foresight_moves: u64,
    pub(super) verdict: Vec<String>,
    pub(super) terms: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// The head of the table.
pub(super) const HEAD: [&str; 10] =
    ["policy", "mean ms", "p50", "p95", "p99", "cold", "moves/h", "copies", "GB moved", "USD"];

/// The policy with the lowest mean latency of those.
pub(super) fn best(rows: &[Row], of: impl Fn(&Row) -> bool) -> Option<&Row> {
    let mean = |row: &&Row| row.figures.mean_ms;
    rows.iter().filter(|row| of(row)).min_by(|a, b| mean(a).total_cmp(&mean(b)))
}

/// The best policy without copies.
pub(super) fn reactive(rows: &[Row]) -> Option<&Row> {
    best(rows, |row| matches!(row.policy, Policy::Reactive { .. }))
}

/// The report of all policies walked through a trace.
pub(super) fn of(trace: &Trace, figures: Vec<(Policy, Figures)>, args: &ReplayArgs) -> Report {
    let rows = rows(figures);
    let before = reactive(&rows).map(|row| &row.figures);
    let foresight = foresight::bound(trace, before.map_or(0, |figures| figures.moves));
    let (verdict, predictive) = verdict(&rows, foresight, args.copies);
    Report {
        users: trace.users.len(),
        zones: trace.zones.len(),
        steps: trace.steps.len(),
        reactive: before.map_or(String::new(), |figures| figures.policy.clone()),
        predictive,
        foresight_ms: foresight.mean_ms,
        foresight_moves: foresight.moves,
        verdict,
        terms: terms(args),
        notes: trace.notes.clone(),
        rows,
    }
}

/// The same as a file for programs.
///
/// # Errors
/// Never for figures that are numbers.
pub(super) fn json(report: &Report) -> Result<String, Trouble> {
    let text = serde_json::to_string_pretty(report);
    text.map(|text| text + "\n").map_err(|error| Trouble::failure(error.to_string()))
}

/// The rows, marked by whether they are shown.
pub(super) fn rows(figures: Vec<(Policy, Figures)>) -> Vec<Row> {
    let row = |(policy, figures)| Row { policy, figures, shown: false };
    let mut rows: Vec<Row> = figures.into_iter().map(row).collect();
    let moves_max = reactive(&rows).map_or(0, |row| row.figures.moves);
    let shown: Vec<bool> = (0..rows.len()).map(|at| is_shown(at, &rows, moves_max)).collect();
    for (row, shown) in rows.iter_mut().zip(shown) {
        row.shown = shown;
    }
    rows
}

fn is_shown(at: usize, rows: &[Row], moves_max: u64) -> bool {
    let row = &rows[at];
    let is_best = |alike: &dyn Fn(&Policy) -> bool| {
        best(rows, |other| alike(&other.policy)).is_some_and(|best| best.policy == row.policy)
    };
    match row.policy {
        Policy::Static | Policy::Reactive { .. } => true,
        Policy::KeepWarm { seconds, .. } => is_best(
            &|other| matches!(other, Policy::KeepWarm { seconds: other, .. } if *other == seconds),
        ),
        Policy::CopyFirst { .. } => is_best(&|other| matches!(other, Policy::CopyFirst { .. })),
        Policy::Everywhere { .. } => is_best(&|other| matches!(other, Policy::Everywhere { .. })),
        Policy::Predictive { .. } => {
            // Of those that come to the same, the first.
            let beats = |(place, other): (usize, &Row)| {
                let (a, b) = (&other.figures, &row.figures);
                let same = (a.mean_ms, a.copies_per_user) == (b.mean_ms, b.copies_per_user);
                matches!(other.policy, Policy::Predictive { .. })
                    && a.moves <= moves_max
                    && a.mean_ms <= b.mean_ms
                    && a.copies_per_user <= b.copies_per_user
                    && (!same || place < at)
            };
            row.figures.moves <= moves_max && !rows.iter().enumerate().any(beats)
        }
    }
}

/// What the replay says, in words, with the predictive policy it is about.
fn verdict(rows: &[Row], foresight: Foresight, copies: f64) -> (Vec<String>, Option<String>) {
    let Some(before) = reactive(rows).map(|row| &row.figures) else { return Default::default() };
    if before.moves == 0 {
        let text = "No user ever came nearer to another zone: there was nothing to foresee, and no \
                    policy saves anything.";
        return (vec![text.to_owned()], None);
    }
    let fits = |row: &Row| {
        matches!(row.policy, Policy::Predictive { .. }) && row.figures.copies_per_user <= copies
    };
    let mut words = Vec::new();
    let chosen = best(rows, |row| fits(row) && row.figures.moves <= before.moves);
    match chosen {
        Some(row) => words.push(beside(&row.figures, before)),
        None => words.push(format!(
            "No predictive policy holds {copies} copies per user or fewer and makes no more moves \
             than {}.",
            before.policy
        )),
    }
    words.push(format!(
        "With no more moves than that and everything known in advance, no policy can be below \
         {:.2} ms ({:+.1} %).",
        foresight.mean_ms,
        change(foresight.mean_ms, before.mean_ms)
    ));
    let free = best(rows, fits).map(|row| &row.figures);
    if let Some(free) = free.filter(|free| free.moves > before.moves) {
        words.push(format!("With as many moves as pay: {}", beside(free, before)));
    }
    (words, chosen.map(|row| row.figures.policy.clone()))
}

fn beside(after: &Figures, before: &Figures) -> String {
    format!(
        "{} beside {}: mean latency {:.2} ms beside {:.2} ({:+.1} %), p99 {:.1} beside {:.1}, cold \
         arrivals {:.1} % beside {:.1} %, {} moves per user-hour beside {}, {:.2} copies per \
         user, {:.4} USD beside {:.4}.",
        after.policy,
        before.policy,
        after.mean_ms,
        before.mean_ms,
        change(after.mean_ms, before.mean_ms),
        after.p99_ms,
        before.p99_ms,
        100.0 * after.cold_share,
        100.0 * before.cold_share,
        rate(after.moves_per_user_hour),
        rate(before.moves_per_user_hour),
        after.copies_per_user,
        after.usd,
        before.usd,
    )
}

/// Per cent more, or less.
fn change(after: f64, before: f64) -> f64 {
    100.0 * (after / before.max(1e-9) - 1.0)
}

/// The terms that the figures hold under.
pub(super) fn terms(args: &ReplayArgs) -> Vec<String> {
    let terms = &args.terms;
    let way = match &terms.rtt {
        Some(file) => format!("{} ms and the round trip of {}", terms.base_ms, file.display()),
        None => format!("{} ms and {} ms a km", terms.base_ms, terms.ms_per_km),
    };
    vec![
        format!("latency: {way}; a cold arrival adds {} ms to one request", terms.cold_ms),
        match &args.log {
            Some(_) => "requests in a bin: as the log has them".to_owned(),
            None => format!("requests in a bin: {}", terms.requests_per_bin),
        },
        format!(
            "state {} KiB, and {} KiB a bin to keep a copy up to date; {} USD a GB, {} USD a copy \
             and hour",
            terms.state_kib, terms.delta_kib, terms.usd_per_gb, terms.usd_per_copy_hour
        ),
    ]
}

/// A row's cells.
pub(super) fn cells(figures: &Figures) -> [String; 10] {
    let cold = match figures.moves {
        0 => "-".to_owned(),
        _ => format!("{:.1} %", 100.0 * figures.cold_share),
    };
    [
        figures.policy.clone(),
        format!("{:.2}", figures.mean_ms),
        format!("{:.1}", figures.p50_ms),
        format!("{:.1}", figures.p95_ms),
        format!("{:.1}", figures.p99_ms),
        cold,
        rate(figures.moves_per_user_hour),
        format!("{:.2}", figures.copies_per_user),
        format!("{:.3}", figures.moved_gb),
        format!("{:.4}", figures.usd),
    ]
}

/// Two decimals, or as many as show something.
fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 0.1 { format!("{rate:.4}") } else { format!("{rate:.2}") }
}

/// The rows that stand for their kinds.
pub(super) fn table(report: &Report) -> Table {
    let mut table = sheet(&HEAD);
    for row in report.rows.iter().filter(|row| row.shown) {
        let [policy, numbers @ ..] = cells(&row.figures);
        let cells = std::iter::once(policy.into()).chain(numbers.into_iter().map(right));
        table.add_row(cells.collect::<Vec<_>>());
    }
    table
}

/// Writes a report's file.
///
/// # Errors
/// If it cannot be written.
pub(super) fn write(file: &Path, option: &str, text: &str) -> Result<(), Trouble> {
    std::fs::write(file, text).map_err(|error| {
        Trouble::failure(format!("{}: {error}", file.display()))
            .remedy(format!("give {option} a file in a folder that you may write to"))
    })
}
