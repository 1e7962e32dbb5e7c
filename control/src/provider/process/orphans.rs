//! Orphans: processes of a control that was killed before it could end them. Which ones run is kept
//! in a file, each with when it started, so that the next control ends those and no others.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};

/// What the files' names begin with, in control's data folder.
const PREFIX: &str = "processes.";
/// Between asking an orphan to end and killing it.
pub const GRACE: Duration = Duration::from_secs(3);

/// A process and its beginning: a number that is used again is not the same process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its number, and that of the group it leads.
    pid: i32,
    /// Which boot of the machine, and which tick of it.
    began: String,
}

impl Mark {
    /// The process of that number; `None` if there is none, or the system does not tell.
    #[must_use]
    pub fn of(pid: Pid) -> Option<Self> {
        let pid = pid.as_raw_nonzero().get();
        Some(Self { pid, began: began(pid)? })
    }

    fn is_there(&self) -> bool {
        began(self.pid).as_ref() == Some(&self.began)
    }

    /// Signals the group if it is led by this very process. Whether it was.
    fn signal(&self, signal: Signal) -> bool {
        let group = Pid::from_raw(self.pid).filter(|_| self.is_there());
        group.is_some_and(|group| kill_process_group(group, signal).is_ok())
    }

    fn read(line: &str) -> Option<Self> {
        let (pid, began) = line.split_once(' ')?;
        let pid = pid.parse().ok().filter(|pid| *pid > 1)?;
        Some(Self { pid, began: began.to_owned() })
    }
}

/// The boot and the tick that a process began at, as Linux tells it; other systems do not.
fn began(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; the start is the twentieth field behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    // One that has ended and was not looked after yet is not there.
    fields.next().filter(|state| *state != "Z")?;
    let ticks = fields.nth(18)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("{} {ticks}", boot.trim()))
}

/// Where the processes of a zone and service are kept.
#[must_use]
pub fn record(folder: &Path, zone: &str, service: Option<&str>) -> PathBuf {
    let service = service.map(|service| format!(".{service}")).unwrap_or_default();
    folder.join(format!("{PREFIX}{zone}{service}"))
}

/// Writes down which run. A fault is told: it costs nothing unless control is killed.
pub fn keep(record: &Path, marks: impl Iterator<Item = Mark>) {
    let text: String = marks.map(|mark| format!("{} {}\n", mark.pid, mark.began)).collect();
    let mut next = record.as_os_str().to_owned();
    next.push("~");
    let next = PathBuf::from(next);
    let written = fs::write(&next, text).and_then(|()| fs::rename(&next, record));
    if let Err(fault) = written {
        tracing::warn!(%fault, record = %record.display(), "running processes are not kept");
    }
}

/// Asks all orphans of a data folder to end. Those that are to be killed if they do not.
///
/// # Errors
/// The folder cannot be read.
pub fn ask_to_end(folder: &Path) -> io::Result<Vec<Mark>> {
    let mut orphans = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !name.starts_with(PREFIX) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let marks = text.lines().filter_map(Mark::read);
        orphans.extend(marks.filter(|mark| mark.signal(Signal::TERM)));
        // What it says has been done; a file that stays would only be read again.
        let _ = fs::remove_file(&path);
    }
    for orphan in &orphans {
        tracing::warn!(pid = orphan.pid, "ends a process of a control that was killed");
    }
    Ok(orphans)
}

/// Kills those that are still there after a grace.
pub async fn kill_later(orphans: Vec<Mark>) {
    tokio::time::sleep(GRACE).await;
    for orphan in orphans {
        orphan.signal(Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn only_the_very_process_that_was_kept_is_signalled() {
        let folder = tempfile::tempdir().unwrap();
        use std::os::unix::process::CommandExt as _;
        let mut child =
            std::process::Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        let mark = Mark::of(pid).unwrap();
        let file = record(folder.path(), "paris", Some("notebook"));
        // Of the same number but another start, and lines that say nothing.
        let other = Mark { began: "boot 1".to_owned(), ..mark.clone() };
        keep(&file, [other].into_iter());
        assert_eq!(ask_to_end(folder.path()).unwrap(), []);
        assert!(!file.exists() && child.try_wait().unwrap().is_none());
        fs::write(&file, "x\n1 boot 1\n-7 boot 1\n\n").unwrap();
        assert_eq!(ask_to_end(folder.path()).unwrap(), []);
        keep(&file, [mark.clone()].into_iter());
        assert_eq!(ask_to_end(folder.path()).unwrap(), std::slice::from_ref(&mark));
        assert!(!child.wait().unwrap().success());
        assert!(!mark.is_there());
    }
}
