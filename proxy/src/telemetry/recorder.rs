//! What requests did, zone by zone: counts and a latency histogram of plain atomics. Not a
//! general metrics library on the request path, because those look labels up under a lock; here a
//! zone id is an index.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use homing_wire::{ServiceId, ZONES_MAX, ZoneId, limits::SERVICES_MAX};

/// Each doubling of latency has this many buckets, so a quantile is off by at most 6 %.
const SUB: u64 = 16;
const SUB_BITS: u32 = SUB.trailing_zeros();
/// Doublings from 16 µs up to about 19 hours; beyond is one bucket.
const BUCKETS: usize = SUB as usize * 33;

/// The classes that responses are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatusClass {
    /// 1xx.
    Informational,
    /// 2xx.
    Success,
    /// 3xx.
    Redirection,
    /// 4xx.
    ClientError,
    /// 5xx, and answers that never came.
    ServerError,
}

impl StatusClass {
    /// Every class, in order.
    pub const ALL: [Self; 5] = [
        Self::Informational,
        Self::Success,
        Self::Redirection,
        Self::ClientError,
        Self::ServerError,
    ];

    /// The class of a status; anything out of range is a failure.
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status {
            100..=199 => Self::Informational,
            200..=299 => Self::Success,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            _ => Self::ServerError,
        }
    }

    /// The label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
        }
    }
}

/// Counts of every zone.
#[derive(Debug)]
pub struct Recorder {
    zones: Box<[OnceLock<Box<ZoneCells>>]>,
    /// By service, then zone.
    drags: Box<[OnceLock<Box<[DragCells]>>]>,
}

/// What the answers of a service from one zone took beyond the way there, since last taken.
#[derive(Debug, Default)]
struct DragCells {
    answers: AtomicU64,
    us_sum: AtomicU64,
}

/// Counts of one zone since the start of the process.
#[derive(Debug)]
pub struct ZoneCells {
    requests: [AtomicU64; StatusClass::ALL.len()],
    bytes: AtomicU64,
    in_flight: AtomicU32,
    latency_us_sum: AtomicU64,
    latency: Box<[AtomicU64]>,
}

/// A reading of one zone's counts; the difference of two is what happened between.
#[derive(Clone, Debug, Default)]
pub struct ZoneReading {
    /// Requests answered, by [`StatusClass`].
    pub requests: [u64; StatusClass::ALL.len()],
    /// Response bytes.
    pub bytes: u64,
    /// Requests in flight at the time of reading.
    pub in_flight: u32,
    /// Sum of times to the response head, microseconds.
    pub latency_us_sum: u64,
    latency: Vec<u64>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            zones: (0..ZONES_MAX).map(|_| OnceLock::new()).collect(),
            drags: (0..SERVICES_MAX).map(|_| OnceLock::new()).collect(),
        }
    }
}

impl Recorder {
    /// A request was sent to a zone.
    pub fn started(&self, zone: ZoneId) {
        if let Some(cells) = self.cells(zone) {
            cells.in_flight.fetch_add(1, Relaxed);
        }
    }

    /// It was answered, or given up.
    pub fn finished(&self, zone: ZoneId, class: StatusClass, bytes: u64, latency_us: u64) {
        let Some(cells) = self.cells(zone) else { return };
        cells.in_flight.fetch_sub(1, Relaxed);
        cells.requests[class as usize].fetch_add(1, Relaxed);
        cells.bytes.fetch_add(bytes, Relaxed);
        cells.latency_us_sum.fetch_add(latency_us, Relaxed);
        cells.latency[bucket_of(latency_us)].fetch_add(1, Relaxed);
    }

    /// An answer of a service took so long beyond the way to its zone and back, microseconds.
    pub fn dragged(&self, service: ServiceId, zone: ZoneId, us: u64) {
        let Some(cells) = self.drags.get(service.index()) else { return };
        let cells = cells.get_or_init(|| (0..ZONES_MAX).map(|_| DragCells::default()).collect());
        if let Some(cell) = cells.get(zone.index()) {
            cell.answers.fetch_add(1, Relaxed);
            cell.us_sum.fetch_add(us, Relaxed);
        }
    }

    /// Takes what was told by [`Self::dragged`] since the last time: answers and their sum.
    pub fn take_drags(&self, mut told: impl FnMut(ServiceId, ZoneId, (u64, u64))) {
        for (service, cells) in self.drags.iter().enumerate() {
            for (zone, cell) in cells.get().into_iter().flatten().enumerate() {
                let answers = cell.answers.swap(0, Relaxed);
                if answers > 0 {
                    let us_sum = cell.us_sum.swap(0, Relaxed);
                    told(ServiceId(service as u16), ZoneId(zone as u8), (answers, us_sum));
                }
            }
        }
    }

