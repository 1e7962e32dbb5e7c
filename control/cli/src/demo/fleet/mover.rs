//! Moves sessions as an operator would, by control's API, and reads what became of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::rest::{Ask, Rest};
use crate::trouble::Trouble;

/// How one handoff ended.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Source zone.
    pub from: String,
    /// Target zone.
    pub to: String,
    /// `None` if it was undone.
    pub figures: Option<Figures>,
    /// Why it was undone, if it was.
    pub why: Option<String>,
}

/// What a completed handoff measured.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Microseconds from freeze to the target's first execution.
    pub pause_us: u64,
    /// Requests that waited.
    pub held: u64,
    /// Bytes of state moved, all rounds.
    pub state_bytes: u64,
    /// Of those, bytes moved while frozen.
    pub cut_bytes: u64,
    /// Copy rounds.
    pub rounds: u64,
    /// Microseconds from directive to end.
    pub total_us: u64,
}

/// Asks control to hand a session over; its directive, or `None` if it cannot be moved now.
///
/// # Errors
/// Control does not answer.
pub async fn ask(control: &Rest, session: &str, to: &str) -> Result<Option<u64>, Trouble> {
    let path = format!("/v1/sessions/{session}/move");
    let reply = control.raw(Ask::send(Method::POST, &path).json(&json!({ "zone": to }))).await?;
    if !reply.status.is_success() {
        return Ok(None);
    }
    Ok(reply.json()?["directive"].as_u64())
}

/// How a directive ended, with what was measured; `None` while that is not known.
///
/// # Errors
/// Control does not answer.
pub async fn ended(control: &Rest, directive: u64) -> Result<Option<Moved>, Trouble> {
    let told = control.get_json(&format!("/v1/directives/{directive}")).await?;
    let moved = moved(&told);
    Ok((moved.figures.is_some() || moved.why.is_some()).then_some(moved))
}

/// What became of directives from a cursor on; the next cursor.
///
/// # Errors
/// Control does not answer.
pub async fn outcomes(
    control: &Rest,
    mut cursor: u64,
    into: &mut BTreeMap<u64, Moved>,
) -> Result<u64, Trouble> {
    loop {
        let page = control.get_json(&format!("/v1/outcomes?cursor={cursor}&limit=1000")).await?;
        let ended = page["outcomes"].as_array().map_or(&[][..], Vec::as_slice);
        for outcome in ended {
            if let Some(id) = outcome["id"].as_u64() {
                into.insert(id, moved(outcome));
            }
        }
        let next = page["next"].as_u64().unwrap_or(cursor);
        if ended.is_empty() || next == cursor {
            return Ok(next);
        }
        cursor = next;
    }
}

fn moved(outcome: &Value) -> Moved {
    let word = |name: &str| outcome[name].as_str().unwrap_or_default().to_owned();
    let figure = |name: &str| outcome["figures"][name].as_u64();
    let figures = figure("pause_us").map(|pause_us| Figures {
        pause_us,
        held: figure("held").unwrap_or_default(),
        state_bytes: figure("state_bytes").unwrap_or_default(),
        cut_bytes: figure("cut_bytes").unwrap_or_default(),
        rounds: figure("rounds").unwrap_or_default(),
        total_us: figure("total_us").unwrap_or_default(),
    });
    Moved {
        from: word("from"),
        to: word("to"),
        figures,
        why: (outcome["state"] == "undone").then(|| word("why")),
    }
}

/// Waits until no directive is open.
///
/// # Errors
/// Some still are.
pub async fn settle(control: &Rest, longest: Duration) -> Result<(), Trouble> {
    let began = Instant::now();
    loop {
        let open = control.get_json("/v1/directives?limit=1").await;
        if open.as_ref().is_ok_and(|directives| directives["open"] == 0) {
            return Ok(());
        }
        if began.elapsed() > longest {
            return Err(Trouble::failure(format!(
                "handoffs are open after {} s: {:?}",
                longest.as_secs(),
                open.map(|open| open.to_string())
            )));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
