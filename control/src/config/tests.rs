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

#[test]
fn a_token_may_be_for_some_tenants_and_never_for_all_by_mistake() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "0123456789abcdef\n").unwrap();
    let read = |more: &str| {
        let text = format!(
            "data_dir: d\napi:\n  tokens:\n    - {{ name: ci, role: read, file: secret{more} }}\n"
        );
        parse(&text, folder.path())
    };
    assert!(read("").unwrap().tokens[0].scope.is_operator());
    let of = read(", tenants: [acme, globex]").unwrap().tokens.remove(0).scope;
    assert_eq!(of.tenants().collect::<Vec<_>>(), ["acme", "globex"]);
    for wrong in [", tenants: []", ", tenants: acme", ", tenants: [\"\"]", ", tenants: "] {
        let faults = read(wrong).expect_err(wrong);
        let places: Vec<&str> = faults.list().iter().map(|fault| fault.path.as_str()).collect();
        assert!(places[0].starts_with("api.tokens[0].tenants"), "{wrong}: {places:?}");
    }
    let twice = read(" }\n    - { name: ci, role: write, file: secret").unwrap_err();
    assert_eq!(twice.list()[0].path, "api.tokens[1]");
}
