//! The last good table on disk, so that a proxy starts and serves while control is away. One file,
//! replaced whole (temporary file, fsync, rename); a damaged one is set aside and reported, never
//! trusted and never deleted.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use homing_wire::table::PlacementTable;

/// Where the last good table is kept.
#[derive(Clone, Debug)]
pub struct TableFile {
    path: PathBuf,
}

/// What the file held.
#[derive(Debug)]
pub enum Stored {
    /// Nothing has been stored yet.
    Nothing,
    /// A sound table.
    Table(Box<PlacementTable>),
    /// Bytes that are no table; they were moved aside for inspection.
    Damaged {
        /// Where the bytes are now.
        aside: PathBuf,
        /// What is wrong with them.
        fault: String,
    },
}

impl TableFile {
    /// The table file of a state directory.
    #[must_use]
    pub fn in_dir(state_dir: &Path) -> Self {
        Self { path: state_dir.join("table") }
    }

    /// Reads the stored table.
    ///
    /// # Errors
    /// The file cannot be read, or a damaged one cannot be set aside.
    pub fn load(&self) -> io::Result<Stored> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stored::Nothing),
            Err(error) => return Err(error),
        };
        match PlacementTable::decode(&bytes) {
            Ok(table) => Ok(Stored::Table(Box::new(table))),
            Err(fault) => {
                let aside = self.path.with_extension("damaged");
                fs::rename(&self.path, &aside)?;
                Ok(Stored::Damaged { aside, fault: fault.to_string() })
            }
        }
    }

    /// Replaces the stored table; when it returns, the new one survives a power cut.
    ///
    /// # Errors
    /// The disk's; the stored table is then the old one.
    pub fn save(&self, table: &PlacementTable) -> io::Result<()> {
        let temp = self.path.with_extension("new");
        let mut file = File::create(&temp)?;
        file.write_all(&table.encode())?;
        file.sync_all()?;
        fs::rename(&temp, &self.path)?;
        // The rename itself is durable only once the directory is.
        match self.path.parent() {
            Some(dir) => File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    }
}
