use mail_types::{BodyType, Mailbox, Notify, Recipient, Ret, ReversePath};

use super::*;
use crate::SizeLimit;
use proptest::prelude::*;

struct Mail {
    from: ReversePath,
    recipients: Vec<Recipient>,
}

impl Mail {
    fn to(addresses: &[&str]) -> Self {
        let recipient = |a: &&str| Recipient {
            mailbox: Mailbox::parse(a).unwrap(),
            notify: Notify::Unspecified,
            orcpt: None,
        };
        Self {
            from: ReversePath::Mailbox(Mailbox::parse("s@us.test").unwrap()),
            recipients: addresses.iter().map(recipient).collect(),
        }
    }
}

fn transaction<'a>(mail: &'a Mail, recipients: &'a [&'a Recipient]) -> Transaction<'a> {
    Transaction {
        reverse_path: &mail.from,
        recipients,
        body: BodyType::SevenBit,
        smtputf8: false,
        requiretls: false,
        ret: None,
        envid: None,
        submitter: None,
        size: 100,
    }
}

fn offers(words: &str) -> Extensions {
    let lines = format!("mx\n{}", words.replace(", ", "\n"));
    Extensions::parse(&Reply::new(250, None, &lines))
}

/// Runs a transaction against replies. The result shows what was written, `<body>` and `<empty>`
/// for contents, `?` where a reply was read; then the outcomes as words.
fn run(
    tx: &Transaction<'_>,
    offered: &Extensions,
    reset: bool,
    replies: &[&str],
) -> (String, String) {
    let mut exchange = Exchange::new(tx, offered, reset, 1_000).unwrap();
    let (mut out, mut replies) = (BytesMut::new(), replies.iter());
    loop {
        match exchange.next(&mut out) {
            ExchangeAction::Read(_) => {
                out.extend_from_slice(b"?");
                let reply = Reply::parse(replies.next().expect("one more reply")).unwrap();
                if let Err(fault) = exchange.on_reply(reply) {
                    let text = format!("{} {fault}", words(exchange.into_states()));
                    return (shown(&out), text);
                }
            }
            ExchangeAction::SendBody(_) => {
                out.extend_from_slice(b"<body>");
                exchange.on_body_sent();
            }
            ExchangeAction::SendEmptyBody => {
                out.extend_from_slice(b"<empty>");
                exchange.on_body_sent();
            }
            ExchangeAction::Done => break,
        }
    }
    assert_eq!(replies.next(), None, "all replies are read");
    (shown(&out), words(exchange.finish()))
}

fn shown(out: &[u8]) -> String {
    String::from_utf8_lossy(out).replace("\r\n", "|")
}

fn words(outcomes: Vec<Option<RecipientOutcome>>) -> String {
    let word = |o: Option<RecipientOutcome>| match o {
        None => "open".to_owned(),
        Some(RecipientOutcome::Delivered(reply)) => format!("ok{}", reply.code()),
        Some(RecipientOutcome::Refused { stage, reply }) => format!("{stage}{}", reply.code()),
        Some(RecipientOutcome::NextTransaction(reply)) => {
            format!("next{}", reply.map_or(0, |r| r.code()))
        }
    };
    outcomes.into_iter().map(word).collect::<Vec<_>>().join(" ")
}

fn go(addresses: &[&str], offered: &str, replies: &[&str]) -> (String, String) {
    let mail = Mail::to(addresses);
    let recipients: Vec<_> = mail.recipients.iter().collect();
    run(
        &transaction(&mail, &recipients),
        &offers(offered),
        false,
        replies,
    )
}

const TWO: &[&str] = &["a@d.test", "b@d.test"];

#[test]
fn e2_23_lock_step_without_pipelining() {
    let (sent, got) = go(TWO, "", &["250", "250", "550 no", "354", "250 ok"]);
    assert_eq!(
        sent,
        "MAIL FROM:<s@us.test>|?RCPT TO:<a@d.test>|?RCPT TO:<b@d.test>|?DATA|?<body>?"
    );
    assert_eq!(got, "ok250 rcpt550");
}

