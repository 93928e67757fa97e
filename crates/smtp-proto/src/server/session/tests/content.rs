use super::login::{ann, starts};
use super::*;
use crate::server::{Cause, Stage, TlsRequiredNo};
use mail_types::{BodyType, Notify};

const START: &str = "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n";

fn started(settings: Settings, peer: Peer) -> Driver {
    let mut driver = Driver::new(settings, peer);
    driver.send(START.as_bytes());
    driver.replies.clear();
    driver
}

fn normalizing() -> Peer {
    Peer {
        bare_newline: BareNewline::Normalize,
        ..peer()
    }
}

fn causes(driver: &Driver) -> Vec<(Stage, Cause)> {
    let refused = driver.notices.iter().filter_map(|n| match n {
        Notice::Refused { stage, cause, .. } => Some((*stage, *cause)),
        Notice::Incident(_) | Notice::Login { .. } => None,
    });
    refused.collect()
}

#[test]
fn h5_01_false_ends_never_make_two_messages() {
    for variant in crate::data_in::FALSE_ENDS {
        let mut input = b"DATA\r\nSubject: x\r\n\r\na".to_vec();
        input.extend_from_slice(variant);
        input.extend_from_slice(
            b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<v@d.test>\r\nDATA\r\nsmuggled\r\n.\r\nQUIT\r\n",
        );
        let mut driver = started(settings(), peer());
        driver.send(&input);
        // With NUL a variant may have no bare CR or LF at all: then it is one message, and refused
        // where whoever drops NUL would find the end of data in it.
        let one_whole = driver.accepted.len() == 1 && driver.content().contains("smuggled");
        let refused = driver.replies.contains("\r\n550 5.") && driver.accepted.is_empty();
        assert!(
            driver.closed && (one_whole || refused),
            "{variant:?}: {}",
            driver.replies
        );

        let mut driver = started(settings(), normalizing());
        driver.send(&input);
        if *variant == b"\r\n\0.\r\n"[..] {
            assert_eq!(codes(&driver.replies), [354, 550, 221]);
            continue;
        }
        assert!(driver.content().contains("smuggled"), "{variant:?}");
        assert_eq!(codes(&driver.replies), [354, 250, 221]);
    }
}

#[test]
fn e3_05_what_is_a_lone_dot_without_its_nul_octets_is_not_passed_on() {
    for mode in [peer(), normalizing()] {
        for content in [
            &b"DATA\r\nSubject: x\r\n\r\n\0.\r\nQUIT\r\n.\r\n"[..],
            b"BDAT 17 LAST\r\nSubject: x\r\n\r\n\0.\0",
            b"BDAT 15\r\nSubject: x\r\n\r\n\0BDAT 9 LAST\r\n.\r\nQUIT\r\n",
        ] {
            let mut driver = started(settings(), mode);
            driver.send(content);
            assert!(
                driver.replies.contains("\r\n550 5.6.0 ")
                    || driver.replies.starts_with("550 5.6.0 "),
                "{}",
                driver.replies
            );
            assert!(driver.accepted.is_empty());
            assert_eq!(causes(&driver), [(Stage::Content, Cause::Content)]);
            let counted = |n: &&Notice| **n == Notice::Incident(Incident::NulDot);
            assert_eq!(driver.notices.iter().filter(counted).count(), 1);
            assert!(
                driver.told("NOOP").starts_with("250 "),
                "the session goes on"
            );
        }
    }
}

#[test]
fn e4_24_too_large_while_reading() {
    let mut options = settings();
    options.max_message_size = 100;
    for size in [100, 101, 100_000] {
        let mut driver = started(options.clone(), peer());
        let mut body = vec![b'x'; size - 2];
        body.extend_from_slice(b"\r\n.\r\nNOOP\r\n");
        driver.send(b"DATA\r\n");
        driver.send(&body);
        let fits = size == 100;
        assert_eq!(
            codes(&driver.replies),
            [354, if fits { 250 } else { 552 }, 250]
        );
        assert_eq!(driver.accepted.len(), usize::from(fits));
        if !fits {
            assert!(driver.replies.contains("552 5.3.4 "));
            assert_eq!(causes(&driver), [(Stage::Content, Cause::TooLarge)]);
        }
    }
}

