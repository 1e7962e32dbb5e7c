//! `homing backtest --csv`: a user's own series with all that may be wrong with it.

use std::path::Path;

use crate::run::{Ran, homing};

/// A folder with a series; what is asked of it.
struct Own {
    dir: tempfile::TempDir,
}

impl Own {
    fn new(rows: &[String]) -> Self {
        let own = Self { dir: tempfile::tempdir().unwrap() };
        let text = format!("time,load\n{}\n", rows.join("\n"));
        std::fs::write(own.file("own.csv"), text).unwrap();
        own
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// Season 12, horizon 6; writes `out.csv` and `plot.svg`.
    fn run(&self, more: &[&str]) -> Ran {
        let (csv, out, plot) = (self.file("own.csv"), self.file("out.csv"), self.file("plot.svg"));
        let mut args = vec!["backtest", "--csv", &csv, "--value", "load"];
        args.extend(["--season", "12", "--horizon", "6", "--out", &out, "--plot", &plot]);
        args.extend(more);
        homing(&args)
    }

    /// What was written holds numbers, in their order, and so does what was drawn.
    fn whole(&self) -> usize {
        let written = self.read("out.csv");
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines[0], "series,origin,h,mean,lo80,hi80,lo95,hi95");
        for line in &lines[1..] {
            let fields: Vec<f64> =
                line.split(',').skip(3).map(|field| field.parse().unwrap()).collect();
            let [mean, lo80, hi80, lo95, hi95] = fields[..] else { panic!("{line}") };
            assert!(fields.iter().all(|value| value.is_finite()), "{line}");
            assert!(lo95 <= lo80 && lo80 <= mean && mean <= hi80 && hi80 <= hi95, "{line}");
        }
        let plot = self.read("plot.svg");
        assert!(plot.starts_with("<svg") && plot.trim_end().ends_with("</svg>"));
        assert!(!plot.contains("NaN") && !plot.contains("inf"), "a number that is none is drawn");
        lines.len() - 1
    }
}

fn value(t: usize) -> f64 {
    50.0 + 20.0 * ((t % 12) as f64 / 12.0 * std::f64::consts::TAU).sin() + (t * 7 % 5) as f64
}

/// A row a minute.
fn rows(count: usize) -> Vec<String> {
    (0..count).map(|t| format!("{},{:.2}", 60 * t, value(t))).collect()
}

fn figure(ran: &Ran, row: &str, column: usize) -> f64 {
    let line = ran.out.lines().find(|line| line.trim_start().starts_with(row)).unwrap();
    let figures: Vec<&str> = line.trim_start()[row.len()..].split_whitespace().collect();
    figures[column].parse().unwrap()
}

#[test]
fn a_series_of_ones_own_is_foretold_scored_and_drawn() {
    let own = Own::new(&rows(400));
    let ran = own.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(own.whole(), (400 - 6 - 133) * 6);
    for expert in ["seasonal naive, day", "exponential smoothing", "ARIMA", "random forest", "LSTM"]
    {
        assert!(ran.out.contains(expert), "{expert} is not in:\n{}", ran.out);
    }
    let (blend, naive) = (figure(&ran, "the blend", 0), figure(&ran, "naive", 2));
    assert!(blend < 0.4 * naive, "{blend} is no better than {naive}");
    assert!(ran.out.contains("400 observations, 1 min apart"), "{}", ran.out);
    assert!(own.read("plot.svg").contains("load: truth and forecasts"), "no title");
}

#[test]
fn what_comes_later_changes_no_forecast_before_it() {
    let own = Own::new(&rows(400));
    own.run(&[]);
    let first = own.read("out.csv");
    let mut other = rows(400);
    other[350..].iter_mut().for_each(|row| *row = row.replace(',', ",9"));
    std::fs::write(own.file("own.csv"), format!("time,load\n{}\n", other.join("\n"))).unwrap();
    own.run(&[]);
    let second = own.read("out.csv");
    let before = |text: &str| -> Vec<String> {
        let early = |line: &&str| line.split(',').nth(1).unwrap().parse::<usize>().unwrap() < 350;
        text.lines().skip(1).filter(early).map(ToOwned::to_owned).collect()
    };
    assert_eq!(before(&first), before(&second));
    assert_ne!(first, second);
}

