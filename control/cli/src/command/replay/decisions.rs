//! The decisions of the predictive policies as a file, for whoever wants to check them.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::policy::{Decision, Policy};
use super::trace::Trace;
use crate::trouble::Trouble;

/// The file, a line for each step and policy.
pub(super) struct Decisions {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Decisions {
    /// Begins the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn create(path: &Path) -> Result<Self, Trouble> {
        let path = path.to_owned();
        let file = File::create(&path).map_err(|error| unwritten(&path, &error))?;
        let mut file = BufWriter::new(file);
        let head = writeln!(file, "second,user,theta,move_ms,home,copies");
        head.map_err(|error| unwritten(&path, &error))?;
        Ok(Self { path, file })
    }

    /// Writes a decision down, if it is one by forecast.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(
        &mut self,
        trace: &Trace,
        at: usize,
        policy: &Policy,
        decision: &Decision,
    ) -> Result<(), Trouble> {
        let Policy::Predictive { theta, costs, .. } = policy else { return Ok(()) };
        let step = trace.steps[at];
        let copies: Vec<&str> =
            decision.staged.iter().map(|zone| trace.zones[*zone].as_str()).collect();
        let written = writeln!(
            self.file,
            "{},{},{theta},{},{},{}",
            step.second,
            trace.users[step.user],
            costs.move_ms,
            trace.zones[decision.lives],
            copies.join(" ")
        );
        written.map_err(|error| unwritten(&self.path, &error))
    }

    /// Ends the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn finish(mut self) -> Result<(), Trouble> {
        self.file.flush().map_err(|error| unwritten(&self.path, &error))
    }
}

fn unwritten(path: &Path, error: &std::io::Error) -> Trouble {
    Trouble::failure(format!("{}: {error}", path.display()))
        .remedy("give --decisions a file in a folder that you may write to")
}
