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
    /// No mean latency is lower.
    pub(super) mean_ms: f64,
    /// Moves of the path that was found, as many as allowed or fewer.
    pub(super) moves: u64,
}

/// The best paths if each move has a price.
struct Paths {
    total_ms: f64,
    requests: f64,
    moves: u64,
}

/// A mean latency that nothing with `moves_max` moves is below: the moves are priced, and what the
/// allowed ones would have cost is taken off again (Lagrange). The price that leaves the highest
/// bound is the one at which there are about as many.
pub(super) fn bound(trace: &Trace, moves_max: u64) -> Foresight {
    let mut steps: Vec<Vec<usize>> = vec![Vec::new(); trace.homes.len()];
    for (at, step) in trace.steps.iter().enumerate() {
        steps[step.user].push(at);
    }
    let mut best = Foresight { mean_ms: 0.0, moves: 0 };
    let mut try_price = |price: f64| {
        let paths = at_price(trace, &steps, price);
        let over = paths.moves as f64 - moves_max as f64;
        let mean_ms = (paths.total_ms + price * over) / f64::max(paths.requests, 1e-9);
        if over <= 0.0 {
            best.moves = best.moves.max(paths.moves);
        }
        best.mean_ms = best.mean_ms.max(mean_ms);
        over <= 0.0
    };
    if try_price(0.0) {
        return best;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..DOUBLINGS {
        if try_price(high) {
            break;
        }
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..HALVINGS {
        let price = f64::midpoint(low, high);
        if try_price(price) {
            high = price;
        } else {
            low = price;
        }
    }
    best
}

/// The best path of every user if each move costs so many ms.
fn at_price(trace: &Trace, steps: &[Vec<usize>], price: f64) -> Paths {
    let mut paths = Paths { total_ms: 0.0, requests: 0.0, moves: 0 };
    for (user, path) in steps.iter().enumerate() {
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
            paths.moves += u64::from(moves_now);
            paths.total_ms += trace.steps[*at].requests * now_ms[lives];
            paths.requests += trace.steps[*at].requests;
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::super::trace::Step;
    use super::*;

    /// A user at zone 0, for a step at zone 1, and back: 10 requests each, 4 ms near and 14 far.
    fn there_and_back() -> Trace {
        let step = |second| Step { user: 0, second, lasts: 300, requests: 10.0 };
        let rows = [[4.0, 14.0], [14.0, 4.0], [4.0, 14.0], [4.0, 14.0]];
        Trace {
            users: vec!["0".to_owned()],
            zones: vec!["a".to_owned(), "b".to_owned()],
            steps: [0, 300, 600, 900].map(step).to_vec(),
            now_ms: rows.map(|row| row.to_vec()).to_vec(),
            homes: vec![Some(0)],
            between_ms: Vec::new(),
            foretold: Vec::new(),
            bin: Some(300),
            notes: Vec::new(),
        }
    }

    #[test]
    fn moves_are_made_while_there_are_enough_of_them() {
        let trace = there_and_back();
        assert_eq!(bound(&trace, 2), Foresight { mean_ms: 4.0, moves: 2 });
        assert_eq!(bound(&trace, 9), Foresight { mean_ms: 4.0, moves: 2 });
        // A move there alone gains nothing, but a bound by prices takes it for half of two.
        let one = bound(&trace, 1);
        assert!(one.moves == 0 && (one.mean_ms - 5.25).abs() < 0.01, "{one:?}");
        assert_eq!(bound(&trace, 0), Foresight { mean_ms: 6.5, moves: 0 });
    }
}
