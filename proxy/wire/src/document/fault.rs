//! What is wrong with a document: every fault with its place, the value found and the remedy, for
//! people (with the line and a caret) and for programs. Plain text only, so that a shell may colour
//! it or not; control characters never reach a terminal through it.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Write as _};
use std::rc::Rc;

use serde::Serialize;

use super::tree::At;

/// Most faults told of one document; the rest are counted.
pub const FAULTS_MAX: usize = 100;
/// Characters of a source line that are shown.
const SNIPPET_CHARS_MAX: usize = 96;
/// Characters of a found value that are shown.
const VALUE_CHARS_MAX: usize = 80;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Line, from 1; 0 if the document was not read from a text.
    #[serde(skip_serializing_if = "is_zero")]
    pub line: u32,
    /// Column in characters, from 1; 0 if the document was not read from a text.
    #[serde(skip_serializing_if = "is_zero")]
    pub column: u32,
    /// Where, for people: `zones[2].price.cpu_hour`; empty for the whole document.
    pub path: String,
    /// Where, as a JSON pointer (RFC 6901): `/zones/2/price/cpu_hour`.
    pub pointer: String,
    /// What was found there; `None` if something is missing or must not be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What is wrong.
    #[serde(rename = "detail")]
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
    /// The line of the text, and the caret below it.
    #[serde(skip)]
    pub(super) snippet: Option<Snippet>,
    #[serde(skip)]
    width: u32,
    #[serde(skip)]
    concealed: bool,
}

/// A line of source, cut to a readable width around the fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snippet {
    text: String,
    /// Characters before the caret.
    indent: usize,
    /// Carets.
    width: usize,
}

/// All faults of a document, in the order of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    list: Vec<Fault>,
    more: usize,
}

impl Faults {
    /// The faults told, at most [`FAULTS_MAX`]; never empty in an error.
    #[must_use]
    pub fn list(&self) -> &[Fault] {
        &self.list
    }

    /// How many more there are than are told.
    #[must_use]
    pub fn more(&self) -> usize {
        self.more
    }

    /// All of them as text for people, each with its line and a caret. `file` names the document.
    #[must_use]
    pub fn render(&self, file: &str) -> String {
        let mut text = String::new();
        for fault in &self.list {
            // Writing to a String cannot fail.
            let _ = fault.render(file, &mut text);
        }
        let total = self.list.len() + self.more;
        let noun = if total == 1 { "fault" } else { "faults" };
        let _ = match self.more {
            0 => writeln!(text, "{total} {noun} in {}", printable(file)),
            more => writeln!(text, "{total} {noun} in {}, {more} not shown", printable(file)),
        };
        text
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render("the document").trim_end())
    }
}

impl std::error::Error for Faults {}

impl Fault {
    fn render(&self, file: &str, out: &mut String) -> fmt::Result {
        write!(out, "{}", printable(file))?;
        if self.line > 0 {
            write!(out, ":{}:{}", self.line, self.column)?;
        }
        match self.path.as_str() {
            "" => writeln!(out, ": {}", self.problem)?,
            path => writeln!(out, ": {path}: {}", self.problem)?,
        }
        let number = self.line.to_string();
        let gap = " ".repeat(number.len());
        if let Some(snippet) = &self.snippet {
            writeln!(out, " {gap} |")?;
            writeln!(out, " {number} | {}", snippet.text)?;
            let (indent, carets) = (" ".repeat(snippet.indent), "^".repeat(snippet.width));
            writeln!(out, " {gap} | {indent}{carets}")?;
        } else if let Some(value) = &self.value {
            writeln!(out, " {gap} = found: {value}")?;
        }
        writeln!(out, " {gap} = remedy: {}\n", self.remedy)
    }
}

/// Where a value stands in the document, shared between a reader and its children.
#[derive(Clone, Debug, Default)]
pub(super) struct Path(Option<Rc<(Path, Step)>>);

