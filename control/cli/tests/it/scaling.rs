//! A zone scaled by control's own settings, with the sample app as the process that is started:
//! through the command from its settings to its end, killed control included.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::run::{BIN, Jar, Role, free_ports, homing, json, wait_ready};

#[test]
fn a_zone_is_scaled_with_apps_that_do_not_outlive_control() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(5);
    let (api, own, provided) = (ports[0], ports[2], ports[3].min(ports[4]));
    let file = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let settings = format!(
        "api: {{ address: \"127.0.0.1:{api}\" }}\nlink: {{ address: \"127.0.0.1:{}\" }}\n\
         data_dir: data\nround: 100ms\nscaling:\n  - zone: paris\n    capacity: 100\n    \
         min: 1\n    max: 1\n    process:\n      command: [\"{BIN}\", app, --zone, paris, \
         --listen, \"127.0.0.1:{{port}}\", --exit-with-parent]\n      \
         ports: {{ from: {provided}, to: {provided} }}\n",
        ports[1],
    );
    let control_file = file("control.yaml", settings.clone());
    let faulty = file("faulty.yaml", settings.replace("capacity: 100", "capacity: 0"));
    let zones = file(
        "zones.yaml",
        format!(
            "zones:\n  - {{ name: paris, endpoints: [\"127.0.0.1:{own}\"] }}\nservices:\n  \
             - name: notebook\n    session: {{ from: [{{ header: x-user }}], idle: 1h }}\n    \
             state: hooks\npolicy: {{ act: on }}\n"
        ),
    );
    assert_eq!(homing(&["check", &faulty]).code, 78);
    assert_eq!(homing(&["check", &control_file]).code, 0, "{}", settings);
    let control = Role::start(&["control", &control_file], &dir.path().join("control.log"));
    wait_ready(api, "/livez");
    let at = format!("http://127.0.0.1:{api}");
    let ask = |args: &[&str]| homing(&[args, &["--control", &at]].concat());
    assert_eq!(ask(&["push", &zones]).code, 0);
    let told = until(|| {
        let told = json(&ask(&["scaling", "paris", "--output", "json"]).out);
        (told["groups"][0]["ready"] == 1).then_some(told)
    });
    let address = format!("127.0.0.1:{provided}");
    assert_eq!(told["groups"][0]["endpoints"][0]["address"], address.as_str());
    let shown = ask(&["scaling", "paris"]).out;
    for due in ["every service, by process", "1 ready", "offered", "nine of ten", &address] {
        assert!(shown.contains(due), "{due}: {shown}");
    }
    assert_eq!(ask(&["scaling", "atlantis"]).code, 1);
    // No step of a minute is over yet: what lies ahead is not foreseen, and that is told.
    let ahead = ask(&["predict-scale", "paris"]).out;
    assert!(ahead.contains("every service in paris") && ahead.contains("no_forecast"), "{ahead}");
    let (from, to) = ("2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z");
    let event = ["predict-scale", "paris", "--event", "sale", "--from", from, "--times", "3"];
    let far = ask(&[&event[..], &["--to", to, "--apply"]].concat());
    assert!(far.code != 0 && far.err.contains("90 days"), "{}", far.err);
    let plan = ask(&["plan", "paris"]).out;
    assert!(plan.contains("bandwidth") && plan.contains("not foreseen"), "{plan}");
    let audit = ask(&["audit"]).out;
    assert!(audit.contains("PUT /v1/document") && audit.contains("accepted"), "{audit}");
    assert!(audit.contains("/v1/regions/paris/predictiveScale"), "{audit}");
    wait_ready(provided, "/healthz");

    // Killed without a word: the app finds its input ended.
    drop(control);
    until(|| TcpStream::connect(&address).is_err().then_some(()));

    // One that does not look at its input stays, until the next control ends it: it has the only
    // port there is.
    file("control.yaml", settings.replace(", --exit-with-parent", ""));
    let run = || Role::start(&["control", &control_file], &dir.path().join("control.log"));
    let ready = || json(&ask(&["scaling", "paris", "--output", "json"]).out)["groups"][0].clone();
    let control = run();
    wait_ready(api, "/livez");
    until(|| (ready()["ready"] == 1).then_some(()));
    wait_ready(provided, "/healthz");
    make_item(&address);
    drop(control);
    assert_eq!(items_made(provided), 1, "it does not outlive control");
    let mut control = run();
    wait_ready(api, "/livez");
    // It may be refused at first, while the orphan ends; the wish is put again.
    until(|| {
        let told = ready();
        let last = told["answers"].as_array()?.last()?["answer"] == "offered";
        (last && told["ready"] == 1).then_some(())
    });
    assert_eq!(items_made(provided), 0, "it is the one of the control before");
    assert!(control.leaves_with_its_parent());
    // That end is as sudden as a kill; another control clears up, and is asked to end.
    file("control.yaml", settings.replace("min: 1", "min: 0"));
    let _control = run();
    wait_ready(api, "/livez");
    until(|| TcpStream::connect(&address).is_err().then_some(()));
}

/// Has an app make an item; it is no text.
fn make_item(address: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /items/a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

/// What the app on a port has made in this life.
fn items_made(port: u16) -> u64 {
    let (status, figures) = Jar::default().ask(port, "GET", "/homing/app/figures", "");
    assert_eq!(status, 200, "{figures}");
    json(&figures)["items"].as_u64().unwrap()
}

/// What comes within a while.
fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    while Instant::now() < end {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it never came");
}
