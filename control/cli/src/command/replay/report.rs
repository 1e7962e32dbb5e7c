//! The table of a replay, on screen.

use super::figures::Figures;
use super::policy::Policy;
use crate::sheet::{right, sheet};

pub(super) fn show(figures: &[(Policy, Figures)]) {
    let mut table = sheet(&[
        "policy", "mean ms", "p50", "p95", "p99", "cold", "moves/h", "copies", "GB", "USD",
    ]);
    for (_, figures) in figures {
        let cold = match figures.moves {
            0 => "-".to_owned(),
            _ => format!("{:.1} %", 100.0 * figures.cold_share),
        };
        let numbers = [
            format!("{:.2}", figures.mean_ms),
            format!("{:.1}", figures.p50_ms),
            format!("{:.1}", figures.p95_ms),
            format!("{:.1}", figures.p99_ms),
            cold,
            format!("{:.2}", figures.moves_per_user_hour),
            format!("{:.2}", figures.copies_per_user),
            format!("{:.3}", figures.moved_gb),
            format!("{:.4}", figures.usd),
        ];
        let cells = std::iter::once(figures.policy.as_str().into());
        table.add_row(cells.chain(numbers.into_iter().map(right)).collect::<Vec<_>>());
    }
    anstream::println!("{table}");
}
