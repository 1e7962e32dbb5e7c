//! `homing replay`: recorded users under several policies, in virtual time; what each policy would
//! have cost them in latency and their operator in copies.

use std::collections::BTreeMap;

use homing_plan::anticipate::Costs;
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::ReplayArgs;
use crate::trouble::Trouble;

mod checkins;
mod copies;
mod decisions;
mod distance;
mod figures;
mod foresight;
mod log;
mod options;
mod page;
mod policy;
mod report;
mod taxis;
mod trace;

use decisions::Decisions;
use figures::Figures;
use policy::{Policy, Sight, Walk};
use trace::Trace;

/// How much nearer another zone has to be, in ms; the best of these is what prediction is held
/// against.
const GAINS: [f64; 5] = [1.0, 2.0, 5.0, 10.0, 20.0];
/// For how many minutes a copy left behind is held.
const KEEPS: [i64; 3] = [30, 60, 240];

/// Zones of a replay, at most.
const ZONES_MAX: usize = 256;
/// Rows of a recording times zones, at most: a latency and some chances are held for each.
const CELLS_MAX: usize = 100_000_000;

/// Replays a recording and reports.
///
/// # Errors
/// If the recording or a table cannot be read, an option makes no sense, or a report cannot be
/// written.
pub fn run(args: &ReplayArgs) -> Result<(), Trouble> {
    options::check(args)?;
    let trace = trace_of(args)?;
    if trace.steps.is_empty() || trace.zones.is_empty() {
        return Err(Trouble::failure("the recording holds nothing to replay")
            .remedy("record more: the first three quarters are only learned from"));
    }
    let figures = replay(&trace, &policies(args), args)?;
    let report = report::of(&trace, figures, args);
    anstream::println!("{}", report::table(&report));
    for words in &report.verdict {
        anstream::println!("{words}");
    }
    for words in report.terms.iter().chain(&report.notes) {
        anstream::println!("note: {words}");
    }
    if let Some(file) = &args.json {
        report::write(file, "--json", &report::json(&report)?)?;
        anstream::println!("written to {}", file.display());
    }
    if let Some(file) = &args.html {
        report::write(file, "--html", &page::draw(&report))?;
        anstream::println!("drawn in {}", file.display());
    }
    Ok(())
}

fn trace_of(args: &ReplayArgs) -> Result<Trace, Trouble> {
    if let (Some(log), Some(zones)) = (&args.log, &args.zones) {
        return log::trace(log, zones, args.places.as_deref(), &args.terms);
    }
    let Some(dir) = &args.dir else {
        return Err(Trouble::usage("there is nothing to replay", "give a folder or --log FILE"));
    };
    if dir.join("tracks.csv.gz").exists() {
        taxis::trace(dir, &args.terms)
    } else if dir.join("stream.csv.gz").exists() {
        checkins::trace(dir, &args.terms)
    } else {
        let text = format!("{} holds neither tracks.csv.gz nor stream.csv.gz", dir.display());
        Err(Trouble::failure(text).remedy("give the folder of one recording, or --log FILE"))
    }
}

/// All policies of a replay.
fn policies(args: &ReplayArgs) -> Vec<Policy> {
    let mut policies = vec![Policy::Static, Policy::Reactive { gain_ms: 0.0 }];
    policies.extend(GAINS.map(|gain_ms| Policy::Reactive { gain_ms }));
    let ttl = i64::from(args.ttl);
    policies.extend(GAINS.map(|gain_ms| Policy::CopyFirst { gain_ms, ttl }));
    for minutes in KEEPS {
        let seconds = minutes * 60;
        policies.extend(GAINS.map(|gain_ms| Policy::KeepWarm { gain_ms, seconds }));
    }
    for move_ms in &args.move_ms {
        for theta in &args.theta {
            let cold_ms = args.terms.cold_ms;
            let (price, holding_ms) = (theta * cold_ms, theta * args.keep * cold_ms);
            let copying_ms = price - holding_ms;
            let costs = Costs { cold_ms, move_ms: *move_ms, holding_ms, copying_ms };
            policies.push(Policy::Predictive { theta: *theta, costs, ttl });
        }
    }
    policies.extend(GAINS.map(|gain_ms| Policy::Everywhere { gain_ms }));
    policies
}

/// Walks all policies through a trace side by side.
fn replay(
    trace: &Trace,
    policies: &[Policy],
    args: &ReplayArgs,
) -> Result<Vec<(Policy, Figures)>, Trouble> {
    let bar = bar(trace.steps.len() as u64, "replay");
    let mut walks: Vec<Walk> = policies.iter().map(|policy| Walk::new(*policy, trace)).collect();
    let mut decisions = args.decisions.as_deref().map(Decisions::create).transpose()?;
    for at in 0..trace.steps.len() {
        let ahead_ms = trace.ahead_ms(at);
        let next = trace.foretold.first().map_or(&[][..], |foretold| &foretold.chances[at]);
        let sight = Sight { now_ms: &trace.now_ms[at], ahead_ms: &ahead_ms, next };
        for walk in &mut walks {
            let decision = walk.step(trace, at, &sight);
            if let (Some(decisions), Some(decision)) = (&mut decisions, decision) {
                decisions.write(trace, at, &walk.policy, &decision)?;
            }
        }
        if at % 512 == 0 {
            bar.set_position(at as u64);
        }
    }
    bar.finish_and_clear();
    if let Some(decisions) = decisions {
        decisions.finish()?;
    }
    let finished = walks.into_iter().map(|walk| walk.finish(trace));
    Ok(finished
        .map(|(policy, tally)| (policy, tally.figures(policy.name(), &args.terms)))
        .collect())
}

/// Refuses a recording that would not fit into memory.
fn fits(rows: usize, zones: usize) -> Result<(), Trouble> {
    if zones > ZONES_MAX {
        let text = format!("{zones} zones, counting from 0: more than the {ZONES_MAX} taken");
        return Err(Trouble::failure(text).remedy("number the zones from 0 on without gaps"));
    }
    if rows.saturating_mul(zones) > CELLS_MAX {
        let text = format!("{rows} rows over {zones} zones are too many to hold in memory");
        return Err(Trouble::failure(text).remedy("replay fewer users, or a shorter time"));
    }
    Ok(())
}

/// A bar that says what is done; nothing where standard error is no terminal.
fn bar(steps: u64, doing: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {percent} %, {elapsed}");
    let bar = ProgressBar::new(steps).with_message(doing);
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Users by index, with the index of each.
fn indexed<T: Ord + Copy + ToString>(
    users: impl Iterator<Item = T>,
) -> (Vec<String>, BTreeMap<T, usize>) {
    let mut index: BTreeMap<T, usize> = users.map(|user| (user, 0)).collect();
    index.values_mut().enumerate().for_each(|(at, index)| *index = at);
    (index.keys().map(ToString::to_string).collect(), index)
}
