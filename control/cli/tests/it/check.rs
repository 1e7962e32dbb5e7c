//! `homing check` tells all faults of all files at once, whichever kind they are.

use crate::run::homing;

const PROXY: &str = "\
listen: [{ address: 127.0.0.1:8080 }]
admin: { address: 0.0.0.0:9090 }
zones:
  - name: paris
    endpoints: [127.0.0.1:99999]
    price: { cpu_hour: -1 }
services:
  - name: shop
    session: { from: [{ coookie: sid }], idle: 24 }
    state: memory
";

#[test]
fn all_faults_are_told_with_place_and_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let proxy = file("proxy.yaml", PROXY);
    let control = file("control.yaml", "api: { address: 0.0.0.0:7601 }\ndata_dir: d\nroud: 1s\n");
    let broken = file("broken.yaml", "zones: [\n");
    let ran = homing(&["check", &proxy, &control, &broken]);
    assert_eq!(ran.code, 78, "{}", ran.err);
    for told in [
        "proxy.yaml:2:",
        "no token is set",
        "zones[0].endpoints[0]",
        "zones[0].price.cpu_hour: may not be negative",
        "did you mean `cookie`?",
        "write `24ms`, `24s`",
        "services[0].session.idle",
        "control.yaml:3:1: roud: unknown field `roud`",
        "did you mean `round`?",
        "list `tokens`, or bind 127.0.0.1",
        "broken.yaml",
        "5 faults in",
    ] {
        assert!(ran.err.contains(told), "{told} is not in:\n{}", ran.err);
    }
    let ran = homing(&["check", &proxy, "--output", "json"]);
    assert_eq!(ran.code, 78);
    let told: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(told[0]["kind"], "proxy");
    let faults = told[0]["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 5);
    assert!(faults.iter().all(|f| f["line"].as_u64() > Some(0) && f["remedy"].is_string()));
}

#[test]
fn what_ships_has_no_faults() {
    let configs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/");
    let files = ["solo.yaml", "zones.yaml", "control.yaml"].map(|f| format!("{configs}{f}"));
    let mut args = vec!["check"];
    args.extend(files.iter().map(String::as_str));
    let ran = homing(&args);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(ran.out.lines().count(), 3);
    assert_eq!(homing(&["proxy", &files[0], "--check"]).code, 0);
    assert_eq!(homing(&["proxy", &files[2], "--check"]).code, 78);
}

#[test]
fn what_ships_for_a_fleet_has_no_faults_once_its_keys_are_there() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/");
    let root = tempfile::tempdir().unwrap();
    let fleet = root.path().join("fleet");
    std::fs::create_dir(&fleet).unwrap();
    let zones = std::path::Path::new(shipped).join("zones.yaml");
    std::fs::copy(zones, root.path().join("zones.yaml")).unwrap();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(format!("{shipped}fleet")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().extension().is_some_and(|extension| extension == "yaml") {
            let copy = fleet.join(entry.file_name());
            std::fs::copy(entry.path(), &copy).unwrap();
            files.push(copy.display().to_string());
        }
    }
    assert_eq!(files.len(), 5, "{files:?}");
    let certs = fleet.join("certs").display().to_string();
    let nodes = ["control", "edge-1", "gate-paris", "gate-oregon", "gate-tokyo"];
    let mut args = vec!["certs", certs.as_str()];
    args.extend(nodes);
    assert_eq!(homing(&args).code, 0);
    for key in ["session.key", "cookie.key"] {
        std::fs::write(fleet.join("certs").join(key), "0123456789abcdef".repeat(4)).unwrap();
    }
    let mut args = vec!["check"];
    args.extend(files.iter().map(String::as_str));
    let ran = homing(&args);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

#[test]
fn mistakes_on_the_command_line_have_their_codes_and_remedies() {
    assert_eq!(homing(&["frobnicate"]).code, 2);
    assert_eq!(homing(&["demo", "--zones", "9"]).code, 2);
    assert_eq!(homing(&["demo", "--for", "20"]).code, 2);
    assert_eq!(homing(&["check", "/nowhere/at/all.yaml"]).code, 1);
    let ran = homing(&["status", "--admin", "127.0.0.1:1"]);
    assert_eq!(ran.code, 69);
    assert!(ran.err.contains("cannot reach http://127.0.0.1:1: is the proxy running?"));
    assert!(ran.err.contains("homing proxy configs/solo.yaml"));
    let ran = homing(&["config", "show"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("HOMING_CONTROL"));
    assert!(homing(&["completions", "bash"]).out.contains("_homing"));
}
