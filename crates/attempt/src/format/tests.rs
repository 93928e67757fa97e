use std::net::IpAddr;
use std::time::Duration;

use mail_types::{EnhancedStatus, Mailbox, OrigClient, QueueId, ReversePath, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::{
    Authenticated, Case, Certificate, Delays, DsnKind, DsnSent, Facts, Level, Outcome, PolicyFrom,
    PolicyResult, PolicySource, PolicyUse, Reason, Received, Record, Refused, RefusedBy, Removed,
    RemovedBecause, Side, TlsSession, Tried,
};
use mail_types::harmless;

mod unprotected;

const NOW: Timestamp = Timestamp::from_millis(1_772_366_400_250);
const ID: QueueId = QueueId::from_raw(0x64_9d_83_3f_12_ab_cd_01);

/// What an attempt leaves behind; records borrow from it.
struct Scene {
    from: ReversePath,
    to: Mailbox,
    tried: Vec<Tried>,
    policies: Vec<PolicyUse>,
    tls: TlsSession,
}

impl Scene {
    fn new() -> Self {
        let host = |mx: &str, ip: &str, reason| Tried {
            mx: mx.into(),
            ip: Some(ip.parse().unwrap()),
            reason: Some(reason),
            case: Case::Usual,
            detail: "".into(),
        };
        Self {
            from: ReversePath::Mailbox(Mailbox::parse("a@s.test").unwrap()),
            to: Mailbox::parse("Bob@d.test").unwrap(),
            tried: vec![
                host("mx1.d.test", "192.0.2.1", Reason::CertExpired),
                host("mx2.d.test", "2001:db8::2", Reason::Connect),
            ],
            policies: vec![PolicyUse {
                source: PolicySource::MtaSts,
                mode: "enforce".into(),
                id: Some("20260101T000000".into()),
                from: Some(PolicyFrom::Cache),
                fetched_at: Some(NOW - Duration::from_secs(3600)),
                expires_at: Some(NOW + Duration::from_secs(86_400)),
                first_contact: false,
                result: PolicyResult::Failed,
                reason: Some(Reason::CertExpired),
                by: None,
                dane: None,
            }],
            tls: TlsSession {
                version: "TLSv1.3".into(),
                cipher: "TLS_AES_256_GCM_SHA384".into(),
                group: Some("X25519MLKEM768".into()),
                authenticated: Authenticated::Pkix,
                would_verify: true,
                fault: None,
                cert: Some(Certificate {
                    subject_alt_names: vec!["mx1.d.test".into()],
                    issuer: "CN=Test CA".into(),
                    not_after: NOW + Duration::from_secs(864_000),
                    sha256: "00ff".into(),
                }),
            },
        }
    }

    fn deferred(&self) -> Record<'_> {
        Record {
            at: NOW,
            outcome: Outcome::Deferred,
            queue_id: ID,
            upstream_id: Some("4XyZ12"),
            message_id: Some("<1@s.test>"),
            from: &self.from,
            to: &self.to,
            domain: "d.test",
            mx: Some("mx2.d.test"),
            ip: Some("192.0.2.2".parse().unwrap()),
            port: Some(25),
            tried: &self.tried,
            reason: Some(Reason::CertExpired),
            dsn: Reason::CertExpired.status(),
            reply: None,
            in_reply_to: None,
            detail: "The certificate of mx1.d.test has expired (on 2026-02-03).",
            policies: &self.policies,
            first_contact: false,
            no_policy: None,
            weakened_by: None,
            tls: None,
            attempt: 2,
            next_attempt: Some(NOW + Duration::from_secs(900)),
            for_sender: false,
            gives_up: Some(NOW + Duration::from_secs(431_000)),
            delay: Duration::from_millis(301_540),
            delays: Delays {
                before_queue: Duration::from_millis(40),
                in_queue: Duration::from_millis(300_000),
                connect: Duration::from_millis(1_500),
                transmit: Duration::ZERO,
            },
            side: None,
            advice: "Renew the certificate.",
        }
    }

    fn sent(&self) -> Record<'_> {
        Record {
            outcome: Outcome::Sent,
            reason: None,
            dsn: EnhancedStatus::success(0, 0),
            reply: Some("250 2.0.0 Ok: forwarded as (4Z)"),
            detail: "",
            tls: Some(&self.tls),
            next_attempt: None,
            for_sender: false,
            gives_up: None,
            advice: "",
            ..self.deferred()
        }
    }
}

