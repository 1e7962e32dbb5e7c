//! `homing backtest` over a tiny recording: what it writes, that it never looks ahead, what it
//! says of a recording that cannot be read.

use std::io::Write as _;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};

use crate::run::{Ran, homing};

fn pack(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut packed = GzEncoder::new(file, Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap();
}

fn backtest(task: &str, data: &Path) -> (Ran, String) {
    let out = data.join("forecasts.csv");
    let ran = homing(&[
        "backtest",
        task,
        &data.display().to_string(),
        "--out",
        &out.display().to_string(),
    ]);
    let written = std::fs::read_to_string(&out).unwrap_or_default();
    (ran, written)
}

/// Three users go round the models 4, 5 and 6; from row `strange` on, all ask for model -1.
fn requests(strange: usize) -> String {
    let mut text = String::from("t_s,user,item,type,status,seq,phase\n");
    for row in 0..600 {
        let (user, seq) = (row % 3, row / 3);
        let item = if row >= strange { -1 } else { 4 + (seq % 3) as i32 };
        let phase = if row < 450 { "train" } else { "test" };
        text.push_str(&format!("{},{user},{item},IMG,SUCCEED,{seq},{phase}\n", row * 10));
    }
    text
}

#[test]
fn requests_are_foretold_without_a_look_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("genai-requests/stream.csv.gz");
    pack(&file, &requests(600));
    let (ran, written) = backtest("genai", dir.path());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines[0], "id,p1,p2,p3,p4,p5,p6,p7,p8,p9,p10");
    assert_eq!(lines.len(), 151);
    for (at, line) in lines[1..].iter().enumerate() {
        let (user, seq) = (at % 3, 150 + at / 3);
        let foretold = format!("{user}:{seq},{},", 4 + seq % 3);
        assert!(line.starts_with(&foretold), "{line} is not {foretold}");
    }
    pack(&file, &requests(540));
    let (_, other) = backtest("genai", dir.path());
    let other: Vec<&str> = other.lines().collect();
    assert_eq!(lines[..=91], other[..=91]);
    assert_ne!(lines[92..], other[92..]);
}

/// Two taxis shuttle between two zones, half an hour in each; from bin `strange` on they stay.
fn tracks(strange: usize) -> String {
    let mut text = String::from("taxi,t,lat,lon,occ,zone\n");
    for bin in 0..400 {
        for taxi in 0..2 {
            let zone = if bin >= strange { 1 } else { (bin / 6 + taxi) % 2 };
            let (t, lat) = (1_211_033_400 + bin * 300, 37.0 + zone as f64 / 10.0);
            text.push_str(&format!("{taxi},{t},{lat},-122.0,0,{zone}\n"));
        }
    }
    text
}

#[test]
fn mobility_is_scored_and_written_as_a_table_csv_or_json() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("sf-taxi");
    pack(&folder.join("tracks.csv.gz"), &tracks(400));
    std::fs::write(folder.join("zones.csv"), "zone,lat,lon\n0,37.0,-122.0\n1,37.1,-122.0\n")
        .unwrap();
    let (ran, written) = backtest("taxi-mobility", dir.path());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("800 sights of 2 users at 2 places"), "{}", ran.out);
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!((lines.len(), lines[0].starts_with("task,minutes,model,")), (17, true));
    let out = dir.path().join("scores.json").display().to_string();
    let data = dir.path().display().to_string();
    assert_eq!(homing(&["backtest", "taxi-mobility", &data, "--out", &out]).code, 0);
    let told: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    let brier = |line: usize| told["lines"][line]["brier"].as_f64().unwrap();
    // Half an hour on the taxis are always in the other zone: stays is always wrong, counts know.
    assert_eq!((told["lines"][12]["model"].as_str(), brier(12)), (Some("stays"), 2.0));
    assert!(brier(15) < 0.5, "{told}");
}

#[test]
fn taxis_are_foretold_without_a_look_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("sf-taxi");
    pack(&folder.join("tracks.csv.gz"), &tracks(400));
    std::fs::write(folder.join("zones.csv"), "zone,lat,lon\n0,37,-122\n1,37.1,-122\n").unwrap();
    let (ran, written) = backtest("taxi-zone30", dir.path());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<&str> = written.lines().skip(1).collect();
    assert_eq!(lines.len(), 200, "two taxis, the last quarter of 400 bins");
    let right = lines.iter().enumerate().filter(|(at, line)| {
        let (bin, taxi) = (300 + at / 2, at % 2);
        line.split(',').nth(1) == Some(if (bin / 6 + taxi) % 2 == 0 { "1" } else { "0" })
    });
    assert!(right.count() >= 190);
    pack(&folder.join("tracks.csv.gz"), &tracks(350));
    let (_, other) = backtest("taxi-zone30", dir.path());
    let other: Vec<&str> = other.lines().skip(1).collect();
    assert_eq!(lines[..100], other[..100]);
    assert_ne!(lines[100..], other[100..]);
}

