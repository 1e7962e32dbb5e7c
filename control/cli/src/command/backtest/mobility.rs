//! The mobility tasks of `homing backtest`: where a client is in 5 to 30 minutes, by the counts
//! that control plans with, step by step over recorded movement.
//!
//! Each guess is made from what was known at its time and scored when its time has come; only
//! then is it learnt from. It is held against "stays where it is" and against a Markov chain of
//! the first order, counted for each horizon by itself. What a model knows lags as in control: a
//! bin is learnt from when it is over.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use homing_plan::Mobility;
use homing_plan::mobility::{BIN_MS, HORIZONS, Trail, Transition};
use homing_wire::PlaceId;
use serde::Serialize;

use crate::args::BacktestTask;
use crate::recorded::{checkins, taxis};
use crate::sheet::{right, sheet};
use crate::trouble::Trouble;

mod tally;

use tally::{Guess, Tally};

/// The models, in the order of the table.
const MODELS: [&str; 4] = ["stays", "markov", "counts", "homing"];
/// How many observations "stays" is worth to the chain.
const CHAIN_STAYS: f64 = 1.0;
const MINUTE_MS: u64 = 60_000;

/// A client was somewhere.
struct Sight {
    at_ms: u64,
    user: u32,
    place: PlaceId,
}

/// One line of the table.
#[derive(Debug, Serialize)]
struct Line {
    minutes: u64,
    model: &'static str,
    #[serde(flatten)]
    figures: tally::Figures,
}

#[derive(Debug, Serialize)]
struct Report {
    task: &'static str,
    sights: usize,
    users: usize,
    places: usize,
    lines: Vec<Line>,
}

pub(super) fn run(task: BacktestTask, data: &Path, out: &Path) -> Result<(), Trouble> {
    let (name, sights) = match task {
        BacktestTask::TaxiMobility => ("taxi-mobility", driven(data)?),
        _ => ("nyc-mobility", checked_in(data)?),
    };
    let report = score(name, &sights);
    print(&report);
    let mut file = super::create(out)?;
    let is_json = out.extension().is_some_and(|kind| kind == "json");
    let written = match is_json {
        true => serde_json::to_writer_pretty(&mut file, &report).map_err(std::io::Error::from),
        false => write_csv(&mut file, &report),
    };
    written.and_then(|()| file.flush()).map_err(|error| {
        Trouble::failure(format!("{}: {error}", out.display()))
            .remedy("give --out a file in a folder with room")
    })
}

fn driven(data: &Path) -> Result<Vec<Sight>, Trouble> {
    let taxis = taxis::read(&data.join("sf-taxi"))?;
    let sight = |fix: &taxis::Fix| Sight {
        at_ms: fix.second.max(0) as u64 * 1_000,
        user: fix.taxi,
        place: PlaceId(fix.zone as u16),
    };
    Ok(taxis.fixes.iter().map(sight).collect())
}

fn checked_in(data: &Path) -> Result<Vec<Sight>, Trouble> {
    let checkins = checkins::read(&data.join("nyc-checkins"))?;
    let sight = |checkin: &checkins::Checkin| Sight {
        at_ms: (checkin.minute.max(0.0) * MINUTE_MS as f64) as u64,
        user: checkin.user,
        place: PlaceId(checkin.zone as u16),
    };
    Ok(checkins.checkins.iter().map(sight).collect())
}

/// A client with the guesses about it whose time has not come.
#[derive(Default)]
struct Client {
    trail: Trail,
    open: BTreeMap<(u64, usize), Open>,
}

/// One question with the guess of each model.
struct Open {
    from: PlaceId,
    guesses: [Guess; MODELS.len()],
}

fn score(task: &'static str, sights: &[Sight]) -> Report {
    let mut tallies: Vec<[Tally; MODELS.len()]> =
        HORIZONS.iter().map(|_| Default::default()).collect();
    foretell(sights, |_, horizon, open, came| {
        for (tally, guess) in tallies[horizon].iter_mut().zip(&open.guesses) {
            tally.take(guess, open.from, came);
        }
    });
    let distinct = |of: fn(&Sight) -> u32| {
        let all: std::collections::BTreeSet<u32> = sights.iter().map(of).collect();
        all.len()
    };
    let line = |(bins, tallies): (&usize, &[Tally; MODELS.len()])| {
        let minutes = *bins as u64 * BIN_MS / MINUTE_MS;
        let of = |(model, tally): (&&'static str, &Tally)| Line {
            minutes,
            model,
            figures: tally.figures(),
        };
        MODELS.iter().zip(tallies).map(of).collect::<Vec<_>>()
    };
    Report {
        task,
        sights: sights.len(),
        users: distinct(|sight| sight.user),
        places: distinct(|sight| sight.place.0.into()),
        lines: HORIZONS.iter().zip(&tallies).flat_map(line).collect(),
    }
}

