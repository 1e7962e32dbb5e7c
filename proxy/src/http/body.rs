//! Bounds on a request's body: refused early where its length is told, and counted while it
//! streams where it is not. Bodies are never kept: a parked request's body stays unread, and flow
//! control holds it at the client.

/// Counts a streaming body against its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyCount {
    bytes: u64,
    max: u64,
}

/// The body is over its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBound;

impl BodyCount {
    /// Counts from 0 to `max`.
    #[must_use]
    pub fn new(max: u64) -> Self {
        Self { bytes: 0, max }
    }

    /// Refuses a body whose `Content-Length` already says too much. A length that is no number is
    /// left to whoever parses the framing.
    ///
    /// # Errors
    /// It is over the bound.
    pub fn announced(&self, content_length: Option<&[u8]>) -> Result<(), OverBound> {
        let told = content_length
            .and_then(|value| std::str::from_utf8(value).ok())
            .and_then(|value| value.trim().parse::<u128>().ok());
        if told.is_some_and(|told| told > u128::from(self.max)) {
            return Err(OverBound);
        }
        Ok(())
    }

    /// Counts a piece in.
    ///
    /// # Errors
    /// The body is now over the bound.
    pub fn add(&mut self, piece: usize) -> Result<(), OverBound> {
        self.bytes = self.bytes.saturating_add(piece as u64);
        if self.bytes > self.max { Err(OverBound) } else { Ok(()) }
    }

    /// The same bound, counted from 0 again: the body is sent anew.
    #[must_use]
    pub fn restarted(self) -> Self {
        Self::new(self.max)
    }

    /// Bytes counted.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_body_is_refused_before_it_comes() {
        let count = BodyCount::new(10);
        assert_eq!(count.announced(None), Ok(()));
        assert_eq!(count.announced(Some(b"10")), Ok(()));
        assert_eq!(count.announced(Some(b" 11 ")), Err(OverBound));
        assert_eq!(count.announced(Some(b"99999999999999999999999")), Err(OverBound));
        assert_eq!(count.announced(Some(b"ten")), Ok(()));
    }

    #[test]
    fn a_streaming_body_is_refused_when_it_passes_the_bound() {
        let mut count = BodyCount::new(10);
        assert_eq!(count.add(6), Ok(()));
        assert_eq!(count.add(4), Ok(()));
        assert_eq!(count.add(1), Err(OverBound));
        assert_eq!(count.bytes(), 11);
    }
}
