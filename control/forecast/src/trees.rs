//! Gradient-boosted trees over histograms of features.
//!
//! Features are binned once to a byte each, a tree grows leaf by leaf where the gain is largest,
//! each tree mends what the ones before it left. A missing feature is `NaN` (or infinite) and
//! always goes left, in training as in use. Nothing is drawn at random but the columns a tree may
//! look at, from a seed, so that the same rows always give the same forest.

use std::fmt;

mod bins;
mod grow;
mod loss;

pub use loss::Loss;

use bins::Binned;
use grow::Grower;

/// How a forest is grown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Trees.
    pub rounds: usize,
    /// What share of each tree's mending is applied.
    pub rate: f64,
    /// Leaves of a tree, at most.
    pub leaves: usize,
    /// Rows in a leaf, at least.
    pub min_leaf: usize,
    /// Added to the curvature of a leaf: pulls small leaves to 0.
    pub lambda: f64,
    /// Share of the columns that one tree may look at, 0 to 1.
    pub columns: f64,
    /// What the columns are drawn from.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rounds: 100,
            rate: 0.1,
            leaves: 31,
            min_leaf: 20,
            lambda: 1.0,
            columns: 1.0,
            seed: 0,
        }
    }
}

/// Why a forest cannot be grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// There is no row or no column.
    Empty,
    /// A column, the target or the sizes of the lists tell another number of rows.
    Lengths,
    /// A target is not a finite number.
    Target,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "there is nothing to learn from",
            Self::Lengths => "columns, targets and lists differ in their number of rows",
            Self::Target => "a target is not a finite number",
        })
    }
}

impl std::error::Error for Unfit {}

/// Trees whose answers add up.
#[derive(Clone, Debug, PartialEq)]
pub struct Forest {
    start: f64,
    trees: Vec<Tree>,
}

#[derive(Clone, Debug, PartialEq)]
struct Tree {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Node {
    Leaf(f64),
    /// At most `cut`, or missing, goes to `left`.
    Split {
        column: usize,
        cut: f32,
        left: usize,
        right: usize,
    },
}

impl Forest {
    /// Grows a forest: `columns` hold the features, one value a row each.
    ///
    /// # Errors
    /// If there are no rows, lengths differ, or a target is not finite.
    pub fn fit(
        columns: &[Vec<f32>],
        target: &[f32],
        loss: Loss<'_>,
        settings: &Settings,
    ) -> Result<Self, Unfit> {
        let rows = Self::fits(columns, target, loss)?;
        let binned = Binned::of(columns);
        let start = loss.start(target);
        let mut scores = vec![start; rows];
        let mut slopes = vec![loss::Slope::default(); rows];
        let mut trees = Vec::with_capacity(settings.rounds);
        for round in 0..settings.rounds {
            loss.slopes(target, &scores, &mut slopes);
            let open = drawn(columns.len(), settings, round as u64);
            let all = (0..rows as u32).collect();
            let mut grown = Grower::new(&binned, &slopes, open, settings).grow(all);
            for leaf in &mut grown.leaves {
                let value = match loss.leaf(target, &scores, &leaf.rows) {
                    Some(value) => value,
                    None => leaf.newton(settings.lambda),
                } * settings.rate;
                grown.tree.nodes[leaf.node] = Node::Leaf(value);
                for &row in &leaf.rows {
                    scores[row as usize] += value;
                }
            }
            trees.push(grown.tree);
        }
        Ok(Self { start, trees })
    }

