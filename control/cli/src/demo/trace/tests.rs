//! The log reader on the bundled log, on both formats, and on anything at all.

use proptest::prelude::*;

use super::*;

fn one(line: &str) -> Option<Visit> {
    parse_line(line).map(|(_, visit)| visit)
}

#[test]
fn the_bundled_log_is_read_to_its_cut_end() {
    let trace = Trace::bundled().unwrap();
    // 43 lines of this copy are broken in two and the last one is cut short.
    assert_eq!(trace.visits.len() as u64 + trace.skipped, 1_930);
    assert_eq!(trace.skipped, 87);
    assert_eq!(trace.clients, 186);
    let first = &trace.visits[0];
    assert_eq!(first.path, "/shuttle/missions/sts-68/news/sts-68-mcc-05.txt");
    assert_eq!((first.status, first.bytes), (200, 1_839));
    // 1995-08-01 00:00:01 -0400.
    assert_eq!(first.at_s, 807_249_601);
    assert!(trace.visits.is_sorted_by_key(|visit| visit.at_s));
}

#[test]
fn combined_lines_and_oddities_are_read() {
    let visit = one(
        r#"::1 - bob [10/Oct/2000:13:55:36 -0700] "HEAD /a?b=c d#x HTTP/1.1" 404 - "http://r/" "M (X; \"q\")""#,
    );
    let visit = visit.unwrap();
    assert_eq!((visit.verb, visit.status, visit.bytes), (Verb::Head, 404, 0));
    assert_eq!(visit.path, "/a?b=c%20d");
    assert_eq!(visit.at_s, 971_211_336);

    let quote =
        one(r#"h - - [10/Oct/2000:13:55:36 +0000] "GET /a"b.html HTTP/1.0" 200 7"#).unwrap();
    assert_eq!(quote.path, "/a%22b.html");
    let bare = one(r#"h - - [10/Oct/2000:13:55:36 +0000] "GET /old" 200 7"#).unwrap();
    assert_eq!(bare.path, "/old");
    let absolute = one(r#"h - - [10/Oct/2000:13:55:36 +0000] "PUT http://h/x HTTP/1.1" 200 7"#);
    assert_eq!(absolute.map(|v| (v.verb, v.path)), Some((Verb::Post, "/x".to_owned())));
}

#[test]
fn lines_that_are_no_requests_are_skipped() {
    for line in [
        "miriwo",
        "",
        "h - - [10/Oct/2000:13:55:36 +0000]",
        r#"h - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.0" 200"#,
        r#"h - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.0" 20 5"#,
        r#"h - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.0" 200 -5"#,
        r#"h - - [31/Foo/2000:13:55:36 +0000] "GET / HTTP/1.0" 200 5"#,
        r#"h - - [10/Oct/2000:25:55:36 +0000] "GET / HTTP/1.0" 200 5"#,
        r#"h - - [10/Oct/2000:13:55:36 +0000] "\x16\x03\x01" 400 226"#,
    ] {
        assert_eq!(one(line), None, "{line}");
    }
}

#[test]
fn an_overlong_line_is_skipped_whole_and_memory_stays_bounded() {
    let mut log = b"h - - [10/Oct/2000:13:55:36 +0000] \"GET /".to_vec();
    log.extend(std::iter::repeat_n(b'a', 3 * LINE_BYTES_MAX));
    log.extend_from_slice(b" HTTP/1.0\" 200 5\n");
    log.extend_from_slice(b"h - - [10/Oct/2000:13:55:36 +0000] \"GET /b HTTP/1.0\" 200 5\n");
    let trace = Trace::read(log.as_slice()).unwrap();
    assert_eq!((trace.visits.len(), trace.skipped), (1, 1));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
    ) {
        let _ = Trace::read(bytes.as_slice());
    }

    #[test]
    fn a_damaged_line_never_makes_a_path_that_no_request_may_carry(
        at in 0_usize..120, junk in "[ -~]{0,12}|\\PC{0,4}",
    ) {
        let mut line =
            r#"host - - [01/Aug/1995:00:00:01 -0400] "GET /a/b.gif?c=d HTTP/1.0" 200 1839"#.to_owned();
        let at = at.min(line.len());
        line.insert_str(at, &junk);
        if let Some(visit) = one(&line) {
            prop_assert!(visit.path.parse::<http::uri::PathAndQuery>().is_ok(), "{}", visit.path);
        }
    }
}
