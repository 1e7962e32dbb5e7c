//! Foresight: what was observed in each step becomes history and the next forecasts, on a thread of
//! its own. Nothing waits for it, and what it has made is read from a shared view.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, mpsc},
};

use homing_forecast::{
    anomaly::{Detector, Verdict, Witness},
    demand::{Coverage, Forecaster, Outlook, Shape},
};

use tokio::sync::watch;

use crate::{
    history::{HOUR_MS, History, HistoryFault},
    shared::Shared,
};

/// Series that are forecast; of more, those known first are.
pub const SERIES_MAX: usize = 128;
/// Steps ahead, and hours ahead.
pub const STEPS_AHEAD: usize = 30;
/// See [`STEPS_AHEAD`].
pub const HOURS_AHEAD: usize = 48;
/// Steps of the past that a new process learns from.
const STEPS_LEARNT: u64 = 4_320;
/// Hours of it.
const HOURS_LEARNT: u64 = 1_000;
/// Of those, how many at the end are forecast anew, so that weights and bands are of this series.
const SCORED: usize = 60;
/// Values of the past that are shown beside a forecast.
const RECENT: usize = 60;
/// Anomalies that are kept, the latest.
pub const ANOMALIES_KEPT: usize = 1_000;
/// Between the parts of a series' name in the history; no name has it.
const PART: char = '\u{1f}';

/// What a series measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Requests answered a second.
    Requests,
    /// Bytes sent to clients a second.
    Bandwidth,
    /// Sessions that live there.
    Sessions,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Requests, Self::Bandwidth, Self::Sessions];

    /// The word in the API and in the history.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Bandwidth => "bandwidth",
            Self::Sessions => "sessions",
        }
    }

    /// The unit of its values.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Requests => "requests/s",
            Self::Bandwidth => "bytes/s",
            Self::Sessions => "sessions",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.name() == name)
    }
}

/// A series: a resource of a zone, of all services or of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// The zone's name.
    pub zone: String,
    /// The service's name; `None` for all.
    pub service: Option<String>,
    /// What is measured.
    pub resource: Resource,
}

impl Series {
    fn key(&self) -> String {
        let service = self.service.as_deref().unwrap_or_default();
        format!("{}{PART}{service}{PART}{}", self.zone, self.resource.name())
    }

    fn read(key: &str) -> Option<Self> {
        let mut parts = key.split(PART);
        let zone = parts.next()?.to_owned();
        let service = Some(parts.next()?.to_owned()).filter(|service| !service.is_empty());
        Some(Self { zone, service, resource: Resource::named(parts.next()?)? })
    }
}

/// What was observed in one step.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// Steps since the Unix epoch.
    pub step: u64,
    /// By series. A series that is not in it had nothing.
    pub values: BTreeMap<Series, f64>,
}

/// What is foreseen.
#[derive(Clone, Debug, Default)]
pub struct Foresight {
    /// Milliseconds of a step.
    pub step_ms: u64,
    /// By series.
    pub series: BTreeMap<Series, Foreseen>,
    /// Series that are too many to be forecast.
    pub left_out: usize,
    /// What was unusual, oldest first.
    pub anomalies: VecDeque<Anomaly>,
}

/// A step of a series that was unusual, with the evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Anomaly {
    /// Counts them from 1 in one life of control.
    pub seq: u64,
    /// The series.
    pub series: Series,
    /// When its step began, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What the detector thinks.
    pub verdict: Verdict,
}

/// The word for a witness.
#[must_use]
pub fn witness_name(witness: Witness) -> &'static str {
    match witness {
        Witness::Spike => "spike",
        Witness::Level => "level",
        Witness::Shape => "shape",
        Witness::Daily => "time of day",
    }
}

