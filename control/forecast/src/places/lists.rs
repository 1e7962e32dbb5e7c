//! Lists of candidates with the one that came, as rows for trees.

use super::Candidate;
use crate::trees::{Forest, Loss, Settings, Unfit};

/// Noted lists.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    columns: Vec<Vec<f32>>,
    target: Vec<f32>,
    sizes: Vec<u32>,
}

impl Lists {
    /// Adds a list. What came and is not in it counts for "none of these", the last row. A list
    /// without candidates, or with another number of features than the first, is left out.
    pub fn push(&mut self, candidates: &[Candidate], came: u32) {
        let Some(first) = candidates.first() else { return };
        if self.columns.is_empty() {
            self.columns = vec![Vec::new(); first.features.len()];
        }
        let wide = self.columns.len();
        if candidates.iter().any(|candidate| candidate.features.len() != wide) {
            return;
        }
        let there = candidates.iter().any(|candidate| candidate.item == Some(came));
        for candidate in candidates {
            for (column, feature) in self.columns.iter_mut().zip(&candidate.features) {
                column.push(*feature);
            }
            let hit = if there { candidate.item == Some(came) } else { candidate.item.is_none() };
            self.target.push(f32::from(hit));
        }
        self.sizes.push(candidates.len() as u32);
    }

    /// Trees that score candidates within their list.
    ///
    /// # Errors
    /// If there is no list.
    pub fn forest(&self, settings: &Settings) -> Result<Forest, Unfit> {
        Forest::fit(&self.columns, &self.target, Loss::Listwise(&self.sizes), settings)
    }
}
