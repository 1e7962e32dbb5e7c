//! The report: the figures of both arms, the promises that were kept or broken, as JSON with stable
//! keys and as tables for people.

use std::path::Path;

use comfy_table::{Cell, Table};
use serde_json::{Map, Value, json};

use super::arm::Played;
use super::ledger::Verdict;
use super::plan::Plan;
use super::story::{AFTER_FROM, CROWD_AT};
use super::tally::{Sample, Spread};
use super::trace::Trace;
use super::world::World;
use crate::sheet::{right, sheet};

/// What went into a run.
#[derive(Debug)]
pub struct Given<'a> {
    /// Where the log is from.
    pub source: &'a str,
    /// The log.
    pub trace: &'a Trace,
    /// The plan drawn from it.
    pub plan: &'a Plan,
    /// Cities and zones.
    pub world: &'a World,
    /// The seed.
    pub seed: u64,
}

/// Both arms side by side.
#[derive(Debug)]
pub struct Report<'a> {
    /// What went in.
    pub given: Given<'a>,
    /// Without handoffs.
    pub off: &'a Played,
    /// With handoffs.
    pub on: &'a Played,
}

/// Something that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// In words.
    pub text: String,
    /// Whether it held.
    pub held: bool,
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Before,
    After,
    NotDrifted,
    Drifted,
    All,
}

/// Before anything happens, and when all has happened.
const RUN: [Part; 2] = [Part::Before, Part::After];
/// Before and after a client's own drift.
const DRIFT: [Part; 2] = [Part::NotDrifted, Part::Drifted];

