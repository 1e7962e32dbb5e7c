//! `homing demo`: real zones, proxy and control as processes on loopback, a real access log
//! replayed against them, sessions handed over live, and a report whose every promise is checked
//! from outside.

use std::sync::Arc;

use crate::args::DemoArgs;
use crate::trouble::Trouble;

pub mod arm;
pub mod children;
pub mod client;
pub mod fleet;
pub mod ledger;
pub mod operate;
pub mod plan;
pub mod report;
pub mod samples;
pub mod scene;
pub mod screen;
pub mod story;
pub mod tally;
pub mod trace;
pub mod world;

use arm::{Played, Setting, play};
use plan::{Pace, Plan};
use report::{Given, Report};
use screen::Screen;
use trace::Trace;
use world::World;

/// Runs the demo.
///
/// # Errors
/// If it cannot be run, or a promise was broken.
pub async fn run(args: DemoArgs) -> Result<(), Trouble> {
    if args.fleet {
        return fleet::run(&args).await;
    }
    let world = Arc::new(World::bundled(args.zones)?);
    let (source, trace) = match &args.trace {
        Some(file) => (file.display().to_string(), Trace::open(file)?),
        None => ("NASA Kennedy Space Center, August 1995".to_owned(), Trace::bundled()?),
    };
    let pace = Pace { speed: args.speed, length: args.length.map(|all| all / 2) };
    let plan = Arc::new(Plan::draw(&trace, &world, pace, args.seed));
    if plan.clients.is_empty() {
        return Err(Trouble::failure("nothing of the log falls into the run")
            .remedy("give a longer `--for` or a higher `--speed`"));
    }
    let screen = Screen::new();
    announce(&screen, &source, &trace, &plan, &world);
    let dir = tempfile::Builder::new().prefix("homing-demo-").tempdir()?;
    let played = tokio::select! {
        played = both_arms(&args, &world, &plan, dir.path(), &screen) => played,
        _ = tokio::signal::ctrl_c() => {
            screen.end();
            Err(Trouble { code: 130, text: "interrupted".to_owned(), remedy: String::new() })
        }
    };
    if args.keep {
        screen.tell(&format!("the processes' files are in {}", dir.keep().display()));
    }
    let (off, on) = played?;
    let given =
        Given { source: &source, trace: &trace, plan: &plan, world: &world, seed: args.seed };
    let report = Report { given, off: &off, on: &on };
    anstream::println!("{}", report.text());
    if let Some(file) = &args.samples {
        samples::write(file, [("off", &off), ("on", &on)], &world).map_err(|error| {
            Trouble::failure(format!("cannot write the samples {}: {error}", file.display()))
        })?;
    }
    if let Some(file) = &args.report {
        report.write(file).map_err(|error| {
            Trouble::failure(format!("cannot write the report {}: {error}", file.display()))
        })?;
    }
    match report.promises().iter().filter(|promise| !promise.held).count() {
        0 => Ok(()),
        broken => Err(Trouble::failure(format!("{broken} promises were broken"))
            .remedy(format!("repeat with `--seed {} --keep` and look at the logs", args.seed))),
    }
}

fn announce(screen: &Screen, source: &str, trace: &Trace, plan: &Plan, world: &World) {
    let zones: Vec<&str> = world.zones.iter().map(|zone| zone.name.as_str()).collect();
    screen.tell(&format!(
        "{source}: {} requests of {} clients ({} lines skipped), {:.0} times as fast",
        trace.visits.len(),
        trace.clients,
        trace.skipped,
        plan.speed,
    ));
    screen.tell(&format!(
        "{} requests with notebook writes, {:.0} s an arm; zones {}; users in {} cities",
        plan.requests(),
        plan.length.as_secs_f64(),
        zones.join(", "),
        world.cities.len(),
    ));
}

async fn both_arms(
    args: &DemoArgs,
    world: &Arc<World>,
    plan: &Arc<Plan>,
    dir: &std::path::Path,
    screen: &Screen,
) -> Result<(Played, Played), Trouble> {
    let _ = args;
    let setting = |handoffs: bool| Setting {
        handoffs,
        world: world.clone(),
        plan: plan.clone(),
        dir: dir.join(if handoffs { "on" } else { "off" }),
    };
    screen.tell("\nfirst without handoffs: control plans and explains, nothing acts");
    let off = play(&setting(false), screen).await?;
    screen.tell("\nnow with handoffs");
    let on = play(&setting(true), screen).await?;
    Ok((off, on))
}