#[test]
fn e2_23_one_group_with_pipelining_and_replies_by_count() {
    let replies = ["250", "250-a\r\n250 b", "550 c", "354", "250 ok"];
    let (sent, got) = go(TWO, "PIPELINING", &replies);
    assert_eq!(
        sent,
        "MAIL FROM:<s@us.test>|RCPT TO:<a@d.test>|RCPT TO:<b@d.test>|DATA|????<body>?"
    );
    assert_eq!(got, "ok250 rcpt550");
}

#[test]
fn e2_44_one_flight_with_bdat() {
    let (sent, got) = go(
        TWO,
        "PIPELINING, CHUNKING",
        &["250", "250", "450", "250 ok"],
    );
    assert_eq!(
        sent,
        "MAIL FROM:<s@us.test>|RCPT TO:<a@d.test>|RCPT TO:<b@d.test>|BDAT 100 LAST|<body>????"
    );
    assert_eq!(got, "ok250 rcpt450");
}

#[test]
fn e2_46_bdat_without_pipelining_waits_for_each_reply() {
    let (sent, got) = go(&["a@d.test"], "CHUNKING", &["250", "250", "250"]);
    assert_eq!(
        sent,
        "MAIL FROM:<s@us.test>|?RCPT TO:<a@d.test>|?BDAT 100 LAST|<body>?"
    );
    assert_eq!(got, "ok250");
    let (sent, got) = go(&["a@d.test"], "CHUNKING", &["250", "550"]);
    assert_eq!(sent, "MAIL FROM:<s@us.test>|?RCPT TO:<a@d.test>|?");
    assert_eq!(got, "rcpt550");
}

#[test]
fn large_contents_wait_for_the_recipients() {
    let mail = Mail::to(&["a@d.test"]);
    let recipients: Vec<_> = mail.recipients.iter().collect();
    let mut tx = transaction(&mail, &recipients);
    tx.size = 1_001;
    let (sent, got) = run(&tx, &offers("PIPELINING, CHUNKING"), false, &["250", "550"]);
    assert_eq!(sent, "MAIL FROM:<s@us.test>|RCPT TO:<a@d.test>|??");
    assert_eq!(got, "rcpt550");
    let (sent, _) = run(
        &tx,
        &offers("PIPELINING, CHUNKING"),
        false,
        &["250", "250", "250"],
    );
    assert!(sent.ends_with("??BDAT 1001 LAST|<body>?"), "{sent}");
}

#[test]
fn h3_20_354_though_nobody_is_accepted() {
    let (sent, got) = go(
        TWO,
        "PIPELINING",
        &["250", "550", "550", "354", "250 thanks"],
    );
    assert!(sent.ends_with("????<empty>?"), "{sent}");
    assert_eq!(got, "rcpt550 rcpt550");
    let (_, got) = go(TWO, "PIPELINING", &["250", "550", "450", "503"]);
    assert_eq!(got, "rcpt550 rcpt450");
    // The same with BDAT, where the content was already there.
    let replies = ["250", "550", "550", "250 thanks"];
    assert_eq!(
        go(TWO, "PIPELINING, CHUNKING", &replies).1,
        "rcpt550 rcpt550"
    );
}

#[test]
fn mail_refused_decides_for_all() {
    let (sent, got) = go(TWO, "", &["552 too big"]);
    assert_eq!(
        (sent.as_str(), got.as_str()),
        ("MAIL FROM:<s@us.test>|?", "mail552 mail552")
    );
    let (_, got) = go(TWO, "PIPELINING", &["452", "250", "503", "503"]);
    assert_eq!(got, "mail452 mail452");
    let (_, got) = go(TWO, "PIPELINING, CHUNKING", &["550", "503", "503", "503"]);
    assert_eq!(got, "mail550 mail550");
}

#[test]
fn e2_16_no_content_without_354() {
    for (reply, want) in [
        ("550 no", "data550 data550"),
        ("451 no", "data451 data451"),
        ("250 what", "open open unexpected reply: 250 what"),
        ("421 bye", "open open the host closes the session: 421 bye"),
        ("650 hi", "open open unexpected reply: 650 hi"),
    ] {
        let (sent, got) = go(TWO, "", &["250", "250", "250", reply]);
        assert!(!sent.contains("<body>"), "{reply}");
        assert_eq!(got, want);
    }
}