#[test]
fn gaps_doubles_and_clocks_that_run_back_are_told() {
    let mut odd = rows(300);
    odd.remove(120);
    odd.remove(120);
    odd.swap(50, 51);
    odd.push(format!("{},1.5", 60 * 200));
    odd[30] = format!("{},", 60 * 30);
    odd[31] = format!("{},inf", 60 * 31);
    odd[32] = format!("{},NaN", 60 * 32);
    odd[33] = format!("{},40", 60 * 33 + 25);
    let own = Own::new(&odd);
    let ran = own.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    own.whole();
    for told in [
        "300 observations, 1 min apart",
        "2 time(s) run back: put in order",
        "1 row(s) of a time that was told before",
        "1 row(s) lie between two steps",
        "2 step(s) without a row: gaps",
        "3 value(s) empty or no number: gaps",
    ] {
        assert!(ran.out.contains(told), "{told} is not in:\n{}", ran.out);
    }
}

#[test]
fn zeros_negative_values_and_missing_seasons_have_an_outcome() {
    let zeros: Vec<String> = (0..200).map(|t| format!("{},0", 60 * t)).collect();
    let own = Own::new(&zeros);
    let ran = own.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("nothing but zeros, and so is the forecast"), "{}", ran.out);
    own.whole();
    assert!(own.read("out.csv").lines().skip(1).all(|line| line.contains(",0.0000,0.0000,")));

    let negative: Vec<String> =
        (0..300).map(|t| format!("{},{:.2}", 60 * t, value(t) - 60.0)).collect();
    let own = Own::new(&negative);
    let ran = own.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("below zero: forecasts may be, too"), "{}", ran.out);
    own.whole();

    // A walk by a small generator has no season.
    let (mut seed, mut at) = (1_u32, 1_000.0);
    let walk: Vec<String> = (0..300)
        .map(|t| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            at += f64::from(seed >> 24) - 127.5;
            format!("{},{at:.1}", 60 * t)
        })
        .collect();
    let own = Own::new(&walk);
    let ran = own.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("a season of 12 is not seen in it"), "{}", ran.out);
    let (blend, naive) = (figure(&ran, "the blend", 0), figure(&ran, "naive", 2));
    assert!(blend < 1.15 * naive, "{blend} where the last value has {naive}");

    let own = Own::new(&rows(22));
    let ran = own.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("shorter than two seasons of 12"), "{}", ran.out);
    own.whole();
}

#[test]
fn too_little_is_refused_with_what_is_needed() {
    for (rows, told) in [(rows(1), "1 observation(s): too few"), (rows(0), "no observations")] {
        let ran = Own::new(&rows).run(&[]);
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains(told) && ran.err.contains("remedy"), "{}", ran.err);
    }
    let far = vec!["0,1".to_owned(), "1,1".to_owned(), "99999999999,1".to_owned()];
    let ran = Own::new(&far).run(&[]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("is a time mistyped?"), "{}", ran.err);
    let ran = Own::new(&rows(50)).run(&["--season", "0"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
}

#[test]
fn a_row_that_cannot_be_read_is_told_by_its_line() {
    for (row, told) in [
        ("noon,5", "own.csv:42: time: `noon` is not a time"),
        ("2400,many", "own.csv:42: load: `many` is not a number"),
        ("2400", "own.csv:42: 1 fields where 2 are named"),
    ] {
        let mut rows = rows(100);
        row.clone_into(&mut rows[40]);
        let ran = Own::new(&rows).run(&[]);
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains(told), "{told} is not in:\n{}", ran.err);
    }
    let own = Own::new(&rows(100));
    let ran = own.run(&["--time", "when"]);
    assert!(ran.err.contains("no column `when`"), "{}", ran.err);
    assert!(ran.err.contains("there are: time, load"), "{}", ran.err);
    let ran = homing(&["backtest", "--csv", "nowhere.csv", "--value", "x", "--horizon", "3"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("nowhere.csv"), "{}", ran.err);
    for args in [&["backtest"][..], &["backtest", "m4"], &["backtest", "--csv", "x"]] {
        assert_eq!(homing(args).code, 2);
    }
}

#[test]
fn times_are_read_in_many_ways_and_columns_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("many.csv");
    let mut text = String::from("\u{feff}\"when, UTC\";\"a\";b\r\n");
    for t in 0..120 {
        let when = match t % 3 {
            0 => format!("2026-03-01T{:02}:{:02}:00Z", t / 60, t % 60),
            1 => format!("2026-03-01 {:02}:{:02}:00", t / 60, t % 60),
            _ => format!("{}", 1_772_323_200_000_i64 + 60_000 * t),
        };
        text.push_str(&format!("{when};{};{}\r\n", value(t as usize), t % 4));
    }
    std::fs::write(&file, text).unwrap();
    let out = dir.path().join("out.csv").display().to_string();
    let file = file.display().to_string();
    let mut args = vec!["backtest", "--csv", &file, "--time", "when, UTC", "--value", "a,b"];
    args.extend(["--season", "12", "--horizon", "4", "--out", &out]);
    let ran = homing(&args);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("120 observations, 1 min apart"), "{}", ran.out);
    assert!(!ran.out.contains("run back") && !ran.out.contains("between"), "{}", ran.out);
    let written = std::fs::read_to_string(out).unwrap();
    assert!(written.contains("\na,") && written.contains("\nb,"));
}

