//! `homing plan`: what a zone is expected to need, what there is for it, what is done when.

use super::peers::{Peers, items, print_json, text};
use crate::{
    args::{Output, PlanArgs},
    sheet::{right, sheet},
    trouble::Trouble,
};

/// Shows it.
///
/// # Errors
/// If control does not answer, or has no such zone.
pub async fn run(args: &PlanArgs) -> Result<(), Trouble> {
    let peers = Peers::new(&args.ask.peer)?;
    let path = format!("/v1/zones/{}/plan?horizon={}", args.zone, args.horizon);
    let told = peers.control()?.get_json(&path).await?;
    if args.ask.output == Output::Json {
        return print_json(&told);
    }
    println!("{} until {}, act: {}", args.zone, text(&told, "until"), text(&told, "act"));
    let number = |value: &serde_json::Value| match value.as_f64() {
        Some(number) => right(format!("{number:.1}")),
        None => right("-"),
    };
    let head = ["service", "resource", "unit", "peak at", "median", "39 of 40", "room", "gap"];
    let mut table = sheet(&head);
    for demand in items(&told, "demand") {
        let peak = &demand["peak"];
        table.add_row(vec![
            demand["service"].as_str().unwrap_or("all").into(),
            text(demand, "resource").into(),
            text(demand, "unit").into(),
            peak["at"].as_str().unwrap_or("not foreseen").into(),
            number(&peak["q50"]),
            number(&peak["q975"]),
            number(&demand["capacity"]),
            number(&demand["gap"]),
        ]);
    }
    anstream::println!("{table}\n");
    if items(&told, "steps").is_empty() {
        println!("steps      none are needed");
        return Ok(());
    }
    let mut table = sheet(&["at", "ready by", "what", "service", "carried out", "", "because"]);
    for step in items(&told, "steps") {
        table.add_row(vec![
            text(step, "at"),
            text(step, "readyBy"),
            text(step, "kind"),
            step["service"].as_str().unwrap_or("every"),
            if step["carriedOut"] == true { "yes" } else { "no" },
            text(step, "words"),
            text(step, "reason"),
        ]);
    }
    anstream::println!("{table}");
    Ok(())
}
