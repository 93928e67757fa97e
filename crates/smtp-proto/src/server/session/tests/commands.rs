use super::*;
use crate::server::{Cause, Source, Stage};
use mail_types::{Notify, Ret};

#[test]
fn e4_02_all_orders_of_the_four_commands() {
    let all = [
        ("EHLO", "EHLO c.test"),
        ("MAIL", "MAIL FROM:<a@b.test>"),
        ("RCPT", "RCPT TO:<c@d.test>"),
        ("DATA", "DATA"),
    ];
    let mut orders = 0;
    for code in 0..256usize {
        let order: Vec<usize> = (0..4).map(|n| (code >> (2 * n)) & 3).collect();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if sorted != [0, 1, 2, 3] {
            continue;
        }
        orders += 1;
        let mut driver = Driver::plain();
        let (mut ehlo, mut mail, mut rcpt) = (false, false, false);
        for n in order.iter().copied() {
            let (verb, line) = all[n];
            let want = match verb {
                "EHLO" => {
                    (ehlo, mail, rcpt) = (true, false, false);
                    "250"
                }
                "MAIL" if ehlo => {
                    mail = true;
                    "250"
                }
                "RCPT" if mail => {
                    rcpt = true;
                    "250"
                }
                "DATA" if rcpt => "354",
                _ => "503",
            };
            let got = driver.told(line);
            assert!(got.starts_with(want), "{order:?} {line}: {got}");
        }
    }
    assert_eq!(orders, 24);
}

#[test]
fn e4_28_e4_27_ehlo_lists_what_is_there_and_nothing_else() {
    let mut driver = Driver::plain();
    assert_eq!(
        driver.told("EHLO c.test"),
        "250-relay.test\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-ENHANCEDSTATUSCODES\r\n\
         250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n"
    );
    let mut options = settings();
    options.tls = TlsMode::Optional;
    options.dsn = false;
    let mut driver = Driver::new(
        options,
        Peer {
            xforward: true,
            adds_requiretls: false,
            ..peer()
        },
    );
    let plain = driver.told("EHLO c.test");
    assert!(
        plain.contains("250-STARTTLS\r\n") && !plain.contains("REQUIRETLS"),
        "D1-01"
    );
    assert!(!plain.contains("DSN"), "F1-01");
    assert!(plain.ends_with("250 XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT\r\n"));
    driver.told("STARTTLS");
    let inside = driver.told("EHLO c.test");
    assert!(
        !inside.contains("STARTTLS") && inside.contains("REQUIRETLS"),
        "E4-19, D1-01"
    );
}

#[test]
fn e4_03_helo() {
    let mut driver = Driver::plain();
    assert_eq!(driver.told("HELO x"), "250 relay.test\r\n");
    assert!(driver.told("MAIL FROM:<>").starts_with("250 2.1.0 "));
    assert_eq!(
        driver.told("HELO"),
        "501 Syntax: HELO hostname\r\n",
        "no enhanced status"
    );
}

#[test]
fn e4_04_rset_ends_the_transaction_only() {
    let mut driver = Driver::plain();
    let codes = driver.codes(
        b"EHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nRSET\r\nDATA\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\n",
    );
    assert_eq!(codes, [250, 250, 250, 250, 503, 250, 503]);
}

