//! Shadow prices: what one more session in a zone costs the others. The solver's price where the
//! zone is contended; and a curve that rises with the fill, because proxies place new sessions by
//! prices that are a moment old, and the last places must not go to whoever is not looking.

use homing_wire::Zone;

use crate::plan::ZoneState;

/// Below this share of its capacity a zone costs nothing extra.
const FREE_BELOW: f64 = 0.7;
/// The price of the last place in a zone, microseconds of user latency per request.
const FULL_US: f64 = 200_000.0;
/// No zone costs more, however far over its capacity.
const MOST_US: f64 = 1_000_000.0;
/// Prices are published in steps of this many microseconds.
const STEP_US: f64 = 500.0;

/// The prices of all zones, by zone index, from how full they are and what the solver asks for a
/// place in each, microseconds a request, with a surcharge for each on top: each old price goes a
/// third of the way to what is asked, so that a burst does not swing every proxy at once.
#[must_use]
pub fn shadow_prices(
    zones: &[Zone],
    states: &[ZoneState],
    solved: &[f64],
    surcharges: &[f64],
) -> Vec<u32> {
    let price = |(index, zone): (usize, &Zone)| {
        let sessions = states.get(index).map_or(0, ZoneState::committed);
        let asked = price_us(sessions, zone.capacity.sessions)
            .max(solved.get(index).copied().unwrap_or(0.0).min(MOST_US))
            + surcharges.get(index).copied().unwrap_or(0.0).min(MOST_US);
        let old = f64::from(zone.shadow_price_us);
        let next = old + (asked - old) / 3.0;
        // Close enough is there: else the last step would never be taken.
        let next = if (asked - next).abs() < STEP_US { asked } else { next };
        ((next / STEP_US).round() * STEP_US) as u32
    };
    zones.iter().enumerate().map(price).collect()
}

/// Whether the new prices differ enough from the published ones to publish again: more than a
/// tenth and more than two steps, for any zone.
#[must_use]
pub fn worth_publishing(zones: &[Zone], prices: &[u32]) -> bool {
    zones.iter().zip(prices).any(|(zone, new)| {
        let difference = zone.shadow_price_us.abs_diff(*new);
        let returns_to_free = *new == 0 && zone.shadow_price_us > 0;
        returns_to_free
            || (f64::from(difference) > 2.0 * STEP_US && difference > zone.shadow_price_us / 10)
    })
}

/// The price of being one of `sessions` in a zone of that capacity (0: unlimited, free).
#[must_use]
pub fn price_us(sessions: u64, capacity: u64) -> f64 {
    asked_us(fill(sessions, capacity))
}

fn fill(sessions: u64, capacity: u64) -> f64 {
    match capacity {
        0 => 0.0,
        capacity => sessions as f64 / capacity as f64,
    }
}

fn asked_us(fill: f64) -> f64 {
    if fill <= FREE_BELOW {
        return 0.0;
    }
    let x = (fill - FREE_BELOW) / (1.0 - FREE_BELOW);
    // Cubic: gentle at first, steep at the end.
    (FULL_US * x.powi(3)).min(MOST_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_rises_with_the_fill_and_is_bounded() {
        let mut last = -1.0;
        for percent in 70..400 {
            let price = asked_us(f64::from(percent) / 100.0);
            assert!(price >= last && price <= MOST_US);
            last = price;
        }
        assert_eq!(asked_us(0.5), 0.0);
        assert!((asked_us(1.0) - FULL_US).abs() < 1.0);
        assert_eq!(fill(10, 0), 0.0);
    }
}
