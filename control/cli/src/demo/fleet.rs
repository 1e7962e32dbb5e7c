//! `homing demo --fleet`: edges, gates, control and stores as processes of their own with delay
//! between the zones; what handoffs cost, and with `--chaos` what becomes of every write while the
//! processes are killed, stopped and cut off.

pub mod audit;
pub mod chaos;
pub mod figures;
pub mod gaps;
pub mod line;
pub mod mover;
pub mod socket;
pub mod stage;
pub mod store;
pub mod warmth;
pub mod writer;

use serde::Serialize;

use super::screen::Screen;
use crate::args::{DemoArgs, FleetState};
use crate::sheet::sheet;
use crate::trouble::Trouble;
use stage::Stage;

/// The sizes of state that are measured.
const SIZES: [u64; 4] = [1 << 10, 64 << 10, 1 << 20, 16 << 20];
/// Of the largest, fewer: each moves sixteen megabytes twice through two cores.
const LARGE: u64 = 16 << 20;
/// Handoffs after which the caches are measured, at most.
const WARMTH_MAX: usize = 120;

/// What the demo found.
#[derive(Debug, Default, Serialize)]
pub struct FleetReport {
    /// Handoffs of each size that were asked for.
    pub asked: usize,
    /// Handoffs by size.
    pub figures: Vec<figures::Row>,
    /// What is felt of the caches after a handoff.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmth: Option<warmth::Warmth>,
    /// What handoffs cost open WebSockets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaps: Option<gaps::Gaps>,
    /// The chaos, if it was wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chaos: Option<chaos::Outcome>,
}

/// Runs the fleet demo.
///
/// # Errors
/// It cannot be run, or a promise was broken.
pub async fn run(args: &DemoArgs) -> Result<(), Trouble> {
    let screen = Screen::new();
    let dir = tempfile::Builder::new().prefix("homing-fleet-").tempdir()?;
    screen.tell("starting control, a gate and a store in each of three zones, and two edges");
    let mut stage = Stage::set(dir.path(), args.state, args.tier).await?;
    let played = tokio::select! {
        played = play(&mut stage, args, &screen) => played,
        _ = tokio::signal::ctrl_c() => {
            screen.end();
            Err(Trouble { code: 130, text: "interrupted".to_owned(), remedy: String::new() })
        }
    };
    stage.leave().await;
    if args.keep || played.is_err() {
        screen.tell(&format!("the processes' files are in {}", dir.keep().display()));
    }
    let report = played?;
    anstream::println!("{}", text(&report));
    if let Some(file) = &args.report {
        let json = serde_json::to_string_pretty(&report).unwrap_or_default();
        std::fs::write(file, json)?;
    }
    match report.chaos.as_ref().map_or(0, chaos::Outcome::violations) {
        0 => Ok(()),
        broken => Err(Trouble::failure(format!("{broken} promises were broken"))
            .remedy(format!("repeat with `--seed {} --keep` and look at the logs", args.seed))),
    }
}

async fn play(stage: &mut Stage, args: &DemoArgs, screen: &Screen) -> Result<FleetReport, Trouble> {
    let mut report = FleetReport::default();
    if args.handoffs > 0 {
        report.asked = args.handoffs;
        let sizes = if args.sizes.is_empty() { &SIZES[..] } else { &args.sizes };
        for bytes in sizes.iter().copied() {
            let all = bytes < LARGE || !args.sizes.is_empty();
            let wanted = if all { args.handoffs } else { args.handoffs.div_ceil(10) };
            // A notebook's entries are JSON: what a store keeps as one value, it builds anew.
            if args.state == FleetState::Hooks && bytes >= LARGE {
                continue;
            }
            screen.tell(&format!("{wanted} handoffs of {} KiB of state", bytes >> 10));
            report.figures.push(figures::measure(stage, args.state, bytes, wanted).await?);
        }
    }
    if args.handoffs > 0 {
        let wanted = args.handoffs.min(WARMTH_MAX);
        screen.tell(&format!("the first requests after {wanted} handoffs, prewarmed and cold"));
        report.warmth = Some(warmth::measure(stage, wanted).await?);
    }
    if args.handoffs > 0 && !stage.stores.is_empty() {
        screen.tell("handoffs under open WebSockets");
        report.gaps = Some(gaps::measure(stage, args.handoffs).await?);
    }
    if args.chaos {
        screen.tell("now with faults");
        report.chaos = Some(chaos::run(stage, args.tier, args.seed, screen).await?);
    }
    Ok(report)
}

