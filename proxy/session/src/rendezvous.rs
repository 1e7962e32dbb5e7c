//! Which endpoint of a zone serves a session: weighted rendezvous hashing with bounded load. No
//! ring, because a zone has few endpoints and this needs no memory, moves only the sessions of an
//! endpoint that comes or goes, and follows weights exactly.

#[cfg(test)]
mod tests;

/// An endpoint takes at most 5/4 of its share of the requests in flight, by weight ...
const LOAD_NUMERATOR: u64 = 5;
const LOAD_DENOMINATOR: u64 = 4;
/// ... but always this many, so that a quiet zone keeps each session on one endpoint.
const LOAD_FLOOR: u64 = 8;

/// One endpoint as the choice sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// A hash of its address. Stays the same when other endpoints come or go.
    pub id: u64,
    /// Share of the sessions relative to its neighbours; 0 takes none.
    pub weight: u16,
    /// Whether it is fit to be used.
    pub up: bool,
    /// Requests in flight to it.
    pub in_flight: u32,
}

/// The endpoint chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picked {
    /// Its index among the candidates.
    pub index: usize,
    /// None was fit, so all were taken to be: being wrong about health must not close a zone.
    pub panic: bool,
    /// The session's own endpoint was over its share of the load, and this is the next.
    pub displaced: bool,
}

/// Picks an endpoint for `hash`, a session key's low 64 bits or any number for a request without
/// a session.
///
/// `candidate` gives the endpoints `0..count`; it is called twice for each. `tried` tells which
/// indices have failed this request already. `None` if no endpoint is left to try.
pub fn pick(
    hash: u64,
    count: usize,
    candidate: impl Fn(usize) -> Candidate,
    tried: impl Fn(usize) -> bool,
) -> Option<Picked> {
    let (mut load, mut weight, mut up) = (0_u64, 0_u64, false);
    for index in 0..count {
        let candidate = candidate(index);
        load += u64::from(candidate.in_flight);
        if !tried(index) && candidate.weight > 0 {
            weight += if candidate.up { u64::from(candidate.weight) } else { 0 };
            up |= candidate.up;
        }
    }
    let panic = !up;
    let mut own: Option<Best> = None;
    let mut light: Option<Best> = None;
    for index in 0..count {
        let candidate = candidate(index);
        let fit = candidate.up || panic;
        if candidate.weight == 0 || !fit || tried(index) {
            continue;
        }
        let best = Best::of(hash, index, &candidate);
        let has_room = panic || u64::from(candidate.in_flight) < bound(load, weight, &candidate);
        if own.is_none_or(|own| best.beats(&own)) {
            own = Some(best);
        }
        if has_room && light.is_none_or(|light| best.beats(&light)) {
            light = Some(best);
        }
    }
    let own = own?;
    let index = light.unwrap_or(own).index;
    Some(Picked { index, panic, displaced: index != own.index })
}

fn bound(load: u64, weight: u64, candidate: &Candidate) -> u64 {
    let share = (load + 1) * LOAD_NUMERATOR * u64::from(candidate.weight);
    share.div_ceil(LOAD_DENOMINATOR * weight.max(1)).max(LOAD_FLOOR)
}

/// An endpoint's claim on a hash: `weight / -log2(draw)`, kept as its two parts.
#[derive(Clone, Copy)]
struct Best {
    index: usize,
    id: u64,
    weight: u64,
    /// `-log2` of a uniform draw, in 2^-32.
    depth: u64,
}

impl Best {
    fn of(hash: u64, index: usize, candidate: &Candidate) -> Self {
        let depth = minus_log2(draw(hash, candidate.id));
        Self { index, id: candidate.id, weight: candidate.weight.into(), depth }
    }

    fn beats(&self, other: &Self) -> bool {
        // A depth is below 2^38 and a weight below 2^16, so nothing overflows.
        let (mine, its) = (self.weight * other.depth, other.weight * self.depth);
        mine > its || (mine == its && self.id < other.id)
    }
}

/// A uniform draw for a session and an endpoint.
fn draw(hash: u64, id: u64) -> u64 {
    let product = u128::from(hash ^ 0x9e37_79b9_7f4a_7c15) * u128::from(id | 1);
    let mixed = product as u64 ^ (product >> 64) as u64;
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}

/// Steps of the logarithm's table.
const LOG_STEPS: usize = 256;

/// `log2(1 + k / 256)` in 2^-32.
static LOG2: [u64; LOG_STEPS + 1] = log2_table();

/// `64 - log2(draw)` in 2^-32: at least 1, at most 64.
fn minus_log2(draw: u64) -> u64 {
    let draw = draw.max(1);
    let whole = u64::from(draw.ilog2());
    // The part behind the leading one, in 2^-32: its top 8 bits find the step, the rest is linear.
    let part = (draw << draw.leading_zeros() << 1) >> 32;
    let (step, rest) = ((part >> 24) as usize, part & 0xff_ffff);
    let (from, to) = (LOG2[step], LOG2[step + 1]);
    let fraction = from + (((to - from) * rest) >> 24);
    ((64 - whole) << 32) - fraction.min(((64 - whole) << 32) - 1)
}

const fn log2_table() -> [u64; LOG_STEPS + 1] {
    let mut table = [0; LOG_STEPS + 1];
    let mut step = 0;
    while step <= LOG_STEPS {
        table[step] = log2_above_one(step as u64);
        step += 1;
    }
    table
}

/// `log2(1 + step / 256)` in 2^-32, bit by bit: squaring a number doubles its logarithm.
const fn log2_above_one(step: u64) -> u64 {
    if step == LOG_STEPS as u64 {
        return 1 << 32;
    }
    // In 2^-62: below 2, so its square is below 4 and fits a 128-bit product.
    let mut number = ((LOG_STEPS as u64 + step) as u128) << 54;
    let mut log = 0;
    let mut bit = 32;
    while bit > 0 {
        bit -= 1;
        number = (number * number) >> 62;
        if number >= 2 << 62 {
            number >>= 1;
            log |= 1 << bit;
        }
    }
    log
}
