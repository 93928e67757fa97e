use super::*;
use proptest::prelude::*;

fn parse_all(input: &[u8]) -> Result<Vec<Reply>, ReplyError> {
    let mut parser = ReplyParser::new(ReplyLimits::default());
    let mut buf = BytesMut::from(input);
    let mut replies = Vec::new();
    while let Some(reply) = parser.next(&mut buf)? {
        replies.push(reply);
    }
    Ok(replies)
}

fn one(input: &str) -> Reply {
    let mut replies = parse_all(input.as_bytes()).unwrap();
    assert_eq!(replies.len(), 1, "{input:?}");
    replies.remove(0)
}

#[test]
fn e2_05_forms_of_a_reply() {
    for (input, code, lines) in [
        ("250 ok\r\n", 250, vec!["ok"]),
        ("250\r\n", 250, vec![""]),
        ("250 \r\n", 250, vec![""]),
        ("250-a\r\n250 b\r\n", 250, vec!["a", "b"]),
        ("250-a\r\n250\r\n", 250, vec!["a", ""]),
        ("250-\r\n250 b\r\n", 250, vec!["", "b"]),
        ("250 lf only\n", 250, vec!["lf only"]),
    ] {
        let reply = one(input);
        assert_eq!(
            (reply.code(), reply.lines().collect()),
            (code, lines),
            "{input:?}"
        );
    }
}

#[test]
fn e2_04_e2_07_class_by_first_digit() {
    for (code, class) in [
        (299, ReplyClass::Completion),
        (399, ReplyClass::Intermediate),
        (450, ReplyClass::Transient),
        (499, ReplyClass::Transient),
        (599, ReplyClass::Permanent),
        (650, ReplyClass::Other),
        (150, ReplyClass::Other),
        (0, ReplyClass::Other),
    ] {
        assert_eq!(one(&format!("{code:03} hi\r\n")).class(), class, "{code}");
    }
}

#[test]
fn e2_06_h3_12_what_is_no_reply() {
    for bad in [
        &b"250-x\r\n550 y\r\n"[..],
        b"hello\r\n",
        b"\r\n",
        b"25\r\n",
        b"2500 x\r\n",
        b"250_x\r\n",
        b"-50 x\r\n",
        b"250 a\0b\r\n",
        b"250 a\rb\r\n",
        b"250 a\r\r\n",
    ] {
        assert!(
            parse_all(bad).is_err(),
            "{:?}",
            String::from_utf8_lossy(bad)
        );
    }
}

#[test]
fn h3_32_what_is_not_seen_is_replaced_too() {
    for c in ['\u{ad}', '\u{200b}', '\u{2060}', '\u{feff}', '\u{e0041}'] {
        let reply = one(&format!("550 5.1.1 no{c}body\r\n"));
        assert!(reply.to_string().contains("no?body"), "{c:?}: {reply}");
    }
}

#[test]
fn h3_12_h3_32_text_is_made_printable() {
    let reply = one("550 5.1.1 \u{1b}[31mred\u{7} \u{202e}x\ty\r\n");
    assert_eq!(reply.to_string(), "550 5.1.1 ?[31mred? ?x y");
    let latin1 = parse_all(b"250 caf\xe9\r\n").unwrap();
    assert_eq!(latin1[0].to_string(), "250 caf\u{fffd}");
}

