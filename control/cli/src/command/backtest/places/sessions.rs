//! Visits of a web site: the next page, by the pages before it in the same visit.

use std::path::Path;

use homing_forecast::places::{Expert, Forecaster, Moment, key};

use super::Answer;
use crate::recorded::rows::Recording;
use crate::recorded::{settings, train};
use crate::trouble::Trouble;

/// Steps that trees learn from, at most: the last ones before the test.
const NOTED: usize = 30_000;

pub(super) fn answers(data: &Path, site: &str) -> Result<Vec<Answer>, Trouble> {
    let folder = data.join("web-sessions");
    let past = visits(&folder, &format!("{site}_train.txt.gz"))?;
    let asked = visits(&folder, &format!("{site}_test.txt.gz"))?;
    let mut forecaster = Forecaster::new(experts(), 25);
    let steps: usize = past.iter().map(|visit| visit.len().saturating_sub(1)).sum();
    let mut step = 0;
    // The trees see every so many steps of the later three fifths, so that the counts behind
    // them are about as rich as in the test.
    let (from, every) = (steps * 2 / 5, (steps * 3 / 5).div_ceil(NOTED).max(1));
    for visit in &past {
        for at in 1..visit.len() {
            let keys = keys(&visit[..at]);
            if step >= from && step % every == 0 {
                let moment = Moment { keys: &keys, at: step as f64, hints: &[at as f32] };
                forecaster.note(moment, |item| seen(&visit[..at], item), visit[at]);
            }
            forecaster.learn(&keys, step as f64, visit[at]);
            step += 1;
        }
    }
    train(&mut forecaster, &settings())?;
    let mut answers = Vec::new();
    for (line, visit) in asked.iter().enumerate() {
        for at in 1..visit.len() {
            let keys = keys(&visit[..at]);
            let moment = Moment { keys: &keys, at: step as f64, hints: &[at as f32] };
            let ranked = forecaster.rank(moment, |item| seen(&visit[..at], item));
            answers.push(Answer::new(format!("{line}:{at}"), &ranked));
            forecaster.learn(&keys, step as f64, visit[at]);
            step += 1;
        }
    }
    Ok(answers)
}

fn visits(folder: &Path, name: &str) -> Result<Vec<Vec<u32>>, Trouble> {
    Recording::open(folder, name)?.lines(|line| {
        let pages = line.split_whitespace();
        pages
            .map(|page| page.parse().map_err(|_| format!("`{page}` is not the number of a page")))
            .collect()
    })
}

/// From all pages over single pages some steps back to the exact last three.
fn experts() -> Vec<Expert> {
    vec![
        Expert::new(1.0),
        Expert::new(20.0).fading(3000.0),
        Expert::new(20.0),
        Expert::new(20.0),
        Expert::new(15.0),
        Expert::new(10.0),
        Expert::new(5.0),
        Expert::new(5.0).fading(30_000.0),
        Expert::new(3.0),
        Expert::new(3.0),
        Expert::new(2.0),
        Expert::new(2.0),
    ]
}

fn keys(pages: &[u32]) -> [u64; 12] {
    let back = |steps: usize| match pages.len().checked_sub(steps) {
        Some(at) => u64::from(pages[at]) + 1,
        None => 0,
    };
    let [a, b, c, d, e] = [1, 2, 3, 4, 5].map(back);
    [
        key(&[0]),
        key(&[0]),
        key(&[1, e]),
        key(&[2, d]),
        key(&[3, c]),
        key(&[4, b]),
        key(&[5, a]),
        key(&[5, a]),
        key(&[6, a, c]),
        key(&[7, a, b]),
        key(&[8, a, b, c]),
        key(&[9, a, b, c, d]),
    ]
}

/// How often a page was seen in this visit, when last, how far its number is from the last one.
fn seen(pages: &[u32], item: Option<u32>) -> Vec<f32> {
    let Some(item) = item else { return vec![f32::NAN; 3] };
    let times = pages.iter().filter(|page| **page == item).count();
    let ago = pages.iter().rev().position(|page| *page == item);
    let last = pages.last().map_or(f32::NAN, |page| item as f32 - *page as f32);
    vec![times as f32, ago.map_or(f32::NAN, |ago| ago as f32), last]
}
