//! Features as bytes: which of at most 255 ranges a value falls into.

/// Cuts of a column, at most; with the bin of the missing they make 255 bins.
const CUTS: usize = 253;
/// Values looked at to place the cuts: more would not move them.
const SAMPLE: usize = 50_000;
/// Bins of a histogram.
pub(super) const BINS: usize = CUTS + 2;

/// Columns as bins: 0 is missing, the others rise with the value.
pub(super) struct Binned {
    pub(super) columns: Vec<Vec<u8>>,
    cuts: Vec<Vec<f32>>,
}

impl Binned {
    pub(super) fn of(columns: &[Vec<f32>]) -> Self {
        let cuts: Vec<Vec<f32>> = columns.iter().map(|column| cuts(column)).collect();
        let binned = columns
            .iter()
            .zip(&cuts)
            .map(|(column, cuts)| column.iter().map(|value| bin(cuts, *value)).collect())
            .collect();
        Self { columns: binned, cuts }
    }

    /// The largest value that falls into `bin` or one below it.
    pub(super) fn cut(&self, column: usize, bin: usize) -> f32 {
        // Below the first bin there is only the missing.
        match bin {
            0 => f32::NEG_INFINITY,
            _ => self.cuts[column].get(bin - 1).copied().unwrap_or(f32::INFINITY),
        }
    }

    /// How many bins a column has.
    pub(super) fn bins(&self, column: usize) -> usize {
        self.cuts[column].len() + 2
    }
}

fn bin(cuts: &[f32], value: f32) -> u8 {
    if value.is_finite() { 1 + cuts.partition_point(|cut| *cut < value) as u8 } else { 0 }
}

fn cuts(column: &[f32]) -> Vec<f32> {
    let stride = column.len().div_ceil(SAMPLE).max(1);
    let mut sample: Vec<f32> =
        column.iter().copied().step_by(stride).filter(|value| value.is_finite()).collect();
    sample.sort_by(f32::total_cmp);
    let mut distinct = sample.clone();
    distinct.dedup();
    if distinct.len() <= CUTS + 1 {
        // Halfway between neighbours, so that values not in the sample fall to the nearer one.
        return distinct.windows(2).map(|pair| pair[0] / 2.0 + pair[1] / 2.0).collect();
    }
    let mut cuts: Vec<f32> =
        (1..=CUTS).map(|at| sample[at * (sample.len() - 1) / (CUTS + 1)]).collect();
    cuts.dedup();
    cuts
}