fn text(report: &FleetReport) -> String {
    let mut text = String::new();
    if !report.figures.is_empty() {
        let mut table = sheet(&[
            "state",
            "handoffs",
            "undone",
            "pause p50/p99",
            "beyond one way",
            "total p50/p99",
            "moved",
            "cut",
            "rounds",
            "unfelt",
        ]);
        for row in &report.figures {
            let pair = |[a, b]: [f64; 2]| format!("{a:.1} / {b:.1} ms");
            table.add_row([
                format!("{} KiB", row.state_bytes >> 10),
                row.completed.to_string(),
                row.undone.values().sum::<u64>().to_string(),
                pair(row.pause_ms),
                pair(row.beyond_ms),
                pair(row.total_ms),
                format!("{} KiB", row.moved_bytes >> 10),
                format!("{} B", row.cut_bytes),
                format!("{:.1}", row.rounds),
                format!("{:.1} %", row.unfelt_percent),
            ]);
        }
        text += &format!("\n{table}\n");
        text += &figures::notes(report.asked, &report.figures);
    }
    if let Some(warmth) = &report.warmth {
        text += &warmth::text(warmth);
    }
    if let Some(gaps) = &report.gaps {
        text += &gaps::text(gaps);
    }
    if let Some(chaos) = &report.chaos {
        let audit = &chaos.audit;
        text += &format!(
            "\n{} faults; {} handoffs ordered, {} completed, undone {:?}\n{} entries sent, {} \
             acknowledged, {} held; answers that were none: {:?}\nlost {}, doubled {}, reordered \
             {}, stray {}, unread {}\n",
            chaos.faults.len(),
            chaos.ordered,
            chaos.completed,
            chaos.undone,
            audit.sent,
            audit.acknowledged,
            audit.held,
            chaos.refusals,
            audit.lost,
            audit.doubled,
            audit.reordered,
            audit.stray,
            audit.unread,
        );
        for word in &audit.words {
            text += &format!("  {word}\n");
        }
        let allowed = &audit.allowed;
        if *allowed != audit::Lag::default() {
            text += &format!(
                "what an heir of t1 did not have yet, which that tier allows: lost {}, stray {}\n",
                allowed.lost, allowed.stray
            );
        }
        let sockets = &chaos.sockets;
        text += &format!(
            "{} WebSockets: {} numbers said, {} heard back; closed by handoffs alone {}, under faults \
             {:?}; lost {}, doubled {}, reordered {}\n",
            sockets.sockets,
            sockets.said,
            sockets.back,
            sockets.closed_alone,
            sockets.closed,
            sockets.lost,
            sockets.doubled,
            sockets.reordered,
        );
        for word in &sockets.words {
            text += &format!("  {word}\n");
        }
        if sockets.heard_again + sockets.lag_lost > 0 {
            text += &format!(
                "what an heir of t1 did not have yet, which that tier allows: heard again {}, lost \
                 {}\n",
                sockets.heard_again, sockets.lag_lost
            );
        }
        if chaos.carried_alone > 0 {
            let [p50, p99] = chaos.gap_alone_ms;
            text += &format!(
                "{} legs replaced by handoffs alone, a client's message waited p50/p99 {p50:.1} / \
                 {p99:.1} ms\n",
                chaos.carried_alone
            );
        }
        text += if chaos.violations() == 0 { "no violation\n" } else { "PROMISES WERE BROKEN\n" };
    }
    text
}
