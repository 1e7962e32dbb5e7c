//! What a forest is to get right, as the slope that each row pulls along.

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss<'a> {
    /// The squared difference: forecasts the mean.
    Squared,
    /// The absolute difference: forecasts the median.
    Absolute,
    /// The pinball loss: forecasts this quantile, between 0 and 1.
    Quantile(f64),
    /// The log loss of targets 0 and 1: forecasts log odds.
    Logistic,
    /// The log loss of which row of a list wins; the lists' sizes, in the order of the rows. A
    /// list without a target of 1 teaches nothing. With a row for every class it is a softmax.
    Listwise(&'a [u32]),
}

/// First and second derivative of the loss at a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slope {
    pub(super) first: f32,
    pub(super) second: f32,
}

impl Loss<'_> {
    pub(super) fn fits(self, rows: usize) -> bool {
        match self {
            Self::Listwise(sizes) => sizes.iter().map(|size| *size as usize).sum::<usize>() == rows,
            _ => true,
        }
    }

    /// The score before the first tree.
    pub(super) fn start(self, target: &[f32]) -> f64 {
        let mean = target.iter().map(|y| f64::from(*y)).sum::<f64>() / target.len() as f64;
        match self {
            Self::Squared => mean,
            Self::Absolute | Self::Quantile(_) => {
                let rows: Vec<u32> = (0..target.len() as u32).collect();
                self.leaf(target, &vec![0.0; target.len()], &rows).unwrap_or(mean)
            }
            Self::Logistic => {
                let share = mean.clamp(1e-6, 1.0 - 1e-6);
                (share / (1.0 - share)).ln()
            }
            Self::Listwise(_) => 0.0,
        }
    }

    pub(super) fn slopes(self, target: &[f32], scores: &[f64], slopes: &mut [Slope]) {
        if let Self::Listwise(sizes) = self {
            return listwise(sizes, target, scores, slopes);
        }
        for ((slope, y), score) in slopes.iter_mut().zip(target).zip(scores) {
            let y = f64::from(*y);
            let (first, second) = match self {
                Self::Squared => (score - y, 1.0),
                Self::Absolute => (if *score > y { 0.5 } else { -0.5 }, 1.0),
                Self::Quantile(level) => (if *score > y { 1.0 - level } else { -level }, 1.0),
                Self::Logistic | Self::Listwise(_) => {
                    let p = sigmoid(*score);
                    (p - y, (p * (1.0 - p)).max(1e-9))
                }
            };
            *slope = Slope { first: first as f32, second: second as f32 };
        }
    }

    /// The value of a leaf, where the slopes do not tell it: a quantile of what is left over.
    pub(super) fn leaf(self, target: &[f32], scores: &[f64], rows: &[u32]) -> Option<f64> {
        let level = match self {
            Self::Absolute => 0.5,
            Self::Quantile(level) => level.clamp(0.0, 1.0),
            _ => return None,
        };
        let mut left: Vec<f64> = rows
            .iter()
            .map(|row| f64::from(target[*row as usize]) - scores[*row as usize])
            .collect();
        let at = (level * left.len().checked_sub(1)? as f64).round() as usize;
        Some(*left.select_nth_unstable_by(at, f64::total_cmp).1)
    }
}

fn listwise(sizes: &[u32], target: &[f32], scores: &[f64], slopes: &mut [Slope]) {
    let mut from = 0;
    for size in sizes {
        let to = from + *size as usize;
        let list = &scores[from..to];
        let won = target[from..to].iter().any(|y| *y > 0.5);
        let top = list.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = list.iter().map(|score| (score - top).exp()).sum();
        for at in from..to {
            let p = (scores[at] - top).exp() / sum;
            slopes[at] = if won {
                let first = p - f64::from(target[at]);
                Slope { first: first as f32, second: (p * (1.0 - p)).max(1e-9) as f32 }
            } else {
                Slope::default()
            };
        }
        from = to;
    }
}

pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
