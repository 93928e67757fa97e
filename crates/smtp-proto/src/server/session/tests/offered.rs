//! What was not offered, and what nobody is offered.

use super::*;

#[test]
fn e4_11_replies_are_ascii() {
    let mut driver = Driver::plain();
    driver.send(EHLO.as_bytes());
    driver.send(b"MAIL FROM:<>\r\n");
    for command in [
        "RCPT TO:<a@[foo]>",
        "RCPT TO:<a@[IPv6:x]>",
        "RCPT TO:<a@d\u{f6}.-.test>",
    ] {
        let reply = driver.told(command);
        assert!(reply.starts_with("501 ") && reply.is_ascii(), "{reply}");
    }
    let mut options = settings();
    options.closed = Some("f\u{fc}r alle".into());
    let mut session = Session::new(Arc::new(options), peer());
    session.greet(&[]);
    assert_eq!(
        &session.output()[..],
        b"554 relay.test No service: f?r alle\r\n"
    );
}

#[test]
fn d1_03_what_was_not_offered_after_helo_is_refused() {
    for (command, code) in [
        ("MAIL FROM:<a@b.test> SIZE=100 BODY=8BITMIME", "250 "),
        ("MAIL FROM:<a@b.test> SMTPUTF8", "555 5.5.4 "),
        ("MAIL FROM:<a@b.test> RET=FULL", "555 5.5.4 "),
        ("MAIL FROM:<a@b.test> ENVID=x", "555 5.5.4 "),
        ("MAIL FROM:<a@b.test> REQUIRETLS", "555 5.5.4 "),
    ] {
        let mut driver = Driver::inside_tls();
        driver.send(b"HELO c.test\r\n");
        let reply = driver.told(command);
        assert!(reply.starts_with(code), "{command}: {reply}");
        assert!(driver.told("RSET").starts_with("250 "));
        driver.send(b"EHLO c.test\r\n");
        let reply = driver.told(command);
        assert!(reply.starts_with("250 "), "{command} after EHLO: {reply}");
    }
    for parameter in ["NOTIFY=NEVER", "ORCPT=rfc822;a@b.test"] {
        let mut driver = Driver::plain();
        driver.send(b"HELO c.test\r\nMAIL FROM:<>\r\n");
        let reply = driver.told(&format!("RCPT TO:<a@b.test> {parameter}"));
        assert!(reply.starts_with("555 5.5.4 "), "{parameter}: {reply}");
        assert!(driver.told("RCPT TO:<a@b.test>").starts_with("250 "));
    }
}

#[test]
fn f1_01_without_dsn_its_parameters_are_unknown() {
    let mut options = settings();
    options.dsn = false;
    let mut driver = Driver::new(options, peer());
    driver.send(EHLO.as_bytes());
    assert!(driver.told("MAIL FROM:<> RET=FULL").starts_with("555 "));
    assert!(driver.told("MAIL FROM:<> RET=FOO").starts_with("555 "));
    assert!(driver.told("MAIL FROM:<> SIZE=x").starts_with("501 "));
    driver.send(b"MAIL FROM:<>\r\n");
    assert!(
        driver
            .told("RCPT TO:<a@b.test> NOTIFY=NEVER")
            .starts_with("555 ")
    );
    assert!(
        driver
            .told("RCPT TO:<a@b.test> NOTIFY=x")
            .starts_with("555 ")
    );
    assert!(driver.told("RCPT TO:<a@b.test>").starts_with("250 "));
}

#[test]
fn e4_01_closed_for_maintenance() {
    let mut options = settings();
    options.closed = Some("maintenance".into());
    let mut session = Session::new(Arc::new(options.clone()), peer());
    session.greet(&[]);
    assert_eq!(
        &session.output()[..],
        b"554 relay.test No service: maintenance\r\n"
    );
    let mut driver = Driver::new(options, peer());
    assert!(driver.told("EHLO c.test").starts_with("503 5.5.1 "));
    assert_eq!(
        driver.codes(b"BDAT 6\r\nQUIT\r\nNOOP\r\n"),
        [503, 503],
        "the chunk is no command"
    );
    for other in ["", "FOO", "QUIT x", "MAIL FROM:<", "HELO"] {
        let reply = driver.told(other);
        assert!(reply.starts_with("503 5.5.1 "), "{other}: {reply}");
    }
    assert!(driver.told("QUIT").starts_with("221 ") && driver.closed);
    let mut options = settings();
    options.closed = Some("maintenance".into());
    let mut driver = Driver::new(options, peer());
    assert!(
        driver.told("BDAT x").starts_with("503 ") && driver.closed,
        "nobody knows where the chunk ends"
    );
}

/// Whoever looks for mail that was refused finds it by its addresses, good or bad.
#[test]
fn who_was_refused_is_told_as_given() {
    let front = Peer {
        xforward: true,
        ..peer()
    };
    let long = "x".repeat(1000);
    for (line, sender, recipient) in [
        ("MAIL FROM:<a b@c.test> SIZE=1", "a b@c.test", None),
        ("MAIL FROM:a@b.test", "a@b.test", None),
        ("mail a@b.test", "a@b.test", None),
        ("MAIL FROM:<a@b.test> WHAT=1", "a@b.test", None),
        ("MAIL FROM:<a\u{1}@b.test>", "a?@b.test", None),
        ("RCPT TO:<c@d@e>", "s@b.test", Some("c@d@e")),
        (
            "rcpt to: c@d.test NOTIFY=NEVER",
            "s@b.test",
            Some("c@d.test NOTIFY=NEVER"),
        ),
        ("RCPT TO:<>", "s@b.test", Some("")),
        ("RCPT TO:<c@d.test> WHAT=1", "s@b.test", Some("c@d.test")),
        (
            &format!("RCPT TO:<{long}@d.test>"),
            "s@b.test",
            Some(&long[..256]),
        ),
    ] {
        let mut driver = Driver::new(settings(), front);
        driver.send(EHLO.as_bytes());
        driver.send(b"XFORWARD NAME=spike.test\r\n");
        if recipient.is_some() {
            driver.send(b"MAIL FROM:<s@b.test>\r\n");
        }
        assert!(driver.told(line).starts_with('5'), "{line}");
        let [
            Notice::Refused {
                sender: from,
                recipient: to,
                orig_client,
                ..
            },
        ] = driver.notices.as_slice()
        else {
            panic!("{line}: {:?}", driver.notices);
        };
        assert_eq!(
            (from.as_deref(), to.as_deref()),
            (Some(sender), recipient),
            "{line}"
        );
        let name = orig_client.as_ref().and_then(|c| c.name.as_deref());
        assert_eq!(name, Some("spike.test"), "{line}");
    }
}