    /// Grows a random forest: each tree from a draw of `share` of the rows and of the columns, by
    /// squared differences, none mending another; their mean is the answer. A leaf holds the mean
    /// of its targets, or the quantile that the loss asks for. `settings.rate` has no part in it.
    ///
    /// # Errors
    /// As [`Forest::fit`].
    pub fn bagged(
        columns: &[Vec<f32>],
        target: &[f32],
        loss: Loss<'_>,
        settings: &Settings,
        share: f64,
    ) -> Result<Self, Unfit> {
        let rows = Self::fits(columns, target, loss)?;
        let binned = Binned::of(columns);
        let start = target.iter().map(|y| f64::from(*y)).sum::<f64>() / rows as f64;
        let scores = vec![start; rows];
        let mut slopes = vec![loss::Slope::default(); rows];
        Loss::Squared.slopes(target, &scores, &mut slopes);
        let mut trees = Vec::with_capacity(settings.rounds);
        for round in 0..settings.rounds {
            let open = drawn(columns.len(), settings, round as u64);
            let mut state = settings.seed ^ (round as u64).wrapping_mul(0xD1B5_4A32_D192_ED03);
            let some = (0..rows as u32)
                .filter(|_| ((mixed(&mut state) >> 11) as f64) < share * 2_f64.powi(53))
                .collect();
            let mut grown = Grower::new(&binned, &slopes, open, settings).grow(some);
            for leaf in &grown.leaves {
                let value = match loss.leaf(target, &scores, &leaf.rows) {
                    Some(value) => value,
                    None => leaf.newton(settings.lambda),
                };
                grown.tree.nodes[leaf.node] = Node::Leaf(value / settings.rounds as f64);
            }
            trees.push(grown.tree);
        }
        Ok(Self { start, trees })
    }

    /// How many rows there are, if they can be grown from.
    fn fits(columns: &[Vec<f32>], target: &[f32], loss: Loss<'_>) -> Result<usize, Unfit> {
        if columns.is_empty() || target.is_empty() {
            return Err(Unfit::Empty);
        }
        let rows = target.len();
        if columns.iter().any(|column| column.len() != rows) || !loss.fits(rows) {
            return Err(Unfit::Lengths);
        }
        if target.iter().any(|value| !value.is_finite()) {
            return Err(Unfit::Target);
        }
        Ok(rows)
    }

    /// The sum of the trees for one row: the expected value, the log odds (`Loss::Logistic`) or
    /// the score within its list (`Loss::Listwise`).
    #[must_use]
    pub fn score(&self, row: &[f32]) -> f64 {
        self.start + self.trees.iter().map(|tree| tree.value(row)).sum::<f64>()
    }