/// A part of a request's time.
type Share = (&'static str, fn(&Sample) -> u64);

/// What a request's time is made of: behind its client's own requests, on the way, waiting for a
/// place in a crowded zone, being worked on; the rest is Homing's and the machine's.
const SHARES: [Share; 5] = [
    ("queued", |sample| sample.queued_us),
    ("way", |sample| sample.way_us),
    ("waited", |sample| sample.waited_us),
    ("worked", |sample| sample.worked_us),
    ("rest", Sample::rest_us),
];

impl Report<'_> {
    fn arms(&self) -> [(&'static str, &Played); 2] {
        [("off", self.off), ("on", self.on)]
    }

    fn total(&self, figure: impl Fn(&Played) -> u64) -> u64 {
        figure(self.off) + figure(self.on)
    }

    fn verdict(&self) -> Verdict {
        self.off.verdict.plus(self.on.verdict)
    }

    /// A write is doubled if a notebook holds it twice or the zones executed it twice.
    fn doubled(&self) -> u64 {
        let of = |arm: &Played| arm.verdict.doubled.max(arm.homes.doubled_writes);
        self.total(of)
    }

    fn pauses(&self) -> Spread {
        Spread::of(self.on.handoffs.pauses_us.iter().copied())
    }

    /// What was promised, and whether it held.
    #[must_use]
    pub fn promises(&self) -> Vec<Promise> {
        let verdict = self.verdict();
        let wrong_zone = self.total(|arm| arm.homes.wrong_zone);
        let failures = self.total(|arm| arm.failures);
        let unrecorded = self.total(|arm| arm.unrecorded);
        let mut promises = vec![
            promise(failures == 0, "every request was answered as it should be"),
            promise(wrong_zone == 0, "every session executed in one zone at a time"),
            promise(verdict.lost == 0, "no acknowledged write was lost"),
            promise(self.doubled() == 0, "no write was executed twice"),
            promise(
                verdict.reordered + verdict.foreign == 0,
                "every notebook holds its own lines, in their order",
            ),
            promise(unrecorded == 0, "the zones' records are complete"),
            promise(self.on.handoffs.completed > 0, "sessions were handed over live"),
        ];
        if let Some(outage) = &self.on.told.outage {
            let resumed = outage.version_after >= outage.version_before && outage.failed == 0;
            let text = "control was killed and came back where it was, unnoticed by any request";
            promises.push(promise(resumed, text));
        }
        if let Some(drained) = &self.on.told.drained {
            let text = format!("no session was left in {drained} when it was drained");
            promises.push(Promise { held: self.on.told.left_in_drained == 0, text });
        }
        promises
    }

    fn is_within(&self, sample: &Sample, part: Part) -> bool {
        let length_us = self.given.plan.length.as_micros() as f64;
        match part {
            Part::Before => (sample.due_us as f64) < CROWD_AT * length_us,
            Part::After => (sample.due_us as f64) >= AFTER_FROM * length_us,
            Part::NotDrifted => !sample.drifted,
            Part::Drifted => sample.drifted,
            Part::All => true,
        }
    }

    fn latency(&self, arm: &Played, part: Part, wanted: impl Fn(&Sample) -> bool) -> Spread {
        let samples = arm.samples.iter().filter(|s| self.is_within(s, part) && wanted(s));
        Spread::of(samples.map(|sample| sample.took_us))
    }

    /// Mean milliseconds of round trip beyond that to the nearest zone.
    fn detour(&self, arm: &Played, part: Part, wanted: impl Fn(&Sample) -> bool) -> f64 {
        self.mean(arm, part, wanted, |sample| sample.detour_us)
    }

    /// Mean milliseconds of a part of the samples' time.
    fn mean(
        &self,
        arm: &Played,
        part: Part,
        wanted: impl Fn(&Sample) -> bool,
        figure: impl Fn(&Sample) -> u64,
    ) -> f64 {
        let samples = arm.samples.iter().filter(|s| self.is_within(s, part) && wanted(s));
        let (sum, count) = samples.fold((0, 0_u64), |(sum, n), s| (sum + figure(s), n + 1));
        round(sum as f64 / 1e3 / count.max(1) as f64)
    }

    /// What the time of the users who drifted was made of once they had, mean and 99th percentile.
    fn shares_json(&self, arm: &Played) -> Value {
        let shares = SHARES.iter().map(|(name, figure)| {
            let drifted = arm.samples.iter().filter(|sample| sample.drifted);
            let p99 = Spread::of(drifted.map(figure)).p99;
            let mean = self.mean(arm, Part::Drifted, |_| true, figure);
            ((*name).to_owned(), json!({ "mean": mean, "p99": p99 }))
        });
        Value::Object(shares.collect())
    }

    fn detour_json(
        &self,
        arm: &Played,
        parts: [Part; 2],
        wanted: impl Fn(&Sample) -> bool + Copy,
    ) -> Value {
        json!({
            "mean": self.detour(arm, Part::All, wanted),
            "before": self.detour(arm, parts[0], wanted),
            "after": self.detour(arm, parts[1], wanted),
        })
    }

    fn latency_json(
        &self,
        arm: &Played,
        parts: [Part; 2],
        wanted: impl Fn(&Sample) -> bool + Copy,
    ) -> Value {
        let mut value = spread_json(self.latency(arm, Part::All, wanted));
        for (name, part) in ["before", "after"].into_iter().zip(parts) {
            value[name] = spread_json(self.latency(arm, part, wanted));
        }
        value
    }

    fn by_arm(&self, figure: impl Fn(&Played) -> Value) -> Value {
        let figures = self.arms().map(|(name, arm)| (name.to_owned(), figure(arm)));
        Value::Object(figures.into_iter().collect())
    }

    /// The report for programs. Keys are stable: some may be added, none renamed.
    #[must_use]
    pub fn json(&self) -> Value {
        let Given { source, trace, plan, world, seed } = &self.given;
        let handoffs = &self.on.handoffs;
        let pauses = self.pauses();
        let mut latency = Map::new();
        for (index, zone) in world.zones.iter().enumerate() {
            let here = |sample: &Sample| sample.zone.map(usize::from) == Some(index);
            latency.insert(zone.name.clone(), self.by_arm(|arm| self.latency_json(arm, RUN, here)));
        }
        let promises = self.promises();
        let promises: Vec<Value> =
            promises.iter().map(|p| json!({"promise": p.text, "held": p.held})).collect();
        let texts: Vec<&String> =
            self.arms().into_iter().flat_map(|(_, arm)| &arm.failure_texts).collect();
        let verdict = self.verdict();
        json!({
            "requests": self.total(|arm| arm.requests),
            "failures": self.total(|arm| arm.failures),
            "wrong_zone": self.total(|arm| arm.homes.wrong_zone),
            "lost_writes": verdict.lost,
            "doubled_writes": self.doubled(),
            "handoffs": {
                "started": handoffs.started,
                "completed": handoffs.completed,
                "undone": handoffs.undone,
                "open": handoffs.open,
                "held_requests": handoffs.held,
                "state_bytes": handoffs.state_bytes,
                "reasons": handoffs.reasons,
                "undone_causes": handoffs.causes,
            },
            "pause_ms": { "p50": pauses.p50, "p99": pauses.p99, "max": pauses.max },
            "latency_ms": latency,
            "latency_all_ms": self.by_arm(|arm| self.latency_json(arm, RUN, |_| true)),
            "latency_drifters_ms": self.by_arm(|arm| self.latency_json(arm, DRIFT, |s| s.drifter)),
            "shares_drifters_ms": self.by_arm(|arm| self.shares_json(arm)),
            "detour_ms": self.by_arm(|arm| self.detour_json(arm, RUN, |_| true)),
            "detour_drifters_ms": self.by_arm(|arm| self.detour_json(arm, DRIFT, |s| s.drifter)),
            "reordered_writes": verdict.reordered,
            "foreign_writes": verdict.foreign,
            "acknowledged_writes": self.total(|arm| arm.writes),
            "stickiness": self.by_arm(|arm| json!(stickiness(arm))),
            "arms": self.by_arm(arm_json),
            "control": self.on.told.outage.as_ref().map(|outage| json!({
                "killed_s": round(outage.killed_s),
                "back_s": round(outage.back_s),
                "version_before": version(outage.version_before),
                "version_after": version(outage.version_after),
                "handoffs_open": outage.open_before,
                "answered": outage.answered,
                "failed": outage.failed,
            })),
            "drained": self.on.told.drained.as_ref().map(|zone| json!({
                "zone": zone,
                "sessions_left": self.on.told.left_in_drained,
                "seconds": round(self.on.told.drain_s),
            })),
            "trace": {
                "source": source,
                "requests": trace.visits.len(),
                "clients": trace.clients,
                "lines_skipped": trace.skipped,
                "left_out": trace.left_out,
                "cut": plan.cut,
            },
            "replay": {
                "seed": seed,
                "speed": round(plan.speed),
                "seconds_per_arm": round(plan.length.as_secs_f64()),
                "sessions": plan.clients.len(),
                "zones": world.zones.iter().map(|zone| &zone.name).collect::<Vec<_>>(),
            },
            "promises": promises,
            "failure_samples": texts,
        })
    }

    /// The report for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        text.push_str(&format!("\n{}\n\n{}\n", self.figures(), self.latencies()));
        let handoffs = &self.on.handoffs;
        let pauses = self.pauses();
        text.push_str(&format!(
            "\nhandoffs   {} started, {} completed, {} undone{}\n",
            handoffs.started,
            handoffs.completed,
            handoffs.undone,
            named(&handoffs.causes),
        ));
        text.push_str(&format!("reasons   {}\n", named(&handoffs.reasons)));
        text.push_str(&format!(
            "pause      p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms; {} requests waited\n",
            pauses.p50, pauses.p99, pauses.max, handoffs.held
        ));
        if let Some(outage) = &self.on.told.outage {
            text.push_str(&format!(
                "control    killed at {:.1} s, back at {:.1} s; {} requests meanwhile, {} failed\n",
                outage.killed_s, outage.back_s, outage.answered, outage.failed
            ));
        }
        text.push('\n');
        for promise in self.promises() {
            let mark = if promise.held { "kept  " } else { "BROKEN" };
            text.push_str(&format!("{mark}  {}\n", promise.text));
        }
        let texts = self.arms().into_iter().flat_map(|(name, arm)| {
            arm.failure_texts.iter().map(move |why| format!("  {name}: {why}\n"))
        });
        let texts: String = texts.collect();
        if !texts.is_empty() {
            text.push_str(&format!("\nwhat failed:\n{texts}"));
        }
        text
    }

    fn figures(&self) -> Table {
        let mut table = sheet(&["", "handoffs off", "handoffs on"]);
        let mut row = |name: &str, figure: &dyn Fn(&Played) -> String| {
            table.add_row(vec![Cell::new(name), right(figure(self.off)), right(figure(self.on))]);
        };
        row("requests", &|arm| arm.requests.to_string());
        row("failures", &|arm| arm.failures.to_string());
        row("wrong-zone executions", &|arm| arm.homes.wrong_zone.to_string());
        row("acknowledged writes", &|arm| arm.writes.to_string());
        row("lost writes", &|arm| arm.verdict.lost.to_string());
        row("doubled writes", &|arm| arm.verdict.doubled.max(arm.homes.doubled_writes).to_string());
        row("answered where the last one was", &|arm| format!("{:.2} %", stickiness(arm) * 100.0));
        table
    }

    fn latencies(&self) -> Table {
        let head = ["latency p50 / p99 ms", "off, before", "off, after", "on, before", "on, after"];
        let mut table = sheet(&head);
        let mut row = |name: &str, parts: [Part; 2], wanted: &dyn Fn(&Sample) -> bool| {
            let mut cells = vec![Cell::new(name)];
            for (_, arm) in self.arms() {
                for part in parts {
                    let spread = self.latency(arm, part, wanted);
                    let text = match spread.count {
                        0 => "-".to_owned(),
                        _ => format!("{:.0} / {:.0}", spread.p50, spread.p99),
                    };
                    cells.push(right(text));
                }
            }
            table.add_row(cells);
        };
        for (index, zone) in self.given.world.zones.iter().enumerate() {
            row(&zone.name, RUN, &|sample| sample.zone.map(usize::from) == Some(index));
        }
        row("all zones", RUN, &|_| true);
        row("users who drifted (when they did)", DRIFT, &|sample| sample.drifter);
        let mut row = |name: &str, parts: [Part; 2], wanted: &dyn Fn(&Sample) -> bool| {
            let cell = |arm: &Played, part| right(format!("{:.0}", self.detour(arm, part, wanted)));
            let mut cells = vec![Cell::new(name)];
            for (_, arm) in self.arms() {
                cells.extend(parts.map(|part| cell(arm, part)));
            }
            table.add_row(cells);
        };
        row("mean detour past the nearest zone", RUN, &|_| true);
        row("  of users who drifted", DRIFT, &|sample| sample.drifter);
        let mut row = |name: &str, figure: fn(&Sample) -> u64| {
            let mut cells = vec![Cell::new(name)];
            for (_, arm) in self.arms() {
                let mean = |part| self.mean(arm, part, |sample| sample.drifter, figure);
                cells.extend(DRIFT.map(|part| right(format!("{:.1}", mean(part)))));
            }
            table.add_row(cells);
        };
        row("  their mean wait in crowded zones", |sample| sample.waited_us);
        row("  their mean time with Homing itself", Sample::rest_us);
        table
    }

    /// Writes the JSON report to a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, file: &Path) -> std::io::Result<()> {
        let mut text = serde_json::to_string_pretty(&self.json())?;
        text.push('\n');
        std::fs::write(file, text)
    }
}