#[test]
fn e4_17_the_queue_refuses() {
    let full = || Err(Refusal::disk_full());
    let data = b"DATA\r\nx\r\n.\r\nNOOP\r\n";

    let mut driver = Driver::plain();
    driver.admit = full();
    assert_eq!(driver.codes(START.as_bytes()), [250, 452, 503]);
    assert!(driver.replies.contains("452 4.3.1 "));

    let mut driver = started(settings(), peer());
    driver.begin = full();
    assert_eq!(
        driver.codes(b"DATA\r\nNOOP\r\nMAIL FROM:<>\r\n"),
        [452, 250, 250]
    );

    let mut driver = started(settings(), peer());
    driver.store = full();
    assert_eq!(driver.codes(data), [354, 452, 250]);
    assert!(driver.accepted.is_empty());

    let mut driver = started(settings(), peer());
    driver.commit = full();
    assert_eq!(driver.codes(data), [354, 452, 250]);
    assert_eq!(causes(&driver), [(Stage::Content, Cause::DiskFull)]);

    let mut driver = started(settings(), peer());
    driver.begin = Err(Refusal::shutting_down());
    assert_eq!(driver.codes(b"DATA\r\nNOOP\r\n"), [421]);
    assert!(driver.closed);
}

#[test]
fn e4_34_e4_35_loops() {
    let foreign = "Received: from a by b with SMTP id 1; d\r\n";
    let id = QueueId::next(now().as_millis() * 1000, 0, QueueId::from_raw(0));
    let own =
        format!("Received: from a ([192.0.2.1])\r\n\tby relay.test with ESMTP id {id};\r\n\td\r\n");
    for (header, want) in [
        (foreign.repeat(100), 250),
        (foreign.repeat(101), 554),
        (own.repeat(2), 250),
        (own.repeat(3), 554),
    ] {
        let mut driver = started(settings(), peer());
        let got = driver.codes(format!("DATA\r\n{header}\r\nx\r\n.\r\n").as_bytes());
        assert_eq!(got, [354, want]);
        if want == 554 {
            assert!(driver.replies.contains("554 5.4.6 ") && driver.accepted.is_empty());
        } else {
            assert_eq!(
                driver.content(),
                format!("{header}\r\nx\r\n"),
                "E4-33, E3-01"
            );
        }
    }
}

#[test]
fn amb_27_lines_up_to_64_kib() {
    for (len, want) in [(998, 250), (5000, 250), (65_536, 250), (65_537, 554)] {
        let mut driver = started(settings(), peer());
        let body = format!("{}\r\n", "x".repeat(len));
        assert_eq!(
            driver.codes(format!("DATA\r\n{body}.\r\n").as_bytes()),
            [354, want]
        );
        if want == 250 {
            assert_eq!(driver.content(), body);
        }
        let counted = Notice::Incident(Incident::LongLines { count: 1 });
        assert_eq!(driver.notices.contains(&counted), want == 250 && len > 998);
    }
}

#[test]
fn content_passes_unchanged() {
    let body = "Subject: \0odd\r\n\r\n\0\u{fc}\u{7f}\r\n\r\n";
    let mut driver = started(settings(), peer());
    driver.send(format!("DATA\r\n{body}.\r\n").as_bytes());
    assert_eq!(driver.content(), body, "NUL and 8-bit octets are content");
    assert_eq!(
        driver.only_message().0.body,
        BodyType::EightBit,
        "though not declared"
    );
}

#[test]
fn e2_42_what_came_with_smtputf8_keeps_it_only_if_its_header_is_not_ascii() {
    for (content, want) in [
        ("Subject: x\r\n\r\nHello.\r\n", false),
        ("Subject: x\r\n\r\nGr\u{fc}\u{df}e\r\n", false),
        ("Subject: Gr\u{fc}\u{df}e\r\n\r\nHello.\r\n", true),
    ] {
        for flag in [" SMTPUTF8", ""] {
            let mut driver = Driver::plain();
            let mail = format!("EHLO c.test\r\nMAIL FROM:<a@b.test> BODY=8BITMIME{flag}\r\n");
            driver.send(mail.as_bytes());
            driver.send(b"RCPT TO:<c@d.test>\r\n");
            driver.send(format!("DATA\r\n{content}.\r\n").as_bytes());
            let envelope = driver.only_message().0;
            assert_eq!(
                envelope.smtputf8,
                want && !flag.is_empty(),
                "{content:?}{flag}"
            );
        }
    }
}

#[test]
fn d2_01_d2_05_tls_required_no() {
    for (whose, requiretls, want) in [
        (TlsRequiredNo::Never, "", false),
        (TlsRequiredNo::Authenticated, "", false),
        (TlsRequiredNo::All, "", true),
        (TlsRequiredNo::All, " REQUIRETLS", false),
    ] {
        let mut driver = Driver::inside_tls();
        let mut options = settings();
        options.dangerous_tls_required_no = whose;
        driver.session.settings = Arc::new(options);
        driver.send(
            format!("EHLO c\r\nMAIL FROM:<>{requiretls}\r\nRCPT TO:<a@b.test>\r\n").as_bytes(),
        );
        driver.send(b"DATA\r\nTLS-Required: No\r\n\r\n.\r\n");
        assert_eq!(
            driver.only_message().0.tls_required_no,
            want,
            "{whose:?}{requiretls}"
        );
        assert!(
            driver.content().contains("TLS-Required: No"),
            "relayed unchanged"
        );
    }
}

