use proptest::prelude::*;

use super::*;

const GOOD: &str =
    "version: STSv1\r\nmode: enforce\r\nmx: mx1.d.test\r\nmx: *.d.test\r\nmax_age: 604800\r\n";

fn parse(text: &str) -> Result<Parsed, PolicyError> {
    Policy::parse(text.as_bytes())
}

/// A policy whose lines are all good but for what is added in front.
fn with(lines: &str) -> Result<Parsed, PolicyError> {
    parse(&format!("{lines}\n{GOOD}"))
}

#[test]
fn the_parts_of_a_policy() {
    let Parsed { policy, warnings } = parse(GOOD).unwrap();
    assert_eq!(policy.mode(), Mode::Enforce);
    assert_eq!(policy.max_age(), Duration::from_secs(604_800));
    let mx: Vec<_> = policy.mx().iter().map(MxPattern::as_str).collect();
    assert_eq!(mx, ["mx1.d.test", "*.d.test"]);
    assert_eq!(policy.text(), GOOD, "the raw text is kept");
    assert_eq!(warnings, []);
}

#[test]
fn a3_05_a3_06_line_ends() {
    let good = parse(GOOD).unwrap().policy;
    for (text, reason) in [
        (GOOD.replace("\r\n", "\n"), "LF"),
        (GOOD.replacen("\r\n", "\n", 2), "mixed"),
        (GOOD.trim_end().to_owned(), "no final line end"),
    ] {
        let parsed = parse(&text).unwrap();
        assert!(parsed.policy.same_meaning(&good), "{reason}");
        assert_eq!(parsed.warnings, [], "{reason}");
    }
}

#[test]
fn a3_07_amb_08_a_lone_cr_at_the_end_is_no_line_end() {
    let (body, lines) = (GOOD.trim_end(), GOOD.lines().count());
    for end in ["\r", "\r\r\n", "\r\r"] {
        let parsed = parse(&format!("{body}{end}"));
        assert_eq!(parsed, Err(PolicyError::BareCr(lines)), "{end:?}");
    }
    let behind = parse(&format!("{GOOD}\r"));
    assert_eq!(behind, Err(PolicyError::BareCr(lines + 1)));
}

