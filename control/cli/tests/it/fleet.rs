//! A fleet as an operator runs it: control, an edge, a gate in each of two zones and an app behind
//! each, all processes of their own, talking over mutual TLS and QUIC.

use std::path::Path;

use crate::run::{Jar, Role, free_ports, homing, json, wait_ready};

/// A running fleet of two zones.
pub(crate) struct Fleet {
    _dir: tempfile::TempDir,
    roles: std::collections::BTreeMap<String, Role>,
    control: String,
    pub(crate) edge: u16,
    admin: [u16; 4],
}

pub(crate) const ZONES: [&str; 2] = ["paris", "tokyo"];

impl Fleet {
    pub(crate) fn start() -> Self {
        Self::start_over(document)
    }

    /// Over other apps than notebooks, as a document says that is given free ports.
    pub(crate) fn start_over(document: impl Fn(&[u16]) -> String) -> Self {
        Self::start_with(document, |_| Vec::new())
    }

    /// The same, where the app of each zone is told more.
    pub(crate) fn start_with(
        document: impl Fn(&[u16]) -> String,
        told: impl Fn(usize) -> Vec<String>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports = free_ports(18);
        certify(dir.path(), &["control", "edge-1", "gate-paris", "gate-tokyo", "gate-paris-2"]);
        let file = |name: &str, text: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let identity =
            |name: &str| format!("identity: {{ ca: ca.pem, cert: {name}.pem, key: {name}.key }}\n");
        let control_file = file(
            "control.yaml",
            format!(
                "api: {{ address: \"127.0.0.1:{}\" }}\nlink: {{ address: \"127.0.0.1:{}\" }}\n\
                 data_dir: data\nround: 200ms\nidentity: {{ ca: ca.pem, cert: control.pem, key: \
                 control.key }}\n",
                ports[0], ports[1]
            ),
        );
        let link =
            format!("control: {{ url: \"https://127.0.0.1:{}\", name: control }}\n", ports[1]);
        file("secret", "0123456789abcdef0123456789abcdef".to_owned());
        let edge_file = file(
            "edge.yaml",
            format!(
                "name: edge-1\nrole: edge\nlisten: [{{ address: \"127.0.0.1:{}\" }}]\n\
                 admin: {{ address: \"127.0.0.1:{}\" }}\nstate_dir: edge-state\nsecrets: {{ \
                 session_key: {{ file: secret }}, cookies: [{{ file: secret }}] }}\n{link}{}",
                ports[2],
                ports[3],
                identity("edge-1")
            ),
        );
        let gate_file = |name: &str, zone: &str, [http, link_at, admin]: [u16; 3]| {
            file(
                &format!("{name}.yaml"),
                format!(
                    "name: {name}\nrole: gate\ngate: {{ zone: {zone}, http: \"127.0.0.1:{http}\", \
                     link: \"127.0.0.1:{link_at}\" }}\nadmin: {{ address: \"127.0.0.1:{admin}\" \
                     }}\nstate_dir: {name}-state\n{link}{}",
                    identity(name)
                ),
            )
        };
        let gates = [0, 1].map(|index| {
            let (name, ports) =
                (format!("gate-{}", ZONES[index]), [4, 6, 8].map(|n| ports[n + index]));
            gate_file(&name, ZONES[index], ports)
        });
        gate_file("gate-paris-2", ZONES[0], [ports[12], ports[13], ports[14]]);
        let zones = file("zones.yaml", document(&ports[10..12]));
        let log = |name: &str| dir.path().join(name);
        let listen = |port: u16| format!("127.0.0.1:{port}");
        let mut roles = std::collections::BTreeMap::new();
        for (index, (zone, port)) in ZONES.iter().zip(&ports[10..12]).enumerate() {
            let (port, told) = (listen(*port), told(index));
            let mut args = vec!["app", "--zone", zone, "--listen", &port];
            args.extend(told.iter().map(String::as_str));
            roles.insert(format!("app-{zone}"), Role::start(&args, &log(zone)));
        }
        let role = Role::start(&["control", &control_file], &log("control.log"));
        roles.insert("control".to_owned(), role);
        wait_ready(ports[0], "/livez");
        let control = listen(ports[0]);
        let pushed = homing(&["push", &zones, "--control", &control]);
        assert_eq!(pushed.code, 0, "{}", pushed.err);
        for (zone, gate) in ZONES.iter().zip(&gates) {
            let name = format!("gate-{zone}");
            let role = Role::start(&["proxy", gate], &log(&format!("{name}.log")));
            roles.insert(name, role);
        }
        let role = Role::start(&["proxy", &edge_file], &log("edge.log"));
        roles.insert("edge-1".to_owned(), role);
        let admin = [ports[3], ports[8], ports[9], ports[14]];
        for port in &admin[..3] {
            let port = *port;
            wait_ready(port, "/readyz");
        }
        Self { _dir: dir, roles, control, edge: ports[2], admin }
    }