#[test]
fn e2_21_the_final_reply_is_for_all_accepted() {
    for (reply, want) in [
        ("451 later", "dot451 rcpt550"),
        ("554 no", "dot554 rcpt550"),
        ("421 bye", "dot421 rcpt550"),
        ("299 fine", "ok299 rcpt550"),
        ("354 eh", "open rcpt550 unexpected reply: 354 eh"),
    ] {
        let (_, got) = go(TWO, "", &["250", "250", "550", "354", reply]);
        assert_eq!(got, want);
    }
}

#[test]
fn e2_13_421_midway_leaves_the_rest_open() {
    let (_, got) = go(TWO, "", &["250", "250", "421 bye"]);
    assert_eq!(got, "open open the host closes the session: 421 bye");
    let (_, got) = go(TWO, "", &["250", "550", "421 bye"]);
    assert_eq!(got, "rcpt550 open the host closes the session: 421 bye");
}

#[test]
fn e2_07_first_digit_beyond_5_is_fatal() {
    for replies in [
        &["650 hi"][..],
        &["250", "150 x"],
        &["250", "354 x"],
        &["354"],
    ] {
        assert!(go(TWO, "", replies).1.contains("unexpected"), "{replies:?}");
    }
}

#[test]
fn e2_20_e2_36_too_many_recipients() {
    let five = &["a@d.test", "b@d.test", "c@d.test", "d@d.test", "e@d.test"];
    for (rcpt, want, why) in [
        (
            ["250", "250", "452", "452", "452"],
            "ok250 ok250 next452 next452 next452",
            "452 to the end",
        ),
        (
            ["250", "552", "552", "552", "552"],
            "ok250 next552 next552 next552 next552",
            "552 too",
        ),
        (
            ["250", "452", "250", "452", "452"],
            "ok250 rcpt452 ok250 next452 next452",
            "one is over quota",
        ),
        (
            ["452", "250", "250", "250", "452"],
            "rcpt452 ok250 ok250 ok250 next452",
            "before any was accepted",
        ),
        (
            ["250", "452", "452", "550", "452"],
            "ok250 rcpt452 rcpt452 rcpt550 next452",
            "550 is about one",
        ),
        (
            ["250", "250", "250", "250", "452 4.2.2 full"],
            "ok250 ok250 ok250 ok250 rcpt452",
            "mailbox full",
        ),
        (
            ["250", "250", "250", "451 4.5.3 x", "451 4.5.3 x"],
            "ok250 ok250 ok250 next451 next451",
            "4.5.3 in any code",
        ),
        (
            ["452", "452", "452", "452", "452"],
            "rcpt452 rcpt452 rcpt452 rcpt452 rcpt452",
            "nobody was accepted",
        ),
    ] {
        let accepted = rcpt.iter().any(|r| r.starts_with('2'));
        let mut replies = vec!["250"];
        replies.extend(rcpt);
        if accepted {
            replies.extend(["354", "250"]);
        }
        assert_eq!(go(five, "", &replies).1, want, "{why}");
    }
    let (_, got) = go(
        &["a@d.test", "b@d.test", "c@d.test"],
        "",
        &["250", "552", "452", "250", "354", "250"],
    );
    assert_eq!(got, "rcpt552 rcpt452 ok250", "row E2-36");
}

#[test]
fn limits_rcptmax_is_kept() {
    let (sent, got) = go(
        &["a@d.test", "b@d.test"],
        "LIMITS RCPTMAX=1",
        &["250", "250", "354", "250"],
    );
    assert!(!sent.contains("b@d.test"));
    assert_eq!(got, "ok250 next0");
}

#[test]
fn e2_15_reset_before_the_next_transaction() {
    let mail = Mail::to(&["a@d.test"]);
    let recipients: Vec<_> = mail.recipients.iter().collect();
    let tx = transaction(&mail, &recipients);
    let (sent, got) = run(
        &tx,
        &offers("PIPELINING"),
        true,
        &["250", "250", "250", "354", "250"],
    );
    assert!(sent.starts_with("RSET|MAIL FROM"), "{sent}");
    assert_eq!(got, "ok250");
    let (sent, _) = run(&tx, &offers(""), true, &["250", "250", "250", "354", "250"]);
    assert!(sent.starts_with("RSET|?MAIL FROM"), "{sent}");
    let (_, got) = run(&tx, &offers(""), true, &["500 what"]);
    assert!(got.contains("unexpected"));
}