#[test]
fn replies_to_single_commands() {
    let before = "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n";
    for (line, want, why) in [
        ("VRFY postmaster", "252 2.0.0 ", "E4-10"),
        ("VRFY", "501 5.5.4 ", "E4-10"),
        ("EXPN x", "502 5.5.1 ", "E4-10"),
        ("HELP", "214 2.0.0 ", "RFC 5321 4.1.1.8"),
        ("NOOP ignored", "250 2.0.0 ", "RFC 5321 4.1.1.9"),
        ("RSET x", "501 5.5.4 ", "E4-05"),
        ("DATA x", "501 5.5.4 ", "E4-05"),
        ("QUIT x", "501 5.5.4 ", "E4-05"),
        ("RSET  ", "250 2.0.0 ", "E4-05"),
        ("QUIT", "221 2.0.0 ", "RFC 5321 4.1.1.10"),
        ("FROB", "500 5.5.2 ", "RFC 5321 4.2.4"),
        ("", "500 5.5.2 ", "an empty line"),
        ("AUTH PLAIN AAA=", "502 5.5.1 ", "not offered"),
        ("STARTTLS", "502 5.5.1 ", "not configured"),
        ("RCPT TO:<a@d_x.test>", "501 5.1.3 ", "E4-07"),
        ("RCPT TO:<a@b.test> FOO=1", "555 5.5.4 ", "E4-06"),
        ("RCPT TO:<a@b.test> NOTIFY=", "501 5.5.4 ", "F1-02"),
        ("RCPT TO:<a@b.test> ORCPT=rfc822;+0", "501 5.5.4 ", "F1-03"),
        ("RCPT TO:<\u{fc}@d.test>", "553 5.6.7 ", "E4-26"),
        (
            "RCPT TO:<a@b.test> ORCPT=utf-8;\u{fc}@d.test",
            "553 5.6.7 ",
            "RFC 6533 section 3",
        ),
        ("RCPT TO:<Postmaster>", "250 2.1.5 ", "E4-09"),
        ("RCPT TO:<a\0@d.test>", "501 5.5.2 ", "H5-07"),
        ("DATA", "503 5.5.1 ", "E4-02"),
        ("MAIL FROM:<x@y.test>", "503 5.5.1 ", "nested"),
        ("XFORWARD IDENT=x", "550 5.7.0 ", "G5-06"),
        ("BDAT x", "501 5.5.4 ", "RFC 3030"),
    ] {
        let mut driver = Driver::plain();
        driver.send(before.as_bytes());
        let got = driver.told(line);
        assert!(got.starts_with(want), "{line} ({why}): {got}");
        assert_eq!(got.matches("\r\n").count(), 1, "{line}: one line");
    }
}

#[test]
fn replies_to_mail() {
    for (parameters, want, why) in [
        ("FOO=1", "555 5.5.4 ", "E4-06"),
        ("SIZE=", "501 5.5.4 ", "E4-06"),
        ("SIZE=abc", "501 5.5.4 ", "E4-24"),
        ("SIZE=52428800", "250 2.1.0 ", "just fits"),
        ("SIZE=52428801", "552 5.3.4 ", "E4-24"),
        ("BODY=FOO", "501 5.5.4 ", "E4-25"),
        ("BODY=8BITMIME SMTPUTF8", "250 2.1.0 ", "E4-26"),
        ("REQUIRETLS", "555 5.5.4 ", "D1-03: no TLS here"),
        ("RET=FULL RET=HDRS", "501 5.5.4 ", "F1-06"),
        ("AUTH=<>", "250 2.1.0 ", "G2-13"),
    ] {
        let mut driver = Driver::plain();
        driver.send(EHLO.as_bytes());
        let got = driver.told(&format!("MAIL FROM:<a@b.test> {parameters}"));
        assert!(got.starts_with(want), "{parameters} ({why}): {got}");
    }
    let mut driver = Driver::plain();
    driver.send(EHLO.as_bytes());
    assert!(
        driver
            .told("MAIL FROM:<\u{fc}@b.test>")
            .starts_with("553 5.6.7 ")
    );
    assert!(
        driver
            .told("MAIL FROM:<a@-b.test>")
            .starts_with("501 5.1.7 ")
    );
    assert!(
        driver
            .told("MAIL FROM:<\u{fc}@b.test> SMTPUTF8")
            .starts_with("250 ")
    );
}

#[test]
fn d1_02_d1_03_requiretls() {
    let mut options = settings();
    options.tls = TlsMode::Optional;
    let mut driver = Driver::new(options, peer());
    driver.send(EHLO.as_bytes());
    assert!(
        driver
            .told("MAIL FROM:<> REQUIRETLS")
            .starts_with("530 5.7.0 ")
    );
    driver.told("STARTTLS");
    assert!(
        driver
            .told("MAIL FROM:<> REQUIRETLS")
            .starts_with("503 5.5.1 "),
        "E4-20: no EHLO"
    );
    driver.send(EHLO.as_bytes());
    assert!(
        driver
            .told("MAIL FROM:<> REQUIRETLS=1")
            .starts_with("501 5.5.4 ")
    );
    assert!(driver.told("MAIL FROM:<> REQUIRETLS").starts_with("250 "));
    driver.send(b"RCPT TO:<a@b.test>\r\nDATA\r\n.\r\n");
    let (envelope, content) = driver.only_message();
    assert!(envelope.requiretls && envelope.arrival.tls == Some(tls()));
    assert!(content.contains(" with ESMTPS id "), "E4-31");
}