#[test]
fn e2_47_enhanced_status_only_if_its_class_agrees() {
    for (input, enhanced, status, lines) in [
        ("550 5.1.1 no\r\n", Some("5.1.1"), "5.1.1", vec!["no"]),
        ("550 2.0.0 no\r\n", None, "5.0.0", vec!["2.0.0 no"]),
        ("450 no\r\n", None, "4.0.0", vec!["no"]),
        ("550 5.1.1\r\n", Some("5.1.1"), "5.1.1", vec![""]),
        (
            "550-5.1.1 a\r\n550 5.1.1 b\r\n",
            Some("5.1.1"),
            "5.1.1",
            vec!["a", "b"],
        ),
        (
            "550-5.1.1 a\r\n550 5.7.1 b\r\n",
            Some("5.1.1"),
            "5.1.1",
            vec!["a", "5.7.1 b"],
        ),
    ] {
        let reply = one(input);
        assert_eq!(
            reply.enhanced().map(|e| e.to_string()).as_deref(),
            enhanced,
            "{input:?}"
        );
        assert_eq!(
            reply.status().map(|e| e.to_string()).as_deref(),
            Some(status),
            "{input:?}"
        );
        assert_eq!(reply.lines().collect::<Vec<_>>(), lines, "{input:?}");
    }
    assert_eq!(one("354 go\r\n").status(), None);
}

#[test]
fn e2_08_h3_10_long_lines_are_tolerated_to_a_cap() {
    let long = format!("250 {}\r\n", "x".repeat(8 * 1024));
    assert_eq!(one(&long).code(), 250);
    let endless = vec![b'2'; 70_000];
    assert_eq!(parse_all(&endless), Err(ReplyError::LineTooLong(65_536)));
    let ended = format!("250 {}\r\n", "x".repeat(70_000));
    assert_eq!(
        parse_all(ended.as_bytes()),
        Err(ReplyError::LineTooLong(65_536))
    );
}

#[test]
fn e2_08_h3_11_endless_replies_are_dropped() {
    let many = "250-x\r\n".repeat(10_000);
    assert_eq!(
        parse_all(many.as_bytes()),
        Err(ReplyError::TooManyLines(8_192))
    );
}

#[test]
fn kept_text_is_bounded_but_the_reply_is_whole() {
    let many = format!("{}250 end\r\n", "250-0123456789\r\n".repeat(5_000));
    let reply = one(&many);
    assert!(reply.lines().map(str::len).sum::<usize>() <= 4_096);
    let wide = one(&format!("550 {}\r\n", "ü".repeat(4_000)));
    assert!(wide.to_string().len() <= 4_200);
}

#[test]
fn written_as_parsed() {
    let status = Some(EnhancedStatus::permanent(1, 1));
    let reply = Reply::new(550, status, "no\nsuch\ruser");
    let mut out = BytesMut::new();
    reply.write_to(&mut out);
    assert_eq!(&out[..], b"550-5.1.1 no\r\n550 5.1.1 such user\r\n");
    assert_eq!(
        Reply::parse("550 5.1.1 no").unwrap(),
        Reply::new(550, status, "no")
    );
    assert!(Reply::parse("550-5.1.1 no").is_err());
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_replies(cuts in proptest::collection::vec(1usize..20, 0..20)) {
        let input = b"220 hi\r\n250-a\r\n250-SIZE 10\r\n250 b\r\n550 5.1.1 no\r\n";
        let whole = parse_all(input).unwrap();
        let mut parser = ReplyParser::new(ReplyLimits::default());
        let (mut buf, mut got, mut rest) = (BytesMut::new(), Vec::new(), &input[..]);
        let mut cuts = cuts.into_iter();
        while !rest.is_empty() {
            let n = cuts.next().unwrap_or(rest.len()).min(rest.len());
            buf.extend_from_slice(&rest[..n]);
            rest = &rest[n..];
            while let Some(reply) = parser.next(&mut buf).unwrap() {
                got.push(reply);
            }
        }
        prop_assert_eq!(got, whole);
    }

    #[test]
    fn never_panics_and_never_keeps_controls(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(replies) = parse_all(&input) {
            for reply in replies {
                prop_assert!(!reply.to_string().chars().any(char::is_control));
            }
        }
    }

    #[test]
    fn round_trip(code in 200u16..600, lines in proptest::collection::vec("[a-zA-Z][ -~]{0,30}", 1..5)) {
        let reply = Reply::new(code, None, &lines.join("\n"));
        let mut out = BytesMut::new();
        reply.write_to(&mut out);
        prop_assert_eq!(parse_all(&out).unwrap(), vec![reply]);
    }
}
