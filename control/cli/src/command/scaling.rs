//! `homing scaling`: how a zone's endpoints are scaled through providers, for which reason.

use serde_json::Value;

use super::peers::{Peers, items, print_json, text};
use crate::{
    args::{Output, ScalingArgs},
    sheet::{right, sheet},
    trouble::Trouble,
};

/// Answers and events that are shown of those that control keeps.
const LATEST: usize = 5;

/// Shows it.
///
/// # Errors
/// If control does not answer, or has no such zone.
pub async fn run(args: &ScalingArgs) -> Result<(), Trouble> {
    let peers = Peers::new(&args.ask.peer)?;
    let told = peers.control()?.get_json(&format!("/v1/zones/{}/scaling", args.zone)).await?;
    if args.ask.output == Output::Json {
        return print_json(&told);
    }
    match items(&told, "groups") {
        [] => println!("{} has no provider: control's settings list none for it", args.zone),
        groups => groups.iter().for_each(show),
    }
    Ok(())
}

fn show(told: &Value) {
    let of = told["service"].as_str().unwrap_or("every service");
    println!("{of}, by {}", text(told, "provider"));
    println!(
        "wanted     {}{}; {} ready, {} under way, {} leaving",
        told["wanted"],
        if told["acts"] == true { "" } else { " (shown only, act: shadow)" },
        told["ready"],
        told["under_way"],
        told["leaving"],
    );
    println!("because    {}: {}", text(told, "verdict"), text(told, "reason"));
    let lead = &told["lead_time"];
    match (lead["p50_ms"].as_u64(), lead["p90_ms"].as_u64()) {
        (Some(p50), Some(p90)) => println!(
            "lead time  half within {p50} ms, nine of ten within {p90} ms, of {}",
            lead["measured"]
        ),
        _ => println!("lead time  not measured yet"),
    }
    for note in latest(told, "answers") {
        let (at, answer, reason) = (text(note, "at"), text(note, "answer"), text(note, "reason"));
        println!("answer     {at} {} wanted: {answer} {reason}", note["wanted"]);
    }
    for note in latest(told, "news") {
        println!("news       {} {}: {}", text(note, "at"), text(note, "kind"), text(note, "words"));
    }
    let mut table = sheet(&["endpoint", "standing", "problem"]);
    for endpoint in items(told, "endpoints") {
        table.add_row(vec![
            text(endpoint, "address").into(),
            right(text(endpoint, "standing")),
            text(endpoint, "problem").into(),
        ]);
    }
    anstream::println!("{table}\n");
}

fn latest<'a>(told: &'a Value, key: &str) -> &'a [Value] {
    let all = items(told, key);
    &all[all.len().saturating_sub(LATEST)..]
}
