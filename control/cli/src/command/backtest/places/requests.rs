//! Requests of users: the model that is asked for next.

use std::collections::BTreeMap;
use std::path::Path;

use homing_forecast::places::{Expert, Forecaster, Moment, key};

use super::Answer;
use crate::recorded::rows::Recording;
use crate::recorded::{settings, train};
use crate::trouble::Trouble;

struct Request {
    user: u32,
    item: u32,
    kind: u64,
    succeeded: bool,
    second: f64,
    seq: u32,
    test: bool,
}

/// What a user asked for before; items as they are counted here.
#[derive(Clone, Copy, Default)]
struct Past {
    items: [u32; 3],
    kind: u64,
    succeeded: bool,
    run: u32,
    seen: u32,
}

pub(super) fn answers(data: &Path) -> Result<Vec<Answer>, Trouble> {
    let folder = data.join("genai-requests");
    let columns = ["user", "item", "type", "status", "t_s", "seq", "phase"];
    let mut requests = Recording::open(&folder, "stream.csv.gz")?.rows(&columns, |row| {
        Ok(Request {
            user: row.named(0)?,
            // An unknown model is written -1; items here count from 0.
            item: if row.text(1) == "-1" { 0 } else { row.named(1)?.saturating_add(1) },
            kind: row.text(2).bytes().fold(0, |kind, byte| key(&[kind, u64::from(byte)])),
            succeeded: row.text(3) == "SUCCEED",
            second: row.number(4)?,
            seq: row.named(5)?,
            test: row.text(6) == "test",
        })
    })?;
    requests.sort_by(|a, b| a.second.total_cmp(&b.second));
    let mut forecaster = Forecaster::new(experts(), 12);
    let first = requests.iter().position(|request| request.test).unwrap_or(requests.len());
    let mut pasts: BTreeMap<u32, Past> = BTreeMap::new();
    let mut answers = Vec::new();
    for (at, request) in requests.iter().enumerate() {
        let past = pasts.entry(request.user).or_default();
        let (keys, now) = (keys(request.user, past), at as f64);
        let hints = [past.run as f32, past.seen as f32, f32::from(past.succeeded)];
        let last = past.items;
        let of_item = |item: Option<u32>| {
            vec![f32::from(item == Some(last[0])), f32::from(item == Some(last[1]))]
        };
        let moment = Moment { keys: &keys, at: now, hints: &hints };
        if at == first {
            train(&mut forecaster, &settings())?;
        }
        if request.test {
            let ranked = forecaster.rank(moment, of_item);
            let id = format!("{}:{}", request.user, request.seq);
            let mut answer = Answer::new(id, &ranked);
            answer.guesses.iter_mut().for_each(|item| *item -= 1);
            answers.push(answer);
        } else if at < first && at >= first / 5 {
            forecaster.note(moment, of_item, request.item);
        }
        forecaster.learn(&keys, now, request.item);
        past.run = if past.items[0] == request.item { past.run + 1 } else { 1 };
        past.items = [request.item, past.items[0], past.items[1]];
        past.kind = request.kind;
        past.succeeded = request.succeeded;
        past.seen += 1;
    }
    Ok(answers)
}

/// From what the crowd asks for to this user's own sequence.
fn experts() -> Vec<Expert> {
    vec![
        Expert::new(1.0),
        Expert::new(10.0).fading(300.0),
        Expert::new(5.0),
        Expert::new(5.0),
        Expert::new(4.0),
        Expert::new(4.0),
        Expert::new(2.0),
        Expert::new(2.0),
        Expert::new(1.0).fading(200.0),
        Expert::new(1.0),
        Expert::new(1.0),
    ]
}

fn keys(user: u32, past: &Past) -> [u64; 11] {
    let user = u64::from(user);
    let known = u64::from(past.seen.min(3));
    let [a, b, c] = past.items.map(u64::from);
    [
        key(&[0]),
        key(&[0]),
        key(&[1, known, a]),
        key(&[1, known, a]),
        key(&[2, a, past.kind]),
        key(&[3, known, a, b]),
        key(&[4, known, a, b, c]),
        key(&[5, user]),
        key(&[5, user]),
        key(&[6, user, a]),
        key(&[7, user, a, b]),
    ]
}