#[test]
fn scheduled_events_are_foreseen_and_broken_feeds_refused() {
    // A surge of five steps now and then, none of them at the same place of the season.
    let begins = [31, 67, 99, 137, 170, 205, 239, 275, 307, 338, 371];
    let within = |t: usize| begins.iter().any(|begin| (*begin..begin + 5).contains(&t));
    let surge: Vec<String> = (0..400)
        .map(|t| format!("{},{:.2}", 60 * t, value(t) * if within(t) { 4.0 } else { 1.0 }))
        .collect();
    let own = Own::new(&surge);
    let plain = own.run(&[]);
    assert_eq!(plain.code, 0, "{}", plain.err);
    let events: Vec<String> = begins
        .iter()
        .map(|t| format!(r#"{{"name":"game","from":{},"until":{}}}"#, 60 * t, 60 * (t + 5)))
        .collect();
    std::fs::write(own.file("e.json"), format!("[{}]", events.join(","))).unwrap();
    let told = own.run(&["--events", &own.file("e.json")]);
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.out.contains("11 of 11 scheduled event(s) fall into the series"), "{}", told.out);
    let error = |ran: &Ran| figure(ran, "trend, seasons, events", 2);
    assert!(error(&told) < 0.5 * error(&plain), "{} {}", error(&told), error(&plain));
    assert!(figure(&told, "the blend", 0) < 0.8 * figure(&plain, "the blend", 0), "{}", told.out);

    let mut calendar = String::from("BEGIN:VCALENDAR\r\n");
    for t in begins {
        let (begin, end) = (clock(t), clock(t + 5));
        let times = format!("DTSTART:{begin}\r\nDTEND:{end}");
        calendar.push_str(&format!("BEGIN:VEVENT\r\nSUMMARY:game\r\n{times}\r\nEND:VEVENT\r\n"));
    }
    calendar.push_str("END:VCALENDAR\r\n");
    let ics = own.file("e.ics");
    std::fs::write(&ics, &calendar).unwrap();
    let same = own.run(&["--events", &ics]);
    assert_eq!(same.out, told.out);

    for (text, wrong) in [
        (calendar[..calendar.len() - 40].to_owned(), "cut off: END:VCALENDAR is missing"),
        ("<html>no</html>".to_owned(), "not a calendar"),
        (r#"[{"name":"game","from":1}]"#.to_owned(), "missing field `until`"),
        (r#"[{"name":"game","from":60,"until":0}]"#.to_owned(), "ends before it begins"),
        (r#"[{"name":"game","from":"noon","until":0}]"#.to_owned(), "`noon` is not a time"),
        ("x".repeat((4 << 20) + 1), "longer than 4194304 bytes"),
    ] {
        std::fs::write(&ics, text).unwrap();
        let ran = own.run(&["--events", &ics]);
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains(wrong), "{wrong} is not in:\n{}", ran.err);
        assert!(Path::new(&ics).exists() && ran.err.contains("e.ics"), "{}", ran.err);
    }
}

/// So many minutes after the epoch, as calendars write it.
fn clock(minutes: usize) -> String {
    format!("19700101T{:02}{:02}00Z", minutes / 60, minutes % 60)
}