#[test]
fn e4_32_no_for_clause_with_two_recipients() {
    let mut driver = started(settings(), peer());
    driver.send(b"RCPT TO:<blind@d.test>\r\nDATA\r\n.\r\n");
    assert!(!driver.only_message().1.contains("for <"));
}

/// Row E4-30: our field says what we know, and nothing that the content adds to it.
#[test]
fn e4_30_e4_33_content_that_begins_with_white_space_is_no_part_of_our_field() {
    let forged = " (forged) by evil.test\r\nSubject: x\r\n\r\ntext\r\n";
    let tab = "\t;x\r\n";
    for text in [forged, tab, " \r\n"] {
        for octets in [usize::MAX, 1] {
            let mut driver = started(settings(), peer());
            let whole = format!("DATA\r\n{text}.\r\n");
            whole
                .as_bytes()
                .chunks(octets.min(whole.len()))
                .for_each(|part| driver.send(part));
            assert_eq!(driver.content(), format!("\r\n{text}"));
            let mut driver = started(settings(), peer());
            let chunks = format!(
                "BDAT 0\r\nBDAT 1\r\n{}BDAT {} LAST\r\n{}",
                &text[..1],
                text.len() - 1,
                &text[1..]
            );
            chunks
                .as_bytes()
                .chunks(octets.min(chunks.len()))
                .for_each(|part| driver.send(part));
            assert_eq!(driver.content(), format!("\r\n{text}"));
        }
    }
    // A dot that is taken away hides nothing.
    for octets in [usize::MAX, 1] {
        let mut driver = started(settings(), peer());
        let whole = format!("DATA\r\n.{forged}.\r\n");
        let parts = whole.as_bytes().chunks(octets.min(whole.len()));
        parts.for_each(|part| driver.send(part));
        assert_eq!(driver.content(), format!("\r\n{forged}"));
    }
    // All else passes as it is, also what is no header.
    for text in [
        "Subject: x\r\n folded\r\n\r\n y\r\n",
        "no header\r\n",
        "\r\n x\r\n",
        ".\r\n",
    ] {
        let mut driver = started(settings(), peer());
        driver.send(format!("BDAT {} LAST\r\n{text}", text.len()).as_bytes());
        assert_eq!(driver.content(), text);
    }
}

#[test]
fn bdat_in_chunks() {
    let mut driver = started(settings(), peer());
    let got = driver.codes(b"BDAT 5\r\na\r\n.\rBDAT 3\r\n\nb\rBDAT 2 LAST\r\n\nQNOOP\r\n");
    assert_eq!(got, [250, 250, 250, 250]);
    assert_eq!(driver.content(), "a\r\n.\r\nb\r\nQ");
    assert!(
        driver.replies.starts_with("250 2.0.0 Chunk received\r\n"),
        "{}",
        driver.replies
    );
}

#[test]
fn bdat_out_of_order_is_passed_over() {
    let smuggle = b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n";
    let mut driver = Driver::plain();
    assert_eq!(driver.codes(smuggle), [503, 250], "no transaction");
    driver.send(b"EHLO c\r\nMAIL FROM:<>\r\n");
    assert_eq!(driver.codes(smuggle), [503, 250], "no recipient");
    let mut driver = started(settings(), peer());
    driver.begin = Err(Refusal::disk_full());
    assert_eq!(driver.codes(smuggle), [452, 250]);
    assert_eq!(
        driver.codes(b"BDAT 6\r\nQUIT\r\n"),
        [503],
        "the transaction is over"
    );
    let mut driver = started(settings(), peer());
    assert_eq!(driver.codes(b"BDAT 1\r\naDATA\r\n"), [250, 503], "E2-46");
    assert_eq!(driver.codes(b"RCPT TO:<x@y.test>\r\n"), [503]);
    assert_eq!(driver.codes(b"RSET\r\nMAIL FROM:<>\r\n"), [250, 250]);
    assert_eq!(driver.codes(b"BDAT 1x\r\nQUIT\r\n"), [501]);
    assert!(driver.closed, "nobody knows where the chunk ends");
}

