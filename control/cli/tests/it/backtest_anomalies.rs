//! `homing backtest nab` on a folder of one series with one spike, or on folders that are wrong.

use std::io::Write as _;
use std::path::Path;

use crate::run::{Ran, homing};

/// A noisy level of 1,000 rows with a spike that lasts from row 700 to row 702.
fn recording() -> String {
    let mut text = "timestamp,value\n".to_owned();
    let mut state = 7_u64;
    for row in 0..1_000_i64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let noise = (state >> 40) as f64 / (1_u64 << 24) as f64;
        let spike = if (700..703).contains(&row) { 40.0 } else { 0.0 };
        text.push_str(&format!("{},{}\n", 1_400_000_000 + 300 * row, 10.0 + noise + spike));
    }
    text
}

fn backtest(data: &Path, out: &Path) -> Ran {
    homing(&["backtest", "nab", &data.display().to_string(), "--out", &out.display().to_string()])
}

#[test]
fn a_spike_is_an_alarm_at_the_threshold_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("kind")).unwrap();
    let zipped = std::fs::File::create(dir.path().join("kind/a.csv.gz")).unwrap();
    let mut zipped = flate2::write::GzEncoder::new(zipped, flate2::Compression::fast());
    zipped.write_all(recording().as_bytes()).unwrap();
    zipped.finish().unwrap();
    std::fs::write(dir.path().join("windows.json"), r#"{"kind/a.csv": []}"#).unwrap();
    let out = dir.path().join("scores.csv");
    let ran = backtest(dir.path(), &out);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let told = ran.out.lines().next().and_then(|line| line.strip_prefix("threshold: "));
    let threshold: f64 = told.unwrap().parse().unwrap();
    let scores = std::fs::read_to_string(&out).unwrap();
    let mut lines = scores.lines();
    assert_eq!(lines.next(), Some("file,row,score"));
    let mut alarms = Vec::new();
    for (row, line) in lines.enumerate() {
        let rest = line.strip_prefix(&format!("kind/a.csv,{row},")).unwrap();
        let score: f64 = rest.parse().unwrap();
        assert!((0.0..=1.0).contains(&score), "{line}");
        if score >= threshold {
            alarms.push(row);
        }
    }
    assert!(alarms.iter().any(|row| (700..703).contains(row)), "alarms at {alarms:?}");
    assert!(alarms.len() <= 3, "alarms at {alarms:?}");
}

#[test]
fn what_cannot_be_read_is_named_with_its_line_and_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("scores.csv");
    let ran = backtest(dir.path(), &out);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("windows.json") && ran.err.contains("remedy:"), "{}", ran.err);
    std::fs::write(dir.path().join("windows.json"), "{\n \"a.csv\": [\n").unwrap();
    let ran = backtest(dir.path(), &out);
    assert!(ran.err.contains("windows.json:") && ran.err.contains("remedy:"), "{}", ran.err);
    std::fs::write(dir.path().join("windows.json"), r#"{"a.csv": []}"#).unwrap();
    let ran = backtest(dir.path(), &out);
    assert!(ran.err.contains("a.csv") && ran.err.contains("remedy:"), "{}", ran.err);
    std::fs::write(dir.path().join("a.csv"), "timestamp,value\n5,1\n6,many\n").unwrap();
    let ran = backtest(dir.path(), &out);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("a.csv:3: cannot read `6,many`"), "{}", ran.err);
    assert!(ran.err.contains("remedy:"), "{}", ran.err);
}
