//! Options of a replay that make no sense, told by name.

use crate::args::ReplayArgs;
use crate::trouble::Trouble;

/// Values of a list that are tried, at most.
const VALUES_MAX: usize = 50;

/// Refuses what is no number, below zero or too much.
///
/// # Errors
/// Names the option and what it takes.
pub(super) fn check(args: &ReplayArgs) -> Result<(), Trouble> {
    let terms = &args.terms;
    for (name, value, most) in [
        ("--base-ms", terms.base_ms, 60_000.0),
        ("--ms-per-km", terms.ms_per_km, 1_000.0),
        ("--cold-ms", terms.cold_ms, 600_000.0),
        ("--requests-per-bin", terms.requests_per_bin, 1e6),
        ("--state-kib", terms.state_kib, 1e9),
        ("--delta-kib", terms.delta_kib, 1e9),
        ("--usd-per-gb", terms.usd_per_gb, 1e6),
        ("--usd-per-copy-hour", terms.usd_per_copy_hour, 1e6),
        ("--keep", args.keep, 1.0),
        ("--copies", args.copies, 1e6),
        ("--ttl", f64::from(args.ttl), 10_000.0),
    ] {
        within(name, value, 0.0, most)?;
    }
    within("--requests-per-bin", terms.requests_per_bin, 0.001, 1e6)?;
    within("--ttl", f64::from(args.ttl), 1.0, 10_000.0)?;
    for (name, values, most) in [("--theta", &args.theta, 1.0), ("--move-ms", &args.move_ms, 1e6)] {
        if values.len() > VALUES_MAX {
            let text = format!("{name}: {} values", values.len());
            return Err(Trouble::usage(text, format!("give {VALUES_MAX} or fewer")));
        }
        for value in values {
            within(name, *value, 0.0, most)?;
        }
    }
    Ok(())
}

fn within(name: &str, value: f64, least: f64, most: f64) -> Result<(), Trouble> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let remedy = format!("give a number from {least} to {most}");
    Err(Trouble::usage(format!("{name} {value} is out of range"), remedy))
}
