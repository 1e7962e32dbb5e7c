//! A child process that is measured: its CPU time and memory from /proc, its end with ours.

use std::{
    fs, io,
    process::{Child, Command, Stdio},
};

/// A running program and the processes it started.
#[derive(Debug)]
pub struct Measured {
    child: Child,
}

/// CPU time of a process tree, in clock ticks of 1/100 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticks {
    /// In its own code.
    pub user: u64,
    /// In the kernel on its behalf.
    pub system: u64,
}

impl Ticks {
    /// What was spent since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }

    /// Microseconds per request; a tick is 10 ms on Linux wherever USER_HZ is 100.
    #[must_use]
    pub fn us_per(self, requests: u64) -> (f64, f64) {
        let per = |ticks: u64| ticks as f64 * 10_000.0 / requests.max(1) as f64;
        (per(self.user + self.system), per(self.user))
    }
}

impl Measured {
    /// Starts a program, silent unless it fails.
    ///
    /// # Errors
    /// The program is not there or may not run.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        Ok(Self { child })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended already.
    ///
    /// # Errors
    /// The system does not know the process.
    pub fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// CPU time of the process and its children so far.
    #[must_use]
    pub fn ticks(&self) -> Ticks {
        let mut sum = Ticks::default();
        for id in tree(self.id()) {
            if let Some(ticks) = ticks_of(id) {
                sum.user += ticks.user;
                sum.system += ticks.system;
            }
        }
        sum
    }

    /// Resident memory of the process and its children, in KiB.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        tree(self.id()).into_iter().filter_map(resident_of).sum()
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        for id in tree(self.id()).into_iter().skip(1) {
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process and its descendants, itself first.
fn tree(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let children = children.unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
    }
    found
}

fn ticks_of(id: u32) -> Option<Ticks> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name may hold spaces and brackets; fields are counted from behind its closing bracket.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |index: usize| fields.get(index)?.parse().ok();
    Some(Ticks { user: field(11)?, system: field(12)? })
}

fn resident_of(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
