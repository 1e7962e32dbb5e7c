//! Control and a proxy under it, through the command: push, status, move and the document back.

use crate::run::{Jar, Role, free_ports, homing, json, wait_ready};

pub(crate) fn document(apps: &[u16]) -> String {
    format!(
        "zones:\n  - {{ name: paris, endpoints: [\"127.0.0.1:{}\"] }}\n  - {{ name: tokyo, \
         endpoints: [\"127.0.0.1:{}\"] }}\nservices:\n  - name: notebook\n    session: {{ from: [{{ \
         cookie: {{ name: homing, secure: false }} }}], idle: 1h }}\n    state: hooks\n",
        apps[0], apps[1]
    )
}

#[test]
fn a_document_is_pushed_and_a_session_moved_by_control() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(6);
    let file = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let control_file = file(
        "control.yaml",
        format!(
            "api: {{ address: \"127.0.0.1:{}\" }}\nlink: {{ address: \"127.0.0.1:{}\" }}\n\
             data_dir: data\nround: 200ms\nforecast_step: 1h\n",
            ports[0], ports[1]
        ),
    );
    let proxy_file = file(
        "proxy.yaml",
        format!(
            "listen: [{{ address: \"127.0.0.1:{}\" }}]\nadmin: {{ address: \"127.0.0.1:{}\" }}\n\
             control: {{ url: \"http://127.0.0.1:{}\" }}\nstate_dir: state\n",
            ports[2], ports[3], ports[1]
        ),
    );
    let zones = file("zones.yaml", document(&ports[4..]));
    let log = |name: &str| dir.path().join(name);
    let listen = |port: u16| format!("127.0.0.1:{port}");
    let app = |zone: &str, port: u16| {
        let args = ["app", "--zone", zone, "--listen", &listen(port)];
        Role::start(&args, &log(zone))
    };
    let _apps = [app("paris", ports[4]), app("tokyo", ports[5])];
    let _control = Role::start(&["control", &control_file], &log("control.log"));
    wait_ready(ports[0], "/livez");
    let (control, admin) = (listen(ports[0]), listen(ports[3]));
    let ask = |args: &[&str]| {
        let mut all = args.to_vec();
        all.extend(["--control", &control, "--admin", &admin]);
        homing(&all)
    };

    let dry = ask(&["push", &zones, "--dry-run"]);
    assert_eq!((dry.code, dry.out.contains("would be taken")), (0, true), "{}", dry.err);
    assert_eq!(ask(&["config", "show"]).code, 1, "a dry run takes nothing");
    let pushed = ask(&["push", &zones]);
    assert!(pushed.out.contains("zones new: paris, tokyo"), "{}{}", pushed.out, pushed.err);
    assert!(ask(&["push", &zones]).out.contains("nothing changed"));
    assert_eq!(ask(&["push", &zones, "--if-match", "\"1-stale\""]).code, 1);
    let faulty = file("faulty.yaml", document(&ports[4..]).replace("idle: 1h", "idle: 1"));
    assert_eq!(ask(&["push", &faulty]).code, 78);
    let shown = ask(&["config", "show", "--output", "json"]);
    assert_eq!(json(&shown.out)["zones"][1]["name"], "tokyo");
    assert!(ask(&["config", "show"]).out.contains("name: notebook"));

    let _proxy = Role::start(&["proxy", &proxy_file], &log("proxy.log"));
    wait_ready(ports[3], "/readyz");
    let mut jar = Jar::default();
    assert_eq!(jar.ask(ports[2], "POST", "/notebook", "milk").0, 200);
    let here = json(&jar.ask(ports[2], "GET", "/notebook", "").1);
    let key = here["session"].as_str().unwrap();
    let to = if here["zone"] == "paris" { "tokyo" } else { "paris" };
    let moved = ask(&["move", key, to, "--wait"]);
    assert_eq!(moved.code, 0, "{}", moved.err);
    let there = json(&jar.ask(ports[2], "GET", "/notebook", "").1);
    assert_eq!((there["zone"].as_str(), &there["digest"]), (Some(to), &here["digest"]));
    let status = ask(&["status"]);
    assert!(status.out.contains("1 completed"), "{}", status.out);
    let why = json(&ask(&["why", key, "--output", "json"]).out);
    assert_eq!(why["control"]["zone"], to);
    assert_eq!(why["proxy"]["home"]["zone"], to);
    // The proxy itself takes no orders then, and says who does.
    let refused = homing(&["move", key, "paris", "--admin", &admin]);
    assert!(refused.err.contains("under control"), "{}", refused.err);

    // Too few requests came before the move to say what it brought, which is said.
    let mut brought = ask(&["feedback"]);
    for _ in 0..200 {
        if brought.out.contains("not comparable: 1 few_before") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        brought = ask(&["feedback"]);
    }
    assert!(brought.out.contains("not comparable: 1 few_before"), "{}{}", brought.out, brought.err);
    assert!(brought.out.contains("believed as they are stated"), "{}", brought.out);

    // What control has learnt of it, and that it can be made to forget. A session that goes on is
    // learnt of anew, so this one says no more.
    let profile = ask(&["profile", key]);
    assert_eq!(profile.code, 0, "{}", profile.err);
    assert!(profile.out.contains("lives in   tokyo") || profile.out.contains("lives in   paris"));
    assert!(profile.out.contains("operator"), "its move: {}", profile.out);
    let forgotten = ask(&["profile", key, "--forget"]);
    assert_eq!(forgotten.code, 0, "{}", forgotten.err);
    let gone = ask(&["profile", key]);
    assert!(gone.code != 0 && gone.err.contains("has heard of no request"), "{}", gone.err);

    // Steps are hours here: nothing is foreseen yet, and that is said.
    let soon = ask(&["forecast", "paris"]);
    assert!(soon.code != 0 && soon.err.contains("nothing was observed"), "{}", soon.err);
    let nowhere = ask(&["forecast", "atlantis"]);
    assert!(nowhere.err.contains("there is no zone"), "{}", nowhere.err);
}
