//! What is shown while the demo runs: a bar and the story on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

/// Between two plain progress lines.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// The demo's screen, on standard error so that the report can be piped.
#[derive(Debug)]
pub struct Screen {
    bar: Option<ProgressBar>,
    last_line: Mutex<Option<Instant>>,
}

impl Screen {
    /// A bar if standard error is a terminal.
    #[must_use]
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            let style = ProgressStyle::with_template("  {bar:32} {percent:>3}%  {msg}");
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, last_line: Mutex::new(None) }
    }

    /// A step of the story, which stays on the screen.
    pub fn tell(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// A replay begins.
    pub fn begin(&self, length: Duration) {
        if let Some(bar) = &self.bar {
            bar.set_length(length.as_millis() as u64);
            bar.set_position(0);
        }
    }

    /// How far the replay is.
    pub fn progress(&self, done: Duration, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(done.as_millis() as u64);
            bar.set_message(text.to_owned());
            return;
        }
        let mut last = self.last_line.lock();
        if last.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            *last = Some(Instant::now());
            eprintln!("  {:5.1} s  {text}", done.as_secs_f64());
        }
    }

    /// The replay is over.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}