    /// The score as a probability, for `Loss::Logistic`.
    #[must_use]
    pub fn probability(&self, row: &[f32]) -> f64 {
        loss::sigmoid(self.score(row))
    }
}

impl Tree {
    fn value(&self, row: &[f32]) -> f64 {
        let mut at = 0;
        loop {
            match self.nodes[at] {
                Node::Leaf(value) => return value,
                Node::Split { column, cut, left, right } => {
                    // A row too short lacks the column: missing.
                    let value = row.get(column).copied().unwrap_or(f32::NAN);
                    at = if !value.is_finite() || value <= cut { left } else { right };
                }
            }
        }
    }
}

/// The columns that the tree of `round` may look at; always one at least.
fn drawn(columns: usize, settings: &Settings, round: u64) -> Vec<usize> {
    let wanted = (columns as f64 * settings.columns).ceil().clamp(1.0, columns as f64) as usize;
    let mut all: Vec<usize> = (0..columns).collect();
    let mut state = settings.seed ^ round.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for at in 0..wanted {
        let other = at + (mixed(&mut state) % (columns - at) as u64) as usize;
        all.swap(at, other);
    }
    all.truncate(wanted);
    all.sort_unstable();
    all
}

/// The next number of splitmix64.
fn mixed(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut x = *state;
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> (Vec<Vec<f32>>, Vec<f32>) {
        let rows = 2000;
        let a: Vec<f32> = (0..rows).map(|i| (i % 50) as f32 / 50.0).collect();
        let b: Vec<f32> = (0..rows).map(|i| (i / 50) as f32 / 40.0).collect();
        let y = a.iter().zip(&b).map(|(a, b)| (a * 6.0).sin() + f32::from(*b > 0.5)).collect();
        (vec![a, b], y)
    }

    #[test]
    fn trees_learn_a_known_function() {
        let (columns, target) = grid();
        for loss in [Loss::Squared, Loss::Absolute, Loss::Quantile(0.5)] {
            let settings = Settings { rounds: 200, ..Settings::default() };
            let forest = Forest::fit(&columns, &target, loss, &settings).unwrap();
            let wrong: f64 = (0..target.len())
                .map(|i| {
                    let score = forest.score(&[columns[0][i], columns[1][i]]);
                    (score - f64::from(target[i])).abs()
                })
                .sum::<f64>()
                / target.len() as f64;
            assert!(wrong < 0.05, "{loss:?}: {wrong}");
        }
    }

    #[test]
    fn a_random_forest_learns_it_too() {
        let (columns, target) = grid();
        let settings = Settings { rounds: 40, leaves: 200, min_leaf: 2, ..Settings::default() };
        let forest = Forest::bagged(&columns, &target, Loss::Absolute, &settings, 0.6).unwrap();
        let wrong: f64 = (0..target.len())
            .map(|i| forest.score(&[columns[0][i], columns[1][i]]) - f64::from(target[i]))
            .map(f64::abs)
            .sum::<f64>()
            / target.len() as f64;
        assert!(wrong < 0.05, "{wrong}");
        let again = Forest::bagged(&columns, &target, Loss::Absolute, &settings, 0.6).unwrap();
        assert_eq!(forest, again);
        let none: [f32; 0] = [];
        let refused = Forest::bagged(&columns, &none, Loss::Squared, &settings, 0.6).err();
        assert_eq!(refused, Some(Unfit::Empty));
    }

    #[test]
    fn log_odds_become_probabilities() {
        let column: Vec<f32> = (0..1000).map(|i| (i % 2) as f32).collect();
        let target: Vec<f32> = (0..1000)
            .map(|i| f32::from(if i % 2 == 0 { i % 10 < 2 } else { i % 10 < 8 }))
            .collect();
        let forest = Forest::fit(&[column], &target, Loss::Logistic, &Settings::default()).unwrap();
        assert!((forest.probability(&[0.0]) - 0.2).abs() < 0.02);
        assert!((forest.probability(&[1.0]) - 0.8).abs() < 0.02);
    }

    #[test]
    fn a_list_is_won_by_the_larger() {
        let mut state = 1;
        let column: Vec<f32> = (0..900).map(|_| (mixed(&mut state) % 100) as f32).collect();
        let sizes = vec![3_u32; 300];
        let target: Vec<f32> = (0..900)
            .map(|i| {
                let list = &column[i / 3 * 3..i / 3 * 3 + 3];
                f32::from(list.iter().all(|x| *x <= column[i]))
            })
            .collect();
        let loss = Loss::Listwise(&sizes);
        let forest = Forest::fit(&[column], &target, loss, &Settings::default()).unwrap();
        assert!(forest.score(&[90.0]) > forest.score(&[50.0]));
        assert!(forest.score(&[50.0]) > forest.score(&[25.0]));
    }

    #[test]
    fn missing_features_go_left_and_bad_targets_are_refused() {
        let column = vec![f32::NAN, f32::NAN, 1.0, 1.0];
        let settings = Settings { min_leaf: 1, lambda: 0.0, rate: 1.0, ..Settings::default() };
        let target = [0.0, 0.0, 4.0, 4.0];
        let forest = Forest::fit(&[column], &target, Loss::Squared, &settings).unwrap();
        assert!((forest.score(&[f32::NAN])).abs() < 1e-6);
        assert!((forest.score(&[]) - forest.score(&[f32::INFINITY])).abs() < 1e-12);
        assert!((forest.score(&[1.0]) - 4.0).abs() < 1e-6);
        let fit = |y: &[f32]| Forest::fit(&[vec![1.0]], y, Loss::Squared, &settings).err();
        assert_eq!(fit(&[f32::NAN]), Some(Unfit::Target));
        assert_eq!(fit(&[]), Some(Unfit::Empty));
        assert_eq!(fit(&[1.0, 2.0]), Some(Unfit::Lengths));
        assert_eq!(fit(&[1.0]), None);
    }

    #[test]
    fn the_same_seed_gives_the_same_forest() {
        let (columns, target) = grid();
        let settings = Settings { rounds: 5, columns: 0.5, seed: 7, ..Settings::default() };
        let fit = || Forest::fit(&columns, &target, Loss::Squared, &settings).unwrap();
        assert_eq!(fit(), fit());
    }
}
