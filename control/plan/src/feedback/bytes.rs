//! What was learnt as bytes, big-endian, for whoever keeps it on a disk. What is cut off or odd is
//! read as nothing: it is learnt again.

use homing_wire::{PlaceId, ZoneId};

use super::{Feedback, Tally, WAYS_MAX, factor::Factor};

/// The form that is written.
const FORM: u8 = 1;

impl Feedback {
    /// All of it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![FORM, self.zones.len() as u8];
        for (zone, tally) in &self.zones {
            out.push(zone.0);
            for number in tally.numbers() {
                out.extend(number.to_be_bytes());
            }
            out.extend(tally.at_ms.to_be_bytes());
            put(&mut out, &tally.factor);
        }
        for ((place, zone), factor) in &self.ways {
            out.extend(place.0.to_be_bytes());
            out.push(zone.0);
            put(&mut out, factor);
        }
        out
    }

    /// What [`Self::to_bytes`] wrote; `None` if it is anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut take = Take(bytes);
        let [form, zones] = take.bytes::<2>()?;
        if form != FORM {
            return None;
        }
        let mut read = Self::default();
        for _ in 0..zones {
            let [zone] = take.bytes::<1>()?;
            let tally = Tally {
                moves: take.count()?,
                for_gain: take.count()?,
                regretted: take.count()?,
                expected_us: take.number()?,
                realised_us: take.number()?,
                at_ms: take.bytes().map(u64::from_be_bytes)?,
                factor: take.factor()?,
            };
            read.zones.insert(ZoneId(zone), tally);
        }
        while !take.0.is_empty() && read.ways.len() < WAYS_MAX {
            let place = PlaceId(take.bytes().map(u16::from_be_bytes)?);
            let [zone] = take.bytes::<1>()?;
            let factor = take.factor()?;
            read.ways.insert((place, ZoneId(zone)), factor);
        }
        take.0.is_empty().then_some(read)
    }
}

impl Tally {
    fn numbers(&self) -> [f64; 5] {
        [self.moves, self.for_gain, self.regretted, self.expected_us, self.realised_us]
    }
}

fn put(out: &mut Vec<u8>, factor: &Factor) {
    for number in [factor.weight, factor.mean, factor.variance] {
        out.extend(number.to_be_bytes());
    }
    out.extend(factor.at_ms.to_be_bytes());
}

/// Takes bytes off the front.
struct Take<'a>(&'a [u8]);

impl Take<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn number(&mut self) -> Option<f64> {
        self.bytes().map(f64::from_be_bytes).filter(|number| number.is_finite())
    }

    fn count(&mut self) -> Option<f64> {
        self.number().filter(|number| *number >= 0.0)
    }

    fn factor(&mut self) -> Option<Factor> {
        Some(Factor {
            weight: self.count()?,
            mean: self.number()?,
            variance: self.count()?,
            at_ms: self.bytes().map(u64::from_be_bytes)?,
        })
    }
}
