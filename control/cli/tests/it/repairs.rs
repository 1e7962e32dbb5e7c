//! A proxy that comes back with a spoilt table on its disk, as processes.

use std::{path::Path, time::Duration};

use homing_wire::{Epoch, Home, PlacementTable, SessionKey, TableDraft, ZoneId};

use crate::{
    run::{Jar, Role, free_ports, homing, json, wait_ready},
    under_control::document,
};

fn page(port: u16, path: &str) -> String {
    Jar::default().ask(port, "GET", path, "").1
}

/// Waits until a page says something.
fn wait_for(port: u16, path: &str, says: &str) {
    for _ in 0..400 {
        if page(port, path).contains(says) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{says:?} never was in {path}:\n{}", page(port, path));
}

/// Puts a session into the stored table that control never put there.
fn spoil(file: &Path) {
    let table = PlacementTable::decode(&std::fs::read(file).unwrap()).unwrap();
    let mut draft = TableDraft {
        version: table.version(),
        created_ms: table.created_ms(),
        facts: table.facts().as_ref().clone(),
        buckets: table.buckets().clone(),
        exceptions: table.exceptions().clone(),
        directives: table.directives().clone(),
    };
    let home = Home { zone: ZoneId(1), epoch: Epoch(77) };
    draft.exceptions.insert(SessionKey(0xab << 120), home);
    std::fs::write(file, draft.seal().unwrap().encode()).unwrap();
}

#[test]
fn a_proxy_whose_stored_table_was_spoilt_is_mended_by_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(6);
    let [api, link, front, admin] = [ports[0], ports[1], ports[2], ports[3]];
    let file = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let zones = file("zones.yaml", document(&ports[4..]));
    let control_file = file(
        "control.yaml",
        format!(
            "api: {{ address: \"127.0.0.1:{api}\" }}\nlink: {{ address: \"127.0.0.1:{link}\" }}\n\
             data_dir: data\nround: 200ms\n"
        ),
    );
    let proxy_file = file(
        "proxy.yaml",
        format!(
            "listen: [{{ address: \"127.0.0.1:{front}\" }}]\nadmin: {{ address: \
             \"127.0.0.1:{admin}\" }}\ncontrol: {{ url: \"http://127.0.0.1:{link}\" }}\n\
             state_dir: state\n"
        ),
    );
    let log = |name: &str| dir.path().join(name);
    let _control = Role::start(&["control", &control_file], &log("control.log"));
    wait_ready(api, "/livez");
    let pushed = homing(&["push", &zones, "--control", &format!("127.0.0.1:{api}")]);
    assert_eq!(pushed.code, 0, "{}", pushed.err);
    let stored = dir.path().join("state/table");
    let proxy = Role::start(&["proxy", &proxy_file], &log("proxy.log"));
    wait_ready(admin, "/readyz");
    let digest = json(&page(api, "/v1/table"))["digest"].as_str().unwrap().to_owned();
    wait_for(admin, "/placement", &digest);
    let reads = || std::fs::read(&stored).is_ok_and(|bytes| PlacementTable::decode(&bytes).is_ok());
    for _ in 0..400 {
        if reads() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(proxy);
    spoil(&stored);
    assert!(page(api, "/metrics").contains("homing_control_snapshots_sent_total 1\n"));

    let _proxy = Role::start(&["proxy", &proxy_file], &log("again.log"));
    wait_ready(admin, "/readyz");
    wait_for(admin, "/metrics", "homing_repairs_total 1");
    let figures = page(api, "/metrics");
    assert!(figures.contains("homing_control_repairs_sent_total 1\n"), "{figures}");
    assert!(figures.contains("homing_control_snapshots_sent_total 1\n"), "{figures}");
    let digest = json(&page(api, "/v1/table"))["digest"].as_str().unwrap().to_owned();
    wait_for(admin, "/placement", &digest);
    assert_eq!(json(&page(admin, "/placement"))["exceptions"], 0);
}
