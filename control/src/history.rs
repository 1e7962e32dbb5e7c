//! What was observed, step by step and by the hour: the past that forecasts learn from, in a file
//! of its own so that nothing waits for it. What is older than its time is dropped.

use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

/// By series and step: the value.
const STEPS: TableDefinition<'_, (&str, u64), f64> = TableDefinition::new("steps");
/// By series and hour: sum, count and largest of the steps in it.
const HOURS: TableDefinition<'_, (&str, u64), (f64, u64, f64)> = TableDefinition::new("hours");

/// Steps that are kept of a series.
pub const STEPS_KEPT: u64 = 21_600;
/// Hours that are kept.
pub const HOURS_KEPT: u64 = 9_600;
/// Milliseconds of an hour.
pub const HOUR_MS: u64 = 3_600_000;
/// Appends between two looks for what is too old.
const PRUNE_EVERY: u64 = 60;

/// The file.
#[derive(Debug)]
pub struct History {
    db: Database,
    step_ms: u64,
    appended: u64,
}

/// Why it could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the history failed: {0}")]
pub struct HistoryFault(Box<redb::Error>);

impl<T: Into<redb::Error>> From<T> for HistoryFault {
    fn from(fault: T) -> Self {
        Self(Box::new(fault.into()))
    }
}

/// One hour of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hour {
    /// Hours since the Unix epoch.
    pub hour: u64,
    /// Mean of its steps.
    pub mean: f64,
    /// The largest of them.
    pub max: f64,
}

impl History {
    /// Opens or creates the history in a folder, of steps of that length.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn open(folder: &Path, step_ms: u64) -> Result<Self, HistoryFault> {
        let db = Database::create(folder.join("history.redb"))?;
        let txn = db.begin_write()?;
        txn.open_table(STEPS)?;
        txn.open_table(HOURS)?;
        txn.commit()?;
        Ok(Self { db, step_ms, appended: 0 })
    }

    /// Adds what was observed in a step; one that is there already is replaced in the steps and
    /// added to its hour, so each step is to be told once.
    ///
    /// # Errors
    /// The disk failed; nothing was written.
    pub fn append<'a>(
        &mut self,
        step: u64,
        values: impl Iterator<Item = (&'a str, f64)>,
    ) -> Result<(), HistoryFault> {
        let hour = step * self.step_ms / HOUR_MS;
        let txn = self.db.begin_write()?;
        {
            let (mut steps, mut hours) = (txn.open_table(STEPS)?, txn.open_table(HOURS)?);
            for (series, value) in values.filter(|(_, value)| value.is_finite()) {
                steps.insert((series, step), value)?;
                let known = hours.get((series, hour))?.map(|row| row.value());
                let (sum, count, max) = known.unwrap_or((0.0, 0, f64::MIN));
                hours.insert((series, hour), (sum + value, count + 1, max.max(value)))?;
            }
            self.appended += 1;
            if self.appended.is_multiple_of(PRUNE_EVERY) {
                steps.retain(|(_, at), _| at + STEPS_KEPT > step)?;
                hours.retain(|(_, at), _| at + HOURS_KEPT > hour)?;
            }
        }
        txn.commit()?;
        Ok(())
    }

    /// The series that are known, in order.
    ///
    /// # Errors
    /// The disk failed.
    pub fn series(&self) -> Result<Vec<String>, HistoryFault> {
        let txn = self.db.begin_read()?;
        let hours = txn.open_table(HOURS)?;
        let mut names: Vec<String> = Vec::new();
        for row in hours.range::<(&str, u64)>(..)? {
            let (key, _) = row?;
            let (name, _) = key.value();
            if names.last().is_none_or(|last| last != name) {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// The steps of a series from one on, oldest first.
    ///
    /// # Errors
    /// The disk failed.
    pub fn steps(&self, series: &str, from: u64) -> Result<Vec<(u64, f64)>, HistoryFault> {
        let txn = self.db.begin_read()?;
        let steps = txn.open_table(STEPS)?;
        let mut found = Vec::new();
        for row in steps.range((series, from)..=(series, u64::MAX))? {
            let (key, value) = row?;
            found.push((key.value().1, value.value()));
        }
        Ok(found)
    }

    /// The hours of a series from one on, oldest first.
    ///
    /// # Errors
    /// The disk failed.
    pub fn hours(&self, series: &str, from: u64) -> Result<Vec<Hour>, HistoryFault> {
        let txn = self.db.begin_read()?;
        let hours = txn.open_table(HOURS)?;
        let mut found = Vec::new();
        for row in hours.range((series, from)..=(series, u64::MAX))? {
            let (key, value) = row?;
            let (sum, count, max) = value.value();
            found.push(Hour { hour: key.value().1, mean: sum / count.max(1) as f64, max });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_add_up_to_hours_and_outlive_the_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut history = History::open(folder.path(), 60_000).expect("it opens");
        for step in 60..180 {
            let values = [("paris", step as f64), ("oslo", f64::NAN)];
            history.append(step, values.into_iter()).expect("it appends");
        }
        drop(history);
        let history = History::open(folder.path(), 60_000).expect("it opens again");
        assert_eq!(history.series().expect("names"), ["paris"]);
        assert_eq!(history.steps("paris", 178).expect("steps"), [(178, 178.0), (179, 179.0)]);
        let hours = history.hours("paris", 0).expect("hours");
        assert_eq!(hours[0], Hour { hour: 1, mean: 89.5, max: 119.0 });
        assert_eq!((hours.len(), hours[1].mean), (2, 149.5));
        assert!(history.steps("oslo", 0).expect("none").is_empty());
    }

    #[test]
    fn what_is_too_old_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut history = History::open(folder.path(), 60_000).expect("it opens");
        history.append(0, [("paris", 1.0)].into_iter()).expect("it appends");
        for step in 0..PRUNE_EVERY {
            let values = [("paris", 2.0)].into_iter();
            history.append(STEPS_KEPT + step, values).expect("it appends");
        }
        let steps = history.steps("paris", 0).expect("steps");
        assert_eq!((steps[0].0, steps.len() as u64), (STEPS_KEPT, PRUNE_EVERY));
    }
}
