//! `homing why`, `move` and `sessions`: one session, or all of them.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use super::feedback::brought;
use super::peers::{Peers, belonging, count, items, ms, print_json, text};
use crate::args::{MoveArgs, Output, SessionsArgs, WhyArgs};
use crate::rest::{Ask, Rest};
use crate::sheet::{right, sheet};
use crate::trouble::Trouble;

/// Between two looks at a handoff that is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// Explains where a session lives: what its gate knows and, with control, what its planner thinks.
///
/// # Errors
/// If nobody answers.
pub async fn why(args: &WhyArgs) -> Result<(), Trouble> {
    let peers = Peers::new(&args.ask.peer)?;
    let key = peers.session_key(&args.key).await?;
    let proxy = peers.proxy.get_json(&format!("/why?key={key}")).await;
    let Some(control) = &peers.control else {
        let proxy = proxy?;
        return match args.ask.output {
            Output::Json => print_json(&proxy),
            Output::Table => {
                print!("{}", explained(&proxy));
                Ok(())
            }
        };
    };
    let control = control.get_json(&format!("/v1/sessions/{key}/why")).await?;
    // Control alone can answer too: the proxy's admin side may be out of reach.
    let proxy = proxy.ok();
    if args.ask.output == Output::Json {
        return print_json(&json!({ "session": key, "proxy": proxy, "control": control }));
    }
    if let Some(proxy) = &proxy {
        print!("{}", explained(proxy));
    }
    print!("{}", planned(&control));
    Ok(())
}

fn explained(why: &Value) -> String {
    let home = &why["home"];
    let mut out = format!(
        "session    {}\nhome       {} at epoch {}, by the gate ({})\n",
        text(why, "session"),
        text(home, "zone"),
        home["epoch"],
        why["remembered"].as_str().unwrap_or("not met since the start; the table says so"),
    );
    let bucket = &why["bucket"];
    out += &format!(
        "bucket     {} of {} at epoch {}\n",
        bucket["number"],
        text(bucket, "zone"),
        bucket["epoch"]
    );
    let exception = &why["exception"];
    if exception.is_object() {
        out += &format!(
            "exception  {} at epoch {}: wins over the bucket\n",
            text(exception, "zone"),
            exception["epoch"]
        );
    }
    let directive = &why["directive"];
    if directive.is_object() {
        out += &format!(
            "moving     to {} ({}), directive {}\n",
            text(directive, "to"),
            text(directive, "reason"),
            directive["directive"]
        );
    }
    for moved in items(why, "moves") {
        let with = |sign: &str, name: &str| match moved[name].as_str() {
            Some(text) if !text.is_empty() => format!("{sign}{text}"),
            _ => String::new(),
        };
        out += &format!(
            "moved      {} to {} ({}): {}{}{}\n",
            text(moved, "from"),
            text(moved, "to"),
            text(moved, "reason"),
            text(moved, "outcome"),
            with(", ", "why"),
            with(": ", "detail"),
        );
    }
    let choice = &why["choice"];
    out += &format!(
        "a request  goes to {}: {}\ntable      {}\n",
        choice["zone"].as_str().unwrap_or("no zone"),
        choice["reason"].as_str().or(choice["unavailable"].as_str()).unwrap_or_default(),
        text(why, "table")
    );
    let head = ["for a new session, ms", "distance", "price", "load", "prestage", "drag"];
    let mut table = sheet(&[&head[..], &["total", ""]].concat());
    for zone in items(why, "zones_for_a_new_session") {
        table.add_row(vec![
            text(zone, "zone").into(),
            right(ms(zone, "distance_us")),
            right(ms(zone, "price_us")),
            right(ms(zone, "load_us")),
            right(ms(zone, "prestage_us")),
            right(ms(zone, "drag_us")),
            right(ms(zone, "total_us")),
            text(zone, "excluded").into(),
        ]);
    }
    out + &format!("\n{table}\n")
}

fn planned(why: &Value) -> String {
    let mut out = format!("\nby control {} at epoch {}\n", text(why, "zone"), why["epoch"]);
    if let Some(heir) = why["heir"].as_str() {
        let zone = text(why, "zone");
        out += &format!("replica    in {heir}, which takes the session if {zone} is lost\n");
    }
    let details = &why["details"];
    if !details.is_object() {
        return out + "           control has heard of no request of it yet\n";
    }
    out += &format!(
        "client     {}, {:.3} requests a second, here since {}\n",
        details["place"].as_str().unwrap_or("in a place that is not known"),
        details["requests_per_second"].as_f64().unwrap_or_default(),
        text(details, "since"),
    );
    match details["best"].as_str() {
        Some(best) => {
            out += &format!(
                "best       {best} would gain {} ms a request; regret {} of {} ms\n",
                ms(details, "gain_us"),
                ms(details, "regret_us"),
                ms(details, "regret_needed_us")
            );
        }
        None => out += "best       no other zone would take it\n",
    }
    if let Some(held) = details["held_back"].as_str() {
        out += &format!("stays      {held}\n");
    }
    let belongs = belonging(details);
    let head = ["in the plan, ms", "distance", "price", "capacity", "drag", "total", ""];
    let mut table = sheet(&head);
    for zone in items(details, "zones") {
        let note = match (zone["open"].as_bool(), zone["room"].as_bool()) {
            (Some(false), _) => "takes no sessions",
            (_, Some(false)) => "no room",
            _ => "",
        };
        table.add_row(vec![
            text(zone, "zone").into(),
            right(ms(zone, "distance_us")),
            right(ms(zone, "price_us")),
            right(ms(zone, "capacity_us")),
            right(ms(zone, "drag_us")),
            right(ms(zone, "total_us")),
            note.into(),
        ]);
    }
    out += &format!("\n{table}\n\n{belongs}\n");
    if !items(details, "brought").is_empty() {
        let brought = brought(details, "brought");
        out += &format!("\nwhat earlier moves to these zones brought\n{brought}\n");
    }
    out
}

