//! The plot: for each series the truth, what was foretold of it and the bands, and beside it the
//! error of every expert.

use super::events::Known;
use super::foretell::Foretold;
use super::grid::{Grid, Series};
use super::short;
use crate::svg::{Anchor, Svg};

/// Series that are drawn; the tables have all of them.
const DRAWN: usize = 8;
/// Observations that are drawn: of more one would see no line.
const SHOWN: usize = 400;
const WIDTH: f64 = 1_200.0;
const ROW: f64 = 380.0;
/// The chart's part of a row, and the bars'.
const CHART: (f64, f64) = (70.0, 830.0);
const BARS: (f64, f64) = (1_010.0, 1_150.0);
const TOP: f64 = 46.0;
const BOTTOM: f64 = 330.0;
const INK: &str = "#222222";
const GREY: &str = "#8a8f98";
const RULE: &str = "#e4e6ea";
const BLUE: &str = "#1f6fd1";
const BAND80: &str = "#b5d2f5";
const BAND95: &str = "#dfecfb";
const EVENT: &str = "#fdeecb";

/// A stretch of a chart: which places lie between its left and right, which values between its
/// bottom and top.
struct Frame {
    top: f64,
    from: usize,
    to: usize,
    low: f64,
    high: f64,
}

impl Frame {
    fn x(&self, place: usize) -> f64 {
        let share = (place - self.from) as f64 / (self.to - self.from).max(1) as f64;
        CHART.0 + share * (CHART.1 - CHART.0)
    }

    fn y(&self, value: f64) -> f64 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.top + BOTTOM - share * (BOTTOM - TOP)
    }
}

/// Draws all series below each other.
pub(super) fn draw(grid: &Grid, foretold: &[Foretold], events: &Known) -> String {
    let drawn = foretold.len().min(DRAWN);
    let mut svg = Svg::new(WIDTH, ROW * drawn as f64);
    for (row, (series, told)) in grid.series.iter().zip(foretold).take(drawn).enumerate() {
        let top = ROW * row as f64;
        chart(&mut svg, top, grid, series, told, events);
        bars(&mut svg, top, told);
    }
    svg.finish()
}

/// The forecasts that lie end to end, the last of them ending with the series.
fn end_to_end(told: &Foretold) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::new();
    let mut bound = usize::MAX;
    for (index, (origin, outlooks)) in told.outlooks.iter().enumerate().rev() {
        if origin + outlooks.len() <= bound {
            bound = *origin;
            chosen.push(index);
        }
    }
    chosen.reverse();
    chosen
}

fn chart(svg: &mut Svg, top: f64, grid: &Grid, series: &Series, told: &Foretold, events: &Known) {
    let to = grid.length - 1;
    let from = to.saturating_sub(SHOWN);
    let shown: Vec<_> = end_to_end(told)
        .into_iter()
        .map(|index| &told.outlooks[index])
        .filter(|(origin, _)| *origin >= from)
        .collect();
    let (low, high) = reach(&series.values[from..], &shown);
    let frame = Frame { top, from, to, low, high };
    for event in &events.events {
        let (begin, end) = (event.from.max(from), event.until.min(to));
        if begin < end {
            let x = frame.x(begin);
            svg.bar((x, top + TOP), (frame.x(end) - x, BOTTOM - TOP), EVENT);
        }
    }
    axes(svg, &frame, grid);
    for (origin, outlooks) in &shown {
        for (colour, band) in [(BAND95, true), (BAND80, false)] {
            let side = |high: bool| -> Vec<(f64, f64)> {
                (origin + 1..)
                    .zip(outlooks)
                    .map(|(place, outlook)| {
                        let band = if band { outlook.band95 } else { outlook.band80 };
                        (frame.x(place), frame.y(if high { band.1 } else { band.0 }))
                    })
                    .collect()
            };
            svg.area(&side(false), &side(true), colour);
        }
    }
    truth(svg, &frame, &series.values);
    for (origin, outlooks) in &shown {
        let points: Vec<_> = (origin + 1..)
            .zip(outlooks)
            .map(|(place, outlook)| (frame.x(place), frame.y(outlook.mean)))
            .collect();
        svg.line(&points, BLUE, 1.6);
    }
    let horizon = told.outlooks.first().map_or(0, |(_, outlooks)| outlooks.len());
    let [inner, outer] = told.covered.map(|share| 100.0 * share);
    let title = format!(
        "{}: truth and forecasts 1 to {horizon} steps ahead; MASE {:.3}, bands cover {inner:.1} \
         and {outer:.1} %",
        told.name,
        told.mae / told.scale
    );
    svg.words((CHART.0, top + 20.0), Anchor::Start, INK, &title);
    legend(svg, top);
}