    /// Kills a gate in the middle of whatever it does, and starts it again.
    pub(crate) fn kill_gate(&mut self, zone: &str) {
        let gate = format!("gate-{zone}");
        drop(self.roles.remove(&gate));
        let file = self._dir.path().join(format!("{gate}.yaml")).display().to_string();
        let log = self._dir.path().join(format!("{gate}-again.log"));
        self.roles.insert(gate, Role::start(&["proxy", &file], &log));
    }

    /// Kills a process for good.
    pub(crate) fn kill(&mut self, name: &str) {
        drop(self.roles.remove(name));
    }

    /// Starts a second gate of the first zone.
    pub(crate) fn add_gate(&mut self, name: &str) {
        let file = self._dir.path().join(format!("{name}.yaml")).display().to_string();
        let log = self._dir.path().join(format!("{name}.log"));
        self.roles.insert(name.to_owned(), Role::start(&["proxy", &file], &log));
        wait_ready(self.admin[3], "/readyz");
    }

    pub(crate) fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self._dir.path().join(name)).unwrap_or_default()
    }

    /// What everyone has logged, for a test that fails.
    pub(crate) fn logs(&self) -> String {
        let names = ["control", "edge", "gate-paris", "gate-tokyo"];
        names.map(|name| format!("{name}:\n{}", self.log(&format!("{name}.log")))).join("\n")
    }

    /// A page of a process's admin side: the edge's (0), or a zone's gate's.
    pub(crate) fn look(&self, process: usize, path: &str) -> (u16, String) {
        Jar::default().ask(self.admin[process], "GET", path, "")
    }

    pub(crate) fn ask(&self, args: &[&str]) -> crate::run::Ran {
        let admin = format!("127.0.0.1:{}", self.admin[0]);
        let mut all = args.to_vec();
        all.extend(["--control", &self.control, "--admin", &admin]);
        homing(&all)
    }
}

pub(crate) fn document(apps: &[u16]) -> String {
    format!(
        "zones:\n  - {{ name: paris, endpoints: [\"127.0.0.1:{}\"] }}\n  - {{ name: tokyo, \
         endpoints: [\"127.0.0.1:{}\"] }}\nservices:\n  - name: notebook\n    session: {{ from: [{{ \
         cookie: {{ name: homing, secure: false }} }}], idle: 1h }}\n    state: hooks\n    idempotency: on\n",
        apps[0], apps[1]
    )
}

/// A CA of the test's own and a certificate for each node, as an operator makes them.
fn certify(dir: &Path, names: &[&str]) {
    let dir = dir.display().to_string();
    let mut args = vec!["certs", dir.as_str()];
    args.extend(names);
    let made = homing(&args);
    assert_eq!(made.code, 0, "{}", made.err);
    assert_eq!(homing(&args).code, 1, "keys that are there are not replaced");
}

#[test]
fn a_session_is_handed_over_between_gates_and_its_requests_follow() {
    let fleet = Fleet::start();
    let mut jar = Jar::default();
    let wrote = jar.ask(fleet.edge, "POST", "/notebook", "milk");
    assert_eq!(
        wrote.0,
        200,
        "{wrote:?}\n{}\n{}",
        fleet.log("gate-paris.log"),
        fleet.log("edge.log")
    );
    let here = json(&jar.ask(fleet.edge, "GET", "/notebook", "").1);
    let key = here["session"].as_str().unwrap();
    let mut zone = here["zone"].as_str().unwrap().to_owned();
    for round in 0..6 {
        let to = if zone == "paris" { "tokyo" } else { "paris" };
        let moved = fleet.ask(&["move", key, to, "--wait"]);
        assert_eq!(
            moved.code,
            0,
            "{round}: {}\n{}\n{}\n{}",
            moved.err,
            fleet.log("gate-paris.log"),
            fleet.log("gate-tokyo.log"),
            fleet.log("control.log")
        );
        let there = json(&jar.ask(fleet.edge, "GET", "/notebook", "").1);
        assert_eq!(there["zone"].as_str(), Some(to), "{round}");
        zone = to.to_owned();
        assert_eq!(jar.ask(fleet.edge, "POST", "/notebook", "bread").0, 200);
    }
    // What was executed before a move is not executed again after it.
    jar.key = Some("eggs-1".to_owned());
    assert_eq!(jar.ask(fleet.edge, "POST", "/notebook", "eggs").0, 200);
    let to = if zone == "paris" { "tokyo" } else { "paris" };
    assert_eq!(fleet.ask(&["move", key, to, "--wait"]).code, 0);
    let (status, told) = jar.ask(fleet.edge, "POST", "/notebook", "eggs");
    assert!(status == 409 && told.contains("request-executed"), "{told}");
    let last = json(&jar.ask(fleet.edge, "GET", "/notebook", "").1);
    assert_eq!(last["zone"].as_str(), Some(to));
    assert_eq!(last["lines"].as_u64().or(last["count"].as_u64()), Some(8), "{last}");
}

