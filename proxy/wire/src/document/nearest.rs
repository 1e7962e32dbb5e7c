//! "Did you mean": the known word nearest to one that is not known, by edits with swaps counted as
//! one. Bounded: words longer than a name are never compared.

use crate::limits::NAME_BYTES_MAX;

/// The nearest of the known words, if any is near enough to have been meant.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.len() > NAME_BYTES_MAX {
        return None;
    }
    let lower = word.to_lowercase();
    let allowed = 1 + word.chars().count() / 4;
    known
        .filter(|other| other.len() <= NAME_BYTES_MAX)
        .map(|other| (edits(&lower, &other.to_lowercase()), other))
        // A word of which nothing is left is not a slip of the pen.
        .filter(|(n, other)| *n <= allowed && *n < other.chars().count())
        .min_by_key(|(n, _)| *n)
        .map(|(_, other)| other)
}

/// Insertions, deletions, replacements and swaps of neighbours from one word to another.
fn edits(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut least = (above[j] + usize::from(a != b)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::{edits, nearest};

    #[test]
    fn counts_edits() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("capcity", "capacity"), 1);
        assert_eq!(edits("nmae", "name"), 1);
        assert_eq!(edits("kitten", "sitting"), 3);
    }

    #[test]
    fn names_the_nearest_word_only_if_it_is_near() {
        let known = ["name", "location", "endpoints", "price"];
        assert_eq!(nearest("endpoint", known.into_iter()), Some("endpoints"));
        assert_eq!(nearest("Location", known.into_iter()), Some("location"));
        assert_eq!(nearest("weather", known.into_iter()), None);
        assert_eq!(nearest("x", ["y"].into_iter()), None);
        assert_eq!(nearest(&"x".repeat(10_000), known.into_iter()), None);
    }
}
