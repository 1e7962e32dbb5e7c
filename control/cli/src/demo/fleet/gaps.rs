//! How long clients' messages waited while their WebSockets were carried, as the edges and gates
//! that replaced the legs have counted it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::stage::Stage;
use crate::rest::Ask;
use crate::trouble::Trouble;

/// The histogram's buckets on a process's page.
const BUCKET: &str = "homing_tunnel_gap_seconds_bucket{le=\"";

/// What the gaps came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Gaps {
    /// Legs that were replaced.
    pub carried: u64,
    /// Median and 99th percentile, milliseconds; between the edges of a bucket they are guessed.
    pub gap_ms: [f64; 2],
}

/// The gaps of the whole fleet since its processes were started; `None` if there were none.
///
/// # Errors
/// A process does not answer.
pub async fn measure(stage: &Stage) -> Result<Option<Gaps>, Trouble> {
    let mut buckets = Buckets::default();
    for admin in stage.admins.values() {
        buckets.add(&admin.raw(Ask::get("/metrics")).await?.text());
    }
    Ok(buckets.gaps())
}

/// Gaps of at most so many microseconds, by upper edge.
#[derive(Debug, Default)]
struct Buckets(BTreeMap<u64, u64>);

impl Buckets {
    fn add(&mut self, page: &str) {
        for line in page.lines().filter_map(|line| line.strip_prefix(BUCKET)) {
            let Some((edge, count)) = line.split_once("\"} ") else { continue };
            let edge_us = edge.parse::<f64>().ok().filter(|edge| edge.is_finite());
            let edge_us = edge_us.map_or(u64::MAX, |edge| (edge * 1e6).round() as u64);
            *self.0.entry(edge_us).or_default() += count.trim().parse::<u64>().unwrap_or(0);
        }
    }

    fn gaps(&self) -> Option<Gaps> {
        let carried = *self.0.values().next_back()?;
        let gap_ms = [self.at(0.5 * carried as f64), self.at(0.99 * carried as f64)];
        (carried > 0).then_some(Gaps { carried, gap_ms })
    }

    /// Milliseconds that so many gaps do not exceed.
    fn at(&self, rank: f64) -> f64 {
        let (mut from_us, mut below) = (0, 0);
        for (edge_us, count) in &self.0 {
            if *count as f64 >= rank && *count > below {
                if *edge_us == u64::MAX {
                    break;
                }
                let within = (rank - below as f64) / (count - below) as f64;
                return (from_us as f64 + within * (edge_us - from_us) as f64) / 1e3;
            }
            (from_us, below) = (*edge_us, *count);
        }
        // Beyond the last edge nothing is known.
        from_us as f64 / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_add_up_and_what_lies_in_a_bucket_is_guessed() {
        let page = |counts: [u64; 3]| {
            let [one, two, all] = counts;
            format!(
                "homing_tunnel_gap_seconds_sum 1.5\nhoming_tunnel_gap_seconds_count {all}\n\
                 {BUCKET}0.01\"}} {one}\n{BUCKET}0.03\"}} {two}\n{BUCKET}+Inf\"}} {all}\n"
            )
        };
        let mut buckets = Buckets::default();
        buckets.add(&page([0, 0, 0]));
        assert_eq!(buckets.gaps(), None);
        buckets.add(&page([30, 80, 80]));
        buckets.add(&page([0, 20, 20]));
        let gaps = buckets.gaps().unwrap();
        let [p50, p99] = gaps.gap_ms;
        assert_eq!(gaps.carried, 100);
        // The 50th and the 99th of a hundred: 20 and 69 of the 70 between 10 and 30 ms.
        assert!((p50 - 15.714).abs() < 0.001 && (p99 - 29.714).abs() < 0.001, "{gaps:?}");
        buckets.add(&page([0, 0, 100]));
        let gaps = buckets.gaps().unwrap();
        assert_eq!((gaps.carried, gaps.gap_ms[1]), (200, 30.0));
    }
}
