//! `homing status`: the installation at a glance, from control or from one proxy.

use serde_json::{Value, json};

use super::peers::{Peers, count, items, ms, print_json, text};
use crate::args::{AskArgs, Output};
use crate::rest::Rest;
use crate::sheet::{right, sheet};
use crate::trouble::Trouble;

/// Shows it.
///
/// # Errors
/// If nobody answers.
pub async fn run(args: &AskArgs) -> Result<(), Trouble> {
    let peers = Peers::new(&args.peer)?;
    match &peers.control {
        Some(control) => of_control(control, args.output).await,
        None => of_proxy(&peers.proxy, args.output).await,
    }
}

async fn of_control(control: &Rest, output: Output) -> Result<(), Trouble> {
    let status = control.get_json("/v1/status").await?;
    // A tenant's token is told of its own things only.
    let is_operator = status["sessions"].is_u64();
    let proxies = match is_operator {
        true => control.get_json("/v1/proxies").await?,
        false => json!({ "proxies": [] }),
    };
    // Before the first document there is no table, hence no zones.
    let zones = match status["act"].is_string() {
        true => control.get_json("/v1/zones").await?,
        false => json!({ "zones": [] }),
    };
    if output == Output::Json {
        let (proxies, zones) = (&proxies["proxies"], &zones["zones"]);
        return print_json(&json!({ "status": status, "proxies": proxies, "zones": zones }));
    }
    let table = &status["table"];
    println!(
        "control {} leads in term {}; {}, plans are {}",
        text(&status, "version"),
        status["term"],
        match (table["version"].as_str(), is_operator) {
            (Some(version), _) => format!("table {version}"),
            (None, true) => "no table yet: `homing push FILE` sends a document".to_owned(),
            (None, false) => "zones are shared with other tenants".to_owned(),
        },
        match status["act"].as_str() {
            Some("on") => "carried out",
            Some(_) => "shown only (act: shadow)",
            None => "not made",
        },
    );
    if is_operator {
        println!(
            "{} sessions, {} exceptions; handoffs: {} under way, {} completed, {} undone since start\n",
            status["sessions"],
            count(table, "exceptions"),
            count(table, "directives"),
            status["completed"],
            status["undone"],
        );
    }
    let head =
        ["zone", "intake", "sessions", "room", "in", "out", "req/s", "err/s", "p50 ms", "p99 ms"];
    let mut table = sheet(&head);
    for zone in items(&zones, "zones") {
        table.add_row(vec![
            text(zone, "name").into(),
            text(zone, "intake").into(),
            right(count(zone, "sessions")),
            right(count(zone, "capacity_sessions")),
            right(count(zone, "inbound")),
            right(count(zone, "outbound")),
            right(count(zone, "requests_per_second")),
            right(count(zone, "errors_per_second")),
            right(ms(zone, "p50_us")),
            right(ms(zone, "p99_us")),
        ]);
    }
    anstream::println!("{table}\n");
    if !is_operator {
        return Ok(());
    }
    let mut table = sheet(&["proxy", "table", "behind", "attached since", "last refusal"]);
    for proxy in items(&proxies, "proxies") {
        table.add_row(vec![
            text(proxy, "name").into(),
            text(proxy, "acked_version").into(),
            right(count(proxy, "behind")),
            text(proxy, "since").into(),
            text(proxy, "last_nack").into(),
        ]);
    }
    anstream::println!("{table}");
    Ok(())
}

async fn of_proxy(proxy: &Rest, output: Output) -> Result<(), Trouble> {
    let placement = proxy.get_json("/placement").await?;
    let directives = proxy.get_json("/directives").await?;
    if output == Output::Json {
        return print_json(&json!({ "placement": placement, "directives": directives }));
    }
    println!(
        "proxy {} serves by table {} of {}; {} exceptions, {} handoffs under way\n",
        text(&placement, "proxy"),
        text(&placement, "version"),
        match placement["authority"].as_str() {
            Some("local") => "its own",
            _ => "control",
        },
        placement["exceptions"],
        directives["open"],
    );
    let mut table =
        sheet(&["zone", "intake", "sessions", "room", "in flight", "load", "endpoints"]);
    for zone in items(&placement, "zones") {
        let endpoints: Vec<&str> =
            items(zone, "endpoints").iter().filter_map(Value::as_str).collect();
        let room = match zone["capacity_sessions"].as_u64() {
            None | Some(0) => "-".to_owned(),
            Some(room) => room.to_string(),
        };
        let load = zone["load_permille"].as_f64().map(|load| format!("{:.0} %", load / 10.0));
        table.add_row(vec![
            text(zone, "name").into(),
            text(zone, "intake").into(),
            right(count(zone, "sessions")),
            right(room),
            right(count(zone, "in_flight")),
            right(load.unwrap_or_default()),
            endpoints.join(" ").into(),
        ]);
    }
    anstream::println!("{table}");
    Ok(())
}
