//! The demo from end to end, short: every promise kept, and the report says so in its stable keys.

use crate::run::homing;

#[test]
fn the_demo_keeps_its_promises() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.json");
    let report = report.display().to_string();
    let samples = dir.path().join("samples.csv").display().to_string();
    let files = ["--report", &report, "--samples", &samples];
    let ran = homing(&[&["demo", "--for", "8s", "--seed", "3"], &files[..]].concat());
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    let text = std::fs::read_to_string(&report).unwrap();
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    for none in ["failures", "wrong_zone", "lost_writes", "doubled_writes"] {
        assert_eq!(told[none], 0, "{none}");
    }
    assert!(told["requests"].as_u64() > Some(1_000), "{}", told["requests"]);
    let handoffs = &told["handoffs"];
    let count = |name: &str| handoffs[name].as_u64().unwrap();
    assert!(count("completed") > 0);
    assert_eq!(count("started"), count("completed") + count("undone") + count("open"));
    for figure in ["p50", "p99", "max"] {
        assert!(told["pause_ms"][figure].as_f64() > Some(0.0), "{figure}");
    }
    let zones = told["latency_ms"].as_object().unwrap();
    assert_eq!(zones.len(), 4);
    for zone in zones.values() {
        for arm in ["off", "on"] {
            assert!(zone[arm]["p50"].is_number() && zone[arm]["p99"].is_number());
        }
    }
    let promises = told["promises"].as_array().unwrap();
    assert!(promises.iter().all(|promise| promise["held"] == true));
    assert_eq!(told["control"]["failed"], 0);
    assert!(ran.out.contains("kept    no acknowledged write was lost"));
    for share in ["queued", "way", "waited", "worked", "rest"] {
        let shares = &told["shares_drifters_ms"];
        assert!(shares["on"][share]["p99"].is_number(), "{shares}");
    }
    // Every answered request is a line of the samples, and its parts come to its time.
    let samples = std::fs::read_to_string(&samples).unwrap();
    let mut lines = samples.lines();
    let head: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert_eq!(samples.lines().count() as u64, told["requests"].as_u64().unwrap() + 1);
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let ms = |name: &str| {
            let at = head.iter().position(|column| *column == name).unwrap();
            cells[at].parse::<f64>().unwrap()
        };
        let parts = ["queued_ms", "way_ms", "waited_ms", "worked_ms", "rest_ms"].map(ms);
        assert!((parts.iter().sum::<f64>() - ms("took_ms")).abs() < 1.0, "{line}");
        assert!(ms("worked_ms") >= 8.0 && ms("way_ms") >= 2.0, "{line}");
    }
}

#[test]
fn a_log_that_holds_nothing_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("empty.log");
    std::fs::write(&file, "this is no log\n").unwrap();
    let ran = homing(&["demo", "--trace", &file.display().to_string()]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("holds no request (1 lines skipped)"), "{}", ran.err);
}