#[test]
fn e2_48_no_parameter_that_was_not_offered() {
    let mut mail = Mail::to(&["a@d.test"]);
    mail.recipients[0].notify = Notify::On {
        success: true,
        failure: true,
        delay: false,
    };
    mail.recipients[0].orcpt = Some("rfc822;a+40d.test".into());
    let recipients: Vec<_> = mail.recipients.iter().collect();
    let mut tx = transaction(&mail, &recipients);
    tx.ret = Some(Ret::Headers);
    tx.envid = Some("id+2B1");
    let replies = &["250", "250", "354", "250"];
    let (sent, _) = run(&tx, &offers(""), false, replies);
    assert!(
        sent.starts_with("MAIL FROM:<s@us.test>|?RCPT TO:<a@d.test>|?"),
        "{sent}"
    );
    tx.body = BodyType::EightBit;
    tx.requiretls = true;
    tx.smtputf8 = true;
    let all = offers("SIZE, 8BITMIME, SMTPUTF8, DSN, REQUIRETLS");
    let (sent, _) = run(&tx, &all, false, replies);
    assert!(
        sent.starts_with("MAIL FROM:<s@us.test> SIZE=100 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=id+2B1|?RCPT TO:<a@d.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+40d.test|?"),
        "{sent}"
    );
}

#[test]
fn parameters_cannot_smuggle_commands() {
    let mut mail = Mail::to(&["a@d.test"]);
    mail.recipients[0].orcpt = Some("rfc822;a\r\nRCPT TO:<x@x.test>".into());
    let recipients: Vec<_> = mail.recipients.iter().collect();
    let mut tx = transaction(&mail, &recipients);
    tx.envid = Some("a b");
    let (sent, _) = run(&tx, &offers("DSN"), false, &["250", "250", "354", "250"]);
    assert!(
        sent.starts_with("MAIL FROM:<s@us.test>|?RCPT TO:<a@d.test>|?"),
        "{sent}"
    );
}

#[test]
fn e2_41_e2_42_smtputf8_only_when_needed() {
    let replies = &["250", "250", "354", "250"];
    let (sent, _) = go(&["a@bücher.test"], "SMTPUTF8", replies);
    assert!(sent.contains("MAIL FROM:<s@us.test>|"), "{sent}");
    assert!(sent.contains("RCPT TO:<a@xn--bcher-kva.test>"), "{sent}");
    let (sent, _) = go(&["ü@d.test"], "SMTPUTF8", replies);
    assert!(sent.contains("> SMTPUTF8|?RCPT TO:<ü@d.test>"), "{sent}");
}

#[test]
fn e2_37_e2_39_e2_41_what_a_peer_cannot_take() {
    let mail = Mail::to(&["a@d.test"]);
    let utf8 = Mail::to(&["ü@d.test"]);
    let (recipients, utf8_recipients) = ([&mail.recipients[0]], [&utf8.recipients[0]]);
    let plain = transaction(&mail, &recipients);
    let eight_bit = Transaction {
        body: BodyType::EightBit,
        ..plain
    };
    let requiretls = Transaction {
        requiretls: true,
        ..plain
    };
    let utf8 = transaction(&utf8, &utf8_recipients);
    for (tx, offered, want) in [
        (
            plain,
            "SIZE 99",
            Err(MissingExtension::Size {
                size: 100,
                limit: 99,
            }),
        ),
        (plain, "SIZE 100", Ok(())),
        (plain, "SIZE 0", Ok(())),
        (plain, "", Ok(())),
        (eight_bit, "", Err(MissingExtension::EightBitMime)),
        (eight_bit, "8BITMIME", Ok(())),
        (utf8, "8BITMIME", Err(MissingExtension::SmtpUtf8)),
        (utf8, "SMTPUTF8", Ok(())),
        (requiretls, "", Err(MissingExtension::RequireTls)),
        (requiretls, "REQUIRETLS", Ok(())),
    ] {
        assert_eq!(tx.fits(&offers(offered)), want, "{offered}");
    }
    assert_eq!(offers("SIZE 99").size, SizeLimit::Octets(99));
}

