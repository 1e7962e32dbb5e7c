//! What no policy can be below: homes chosen by knowing all that is to come, with a copy in every
//! zone, making no more moves than another policy made.

use super::trace::Trace;

/// How often the price of a move is doubled until there are few enough of them, and how often the
/// last doubling is halved.
const DOUBLINGS: usize = 30;
const HALVINGS: usize = 10;

/// What foresight comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Foresight {
    pub(super) mean_ms: f64,
    pub(super) moves: u64,
}

/// The lowest mean latency with `moves_max` moves, found by the price of a move that leads to so
/// many.
pub(super) fn bound(trace: &Trace, moves_max: u64) -> Foresight {
    let mut paths: Vec<Vec<usize>> = vec![Vec::new(); trace.homes.len()];
    for (at, step) in trace.steps.iter().enumerate() {
        paths[step.user].push(at);
    }
    let free = at_price(trace, &paths, 0.0);
    if free.moves <= moves_max {
        return free;
    }
    let (mut low, mut high) = (0.0, 1.0);
    let mut best = at_price(trace, &paths, high);
    for _ in 0..DOUBLINGS {
        if best.moves <= moves_max {
            break;
        }
        (low, high) = (high, 2.0 * high);
        best = at_price(trace, &paths, high);
    }
    for _ in 0..HALVINGS {
        let price = f64::midpoint(low, high);
        let found = at_price(trace, &paths, price);
        if found.moves <= moves_max {
            (high, best) = (price, found);
        } else {
            low = price;
        }
    }
    best
}

/// The best path of every user if each move costs so many ms.
fn at_price(trace: &Trace, paths: &[Vec<usize>], price: f64) -> Foresight {
    let (mut total, mut requests, mut moves) = (0.0, 0.0, 0);
    for (user, path) in paths.iter().enumerate() {
        let mut after = vec![0.0; trace.zones.len()];
        // For each step, last first: the best zone to be in and which homes are left for it.
        let mut choices: Vec<(usize, Vec<bool>)> = Vec::with_capacity(path.len());
        for at in path.iter().rev() {
            for (after, ms) in after.iter_mut().zip(&trace.now_ms[*at]) {
                *after += trace.steps[*at].requests * ms;
            }
            let best = super::trace::nearest(&after).unwrap_or(0);
            let moved = after[best] + price;
            choices.push((best, after.iter().map(|stayed| moved < *stayed).collect()));
            after.iter_mut().for_each(|stayed| *stayed = stayed.min(moved));
        }
        let mut home = trace.homes[user];
        for (at, (best, leaves)) in path.iter().zip(choices.iter().rev()) {
            let now_ms = &trace.now_ms[*at];
            let lives = home.or_else(|| super::trace::nearest(now_ms)).unwrap_or(0);
            let moves_now = leaves[lives];
            let lives = if moves_now { *best } else { lives };
            home = Some(lives);
            moves += u64::from(moves_now);
            total += trace.steps[*at].requests * now_ms[lives];
            requests += trace.steps[*at].requests;
        }
    }
    Foresight { mean_ms: total / f64::max(requests, 1e-9), moves }
}
