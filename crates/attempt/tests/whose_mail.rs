//! Whose mail was taken or refused, in every format.

use std::net::IpAddr;

use mail_types::{EnhancedStatus, OrigClient, QueueId, ReversePath, Timestamp};

use attempt::{Format, Formatter, LogEvent, Received, Refused, RefusedBy};

const NOW: Timestamp = Timestamp::from_millis(1_772_366_400_250);
const ID: QueueId = QueueId::from_raw(0x64_9d_83_3f_12_ab_cd_01);
const FRONT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const TEXT: Format = Format::Text { colour: false };

fn line(format: Format, event: &dyn LogEvent) -> String {
    let mut out = Vec::new();
    Formatter::new(format, "relay.test", "sealpost", 7).write(event, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn received(orig_client: Option<&OrigClient>) -> Received<'_> {
    Received {
        at: NOW,
        queue_id: ID,
        upstream_id: Some("4Rabc"),
        message_id: None,
        client: Some(FRONT),
        orig_client,
        helo: "front.test",
        listener: "relay",
        identity: None,
        from: &ReversePath::Null,
        nrcpt: 1,
        size: 12,
        tls: None,
        session: 23,
    }
}

fn refused(orig_client: Option<&OrigClient>) -> Refused<'_> {
    Refused {
        at: NOW,
        client: FRONT,
        orig_client,
        helo: "front.test",
        listener: "relay",
        stage: "rcpt",
        cause: RefusedBy::Syntax,
        code: 501,
        dsn: EnhancedStatus::permanent(1, 3),
        detail: "Bad",
        from: Some("a@b.test"),
        to: Some("c@"),
        session: 23,
    }
}

#[test]
fn g5_06_the_client_of_the_front_is_named() {
    let origin = OrigClient {
        name: Some("spike.test".into()),
        ip: "192.0.2.7".parse().ok(),
        port: Some(4711),
        helo: Some("spike".into()),
        proto: Some("ESMTP".into()),
    };
    let object = concat!(
        r#""client":"127.0.0.1","orig_client":{"name":"spike.test","ip":"192.0.2.7","#,
        r#""port":4711,"helo":"spike","proto":"ESMTP"}"#,
    );
    let (taken, not) = (received(Some(&origin)), refused(Some(&origin)));
    for event in [&taken as &dyn LogEvent, &not] {
        let json = line(Format::Json, event);
        assert!(json.contains(object), "{json}");
        let text = line(TEXT, event);
        assert!(
            text.contains("127.0.0.1 for spike.test[192.0.2.7]"),
            "{text}"
        );
    }
    let postfix = line(Format::Postfix, &taken);
    let said = ": client=unknown[127.0.0.1], orig_client=spike.test[192.0.2.7]\n";
    assert!(postfix.contains(said), "{postfix}");
    let postfix = line(Format::Postfix, &not);
    let said = "helo=<front.test> orig_client=spike.test[192.0.2.7] cause=syntax\n";
    assert!(postfix.contains(said), "{postfix}");
}

#[test]
fn g5_06_no_client_of_the_front_or_half_of_one() {
    let json = line(Format::Json, &received(None));
    assert!(json.contains(r#""orig_client":null"#), "{json}");
    for format in [Format::Postfix, TEXT] {
        let text = line(format, &received(None));
        assert!(
            !text.contains("orig_client") && !text.contains(" for "),
            "{text}"
        );
    }
    let origin = OrigClient {
        name: None,
        ip: None,
        port: None,
        helo: Some("x), status=sent (\n".into()),
        proto: None,
    };
    let postfix = line(Format::Postfix, &received(Some(&origin)));
    assert!(
        postfix.contains(", orig_client=unknown[unknown]\n"),
        "{postfix}"
    );
    let json = line(Format::Json, &received(Some(&origin)));
    assert!(json.contains(r#""helo":"x), status=sent ( ""#), "{json}");
}

#[test]
fn who_was_refused_is_in_every_format() {
    for format in [Format::Json, Format::Postfix, TEXT] {
        let text = line(format, &refused(None));
        assert!(text.contains("a@b.test") && text.contains("c@"), "{text}");
    }
}