fn line(format: Format, event: &dyn LogEvent) -> String {
    let mut out = Vec::new();
    Formatter::new(format, "relay.test", "sealpost", 7).write(event, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn json_has_every_field_of_the_interface_in_order() {
    let scene = Scene::new();
    let got = line(Format::Json, &scene.deferred());
    let want = concat!(
        r#"{"ts":"2026-03-01T12:00:00.250Z","level":"warn","event":"delivery.deferred","#,
        r#""queue_id":"ID","upstream_id":"4XyZ12","message_id":"<1@s.test>","#,
        r#""from":"a@s.test","to":"Bob@d.test","domain":"d.test","#,
        r#""mx":"mx2.d.test","ip":"192.0.2.2","port":25,"#,
        r#""tried":[{"mx":"mx1.d.test","ip":"192.0.2.1","reason":"cert-expired"},"#,
        r#"{"mx":"mx2.d.test","ip":"2001:db8::2","reason":"connect"}],"#,
        r#""reason":"cert-expired","dsn":"4.7.5","reply":null,"#,
        r#""detail":"The certificate of mx1.d.test has expired (on 2026-02-03).","#,
        r#""policies":[{"source":"mta-sts","mode":"enforce","id":"20260101T000000","from":"cache","#,
        r#""fetched_at":"2026-03-01T11:00:00.250Z","expires_at":"2026-03-02T12:00:00.250Z","#,
        r#""first_contact":false,"result":"failed","reason":"cert-expired"}],"#,
        r#""weakened_by":null,"tls":null,"attempt":2,"#,
        r#""next_attempt":"2026-03-01T12:15:00.250Z","gives_up":"2026-03-06T11:43:20.250Z","#,
        r#""delay":301.54,"delays":{"before_queue":0.04,"in_queue":300.0,"connect":1.5,"transmit":0.0},"#,
        r#""advice":"recipient-admin: Renew the certificate."}"#,
        "\n"
    );
    assert_eq!(got, want.replace("\"ID\"", &format!("\"{ID}\"")));
}

#[test]
fn json_of_a_delivery_has_tls_and_no_reason() {
    let scene = Scene::new();
    let got: serde_json::Value = serde_json::from_str(&line(Format::Json, &scene.sent())).unwrap();
    assert!(got.get("reason").is_none(), "absent on delivery.sent");
    assert_eq!(got["level"], "info");
    assert_eq!(
        got["tls"],
        serde_json::json!({
            "version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "group": "X25519MLKEM768",
            "authenticated": "pkix", "would_verify": true,
            "cert": {"subject_alt_names": ["mx1.d.test"], "issuer": "CN=Test CA",
                     "not_after": "2026-03-11T12:00:00.250Z", "sha256": "00ff"}
        })
    );
    assert!(got["advice"].is_null() && got["next_attempt"].is_null());
}

#[test]
fn postfix_lines_are_what_pflogsumm_counts() {
    let scene = Scene::new();
    let start = format!("Mar  1 12:00:00 relay.test sealpost/smtp[7]: {ID}: to=<Bob@d.test>, ");
    let tail = "delay=301, delays=0.04/300/1.5/0";
    assert_eq!(
        line(Format::Postfix, &scene.deferred()),
        format!(
            "{start}relay=mx2.d.test[192.0.2.2]:25, {tail}, dsn=4.7.5, status=deferred \
             (The certificate of mx1.d.test has expired [on 2026-02-03].) reason=cert-expired side=recipient-admin \
             policy=mta-sts:enforce:20260101T000000:failed \
             mx-tried=mx1.d.test[192.0.2.1]:cert-expired,mx2.d.test[2001:db8::2]:connect \
             attempt=2 next-attempt=2026-03-01T12:15:00.250Z upstream-id=4XyZ12\n"
        )
    );
    assert_eq!(
        line(Format::Postfix, &scene.sent()),
        format!(
            "{start}relay=mx2.d.test[192.0.2.2]:25, {tail}, dsn=2.0.0, status=sent \
             (250 2.0.0 Ok: forwarded-as [4Z]) \
             policy=mta-sts:enforce:20260101T000000:failed tls=TLSv1.3:pkix attempt=2 \
             upstream-id=4XyZ12\n"
        ),
        "a peer's words neither end the clause nor count as a forward"
    );
    let refused = Record {
        outcome: Outcome::Bounced,
        reason: Some(Reason::Remote5xx),
        dsn: EnhancedStatus::permanent(1, 1),
        reply: Some("550 5.1.1 No such user (here)\r\nfoo"),
        in_reply_to: Some("RCPT TO command"),
        tried: &[],
        policies: &[],
        upstream_id: None,
        next_attempt: None,
        ..scene.deferred()
    };
    assert_eq!(
        line(Format::Postfix, &refused),
        format!(
            "{start}relay=mx2.d.test[192.0.2.2]:25, {tail}, dsn=5.1.1, status=bounced \
             (host mx2.d.test[192.0.2.2] said: 550 5.1.1 No such user [here] foo [in reply to RCPT TO command]) \
             reason=remote-5xx side=recipient-admin attempt=2\n"
        )
    );
    let unresolved = Record {
        outcome: Outcome::Expired,
        reason: Some(Reason::DnsTemporary),
        dsn: EnhancedStatus::transient(4, 7),
        detail: "No answer.",
        mx: None,
        ..refused
    };
    assert_eq!(
        line(
            Format::Postfix,
            &Record {
                reply: None,
                ..unresolved
            }
        ),
        format!(
            "{start}relay=none, {tail}, dsn=4.4.7, status=bounced (given up, No answer.) \
             reason=dns-temporary side=wait attempt=2\n"
        ),
        "what expires has come back: bounced"
    );
    // pflogsumm shortens by what stands before a colon.
    let dated = "The certificate of mx.d.test has expired: it was valid until 2026-01-02T03:04:05Z, at [2001:db8::25].";
    let text = line(
        Format::Postfix,
        &Record {
            reply: None,
            outcome: Outcome::Deferred,
            detail: dated,
            ..unresolved
        },
    );
    let said = "(The certificate of mx.d.test has expired - it was valid until 2026-01-02 03h04 UTC, at [2001:db8::25].)";
    assert!(text.contains(said), "{text}");
}

#[test]
fn text_says_what_failed_and_what_comes_next() {
    let scene = Scene::new();
    assert_eq!(
        line(Format::Text { colour: false }, &scene.deferred()),
        format!(
            "2026-03-01 12:00:00 delivery.deferred {ID} to <Bob@d.test> via mx2.d.test[192.0.2.2]  \
             cert-expired  The certificate of mx1.d.test has expired (on 2026-02-03).  The recipient's side has to act.  \
             dsn=4.7.5 attempt=2 policy=mta-sts:enforce:failed mx-tried=mx1.d.test:cert-expired,mx2.d.test:connect  \
             next attempt in 15 min, gives up in 5 days\n"
        )
    );
    let coloured = line(Format::Text { colour: true }, &scene.deferred());
    assert!(
        coloured.contains("\x1b[33mcert-expired\x1b[0m"),
        "{coloured}"
    );
    let tls = scene.sent().tls.unwrap().clone();
    let unverified = TlsSession {
        authenticated: Authenticated::None,
        ..tls.clone()
    };
    for (tls, said) in [
        (Some(&tls), "[TLS, verified]"),
        (Some(&unverified), "[TLS, unverified]"),
        (None, "[no TLS]"),
    ] {
        let sent = Record {
            tls,
            ..scene.sent()
        };
        let text = line(Format::Text { colour: false }, &sent);
        assert!(text.contains(said), "{text}");
        let none = line(Format::Postfix, &sent).contains(" tls=none");
        assert_eq!(none, tls.is_none(), "only where there was none");
    }
}

/// Whose move it is, in the words of each format: beside the key, and as a sentence that follows the others.
#[test]
fn every_reason_says_whose_move_it_is() {
    let scene = Scene::new();
    let facts = Facts {
        domain: "d.test",
        mx: Some("mx1.d.test"),
        ..Facts::default()
    };
    for reason in Reason::ALL {
        let (detail, advice) = (reason.sentence(&facts), reason.advice(&facts));
        let record = Record {
            reason: Some(reason),
            detail: &detail,
            advice: &advice,
            for_sender: reason.is_for_sender(Case::Usual),
            ..scene.deferred()
        };
        let postfix = line(Format::Postfix, &record);
        let said = format!(") reason={reason} side={} policy=", reason.side());
        assert!(postfix.contains(&said), "{postfix}");
        let words = match (reason, reason.side()) {
            _ if reason.is_for_sender(Case::Usual) => "The sender has to act.",
            (_, Side::Us) => "Our side has to act.",
            (_, Side::RecipientAdmin) => "The recipient's side has to act.",
            (_, Side::Wait) => "Nobody has to act yet.",
        };
        let text = line(Format::Text { colour: false }, &record);
        let said = format!("  {reason}  {detail}  {words}  dsn=");
        assert!(text.contains(&said), "{text}");
    }
    // Whose move it really is goes before what the reason says, and what is over waits for nobody.
    let ours = Record {
        side: Some(Side::Us),
        ..scene.deferred()
    };
    assert!(line(Format::Postfix, &ours).contains(" side=us "));
    assert!(line(Format::Text { colour: false }, &ours).contains("  Our side has to act.  "));
    let over = Record {
        outcome: Outcome::Expired,
        side: Some(Side::Wait),
        ..scene.deferred()
    };
    assert!(line(Format::Text { colour: false }, &over).contains("  Nobody has to act.  "));
    // What an operator has ended asks for nothing.
    let ended = Record {
        reason: Some(Reason::Local),
        advice: "",
        ..over
    };
    for format in [Format::Postfix, Format::Text { colour: false }] {
        let got = line(format, &ended);
        assert!(!got.contains("side=") && !got.contains(" act"), "{got}");
    }
}

#[test]
fn the_life_of_a_message_in_postfix_lines() {
    let scene = Scene::new();
    let received = Received {
        at: NOW,
        queue_id: ID,
        upstream_id: None,
        message_id: Some("<1@s.test>"),
        client: Some("192.0.2.9".parse().unwrap()),
        orig_client: None,
        helo: "c.test",
        listener: "relay",
        identity: None,
        from: &scene.from,
        nrcpt: 2,
        size: 1234,
        tls: None,
        session: 23,
    };
    let p = "Mar  1 12:00:00 relay.test sealpost/";
    assert_eq!(
        line(Format::Postfix, &received),
        format!(
            "{p}smtpd[23]: {ID}: client=unknown[192.0.2.9]\n\
             {p}cleanup[7]: {ID}: message-id=<1@s.test>\n\
             {p}qmgr[7]: {ID}: from=<a@s.test>, size=1234, nrcpt=2 (queue active)\n"
        )
    );
    let refused = Refused {
        at: NOW,
        client: "192.0.2.9".parse().unwrap(),
        orig_client: None,
        helo: "c.test",
        listener: "relay",
        stage: "rcpt",
        cause: RefusedBy::RelayDenied,
        code: 554,
        dsn: EnhancedStatus::permanent(7, 1),
        detail: "Relay access denied",
        from: Some("a@s.test"),
        to: Some("b@d.test"),
        session: 23,
    };
    assert_eq!(
        line(Format::Postfix, &refused),
        format!(
            "{p}smtpd[23]: NOQUEUE: reject: RCPT from unknown[192.0.2.9]: 554 5.7.1 <b@d.test>: \
             Relay access denied; from=<a@s.test> to=<b@d.test> proto=ESMTP helo=<c.test> \
             cause=relay-denied\n"
        )
    );
    let removed = Removed {
        at: NOW,
        queue_id: ID,
        upstream_id: None,
        because: RemovedBecause::Done,
    };
    assert_eq!(
        line(Format::Postfix, &removed),
        format!("{p}qmgr[7]: {ID}: removed\n")
    );
    let dsn = DsnSent {
        at: NOW,
        queue_id: ID,
        dsn_id: QueueId::from_raw(1),
        to: &scene.to,
        kind: DsnKind::Failed,
        nrcpt: 1,
        size: 2345,
    };
    assert_eq!(
        line(Format::Postfix, &dsn),
        format!(
            "{p}bounce[7]: {ID}: sender non-delivery notification: 000000000001\n\
             {p}qmgr[7]: 000000000001: from=<>, size=2345, nrcpt=1 (queue active)\n"
        )
    );
}

/// An event of another crate, which only names its fields.
struct PolicyChanged<'a>(&'a str);

impl LogEvent for PolicyChanged<'_> {
    fn event(&self) -> &'static str {
        "policy.changed"
    }
    fn level(&self) -> Level {
        Level::Info
    }
    fn at(&self) -> Timestamp {
        NOW
    }
    fn fields(&self, f: &mut Fields<'_>) {
        f.add("domain", "d.test")
            .add("cause", self.0)
            .add("id", &None::<&str>)
            .time("expiry", NOW);
    }
}

