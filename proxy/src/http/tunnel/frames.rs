//! Where one WebSocket frame ends and the next begins (RFC 6455 §5.2), followed through bytes that
//! are passed on as they come. Only the lengths are read: all that is asked is whether a frame of
//! our own may be put in here.

/// Longest frame header: two bytes, eight of length, four of mask.
const HEADER_MAX: usize = 14;

/// Follows one direction of a tunnel.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: [u8; HEADER_MAX],
    /// Bytes of the header seen.
    seen: usize,
    /// Bytes of the payload still to come.
    payload: u64,
}

impl Frames {
    /// Takes in what was passed on.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            if self.payload > 0 {
                let here = self.payload.min(bytes.len() as u64);
                self.payload -= here;
                bytes = &bytes[here as usize..];
                continue;
            }
            self.header[self.seen] = *first;
            self.seen += 1;
            bytes = &bytes[1..];
            if self.seen >= 2 && self.seen == self.header_bytes() {
                self.payload = self.payload_bytes();
                self.seen = 0;
            }
        }
    }

    /// Whether the last frame is complete.
    pub(super) fn at_boundary(&self) -> bool {
        self.seen == 0 && self.payload == 0
    }

    fn header_bytes(&self) -> usize {
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        let length = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + mask
    }

    fn payload_bytes(&self) -> u64 {
        let wide = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        match self.header[1] & 0x7f {
            126 => wide(&self.header[2..4]),
            127 => wide(&self.header[2..10]),
            short => short.into(),
        }
    }
}

/// A server's close frame: code 1012, "the service is restarted", and the reason for people.
pub(super) const RECONNECT: &[u8] = b"\x88\x0f\x03\xf4session moved";

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of this many payload bytes, with or without a mask.
    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x82];
        match length {
            0..=125 => frame.push(mask | length as u8),
            126..=0xffff => {
                frame.push(mask | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(vec![0xff; length + if masked { 4 } else { 0 }]);
        frame
    }

    #[test]
    fn boundaries_are_found_however_the_bytes_come() {
        let frames: Vec<_> = [0, 1, 125, 126, 127, 65_535, 65_536, 3]
            .into_iter()
            .flat_map(|length| [frame(length, false), frame(length, true)])
            .collect();
        for piece in [1, 2, 3, 7, 1_000, 100_000] {
            let mut follow = Frames::default();
            assert!(follow.at_boundary());
            for frame in &frames {
                let (last, rest) = frame.split_last().unwrap();
                for part in rest.chunks(piece) {
                    follow.pass(part);
                    assert!(!follow.at_boundary(), "{}", frame.len());
                }
                follow.pass(&[*last]);
                assert!(follow.at_boundary(), "{}", frame.len());
            }
        }
        let mut follow = Frames::default();
        follow.pass(&frames.concat());
        assert!(follow.at_boundary());
    }

    #[test]
    fn no_bytes_panic() {
        let mut follow = Frames::default();
        follow.pass(&[0xff; 100]);
        assert!(!follow.at_boundary());
    }

    #[test]
    fn the_close_frame_says_what_it_means() {
        assert_eq!((RECONNECT[0], RECONNECT[1] as usize), (0x88, RECONNECT.len() - 2));
        assert_eq!(u16::from_be_bytes([RECONNECT[2], RECONNECT[3]]), 1_012);
        assert!(RECONNECT.len() <= 127);
    }
}
