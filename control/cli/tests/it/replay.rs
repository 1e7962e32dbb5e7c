//! `homing replay` over small recordings: what prediction is worth to commuters, that no decision
//! knows what comes later, what is said of input that makes no sense.

use std::io::Write as _;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

use crate::run::{Ran, homing};

/// Bins that are recorded; the last quarter is replayed.
const BINS: usize = 800;
const START: usize = 1_211_033_400;
const ZONES: &str = "zone,lat,lon\n0,37.0,-122\n1,37.1,-122\n2,37.2,-122\n";

fn pack(path: &Path, text: &str) {
    let file = std::fs::File::create(path).unwrap();
    let mut packed = GzEncoder::new(file, Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap();
}

/// Six commuters who spend 40 minutes in one zone and 20 in another, in turns. From bin `strange`
/// on all of them are in a third.
fn commuters(strange: usize) -> String {
    let mut text = String::from("taxi,t,lat,lon,occ,zone\n");
    for taxi in 0..6 {
        for bin in 0..BINS {
            let away = (bin + 2 * taxi) % 12 >= 8;
            let zone = if bin >= strange { 2 } else { usize::from(away) };
            let (t, lat) = (START + bin * 300, 37.0 + zone as f64 / 10.0);
            text.push_str(&format!("{taxi},{t},{lat:.4},-122.0,0,{zone}\n"));
        }
    }
    text
}

fn record(dir: &Path, tracks: &str) {
    pack(&dir.join("tracks.csv.gz"), tracks);
    std::fs::write(dir.join("zones.csv"), ZONES).unwrap();
}

fn replay(dir: &Path, options: &[&str]) -> Ran {
    let dir = dir.display().to_string();
    homing(&[&["replay", &dir], options].concat())
}

fn row<'a>(report: &'a Value, policy: &Value) -> &'a Value {
    let rows = report["rows"].as_array().unwrap();
    rows.iter().find(|row| row["policy"] == *policy).unwrap()
}

#[test]
fn commuters_are_awaited_and_two_runs_say_the_same() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), &commuters(BINS));
    let files = ["a.json", "b.json", "a.html", "b.html"].map(|name| dir.path().join(name));
    let names = files.each_ref().map(|file| file.display().to_string());
    let [a, b, page_a, page_b] = names.each_ref().map(String::as_str);
    let ran = replay(dir.path(), &["--json", a, "--html", page_a]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("predictive") && ran.out.contains("static home"), "{}", ran.out);
    replay(dir.path(), &["--json", b, "--html", page_b]);
    let read = files.map(|file| std::fs::read_to_string(file).unwrap());
    assert_eq!((&read[0], &read[2]), (&read[1], &read[3]));
    assert!(read[2].contains("<svg") && !read[2].contains("<script"), "{}", read[2]);

    let report: Value = serde_json::from_str(&read[0]).unwrap();
    let before = row(&report, &report["reactive"]);
    let after = row(&report, &report["predictive"]);
    let figure = |row: &Value, name: &str| row[name].as_f64().unwrap();
    assert_eq!(figure(before, "cold_share"), 1.0);
    assert!(figure(after, "cold_share") < 0.05, "{after}");
    assert!(figure(after, "copies_per_user") < 0.5, "{after}");
    assert!(figure(after, "moves") <= figure(before, "moves"), "{after}");
    let (low, high) = (figure(after, "mean_ms"), figure(before, "mean_ms"));
    // Two of twelve bins begin with an arrival of 120 ms for one of ten requests: 2 ms in the mean.
    assert!((high - 6.0).abs() < 0.1, "{before}");
    assert!(low < 4.2, "{after}");
    assert!(figure(&report, "foresight_ms") <= low + 1e-9, "{report}");
}

#[test]
fn what_comes_later_changes_no_earlier_decision() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("decisions.csv");
    let decided = |strange: usize| {
        record(dir.path(), &commuters(strange));
        let name = file.display().to_string();
        let options = ["--decisions", &name, "--theta", "0.05,0.3", "--move-ms", "0,40"];
        let ran = replay(dir.path(), &options);
        assert_eq!(ran.code, 0, "{}", ran.err);
        std::fs::read_to_string(&file).unwrap()
    };
    let (usual, other) = (decided(BINS), decided(700));
    let (usual, other): (Vec<_>, Vec<_>) = (usual.lines().collect(), other.lines().collect());
    let strange = (START + 700 * 300).to_string();
    let from = usual.iter().position(|line| line.starts_with(&strange)).unwrap();
    assert!(from > 1_000, "{from}");
    assert_eq!(usual[..from], other[..from]);
    assert_ne!(usual[from..], other[from..]);
}

