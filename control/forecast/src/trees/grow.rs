//! One tree, grown leaf by leaf where the gain is largest.

use super::bins::{BINS, Binned};
use super::loss::Slope;
use super::{Node, Settings, Tree};

/// A tree whose leaves have no value yet.
pub(super) struct Grown {
    pub(super) tree: Tree,
    pub(super) leaves: Vec<Leaf>,
}

/// The rows that end at a node.
pub(super) struct Leaf {
    pub(super) node: usize,
    pub(super) rows: Vec<u32>,
    sum: Cell,
    histogram: Vec<Cell>,
    best: Option<Split>,
}

impl Leaf {
    /// The step that the slopes ask for.
    pub(super) fn newton(&self, lambda: f64) -> f64 {
        let below = self.sum.second + lambda;
        if below > 0.0 { -self.sum.first / below } else { 0.0 }
    }
}

#[derive(Clone, Copy, Default)]
struct Cell {
    first: f64,
    second: f64,
    rows: u32,
}

impl Cell {
    fn add(&mut self, slope: Slope) {
        self.first += f64::from(slope.first);
        self.second += f64::from(slope.second);
        self.rows += 1;
    }

    fn plus(self, other: Self) -> Self {
        Self {
            first: self.first + other.first,
            second: self.second + other.second,
            rows: self.rows + other.rows,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            first: self.first - other.first,
            second: self.second - other.second,
            rows: self.rows - other.rows,
        }
    }

    fn worth(self, lambda: f64) -> f64 {
        self.first * self.first / (self.second + lambda).max(1e-12)
    }
}

#[derive(Clone, Copy)]
struct Split {
    /// Position among the open columns.
    open: usize,
    bin: usize,
    gain: f64,
    left: Cell,
}

/// What one tree grows from.
pub(super) struct Grower<'a> {
    binned: &'a Binned,
    slopes: &'a [Slope],
    open: Vec<usize>,
    settings: &'a Settings,
}

impl<'a> Grower<'a> {
    pub(super) fn new(
        binned: &'a Binned,
        slopes: &'a [Slope],
        open: Vec<usize>,
        settings: &'a Settings,
    ) -> Self {
        Self { binned, slopes, open, settings }
    }

    pub(super) fn grow(&self, rows: Vec<u32>) -> Grown {
        let mut sum = Cell::default();
        rows.iter().for_each(|row| sum.add(self.slopes[*row as usize]));
        let histogram = self.histogram(&rows);
        let mut leaves = vec![self.leaf(0, rows, sum, histogram)];
        let mut nodes = vec![Node::Leaf(0.0)];
        while leaves.len() < self.settings.leaves {
            let best = (0..leaves.len())
                .filter_map(|at| leaves[at].best.map(|split| (at, split)))
                .max_by(|a, b| a.1.gain.total_cmp(&b.1.gain));
            let Some((at, split)) = best else { break };
            let leaf = leaves.swap_remove(at);
            let (left, right) = (nodes.len(), nodes.len() + 1);
            let column = self.open[split.open];
            let cut = self.binned.cut(column, split.bin);
            nodes[leaf.node] = Node::Split { column, cut, left, right };
            nodes.extend([Node::Leaf(0.0); 2]);
            leaves.extend(self.parted(leaf, split, left, right));
        }
        Grown { tree: Tree { nodes }, leaves }
    }

    /// The two leaves that a split makes of one. Only the smaller one's rows are counted; the
    /// other's histogram is what remains.
    fn parted(&self, leaf: Leaf, split: Split, left: usize, right: usize) -> [Leaf; 2] {
        let bins = &self.binned.columns[self.open[split.open]];
        let (low, high): (Vec<u32>, Vec<u32>) =
            leaf.rows.iter().partition(|row| usize::from(bins[**row as usize]) <= split.bin);
        let smaller = self.histogram(if low.len() <= high.len() { &low } else { &high });
        let mut larger = leaf.histogram;
        larger.iter_mut().zip(&smaller).for_each(|(all, part)| *all = all.minus(*part));
        let (in_low, in_high) =
            if low.len() <= high.len() { (smaller, larger) } else { (larger, smaller) };
        let rest = leaf.sum.minus(split.left);
        [self.leaf(left, low, split.left, in_low), self.leaf(right, high, rest, in_high)]
    }

    fn leaf(&self, node: usize, rows: Vec<u32>, sum: Cell, histogram: Vec<Cell>) -> Leaf {
        let best = self.best(sum, &histogram);
        Leaf { node, rows, sum, histogram, best }
    }

    fn histogram(&self, rows: &[u32]) -> Vec<Cell> {
        let mut cells = vec![Cell::default(); self.open.len() * BINS];
        for (column, cells) in self.open.iter().zip(cells.chunks_exact_mut(BINS)) {
            let bins = &self.binned.columns[*column];
            for row in rows {
                cells[usize::from(bins[*row as usize])].add(self.slopes[*row as usize]);
            }
        }
        cells
    }

    fn best(&self, sum: Cell, histogram: &[Cell]) -> Option<Split> {
        let (lambda, least) = (self.settings.lambda, self.settings.min_leaf.max(1) as u32);
        let whole = sum.worth(lambda);
        let mut best: Option<Split> = None;
        for (open, cells) in histogram.chunks_exact(BINS).enumerate() {
            let mut left = Cell::default();
            for (bin, cell) in cells.iter().enumerate().take(self.binned.bins(self.open[open])) {
                left = left.plus(*cell);
                if left.rows < least || cell.rows == 0 {
                    continue;
                }
                if sum.rows - left.rows < least {
                    break;
                }
                let gain = left.worth(lambda) + sum.minus(left).worth(lambda) - whole;
                if gain > best.map_or(1e-9, |split| split.gain) {
                    best = Some(Split { open, bin, gain, left });
                }
            }
        }
        best
    }
}
