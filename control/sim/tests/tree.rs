//! The tree under test: the arrows between crates, the purity of those that decide, the size and
//! names of files, and that what the documentation points at exists. A rule that is only written
//! down erodes; these fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, MetadataCommand};

const LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 100;

/// Crates that decide and therefore cannot do.
const PURE: [&str; 5] =
    ["homing-wire", "homing-session", "homing-plan", "homing-forecast", "homing-sim"];

/// Who may depend on whom, build and test dependencies aside. Arrows run from control to the
/// proxy's pure crates, never back.
const ARROWS: [(&str, &[&str]); 10] = [
    ("homing-wire", &[]),
    ("homing-identity", &[]),
    ("homing-session", &["homing-wire"]),
    ("homing-forecast", &[]),
    ("homing-plan", &["homing-session", "homing-wire"]),
    ("homing-sim", &["homing-plan", "homing-session", "homing-wire"]),
    ("homing-proxy", &["homing-identity", "homing-session", "homing-wire"]),
    (
        "homing-control",
        &["homing-forecast", "homing-identity", "homing-plan", "homing-session", "homing-wire"],
    ),
    (
        "homing",
        &[
            "homing-control",
            "homing-forecast",
            "homing-plan",
            "homing-proxy",
            "homing-session",
            "homing-sim",
            "homing-wire",
        ],
    ),
    (
        "homing-bench",
        &["homing-control", "homing-plan", "homing-proxy", "homing-session", "homing-wire"],
    ),
];

/// What a pure crate may build on: data, hashes and errors. Nothing here can wait, read a clock,
/// open a file or draw a random number.
const PURE_DEPENDENCIES: [&str; 10] = [
    "blake3",
    "bytes",
    "crc32c",
    "hex",
    "prost",
    "serde",
    "serde-saphyr",
    "thiserror",
    "xxhash-rust",
    "homing-*",
];

/// Paths that would let a pure crate do something.
const IMPURE: [&str; 16] = [
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::thread",
    "std::process",
    "std::env",
    "std::io",
    "Instant::now",
    "SystemTime",
    "RandomState",
    "thread_rng",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "println!",
    "eprintln!",
];

/// Words that say nothing about what is inside.
const BANNED: [&str; 11] = [
    "manager", "utils", "util", "helpers", "helper", "common", "core", "engine", "misc", "base",
    "context",
];
const BANNED_ALONE: [&str; 3] = ["controller", "processor", "handler"];

#[test]
fn arrows_between_crates_run_one_way() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata of this workspace");
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut seen = BTreeSet::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let Some(may) = allowed.get(name) else {
            panic!("{name} is not in ARROWS: say there what it may depend on");
        };
        seen.insert(name.to_owned());
        for dependency in &package.dependencies {
            if dependency.kind != DependencyKind::Normal {
                continue;
            }
            let ours = dependency.name == "homing" || dependency.name.starts_with("homing-");
            if ours {
                assert!(may.contains(&dependency.name.as_str()), "{name} -> {}", dependency.name);
            } else if PURE.contains(&name) {
                let dependency = dependency.name.as_str();
                assert!(
                    PURE_DEPENDENCIES.contains(&dependency),
                    "{name} decides; it may not depend on {dependency}"
                );
            }
        }
    }
    assert_eq!(seen.len(), ARROWS.len(), "ARROWS names a crate that is not there");
}

#[test]
fn pure_crates_cannot_do() {
    let folders = [
        "proxy/wire/src",
        "proxy/session/src",
        "control/plan/src",
        "control/forecast/src",
        "control/sim/src",
    ];
    let mut files = 0;
    for folder in folders {
        for file in rust_files(&root().join(folder)) {
            files += 1;
            let text = read(&file);
            for (index, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for path in IMPURE {
                    assert!(!code.contains(path), "{}:{}: {path}", file.display(), index + 1);
                }
            }
        }
    }
    assert!(files > 20, "looked at {files} files only");
}