#[test]
fn g3_02_strangers_may_not_relay_and_the_session_goes_on() {
    let stranger = Peer {
        relaying: Relaying::Refused,
        ..peer()
    };
    let mut driver = Driver::new(settings(), stranger);
    driver.send(b"EHLO c.test\r\nMAIL FROM:<a@relay.test>\r\n");
    for path in [
        "a@b.test",
        "a%b.test@relay.test",
        "@relay.test:a@b.test",
        "\"a@b.test\"@relay.test",
        "b.test!a@relay.test",
        "a@[192.0.2.9]",
        "a@relay.test.",
        "Postmaster",
    ] {
        let got = driver.told(&format!("RCPT TO:<{path}>"));
        assert!(
            got.starts_with("550 5.7.1 ") || got.starts_with("501 "),
            "{path}: {got}"
        );
    }
    assert!(
        driver.told("DATA").starts_with("554 5.5.1 "),
        "no valid recipients"
    );
    assert!(driver.told("RSET").starts_with("250 "));
    assert!(driver.notices.iter().any(|n| matches!(
        n,
        Notice::Refused { stage: Stage::Rcpt, cause: Cause::RelayDenied, recipient: Some(r), .. }
            if **r == *"a@b.test"
    )));
}

#[test]
fn e4_09_postmaster_goes_where_the_operator_said() {
    let mut options = settings();
    options.postmaster = Some("ops@d.test".parse().unwrap());
    let stranger = Peer {
        relaying: Relaying::Refused,
        ..peer()
    };
    let mut driver = Driver::new(options, stranger);
    driver.send(b"EHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<postMASTER>\r\nDATA\r\n.\r\n");
    assert_eq!(
        driver.only_message().0.recipients[0].mailbox.as_str(),
        "ops@d.test"
    );
    for (relaying, path, for_us) in [
        (Relaying::Refused, "postmaster@relay.test", true),
        (Relaying::Refused, "PostMaster@Relay.TEST.", true),
        (Relaying::Refused, "\"postmaster\"@relay.test", true),
        (Relaying::Refused, "MAILER-DAEMON@relay.test", true),
        (Relaying::Allowed, "postmaster@relay.test", true),
        (Relaying::Refused, "postmaster@other.test", false),
        (Relaying::Refused, "postmaster@x.relay.test", false),
        (Relaying::Refused, "root@relay.test", false),
    ] {
        let mut options = settings();
        options.postmaster = Some("ops@d.test".parse().unwrap());
        let mut driver = Driver::new(options, Peer { relaying, ..peer() });
        driver.send(b"EHLO c.test\r\nMAIL FROM:<>\r\n");
        let reply = driver.told(&format!("RCPT TO:<{path}>"));
        assert_eq!(reply.starts_with("250 "), for_us, "{path}: {reply}");
        if for_us {
            driver.send(b"DATA\r\n.\r\n");
            let (envelope, _) = driver.only_message();
            assert_eq!(
                envelope.recipients[0].mailbox.as_str(),
                "ops@d.test",
                "{path}"
            );
        }
    }
    // Nobody has said who that is.
    let mut driver = Driver::plain();
    driver.send(b"EHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster@relay.test>\r\nDATA\r\n.\r\n");
    let (envelope, _) = driver.only_message();
    assert_eq!(
        envelope.recipients[0].mailbox.as_str(),
        "postmaster@relay.test"
    );
}

#[test]
fn e3_13_too_many_recipients() {
    let mut options = settings();
    options.max_recipients = 100;
    let mut driver = Driver::new(options, peer());
    driver.send(b"EHLO c.test\r\nMAIL FROM:<>\r\n");
    for n in 0..100 {
        assert!(
            driver
                .told(&format!("RCPT TO:<u{n}@b.test>"))
                .starts_with("250 2.1.5 ")
        );
    }
    for _ in 0..60 {
        assert!(
            driver.told("RCPT TO:<x@b.test>").starts_with("452 4.5.3 "),
            "no error"
        );
    }
    driver.send(b"DATA\r\n.\r\n");
    assert_eq!(driver.only_message().0.recipients.len(), 100);
}

#[test]
fn e4_23_early_talkers() {
    let mut options = settings();
    options.refuse_early_talkers = true;
    let options = Arc::new(options);
    let mut session = Session::new(Arc::clone(&options), peer());
    session.greet(b"EHLO c.test\r\n");
    assert!(session.output().starts_with(b"554 relay.test "));
    assert!(session.is_closed());
    assert!(
        session
            .take_notices()
            .any(|n| n == Notice::Incident(Incident::EarlyTalker))
    );
    // A load balancer that is not in proxy-hosts, and not a spammer (row H5-08).
    for header in [
        &b"PROXY TCP4 192.0.2.1 "[..],
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
    ] {
        let mut session = Session::new(Arc::clone(&options), peer());
        session.greet(header);
        assert!(session.output().is_empty() && session.is_closed());
        let notices: Vec<Notice> = session.take_notices().collect();
        assert_eq!(notices, [Notice::Incident(Incident::ProxyUntrusted)]);
    }
}