#[test]
fn events_of_other_crates_need_only_fields() {
    let event = PolicyChanged("new id");
    assert_eq!(
        line(Format::Json, &event),
        "{\"ts\":\"2026-03-01T12:00:00.250Z\",\"level\":\"info\",\"event\":\"policy.changed\",\
         \"domain\":\"d.test\",\"cause\":\"new id\",\"id\":null,\"expiry\":\"2026-03-01T12:00:00.250Z\"}\n"
    );
    assert_eq!(
        line(Format::Postfix, &event),
        "Mar  1 12:00:00 relay.test sealpost/sealpost[7]: event=policy.changed domain=d.test \
         cause=\"new id\" expiry=2026-03-01T12:00:00.250Z\n"
    );
    assert_eq!(
        line(Format::Text { colour: false }, &event),
        "2026-03-01 12:00:00 policy.changed     domain=d.test cause=\"new id\" \
         expiry=2026-03-01T12:00:00.250Z\n"
    );
}

/// A quoted local part may hold anything printable.
#[test]
fn h3_32_an_address_cannot_forge_a_field() {
    let mut scene = Scene::new();
    scene.to = Mailbox::parse("\"x>, relay=none, status=sent (y\"@d.test").unwrap();
    let got = line(Format::Postfix, &scene.deferred());
    assert_eq!(got.matches(", status=").count(), 1, "{got}");
    assert_eq!(got.matches(", relay=").count(), 1, "{got}");
    assert!(
        got.contains("to=<\"x???relay=none??status=sent??y\"@d.test>, relay="),
        "{got}"
    );
}

