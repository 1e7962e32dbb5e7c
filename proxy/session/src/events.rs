//! Event streams (`text/event-stream`) cut into whole blocks, so that a stream whose session is
//! handed over ends where another can go on: the last block the client has is complete, and the id
//! that it would come back with is known (WHATWG HTML, 9.2.6, "Interpreting an event stream").

use bytes::{Buf as _, Bytes, BytesMut};

/// Bytes of a block that may be waited for. A stream with a larger one is not cut any more.
pub const BLOCK_BYTES_MAX: usize = 1 << 20;
/// Bytes of an id that is remembered; a longer one is as none, and the stream is not cut any more.
pub const ID_BYTES_MAX: usize = 1 << 10;

/// A byte order mark, which may open a stream and means nothing.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// Cuts one stream, whatever pieces it comes in.
#[derive(Clone, Debug)]
pub struct Splitter {
    held: BytesMut,
    /// Bytes of `held` that were looked at, and where the line under way begins.
    seen: usize,
    line: usize,
    /// The last line was ended by a carriage return: a line feed now belongs to that end.
    after_return: bool,
    opening: bool,
    /// This is not the client's first source: a mark that opens it would stand in mid-stream.
    resumed: bool,
    has_data: bool,
    /// What an `id` field of the block under way has said.
    said_id: Option<Vec<u8>>,
    last_id: Vec<u8>,
    events: u64,
    whole: bool,
}

impl Splitter {
    /// A stream that goes on behind the event of that id; empty for none.
    #[must_use]
    pub fn after(last_id: &[u8]) -> Self {
        Self {
            held: BytesMut::new(),
            seen: 0,
            line: 0,
            after_return: false,
            opening: true,
            resumed: false,
            has_data: false,
            said_id: None,
            last_id: last_id.to_vec(),
            events: 0,
            whole: last_id.len() <= ID_BYTES_MAX,
        }
    }

    /// The stream comes from another source from here on, which begins with a new block: what of
    /// the last one is incomplete is dropped.
    pub fn begin_again(&mut self) {
        self.held.clear();
        (self.seen, self.line) = (0, 0);
        (self.after_return, self.opening, self.has_data) = (false, true, false);
        (self.said_id, self.resumed) = (None, true);
    }

    /// More of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next whole block with the blank line that ends it; of a stream that is not cut any
    /// more, all there is.
    pub fn next_block(&mut self) -> Option<Bytes> {
        while self.whole && self.seen < self.held.len() {
            let byte = self.held[self.seen];
            self.seen += 1;
            let rest_of_end = std::mem::take(&mut self.after_return) && byte == b'\n';
            if rest_of_end {
                self.line = self.seen;
                continue;
            }
            if byte != b'\n' && byte != b'\r' {
                continue;
            }
            self.after_return = byte == b'\r';
            let (from, to) = (self.line, self.seen - 1);
            self.line = self.seen;
            if self.take_line(from, to) {
                return Some(self.block());
            }
        }
        if self.whole && self.held.len() > BLOCK_BYTES_MAX {
            self.whole = false;
        }
        if self.whole || self.held.is_empty() { None } else { Some(self.held.split().freeze()) }
    }

    /// Whether the stream can be cut: everything that was given out ends with a whole block.
    #[must_use]
    pub fn may_be_cut(&self) -> bool {
        self.whole
    }

    /// The id of the last event that was given out, empty for none.
    #[must_use]
    pub fn last_id(&self) -> &[u8] {
        &self.last_id
    }

    /// Events given out.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// What is held back because its block is not whole.
    #[must_use]
    pub fn rest(&mut self) -> Bytes {
        (self.seen, self.line) = (0, 0);
        self.held.split().freeze()
    }

    /// Takes a line in; whether it ends a block.
    fn take_line(&mut self, from: usize, to: usize) -> bool {
        let mut line = &self.held[from..to];
        if std::mem::take(&mut self.opening) {
            line = line.strip_prefix(MARK).unwrap_or(line);
        }
        if line.is_empty() {
            return true;
        }
        let at = line.iter().position(|byte| *byte == b':');
        let (name, value) = match at {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => self.has_data = true,
            b"id" if value.contains(&0) => {}
            // One that no header can tell the app again would be a gap.
            b"id" if value.len() > ID_BYTES_MAX || value.iter().any(is_untold) => {
                self.whole = false;
            }
            b"id" => self.said_id = Some(value.to_vec()),
            _ => {}
        }
        false
    }

    fn block(&mut self) -> Bytes {
        if let Some(id) = self.said_id.take() {
            self.last_id = id;
        }
        self.events += u64::from(std::mem::take(&mut self.has_data));
        let mut block = self.held.split_to(self.seen).freeze();
        (self.seen, self.line) = (0, 0);
        if std::mem::take(&mut self.resumed) && block.starts_with(MARK) {
            block.advance(MARK.len());
        }
        block
    }
}

