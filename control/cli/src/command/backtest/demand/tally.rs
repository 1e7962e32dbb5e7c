//! How good the forecasts of a series were, by the measures of the M competitions.

use homing_forecast::demand::Outlook;

use super::Series;

/// The scores of one series.
pub(super) struct Tally<'a> {
    pub(super) name: String,
    values: &'a [f64],
    /// Mean error of the seasonal naive forecast before the first origin.
    scale: f64,
    count: f64,
    error: f64,
    covered: [f64; 2],
    interval: f64,
}

impl<'a> Tally<'a> {
    pub(super) fn new(series: &'a Series, season: usize, first_origin: usize) -> Self {
        let past = &series.values[..series.values.len().min(first_origin + 1)];
        let steps = past.iter().zip(past.iter().skip(season)).map(|(a, b)| (a - b).abs());
        let (sum, count) = steps.fold((0.0, 0.0), |(sum, count), step| (sum + step, count + 1.0));
        let scale = if sum > 0.0 { sum / count } else { 1.0 };
        let name = series.name.clone();
        let (count, error, covered, interval) = (0.0, 0.0, [0.0; 2], 0.0);
        Self { name, values: &series.values, scale, count, error, covered, interval }
    }

    pub(super) fn score(&mut self, index: usize, outlook: &Outlook) {
        let Some(truth) = self.values.get(index).copied() else { return };
        self.count += 1.0;
        self.error += (truth - outlook.mean).abs();
        for (covered, (low, high)) in self.covered.iter_mut().zip([outlook.band80, outlook.band95])
        {
            *covered += f64::from(u8::from(low <= truth && truth <= high));
        }
        let (low, high) = outlook.band95;
        self.interval += high - low + 40.0 * ((low - truth).max(0.0) + (truth - high).max(0.0));
    }

    /// Mean absolute scaled error (Hyndman and Koehler 2006), the shares of truths within the 80
    /// and the 95 % band, and the mean scaled interval score of the latter (M4 competition).
    pub(super) fn figures(&self) -> [f64; 4] {
        let count = self.count.max(1.0);
        let [inner, outer] = self.covered.map(|covered| covered / count);
        [self.error / count / self.scale, inner, outer, self.interval / count / self.scale]
    }
}
