//! The figures of handoffs: sessions of a stated size, used as users use them, handed over one
//! after the other between all pairs of zones, with what each pause came to beside the one-way
//! delay that no protocol can be below.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::mover::{self, Moved};
use super::stage::{Stage, ZONES, one_way};
use super::writer::Writer;
use crate::args::FleetState;
use crate::trouble::Trouble;

/// Sessions of each size that take turns.
const SESSIONS: usize = 12;
/// Handoffs under way at one time: one would measure an idle link, many each other.
const AT_ONCE: usize = 3;
/// How often each session's user writes.
const THINK: Duration = Duration::from_millis(400);
/// Longest wait for one handoff.
const LONGEST: Duration = Duration::from_secs(60);
/// What the pause may be beyond the one-way delay, median and 99th percentile, milliseconds. It is
/// stated for 64 KiB; how far larger states are from it is told as well.
const P50_MS: f64 = 2.0;
const P99_MS: f64 = 8.0;
/// Percent of handoffs that must delay no request.
const UNFELT: f64 = 99.5;
/// Bytes of one entry, when a notebook is filled to a size by its entries.
const ENTRY_BYTES: usize = 3_900;

/// What the handoffs of one size came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// State, bytes.
    pub state_bytes: u64,
    /// Handoffs completed.
    pub completed: usize,
    /// Handoffs undone, by cause.
    pub undone: BTreeMap<String, u64>,
    /// Pause, milliseconds: median and 99th percentile.
    pub pause_ms: [f64; 2],
    /// Pause beyond the one-way delay, milliseconds: median and 99th percentile.
    pub beyond_ms: [f64; 2],
    /// From directive to end, milliseconds: median and 99th percentile.
    pub total_ms: [f64; 2],
    /// Bytes moved a handoff, on average, all rounds; and those of the cut.
    pub moved_bytes: u64,
    /// See `moved_bytes`.
    pub cut_bytes: u64,
    /// Copy rounds a handoff, on average.
    pub rounds: f64,
    /// Handoffs that made no request wait, percent.
    pub unfelt_percent: f64,
}