/// Hands a session over.
///
/// # Errors
/// If it is refused, or with `--wait` if it did not move in time.
pub async fn move_session(args: &MoveArgs) -> Result<(), Trouble> {
    let peers = Peers::new(&args.ask.peer)?;
    let key = peers.session_key(&args.key).await?;
    let (rest, path) = match &peers.control {
        Some(control) => (control, format!("/v1/sessions/{key}/move")),
        None => (&peers.proxy, format!("/sessions/{key}/move")),
    };
    let ask = Ask::send(Method::POST, &path).json(&json!({ "zone": args.zone }));
    let moving = rest.ask(ask).await?.json()?;
    let directive = moving["directive"].as_u64().unwrap_or_default();
    if !args.wait {
        if args.ask.output == Output::Json {
            return print_json(&moving);
        }
        println!("session {key} is being handed over to {} (directive {directive})", args.zone);
        return Ok(());
    }
    let end = wait_for(rest, peers.control.is_some(), directive, args.timeout).await?;
    let completed = ["state", "outcome"].iter().any(|name| end[*name] == "completed");
    if args.ask.output == Output::Json {
        print_json(&end)?;
    } else if completed {
        // Control nests the figures, the proxy does not; control may not have heard them yet.
        let figures = if end["figures"].is_object() { &end["figures"] } else { &end };
        println!(
            "session {key} lives in {} now: paused {} ms, {} requests waited, {} bytes of state",
            args.zone,
            ms(figures, "pause_us"),
            count(figures, "held"),
            count(figures, "state_bytes"),
        );
    }
    if completed {
        return Ok(());
    }
    let why = format!("{}: {}", text(&end, "why"), text(&end, "detail"));
    Err(Trouble::failure(format!("the session stays where it was ({why})")))
}

/// The end of a directive, once it is known.
async fn wait_for(
    rest: &Rest,
    under_control: bool,
    directive: u64,
    longest: Duration,
) -> Result<Value, Trouble> {
    let began = Instant::now();
    loop {
        let end = if under_control {
            let now = rest.get_json(&format!("/v1/directives/{directive}")).await?;
            (now["state"] != "open").then_some(now)
        } else {
            let ended = rest.get_json("/outcomes?limit=1000").await?;
            items(&ended, "outcomes").iter().find(|end| end["directive"] == directive).cloned()
        };
        if let Some(end) = end {
            return Ok(end);
        }
        if began.elapsed() > longest {
            let text = format!("directive {directive} is not done after {} s", longest.as_secs());
            return Err(
                Trouble::failure(text).remedy("it stays in force; look again with `homing why`")
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Lists the sessions that a proxy's gates remember.
///
/// # Errors
/// If the proxy does not answer.
pub async fn list(args: &SessionsArgs) -> Result<(), Trouble> {
    let peers = Peers::new(&args.ask.peer)?;
    let mut sessions = Vec::new();
    let mut cursor = 0;
    while sessions.len() < args.limit {
        let page = peers.proxy.get_json(&format!("/sessions?limit=1000&cursor={cursor}")).await?;
        let wanted = |session: &&Value| {
            let lives_there = !matches!(text(session, "standing"), "away" | "staged" | "retired");
            let is_zone = args.zone.as_ref().is_none_or(|zone| session["zone"] == zone.as_str());
            is_zone && (args.all || lives_there)
        };
        sessions.extend(items(&page, "sessions").iter().filter(wanted).cloned());
        match page["next"].as_u64() {
            Some(next) => cursor = next,
            None => break,
        }
    }
    sessions.truncate(args.limit);
    if args.ask.output == Output::Json {
        return print_json(&json!({ "sessions": sessions }));
    }
    let mut table = sheet(&["session", "zone", "standing", "epoch", "service", "place", "now"]);
    for session in &sessions {
        table.add_row(vec![
            text(session, "session").into(),
            text(session, "zone").into(),
            text(session, "standing").into(),
            right(count(session, "epoch")),
            text(session, "service").into(),
            text(session, "place").into(),
            right(count(session, "in_flight")),
        ]);
    }
    anstream::println!("{table}");
    Ok(())
}
