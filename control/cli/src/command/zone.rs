//! `homing drain` and `open`: whether a zone takes sessions, with progress while it empties.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use super::peers::{Peers, print_json};
use crate::args::{Output, ZoneArgs};
use crate::demo::screen::Screen;
use crate::rest::{Ask, Rest};
use crate::trouble::Trouble;

/// Between two looks at a drain that is waited for.
const LOOK: Duration = Duration::from_millis(250);

/// How far a zone is from empty, whoever says so.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Progress {
    left: u64,
    under_way: u64,
    done: bool,
}

impl Progress {
    /// Control says `state`, the proxy says `drain.done`.
    fn of(answer: &Value) -> Self {
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let drain = &answer["drain"];
        if drain.is_object() {
            return Self {
                left: number(&drain["remaining"]),
                under_way: number(&drain["under_way"]),
                done: drain["done"] == true,
            };
        }
        Self {
            left: number(&answer["sessions"]),
            under_way: number(&answer["under_way"]),
            done: answer["state"] == "empty",
        }
    }
}

/// Drains a zone.
///
/// # Errors
/// If it is refused, or with `--wait` if it is not empty in time.
pub async fn drain(args: &ZoneArgs) -> Result<(), Trouble> {
    let peers = Peers::new(&args.ask.peer)?;
    let (rest, path) = place(&peers, &args.zone, "drain");
    let mut answer = rest.ask(Ask::send(Method::POST, &path)).await?.json()?;
    let mut progress = Progress::of(&answer);
    if args.wait {
        let at_first = progress.left.max(1);
        let began = Instant::now();
        let screen = Screen::new();
        while !progress.done {
            if began.elapsed() > args.timeout {
                screen.end();
                let text = format!("{} still has {} sessions", args.zone, progress.left);
                return Err(Trouble::failure(text)
                    .remedy("it goes on draining; look again with `homing status`"));
            }
            tokio::time::sleep(LOOK).await;
            answer = rest.get_json(&path).await?;
            progress = Progress::of(&answer);
            let gone = at_first.saturating_sub(progress.left);
            let eta = eta(began.elapsed(), gone, progress.left);
            let text = format!("{} left, {} under way{eta}", progress.left, progress.under_way);
            screen.progress(began.elapsed(), &text);
        }
        screen.end();
    }
    if args.ask.output == Output::Json {
        return print_json(&answer);
    }
    match progress.done {
        true => println!("{} is empty", args.zone),
        false => println!(
            "{} takes no more sessions; {} are being handed over elsewhere",
            args.zone, progress.left
        ),
    }
    Ok(())
}

/// Opens a zone again.
///
/// # Errors
/// If it is refused.
pub async fn open(args: &ZoneArgs) -> Result<(), Trouble> {
    let peers = Peers::new(&args.ask.peer)?;
    let (rest, path) = place(&peers, &args.zone, "open");
    let answer = rest.ask(Ask::send(Method::POST, &path)).await?.json()?;
    if args.ask.output == Output::Json {
        return print_json(&answer);
    }
    println!("{} takes sessions again", args.zone);
    Ok(())
}

fn place<'a>(peers: &'a Peers, zone: &str, verb: &str) -> (&'a Rest, String) {
    let zone: String =
        zone.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
    match &peers.control {
        Some(control) => (control, format!("/v1/zones/{zone}/{verb}")),
        None => (&peers.proxy, format!("/zones/{zone}/{verb}")),
    }
}

/// By the pace so far.
fn eta(so_far: Duration, gone: u64, left: u64) -> String {
    if gone == 0 || left == 0 {
        return String::new();
    }
    let seconds = so_far.as_secs_f64() * left as f64 / gone as f64;
    format!(", about {seconds:.0} s to go")
}