/// Whether a header's value cannot hold the byte (RFC 9110 §5.5).
fn is_untold(byte: &u8) -> bool {
    (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blocks(splitter: &mut Splitter) -> Vec<Bytes> {
        std::iter::from_fn(|| splitter.next_block()).collect()
    }

    #[test]
    fn blocks_end_at_blank_lines_of_any_kind() {
        let mut splitter = Splitter::after(b"7");
        splitter.push("\u{feff}id: 8\ndata: a\n\n: ping\r\n\r\ndata\rid\r\rdata: half".as_bytes());
        let found = blocks(&mut splitter);
        let texts: Vec<_> = found.iter().map(|block| String::from_utf8_lossy(block)).collect();
        let wanted = ["\u{feff}id: 8\ndata: a\n\n", ": ping\r\n\r", "\ndata\rid\r\r"];
        assert_eq!(texts, wanted);
        assert_eq!((splitter.events(), splitter.last_id()), (2, &b""[..]), "`id` alone resets it");
        assert_eq!(splitter.rest(), "data: half");
    }

    #[test]
    fn an_id_counts_once_its_block_is_whole_and_nul_makes_it_none() {
        let mut splitter = Splitter::after(b"7");
        splitter.push(b"id: 8\ndata: a\n");
        assert!(blocks(&mut splitter).is_empty());
        assert_eq!(splitter.last_id(), b"7");
        splitter.begin_again();
        splitter.push(b"id: 9\0\ndata: b\n\nid:10\n\n");
        assert_eq!(blocks(&mut splitter).len(), 2);
        assert_eq!((splitter.last_id(), splitter.events()), (&b"10"[..], 1));
    }

    #[test]
    fn a_block_without_end_is_passed_on_and_never_cut() {
        let mut splitter = Splitter::after(b"");
        splitter.push(b"data: ");
        splitter.push(&vec![b'x'; BLOCK_BYTES_MAX]);
        assert_eq!(splitter.next_block().map(|all| all.len()), Some(BLOCK_BYTES_MAX + 6));
        assert!(!splitter.may_be_cut());
        splitter.push(b"more");
        assert_eq!(splitter.next_block().as_deref(), Some(&b"more"[..]));
        let mut splitter = Splitter::after(b"");
        splitter.push(&[b"id: ".as_slice(), &vec![b'i'; ID_BYTES_MAX + 1], b"\n"].concat());
        assert!(splitter.next_block().is_some() && !splitter.may_be_cut());
    }

    #[test]
    fn a_mark_that_opens_a_later_source_does_not_stand_in_mid_stream() {
        let mut splitter = Splitter::after(b"");
        splitter.push("\u{feff}id: 1\n\n".as_bytes());
        assert!(splitter.next_block().is_some_and(|block| block.starts_with(MARK)));
        splitter.begin_again();
        splitter.push("\u{feff}id: 2\n\n\u{feff}id: 3\n\n".as_bytes());
        assert_eq!(splitter.next_block().as_deref(), Some(&b"id: 2\n\n"[..]));
        // One that does not open the source is the app's own, and no mark.
        assert!(splitter.next_block().is_some_and(|block| block.starts_with(MARK)));
        assert_eq!(splitter.last_id(), b"2");
    }

    #[test]
    fn an_id_that_no_header_can_tell_again_is_never_cut_behind() {
        let mut splitter = Splitter::after(b"");
        splitter.push(b"id: a\x01b\ndata: x\n\n");
        assert!(splitter.next_block().is_some() && !splitter.may_be_cut());
    }

    proptest! {
        /// However a stream is cut into pieces, nothing is lost, and count and id are the same.
        #[test]
        fn any_pieces_make_the_same_stream(
            stream in prop::collection::vec(
                prop::sample::select(vec![
                    "data: a", "data", "id: 1", "id:2", "id", ": c", "retry: 5", "\n", "\r",
                    "\r\n", "\n\n", "\r\n\r\n", "\r\r", "id: \0",
                ]),
                0..40,
            ),
            sizes in prop::collection::vec(1_usize..9, 1..80),
        ) {
            let stream = stream.concat();
            let mut once = Splitter::after(b"0");
            once.push(stream.as_bytes());
            let mut out = blocks(&mut once).concat();
            let (events, last_id) = (once.events(), once.last_id().to_vec());
            out.extend_from_slice(&once.rest());
            prop_assert_eq!(&out, stream.as_bytes());

            let mut pieces = Splitter::after(b"0");
            let (mut rest, mut out) = (stream.as_bytes(), Vec::new());
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, later) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                out.extend(blocks(&mut pieces).concat());
                rest = later;
            }
            prop_assert_eq!((pieces.events(), pieces.last_id()), (events, &last_id[..]));
            out.extend_from_slice(&pieces.rest());
            prop_assert_eq!(&out, stream.as_bytes());
        }
    }
}
