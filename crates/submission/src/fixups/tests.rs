use mail_types::header_fields;

use super::*;

fn fixups() -> Fixups {
    Fixups {
        hostname: Domain::parse("relay.test").unwrap(),
        require_from: false,
        add_sender: false,
    }
}

fn mend(fixups: &Fixups, header: &str, identity: Option<&str>) -> Result<String, Rejection> {
    let (fields, rest) = header_fields(header.as_bytes());
    assert!(rest.is_empty());
    let at = Timestamp::from_secs(1_772_366_400);
    let mended = fixups.mend(&fields, identity, "00000000007", at)?;
    let kept: Vec<&[u8]> = mended.kept.iter().map(Field::raw).collect();
    Ok(mended.added + &String::from_utf8(kept.concat()).unwrap())
}

const DATE: &str = "Date: Sun, 01 Mar 2026 12:00:00 +0000\r\n";
const ID: &str = "Message-ID: <00000000007@relay.test>\r\n";
const COMPLETE: &str = "Date: x\r\nMessage-ID: <1@d.test>\r\nFrom: a@d.test\r\n";

#[test]
fn g4_01_g4_02_date_and_message_id_are_added_if_missing() {
    let mended = |header: &str| mend(&fixups(), header, None).unwrap();
    assert_eq!(
        mended("From: a@d.test\r\n"),
        format!("{DATE}{ID}From: a@d.test\r\n")
    );
    assert_eq!(mended("date: x\r\n"), format!("{ID}date: x\r\n"));
    assert_eq!(
        mended("MESSAGE-ID : x\r\n"),
        format!("{DATE}MESSAGE-ID : x\r\n")
    );
    assert_eq!(mended(COMPLETE), COMPLETE);
}

#[test]
fn g4_03_sender_is_added_or_replaced_by_option() {
    let mut fixups = fixups();
    let with = |fixups: &Fixups, rest: &str, identity: &str| {
        mend(fixups, &format!("{COMPLETE}{rest}"), Some(identity)).unwrap()
    };
    assert_eq!(with(&fixups, "", "bob@d.test"), COMPLETE, "off");
    fixups.add_sender = true;
    let sender = "Sender: bob@d.test\r\n";
    assert_eq!(
        with(&fixups, "", "bob@d.test"),
        format!("{sender}{COMPLETE}")
    );
    let other = with(&fixups, "Sender: x@y.test\r\n", "bob@d.test");
    assert_eq!(other, format!("{sender}{COMPLETE}"));
    assert_eq!(
        with(&fixups, "", "A@D.test"),
        COMPLETE,
        "From names the identity"
    );
    let bare = with(&fixups, "", "bob");
    assert_eq!(bare, format!("Sender: bob@relay.test\r\n{COMPLETE}"));
    let two = with(&fixups, "From: a@d.test\r\n", "a@d.test");
    assert!(two.starts_with("Sender: a@d.test\r\n"));
    assert_eq!(
        mend(&fixups, COMPLETE, None).unwrap(),
        COMPLETE,
        "nobody logged in"
    );
    let evil = with(&fixups, "", "bob\r\nX: y@d.test");
    assert_eq!(evil, COMPLETE, "what is no mailbox is never written");
}

#[test]
fn g4_04_from_is_checked_by_option() {
    let mut fixups = fixups();
    // Longer than SMTP's 64 octets, which are no limit of RFC 5322's.
    let long = format!("From: <{}@org.test>\r\n", "x".repeat(70));
    let cases = [
        ("Subject: x\r\n", Some(Rejection::NoFrom)),
        (
            "From: a@d.test\r\nfrom: b@d.test\r\n",
            Some(Rejection::SeveralFrom),
        ),
        ("From: (nobody)\r\n", Some(Rejection::EmptyFrom)),
        ("From: a@d.test, b@d.test\r\n", None),
        ("From: x\r\n", Some(Rejection::EmptyFrom)),
        ("From: lim ited@d.test\r\n", Some(Rejection::EmptyFrom)),
        ("From: \"lim ited\"@d.test\r\n", None),
        ("From: <@d.test>\r\n", Some(Rejection::EmptyFrom)),
        ("From: x@\r\n", Some(Rejection::EmptyFrom)),
        ("From: x@-\r\n", Some(Rejection::EmptyFrom)),
        (&long, None),
        ("From: root@[192.0.2.1]\r\n", None),
        ("From: x, a@d.test\r\n", None),
    ];
    for (header, _) in cases {
        assert!(mend(&fixups, header, None).is_ok(), "off: {header}");
    }
    fixups.require_from = true;
    for (header, want) in cases {
        assert_eq!(mend(&fixups, header, None).err(), want, "{header}");
    }
}