/// What is foreseen of one series.
#[derive(Clone, Debug)]
pub struct Foreseen {
    /// When the last observed step ended, milliseconds since the Unix epoch.
    pub observed_ms: u64,
    /// Steps that were observed.
    pub observations: usize,
    /// The last steps, oldest first.
    pub recent: Vec<f64>,
    /// The steps to come.
    pub steps: Ahead,
    /// The hours to come; `None` before the first whole hour.
    pub hours: Option<Ahead>,
}

/// A forecast with what it rests on.
#[derive(Clone, Debug)]
pub struct Ahead {
    /// Milliseconds of one value.
    pub step_ms: u64,
    /// When the first value begins, milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// The values.
    pub outlooks: Vec<Outlook>,
    /// Which expert has which share in the first value.
    pub weights: Vec<(&'static str, f64)>,
    /// How often the bands held of late.
    pub coverage: [Coverage; 2],
}

/// One series at work.
struct Watched {
    steps: Forecaster,
    hours: Forecaster,
    /// The hour under way: which, sum and count of its steps.
    hour: (u64, f64, u64),
    next_step: u64,
    recent: Vec<f64>,
    detector: Detector,
}

impl Watched {
    fn new(step_ms: u64) -> Self {
        let season = (24 * HOUR_MS / step_ms) as usize;
        Self {
            steps: Forecaster::new(Shape { season, horizon: STEPS_AHEAD }),
            hours: Forecaster::new(Shape { season: 24, horizon: HOURS_AHEAD }),
            hour: (0, 0.0, 0),
            next_step: 0,
            recent: Vec::new(),
            detector: Detector::new(),
        }
    }

    /// Learns from what a process before this one has written.
    fn learn(
        history: &History,
        key: &str,
        step_ms: u64,
        now: u64,
        stop: &watch::Receiver<bool>,
    ) -> Result<Self, HistoryFault> {
        let mut watched = Self::new(step_ms);
        let this_hour = now * step_ms / HOUR_MS;
        let hours = history.hours(key, this_hour.saturating_sub(HOURS_LEARNT))?;
        let count = hours.len();
        let mut next = hours.first().map_or(0, |hour| hour.hour);
        for (at, hour) in hours.into_iter().enumerate().filter(|(_, hour)| hour.hour < this_hour) {
            for _ in next..hour.hour {
                watched.hours.observe(f64::NAN);
            }
            if *stop.borrow() {
                return Ok(watched);
            }
            watched.hours.observe(hour.mean);
            next = hour.hour + 1;
            if at + SCORED > count {
                watched.hours.forecast();
            }
        }
        let steps = history.steps(key, now.saturating_sub(STEPS_LEARNT))?;
        let count = steps.len();
        for (at, (step, value)) in steps.into_iter().enumerate() {
            if *stop.borrow() {
                return Ok(watched);
            }
            // What was unusual then was told by the process before.
            let _ = watched.take(step, value, step_ms);
            if at + SCORED > count {
                watched.steps.forecast();
            }
        }
        Ok(watched)
    }

    /// Takes a step in; those between it and the last are gaps. How unusual it is.
    fn take(&mut self, step: u64, value: f64, step_ms: u64) -> Verdict {
        if self.next_step > 0 {
            for _ in self.next_step..step.min(self.next_step + STEPS_LEARNT) {
                self.steps.observe(f64::NAN);
            }
        }
        self.steps.observe(value);
        self.next_step = step + 1;
        if self.recent.len() == RECENT {
            self.recent.remove(0);
        }
        self.recent.push(value);
        let hour = step * step_ms / HOUR_MS;
        self.hour = match self.hour {
            (at, sum, count) if at == hour => (at, sum + value, count + 1),
            _ => (hour, value, 1),
        };
        self.detector.observe((step * step_ms / 1_000) as i64, value)
    }

    /// The hour that ends before this step, if one does.
    fn close_hour(&mut self, step: u64, step_ms: u64) {
        let (hour, sum, count) = self.hour;
        if count > 0 && step * step_ms / HOUR_MS > hour {
            self.hours.observe(sum / count as f64);
            self.hour = (hour, 0.0, 0);
        }
    }