    /// The counts of a zone as they are now; `None` if it has never had a request.
    #[must_use]
    pub fn read(&self, zone: ZoneId) -> Option<ZoneReading> {
        let cells = self.zones.get(zone.index())?.get()?;
        Some(ZoneReading {
            requests: std::array::from_fn(|class| cells.requests[class].load(Relaxed)),
            bytes: cells.bytes.load(Relaxed),
            in_flight: cells.in_flight.load(Relaxed),
            latency_us_sum: cells.latency_us_sum.load(Relaxed),
            latency: cells.latency.iter().map(|bucket| bucket.load(Relaxed)).collect(),
        })
    }

    /// Requests in flight in a zone now.
    #[must_use]
    pub fn in_flight(&self, zone: ZoneId) -> u32 {
        let cells = self.zones.get(zone.index()).and_then(OnceLock::get);
        cells.map_or(0, |cells| cells.in_flight.load(Relaxed))
    }

    fn cells(&self, zone: ZoneId) -> Option<&ZoneCells> {
        Some(self.zones.get(zone.index())?.get_or_init(Box::default))
    }
}

impl Default for ZoneCells {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            bytes: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            latency_us_sum: AtomicU64::new(0),
            latency: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl ZoneReading {
    /// What happened since an earlier reading; `in_flight` is that of the later one.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bucket: usize| earlier.latency.get(bucket).copied().unwrap_or(0);
        Self {
            requests: std::array::from_fn(|c| self.requests[c] - earlier.requests[c]),
            bytes: self.bytes - earlier.bytes,
            in_flight: self.in_flight,
            latency_us_sum: self.latency_us_sum - earlier.latency_us_sum,
            latency: self.latency.iter().enumerate().map(|(b, n)| n - before(b)).collect(),
        }
    }

    /// Requests answered, of every class.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.requests.iter().sum()
    }

    /// Failures of the zone.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.requests[StatusClass::ServerError as usize]
    }

    /// The latency that a share of the requests (0..=1) stayed at or below, microseconds; 0
    /// without requests.
    #[must_use]
    pub fn quantile_us(&self, share: f64) -> u64 {
        let total: u64 = self.latency.iter().sum();
        let rank = (share * total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.latency.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_us(bucket);
            }
        }
        0
    }

    /// How many requests took at most that long, microseconds; exact at powers of two.
    #[must_use]
    pub fn at_most(&self, us: u64) -> u64 {
        self.latency.iter().take(bucket_of(us + 1)).sum()
    }
}

/// Below [`SUB`] each value has its own bucket; above, [`SUB`] buckets a doubling.
fn bucket_of(us: u64) -> usize {
    let doubling = us.max(1).ilog2().saturating_sub(SUB_BITS);
    let bucket = u64::from(doubling) * SUB + (us >> doubling);
    (bucket as usize).min(BUCKETS - 1)
}

/// The highest value of a bucket.
fn upper_us(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * SUB {
        return bucket;
    }
    let doubling = bucket / SUB - 1;
    ((SUB + bucket % SUB + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_no_wider_than_a_sixteenth() {
        let mut last = 0;
        for us in 0..200_000_u64 {
            let bucket = bucket_of(us);
            assert!(bucket == last || bucket == last + 1, "{us}");
            last = bucket;
            assert!(upper_us(bucket) >= us && upper_us(bucket) - us <= us / 16, "{us}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_of_the_interval_between_two_readings() {
        let recorder = Recorder::default();
        let zone = ZoneId(3);
        let record = |us| {
            recorder.started(zone);
            recorder.finished(zone, StatusClass::Success, 10, us);
        };
        (0..100).for_each(|_| record(1_000_000));
        let before = recorder.read(zone).unwrap();
        (1..=100).for_each(|us| record(us * 100));
        let interval = recorder.read(zone).unwrap().since(&before);
        assert_eq!((interval.total(), interval.bytes, interval.in_flight), (100, 1_000, 0));
        assert!((4_900..5_400).contains(&interval.quantile_us(0.5)));
        assert!((9_800..10_600).contains(&interval.quantile_us(0.99)));
        assert!(recorder.read(ZoneId(4)).is_none());
    }

    #[test]
    fn drags_are_told_once_by_service_and_zone() {
        let recorder = Recorder::default();
        let taken = || {
            let mut taken = Vec::new();
            recorder.take_drags(|service, zone, told| taken.push((service.0, zone.0, told)));
            taken
        };
        assert!(taken().is_empty());
        recorder.dragged(ServiceId(1), ZoneId(2), 300);
        recorder.dragged(ServiceId(1), ZoneId(2), 500);
        recorder.dragged(ServiceId(0), ZoneId(1), 0);
        recorder.dragged(ServiceId(u16::MAX), ZoneId(1), 7);
        assert_eq!(taken(), [(0, 1, (1, 0)), (1, 2, (2, 800))]);
        assert!(taken().is_empty());
    }
}