/// The line of what came, broken at gaps.
fn truth(svg: &mut Svg, frame: &Frame, values: &[f64]) {
    let places: Vec<usize> = (frame.from..=frame.to).collect();
    for run in places.chunk_by(|a, b| values[*a].is_nan() == values[*b].is_nan()) {
        if !values[run[0]].is_nan() {
            let points: Vec<_> = run.iter().map(|p| (frame.x(*p), frame.y(values[*p]))).collect();
            svg.line(&points, INK, 1.1);
        }
    }
}

/// The values to be drawn between: all of the truth, and of the bands what is not far beyond it.
fn reach(values: &[f64], shown: &[&(usize, Vec<homing_forecast::demand::Outlook>)]) -> (f64, f64) {
    let known = || values.iter().copied().filter(|value| !value.is_nan());
    let (low, high) = known().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if !low.is_finite() {
        return (0.0, 1.0);
    }
    let spare = 0.5 * (high - low).max(1e-9 * high.abs()).max(1e-9);
    let bands = || shown.iter().flat_map(|(_, outlooks)| outlooks).map(|outlook| outlook.band95);
    let lowest = bands().map(|band| band.0).fold(low, f64::min).max(low - spare);
    let highest = bands().map(|band| band.1).fold(high, f64::max).min(high + spare);
    // A flat series lies in the middle.
    if highest > lowest { (lowest, highest) } else { (low - spare, high + spare) }
}

fn axes(svg: &mut Svg, frame: &Frame, grid: &Grid) {
    let step = round_step((frame.high - frame.low) / 5.0);
    let mut value = (frame.low / step).ceil() * step;
    while value <= frame.high {
        let y = frame.y(value);
        svg.line(&[(CHART.0, y), (CHART.1, y)], RULE, 1.0);
        // What is left of adding up is not zero.
        let told = if value.abs() < step * 1e-6 { 0.0 } else { value };
        svg.words((CHART.0 - 6.0, y + 4.0), Anchor::End, GREY, &short(told));
        value += step;
    }
    let ticks = 6;
    for tick in 0..=ticks {
        let place = frame.from + (frame.to - frame.from) * tick / ticks;
        let x = frame.x(place);
        let bottom = frame.top + BOTTOM;
        svg.line(&[(x, bottom), (x, bottom + 5.0)], GREY, 1.0);
        svg.words((x, bottom + 19.0), Anchor::Middle, GREY, &clock(grid.time(place)));
    }
    let bottom = frame.top + BOTTOM;
    svg.line(&[(CHART.0, bottom), (CHART.1, bottom)], GREY, 1.0);
}

/// 1, 2 or 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let digit = step / power;
    power
        * if digit <= 1.0 {
            1.0
        } else if digit <= 2.0 {
            2.0
        } else if digit <= 5.0 {
            5.0
        } else {
            10.0
        }
}

fn clock(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis)
        .map(|at| at.strftime("%Y-%m-%d %H:%M").to_string())
        .unwrap_or_default()
}

fn legend(svg: &mut Svg, top: f64) {
    let y = top + ROW - 14.0;
    for (place, (colour, name)) in [
        (INK, "truth"),
        (BLUE, "forecast"),
        (BAND80, "80 % band"),
        (BAND95, "95 % band"),
        (EVENT, "scheduled event"),
    ]
    .into_iter()
    .enumerate()
    {
        let x = CHART.0 + 120.0 * place as f64;
        svg.bar((x, y - 9.0), (16.0, 10.0), colour);
        svg.words((x + 22.0, y), Anchor::Start, GREY, name);
    }
}

/// The error of every expert as a bar, the best on top, its weight beside it.
fn bars(svg: &mut Svg, top: f64, told: &Foretold) {
    let mut rows: Vec<(&str, f64, Option<f64>)> = vec![("the blend", told.mae, None)];
    rows.extend(told.experts.iter().map(|e| (e.name, e.mae, Some(e.weight))));
    rows.sort_by(|a, b| a.1.total_cmp(&b.1));
    // One bad expert does not make all others' bars too short to see.
    let longest = 3.0 * rows.first().map_or(1.0, |row| row.1).max(1e-12);
    svg.words((BARS.0 - 150.0, top + 20.0), Anchor::Start, INK, "MASE of the experts, weight");
    let height = (BOTTOM - TOP) / rows.len() as f64;
    for (row, (name, mae, weight)) in rows.iter().enumerate() {
        let y = top + TOP + height * row as f64;
        let colour = if weight.is_none() { BLUE } else { "#aab4c2" };
        let length = (mae / longest).min(1.0) * (BARS.1 - BARS.0 - 70.0);
        svg.bar((BARS.0, y + 2.0), (length, height - 5.0), colour);
        let ink = if weight.is_none() { BLUE } else { INK };
        svg.words((BARS.0 - 6.0, y + height / 2.0 + 3.0), Anchor::End, ink, name);
        let weight = weight.map_or(String::new(), |weight| format!(", {:.0} %", 100.0 * weight));
        let words = format!("{:.3}{weight}", mae / told.scale);
        svg.words((BARS.0 + length + 5.0, y + height / 2.0 + 3.0), Anchor::Start, GREY, &words);
    }
}