#[test]
fn long_text_is_cut() {
    let scene = Scene::new();
    let long = "x".repeat(10_000);
    let record = Record {
        reply: Some(&long),
        detail: &long,
        ..scene.deferred()
    };
    for (format, max) in [
        (Format::Json, 6_000),
        (Format::Postfix, 2_000),
        (Format::Text { colour: false }, 1_000),
    ] {
        let got = line(format, &record);
        assert!(
            got.len() < max && got.contains('…'),
            "{format:?}: {}",
            got.len()
        );
    }
    let mut many = scene.tls.clone();
    if let Some(cert) = &mut many.cert {
        cert.subject_alt_names = vec!["mx.d.test".into(); 500];
    }
    let record = Record {
        tls: Some(&many),
        ..scene.sent()
    };
    let got: serde_json::Value = serde_json::from_str(&line(Format::Json, &record)).unwrap();
    let names = got["tls"]["cert"]["subject_alt_names"].as_array().unwrap();
    assert_eq!(names.len(), 21);
    assert_eq!(names[20], "… and 480 more");
}

/// No control character in the text, nor in any string of the JSON after decoding.
fn is_one_line(format: Format, text: &str) -> Result<(), TestCaseError> {
    let (body, end) = text.split_at(text.len() - 1);
    prop_assert_eq!(end, "\n");
    for c in body.chars() {
        prop_assert!(harmless(c) == c, "{:?} in {:?}", c, text);
    }
    if format == Format::Json {
        let value: serde_json::Value =
            serde_json::from_str(body).map_err(|e| TestCaseError::fail(e.to_string()))?;
        decoded(&value)?;
    }
    Ok(())
}