#[test]
fn h3_06_a_reply_without_a_command() {
    let mail = Mail::to(&["a@d.test"]);
    let recipients: Vec<_> = mail.recipients.iter().collect();
    let tx = transaction(&mail, &recipients);
    let offered = offers("");
    let mut exchange = Exchange::new(&tx, &offered, false, 0).unwrap();
    let early = Reply::parse("250 ok").unwrap();
    assert!(matches!(
        exchange.on_reply(early),
        Err(ExchangeFault::Desync(_))
    ));
}

proptest! {
    /// Whatever a peer answers: content only when the framing allows it, an outcome for everybody
    /// who was decided, and "delivered" only by a 2yz to the end of the content.
    #[test]
    fn any_replies_keep_the_rules(
        codes in proptest::collection::vec(prop_oneof![
            Just(250u16), Just(354), Just(421), Just(450), Just(452), Just(550), Just(552), Just(650),
        ], 0..12),
        pipelining: bool, chunking: bool, reset: bool, size in 0u64..2_000,
    ) {
        let mail = Mail::to(&["a@d.test", "b@d.test", "c@d.test"]);
        let recipients: Vec<_> = mail.recipients.iter().collect();
        let mut tx = transaction(&mail, &recipients);
        tx.size = size;
        let offered = Extensions { pipelining, chunking, ..Extensions::default() };
        let mut exchange = Exchange::new(&tx, &offered, reset, 1_000).unwrap();
        let (mut out, mut codes) = (BytesMut::new(), codes.into_iter());
        let (mut last, mut body_sent, mut after_body) = (0, false, None);
        let outcomes = loop {
            match exchange.next(&mut out) {
                ExchangeAction::Read(_) => {
                    last = codes.next().unwrap_or(250);
                    if body_sent {
                        after_body = Some(last);
                    }
                    if exchange.on_reply(Reply::new(last, None, "x")).is_err() {
                        break exchange.into_states();
                    }
                }
                ExchangeAction::SendBody(framing) => {
                    prop_assert!(!body_sent);
                    prop_assert_eq!(framing == Framing::Bdat, chunking);
                    prop_assert!(framing == Framing::Bdat || last == 354);
                    body_sent = true;
                    exchange.on_body_sent();
                }
                ExchangeAction::SendEmptyBody => {
                    prop_assert_eq!(last, 354);
                    exchange.on_body_sent();
                }
                ExchangeAction::Done => {
                    let outcomes = exchange.finish();
                    prop_assert!(outcomes.iter().all(Option::is_some), "{:?}", outcomes);
                    break outcomes;
                }
            }
        };
        prop_assert_eq!(outcomes.len(), 3);
        let delivered = outcomes.iter().flatten().any(|o| matches!(o, RecipientOutcome::Delivered(_)));
        if delivered {
            prop_assert!(body_sent && after_body == Some(250));
        }
        let wire = String::from_utf8_lossy(&out);
        prop_assert!(!(wire.contains("BDAT") && wire.contains("DATA\r\n")), "row E2-46");
    }
}

#[test]
fn g2_13_the_submitter_goes_to_peers_with_auth_only() {
    use mail_types::Submitter;
    let named = Submitter::Mailbox(Mailbox::parse("a+b@us.test").unwrap());
    let mail = Mail::to(&["r@d.test"]);
    let recipients: Vec<&Recipient> = mail.recipients.iter().collect();
    for (submitter, offered, want) in [
        (None, "AUTH PLAIN", "MAIL FROM:<s@us.test>\r\n"),
        (
            Some(&Submitter::Unknown),
            "AUTH PLAIN",
            "MAIL FROM:<s@us.test> AUTH=<>\r\n",
        ),
        (
            Some(&Submitter::Unknown),
            "8BITMIME",
            "MAIL FROM:<s@us.test>\r\n",
        ),
        (
            Some(&named),
            "AUTH PLAIN",
            "MAIL FROM:<s@us.test> AUTH=a+2Bb@us.test\r\n",
        ),
        (Some(&named), "8BITMIME", "MAIL FROM:<s@us.test>\r\n"),
    ] {
        let tx = Transaction {
            submitter,
            ..transaction(&mail, &recipients)
        };
        let offered = offers(offered);
        let mut exchange = Exchange::new(&tx, &offered, false, 1_000).unwrap();
        let mut out = BytesMut::new();
        let _ = exchange.next(&mut out);
        let out = String::from_utf8(out.to_vec()).unwrap();
        assert!(out.starts_with(want), "{out}");
    }
}