#[test]
fn a_gate_that_is_killed_comes_back_as_another_life_and_its_sessions_go_on() {
    let mut fleet = Fleet::start();
    let mut jar = Jar::default();
    let (status, told) = jar.ask(fleet.edge, "POST", "/notebook", "milk");
    assert_eq!(status, 200, "{told}\n{}", fleet.logs());
    let here = json(&jar.ask(fleet.edge, "GET", "/notebook", "").1);
    let gate = format!("gate-{}", here["zone"].as_str().unwrap());
    fleet.kill_gate(here["zone"].as_str().unwrap());
    // It waits for the gate and needs no client's retry.
    let (status, told) = jar.ask(fleet.edge, "POST", "/notebook", "bread");
    let again = fleet.log(&format!("{gate}-again.log"));
    assert_eq!(status, 200, "{told}\nthe gate's second life:\n{again}\n{}", fleet.logs());
    let there = json(&jar.ask(fleet.edge, "GET", "/notebook", "").1);
    assert_eq!((&there["zone"], there["count"].as_u64()), (&here["zone"], Some(2)));
    assert!(fleet.log("control.log").matches("a gate's life begins").count() >= 3);
}

#[test]
fn a_body_that_an_edge_cannot_send_again_is_sent_on_by_the_gate() {
    let fleet = Fleet::start();
    let mut jar = Jar::default();
    assert_eq!(jar.ask(fleet.edge, "POST", "/notebook", "milk").0, 200);
    let here = json(&jar.ask(fleet.edge, "GET", "/notebook", "").1);
    let to = if here["zone"] == "paris" { "tokyo" } else { "paris" };
    let key = here["session"].as_str().unwrap();
    assert_eq!(fleet.ask(&["move", key, to, "--wait"]).code, 0);
    // Larger than what is kept for a second try; the app refuses it by its length, which shows
    // that it arrived.
    let (status, told) = jar.ask(fleet.edge, "POST", "/notebook", &"x".repeat(200_000));
    assert_eq!((status, told.contains("4096 bytes")), (400, true), "{told}");
}

#[test]
fn a_stranger_gets_nowhere() {
    let fleet = Fleet::start();
    let strangers = tempfile::tempdir().unwrap();
    certify(strangers.path(), &["gate-paris", "edge-9"]);
    let text = std::fs::read_to_string(fleet._dir.path().join("gate-paris.yaml")).unwrap();
    let [http, link, admin] = free_ports(3)[..] else { unreachable!() };
    let start = |name: &str, dir: &Path, text: String| {
        let file = dir.join(format!("{name}.yaml"));
        std::fs::write(&file, text).unwrap();
        let log = fleet._dir.path().join(format!("{name}.log"));
        Role::start(&["proxy", &file.display().to_string()], &log)
    };
    let elsewhere = |text: &str| {
        let gate = format!(
            "gate: {{ zone: paris, http: \"127.0.0.1:{http}\", link: \"127.0.0.1:{link}\" }}"
        );
        let lines = text.lines().map(|line| match line.split(':').next() {
            Some("gate") => gate.clone(),
            Some("admin") => format!("admin: {{ address: \"127.0.0.1:{admin}\" }}"),
            _ => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    // A gate of that name, by another CA.
    let forged = start("forged", strangers.path(), elsewhere(&text));
    until("the forged gate to be refused", || {
        fleet.log("control.log").contains("refused a connection to the link")
    });
    drop(forged);
    // A node of ours that says it is another.
    let ours = fleet._dir.path();
    let lying = elsewhere(&text).replace("gate-paris.pem", "edge-1.pem");
    let lying = lying.replace("gate-paris.key", "edge-1.key");
    let _lying = start("lying", ours, lying);
    until("the other's certificate to be refused", || {
        fleet.log("lying.log").contains("this process is \"gate-paris\"")
    });
    let mut jar = Jar::default();
    assert_eq!(jar.ask(fleet.edge, "POST", "/notebook", "milk").0, 200);
}

fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..400 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("waited in vain for {what}");
}