#[test]
fn input_that_makes_no_sense_is_told_by_file_line_value_and_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let head = "taxi,t,lat,lon,occ,zone\n";
    for (tracks, told) in [
        (
            "taxi,t,lat,lon,occ\n1,2,3,4,0\n".to_owned(),
            "tracks.csv.gz:1: there is no column `zone`",
        ),
        (format!("{head}0,600,37,-122,0,0\n0,300,37,-122,0,0\n"), "tracks.csv.gz:3: t: 300 does"),
        (format!("{head}0,601,37,-122,0,0\n"), "tracks.csv.gz:2: t: 601 does not begin a bin"),
        (format!("{head}0,600,37,-122,0,7\n"), "tracks.csv.gz:2: zone: there is no 7"),
        (format!("{head}0,600,NaN,-122,0,0\n"), "tracks.csv.gz:2: lat: `NaN` is not a number"),
        (format!("{head}0,600,97,-122,0,0\n"), "tracks.csv.gz:2: lat: 97 is not within"),
        (String::new(), "tracks.csv.gz:1: there is no column `taxi`"),
        (head.to_owned(), "holds nothing to replay"),
    ] {
        record(dir.path(), &tracks);
        let ran = replay(dir.path(), &[]);
        assert_eq!(ran.code, 1, "{told}: {}", ran.out);
        assert!(ran.err.contains(told) && ran.err.contains("remedy: "), "{told}: {}", ran.err);
    }
    record(dir.path(), &format!("{head}0,600,37,-122,0,999\n"));
    std::fs::write(dir.path().join("zones.csv"), "zone,lat,lon\n999,37,-122\n").unwrap();
    let ran = replay(dir.path(), &[]);
    assert!(ran.err.contains("1000 zones, counting from 0: more than the 256"), "{}", ran.err);
    std::fs::write(dir.path().join("zones.csv"), "zone,lat,lon\n0,x,-122\n").unwrap();
    let ran = replay(dir.path(), &[]);
    assert!(ran.err.contains("zones.csv:2: lat: `x` is not a number"), "{}", ran.err);
    let ran = replay(&dir.path().join("nowhere"), &[]);
    assert!(ran.err.contains("neither tracks.csv.gz nor stream.csv.gz"), "{}", ran.err);
    for option in [["--theta", "NaN"], ["--cold-ms", "-1"], ["--ttl", "0"], ["--theta", "1.5"]] {
        let ran = replay(dir.path(), &[&format!("{}={}", option[0], option[1])]);
        assert_eq!(ran.code, 2, "{option:?}: {}", ran.err);
        assert!(ran.err.contains(option[0]), "{option:?}: {}", ran.err);
    }
}

#[test]
fn round_trips_take_the_place_of_kilometres() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), &commuters(BINS));
    let rtt = dir.path().join("rtt.csv");
    let name = rtt.display().to_string();
    let json = dir.path().join("replay.json");
    let options = ["--rtt", &name, "--json", &json.display().to_string()];
    std::fs::write(&rtt, "src,dst,ms\n0,1,30\n0,2,60\n").unwrap();
    let ran = replay(dir.path(), &options);
    assert!(ran.err.contains("rtt.csv: no round trip from zone 1 to 2"), "{}", ran.err);
    std::fs::write(&rtt, "src,dst,ms\n0,1,30\n0,2,60\n2,1,9\n").unwrap();
    let ran = replay(dir.path(), &options);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    // A third of the time 30 ms away from home.
    let home = row(&report, &Value::from("static home"))["mean_ms"].as_f64().unwrap();
    assert!((home - 14.0).abs() < 0.1, "{home}");
}

/// Users who check in at home and at work by turns, an hour or so apart.
#[test]
fn checkins_are_awaited_from_one_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut stream = String::from("t_min,user,seq,venue,zone,phase\n");
    for seq in 0..300 {
        for user in 0..4 {
            let (minute, venue) = (seq * 60 + user * 7, (seq + user) % 2);
            let phase = if seq < 240 { "train" } else { "test" };
            stream.push_str(&format!("{minute},{user},{seq},{venue},{venue},{phase}\n"));
        }
    }
    let dir = dir.path();
    pack(&dir.join("stream.csv.gz"), &stream);
    pack(&dir.join("venues.csv.gz"), "venue,lat,lon\n0,37.0,-122\n1,37.1,-122\n");
    std::fs::write(dir.join("zones.csv"), "zone,lat,lon\n0,37.0,-122\n1,37.1,-122\n").unwrap();
    let json = dir.join("replay.json");
    let ran = replay(dir, &["--json", &json.display().to_string()]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let free = "predictive 0.05, 0 ms";
    let after = row(&report, &Value::from(free));
    // The first of a user's replayed check-ins was not awaited: nothing is staged before it.
    assert!(after["mean_ms"].as_f64().unwrap() < 4.3, "{after}");
    assert!(after["copies_per_user"].as_f64().unwrap() <= 1.0, "{after}");
    stream.push_str("5,1,301,0,0,test\n");
    pack(&dir.join("stream.csv.gz"), &stream);
    let ran = replay(dir, &[]);
    assert!(ran.err.contains("stream.csv.gz:1202: t_min: 5 comes before 17961"), "{}", ran.err);
}

#[test]
fn a_log_says_which_places_are_made_up() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let mut log = String::new();
    for minute in 0..60 {
        for client in ["a.example", "b.example"] {
            log.push_str(&format!(
                "{client} - - [01/Aug/1995:00:{minute:02}:00 -0400] \"GET / HTTP/1.0\" 200 5\n"
            ));
        }
    }
    log.push_str("c.example - - [01/Aug/1995:01:00:00 -04");
    let log = file("access.log", &log);
    let zones = file("zones.csv", ZONES);
    let ran = homing(&["replay", "--log", &log, "--zones", &zones]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("MADE UP: 2 of 2 clients"), "{}", ran.out);
    assert!(ran.out.contains("1 line(s) could not be read"), "{}", ran.out);
    assert!(ran.out.contains("there was nothing to foresee"), "{}", ran.out);
    let places = file("places.csv", "client,lat,lon\na.example,37,-122\nb.example,37.1,-122\n");
    let ran = homing(&["replay", "--log", &log, "--zones", &zones, "--places", &places]);
    assert!(!ran.out.contains("MADE UP") && ran.out.contains("4.00"), "{}", ran.out);
    let places = file("places.csv", "client,lat,lon\na.example,37,-122\na.example,37,-122\n");
    let ran = homing(&["replay", "--log", &log, "--zones", &zones, "--places", &places]);
    assert!(ran.err.contains("places.csv:3: client: a.example is there already"), "{}", ran.err);
    let empty = file("empty.log", "");
    let ran = homing(&["replay", "--log", &empty, "--zones", &zones]);
    assert!(ran.err.contains("empty.log holds no request"), "{}", ran.err);
}