#[test]
fn bdat_too_large_and_bare() {
    let mut options = settings();
    options.max_message_size = 4;
    let mut driver = started(options.clone(), peer());
    assert_eq!(
        driver.codes(b"BDAT 4\r\naaaaBDAT 1\r\naBDAT 1 LAST\r\naNOOP\r\n"),
        [250, 552, 503, 250]
    );
    // The disk is asked for no more room than the content may take.
    for (chunk, announced) in [("4", Some(4)), ("5", None), ("18446744073709551615", None)] {
        let mut driver = started(options.clone(), peer());
        driver.send(format!("BDAT {chunk} LAST\r\n").as_bytes());
        assert_eq!(driver.announced, [announced]);
    }
    let mut driver = started(settings(), peer());
    assert_eq!(driver.codes(b"BDAT 3 LAST\r\na\nbNOOP\r\n"), [550]);
    assert!(driver.closed && driver.accepted.is_empty());
    let mut driver = started(settings(), normalizing());
    assert_eq!(driver.codes(b"BDAT 5 LAST\r\na\nb\r\rNOOP\r\n"), [250, 250]);
    assert_eq!(driver.content(), "a b  ");
}

#[test]
fn e4_13_ending_a_session() {
    let mut driver = started(settings(), peer());
    assert!(!driver.session.is_in_content());
    driver.send(b"DATA\r\nx");
    assert!(driver.session.is_in_content());
    driver.replies.clear();
    driver.session.end(&Refusal::shutting_down());
    driver.send(b"");
    assert_eq!(codes(&driver.replies), [421]);
    assert!(driver.closed && driver.accepted.is_empty());
    driver.session.end(&Refusal::shutting_down());
    assert!(driver.session.output().is_empty(), "only once");
}

#[test]
fn g3_09_an_identity_may_have_a_smaller_limit_on_size() {
    for (own, listener, want) in [
        (Some(100), 5_000, 100),
        (Some(100), 0, 100),
        (Some(9_000), 5_000, 5_000),
        (None, 5_000, 5_000),
    ] {
        let mut settings = settings();
        settings.role = crate::server::Role::Submission;
        settings.max_message_size = listener;
        let mut d = Driver::new(settings, peer());
        let mut ann = ann();
        ann.max_message_size = own;
        d.session.tls_client(ClientCertificate::Of(ann), None);
        let offered = d.told("EHLO c.test");
        assert!(offered.contains(&format!("SIZE {want}\r\n")), "{offered}");
        let announced = d.told(&format!("MAIL FROM:<a@b.test> SIZE={}", want + 1));
        starts(&announced, "552 5.3.4 ");
        // One that does not say its size is read to its end.
        d.told("MAIL FROM:<a@b.test>\r\nRCPT TO:<x@far.test>\r\nDATA");
        let long = "x".repeat(70);
        let lines = vec![long.as_str(); usize::try_from(want).unwrap() / 72 + 1].join("\r\n");
        starts(&d.told(&format!("{lines}\r\n.")), "552 5.3.4 ");
        d.told("MAIL FROM:<a@b.test> SIZE=90\r\nRCPT TO:<x@far.test>\r\nDATA");
        starts(&d.told("Subject: x\r\n\r\nx\r\n."), "250");
    }
}

/// Nobody who asked to be told is left without, in whatever order a mailbox is named twice.
#[test]
fn a_mailbox_named_again_is_told_all_that_was_asked() {
    let on = |success, failure, delay| Notify::On {
        success,
        failure,
        delay,
    };
    for (one, other, want) in [
        ("", "", Notify::Unspecified),
        (" NOTIFY=NEVER", " NOTIFY=NEVER", Notify::Never),
        (" NOTIFY=NEVER", "", Notify::Unspecified),
        (" NOTIFY=NEVER", " NOTIFY=FAILURE", on(false, true, false)),
        (" NOTIFY=SUCCESS", " NOTIFY=DELAY", on(true, false, true)),
        (" NOTIFY=SUCCESS", "", on(true, true, true)),
    ] {
        for (first, second) in [(one, other), (other, one)] {
            let mut driver = Driver::new(settings(), peer());
            let text = format!(
                "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>{first}\r\n\
                 RCPT TO:<x@d.test>\r\nRCPT TO:<c@d.test>{second}\r\nDATA\r\n.\r\n"
            );
            driver.send(text.as_bytes());
            let recipients = &driver.only_message().0.recipients;
            let told: Vec<_> = recipients
                .iter()
                .map(|r| (r.mailbox.as_str(), r.notify))
                .collect();
            let other = ("x@d.test", Notify::Unspecified);
            assert_eq!(told, [("c@d.test", want), other], "{first} {second}");
        }
    }
}
