//! One test per requirement row.

use mail_types::{
    BodyType, Domain, EnhancedStatus, Envelope, Mailbox, MessageClass, Notify, QueueId, Recipient,
    Ret, ReversePath, Timestamp,
};
use std::time::Duration;

use super::mime::{Report, all, get, read};
use crate::fixtures::{ARRIVED, envelope, recipient};
use crate::{
    Action, Built, Diagnostic, DsnError, Host, Notification, Original, Policy, RecipientReport,
    Reporter, ReturnPath, Story, build,
};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_772_370_000_000);
pub(super) const MESSAGE: &[u8] =
    b"From: a@s.test\r\nTo: b@d.test\r\nSubject: hello\r\n\r\nThe body.\r\n";

pub(super) fn reported<'a>(recipient: &'a Recipient, action: Action) -> RecipientReport<'a> {
    RecipientReport {
        recipient,
        action,
        status: EnhancedStatus::permanent(1, 1),
        remote_mta: Some("mx1.d.test"),
        diagnostic: Some(Diagnostic::Smtp("550 5.1.1 No such user")),
        last_attempt: Some(NOW),
        held: false,
        will_retry_until: Some(ARRIVED + Duration::from_secs(432_000)),
        summary: "The mail server mx1.d.test refused the message for good.",
        story: None,
    }
}

pub(super) struct Case<'a> {
    pub(super) envelope: Envelope,
    pub(super) original: Original<'a>,
    pub(super) return_path: ReturnPath,
    pub(super) max_returned: usize,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            envelope: envelope("a@s.test"),
            original: Original::Whole(MESSAGE),
            return_path: ReturnPath::SevenBit,
            max_returned: 10_000,
        }
    }
}

