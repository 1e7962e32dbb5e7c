//! What a series usually is at this time of day.

use std::collections::VecDeque;

/// Parts of a day that have a profile of their own.
const PARTS: usize = 96;
const DAY: i64 = 86_400;
/// How many days are remembered for each part.
const DAYS: usize = 10;
/// Days that must have been seen before a part is believed.
const DAYS_MIN: usize = 2;

/// What a time of day usually brings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usual {
    /// The middle of the days.
    pub(super) middle: f64,
    /// How far the days differ.
    pub(super) spread: f64,
}

/// The mean of each part of the last days.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    parts: Vec<VecDeque<f64>>,
    /// The part under way: its number since 1970, the sum and the count of its values.
    open: Option<(i64, f64, f64)>,
}

impl Default for Profile {
    fn default() -> Self {
        Self { parts: vec![VecDeque::new(); PARTS], open: None }
    }
}

impl Profile {
    /// The value to expect at a time; none before there were enough days.
    pub(super) fn expect(&self, at: i64) -> Option<Usual> {
        let part = self.part(at);
        let mut near: Vec<f64> = Vec::with_capacity(3 * DAYS);
        for shift in [PARTS - 1, 0, 1] {
            near.extend(&self.parts[(part + shift) % PARTS]);
        }
        if self.parts[part].len() < DAYS_MIN || near.is_empty() {
            return None;
        }
        near.sort_by(f64::total_cmp);
        let middle = near[near.len() / 2];
        let spread = near[near.len() * 5 / 6] - near[near.len() / 6];
        Some(Usual { middle, spread: spread / 2.0 })
    }

    /// Remembers a value; it counts from the end of its part of the day on.
    pub(super) fn remember(&mut self, at: i64, value: f64) {
        let slot = at.div_euclid(DAY / PARTS as i64);
        match &mut self.open {
            Some((open, sum, count)) if *open == slot => {
                *sum += value;
                *count += 1.0;
            }
            open => {
                let closed = open.replace((slot, value, 1.0));
                if let Some((slot, sum, count)) = closed {
                    let part = slot.rem_euclid(PARTS as i64) as usize;
                    if self.parts[part].len() == DAYS {
                        self.parts[part].pop_front();
                    }
                    self.parts[part].push_back(sum / count);
                }
            }
        }
    }

    fn part(&self, at: i64) -> usize {
        at.div_euclid(DAY / PARTS as i64).rem_euclid(PARTS as i64) as usize
    }
}