#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    pub(super) fn key(&self, key: &str) -> Self {
        Self(Some(Rc::new((self.clone(), Step::Key(key.to_owned())))))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        Self(Some(Rc::new((self.clone(), Step::Index(index)))))
    }

    /// Depth is bounded by the tree's, so recursion is.
    fn steps<'a>(&'a self, visit: &mut dyn FnMut(&'a Step)) {
        if let Some(last) = &self.0 {
            last.0.steps(visit);
            visit(&last.1);
        }
    }

    /// `zones[2].price`.
    pub(super) fn shown(&self) -> String {
        let mut text = String::new();
        self.steps(&mut |step| match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Key(key) => {
                let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
                if key.is_empty() || !key.bytes().all(plain) {
                    text.push_str(&format!("[\"{}\"]", cut(key)));
                } else if text.is_empty() {
                    text.push_str(&cut(key));
                } else {
                    text.push_str(&format!(".{}", cut(key)));
                }
            }
        });
        text
    }

    /// `/zones/2/price`.
    fn pointer(&self) -> String {
        let mut text = String::new();
        self.steps(&mut |step| match step {
            Step::Index(index) => text.push_str(&format!("/{index}")),
            Step::Key(key) => {
                text.push('/');
                text.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
        });
        text
    }
}

/// Takes faults in from all readers of one document.
#[derive(Debug, Default)]
pub(super) struct Sink {
    list: RefCell<Vec<Fault>>,
    more: Cell<usize>,
}

impl Sink {
    pub(super) fn add(
        &self,
        at: At,
        path: &Path,
        value: Option<String>,
        concealed: bool,
        problem: String,
        remedy: String,
    ) {
        let mut list = self.list.borrow_mut();
        if list.len() >= FAULTS_MAX {
            self.more.set(self.more.get().saturating_add(1));
            return;
        }
        list.push(Fault {
            line: at.line,
            column: at.column,
            path: path.shown(),
            pointer: path.pointer(),
            value: value.filter(|_| !concealed).map(|value| cut(&value)),
            problem: printable(&problem),
            remedy: printable(&remedy),
            snippet: None,
            width: at.width,
            concealed,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// The faults in the order of the text, each with its line.
    pub(super) fn into_faults(self, source: &str) -> Faults {
        let mut list = self.list.into_inner();
        list.sort_by_key(|fault| (fault.line, fault.column));
        let mut lines = source.lines().zip(1_u32..);
        let mut current = None;
        for fault in &mut list {
            while current.is_none_or(|(_, number)| number < fault.line) {
                current = lines.next();
                if current.is_none() {
                    break;
                }
            }
            if let Some((line, number)) = current
                && number == fault.line
                && !fault.concealed
            {
                fault.snippet = Some(snippet(line, fault.column, fault.width));
            }
        }
        Faults { list, more: self.more.get() }
    }
}

/// Cuts a source line around the column, which counts characters from 1.
fn snippet(line: &str, column: u32, width: u32) -> Snippet {
    let column = usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(1);
    let start = column.saturating_sub(SNIPPET_CHARS_MAX * 2 / 3);
    let shown: String = line.chars().skip(start).take(SNIPPET_CHARS_MAX).collect();
    let text = printable(&shown);
    let chars = text.chars().count();
    let indent = (column - start).min(chars);
    let width = usize::try_from(width).unwrap_or(usize::MAX);
    let width = width.clamp(1, (chars - indent).max(1));
    Snippet { text: text.trim_end().to_owned(), indent, width }
}

/// A value for people: printable and short.
fn cut(value: &str) -> String {
    let mut shown = printable(&value.chars().take(VALUE_CHARS_MAX).collect::<String>());
    if value.chars().nth(VALUE_CHARS_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

/// The text with every control character replaced, so that it cannot steer a terminal.
fn printable(text: &str) -> String {
    let safe = |c: char| match c {
        '\t' => ' ',
        // Bidirectional marks reorder what a reader sees.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(safe).collect()
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}
