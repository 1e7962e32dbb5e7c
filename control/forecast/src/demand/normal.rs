//! Least squares by normal equations that forget, solved by Cholesky.

/// The products of `N` regressors with each other and with the target.
#[derive(Clone, Debug)]
pub(super) struct Normal<const N: usize> {
    /// The lower triangle of the regressors' products, row by row.
    products: Vec<f64>,
    targets: [f64; N],
    /// Rows, each counting as much as it is not forgotten.
    pub(super) rows: f64,
}

impl<const N: usize> Normal<N> {
    pub(super) fn new() -> Self {
        Self { products: vec![0.0; N * (N + 1) / 2], targets: [0.0; N], rows: 0.0 }
    }

    /// Takes in a row that counts `weight`; what was before counts `keep` of what it did.
    pub(super) fn learn(&mut self, x: &[f64; N], target: f64, weight: f64, keep: f64) {
        let mut cell = 0;
        for (row, left) in x.iter().enumerate() {
            let scaled = weight * left;
            for right in &x[..=row] {
                self.products[cell] = keep * self.products[cell] + scaled * right;
                cell += 1;
            }
            self.targets[row] = keep * self.targets[row] + scaled * target;
        }
        self.rows = keep * self.rows + 1.0;
    }

    /// The coefficients, each held at zero as its penalty asks, relative to the regressors' mean
    /// size; none if the equations cannot be solved.
    pub(super) fn solve(&self, penalty: &[f64; N]) -> Option<[f64; N]> {
        let at = |row: usize, column: usize| row * (row + 1) / 2 + column;
        let size = (0..N).map(|i| self.products[at(i, i)]).sum::<f64>() / N as f64;
        let mut root = self.products.clone();
        for row in 0..N {
            for column in 0..=row {
                let mut sum = self.products[at(row, column)];
                if row == column {
                    sum += penalty[row] * size + 1e-9;
                }
                for k in 0..column {
                    sum -= root[at(row, k)] * root[at(column, k)];
                }
                if row == column {
                    if sum <= 0.0 || !sum.is_finite() {
                        return None;
                    }
                    root[at(row, row)] = sum.sqrt();
                } else {
                    root[at(row, column)] = sum / root[at(column, column)];
                }
            }
        }
        let mut solved = self.targets;
        for row in 0..N {
            for k in 0..row {
                solved[row] -= root[at(row, k)] * solved[k];
            }
            solved[row] /= root[at(row, row)];
        }
        for row in (0..N).rev() {
            for k in row + 1..N {
                solved[row] -= root[at(k, row)] * solved[k];
            }
            solved[row] /= root[at(row, row)];
        }
        solved.iter().all(|value| value.is_finite()).then_some(solved)
    }
}

/// The sum of the products.
pub(super) fn dot<const N: usize>(a: &[f64; N], b: &[f64; N]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