impl Case<'_> {
    pub(super) fn build(&self, recipients: &[RecipientReport<'_>]) -> Built {
        let notification = Notification {
            queue_id: QueueId::from_raw(0x64_9d_83_3f_12_ab_cd_01),
            envelope: &self.envelope,
            recipients,
            original: self.original,
            return_path: self.return_path,
        };
        let reporter = Reporter {
            hostname: &Domain::parse("relay.test").unwrap(),
            from: &Mailbox::parse("MAILER-DAEMON@relay.test").unwrap(),
            max_returned: self.max_returned,
        };
        build(&notification, &reporter, NOW, [7; 16]).unwrap()
    }

    pub(super) fn read(&self, recipients: &[RecipientReport<'_>]) -> Report {
        read(&self.build(recipients).message)
    }
}

const ACTIONS: [Action; 4] = [
    Action::Failed,
    Action::Expired,
    Action::Delayed,
    Action::Relayed,
];

#[test]
fn f1_19_no_return_path_no_notification() {
    let mut e = envelope("a@s.test");
    let r = recipient("b@d.test");
    let host = Domain::parse("relay.test").unwrap();
    let from = Mailbox::parse("postmaster@relay.test").unwrap();
    let reporter = Reporter {
        hostname: &host,
        from: &from,
        max_returned: 0,
    };
    let mut notification = Notification {
        queue_id: QueueId::from_raw(1),
        envelope: &e.clone(),
        recipients: &[],
        original: Original::Withheld,
        return_path: ReturnPath::SevenBit,
    };
    assert_eq!(
        build(&notification, &reporter, NOW, [0; 16]),
        Err(DsnError::NoRecipients)
    );
    let reports = [reported(&r, Action::Failed)];
    notification.recipients = &reports;
    e.reverse_path = ReversePath::Null;
    notification.envelope = &e;
    assert_eq!(
        build(&notification, &reporter, NOW, [0; 16]),
        Err(DsnError::NoReturnPath)
    );
}

#[test]
fn f1_20_one_notification_covers_several_recipients() {
    let (a, b) = (recipient("b@d.test"), recipient("c@e.test"));
    let report =
        Case::default().read(&[reported(&a, Action::Failed), reported(&b, Action::Relayed)]);
    let (_, recipients) = report.machine();
    let finals: Vec<_> = recipients
        .iter()
        .map(|r| get(r, "Final-Recipient"))
        .collect();
    assert_eq!(finals, ["rfc822;b@d.test", "rfc822;c@e.test"]);
    let actions: Vec<_> = recipients.iter().map(|r| get(r, "Action")).collect();
    assert_eq!(actions, ["failed", "relayed"]);
    assert_eq!(
        get(&report.header, "Subject"),
        "Undelivered Mail Returned to Sender"
    );
}

#[test]
fn f1_21_f2_02_the_envelope_of_a_notification() {
    let mut case = Case::default();
    case.envelope.ret = Some(Ret::Full);
    case.envelope.envid = Some("x".into());
    let r = recipient("b@d.test");
    let built = case.build(&[reported(&r, Action::Failed)]);
    let e = &built.envelope;
    assert_eq!(e.reverse_path, ReversePath::Null);
    assert_eq!(e.class, MessageClass::Dsn);
    assert_eq!((e.ret, &e.envid), (None, &None));
    assert_eq!(e.recipients.len(), 1);
    assert_eq!(e.recipients[0].mailbox.as_str(), "a@s.test");
    assert_eq!(e.recipients[0].notify, Notify::Never);
    assert_eq!(e.size, u64::try_from(built.message.len()).unwrap());
    assert_eq!((e.body, e.smtputf8), (BodyType::SevenBit, false));
    assert!(built.message.is_ascii());
    let report = read(&built.message);
    assert_eq!(get(&report.header, "To"), "<a@s.test>");
    assert_eq!(
        e.arrival.message_id.as_deref(),
        Some(get(&report.header, "Message-ID").as_str())
    );
}

#[test]
fn f1_22_what_is_returned() {
    let r = recipient("b@d.test");
    let headers = "From: a@s.test\r\nTo: b@d.test\r\nSubject: hello\r\n";
    for (ret, action, max, whole, note, why) in [
        (
            Some(Ret::Full),
            Action::Failed,
            1000,
            true,
            "Your message is attached",
            "asked for",
        ),
        (
            Some(Ret::Full),
            Action::Expired,
            1000,
            true,
            "Your message is attached",
            "asked for",
        ),
        (
            Some(Ret::Full),
            Action::Delayed,
            1000,
            false,
            "The header of",
            "not a failure",
        ),
        (
            Some(Ret::Full),
            Action::Relayed,
            1000,
            false,
            "The header of",
            "not a failure",
        ),
        (
            Some(Ret::Headers),
            Action::Failed,
            1000,
            false,
            "The header of",
            "asked for",
        ),
        (
            None,
            Action::Failed,
            1000,
            false,
            "The header of",
            "not asked for",
        ),
        (
            Some(Ret::Full),
            Action::Failed,
            50,
            false,
            "too big",
            "over the cap",
        ),
    ] {
        let mut case = Case {
            max_returned: max,
            ..Case::default()
        };
        case.envelope.ret = ret;
        let report = case.read(&[reported(&r, action)]);
        let third = &report.parts[2];
        let (kind, body) = if whole {
            ("message/rfc822", MESSAGE)
        } else {
            ("text/rfc822-headers", headers.as_bytes())
        };
        assert_eq!(get(&third.fields, "Content-Type"), kind, "{why}");
        assert_eq!(third.body, body, "{why}");
        assert!(report.prose().contains(note), "{why}: {}", report.prose());
    }
}

#[test]
fn f1_22_of_what_is_too_big_only_the_header_is_read_and_the_sender_is_told_why() {
    let r = recipient("b@d.test");
    for (size, note) in [
        (2001, "Your message is too big to be sent back"),
        (2000, "The header of"),
    ] {
        let mut case = Case {
            max_returned: 2000,
            original: Original::Headers(b"Subject: hello\r\n"),
            ..Case::default()
        };
        case.envelope.ret = Some(Ret::Full);
        case.envelope.size = size;
        let report = case.read(&[reported(&r, Action::Failed)]);
        assert!(report.prose().contains(note), "{size}: {}", report.prose());
    }
}

#[test]
fn d1_16_requiretls_mail_comes_back_as_headers_over_requiretls() {
    let mut case = Case::default();
    case.envelope.ret = Some(Ret::Full);
    case.envelope.requiretls = true;
    let r = recipient("b@d.test");
    let built = case.build(&[reported(&r, Action::Failed)]);
    assert!(built.envelope.requiretls);
    let third = &read(&built.message).parts[2];
    assert_eq!(get(&third.fields, "Content-Type"), "text/rfc822-headers");
    case.original = Original::Withheld;
    assert_eq!(
        case.read(&[reported(&r, Action::Failed)]).parts.len(),
        2,
        "D1-17: redacted"
    );
}

#[test]
fn f1_23_f1_24_f2_05_f2_06_the_message_fields() {
    let mut case = Case::default();
    let r = recipient("b@d.test");
    let (fields, _) = case.read(&[reported(&r, Action::Failed)]).machine();
    assert!(
        all(&fields, "Original-Envelope-Id").is_empty(),
        "no ENVID, no field"
    );
    assert_eq!(get(&fields, "Reporting-MTA"), "dns; relay.test");
    assert_eq!(
        get(&fields, "Received-From-MTA"),
        "dns; client.s.test (192.0.2.9)"
    );
    assert_eq!(
        get(&fields, "Arrival-Date"),
        "Sun, 01 Mar 2026 12:00:00 +0000"
    );
    case.envelope.envid = Some("QQ+2B1".into());
    let (fields, _) = case.read(&[reported(&r, Action::Failed)]).machine();
    assert_eq!(get(&fields, "Original-Envelope-Id"), "QQ+1");
}

#[test]
fn f1_25_to_f1_28_f2_08_f2_09_f2_10_the_recipient_fields() {
    let mut r = recipient("Bob.X@D.test");
    let mut given = reported(&r, Action::Failed);
    given.diagnostic = Some(Diagnostic::Smtp("550-5.1.1 No such\r\n550 5.1.1 user"));
    let (_, recipients) = Case::default().read(&[given]).machine();
    let fields = &recipients[0];
    assert!(
        all(fields, "Original-Recipient").is_empty(),
        "no ORCPT, no field"
    );
    assert_eq!(get(fields, "Final-Recipient"), "rfc822;Bob.X@D.test");
    assert_eq!(get(fields, "Status"), "5.1.1");
    assert_eq!(get(fields, "Remote-MTA"), "dns; mx1.d.test");
    assert_eq!(
        get(fields, "Diagnostic-Code"),
        "smtp; 550-5.1.1 No such 550 5.1.1 user"
    );
    assert_eq!(
        get(fields, "Last-Attempt-Date"),
        "Sun, 01 Mar 2026 13:00:00 +0000"
    );
    assert!(
        all(fields, "Will-Retry-Until").is_empty(),
        "only when delayed"
    );

    r.orcpt = Some("rfc822;b+2Bx@old.test".into());
    let local = RecipientReport {
        remote_mta: None,
        diagnostic: Some(Diagnostic::Local("No connection could be made.")),
        ..reported(&r, Action::Delayed)
    };
    let (_, recipients) = Case::default().read(&[local]).machine();
    let fields = &recipients[0];
    assert_eq!(get(fields, "Original-Recipient"), "rfc822;b+x@old.test");
    assert_eq!(get(fields, "Action"), "delayed");
    assert_eq!(get(fields, "Status"), "4.1.1");
    assert!(
        all(fields, "Remote-MTA").is_empty(),
        "no remote was involved"
    );
    assert_eq!(
        get(fields, "Diagnostic-Code"),
        "X-Local; No connection could be made."
    );
    assert_eq!(
        get(fields, "Will-Retry-Until"),
        "Fri, 06 Mar 2026 12:00:00 +0000"
    );
}

#[test]
fn f2_01_f2_03_f3_05_f4_01_structure_and_fields_of_every_kind() {
    let r = recipient("b@d.test");
    for action in ACTIONS {
        for return_path in [ReturnPath::SevenBit, ReturnPath::EightBit, ReturnPath::Utf8] {
            let case = Case {
                return_path,
                ..Case::default()
            };
            let report = case.read(&[reported(&r, action)]);
            for once in [
                "Date",
                "From",
                "To",
                "Subject",
                "Message-ID",
                "MIME-Version",
            ] {
                assert!(!get(&report.header, once).is_empty());
            }
            assert_eq!(get(&report.header, "Auto-Submitted"), "auto-replied");
            assert_eq!(get(&report.header, "References"), "<1@s.test>");
            assert_eq!(
                get(&report.header, "From"),
                "Mail Delivery System <MAILER-DAEMON@relay.test>"
            );
            let types: Vec<_> = report
                .parts
                .iter()
                .map(|p| get(&p.fields, "Content-Type"))
                .collect();
            assert_eq!(
                types,
                [
                    "text/plain; charset=us-ascii",
                    "message/delivery-status",
                    "text/rfc822-headers"
                ]
            );
        }
    }
}

#[test]
fn f2_04_the_machine_part_is_ascii() {
    let r = recipient("b@d.test");
    let given = RecipientReport {
        diagnostic: Some(Diagnostic::Smtp("550 Benutzer unbekannt: Müller")),
        ..reported(&r, Action::Failed)
    };
    for return_path in [ReturnPath::SevenBit, ReturnPath::Utf8] {
        let case = Case {
            return_path,
            ..Case::default()
        };
        let built = case.build(&[given]);
        let report = read(&built.message);
        assert!(report.parts[1].body.is_ascii());
        assert_eq!(
            get(&report.parts[1].fields, "Content-Transfer-Encoding"),
            "7bit"
        );
        assert!(
            report.human().contains("unbekannt: Müller"),
            "the text part keeps it"
        );
        let eight = return_path == ReturnPath::Utf8;
        assert_eq!(built.message.is_ascii(), !eight);
        assert_eq!(built.envelope.body == BodyType::EightBit, eight);
        assert!(!built.envelope.smtputf8, "no address needs it");
    }
}

#[test]
fn f2_13_amb_35_what_goes_to_an_ascii_sender_is_seven_bit_in_all_parts() {
    let r = recipient("jürgen@d.test");
    let case = Case::default();
    let built = case.build(&[reported(&r, Action::Failed)]);
    let report = read(&built.message);
    assert!(built.message.is_ascii() && !built.envelope.smtputf8);
    assert_eq!(
        get(&report.parts[1].fields, "Content-Type"),
        "message/delivery-status"
    );
    assert_eq!(
        get(&report.machine().1[0], "Final-Recipient"),
        r"utf-8;j\x{FC}rgen@d.test"
    );
}

#[test]
fn f2_12_amb_35_what_goes_to_a_sender_beyond_ascii_is_international() {
    let r = recipient("jürgen@d.test");
    // Whatever else is assumed of the way back.
    let case = Case {
        envelope: envelope("änne@s.test"),
        ..Case::default()
    };
    let built = case.build(&[reported(&r, Action::Failed)]);
    let report = read(&built.message);
    assert_eq!(get(&report.header, "To"), "<änne@s.test>");
    assert_eq!(
        get(&report.parts[1].fields, "Content-Type"),
        "message/global-delivery-status"
    );
    assert_eq!(
        get(&report.machine().1[0], "Final-Recipient"),
        "utf-8;jürgen@d.test"
    );
    assert!(built.envelope.smtputf8, "the way back itself needs it");
    assert_eq!(built.envelope.body, BodyType::EightBit);
}

#[test]
fn f2_15_amb_35_content_that_the_way_back_cannot_carry_is_not_changed() {
    let r = recipient("b@d.test");
    let body8 = "Subject: x\r\n\r\nGrüße\r\n".as_bytes();
    let header8 = "Subject: Grüße\r\n\r\nx\r\n".as_bytes();
    let latin1 = &b"Subject: Gr\xfc\xdfe\r\n\r\nx\r\n"[..];
    use ReturnPath::{EightBit, SevenBit, Utf8};
    for (message, path, kind, encoding) in [
        (body8, SevenBit, "text/rfc822-headers", "7bit"),
        (body8, EightBit, "message/rfc822", "8bit"),
        (
            header8,
            SevenBit,
            "text/rfc822-headers; charset=utf-8",
            "quoted-printable",
        ),
        (
            header8,
            EightBit,
            "text/rfc822-headers; charset=utf-8",
            "8bit",
        ),
        (header8, Utf8, "message/global", "8bit"),
    ] {
        let mut case = Case {
            return_path: path,
            original: Original::Whole(message),
            ..Case::default()
        };
        case.envelope.ret = Some(Ret::Full);
        let built = case.build(&[reported(&r, Action::Failed)]);
        let report = read(&built.message);
        let third = &report.parts[2];
        assert_eq!(get(&third.fields, "Content-Type"), kind, "{path:?}");
        assert_eq!(get(&third.fields, "Content-Transfer-Encoding"), encoding);
        if kind.starts_with("message/") {
            assert_eq!(third.body, message);
        } else {
            assert!(report.prose().contains("may not survive the way back"));
        }
        assert_eq!(built.envelope.smtputf8, kind == "message/global");
        assert_eq!(
            built.envelope.body == BodyType::EightBit,
            !built.message.is_ascii()
        );
    }
    let case = Case {
        original: Original::Headers(latin1),
        ..Case::default()
    };
    let report = case.read(&[reported(&r, Action::Failed)]);
    assert_eq!(
        get(&report.parts[2].fields, "Content-Type"),
        "text/rfc822-headers; charset=unknown-8bit"
    );
}

/// What the story of a failed policy has to tell (F3-01) and a delay warning (F3-03).
#[test]
fn f3_01_f3_03_the_story_of_a_policy() {
    let r = recipient("b@d.test");
    let hosts = [
        Host {
            name: "mx1.d.test",
            ip: Some("192.0.2.1".parse().unwrap()),
            failure: "The certificate has expired.",
        },
        Host {
            name: "mx2.d.test",
            ip: None,
            failure: "The policy does not list this host.",
        },
    ];
    let policies = [Policy {
        source: "MTA-STS",
        mode: "enforce",
        id: Some("20260101"),
        published_at: "https://mta-sts.d.test/.well-known/mta-sts.txt",
        fetched_at: Some(ARRIVED),
        expires_at: Some(NOW),
    }];
    let story = Story {
        domain: "d.test",
        policies: &policies,
        hosts: &hosts,
        advice: "The administrator of d.test should renew the certificate.",
    };
    for action in [Action::Expired, Action::Delayed] {
        let report = Case::default().read(&[RecipientReport {
            diagnostic: Some(Diagnostic::Local(
                "The certificate of mx1.d.test has expired.",
            )),
            remote_mta: None,
            story: Some(story),
            ..reported(&r, action)
        }]);
        let prose = report.prose();
        for part in [
            "mx1.d.test [192.0.2.1]: The certificate has expired.",
            "mx2.d.test: The policy does not list this host.",
            "MTA-STS, mode enforce, policy id 20260101",
            "https://mta-sts.d.test/.well-known/mta-sts.txt",
            "The administrator of d.test should renew",
        ] {
            assert!(prose.contains(part), "{part}: {prose}");
        }
        let (_, recipients) = report.machine();
        assert_eq!(
            get(&recipients[0], "Diagnostic-Code"),
            "X-Local; The certificate of mx1.d.test has expired."
        );
        let waits = prose.contains("The message waits until such a connection can be made.")
            && prose.contains("cannot be delivered until Fri, 06 Mar 2026");
        assert_eq!(waits, action == Action::Delayed);
    }
}

#[test]
fn f1_17_who_wants_no_word_of_a_failure_is_not_promised_one() {
    let mut r = recipient("b@d.test");
    for (failure, want) in [
        (true, "you will be told."),
        (false, "you will not be told of that."),
    ] {
        r.notify = Notify::On {
            success: true,
            failure,
            delay: true,
        };
        let report = Case::default().read(&[reported(&r, Action::Delayed)]);
        let prose = report.prose();
        assert!(prose.contains(want), "{prose}");
        assert_eq!(prose.contains("as you asked"), !failure, "{prose}");
    }
}
