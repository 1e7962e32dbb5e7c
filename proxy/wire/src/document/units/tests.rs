//! Quantities: exact, told apart, and the same after writing and reading.

use proptest::prelude::*;

use super::{Quantity, RATE, SHARE, SIZE, Scale, TIME, either, list, scaled};

fn problem(quantity: &Quantity, text: &str) -> (String, String) {
    let wrong = quantity.parse(text).expect_err("wrong");
    (wrong.problem, wrong.remedy)
}

#[test]
fn reads_each_kind_exactly() {
    assert_eq!(TIME.parse("500ms"), Ok(500_000));
    assert_eq!(TIME.parse("12.5ms"), Ok(12_500));
    assert_eq!(TIME.parse("0.1s"), Ok(100_000));
    assert_eq!(TIME.parse("24h"), Ok(86_400_000_000));
    assert_eq!(TIME.parse(" 1 d "), Ok(86_400_000_000));
    assert_eq!(SIZE.parse("64KiB"), Ok(65_536));
    assert_eq!(SIZE.parse("1GB"), Ok(1_000_000_000));
    assert_eq!(SIZE.parse("1.5GiB"), Ok(1_610_612_736));
    assert_eq!(RATE.parse("10Gbps"), Ok(10_000_000_000));
    assert_eq!(SHARE.parse("100%"), Ok(100));
    assert_eq!(TIME.parse("0s"), Ok(0));
    assert_eq!(TIME.parse("-0s"), Ok(0));
}

#[test]
fn tells_what_is_wrong_and_what_to_write() {
    let told = |problem: &str, remedy: &str| (problem.to_owned(), remedy.to_owned());
    assert_eq!(
        problem(&TIME, "24"),
        told("a time needs its unit", "write `24ms`, `24s`, `24m` or `24h`")
    );
    assert_eq!(
        problem(&SIZE, "64kib"),
        told("a size has the unknown unit `kib`", "did you mean `64KiB`?")
    );
    assert_eq!(
        problem(&TIME, "0.5us"),
        told("a time is finer than one us", "round it to whole us")
    );
    assert_eq!(problem(&SIZE, "1.0000000000000000001B").0, "a size is finer than one B");
    assert_eq!(problem(&TIME, "-1s").0, "a time may not be negative");
    assert_eq!(problem(&TIME, "99999999999999h").0, "a time is too large");
    assert_eq!(problem(&TIME, "1.2.3s").0, "a time has `1.2.3` for a number");
    assert_eq!(problem(&TIME, "soon").0, "a time does not begin with a number");
    assert_eq!(problem(&TIME, "").0, "a time does not begin with a number");
    assert_eq!(problem(&TIME, "5parsecs").1, "the units are `us`, `ms`, `s`, `m`, `h` and `d`");
}

#[test]
fn scales_digits_without_floats() {
    assert_eq!(scaled("0.041", 1_000_000), Ok(41_000));
    assert_eq!(scaled("18446744073709551615", 1), Ok(u64::MAX));
    assert_eq!(scaled("18446744073709551616", 1), Err(Scale::TooLarge));
    assert_eq!(scaled("0.0000001", 1_000_000), Err(Scale::TooFine));
    assert_eq!(scaled("0.1000000000000000000000", 10), Ok(1));
    assert_eq!(scaled("-0.000", 10), Ok(0));
    assert_eq!(scaled("-0.001", 10), Err(Scale::Negative));
    assert_eq!(scaled(".", 10), Err(Scale::NotANumber));
    assert_eq!(scaled("NaN", 10), Err(Scale::NotANumber));
}

#[test]
fn writes_the_shortest_form() {
    assert_eq!(TIME.write(0), "0s");
    assert_eq!(TIME.write(120_000_000), "2m");
    assert_eq!(TIME.write(90_000_000), "90s");
    assert_eq!(TIME.write(86_400_000_000), "24h");
    assert_eq!(TIME.write(500_000), "500ms");
    assert_eq!(SIZE.write(65_536), "64KiB");
    assert_eq!(SIZE.write(1_000_000_000_000), "1TB");
    assert_eq!(RATE.write(10_000_000_000), "10Gbps");
}

#[test]
fn lists_words() {
    assert_eq!(list(["a", "b", "c"].into_iter()), "`a`, `b` and `c`");
    assert_eq!(either(["a"].into_iter()), "`a`");
    assert_eq!(list([].into_iter()), "");
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(
        n in any::<u64>(),
        small in 0_u64..100_000,
        scale in 0_u32..12,
    ) {
        for n in [n, small * 10_u64.pow(scale), small << scale] {
            for quantity in [&TIME, &SIZE, &RATE, &SHARE] {
                prop_assert_eq!(quantity.parse(&quantity.write(n)), Ok(n));
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}|[-+]?[0-9.]{0,30}[a-zA-Z%]{0,4}") {
        for quantity in [&TIME, &SIZE, &RATE, &SHARE] {
            if let Err(wrong) = quantity.parse(&text) {
                prop_assert!(!wrong.remedy.is_empty());
            }
        }
    }
}