fn decoded(value: &serde_json::Value) -> Result<(), TestCaseError> {
    match value {
        serde_json::Value::String(s) => {
            prop_assert!(s.chars().all(|c| harmless(c) == c), "{:?}", s);
        }
        serde_json::Value::Array(a) => a.iter().try_for_each(decoded)?,
        serde_json::Value::Object(o) => o.values().try_for_each(decoded)?,
        _ => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn h3_32_any_text_gives_one_valid_harmless_line(
        s in proptest::collection::vec(any::<String>(), 8),
        ip in any::<Option<[u8; 4]>>(),
    ) {
        let mut scene = Scene::new();
        scene.policies[0].id = Some(s[0].as_str().into());
        scene.policies[0].mode = s[1].clone().into();
        scene.tried[0].mx = s[2].as_str().into();
        scene.tried[0].detail = s[3].as_str().into();
        scene.tls.version = s[4].clone().into();
        if let Some(cert) = &mut scene.tls.cert {
            cert.issuer = s[5].as_str().into();
            cert.subject_alt_names.push(s[5].as_str().into());
        }
        let ip = ip.map(IpAddr::from);
        let deferred = Record {
            upstream_id: Some(&s[0]), message_id: Some(&s[1]), mx: Some(&s[2]), ip,
            domain: &s[3], reply: Some(&s[4]), detail: &s[5], advice: &s[6],
            tls: Some(&scene.tls), ..scene.deferred()
        };
        let expired = Record { outcome: Outcome::Expired, reply: None, ..deferred };
        let sent = Record { reason: None, outcome: Outcome::Sent, ..deferred };
        let origin = OrigClient { ip, helo: Some(s[2].as_str().into()), ..OrigClient::default() };
        let refused = Refused {
            at: NOW, client: IpAddr::from([192, 0, 2, 1]),
            orig_client: Some(&origin),
            helo: &s[0], listener: &s[1],
            stage: &s[2], cause: RefusedBy::Syntax, code: 500, dsn: EnhancedStatus::permanent(5, 2),
            detail: &s[3], from: Some(&s[5]), to: Some(&s[4]), session: 0,
        };
        let changed = PolicyChanged(&s[7]);
        let events: [&dyn LogEvent; 5] = [&deferred, &expired, &sent, &refused, &changed];
        for format in [Format::Json, Format::Postfix, Format::Text { colour: false }] {
            for event in events {
                is_one_line(format, &line(format, event))?;
            }
        }
        for record in [&deferred, &expired, &sent] {
            let text = line(Format::Postfix, record);
            prop_assert_eq!(text.matches('(').count(), 1, "{}", text);
            prop_assert_eq!(text.matches(')').count(), 1, "{}", text);
        }
    }
}