fn promise(held: bool, text: &str) -> Promise {
    Promise { text: text.to_owned(), held }
}

/// Share of a session's executions that ran in the zone of the one before.
fn stickiness(arm: &Played) -> f64 {
    let all = arm.homes.executions.max(1) as f64;
    ((all - arm.homes.changes as f64) / all * 1e4).round() / 1e4
}

fn arm_json(arm: &Played) -> Value {
    json!({
        "requests": arm.requests,
        "failures": arm.failures,
        "wrong_zone": arm.homes.wrong_zone,
        "executions": arm.homes.executions,
        "home_changes": arm.homes.changes,
        "acknowledged_writes": arm.writes,
        "lost_writes": arm.verdict.lost,
        "doubled_writes": arm.verdict.doubled.max(arm.homes.doubled_writes),
    })
}

fn spread_json(spread: Spread) -> Value {
    json!({ "requests": spread.count, "p50": spread.p50, "p99": spread.p99, "max": spread.max })
}

fn version((term, n): (u64, u64)) -> Value {
    json!({ "term": term, "n": n })
}

fn round(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

fn named(counts: &std::collections::BTreeMap<String, u64>) -> String {
    let parts: Vec<String> = counts.iter().map(|(name, n)| format!("{n} {name}")).collect();
    match parts.is_empty() {
        true => String::new(),
        false => format!(" ({})", parts.join(", ")),
    }
}
