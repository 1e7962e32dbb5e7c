//! The record of executions: which session ran what, when, under which epoch, in this zone. Read by
//! the demo from all zones and laid side by side. Bounded: a full record says so and stops, since a
//! record with holes would prove nothing.

use std::fmt::Write as _;

/// Most executions kept by one app.
const RECORD_MAX: usize = 2_000_000;

/// What was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An answer that looks at no state.
    Page,
    /// A notebook was read.
    Read,
    /// A notebook was written.
    Write,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Self::Page => 'p',
            Self::Read => 'r',
            Self::Write => 'w',
        }
    }

    fn of(letter: &str) -> Option<Self> {
        match letter {
            "p" => Some(Self::Page),
            "r" => Some(Self::Read),
            "w" => Some(Self::Write),
            _ => None,
        }
    }
}

/// One execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Microseconds since 1970, never falling within one process.
    pub at_us: u64,
    /// The session's key.
    pub session: u128,
    /// The epoch the proxy executed under.
    pub epoch: u64,
    /// What was done.
    pub kind: Kind,
    /// The write's number; 0 otherwise.
    pub seq: u64,
}

/// The executions of one app, oldest first.
#[derive(Debug, Default)]
pub struct Record {
    list: Vec<Execution>,
    dropped: u64,
}

impl Record {
    pub(crate) fn push(&mut self, execution: Execution) {
        if self.list.len() < RECORD_MAX {
            self.list.push(execution);
        } else {
            self.dropped += 1;
        }
    }

    /// Executions that were not recorded because the record was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// A page of at most `max` from the `skip`-th on, a line each:
    /// `at_us,session,epoch,kind,seq`.
    pub(crate) fn page(&self, skip: usize, max: usize) -> String {
        let mut text = String::new();
        for x in self.list.iter().skip(skip).take(max) {
            let letter = x.kind.letter();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{},{:032x},{},{letter},{}", x.at_us, x.session, x.epoch, x.seq);
        }
        text
    }
}

/// Reads what an app's record shows; `None` if a line is not of that form.
#[must_use]
pub fn parse(text: &str) -> Option<Vec<Execution>> {
    text.lines().map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Execution> {
    let mut parts = line.split(',');
    let execution = Execution {
        at_us: parts.next()?.parse().ok()?,
        session: u128::from_str_radix(parts.next()?, 16).ok()?,
        epoch: parts.next()?.parse().ok()?,
        kind: Kind::of(parts.next()?)?,
        seq: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(execution)
}
