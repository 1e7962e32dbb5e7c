//! What the file says of fetching ahead of sessions: how much of the link it may take.

use homing_wire::document::read::Reader;

/// Share of the link at most, percent. More would be felt by the users who are here already.
const SHARE_MAX: u64 = 10;

/// How much this process may fetch ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrewarmSettings {
    /// The link to the zone's endpoints, bits a second.
    pub link_bps: u64,
    /// What of it may be used, percent.
    pub share_percent: u64,
    /// Fetches at one time.
    pub at_once: usize,
}

impl Default for PrewarmSettings {
    fn default() -> Self {
        Self { link_bps: 1_000_000_000, share_percent: SHARE_MAX, at_once: 16 }
    }
}

impl PrewarmSettings {
    /// Bytes a second.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        self.link_bps / 8 * self.share_percent / 100
    }
}

pub(super) fn read(reader: &Reader<'_>) -> Option<PrewarmSettings> {
    let usual = PrewarmSettings::default();
    let link = 1_000_000..=1_000_000_000_000;
    reader.map(|map| {
        let at_once = map.or("at_once", usual.at_once as u64, |r| r.whole(1..=256));
        Some(PrewarmSettings {
            link_bps: map.or("link", usual.link_bps, |r| r.bits_per_second(link)),
            share_percent: map.or("share", usual.share_percent, |r| {
                let share = r.percent(0..=100)?;
                if share > SHARE_MAX {
                    r.fault(
                        format!("{share}% of the link would be felt by users"),
                        "write 10% or less; 0% fetches nothing ahead",
                    );
                    return None;
                }
                Some(share)
            }),
            at_once: at_once as usize,
        })
    })
}