#[test]
fn a_visit_is_foretold_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("web-sessions");
    pack(&folder.join("bms_train.txt.gz"), &"1 2 3 4\n7 8 9\n".repeat(100));
    pack(&folder.join("bms_test.txt.gz"), "1 2 3\n5\n7 8 9\n");
    let (ran, written) = backtest("bms", dir.path());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let guesses: Vec<&str> = written.lines().skip(1).map(|line| &line[..5]).collect();
    assert_eq!(guesses, ["0:1,2", "0:2,3", "2:1,8", "2:2,9"]);
}

#[test]
fn a_recording_that_cannot_be_read_is_told_by_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let (ran, _) = backtest("genai", dir.path());
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("genai-requests/stream.csv.gz"), "{}", ran.err);
    assert!(ran.err.contains("a folder for each set"), "{}", ran.err);

    let file = dir.path().join("genai-requests/stream.csv.gz");
    for (text, told) in [
        ("t_s,user,item\n1,2,3\n", "stream.csv.gz:1: there is no column `type`"),
        (
            "t_s,user,item,type,status,seq,phase\n1,2,3,T,S,0,train\n2,x,3,T,S,1,train\n",
            "stream.csv.gz:3: user: `x` is not a whole number",
        ),
        (
            "t_s,user,item,type,status,seq,phase\nNaN,2,3,T,S,0,train\n",
            "stream.csv.gz:2: t_s: `NaN` is not a number",
        ),
        ("t_s,user,item,type,status,seq,phase\n1,2\n", "stream.csv.gz:2: 2 fields where 7"),
    ] {
        pack(&file, text);
        let (ran, _) = backtest("genai", dir.path());
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains(told), "{told} is not in:\n{}", ran.err);
        assert!(ran.err.contains("README beside the data"), "{}", ran.err);
    }

    std::fs::write(&file, "not packed").unwrap();
    let (ran, _) = backtest("genai", dir.path());
    assert!(ran.err.contains("not gzip"), "{}", ran.err);
    let (ran, _) = backtest("geolife", dir.path());
    assert!(ran.err.contains("geolife is not backtested yet"), "{}", ran.err);
}

/// Two M4 series of a day's wave; the values behind the origin may be changed.
fn m4(dir: &Path, future: f64) {
    let wave = |t: usize| 100.0 + 10.0 * ((t % 24) as f64) + (t % 7) as f64;
    let line = |name: &str, range: std::ops::Range<usize>, factor: f64| {
        let values: Vec<String> =
            range.map(|t| format!("{:.1}", factor * wave(t) * name.len() as f64)).collect();
        format!("{name},{}\n", values.join(","))
    };
    let both = |range: std::ops::Range<usize>, factor| {
        line("H1", range.clone(), factor) + &line("H22", range, factor)
    };
    pack(&dir.join("m4-hourly/train.csv.gz"), &both(0..480, 1.0));
    pack(&dir.join("m4-hourly/test.csv.gz"), &both(480..528, future));
}

#[test]
fn demand_is_foretold_without_a_look_ahead() {
    let dir = tempfile::tempdir().unwrap();
    m4(dir.path(), 1.0);
    let (ran, written) = backtest("m4", dir.path());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("MASE"), "{}", ran.out);
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines[0], "series,origin,h,mean,lo80,hi80,lo95,hi95");
    assert_eq!(lines.len(), 1 + 2 * 48);
    for (ahead, line) in (1..=48).zip(&lines[1..]) {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields[..3], ["H1", "479", &ahead.to_string()]);
        let [mean, lo80, hi80, lo95, hi95] =
            [3, 4, 5, 6, 7].map(|field: usize| fields[field].parse::<f64>().unwrap());
        assert!(lo95 <= lo80 && lo80 <= mean && mean <= hi80 && hi80 <= hi95, "{line}");
        let truth = 2.0 * (100.0 + 10.0 * f64::from((479 + ahead) % 24) + 3.0);
        assert!((mean - truth).abs() < 12.0, "{line} is not about {truth}");
    }
    m4(dir.path(), 5.0);
    let (_, other) = backtest("m4", dir.path());
    assert_eq!(other, written, "what comes behind the origin changed the forecast");
}

#[test]
fn a_series_that_cannot_be_read_is_told_by_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let (ran, _) = backtest("taxi", dir.path());
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("pickups_15min.csv.gz"), "{}", ran.err);
    let file = dir.path().join("sf-taxi-demand/pickups_15min.csv.gz");
    pack(&file, "t,z0,z1\n0,1,2\n900,1,many\n");
    let (ran, _) = backtest("taxi", dir.path());
    assert!(ran.err.contains("pickups_15min.csv.gz:3: `many` is not a number"), "{}", ran.err);
    pack(&file, "t,z0,z1\n0,1,2\n900,1\n");
    let (ran, _) = backtest("taxi", dir.path());
    assert!(ran.err.contains(":3: 1 series where 2 are named"), "{}", ran.err);
}
