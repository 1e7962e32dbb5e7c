//! All the experts of one series, in one order, so that nobody else needs to know what each is.

use super::{
    Event, Expert, Shape, arima::Arima, curve::Curve, expert::Profile, grove::Grove, lags::Space,
    past::Past, recurrent::Recurrent, ridge::Ridge, smoothing::Smoothing,
};

/// How many there are.
pub(super) const EXPERTS: usize = Expert::ALL.len() + NAMES.len();
/// Those that are fitted, after the simple ones.
const NAMES: [&str; 9] = [
    "exponential smoothing",
    "ARIMA",
    "trend, seasons, events",
    "log regression, 7 seasons",
    "log regression, 40 seasons",
    "regression, 21 seasons",
    "boosted trees",
    "random forest",
    "LSTM",
];
/// The kinds of regression, with their half-lives in seasons.
const RIDGES: [(Space, f64); 3] = [(Space::Log, 7.0), (Space::Log, 40.0), (Space::Level, 21.0)];

/// The experts of one series.
#[derive(Clone, Debug)]
pub(super) struct Crew {
    profile: Profile,
    smoothing: Smoothing,
    arima: Arima,
    curve: Curve,
    ridges: Vec<Ridge>,
    grove: Grove,
    pub(super) recurrent: Recurrent,
}

impl Crew {
    pub(super) fn new(shape: Shape) -> Self {
        let day = (shape.season as f64).max(24.0);
        Self {
            profile: Profile::new(shape),
            smoothing: Smoothing::new(shape),
            arima: Arima::new(shape),
            curve: Curve::new(shape),
            ridges: RIDGES.map(|(space, seasons)| Ridge::new(shape, space, seasons * day)).into(),
            grove: Grove::new(shape),
            recurrent: Recurrent::new(),
        }
    }

    /// Their names, in the order in which they speak.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        Expert::ALL.iter().map(|expert| expert.name()).chain(NAMES)
    }

    /// Takes in the past's last value.
    pub(super) fn observe(&mut self, past: &Past) {
        self.profile.observe(past);
        self.smoothing.observe(past);
        self.arima.observe(past);
        self.curve.observe();
        for ridge in &mut self.ridges {
            ridge.observe(past);
        }
        self.grove.observe();
        self.recurrent.observe(past);
    }

    /// Takes note of a new event.
    pub(super) fn announce(&mut self) {
        self.curve.refit();
    }

    /// What each says of each step.
    pub(super) fn ahead(&mut self, past: &Past, events: &[Event]) -> Vec<Vec<f64>> {
        let simple = Expert::ALL.iter().map(|expert| expert.ahead(past, &self.profile));
        let mut said: Vec<Vec<f64>> = simple.collect();
        said.push(self.smoothing.ahead(past));
        said.push(self.arima.ahead(past));
        said.push(self.curve.ahead(past, events));
        said.extend(self.ridges.iter_mut().map(|ridge| ridge.ahead(past)));
        said.extend(self.grove.ahead(past));
        said.push(self.recurrent.ahead(past));
        said
    }
}
