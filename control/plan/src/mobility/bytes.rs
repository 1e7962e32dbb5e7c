//! Counts as bytes, big-endian, for whoever keeps them on a disk. What is cut off or odd is read
//! as nothing: it is learnt again.

use std::collections::BTreeMap;

use homing_wire::PlaceId;

use super::{CONTEXTS_MAX, FOLLOWERS_MAX, Followers, HORIZONS, Mobility, More, Situation, Trail};

/// The form that is written.
const FORM: u8 = 2;
/// The first byte of a trail. Before there was one a trail began with the number of its bin, whose
/// first byte is 0 for a century.
const TRAIL_FORM: u8 = 0xf2;

impl Mobility {
    /// All counts; scores too.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![FORM];
        for score in &self.scores {
            for number in [score.scored, score.ours, score.stays] {
                out.extend(number.to_be_bytes());
            }
        }
        for (situation, followers) in &self.contexts {
            let (kind, numbers) = match situation.more {
                More::Nothing => (0, [0, 0]),
                More::Hours(hours) => (1, [hours.into(), 0]),
                More::Before([one, two]) => (2, [one.0, two.0]),
            };
            out.extend([situation.horizon, kind]);
            out.extend(situation.from.0.to_be_bytes());
            numbers.iter().for_each(|number| out.extend(u16::to_be_bytes(*number)));
            out.push(followers.by_place.len() as u8);
            for (place, count) in &followers.by_place {
                out.extend(place.0.to_be_bytes());
                out.extend(count.to_be_bytes());
            }
        }
        out
    }

    /// What [`Self::to_bytes`] wrote; `None` if it is anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut take = Take(bytes);
        if take.bytes::<1>()? != [FORM] {
            return None;
        }
        let mut read = Self::default();
        for score in &mut read.scores {
            let mut number = || take.bytes().map(f64::from_be_bytes).filter(|x| x.is_finite());
            (score.scored, score.ours, score.stays) = (number()?, number()?, number()?);
        }
        let mut contexts = BTreeMap::new();
        while !take.0.is_empty() {
            let [horizon, kind] = take.bytes::<2>()?;
            let (from, numbers) = (take.place()?, [take.place()?, take.place()?]);
            let more = match kind {
                0 => More::Nothing,
                1 => More::Hours(u8::try_from(numbers[0].0).ok()?),
                2 => More::Before(numbers),
                _ => return None,
            };
            let [count] = take.bytes::<1>()?;
            let mut followers = Followers::default();
            for _ in 0..count {
                let place = take.place()?;
                let seen = take.bytes().map(f32::from_be_bytes)?;
                if !seen.is_finite() || seen < 0.0 {
                    return None;
                }
                followers.total += seen;
                followers.by_place.push((place, seen));
            }
            let fits = usize::from(horizon) < HORIZONS.len()
                && followers.by_place.len() <= FOLLOWERS_MAX
                && contexts.len() < CONTEXTS_MAX;
            if !fits {
                return None;
            }
            contexts.insert(Situation { horizon, from, more }, followers);
        }
        read.contexts = contexts;
        Some(read)
    }
}

impl Trail {
    /// The trail, always as many bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![TRAIL_FORM];
        out.extend(self.bin.to_be_bytes());
        self.places.iter().for_each(|place| out.extend(place.to_be_bytes()));
        for (from, to, count) in &self.own {
            out.extend(from.to_be_bytes());
            out.extend(to.to_be_bytes());
            out.push(*count);
        }
        out.extend(self.lost.to_be_bytes());
        out
    }

    /// What [`Self::to_bytes`] wrote; an empty trail if it is anything else. What is left of the
    /// bytes behind it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> (Self, &[u8]) {
        let has_form = bytes.first() == Some(&TRAIL_FORM);
        let mut take = Take(if has_form { &bytes[1..] } else { bytes });
        let mut read = || {
            let mut trail = Self { bin: take.bytes().map(u32::from_be_bytes)?, ..Self::default() };
            for place in &mut trail.places {
                *place = take.place()?.0;
            }
            for own in &mut trail.own {
                *own = (take.place()?.0, take.place()?.0, take.bytes::<1>()?[0]);
            }
            if has_form {
                trail.lost = take.bytes().map(u16::from_be_bytes)?;
            }
            Some(trail)
        };
        match read() {
            Some(trail) => (trail, take.0),
            None => (Self::default(), &[]),
        }
    }
}

/// Takes bytes off the front.
struct Take<'a>(&'a [u8]);

impl Take<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn place(&mut self) -> Option<PlaceId> {
        self.bytes().map(|bytes| PlaceId(u16::from_be_bytes(bytes)))
    }
}