/// Measures handoffs of one state size.
///
/// # Errors
/// The fleet does not serve.
pub async fn measure(
    stage: &Stage,
    state: FleetState,
    bytes: u64,
    handoffs: usize,
) -> Result<Row, Trouble> {
    let mut users = Vec::new();
    for n in 0..SESSIONS {
        let user = Writer::new(format!("figures-{bytes}-{n}"), stage.edges.clone(), false);
        fill(&user, state, bytes).await?;
        users.push(user);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut living = tokio::task::JoinSet::new();
    for (n, user) in users.iter().cloned().enumerate() {
        let stop = Arc::clone(&stop);
        living.spawn(async move {
            tokio::time::sleep(THINK * n as u32 / SESSIONS as u32).await;
            while !stop.load(Relaxed) {
                user.write(40).await;
                tokio::time::sleep(THINK).await;
            }
        });
    }
    let ended = hand_over(stage, &users, handoffs).await;
    stop.store(true, Relaxed);
    while living.join_next().await.is_some() {}
    Ok(Row { state_bytes: bytes, ..row(&ended?) })
}

async fn fill(user: &Writer, state: FleetState, bytes: u64) -> Result<(), Trouble> {
    let trouble = || Trouble::failure(format!("{} cannot write", user.user));
    let entries = match state {
        FleetState::Redis => {
            if !user.grow(bytes).await {
                return Err(trouble());
            }
            1
        }
        FleetState::Hooks => (bytes as usize).div_ceil(ENTRY_BYTES).max(1),
    };
    let text = (bytes as usize / entries).min(ENTRY_BYTES);
    for _ in 0..entries {
        user.write(if state == FleetState::Redis { 40 } else { text }).await;
    }
    match user.seen().session {
        Some(_) => Ok(()),
        None => Err(trouble()),
    }
}

/// Hands sessions over, one after the other, between all pairs of zones; what became of it.
pub(super) async fn hand_over(
    stage: &Stage,
    users: &[Arc<Writer>],
    handoffs: usize,
) -> Result<Vec<Moved>, Trouble> {
    let mut homes = BTreeMap::new();
    for user in users {
        let read = user.read().await;
        let zone = read.and_then(|(zone, _)| ZONES.iter().position(|name| *name == zone));
        homes.insert(user.user.clone(), zone.unwrap_or(0));
    }
    let mut ours: BTreeMap<u64, usize> = BTreeMap::new();
    let (mut next, mut done) = (0, Vec::new());
    let mut last = Instant::now();
    while done.len() < handoffs {
        while ours.len() < AT_ONCE && next < handoffs {
            let user = &users[next % users.len()];
            let home = homes[&user.user];
            // All pairs in turn, and back again.
            let to = (home + 1 + next / users.len() % 2) % ZONES.len();
            let session = user.seen().session.unwrap_or_default();
            match mover::ask(&stage.control, &session, ZONES[to]).await? {
                Some(directive) => {
                    ours.insert(directive, next);
                    next += 1;
                }
                // Its last handoff is still being settled.
                None => break,
            }
        }
        for id in ours.keys().copied().collect::<Vec<_>>() {
            let Some(moved) = mover::ended(&stage.control, id).await? else { continue };
            let Some(turn) = ours.remove(&id) else { continue };
            let user = &users[turn % users.len()].user;
            if let (Some(zone), None) = (ZONES.iter().position(|z| *z == moved.to), &moved.why) {
                homes.insert(user.clone(), zone);
            }
            done.push(moved);
            last = Instant::now();
        }
        if last.elapsed() > LONGEST {
            return Err(Trouble::failure("handoffs do not get on"));
        }
        // Control's API has a bound on requests a second.
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    Ok(done)
}

pub(super) fn row(ended: &[Moved]) -> Row {
    let mut row = Row::default();
    let (mut pauses, mut beyond, mut totals) = (Vec::new(), Vec::new(), Vec::new());
    let (mut moved_bytes, mut cut_bytes, mut rounds, mut unfelt) = (0, 0, 0, 0);
    for moved in ended {
        let Some(figures) = moved.figures else {
            let why = moved.why.clone().unwrap_or_default();
            *row.undone.entry(why).or_default() += 1;
            continue;
        };
        let zone = |name: &str| ZONES.iter().position(|zone| *zone == name).unwrap_or(0);
        let one_way_ms = one_way(zone(&moved.from), zone(&moved.to)).as_secs_f64() * 1e3;
        let pause_ms = figures.pause_us as f64 / 1e3;
        pauses.push(pause_ms);
        beyond.push(pause_ms - one_way_ms);
        totals.push(figures.total_us as f64 / 1e3);
        moved_bytes += figures.state_bytes;
        cut_bytes += figures.cut_bytes;
        rounds += figures.rounds;
        unfelt += u64::from(figures.held == 0);
    }
    row.completed = pauses.len();
    let each = pauses.len().max(1) as u64;
    let ends = |of: &mut Vec<f64>| [quantile(of, 0.5), quantile(of, 0.99)];
    row.pause_ms = ends(&mut pauses);
    row.beyond_ms = ends(&mut beyond);
    row.total_ms = ends(&mut totals);
    row.moved_bytes = moved_bytes / each;
    row.cut_bytes = cut_bytes / each;
    row.rounds = rounds as f64 / each as f64;
    row.unfelt_percent = 100.0 * unfelt as f64 / each as f64;
    row
}

/// What is to be known beside the table: where fewer were measured than were asked for, and how far
/// the goals were met.
pub(super) fn notes(asked: usize, rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let ended = row.completed + row.undone.values().sum::<u64>() as usize;
        let size = format!("{} KiB", row.state_bytes >> 10);
        if ended < asked {
            text += &format!(
                "{size}: {ended} handoffs, not {asked}: each moves so much through the cores that \
                 all processes share; name it in `--sizes` to measure all\n"
            );
        }
        let goal = |what: &str, got: f64, met: bool, goal: &str| {
            let word = if met { "kept  " } else { "missed" };
            format!("{word}  {size}: {what} {got:.1}; the goal is {goal}\n")
        };
        let [p50, p99] = row.beyond_ms;
        text += &goal("pause beyond one way, p50 ms", p50, p50 <= P50_MS, "2.0 at most");
        text += &goal("pause beyond one way, p99 ms", p99, p99 <= P99_MS, "8.0 at most");
        let unfelt = row.unfelt_percent;
        text += &goal("delay no request, percent", unfelt, unfelt >= UNFELT, "99.5 at least");
    }
    text
}

/// The value that a share of the values is at or below; 0 of none.
pub(super) fn quantile(of: &mut [f64], share: f64) -> f64 {
    of.sort_by(f64::total_cmp);
    let rank = (share * of.len() as f64).ceil() as usize;
    of.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_less_often_and_what_was_missed_is_said() {
        let row = |state_bytes, completed, beyond_ms| Row {
            state_bytes,
            completed,
            beyond_ms,
            unfelt_percent: 100.0,
            ..Row::default()
        };
        let mut rows = vec![row(64 << 10, 99, [1.9, 8.1]), row(16 << 20, 10, [3.0, 7.0])];
        rows[0].undone.insert("stale".to_owned(), 1);
        let text = notes(100, &rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 7, "{text}");
        let begins = |line: usize, words: &str| assert!(lines[line].starts_with(words), "{text}");
        begins(0, "kept    64 KiB: pause beyond one way, p50");
        begins(1, "missed  64 KiB: pause beyond one way, p99");
        begins(2, "kept    64 KiB: delay no request");
        begins(3, "16384 KiB: 10 handoffs, not 100");
        begins(4, "missed  16384 KiB: pause");
    }
}
