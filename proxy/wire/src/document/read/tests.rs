//! The combinators: what each takes, and what it tells of what it does not take.

use crate::document::{Faults, read};

/// Reads `x: <value>` with one combinator.
fn one<T>(value: &str, f: impl FnOnce(&super::Reader<'_>) -> Option<T>) -> Result<T, Faults> {
    read(&format!("x: {value}\n"), |top| top.required("x", "write it", f))
}

fn problem<T>(value: &str, f: impl FnOnce(&super::Reader<'_>) -> Option<T>) -> String {
    match one(value, f) {
        Ok(_) => panic!("{value} was taken"),
        Err(faults) => faults.list()[0].problem.clone(),
    }
}

#[test]
fn scalars_are_what_they_are_written_as() {
    assert_eq!(one("on", |r| Some(r.text()?.to_owned())).ok().as_deref(), Some("on"));
    assert_eq!(one("007", |r| Some(r.text()?.to_owned())).ok().as_deref(), Some("007"));
    assert_eq!(one("true", |r| r.boolean()).ok(), Some(true));
    assert_eq!(problem("yes", |r| r.boolean()), "`true` or `false` is due here, not text");
    assert_eq!(problem("7", |r| r.text().map(drop)), "text is due here, not a whole number");
    assert_eq!(one("7", |r| r.whole(0..=7)).ok(), Some(7));
    assert_eq!(problem("8", |r| r.whole(0..=7)), "is out of range");
    assert_eq!(problem("-1", |r| r.whole(0..=7)), "may not be negative");
    assert_eq!(
        problem("18446744073709551616", |r| r.whole(0..=7)),
        "is not a whole number in range"
    );
    assert_eq!(problem("seven", |r| r.whole(0..=7)), "a whole number is due here, not text");
}

#[test]
fn decimals_are_exact_and_finite() {
    assert_eq!(one("0.041", |r| r.decimal(6, 1_000_000)).ok(), Some(41_000));
    assert_eq!(one("1e-6", |r| r.decimal(6, 1_000_000)).ok(), Some(1));
    assert_eq!(one("1", |r| r.decimal(6, 1_000_000)).ok(), Some(1_000_000));
    assert_eq!(problem("1.000001", |r| r.decimal(6, 1_000_000)), "is too large");
    assert_eq!(problem("1e300", |r| r.decimal(6, 1_000_000)), "is too large");
    assert_eq!(problem("1e999", |r| r.decimal(6, 1_000_000)), "must be a finite number");
    assert_eq!(problem(".nan", |r| r.decimal(6, 1_000_000)), "must be a finite number");
    assert_eq!(problem("-.inf", |r| r.decimal(6, 1_000_000)), "must be a finite number");
    assert_eq!(problem("1e-7", |r| r.decimal(6, 1_000_000)), "has more than 6 decimals");
    assert_eq!(one("-179.9999999", |r| r.degrees(180)).ok(), Some(-180_000_000));
    assert_eq!(problem("90.1", |r| r.degrees(90)), "is not on the earth");
}

#[test]
fn quantities_need_their_unit_and_keep_to_their_range() {
    assert_eq!(one("1.5s", |r| r.millis(1..=2_000)).ok(), Some(1_500));
    assert_eq!(problem("0ms", |r| r.millis(1..=2_000)), "a time here may not be zero");
    assert_eq!(problem("3s", |r| r.millis(1..=2_000)), "a time here is out of range");
    assert_eq!(problem("1.5", |r| r.millis(1..=2_000)), "a time needs its unit");
    assert_eq!(problem("[1s]", |r| r.millis(1..=2_000)), "a time is due here, not a list");
    assert_eq!(one("50%", |r| r.percent(0..=100)).ok(), Some(50));
    assert_eq!(one("1Mbps", |r| r.bits_per_second(0..=u64::MAX)).ok(), Some(1_000_000));
}

#[test]
fn a_choice_is_a_word_or_a_map_with_one_key() {
    let kinds = &["plain", "fancy"];
    let pick = |r: &super::Reader<'_>| r.choice(kinds).map(|(word, inner)| (word, inner.is_some()));
    assert_eq!(one("plain", pick).ok(), Some(("plain", false)));
    assert_eq!(one("{fancy: {a: 1}}", pick).ok(), Some(("fancy", true)));
    assert_eq!(one("{fancy: }", pick).ok(), Some(("fancy", false)));
    assert_eq!(problem("{fancy: 1, plain: 2}", pick), "must have exactly one key");
    assert_eq!(problem("{fanzy: 1}", pick), "`fanzy` is not known here");
    assert_eq!(problem("3", pick), "a word or a map with one key is due here, not a whole number");
}

#[test]
fn a_map_tells_missing_and_unknown_keys_together() {
    let faults = one("{nmae: a, size: 1}", |r| {
        r.map(|map| {
            let name = map.required("name", "write `name: a`", |r| Some(r.text()?.to_owned()));
            let size = map.or("size", 3, |r| r.whole(0..=9));
            Some((name?, size))
        })
    })
    .expect_err("two faults");
    let told: Vec<(&str, &str)> =
        faults.list().iter().map(|f| (f.problem.as_str(), f.remedy.as_str())).collect();
    assert_eq!(
        told,
        [
            ("`name` is missing", "write `name: a`"),
            ("unknown field `nmae`", "did you mean `name`?"),
        ]
    );
}

#[test]
fn a_reader_that_gives_up_without_a_word_is_a_fault_all_the_same() {
    let faults = read::<()>("x: 1", |top| {
        top.allow("x");
        None
    })
    .expect_err("nothing was read");
    assert_eq!(faults.list()[0].problem, "cannot be used");
}
