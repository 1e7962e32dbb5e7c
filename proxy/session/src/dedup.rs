//! The last requests a session has executed, so that one sent again is answered and not executed
//! again. It is part of the session's state: it travels in the cut, or a redirect would forget.

use std::collections::VecDeque;

/// Requests remembered per session.
pub const WINDOW: usize = 64;

/// First byte of the exported form.
const FORMAT: u8 = 1;
const ENTRY_BYTES: usize = 24;

/// The last [`WINDOW`] requests of one session that named themselves by client and number.
///
/// Boxed by the roster and only for sessions whose clients number their requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DedupWindow {
    /// Oldest first.
    entries: VecDeque<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    client: u64,
    seq: u64,
    digest: u64,
}

/// The bytes are not an exported window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWindow {
    /// Written by a format this build does not know.
    #[error("unknown format of a dedup window")]
    Format,
    /// Not a whole number of entries, or more than [`WINDOW`].
    #[error("a dedup window of {0} bytes")]
    Length(usize),
}

impl DedupWindow {
    /// The digest of the response this request was answered with, if it was executed.
    #[must_use]
    pub fn check(&self, client: u64, seq: u64) -> Option<u64> {
        // From the newest: what is sent again is nearly always among the last few.
        let mut newest_first = self.entries.iter().rev();
        newest_first.find(|entry| (entry.client, entry.seq) == (client, seq)).map(|e| e.digest)
    }

    /// Replaces the digest of a request that is remembered.
    pub fn amend(&mut self, client: u64, seq: u64, digest: u64) {
        let of = |entry: &&mut Entry| (entry.client, entry.seq) == (client, seq);
        if let Some(entry) = self.entries.iter_mut().rev().find(of) {
            entry.digest = digest;
        }
    }

    /// Forgets a request that was not executed after all.
    pub fn forget(&mut self, client: u64, seq: u64) {
        self.entries.retain(|entry| (entry.client, entry.seq) != (client, seq));
    }

    /// Remembers an executed request and forgets the oldest beyond the window. Every client's last
    /// is kept while another's can go: who waits long for an answer would else be pushed out by
    /// the busy, and its next attempt executed again.
    pub fn record(&mut self, client: u64, seq: u64, digest: u64) {
        if self.entries.len() == WINDOW {
            let oldest = self.oldest_but_no_last(client).unwrap_or(0);
            self.entries.remove(oldest);
        }
        self.entries.push_back(Entry { client, seq, digest });
    }

    /// The oldest entry that is not its client's last, now that `recording` has a later one. Found
    /// at once unless there are about as many clients as entries.
    fn oldest_but_no_last(&self, recording: u64) -> Option<usize> {
        let has_later = |at: usize, client: u64| {
            client == recording || self.entries.iter().skip(at + 1).any(|e| e.client == client)
        };
        self.entries.iter().enumerate().position(|(at, entry)| has_later(at, entry.client))
    }

    /// The digests of the requests remembered, oldest first.
    pub fn digests(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().map(|entry| entry.digest)
    }

    /// Requests remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The window as bytes for the cut: a format byte, then client, seq and digest of each entry,
    /// oldest first, little-endian; at most 1,537 bytes.
    #[must_use]
    pub fn export(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.entries.len() * ENTRY_BYTES);
        bytes.push(FORMAT);
        for entry in &self.entries {
            for number in [entry.client, entry.seq, entry.digest] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        bytes
    }

    /// Reads an exported window.
    ///
    /// # Errors
    /// [`InvalidWindow`] if the bytes are of another format or not of a possible length.
    pub fn import(bytes: &[u8]) -> Result<Self, InvalidWindow> {
        let (&format, rest) = bytes.split_first().ok_or(InvalidWindow::Length(0))?;
        if format != FORMAT {
            return Err(InvalidWindow::Format);
        }
        let (numbers, loose) = rest.as_chunks::<8>();
        if !loose.is_empty() || numbers.len() % 3 != 0 || numbers.len() / 3 > WINDOW {
            return Err(InvalidWindow::Length(bytes.len()));
        }
        let entries = numbers
            .as_chunks::<3>()
            .0
            .iter()
            .map(|numbers| {
                let [client, seq, digest] = numbers.map(u64::from_le_bytes);
                Entry { client, seq, digest }
            })
            .collect();
        Ok(Self { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn remembers_the_last_64_and_their_answers() {
        let mut window = DedupWindow::default();
        for seq in 0..100 {
            window.record(seq % 3, seq, seq * 10);
        }
        assert_eq!(window.len(), WINDOW);
        assert_eq!(window.check(0, 99), Some(990));
        assert_eq!(window.check(1, 99), None, "another client's");
        assert_eq!(window.check(0, 36), Some(360));
        assert_eq!(window.check(2, 35), None, "beyond the window");
    }

    #[test]
    fn refuses_what_is_not_a_window() {
        assert_eq!(DedupWindow::import(&[]), Err(InvalidWindow::Length(0)));
        assert_eq!(DedupWindow::import(&[2]), Err(InvalidWindow::Format));
        assert_eq!(DedupWindow::import(&[1, 0, 0]), Err(InvalidWindow::Length(3)));
        let long = [1; 1 + 65 * ENTRY_BYTES];
        assert_eq!(DedupWindow::import(&long), Err(InvalidWindow::Length(long.len())));
    }

    #[test]
    fn a_client_that_waits_is_not_pushed_out_by_a_busy_one() {
        let mut window = DedupWindow::default();
        window.record(1, 5, 50);
        window.record(1, 6, 60);
        for seq in 0..10 * WINDOW as u64 {
            window.record(2, seq, 0);
        }
        assert_eq!((window.check(1, 5), window.check(1, 6)), (None, Some(60)));
        assert_eq!(window.len(), WINDOW);
        for client in 10..10 + WINDOW as u64 {
            window.record(client, 0, 0);
        }
        assert_eq!(window.check(1, 6), None, "every entry belongs to another client");
        assert_eq!(window.len(), WINDOW);
    }

    proptest! {
        #[test]
        fn export_and_import_agree(
            requests in prop::collection::vec(any::<(u64, u64, u64)>(), 0..90),
        ) {
            let mut window = DedupWindow::default();
            for (client, seq, digest) in requests {
                window.record(client, seq, digest);
            }
            prop_assert_eq!(DedupWindow::import(&window.export()), Ok(window));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            if let Ok(window) = DedupWindow::import(&bytes) {
                prop_assert_eq!(window.export(), bytes);
            }
        }
    }
}