#[test]
fn e4_18_plaintext_behind_starttls() {
    let mut options = settings();
    options.tls = TlsMode::Optional;
    let mut driver = Driver::new(options, peer());
    assert_eq!(
        driver.codes(b"EHLO c.test\r\nSTARTTLS\r\nMAIL FROM:<>\r\n"),
        [250, 421]
    );
    assert!(driver.closed && driver.session.tls().is_none());
    assert!(
        driver
            .notices
            .contains(&Notice::Incident(Incident::StartTlsInjection))
    );
}

#[test]
fn e4_19_e4_20_state_before_tls_is_forgotten() {
    let mut options = settings();
    options.tls = TlsMode::Optional;
    let mut driver = Driver::new(options, peer());
    let codes = driver.codes(b"EHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nSTARTTLS\r\n");
    assert_eq!(codes, [250, 250, 250, 220]);
    assert_eq!(
        driver.codes(b"STARTTLS\r\nDATA\r\nMAIL FROM:<>\r\n"),
        [503, 503, 503]
    );
}

#[test]
fn g1_04_tls_required() {
    let mut options = settings();
    options.tls = TlsMode::Required;
    let mut driver = Driver::new(options, peer());
    let codes =
        driver.codes(b"EHLO c.test\r\nMAIL FROM:<>\r\nVRFY x\r\nBDAT 6\r\nQUIT\r\nNOOP\r\n");
    assert_eq!(codes, [250, 530, 530, 530, 250]);
    driver.told("STARTTLS");
    assert_eq!(driver.codes(b"EHLO c.test\r\nMAIL FROM:<>\r\n"), [250, 250]);
}

#[test]
fn e3_11_f1_08_long_command_lines() {
    let mut driver = Driver::plain();
    driver.send(b"EHLO c.test\r\nMAIL FROM:<>\r\n");
    let rcpt = format!("RCPT TO:<{}@d.test> ORCPT=rfc822;", "a".repeat(64));
    let pad = |len: usize| format!("{rcpt}{}", "b".repeat(len - 2 - rcpt.len()));
    // ORCPT is limited to 500 characters, so lines grow with spaces.
    let spaced = |len: usize| {
        let text = pad(500);
        text.replace("> ORCPT", &format!(">{}ORCPT", " ".repeat(len - 500 + 1)))
    };
    for len in [512, 1036, 2048] {
        assert!(
            driver.told(&spaced(len)).starts_with("250 "),
            "{len} octets"
        );
    }
    assert_eq!(driver.told(&spaced(2049)), "500 5.5.2 Line too long\r\n");
    assert!(driver.told(&spaced(100_000)).starts_with("500 5.5.2 "));
    assert!(
        driver.told("NOOP").starts_with("250 "),
        "the session goes on"
    );
    driver.send(&vec![b'x'; 3000]);
    driver.send(&vec![b'x'; 2 << 20]);
    assert!(driver.closed, "a line without an end");
}

#[test]
fn e3_06_bare_newlines_in_commands() {
    for bad in ["NOOP\nQUIT\r\n", "NOOP\n", "NO\rOP\r\n", "\n"] {
        let mut driver = Driver::plain();
        driver.send(bad.as_bytes());
        assert!(
            driver.replies.starts_with("550 5.5.2 ") && driver.closed,
            "{bad:?}"
        );
        assert!(
            driver
                .notices
                .contains(&Notice::Incident(Incident::BareNewline))
        );
        let normalize = Peer {
            bare_newline: BareNewline::Normalize,
            ..peer()
        };
        let mut driver = Driver::new(settings(), normalize);
        driver.send(bad.as_bytes());
        driver.send(b"NOOP\r\n");
        assert!(!driver.closed);
        assert!(driver.notices.iter().any(|n| matches!(
            n,
            Notice::Incident(Incident::BareNewlineNormalized { count: 1 })
        )));
    }
}