/// Foretells each client after each sight of it. A guess is told when its time has come, with the
/// bin, the horizon and where the client was then.
fn foretell(sights: &[Sight], mut tell: impl FnMut(u64, usize, &Open, PlaceId)) {
    let (mut mobility, mut chain) = (Mobility::default(), Chain::default());
    let mut clients: BTreeMap<u32, Client> = BTreeMap::new();
    for sight in sights {
        let client = clients.entry(sight.user).or_default();
        let bin = sight.at_ms / BIN_MS;
        // Those before this bin were never answered: nobody saw the client then.
        let mut due = client.open.split_off(&(bin, 0));
        client.open = due.split_off(&(bin + 1, 0));
        for ((_, horizon), open) in &due {
            tell(bin, *horizon, open, sight.place);
        }
        for seen in client.trail.step(sight.place, sight.at_ms) {
            mobility.learn(&seen);
            chain.learn(&seen);
        }
        for (horizon, bins) in HORIZONS.iter().enumerate() {
            let guesses = [
                vec![(sight.place, 1.0)],
                chain.ahead(horizon, sight.place),
                mobility.counted(horizon, &client.trail, sight.place),
                mobility.ahead(horizon, &client.trail, sight.place),
            ];
            let open = Open { from: sight.place, guesses };
            client.open.insert((bin + *bins as u64, horizon), open);
        }
    }
}

/// Which place followed which, for each horizon by itself.
#[derive(Default)]
struct Chain(BTreeMap<(u8, PlaceId), BTreeMap<PlaceId, f64>>);

impl Chain {
    fn learn(&mut self, seen: &Transition) {
        let row = self.0.entry((seen.horizon, seen.from)).or_default();
        *row.entry(seen.to).or_default() += 1.0;
    }

    fn ahead(&self, horizon: usize, from: PlaceId) -> Guess {
        let row = self.0.get(&(horizon as u8, from));
        let total = row.map_or(0.0, |row| row.values().sum::<f64>()) + CHAIN_STAYS;
        let mut chances = vec![(from, CHAIN_STAYS / total)];
        for (place, count) in row.into_iter().flatten() {
            match *place == from {
                true => chances[0].1 += count / total,
                false => chances.push((*place, count / total)),
            }
        }
        chances
    }
}

fn print(report: &Report) {
    println!(
        "{}: {} sights of {} users at {} places; each guess scored before it is learnt from\n",
        report.task, report.sights, report.users, report.places
    );
    let head =
        ["ahead", "model", "guesses", "moved", "Brier", "hit@1", "hit@3", "hit@1 of moved", "ECE"];
    let mut table = sheet(&head);
    for Line { minutes, model, figures } in &report.lines {
        let share = |share: f64| right(format!("{share:.3}"));
        table.add_row(vec![
            right(format!("{minutes} min")),
            (*model).into(),
            right(figures.guesses),
            share(figures.moved),
            right(format!("{:.4}", figures.brier)),
            share(figures.hit1),
            share(figures.hit3),
            share(figures.hit1_moved),
            share(figures.ece),
        ]);
    }
    anstream::println!("{table}");
}

fn write_csv(out: &mut impl std::io::Write, report: &Report) -> std::io::Result<()> {
    writeln!(out, "task,minutes,model,guesses,moved,brier,hit1,hit3,hit1_moved,ece")?;
    for Line { minutes, model, figures } in &report.lines {
        let tally::Figures { guesses, moved, brier, hit1, hit3, hit1_moved, ece } = figures;
        writeln!(
            out,
            "{},{minutes},{model},{guesses},{moved:.6},{brier:.6},{hit1:.6},{hit3:.6},\
             {hit1_moved:.6},{ece:.6}",
            report.task
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three users go round five places, each at its own pace; from bin `strange` on all stay.
    fn rounds(strange: u64) -> Vec<Sight> {
        let sight = |bin: u64, user: u32| {
            let place = bin.min(strange) / (u64::from(user) + 1) % 5;
            Sight { at_ms: bin * BIN_MS, user, place: PlaceId(place as u16) }
        };
        (0..600).flat_map(|bin| (0..3).map(move |user| sight(bin, user))).collect()
    }

    #[test]
    fn rounds_are_foretold_better_than_by_staying_or_by_the_last_place() {
        let report = score("rounds", &rounds(600));
        assert_eq!((report.users, report.places, report.lines.len()), (3, 5, 16));
        for lines in report.lines.chunks(MODELS.len()) {
            let [stays, markov, _, homing] = [0, 1, 2, 3].map(|model| lines[model].figures.brier);
            assert!(homing < markov && markov < stays, "{lines:?}");
        }
    }

    #[test]
    fn nothing_of_the_future_is_known_to_a_guess() {
        let told = |strange: u64| {
            let mut told = Vec::new();
            foretell(&rounds(strange), |due, horizon, open, _| {
                let asked = due - HORIZONS[horizon] as u64;
                told.push((asked, horizon, open.guesses.clone()));
            });
            told.sort_by_key(|(asked, horizon, _)| (*asked, *horizon));
            told
        };
        let (one, other) = (told(600), told(400));
        let before = one.iter().filter(|(asked, ..)| *asked < 400).count();
        assert!(before > 4_000, "{before}");
        assert_eq!(one[..before], other[..before]);
        assert_ne!(one, other);
    }
}
