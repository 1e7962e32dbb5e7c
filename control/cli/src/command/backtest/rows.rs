//! Comma-separated rows of a plain or gzip file, with errors that name the line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::trouble::Trouble;

/// The first bytes of every gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The rows of one file.
pub(super) struct Rows {
    path: PathBuf,
    lines: Box<dyn BufRead>,
    header: Vec<String>,
    line: usize,
}

/// What is wrong with a file, and where.
pub(super) fn fault(path: &Path, line: usize, wrong: &str) -> Trouble {
    Trouble::failure(format!("{}, line {line}: {wrong}", path.display()))
        .remedy("the files are laid out as docs/BACKTEST.md says")
}

impl Rows {
    /// A file whose first row names the columns.
    pub(super) fn open(path: &Path) -> Result<Self, Trouble> {
        let mut rows = Self::open_bare(path)?;
        rows.header = rows.next_row()?.ok_or_else(|| fault(path, 1, "the file is empty"))?;
        Ok(rows)
    }

    /// A file without such a row.
    pub(super) fn open_bare(path: &Path) -> Result<Self, Trouble> {
        let unreadable = |error: std::io::Error| {
            Trouble::failure(format!("{}: {error}", path.display()))
                .remedy("give the folder that holds the data, laid out as docs/BACKTEST.md says")
        };
        let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
        let zipped = file.fill_buf().map_err(unreadable)?.starts_with(&GZIP);
        let plain: Box<dyn Read> =
            if zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let lines = Box::new(BufReader::with_capacity(1 << 16, plain));
        Ok(Self { path: path.to_owned(), lines, header: Vec::new(), line: 0 })
    }

    /// The names of the columns.
    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// The place of a column.
    pub(super) fn column(&self, name: &str) -> Result<usize, Trouble> {
        let missing = || {
            let known = self.header.join(", ");
            fault(&self.path, 1, &format!("there is no column {name:?}; the columns are {known}"))
        };
        self.header.iter().position(|known| known == name).ok_or_else(missing)
    }

    /// The next row; `None` at the end.
    pub(super) fn next_row(&mut self) -> Result<Option<Vec<String>>, Trouble> {
        let mut line = String::new();
        self.line += 1;
        match self.lines.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(line.trim_end().split(',').map(ToOwned::to_owned).collect())),
            Err(error) => Err(fault(&self.path, self.line, &error.to_string())),
        }
    }

    /// A number of the row that was read last.
    pub(super) fn number(&self, row: &[String], column: usize) -> Result<f64, Trouble> {
        let text = row.get(column).map_or("", String::as_str);
        text.trim().parse().map_err(|_| {
            fault(&self.path, self.line, &format!("column {}: {text:?} is no number", column + 1))
        })
    }
}
