//! Counts as bytes, big-endian, for whoever keeps them on a disk. What is cut off or odd is read
//! as nothing: it is learnt again.

use std::collections::BTreeMap;

use homing_wire::PlaceId;

use super::{CONTEXTS_MAX, FOLLOWERS_MAX, Followers, HORIZONS, Mobility, Trail};

/// The form that is written.
const FORM: u8 = 1;
const NOWHERE: u16 = u16::MAX;

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
        for ((horizon, before, from), followers) in &self.contexts {
            out.push(*horizon);
            out.extend(before.map_or(NOWHERE, |place| place.0).to_be_bytes());
            out.extend(from.0.to_be_bytes());
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
            let [horizon] = take.bytes::<1>()?;
            let before = Some(take.place()?).filter(|place| place.0 != NOWHERE);
            let from = take.place()?;
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
            contexts.insert((horizon, before, from), followers);
        }
        read.contexts = contexts;
        Some(read)
    }
}

impl Trail {
    /// The trail, always as many bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.bin.to_be_bytes().to_vec();
        self.places.iter().for_each(|place| out.extend(place.to_be_bytes()));
        for (from, to, count) in &self.own {
            out.extend(from.to_be_bytes());
            out.extend(to.to_be_bytes());
            out.push(*count);
        }
        out
    }

    /// What [`Self::to_bytes`] wrote; an empty trail if it is anything else. What is left of the
    /// bytes behind it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> (Self, &[u8]) {
        let mut take = Take(bytes);
        let mut read = || {
            let mut trail = Self { bin: take.bytes().map(u32::from_be_bytes)?, ..Self::default() };
            for place in &mut trail.places {
                *place = take.place()?.0;
            }
            for own in &mut trail.own {
                *own = (take.place()?.0, take.place()?.0, take.bytes::<1>()?[0]);
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
