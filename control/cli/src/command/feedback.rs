//! `homing feedback`: what moves to each zone brought beside what was expected of them.

use comfy_table::Table;
use serde_json::Value;

use super::peers::{Peers, items, ms, print_json, text};
use crate::{
    args::{AskArgs, Output},
    sheet::{right, sheet},
    trouble::Trouble,
};

/// Shows it.
///
/// # Errors
/// If control does not answer, or the token is no operator's.
pub async fn run(args: &AskArgs) -> Result<(), Trouble> {
    let peers = Peers::new(&args.peer)?;
    let told = peers.control()?.get_json("/v1/feedback").await?;
    if args.output == Output::Json {
        return print_json(&told);
    }
    let uncompared = told["uncompared"].as_object();
    let words: Vec<String> =
        uncompared.into_iter().flatten().map(|(why, n)| format!("{n} {why}")).collect();
    println!(
        "{} moves compared since the start, {} being watched, not comparable: {}\n",
        told["compared"],
        told["watched"],
        if words.is_empty() { "none".to_owned() } else { words.join(", ") },
    );
    if items(&told, "zones").is_empty() {
        println!("nothing was learnt from moves yet; round trips are believed as they are stated");
        return Ok(());
    }
    anstream::println!("{}", brought(&told, "zones"));
    let mut table = sheet(&["from", "to", "round trips x", "of five, four within", "moves"]);
    for way in items(&told, "ways") {
        let [factor, range] = factor(&way["correction"]);
        table.add_row(vec![
            text(way, "place").into(),
            text(way, "zone").into(),
            right(factor),
            right(range),
            right(number(&way["correction"], "worth")),
        ]);
    }
    anstream::println!("\n{table}");
    Ok(())
}

/// What earlier moves to zones brought, as a table.
pub(super) fn brought(value: &Value, name: &str) -> Table {
    let head = [
        "moves to",
        "moves",
        "expected gain, ms",
        "brought, ms",
        "made worse",
        "round trips x",
        "of five, four within",
    ];
    let mut table = sheet(&head);
    for zone in items(value, name) {
        let [factor, range] = factor(&zone["correction"]);
        let regretted = zone["regretted"].as_f64().unwrap_or_default();
        table.add_row(vec![
            text(zone, "zone").into(),
            right(number(zone, "moves")),
            right(ms(zone, "expected_us")),
            right(ms(zone, "realised_us")),
            right(format!("{:.0} %", regretted * 100.0)),
            right(factor),
            right(range),
        ]);
    }
    table
}

fn number(value: &Value, name: &str) -> String {
    format!("{:.1}", value[name].as_f64().unwrap_or_default())
}

fn factor(correction: &Value) -> [String; 2] {
    let of = |name: &str| correction[name].as_f64().unwrap_or(1.0);
    [format!("{:.2}", of("factor")), format!("{:.2} to {:.2}", of("low"), of("high"))]
}