#[test]
fn g4_06_g4_07_return_path_and_bcc_are_removed() {
    let header = format!(
        "Return-Path: <x@y.test>\r\n{COMPLETE}bcc: secret@d.test,\r\n\tmore@d.test\r\nCc: c@d.test\r\n\
         Resent-Bcc: s@d.test\r\nBCC : again@d.test\r\n"
    );
    assert_eq!(
        mend(&fixups(), &header, None).unwrap(),
        format!("{COMPLETE}Cc: c@d.test\r\n")
    );
}

#[test]
fn g5_03_authentication_results_with_our_id_are_removed() {
    for (value, ours) in [
        ("relay.test; spf=pass", true),
        ("RELAY.TEST;\r\n\tdkim=pass", true),
        ("(a comment (nested)) relay.test 1; none", true),
        ("\"relay.test\"; auth=pass", true),
        ("\"rel\\ay.test\"; auth=pass", true),
        ("relay.test.; none", true),
        ("relay.test(x); none", true),
        (";relay.test; dkim=pass", true),
        ("(x) ; ;relay.test; dkim=pass", true),
        (";mx.d.test; relay.test=pass", false),
        (";", false),
        ("mx.d.test; spf=pass", false),
        ("notrelay.test; x", false),
        ("(relay.test) mx.d.test; x", false),
        ("", false),
    ] {
        let header = format!("Authentication-Results: {value}\r\n{COMPLETE}");
        let want = if ours { COMPLETE } else { &header };
        assert_eq!(mend(&fixups(), &header, None).unwrap(), want, "{value}");
    }
}

#[test]
fn g4_08_what_a_signature_covers_stays() {
    let mut fixups = fixups();
    fixups.add_sender = true;
    let signed = |h: &str, rest: &str| {
        format!(
            "DKIM-Signature: v=1; d=d.test;\r\n\th={h};\r\n\tbh=x; b=y\r\nFrom: a@d.test\r\n{rest}"
        )
    };
    for h in ["from:date:message-id", "From : Date:\r\n\t Message-ID"] {
        let header = signed(h, "");
        assert_eq!(mend(&fixups, &header, None).unwrap(), header, "{h}");
    }
    let header = signed(
        "from:bcc:return-path",
        "Bcc: b@d.test\r\nReturn-Path: <>\r\nDate: x\r\n",
    );
    assert_eq!(
        mend(&fixups, &header, None).unwrap(),
        format!("{ID}{header}")
    );
    // One that stands and is signed once: another above it breaks nothing, but none is missing.
    let header = signed("from:date", "Date: x\r\nMessage-ID: y\r\n");
    assert_eq!(mend(&fixups, &header, None).unwrap(), header);
    for (h, rest) in [("from:sender", "Sender: x@d.test\r\n"), ("from:sender", "")] {
        let refused = mend(&fixups, &signed(h, rest), Some("bob@d.test"));
        assert_eq!(refused, Err(Rejection::SignedSender));
    }
    let forged = signed(
        "from:authentication-results",
        "Date: x\r\nMessage-ID: y\r\n",
    );
    let header = format!("{forged}Authentication-Results: relay.test; spf=pass\r\n");
    assert_eq!(
        mend(&fixups, &header, None).unwrap(),
        forged,
        "a forgery goes, whoever signed it"
    );
}

#[test]
fn g4_08_other_fields_are_byte_for_byte_and_in_order() {
    let header = "received: by x; y\r\nFROM:a@d.test\r\nX-Odd :\t z \r\n  folded  \r\nDate: x\r\n\
                  Received: z\r\nMessage-Id: <q@d.test>\r\nX-8bit: \u{fc}\r\n";
    assert_eq!(mend(&fixups(), header, None).unwrap(), header);
}
