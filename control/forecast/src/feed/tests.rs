#![allow(clippy::unwrap_used)]

use super::*;

fn calendar(events: &str) -> String {
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{events}END:VCALENDAR\r\n")
}

fn event(lines: &[&str]) -> String {
    format!("BEGIN:VEVENT\r\n{}\r\nEND:VEVENT\r\n", lines.join("\r\n"))
}

fn nowhere(_: &str, _: Civil) -> Option<i64> {
    None
}

fn starts(lines: &[&str]) -> Vec<i64> {
    let feed = read(&calendar(&event(lines)), nowhere).unwrap();
    feed.events.iter().map(|event| event.from).collect()
}

#[test]
fn events_have_a_name_a_begin_and_an_end() {
    let text = calendar(
        &(event(&[
            "SUMMARY:Brazil\\, France",
            "DTSTART:19980712T190000Z",
            "DTEND:19980712T210000Z",
            "BEGIN:VALARM",
            "DTSTART:20200101T000000Z",
            "END:VALARM",
            "DESCRIPTION:a line that",
            "  goes on",
        ]) + &event(&["SUMMARY:quiet", "DTSTART:19980705T190000Z", "DURATION:PT90M"])
            + &event(&["SUMMARY:day", "DTSTART;VALUE=DATE:19980714"])
            + &event(&["SUMMARY:off", "DTSTART:19980101T000000Z", "STATUS:CANCELLED"])),
    );
    let feed = read(&text, nowhere).unwrap();
    let told: Vec<_> =
        feed.events.iter().map(|e| (&e.name[..], e.from, e.until - e.from)).collect();
    let expected = [
        ("quiet", 899_665_200, 5_400),
        ("Brazil, France", 900_270_000, 7_200),
        ("day", 900_374_400, 86_400),
    ];
    assert_eq!(told, expected);
    assert_eq!((feed.unclear, feed.cut), (0, false));
}

#[test]
fn time_zones_are_asked_for_and_events_without_one_are_unclear() {
    let text = calendar(&event(&["DTSTART;TZID=\"Europe/Paris\":19980712T210000"]));
    let paris = |zone: &str, civil: Civil| (zone == "Europe/Paris").then(|| civil.unix() - 7_200);
    assert_eq!(read(&text, paris).unwrap().events[0].from, 900_270_000);
    let feed = read(&text, nowhere).unwrap();
    assert_eq!((feed.events[0].from, feed.unclear), (900_277_200, 1));
}

#[test]
fn repetitions_are_written_out() {
    let day = 86_400;
    let from = "DTSTART:20210801T120000Z"; // a Sunday
    let first = 1_627_819_200;
    assert_eq!(
        starts(&[from, "RRULE:FREQ=DAILY;INTERVAL=2;COUNT=3"]),
        [first, first + 2 * day, first + 4 * day]
    );
    assert_eq!(
        starts(&[from, "RRULE:FREQ=WEEKLY;UNTIL=20210815"]),
        [first, first + 7 * day, first + 14 * day]
    );
    assert_eq!(
        starts(&[from, "RRULE:FREQ=WEEKLY;BYDAY=TU,SU;COUNT=4"]),
        [first, first + 2 * day, first + 7 * day, first + 9 * day]
    );
    let years = starts(&["DTSTART;VALUE=DATE:20200229", "RRULE:FREQ=YEARLY;COUNT=2"]);
    assert_eq!(years, [1_582_934_400, 1_582_934_400 + 1_461 * day]);
    // The first one only, and counted as unclear.
    let text = calendar(&event(&[from, "RRULE:FREQ=MONTHLY;BYDAY=2MO"]));
    let feed = read(&text, nowhere).unwrap();
    assert_eq!((feed.events.len(), feed.unclear), (1, 1));
}

#[test]
fn what_is_broken_is_told_by_its_line() {
    let told = |text: &str| read(text, nowhere).unwrap_err();
    assert_eq!(told("").line, 1);
    assert!(told("<html>").wrong.contains("not a calendar"));
    let cut = calendar(&event(&["DTSTART:20210801T120000Z"]));
    assert!(told(&cut[..cut.len() - 20]).wrong.contains("cut off"));
    let nested = calendar("BEGIN:VEVENT\r\nBEGIN:VEVENT\r\nEND:VEVENT\r\n");
    assert_eq!((told(&nested).line, told(&nested).wrong.contains("within")), (4, true));
    assert_eq!(told(&calendar("nothing\r\n")).line, 3);
    assert!(told(&"x".repeat(FEED_MAX + 1)).wrong.contains("bytes"));
}

#[test]
fn odd_times_are_unclear_and_many_events_are_cut() {
    for time in ["", "x", "2021080", "20210230", "20211301", "20210801T99", "2021é0801"] {
        let feed = read(&calendar(&event(&[&format!("DTSTART:{time}")])), nowhere).unwrap();
        assert_eq!((feed.events.len(), feed.unclear), (0, 1), "{time}");
    }
    let daily = event(&["DTSTART:20210801T120000Z", "RRULE:FREQ=DAILY"]);
    let feed = read(&calendar(&daily.repeat(20)), nowhere).unwrap();
    assert_eq!((feed.events.len(), feed.cut), (SCHEDULED_MAX, true));
    let back = event(&["DTSTART:20210801T120000Z", "DTEND:20210801T110000Z"]);
    let feed = read(&calendar(&back), nowhere).unwrap();
    assert_eq!(feed.events[0].until - feed.events[0].from, 3_600);
    for bad in ["P", "1H", "PT", "PT1D", "P1", "PT99999999999999999999S", "P-1D"] {
        assert_eq!(seconds(bad), None, "{bad}");
    }
    assert_eq!(seconds("P1DT2H3M4S"), Some(93_784));
}
