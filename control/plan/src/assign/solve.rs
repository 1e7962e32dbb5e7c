//! The Newton direction: a dense symmetric system of some dozens of unknowns, by Cholesky.

/// Solves `(curvature + ridge) x = slope` over the free rows; 0 for the others. `curvature` is
/// positive semidefinite, `rows * rows`.
pub(super) fn direction(curvature: &[f64], slope: &[f64], free: &[bool]) -> Vec<f64> {
    let rows = slope.len();
    let index: Vec<usize> = (0..rows).filter(|row| free[*row]).collect();
    let n = index.len();
    let most = index.iter().map(|row| curvature[row * rows + row]).fold(0.0, f64::max);
    // Rows that no user is near to changing have no curvature of their own.
    let ridge = most.max(f64::MIN_POSITIVE) * 1e-4;
    let mut lower = vec![0.0; n * n];
    for (i, a) in index.iter().enumerate() {
        for (j, b) in index.iter().enumerate().take(i + 1) {
            let here = curvature[a * rows + b] + if i == j { ridge } else { 0.0 };
            let (done_i, done_j) = (&lower[i * n..i * n + j], &lower[j * n..j * n + j]);
            let rest = here - done_i.iter().zip(done_j).map(|(x, y)| x * y).sum::<f64>();
            lower[i * n + j] = match i == j {
                true => rest.max(ridge * 1e-6).sqrt(),
                false => rest / lower[j * n + j],
            };
        }
    }
    let mut x: Vec<f64> = index.iter().map(|row| slope[*row]).collect();
    for i in 0..n {
        let done: f64 = (0..i).map(|j| lower[i * n + j] * x[j]).sum();
        x[i] = (x[i] - done) / lower[i * n + i];
    }
    for i in (0..n).rev() {
        let done: f64 = (i + 1..n).map(|j| lower[j * n + i] * x[j]).sum();
        x[i] = (x[i] - done) / lower[i * n + i];
    }
    let mut whole = vec![0.0; rows];
    for (row, value) in index.into_iter().zip(x) {
        whole[row] = if value.is_finite() { value } else { 0.0 };
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved_over_its_free_rows() {
        let curvature = [4.0, 1.0, 0.0, 1.0, 3.0, 0.0, 0.0, 0.0, 9.0];
        let x = direction(&curvature, &[1.0, 2.0, 5.0], &[true, true, false]);
        assert!((4.0 * x[0] + x[1] - 1.0).abs() < 1e-2 && (x[0] + 3.0 * x[1] - 2.0).abs() < 1e-2);
        assert_eq!(x[2], 0.0);
        assert!(direction(&[0.0], &[1.0], &[true])[0].is_finite());
    }
}