#[test]
fn accepted() {
    for (lines, mode, reason) in [
        ("mode: testing", Mode::Testing, "A3-23: the first mode wins"),
        (
            "mode: none\nmode: bogus",
            Mode::None,
            "A3-24: later ones are not validated",
        ),
        (
            "note: prüfung ✓",
            Mode::Enforce,
            "A3-21: unknown fields, UTF-8",
        ),
        (
            "Mode: testing",
            Mode::Enforce,
            "A3-20: names are case-sensitive, this one is unknown",
        ),
        ("MX: none", Mode::Enforce, "A3-20"),
        ("mx:a.test", Mode::Enforce, "A3-19: no blank needed"),
        (
            "mx:\t a.test \t",
            Mode::Enforce,
            "A3-19: blanks behind the colon and at the end",
        ),
        (
            "mx: 192.0.2.1",
            Mode::Enforce,
            "fits the grammar, matches nothing",
        ),
        ("a: b : c", Mode::Enforce, "a colon within a value"),
    ] {
        assert_eq!(
            with(lines).unwrap().policy.mode(),
            mode,
            "{lines:?}: {reason}"
        );
    }
    let first_age = with("max_age: 5\nmax_age: x").unwrap().policy;
    assert_eq!(first_age.max_age(), Duration::from_secs(5), "A3-23");
    let last_line = "mode: enforce\nmx: a.test\nmax_age: 1\nversion: STSv1";
    assert!(parse(last_line).is_ok(), "A3-08: version in any position");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn rejected() {
    let long_name = format!("{}: x", "a".repeat(33));
    for (lines, want, reason) in [
        ("version: STSv2", PolicyError::Version(1), "A3-08"),
        ("version: stsv1", PolicyError::Version(1), "A3-08: case"),
        ("version:", PolicyError::Version(1), "A3-08: empty"),
        ("mode: Enforce", PolicyError::Mode(1), "A3-09: case"),
        ("mode: report", PolicyError::Mode(1), "A3-09"),
        ("mode: ", PolicyError::Mode(1), "A3-09: empty"),
        ("max_age: -1", PolicyError::MaxAge(1), "A3-10"),
        ("max_age: +1", PolicyError::MaxAge(1), "A3-10"),
        ("max_age: 1.5", PolicyError::MaxAge(1), "A3-10"),
        ("max_age: 1e6", PolicyError::MaxAge(1), "A3-10"),
        ("max_age: 0x10", PolicyError::MaxAge(1), "A3-10"),
        (
            "max_age: 12345678901",
            PolicyError::MaxAge(1),
            "A3-10: 11 digits",
        ),
        ("max_age:", PolicyError::MaxAge(1), "A3-10: empty"),
        ("mode: enforce\rmx: a.test", PolicyError::BareCr(1), "A3-07"),
        (
            "mode: enforce\r\r",
            PolicyError::BareCr(1),
            "A3-07: two CR before LF",
        ),
        (
            "mx: a.test, b.test",
            PolicyError::Mx(1, PatternError::BadCharacter(',')),
            "A3-16",
        ),
        (
            "mx: a.test b.test",
            PolicyError::Mx(1, PatternError::BadCharacter(' ')),
            "A3-16",
        ),
        ("mx: *", PolicyError::Mx(1, PatternError::Wildcard), "A3-17"),
        (
            "mx: *.",
            PolicyError::Mx(1, PatternError::Empty),
            "A3-17: no dot to forgive",
        ),
        (
            "mx: a.test..",
            PolicyError::Mx(1, PatternError::EmptyLabel),
            "A3-25: one dot only",
        ),
        ("mx: .", PolicyError::Mx(1, PatternError::Empty), "A3-17"),
        ("mx:", PolicyError::Mx(1, PatternError::Empty), "A3-17"),
        (
            "mx: mäil.test",
            PolicyError::Mx(1, PatternError::BadCharacter('ä')),
            "A3-18",
        ),
        (
            " mx: a.test",
            PolicyError::Line(1),
            "A3-19: blank at the start",
        ),
        (
            "mx : a.test",
            PolicyError::Line(1),
            "A3-19: blank before the colon",
        ),
        ("no colon", PolicyError::Line(1), "not a field"),
        (
            "-x: y",
            PolicyError::Line(1),
            "A3-22: a name starts alphanumeric",
        ),
        ("x!: y", PolicyError::Line(1), "A3-22: characters of a name"),
        ("x:", PolicyError::Line(1), "A3-22: empty value"),
        (
            "x: a\tb",
            PolicyError::Line(1),
            "A3-22: a control character",
        ),
        ("x: a\x7fb", PolicyError::Line(1), "A3-22: DEL"),
        (": x", PolicyError::Line(1), "A3-22: empty name"),
        (&long_name, PolicyError::Line(1), "A3-22: long name"),
        ("x: a\0b", PolicyError::Nul(1), "A3-26"),
        (
            "mode: none\nmode: \0",
            PolicyError::Nul(2),
            "A3-26: in an ignored line as well",
        ),
        ("\u{feff}x: y", PolicyError::ByteOrderMark, "A3-26"),
        (
            "<!DOCTYPE html>",
            PolicyError::Line(1),
            "A3-26: a landing page",
        ),
    ] {
        assert_eq!(with(lines), Err(want), "{lines:?}: {reason}");
    }
}

#[test]
fn a3_08_a3_09_a3_10_a3_14_a3_26_missing() {
    for (text, want) in [
        ("", PolicyError::Missing("version")),
        ("\n\n", PolicyError::Missing("version")),
        ("mode: none\nmax_age: 1", PolicyError::Missing("version")),
        (
            "version: STSv1\nMode: none\nmax_age: 1",
            PolicyError::Missing("mode"),
        ),
        (
            "version: STSv1\nmode: none",
            PolicyError::Missing("max_age"),
        ),
        (
            "version: STSv1\nmode: enforce\nmax_age: 1",
            PolicyError::Missing("mx"),
        ),
        (
            "version: STSv1\nmode: testing\nmax_age: 1",
            PolicyError::Missing("mx"),
        ),
    ] {
        assert_eq!(parse(text), Err(want), "{text:?}");
    }
    assert_eq!(Policy::parse(b"version: \xff"), Err(PolicyError::NotUtf8));
}

#[test]
fn a3_14_a3_15_mode_none_with_and_without_mx() {
    let bare = parse("version: STSv1\nmode: none\nmax_age: 86400").unwrap();
    assert!(bare.policy.mx().is_empty());
    let with_mx = parse("version: STSv1\nmode: none\nmx: a.test\nmax_age: 86400").unwrap();
    assert_eq!(with_mx.policy.mode(), Mode::None);
}

#[test]
fn a3_11_a3_12_a3_13_max_age() {
    for (value, want, clamped) in [
        ("0", 0, false),
        ("1", 1, false),
        ("3599", 3599, false),
        ("0000000001", 1, false),
        ("31557600", 31_557_600, false),
        ("31557601", 31_557_600, true),
        ("9999999999", 31_557_600, true),
    ] {
        let parsed = with(&format!("max_age: {value}")).unwrap();
        assert_eq!(parsed.policy.max_age().as_secs(), want, "{value}");
        let warned = matches!(parsed.warnings[..], [Warning::MaxAgeClamped(_)]);
        assert_eq!(warned, clamped, "{value}");
    }
}

#[test]
fn a3_25_two_leniencies_are_warned() {
    assert_eq!(with("").unwrap().warnings, [Warning::BlankLine(1)]);
    assert_eq!(with(" \t").unwrap().warnings, [Warning::BlankLine(1)]);
    let dotted = with("mx: a.test.").unwrap();
    assert_eq!(dotted.warnings, [Warning::TrailingDot(1)]);
    assert_eq!(dotted.policy.mx()[0].as_str(), "a.test");
    let broad = MxPattern::parse("*.com").unwrap();
    assert_eq!(
        with("mx: *.com").unwrap().warnings,
        [Warning::BroadPattern(broad)]
    );
}

#[test]
fn a4_13_size_limit() {
    let pad = |n: usize| {
        let head = format!("{GOOD}x: ");
        format!("{head}{}", "y".repeat(n - head.len()))
    };
    assert!(parse(&pad(65_536)).is_ok());
    assert_eq!(parse(&pad(65_537)), Err(PolicyError::TooLarge));
}

#[test]
fn a5_04_a5_05_a5_06_one_pattern_is_enough() {
    let text = "version: STSv1\nmode: enforce\nmx: a.test\nmx: b.test\nmx: *.c.test\nmx: d.test\nmax_age: 1";
    let policy = parse(text).unwrap().policy;
    let listed = |host: &str| {
        let host = HostName::parse(host).unwrap();
        match policy.host(&host) {
            HostVerdict::Listed { pattern } => Some(pattern.to_string()),
            HostVerdict::NotListed => None,
        }
    };
    assert_eq!(
        listed("D.test"),
        Some("d.test".into()),
        "A5-06: also as the implicit MX"
    );
    assert_eq!(listed("mx.c.test"), Some("*.c.test".into()));
    assert_eq!(listed("c.test"), None);
    assert_eq!(listed("evil.test"), None);
}

#[test]
fn a6_20_h2_21_h2_22_h2_23_weaker() {
    let make = |mode: &str, age: u64| {
        let text = format!("version: STSv1\nmode: {mode}\nmx: a.test\nmax_age: {age}");
        parse(&text).unwrap().policy
    };
    for (old, new, weaker) in [
        (("enforce", 1000), ("none", 1000), true),
        (("enforce", 1000), ("testing", 1000), true),
        (("testing", 1000), ("none", 1000), true),
        (("testing", 1000), ("enforce", 1000), false),
        (("enforce", 1000), ("enforce", 99), true),
        (("enforce", 1000), ("enforce", 100), false),
        (("none", 1000), ("none", 1), false),
    ] {
        let is = make(new.0, new.1).is_weaker_than(&make(old.0, old.1));
        assert_eq!(is, weaker, "{old:?} to {new:?}");
    }
}

#[test]
fn a3_27_the_largest_policy_is_matched_quickly() {
    let mut text = String::from("version: STSv1\nmode: enforce\nmax_age: 1\n");
    let mut n = 0;
    while text.len() < MAX_POLICY_SIZE - 20 {
        text.push_str(&format!("mx:*.{n:x}.t\n"));
        n += 1;
    }
    let policy = parse(&text).unwrap().policy;
    assert!(policy.mx().len() > 5000);
    for i in 0..20 {
        let host = HostName::parse(&format!("mx{i}.elsewhere.test")).unwrap();
        assert_eq!(policy.host(&host), HostVerdict::NotListed);
    }
}

fn any_policy() -> impl Strategy<Value = (String, Mode)> {
    let mode = prop_oneof![Just(Mode::None), Just(Mode::Testing), Just(Mode::Enforce)];
    let mx = proptest::collection::vec("(\\*\\.)?[a-zA-Z0-9]{1,8}(\\.[a-z0-9]{1,8}){0,3}", 1..5);
    (mode, mx, 0u64..99_999_999_999, any::<bool>()).prop_map(|(mode, mx, age, crlf)| {
        let end = if crlf { "\r\n" } else { "\n" };
        let mut text = format!("mode: {mode}{end}version:STSv1 {end}");
        for m in mx {
            text.push_str(&format!("mx:\t{m}{end}"));
        }
        text.push_str(&format!("max_age: {}", age % 10_000_000_000));
        (text, mode)
    })
}

proptest! {
    #[test]
    fn any_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Policy::parse(&body);
    }

    #[test]
    fn any_lines_never_panic(lines in "((version|mode|mx|max_age|x)?[: \\t]{0,3}[ -~\\r\\n]{0,12}\\r?\\n){0,8}") {
        if let Ok(p) = parse(&lines) {
            prop_assert!(parse(&p.policy.to_string()).unwrap().policy.same_meaning(&p.policy));
        }
    }

    #[test]
    fn print_then_parse_keeps_the_meaning((text, mode) in any_policy()) {
        let policy = parse(&text).unwrap().policy;
        prop_assert_eq!(policy.mode(), mode);
        let again = parse(&policy.to_string()).unwrap();
        prop_assert!(again.policy.same_meaning(&policy));
        prop_assert_eq!(again.policy.to_string(), policy.to_string());
    }
}