    fn foresee(&mut self, step_ms: u64) -> Foreseen {
        let observed_ms = self.next_step * step_ms;
        let ahead = |forecaster: &mut Forecaster, step_ms, from_ms| Ahead {
            step_ms,
            from_ms,
            outlooks: forecaster.forecast(),
            weights: forecaster.weights(0),
            coverage: forecaster.coverage(),
        };
        let hours = (!self.hours.is_empty()).then(|| {
            let from_ms = observed_ms / HOUR_MS * HOUR_MS;
            ahead(&mut self.hours, HOUR_MS, from_ms)
        });
        Foreseen {
            observed_ms,
            observations: self.steps.len(),
            recent: self.recent.clone(),
            steps: ahead(&mut self.steps, step_ms, observed_ms),
            hours,
        }
    }
}

/// Watches until there is nobody to tell it anything. A history that cannot be written is told of
/// and done without: forecasts then begin anew with the next process.
pub fn watch(
    shared: &Arc<Shared>,
    mut history: History,
    step_ms: u64,
    now_ms: u64,
    (told, stop): (&mpsc::Receiver<Observation>, &watch::Receiver<bool>),
) {
    let mut watched = match learn(&history, step_ms, now_ms / step_ms, stop) {
        Ok(watched) => watched,
        Err(fault) => {
            tracing::error!(%fault, "forecasts begin anew");
            BTreeMap::new()
        }
    };
    let (mut anomalies, mut seq) = (VecDeque::new(), 0);
    while let Ok(Observation { step, values }) = told.recv() {
        let keyed: Vec<(String, f64)> =
            values.iter().map(|(series, value)| (series.key(), *value)).collect();
        let rows = keyed.iter().map(|(key, value)| (key.as_str(), *value));
        if let Err(fault) = history.append(step, rows) {
            tracing::error!(%fault, "what was observed is not kept");
        }
        let mut left_out = 0;
        for series in values.keys() {
            if watched.contains_key(series) {
                continue;
            }
            if watched.len() < SERIES_MAX {
                watched.insert(series.clone(), Watched::new(step_ms));
            } else {
                left_out += 1;
            }
        }
        for (series, known) in &mut watched {
            known.close_hour(step, step_ms);
            let value = values.get(series).copied().unwrap_or(0.0);
            let verdict = known.take(step, value, step_ms);
            if verdict.is_alarm() {
                seq += 1;
                let (series, at_ms) = (series.clone(), step * step_ms);
                tracing::warn!(
                    zone = series.zone,
                    service = series.service,
                    resource = series.resource.name(),
                    observed = verdict.observed,
                    expected = verdict.expected,
                    "unusual"
                );
                shared.metrics.anomalies.add(1);
                anomalies.push_back(Anomaly { seq, series, at_ms, verdict });
            }
        }
        while anomalies.len() > ANOMALIES_KEPT {
            anomalies.pop_front();
        }
        // Whoever stops control does not wait for forecasts that nobody will read.
        let series = watched
            .iter_mut()
            .take_while(|_| !*stop.borrow())
            .map(|(series, known)| (series.clone(), known.foresee(step_ms)))
            .collect();
        *shared.foresight.write() =
            Arc::new(Foresight { step_ms, series, left_out, anomalies: anomalies.clone() });
    }
}

fn learn(
    history: &History,
    step_ms: u64,
    now: u64,
    stop: &watch::Receiver<bool>,
) -> Result<BTreeMap<Series, Watched>, HistoryFault> {
    let mut watched = BTreeMap::new();
    for key in history.series()? {
        let Some(series) = Series::read(&key) else { continue };
        if watched.len() < SERIES_MAX && !*stop.borrow() {
            watched.insert(series, Watched::learn(history, &key, step_ms, now, stop)?);
        }
    }
    Ok(watched)
}
