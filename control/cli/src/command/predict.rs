//! `homing predict-scale`: what a region would need ahead of time. With `--apply` it hands an
//! expected event to control's rounds.

use http::Method;
use serde_json::{Value, json};

use super::peers::{Peers, items, print_json, text};
use crate::{
    args::{Output, PredictArgs},
    rest::Ask,
    sheet::{right, sheet},
    trouble::Trouble,
};

/// Asks and shows.
///
/// # Errors
/// If control does not answer, or refuses.
pub async fn run(args: &PredictArgs) -> Result<(), Trouble> {
    let peers = Peers::new(&args.ask.peer)?;
    let mut body = json!({ "horizon": args.horizon, "dryRun": !args.apply });
    if let Some(service) = &args.service {
        body["service"] = json!(service);
    }
    if let Some(name) = &args.event {
        body["expectedEvent"] = json!({
            "name": name, "starts": args.from, "ends": args.to, "multiplier": args.times,
        });
    }
    let path = format!("/v1/regions/{}/predictiveScale", args.region);
    let mut ask = Ask::send(Method::POST, &path).json(&body);
    if args.apply {
        // The same command twice is the same request.
        let made = || format!("homing-{}", blake3::hash(body.to_string().as_bytes()).to_hex());
        ask = ask.header("idempotency-key", args.key.clone().unwrap_or_else(made));
    }
    let told = peers.control()?.ask(ask).await?.json()?;
    if args.ask.output == Output::Json {
        return print_json(&told);
    }
    println!("{} until {}: {}", args.region, text(&told, "until"), text(&told, "note"));
    if told["applied"] == true {
        println!("event {} is expected: {}", told["event"]["id"], text(&told["event"], "name"));
    }
    items(&told, "groups").iter().for_each(show);
    Ok(())
}

fn show(group: &Value) {
    let of = group["service"].as_str().unwrap_or("every service");
    println!("\n{of} in {}", text(group, "zone"));
    if group["outcome"] != "planned" {
        let since = group["since"].as_str().map_or(String::new(), |at| format!(" since {at}"));
        println!("{}{since}: {}", text(group, "outcome"), text(group, "reason"));
        return;
    }
    println!(
        "endpoints  {} now at {} an hour, {} wanted at {} an hour, beside {} of the document",
        group["current"],
        group["costPerHour"],
        group["wanted"],
        group["wantedCostPerHour"],
        group["fixed"],
    );
    println!("because    {}", text(group, "reason"));
    println!("lead time  {} ms", group["leadTimeMs"]);
    let mut table = sheet(&["at", "ready by", "from", "to", "carried out", "because"]);
    for step in items(group, "steps") {
        table.add_row(vec![
            text(step, "at").into(),
            text(step, "readyBy").into(),
            right(step["before"].to_string()),
            right(step["wanted"].to_string()),
            if step["carriedOut"] == true { "yes" } else { "no" }.into(),
            text(step, "reason").into(),
        ]);
    }
    anstream::println!("{table}");
}
