use attempt::Delays;
use delivery::Steps;
use mail_types::{HostName, Mailbox, ReversePath};
use smtp_client::OpeningTimes;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_772_366_400_250);
const ID: QueueId = QueueId::from_raw(0x649d_833f_12ab_cd01);

fn times(began: Instant) -> OpeningTimes {
    OpeningTimes {
        connected: Some(began + Duration::from_millis(10)),
        handshake: Some(began + Duration::from_millis(20)),
        secured: None,
    }
}

fn record<'a>(from: &'a ReversePath, to: &'a Mailbox, detail: &'a str) -> Record<'a> {
    Record {
        at: NOW,
        outcome: Outcome::Deferred,
        queue_id: ID,
        upstream_id: None,
        message_id: None,
        from,
        to,
        domain: "d.test",
        mx: Some("mx.d.test"),
        ip: Some([192, 0, 2, 1].into()),
        port: Some(25),
        tried: &[],
        reason: Some(Reason::TlsHandshake),
        dsn: Reason::TlsHandshake.status(),
        reply: Some("220 go\u{1b}[31m ahead"),
        in_reply_to: None,
        detail,
        policies: &[],
        no_policy: None,
        first_contact: false,
        weakened_by: None,
        tls: None,
        attempt: 3,
        next_attempt: Some(NOW + Duration::from_secs(60)),
        for_sender: false,
        gives_up: None,
        delay: Duration::ZERO,
        delays: Delays::default(),
        side: None,
        advice: "",
    }
}

fn told(is_last: bool, domain: &str) -> Vec<SpanData> {
    let (from, to) = (
        ReversePath::Mailbox(Mailbox::parse("a@s.test").unwrap()),
        Mailbox::parse("b@d.test").unwrap(),
    );
    let ended_at = Instant::now();
    let began = ended_at - Duration::from_millis(100);
    let visit = Visit {
        mx: HostName::parse("mx.d.test").unwrap(),
        at: ([192, 0, 2, 1], 25).into(),
        began,
        opened: began + Duration::from_millis(50),
        ended: ended_at,
        times: Some(times(began)),
        reused: false,
        transferred: false,
        tls: None,
        reason: Some(Reason::TlsHandshake),
    };
    let steps = Steps {
        looks: Vec::new(),
        visits: vec![visit],
    };
    let detail = "broke\r\noff \u{202e}here";
    let records = [record(&from, &to, detail)];
    let story = Story {
        queue_id: ID,
        domain,
        records: &records,
        arrived: NOW - Duration::from_secs(60),
        began: NOW - Duration::from_millis(100),
        ended: NOW,
        ended_at,
        steps: Some(&steps),
        is_last,
    };
    of(&story, Naming::new("relay.test", 1).trace(ID).unwrap())
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|s| s.name == name).unwrap()
}

#[test]
fn steps_stand_at_their_times_below_their_parents() {
    let spans = told(false, "d.test");
    let names: Vec<&str> = spans.iter().map(|s| &*s.name).collect();
    assert_eq!(names, ["attempt", "host", "connect", "starttls"]);
    let [attempt, host, connect, starttls] = spans.as_slice() else {
        panic!("{names:?}")
    };
    assert_eq!(host.parent_span_id, attempt.span_context.span_id());
    assert_eq!(connect.parent_span_id, host.span_context.span_id());
    let since = |span: &SpanData| span.end_time.duration_since(span.start_time).unwrap();
    assert_eq!(since(connect), Duration::from_millis(10));
    assert_eq!(since(starttls), Duration::from_millis(40));
    assert_eq!(connect.status, Status::Unset);
    assert_eq!(starttls.status, Status::error("tls-handshake"));
    assert_eq!(host.span_kind, SpanKind::Client);
    assert_eq!(host.end_time, system(NOW));
    let ids: std::collections::BTreeSet<[u8; 8]> = spans
        .iter()
        .map(|s| s.span_context.span_id().to_bytes())
        .collect();
    assert_eq!(ids.len(), spans.len());
}

#[test]
fn what_others_said_is_harmless_and_addresses_stay_out() {
    let spans = told(true, "d.test");
    let attempt = named(&spans, "attempt");
    assert_eq!(attempt.status, Status::error("broke off ?here"));
    let text = format!("{spans:?}");
    assert!(text.contains("220 go?[31m ahead"), "{text}");
    assert!(
        !text.contains("a@s.test") && !text.contains("b@d.test"),
        "{text}"
    );
}

#[test]
fn the_trace_and_the_messages_span_are_those_of_every_attempt() {
    let (first, last) = (told(false, "d.test"), told(true, "d.test"));
    let message = named(&last, "message");
    assert_eq!(message.parent_span_id, SpanId::INVALID);
    assert_eq!(message.start_time, system(NOW - Duration::from_secs(60)));
    for attempt in [named(&first, "attempt"), named(&last, "attempt")] {
        assert_eq!(attempt.parent_span_id, message.span_context.span_id());
        assert_eq!(
            attempt.span_context.trace_id(),
            message.span_context.trace_id()
        );
    }
    // Another domain of the same message: the same trace, another root.
    let other = told(true, "e.test");
    let root = named(&other, "message");
    assert_ne!(root.span_context.span_id(), message.span_context.span_id());
    assert_eq!(
        root.span_context.trace_id(),
        message.span_context.trace_id()
    );
}

#[test]
fn a_sample_is_about_as_large_as_asked_for_and_stays_the_same() {
    let naming = Naming::new("relay.test", 10);
    let ids = (0..10_000).map(QueueId::from_raw);
    let sample: Vec<QueueId> = ids.filter(|id| naming.trace(*id).is_some()).collect();
    assert!((800..1200).contains(&sample.len()), "{}", sample.len());
    let again = Naming::new("relay.test", 10);
    assert!(
        sample
            .iter()
            .all(|id| again.trace(*id) == naming.trace(*id))
    );
    let other = Naming::new("other.test", 1);
    assert_ne!(other.trace(ID), Naming::new("relay.test", 1).trace(ID));
}
