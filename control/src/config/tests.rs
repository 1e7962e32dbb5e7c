use std::path::Path;

use super::*;

#[test]
fn the_example_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/control.yaml");
    let settings = load(&path).unwrap();
    assert_eq!(settings.api.port(), 7601);
    assert_eq!(settings.link.port(), 7600);
    assert!(settings.document.is_some_and(|document| document.exists()));
}

#[test]
fn every_fault_is_told_at_once() {
    let text = "api: { address: 0.0.0.0:7601 }\nlink: { address: 10.0.0.1:1 }\ndatadir: x\n\
                round: 5\n";
    let faults = parse(text, Path::new("")).unwrap_err();
    let paths: Vec<&str> = faults.list().iter().map(|fault| fault.path.as_str()).collect();
    for due in ["api.address", "link.address", "datadir", "round"] {
        assert!(paths.contains(&due), "{due} in {paths:?}");
    }
    assert!(faults.list().iter().all(|fault| !fault.remedy.is_empty()));
}

#[test]
fn a_secret_comes_from_a_file_and_is_long_enough() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("long"), "0123456789abcdef\n").unwrap();
    std::fs::write(folder.path().join("short"), "1234").unwrap();
    let text = |file: &str| {
        format!(
            "data_dir: d\napi:\n  address: 0.0.0.0:1\n  tokens: \
             [{{ name: ci, role: write, file: {file} }}]\n"
        )
    };
    assert_eq!(parse(&text("long"), folder.path()).unwrap().tokens.len(), 1);
    for wrong in ["short", "missing"] {
        let faults = parse(&text(wrong), folder.path()).unwrap_err();
        assert!(faults.list().iter().any(|f| f.path.ends_with("file")), "{faults}");
    }
}