#[test]
fn h5_09_g1_03_other_protocols() {
    for (bytes, incident) in [
        (
            &b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            Incident::CrossProtocol,
        ),
        (b"\x16\x03\x01\x02\x00\x01", Incident::TlsOnPlainPort),
    ] {
        let mut driver = Driver::plain();
        assert_eq!(driver.codes(bytes), [421]);
        assert!(driver.closed && driver.notices.contains(&Notice::Incident(incident)));
    }
}

#[test]
fn too_many_errors_end_the_session() {
    let mut options = settings();
    options.max_errors = 3;
    let mut driver = Driver::new(options, peer());
    assert_eq!(driver.codes(b"A\r\nB\r\nC\r\nD\r\n"), [500, 500, 421]);
    assert!(driver.closed);
    assert!(
        driver
            .notices
            .contains(&Notice::Incident(Incident::TooManyErrors))
    );
}

#[test]
fn g5_06_xforward_gives_the_upstream_id() {
    let front = Peer {
        xforward: true,
        adds_requiretls: false,
        ..peer()
    };
    let mut driver = Driver::new(settings(), front);
    driver.send(EHLO.as_bytes());
    assert!(
        driver
            .told("XFORWARD NAME=a.test ADDR=192.0.2.9")
            .starts_with("250 2.0.0 ")
    );
    assert!(
        driver
            .told("XFORWARD IDENT=ABC SOURCE=LOCAL")
            .starts_with("250 ")
    );
    assert!(driver.told("XFORWARD WHAT=1").starts_with("501 5.5.4 "));
    driver.told("MAIL FROM:<>");
    assert!(driver.told("XFORWARD IDENT=x").starts_with("503 5.5.1 "));
    assert_eq!(driver.session.forwarded.source, Some(Source::Local));
    driver.send(b"RCPT TO:<a@b.test>\r\nDATA\r\nReceived: by x id THEIRS; d\r\n\r\n.\r\n");
    assert_eq!(
        driver.only_message().0.arrival.upstream_id.as_deref(),
        Some("ABC")
    );
    assert_eq!(
        driver.session.forwarded,
        Forwarded::default(),
        "for one transaction"
    );
}

#[test]
fn a_recipient_that_is_named_again_gets_no_second_copy() {
    let mut driver = Driver::plain();
    driver.send(b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n");
    for line in [
        "RCPT TO:<c@d.test> NOTIFY=NEVER",
        "RCPT TO:<C@d.test>",
        "RCPT TO:<c@d.test>",
        "RCPT TO:<\"c\"@d.test> NOTIFY=SUCCESS",
    ] {
        assert!(driver.told(line).starts_with("250 2.1.5 "), "{line}");
    }
    driver.send(b"DATA\r\n.\r\n");
    let recipients = &driver.only_message().0.recipients;
    let named: Vec<&str> = recipients.iter().map(|r| r.mailbox.as_str()).collect();
    assert_eq!(named, ["c@d.test", "C@d.test"], "a local part has its case");
    let asked = Notify::On {
        success: true,
        failure: true,
        delay: true,
    };
    assert_eq!(recipients[0].notify, asked);
}

#[test]
fn the_envelope_has_what_was_said() {
    let mut driver = Driver::plain();
    driver.send(
        b"EHLO c.test\r\nMAIL FROM:<A@b.test> RET=HDRS ENVID=QQ+2B1 BODY=8BITMIME\r\n\
          RCPT TO:<X@D.Test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob@d.test\r\nDATA\r\nMessage-ID: <1@b>\r\n\r\n.\r\n",
    );
    let (e, content) = driver.only_message();
    assert_eq!(
        (e.reverse_path.to_string().as_str(), e.ret),
        ("A@b.test", Some(Ret::Headers))
    );
    assert_eq!(e.envid.as_deref(), Some("QQ+2B1"));
    let r = &e.recipients[0];
    assert_eq!(r.orcpt.as_deref(), Some("rfc822;Bob@d.test"));
    assert!(matches!(
        r.notify,
        Notify::On {
            success: true,
            failure: false,
            delay: true
        }
    ));
    assert_eq!(e.arrival.message_id.as_deref(), Some("<1@b>"));
    assert_eq!((&*e.arrival.helo, &*e.arrival.listener), ("c.test", "main"));
    assert!(
        content
            .starts_with("Received: from c.test ([192.0.2.1])\r\n\tby relay.test with ESMTP id ")
    );
    assert!(content.contains("\r\n\tfor <X@D.Test>;\r\n"));
    assert!(
        driver
            .replies
            .contains("250 2.0.0 Ok: queued as 000000000001\r\n")
    );
}
