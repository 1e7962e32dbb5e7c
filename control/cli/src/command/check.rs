//! `homing check`: every fault of every file, whichever kind it is: a proxy's settings, control's, or
//! a document of zones and services. The readers are those of the processes themselves.

use std::path::Path;

use homing_wire::document::Document;
use homing_wire::document::{Faults, parse_node, tree::Value};
use serde_json::json;

use crate::args::{CheckArgs, Output};
use crate::trouble::{Trouble, exit};

/// Keys at the top of a proxy's settings beside the shared sections.
pub const PROXY_KEYS: [&str; 13] = [
    "name",
    "listen",
    "admin",
    "control",
    "state_dir",
    "secrets",
    "jwt_keys",
    "access_log",
    "limits",
    "trusted_peers",
    "expose_zone",
    "drain",
    "place_header",
];

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
        let Ok(node) = parse_node(text) else {
            return Self::Document;
        };
        let Value::Map(entries) = node.value else {
            return Self::Document;
        };
        let has = |keys: &[&str]| entries.iter().any(|entry| keys.contains(&entry.key.as_str()));
        if has(&["listen", "admin", "state_dir"]) {
            Self::Proxy
        } else if has(&["api", "link", "data_dir"]) {
            Self::Control
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
    let mut results = Vec::new();
    let mut worst = exit::OK;
    for file in &args.files {
        let shown = file.display().to_string();
        let result = match std::fs::read_to_string(file) {
            Ok(text) => {
                let kind = Kind::of(&text);
                match check(kind, file, &text) {
                    Ok(()) => {
                        if args.output == Output::Table {
                            println!("{shown}: {} configuration, no faults", kind.name());
                        }
                        json!({"file": shown, "kind": kind.name(), "faults": []})
                    }
                    Err(faults) => {
                        worst = worst.max(exit::CONFIG);
                        if args.output == Output::Table {
                            eprint!("{}", faults.render(&shown));
                        }
                        json!({
                            "file": shown,
                            "kind": kind.name(),
                            "faults": faults.list(),
                            "not_shown": faults.more(),
                        })
                    }
                }
            }
            Err(error) => {
                worst = worst.max(exit::FAILURE);
                if args.output == Output::Table {
                    eprintln!("{shown}: cannot be read: {error}");
                }
                json!({"file": shown, "error": error.to_string()})
            }
        };
        results.push(result);
    }
    if args.output == Output::Json {
        println!("{}", serde_json::to_string_pretty(&results).unwrap_or_default());
    }
    match worst {
        exit::OK => Ok(()),
        code => Err(Trouble { code, text: String::new(), remedy: String::new() }),
    }
}

/// Checks one text as the process that reads it would.
///
/// # Errors
/// Every fault.
pub fn check(kind: Kind, _file: &Path, text: &str) -> Result<(), Faults> {
    match kind {
        Kind::Proxy => Document::parse_among(text, &PROXY_KEYS).map(drop),
        Kind::Control | Kind::Document => Document::parse(text).map(drop),
    }
}