#[test]
fn files_are_short_captioned_and_named_for_what_they_hold() {
    let mut faults = Vec::new();
    for folder in ["proxy", "control", "benches"] {
        for file in rust_files(&root().join(folder)) {
            check_file(&file, &mut faults);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn check_file(file: &Path, faults: &mut Vec<String>) {
    let shown = file.strip_prefix(root()).unwrap_or(file).display().to_string();
    let text = read(file);
    let test = shown.contains("/tests/") || shown.ends_with("tests.rs");
    if !test && !text.starts_with("//!") {
        faults.push(format!("{shown}: opens without a caption (`//!`)"));
    }
    let lines = text.lines().count();
    let inline_tests = text.lines().position(|line| line.trim() == "mod tests {");
    if !test && inline_tests.unwrap_or(lines) > LINES_MAX {
        faults.push(format!("{shown}: {lines} lines, over {LINES_MAX}"));
    }
    for (index, line) in text.lines().enumerate() {
        if line.chars().count() > COLUMNS_MAX && !line.contains("http") && !line.contains('"') {
            faults.push(format!("{shown}:{}: over {COLUMNS_MAX} columns", index + 1));
        }
    }
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let words: Vec<&str> = stem.split('_').collect();
    if words.iter().any(|word| BANNED.contains(word)) || BANNED_ALONE.contains(&stem) {
        faults.push(format!("{shown}: a name that says nothing"));
    }
    if stem == "mod" {
        faults.push(format!("{shown}: a folder module is `name.rs` beside `name/`"));
    }
}

#[test]
fn type_and_module_names_say_what_they_are() {
    let mut faults = Vec::new();
    for folder in ["proxy", "control", "benches"] {
        for file in rust_files(&root().join(folder)) {
            for (index, line) in read(&file).lines().enumerate() {
                let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
                let (Some(kind), Some(name)) = (words.next(), words.next()) else {
                    continue;
                };
                if !["struct", "enum", "trait", "mod", "type"].contains(&kind) {
                    continue;
                }
                let name: String =
                    name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let words = words_of(&name);
                let says_nothing = words.last().is_some_and(|word| BANNED.contains(&word.as_str()))
                    || BANNED_ALONE.contains(&name.to_lowercase().as_str());
                if says_nothing {
                    faults.push(format!("{}:{}: {name}", file.display(), index + 1));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// `HoldLimits` and `hold_limits` are both `hold`, `limits`.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        let starts = letter.is_uppercase() || letter == '_';
        if starts && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(letter.to_lowercase().filter(|letter| *letter != '_'));
        }
    }
    words
}

#[test]
fn yaml_in_docs_and_configs_parses() {
    let mut checked = 0;
    for file in files_with(&root().join("configs"), "yaml") {
        parse_yaml(&file.display().to_string(), &read(&file));
        checked += 1;
    }
    for file in documents() {
        for (index, block) in fenced_blocks(&read(&file), "yaml").into_iter().enumerate() {
            parse_yaml(&format!("{} block {}", file.display(), index + 1), &block);
            checked += 1;
        }
    }
    assert!(checked >= 3, "found {checked} YAML texts only");
}

fn parse_yaml(place: &str, text: &str) {
    if let Err(error) = homing_wire::document::parse_node(text) {
        panic!("{place}: {error:?}");
    }
}

/// Words in backquotes that look like paths of this tree must be paths of this tree.
#[test]
fn paths_named_in_docs_exist() {
    let roots =
        ["proxy/", "control/", "configs/", "benches/", "k6/", "docs/", ".ci/", "third_party/"];
    let mut missing = Vec::new();
    let mut found = 0;
    for file in documents() {
        let text = read(&file);
        let beside = file.parent().unwrap_or(Path::new("")).to_path_buf();
        for word in text.split('`').skip(1).step_by(2) {
            let ours = roots.iter().any(|root| word.starts_with(root));
            let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if ours && plain {
                found += 1;
                if !root().join(word).exists() {
                    missing.push(format!("{}: `{word}`", file.display()));
                }
            }
        }
        for target in link_targets(&text) {
            found += 1;
            if !beside.join(target).exists() {
                missing.push(format!("{}: ({target})", file.display()));
            }
        }
    }
    assert!(missing.is_empty(), "named in docs, not in the tree:\n{}", missing.join("\n"));
    assert!(found > 20, "found {found} paths only");
}

/// Targets of Markdown links that stay in the tree.
fn link_targets(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://") && !target.starts_with('#'))
        .map(|target| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty())
        .collect()
}

fn fenced_blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        match (&mut open, line.trim()) {
            (Some(_), "```") => blocks.extend(open.take()),
            (Some(block), _) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, fence) if fence == format!("```{language}") => open = Some(String::new()),
            (None, _) => {}
        }
    }
    blocks
}

fn documents() -> Vec<PathBuf> {
    let mut files = files_with(&root().join("docs"), "md");
    for name in ["README.md", "CONTRIBUTING.md", "SECURITY.md", "k6/README.md", "configs/README.md"]
    {
        let file = root().join(name);
        if file.exists() {
            files.push(file);
        }
    }
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the tree's root")
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    files_with(folder, "rs")
}

fn files_with(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && name != "target" && name != "node_modules" {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
