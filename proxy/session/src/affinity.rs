//! How much a session belongs in a zone, 0..=1000, with its terms. Integers, because the score is
//! compared on the request path and must be the same number in every process.

#[cfg(test)]
mod tests;

/// Latency term: extra round trip at which it falls to 1/e, microseconds.
const LATENCY_SCALE_US: u64 = 20_000;
/// Weights in thousandths of the whole score; a term that is not known leaves its weight to the
/// others.
const WEIGHTS: Weights =
    Weights { latency: 300, prediction: 250, data: 200, history: 150, peers: 100 };

struct Weights {
    latency: u32,
    prediction: u32,
    data: u32,
    history: u32,
    peers: u32,
}

/// Whether policy binds the session to the zone or bars it from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pin {
    /// Neither.
    #[default]
    Free,
    /// It must be there.
    Bound,
    /// It must not be there.
    Barred,
}

/// What is known of one session and one zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Round trip to the zone, and to the nearest zone, microseconds.
    pub rtt_us: Option<(u32, u32)>,
    /// Bytes of the session's working set that are in the zone, and all of them.
    pub data_bytes: Option<(u64, u64)>,
    /// Its requests served in the zone, and everywhere, both decayed alike.
    pub served: Option<(u64, u64)>,
    /// Probability that its user will be near the zone, in thousandths.
    pub predicted: Option<u16>,
    /// Share of its peers that live in the zone, in thousandths.
    pub peers: Option<u16>,
    /// What policy says.
    pub pin: Pin,
}

/// An affinity and its terms, each 0..=1000; `None` where nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    /// The weighted mean of the terms known; 0 if none is or the zone is barred, 1000 if bound.
    pub score: u16,
    /// Nearness.
    pub latency: Option<u16>,
    /// Where its user is expected.
    pub prediction: Option<u16>,
    /// Where its data is.
    pub data: Option<u16>,
    /// Where it was served.
    pub history: Option<u16>,
    /// Where its peers are.
    pub peers: Option<u16>,
}

/// The affinity of one session with one zone.
#[must_use]
pub fn affinity(evidence: &Evidence) -> Affinity {
    let latency =
        evidence.rtt_us.map(|(here, nearest)| decay_permille(here.saturating_sub(nearest).into()));
    let terms = Affinity {
        score: 0,
        latency,
        prediction: evidence.predicted.map(|share| share.min(1_000)),
        data: evidence.data_bytes.and_then(share_permille),
        history: evidence.served.and_then(share_permille),
        peers: evidence.peers.map(|share| share.min(1_000)),
    };
    let score = match evidence.pin {
        Pin::Free => terms.weighted(),
        Pin::Bound => 1_000,
        Pin::Barred => 0,
    };
    Affinity { score, ..terms }
}

/// By how much the best zone's score exceeds the next: who has least is moved first.
#[must_use]
pub fn margin(scores: impl IntoIterator<Item = u16>) -> u16 {
    let (mut best, mut second) = (0, 0);
    for score in scores {
        if score > best {
            (best, second) = (score, best);
        } else {
            second = second.max(score);
        }
    }
    best - second
}

impl Affinity {
    /// The terms with their names and weights, for people.
    #[must_use]
    pub fn terms(&self) -> [(&'static str, u32, Option<u16>); 5] {
        [
            ("latency", WEIGHTS.latency, self.latency),
            ("prediction", WEIGHTS.prediction, self.prediction),
            ("data", WEIGHTS.data, self.data),
            ("history", WEIGHTS.history, self.history),
            ("peers", WEIGHTS.peers, self.peers),
        ]
    }

    fn weighted(&self) -> u16 {
        let (mut sum, mut weights) = (0, 0);
        for (_, weight, term) in self.terms() {
            if let Some(term) = term {
                sum += weight * u32::from(term);
                weights += weight;
            }
        }
        ((sum + weights / 2).checked_div(weights).unwrap_or(0)) as u16
    }
}

/// A part of a whole in thousandths; `None` if the whole is nothing.
fn share_permille((part, whole): (u64, u64)) -> Option<u16> {
    let permille = (u128::from(part.min(whole)) * 1_000).checked_div(whole.into())?;
    Some(permille as u16)
}

/// `1000 * exp(-extra / LATENCY_SCALE_US)`, off by at most 1.
fn decay_permille(extra_us: u64) -> u16 {
    /// `2^16 * 2^(-k/8)`.
    const EIGHTHS: [u64; 9] =
        [65_536, 60_097, 55_109, 50_535, 46_341, 42_495, 38_968, 35_734, 32_768];
    // exp(-x) = 2^(-x * log2(e)), in 2^-19 of a halving, so that an eighth is 2^16 of them.
    let halvings = u128::from(extra_us) * 756_388 / u128::from(LATENCY_SCALE_US);
    let (whole, part) = ((halvings >> 19) as u32, (halvings & ((1 << 19) - 1)) as u64);
    let (eighth, rest) = ((part >> 16) as usize, part & 0xffff);
    let (above, below) = (EIGHTHS[eighth], EIGHTHS[eighth + 1]);
    let scaled = above - (((above - below) * rest) >> 16);
    ((scaled * 1_000) >> 16).checked_shr(whole).unwrap_or(0) as u16
}
