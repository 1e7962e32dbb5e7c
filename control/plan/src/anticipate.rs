//! Acting on a forecast of where a session's user will be: which zones get a copy of its state
//! ahead of time, whether it moves now.
//!
//! Everything is in milliseconds of user latency, summed over requests; money enters through the
//! caller's exchange rate, as in `score`. Latencies that are no finite number mean "not there".

/// What staging and moving cost, in milliseconds of user latency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// What an arrival without a copy adds to its first request.
    pub cold_ms: f64,
    /// The price of a move even if it is warm: its bytes, its risk, its pause. It is also the
    /// hysteresis, for no move is made that gains less.
    pub move_ms: f64,
    /// The price of holding one copy for one bin.
    pub holding_ms: f64,
    /// The price of making one, beyond that: sending all of the state.
    pub copying_ms: f64,
}

impl Costs {
    /// The chance of an arrival from which a copy pays (newsvendor: its price over what it
    /// saves); one that `is_held` already need not be made. Never reached if an arrival without a
    /// copy costs nothing.
    #[must_use]
    pub fn threshold(&self, is_held: bool) -> f64 {
        let price = self.holding_ms + if is_held { 0.0 } else { self.copying_ms };
        if self.cold_ms > 0.0 { price.max(0.0) / self.cold_ms } else { f64::INFINITY }
    }
}

/// What is expected of the zones, by their index.
#[derive(Clone, Copy, Debug)]
pub struct Outlook<'a> {
    /// Requests expected in each bin.
    pub requests: f64,
    /// A request's latency from each zone now.
    pub now_ms: &'a [f64],
    /// The same in the next bins, as `expected_ms` gives it: the first row is the next bin's.
    pub ahead_ms: &'a [Vec<f64>],
}

/// The latency of each zone under a forecast of which zone the user will be nearest to.
///
/// `chances` are those of each zone; what they leave out of 1 stays where the user is, as does
/// the chance of `near` itself. `between_ms[a][z]` is the usual latency of zone `z` for a user who
/// is nearest to `a`.
#[must_use]
pub fn expected_ms(
    chances: &[f64],
    near: usize,
    now_ms: &[f64],
    between_ms: &[Vec<f64>],
) -> Vec<f64> {
    let elsewhere =
        || chances.iter().enumerate().filter(|(zone, chance)| *zone != near && **chance > 0.0);
    let away: f64 = elsewhere().map(|(_, chance)| chance).sum();
    let scale = away.max(1.0);
    let mut expected: Vec<f64> = now_ms.iter().map(|now| now * (1.0 - away / scale)).collect();
    for (zone, chance) in elsewhere() {
        let Some(row) = between_ms.get(zone) else { continue };
        for (expected, there) in expected.iter_mut().zip(row) {
            *expected += chance / scale * there;
        }
    }
    expected
}

/// The zones to hold a copy in during the next bin, the likeliest first; `most` at most.
///
/// A zone where the session would not move even if its user came near, by `outlook.now_ms` of the
/// user there, is for the caller to leave out of `chances`. The home holds the state already.
#[must_use]
pub fn stage(
    chances: &[f64],
    home: usize,
    costs: &Costs,
    is_held: impl Fn(usize) -> bool,
    most: usize,
) -> Vec<usize> {
    let pays =
        |(zone, chance): &(usize, f64)| *zone != home && *chance > costs.threshold(is_held(*zone));
    let mut zones: Vec<(usize, f64)> = chances.iter().copied().enumerate().filter(pays).collect();
    zones.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    zones.truncate(most);
    zones.into_iter().map(|(zone, _)| zone).collect()
}

/// Where to move now; `None` to stay.
///
/// Compares what this bin and the next ones cost from each zone, if every later move were made at
/// the price of a warm one where it pays by the expected latencies. So a move that will be undone
/// in the next bin has to pay within this one, one that can as well wait, waits, and one to a zone
/// without a copy waits for the copy unless this bin alone pays for arriving without.
#[must_use]
pub fn move_to(
    home: usize,
    outlook: &Outlook<'_>,
    costs: &Costs,
    is_warm: impl Fn(usize) -> bool,
) -> Option<usize> {
    let zones = outlook.now_ms.len();
    let requests = outlook.requests.max(0.0);
    let cost = |latency: Option<&f64>| match latency {
        Some(ms) if ms.is_finite() => requests * ms,
        _ => f64::INFINITY,
    };
    let mut after = vec![0.0; zones];
    for row in outlook.ahead_ms.iter().rev() {
        for (zone, after) in after.iter_mut().enumerate() {
            *after += cost(row.get(zone));
        }
        let best = after.iter().copied().fold(f64::INFINITY, f64::min) + costs.move_ms;
        after.iter_mut().for_each(|after| *after = after.min(best));
    }
    let total = |zone: usize| {
        let arrival = match zone {
            zone if zone == home => 0.0,
            zone if is_warm(zone) => costs.move_ms,
            _ => costs.move_ms + costs.cold_ms,
        };
        cost(outlook.now_ms.get(zone)) + arrival + after[zone]
    };
    let best = (0..zones).min_by(|a, b| total(*a).total_cmp(&total(*b)))?;
    let gains = home >= zones || total(best) < total(home);
    (best != home && gains && total(best).is_finite()).then_some(best)
}

#[cfg(test)]
mod tests;
