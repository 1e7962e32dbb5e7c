//! What goes wrong in a command, told so that the reader knows what to do next: a text, a remedy
//! and the exit code that scripts test. One struct and not an enum per command, because nobody but
//! the last line of `run` ever looks inside.

use std::fmt;

/// Exit codes, as `sysexits.h` numbers them where it has one.
pub mod exit {
    /// Done.
    pub const OK: u8 = 0;
    /// Tried and failed, or a promise was broken.
    pub const FAILURE: u8 = 1;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// A process that should answer does not.
    pub const UNAVAILABLE: u8 = 69;
    /// A document is wrong.
    pub const CONFIG: u8 = 78;
}

/// Why a command ends without having done its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The process's exit code.
    pub code: u8,
    /// What is wrong, one or more lines.
    pub text: String,
    /// What to do about it; empty if the text says it already.
    pub remedy: String,
}

impl Trouble {
    /// A failure without a remedy of its own.
    pub fn failure(text: impl Into<String>) -> Self {
        Self { code: exit::FAILURE, text: text.into(), remedy: String::new() }
    }

    /// A command line that cannot be meant so.
    pub fn usage(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: exit::USAGE, text: text.into(), remedy: remedy.into() }
    }

    /// A process that does not answer.
    pub fn unavailable(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: exit::UNAVAILABLE, text: text.into(), remedy: remedy.into() }
    }

    /// A document that cannot be used.
    pub fn config(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: exit::CONFIG, text: text.into(), remedy: remedy.into() }
    }

    /// The same trouble with a remedy.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.trim_end())?;
        match self.remedy.as_str() {
            "" => Ok(()),
            remedy => write!(f, "\n  remedy: {remedy}"),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::failure(error.to_string())
    }
}
