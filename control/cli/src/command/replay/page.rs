//! The page of a replay: the table, with mean latency drawn against copies. One file that needs no
//! other and no script.

use std::fmt::Write as _;

use super::policy::Policy;
use super::report::{HEAD, Report, Row, cells};
use crate::svg::{Anchor, Svg, escaped};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 870.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 400.0;
const INK: &str = "#222222";
const GREY: &str = "#8a8f98";
const RULE: &str = "#e4e6ea";
const BLUE: &str = "#1f6fd1";
const STYLE: &str = "body{font-family:sans-serif;color:#222;margin:2em auto;max-width:60em}\
    table{border-collapse:collapse}th,td{padding:.25em .7em;text-align:right;white-space:nowrap;\
    border-bottom:1px solid #e4e6ea}th:first-child,td:first-child{text-align:left}\
    .chosen{background:#dfecfb}svg{max-width:100%;height:auto}";

pub(super) fn draw(report: &Report) -> String {
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <title>homing replay</title>\n<style>{STYLE}</style></head><body>\n\
         <h1>What would each policy have cost?</h1>\n\
         <p>{} users, {} zones, {} steps replayed.</p>\n",
        report.users, report.zones, report.steps
    );
    for words in &report.verdict {
        let _ = writeln!(page, "<p>{}</p>", escaped(words));
    }
    page.push_str(&plot(report));
    page.push_str("<table><tr>");
    for name in HEAD {
        let _ = write!(page, "<th>{}</th>", escaped(name));
    }
    page.push_str("</tr>\n");
    for row in report.rows.iter().filter(|row| row.shown) {
        let chosen = report.predictive.as_ref() == Some(&row.figures.policy)
            || report.reactive == row.figures.policy;
        page.push_str(if chosen { "<tr class=\"chosen\">" } else { "<tr>" });
        for cell in cells(&row.figures) {
            let _ = write!(page, "<td>{}</td>", escaped(&cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n<ul>\n");
    for words in report.terms.iter().chain(&report.notes) {
        let _ = writeln!(page, "<li>{}</li>", escaped(words));
    }
    page.push_str("</ul>\n</body></html>\n");
    page
}

/// What a kind of policy is drawn in.
fn kind(policy: &Policy) -> (&'static str, &'static str) {
    match policy {
        Policy::Static => ("static home", "#8a8f98"),
        Policy::Reactive { .. } => ("reactive", "#c4452d"),
        Policy::CopyFirst { .. } => ("copy first", "#8f4fb8"),
        Policy::KeepWarm { .. } => ("keep warm", "#d9962b"),
        Policy::Predictive { .. } => ("predictive", BLUE),
        Policy::Everywhere { .. } => ("everywhere", "#3c9a5f"),
    }
}

/// Mean latency against copies: down and left is better.
fn plot(report: &Report) -> String {
    let rows: Vec<&Row> = report.rows.iter().filter(|row| row.shown).collect();
    let most = |of: fn(&Row) -> f64| rows.iter().map(|row| of(row)).fold(0.0, f64::max);
    let copies = nice(most(|row| row.figures.copies_per_user));
    let latency = nice(most(|row| row.figures.mean_ms));
    let x = |copies_at: f64| LEFT + (RIGHT - LEFT) * copies_at / copies;
    let y = |ms: f64| BOTTOM - (BOTTOM - TOP) * ms / latency;
    let mut svg = Svg::new(WIDTH, HEIGHT);
    let title = "mean latency (ms) against staged copies per user; down and left is better";
    svg.words((LEFT, 20.0), Anchor::Start, INK, title);
    for tick in 0..=4 {
        let share = f64::from(tick) / 4.0;
        let (across, up) = (copies * share, latency * share);
        svg.line(&[(LEFT, y(up)), (RIGHT, y(up))], RULE, 1.0);
        svg.words((LEFT - 8.0, y(up) + 4.0), Anchor::End, GREY, &format!("{up:.1}"));
        svg.words((x(across), BOTTOM + 18.0), Anchor::Middle, GREY, &format!("{across:.1}"));
    }
    svg.line(&[(LEFT, BOTTOM), (RIGHT, BOTTOM)], GREY, 1.0);
    let bound = y(report.foresight_ms);
    svg.line(&[(LEFT, bound), (RIGHT, bound)], GREY, 1.0);
    svg.words(
        (LEFT + 8.0, bound + 14.0),
        Anchor::Start,
        GREY,
        "foresight, with the moves of reactive",
    );
    let mut front: Vec<(f64, f64)> = rows
        .iter()
        .filter(|row| matches!(row.policy, Policy::Predictive { .. }))
        .map(|row| (x(row.figures.copies_per_user), y(row.figures.mean_ms)))
        .collect();
    front.sort_by(|a, b| a.0.total_cmp(&b.0));
    svg.line(&front, BLUE, 1.5);
    let mut kinds: Vec<(&str, &str)> = Vec::new();
    for row in rows {
        let (name, colour) = kind(&row.policy);
        let figures = &row.figures;
        let place = (x(figures.copies_per_user), y(figures.mean_ms));
        let told = format!(
            "{}: {:.2} ms, {:.2} copies",
            figures.policy, figures.mean_ms, figures.copies_per_user
        );
        svg.dot(place, 4.0, colour, &told);
        if !kinds.contains(&(name, colour)) {
            kinds.push((name, colour));
        }
    }
    for (at, (name, colour)) in kinds.into_iter().enumerate() {
        let left = LEFT + 130.0 * at as f64;
        svg.bar((left, HEIGHT - 24.0), (12.0, 12.0), colour);
        svg.words((left + 18.0, HEIGHT - 14.0), Anchor::Start, INK, name);
    }
    svg.finish()
}

/// A round number not below this.
fn nice(most: f64) -> f64 {
    let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
    let power = 10.0_f64.powf(most.log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.iter().map(|step| step * power).find(|round| *round >= most).unwrap_or(10.0 * power)
}
