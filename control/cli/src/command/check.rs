//! `homing check`: every fault of every file, whichever kind it is: a proxy's settings, control's,
//! or a document of zones and services. The readers are those of the processes themselves.

use std::path::{Path, PathBuf};

use homing_wire::document::{Document, Faults, parse_node, tree::Value};
use serde_json::json;

use crate::args::{CheckArgs, Output};
use crate::trouble::{Trouble, exit};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A proxy's settings.
    Proxy,
    /// Control's settings.
    Control,
    /// Zones, services, places, policy.
    Document,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Control => "control",
            Self::Document => "document",
        }
    }

    /// Told by the keys that only one kind has; a text that cannot be read is a document, whose
    /// reader says why.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let Ok(node) = parse_node(text) else { return Self::Document };
        let Value::Map(entries) = node.value else { return Self::Document };
        let has = |keys: &[&str]| entries.iter().any(|entry| keys.contains(&entry.key.as_str()));
        if has(&["api", "link", "data_dir"]) {
            Self::Control
        } else if has(&["listen", "admin", "state_dir", "control"]) {
            Self::Proxy
        } else {
            Self::Document
        }
    }
}

/// Checks the files.
///
/// # Errors
/// Exit 78 if any has a fault, 1 if any cannot be read.
pub fn run(args: &CheckArgs) -> Result<(), Trouble> {
    check_files(None, &args.files, args.output)
}

/// Checks files as one kind, or each as what it seems to be.
///
/// # Errors
/// As [`run`]. The faults are told already: the trouble has no text.
pub fn check_files(kind: Option<Kind>, files: &[PathBuf], output: Output) -> Result<(), Trouble> {
    let mut results = Vec::new();
    let mut worst = exit::OK;
    for file in files {
        let shown = file.display().to_string();
        let (code, words, result) = match std::fs::read_to_string(file) {
            Ok(text) => {
                let kind = kind.unwrap_or_else(|| Kind::of(&text));
                checked(kind, &shown, check(kind, file, &text))
            }
            Err(error) => (
                exit::FAILURE,
                format!("{shown}: cannot be read: {error}\n"),
                json!({"file": shown, "error": error.to_string()}),
            ),
        };
        worst = worst.max(code);
        match (output, code) {
            (Output::Json, _) => {}
            (Output::Table, exit::OK) => print!("{words}"),
            (Output::Table, _) => eprint!("{words}"),
        }
        results.push(result);
    }
    if output == Output::Json {
        println!("{}", serde_json::to_string_pretty(&results).unwrap_or_default());
    }
    match worst {
        exit::OK => Ok(()),
        code => Err(Trouble { code, text: String::new(), remedy: String::new() }),
    }
}

fn checked(kind: Kind, file: &str, result: Result<(), Faults>) -> (u8, String, serde_json::Value) {
    let name = kind.name();
    match result {
        Ok(()) => {
            let result = json!({"file": file, "kind": name, "faults": []});
            (exit::OK, format!("{file}: {name} configuration, no faults\n"), result)
        }
        Err(faults) => {
            let list = faults.list();
            let more = faults.more();
            let result = json!({"file": file, "kind": name, "faults": list, "not_shown": more});
            (exit::CONFIG, faults.render(file), result)
        }
    }
}

/// Checks one text as the process that reads it would; relative paths in it start at its folder.
///
/// # Errors
/// Every fault.
pub fn check(kind: Kind, file: &Path, text: &str) -> Result<(), Faults> {
    let folder = file.parent().unwrap_or(Path::new(""));
    match kind {
        Kind::Proxy => homing_proxy::config::Settings::parse(text, folder).map(drop),
        Kind::Control => homing_control::config::parse(text, folder).map(drop),
        Kind::Document => Document::parse(text).map(drop),
    }
}
