//! A real fault for every reason key: what the log, `explain ID` and `explain DOMAIN` say of it.
//!
//! One table ([`CASES`]) names the faults, `world` makes them, and the tests read what an operator
//! would read. A reason that has no case fails [`every_reason_has_a_case`].

mod cases;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use sealpost_tests::{Event, Relay, eventually};
use serde_json::Value;
use testkit::ReceivedMessage;

use crate::net::{MESSAGE, Net, SOON, deferred, ok};
use cases::{CASES, Case, ELSEWHERE};
use world::{PASSWORD, World};

#[test]
fn every_reason_has_a_case() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reasons.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let documented: BTreeSet<&str> = docs.lines().filter_map(|l| l.strip_prefix("## ")).collect();
    let elsewhere = ELSEWHERE.iter().map(|(reason, _)| *reason);
    let tried: BTreeSet<&str> = CASES.iter().map(|c| c.reason).chain(elsewhere).collect();
    assert_eq!(documented, tried);
    for (reason, file) in ELSEWHERE {
        let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).expect("the file that shows the reason");
        assert!(
            text.contains(&format!("\"{reason}\"")),
            "{file} shows no {reason}"
        );
    }
}

testkit::net_test! {
    async fn h3_32_each_fault_leaves_one_whole_event_for_each_recipient() {
        let net = Net::start().await;
        let world = World::build(&net).await;
        let relay = Relay::start(world.config(&net)).await;
        let ids = world.send_all(&net, &relay).await;
        let mut details = BTreeMap::new();
        let mut faults = Vec::new();
        for case in CASES {
            let id = &ids[case.reason];
            let event = found(&relay, case, id).await;
            let detail = event.text("detail").to_owned();
            if let Some(other) = details.insert(detail, case.reason) {
                panic!("{} and {other} read alike: {event}", case.reason);
            }
            let wrong = judge(case, &event);
            if !wrong.is_empty() {
                faults.push(format!("{}: {}\n{event}", case.reason, wrong.join("; ")));
            }
        }
        let log = std::fs::read_to_string(relay.folder().join("events.log")).unwrap();
        harmless(&log);
        assert!(faults.is_empty(), "{}", faults.join("\n\n"));
        for case in CASES {
            let lines: Vec<Event> = relay.events().into_iter()
                .filter(|e| is_of(e, &ids[case.reason], &case.to()) && *e.at("/attempt") == Value::from(case.attempt))
                .collect();
            assert_eq!(lines.len(), 1, "{}: {lines:?}", case.reason);
        }
        // The same faults, by the commands alone.
        for case in CASES {
            explained(&relay, case, &ids[case.reason]).await;
        }
    }

    async fn a_suspended_route_is_told_by_domain_and_hop_and_only_once() {
        let net = Net::start().await;
        // Nobody listens there.
        let route = "[[route]]\nrecipient-domain = \"routed.test\"\nrelay = \"[127.0.2.9]:587\"\n\
                     tls = \"dangerous-off\"\n";
        let relay = Relay::start(net.config().append(route)).await;
        let mut client = relay.client().await;
        let mut ids = Vec::new();
        for n in 0..10 {
            ids.push(client.send("a@org.test", &[&format!("u{n}@routed.test")], MESSAGE).await);
        }
        for id in &ids {
            deferred(&relay, id).await;
        }
        let mut told = relay.events();
        told.retain(|e| e.is("destination.suspended"));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].text("destination"), "routed.test", "{}", told[0]);
        assert_eq!(told[0].text("route"), "[127.0.2.9]:587", "{}", told[0]);
        for subject in [ids[0].as_str(), "routed.test"] {
            let said = ok(&relay, &["explain", subject]).await.stdout;
            assert!(!said.contains("Its next attempt is due now"), "{said}");
            for words in ["routed.test via [127.0.2.9]:587", "`sealpost queue retry --domain routed.test`"] {
                assert!(said.contains(words), "{words} is not in\n{said}");
            }
            assert!(!said.contains("route:"), "{said}");
        }
        let rows = ok(&relay, &["queue", "summary", "--json"]).await.json()["rows"].clone();
        let put_off = rows.as_array().unwrap().iter().find(|r| r["reason"] == "destination-suspended");
        assert_eq!(put_off.map(|row| &row["cause"]), Some(&"connect".into()), "{rows}");
        let table = ok(&relay, &["queue", "summary"]).await.stdout;
        assert!(table.contains("destination-suspended (connect)"), "{table}");
        ok(&relay, &["queue", "retry", "--domain", "routed.test"]).await;
    }

    async fn f3_02_each_fault_has_its_status_in_the_notice_of_its_delay_or_failure() {
        let net = Net::start().await;
        let world = World::build(&net).await;
        // Whatever waits is late at once.
        let config = world.config(&net)
            .set("queue.delay-warning", r#""1s""#)
            .set("queue.retry", r#"["2s"]"#)
            .set("queue.notifications-per-sender", r#""1000/1d""#);
        let relay = Relay::start(config).await;
        world.send_all(&net, &relay).await;
        let wanted: Vec<&Case> = CASES.iter().filter(|c| STATUSES.iter().any(|(r, _)| *r == c.reason)).collect();
        assert_eq!(wanted.len(), STATUSES.len());
        for (reason, status) in STATUSES {
            let case = CASES.iter().find(|c| c.reason == *reason).unwrap();
            let find = || {
                let to = case.to();
                let about = |m: &ReceivedMessage| m.text().contains(&format!("Final-Recipient: rfc822; {to}"))
                    || m.text().contains(&format!("Final-Recipient: rfc822;{to}"));
                world.org.messages().into_iter().find(about)
            };
            let notice = eventually(2 * SOON, async || find()).await;
            let Some(notice) = notice else { panic!("no notice of {reason}\n{}", relay.story()) };
            let text = notice.text();
            assert!(text.contains(&format!("Status: {status}\r\n")), "{reason}: {text}");
            let action = if status.starts_with('5') { "failed" } else { "delayed" };
            assert!(text.contains(&format!("Action: {action}\r\n")), "{reason}: {text}");
        }
    }

    async fn each_fault_is_one_line_in_the_postfix_format() {
        let net = Net::start().await;
        let world = World::build(&net).await;
        let relay = Relay::start(world.config(&net).set("log.format", r#""postfix""#)).await;
        let ids = world.send_all(&net, &relay).await;
        for case in CASES {
            let start = format!("{}: to=<{}>, ", ids[case.reason], case.to());
            let line = line_with(&relay, &start, &format!(" reason={} ", case.reason)).await;
            let (before, fields) = line.split_once(&start).unwrap();
            assert!(before.contains(" relay.test sealpost/smtp["), "{line}");
            postfix_fields(case, fields);
            let all = relay.events();
            let count = all.iter().filter(|e| e.text("line") == line).count();
            assert_eq!(count, 1, "{}: {line}", case.reason);
        }
        harmless(&std::fs::read_to_string(relay.folder().join("events.log")).unwrap());
    }

    async fn each_fault_is_one_line_in_the_text_format() {
        let net = Net::start().await;
        let world = World::build(&net).await;
        let relay = Relay::start(world.config(&net).set("log.format", r#""text""#)).await;
        let ids = world.send_all(&net, &relay).await;
        for case in CASES {
            let start = format!("{} to <{}>", ids[case.reason], case.to());
            let line = line_with(&relay, &start, &format!("  {}  ", case.reason)).await;
            assert!(line.contains(case.event), "{line}");
            for words in case.says {
                assert!(line.contains(words), "{}: {words:?} is not in {line}", case.reason);
            }
        }
        harmless(&std::fs::read_to_string(relay.folder().join("events.log")).unwrap());
    }
}

/// The event of the fault. Another one of the same attempt fails the test at once.
async fn found(relay: &Relay, case: &Case, id: &str) -> Event {
    let attempt =
        |e: &Event| is_of(e, id, &case.to()) && *e.at("/attempt") == Value::from(case.attempt);
    let event = relay.wait_event(attempt, SOON).await;
    assert_eq!(event.text("reason"), case.reason, "{event}");
    if let Some(last) = event.at("/tried").as_array().and_then(|tried| tried.last()) {
        assert!(
            last["reason"].is_string(),
            "a host that took nothing: {event}"
        );
    }
    event
}

fn is_of(event: &Event, id: &str, to: &str) -> bool {
    event.text("event").starts_with("delivery.")
        && event.text("queue_id") == id
        && event.text("to") == to
}

/// What is not as the interface and the table have it.
fn judge(case: &Case, event: &Event) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |what: &str, have: Value, want: Value| {
        if have != want {
            wrong.push(format!("{what} is {have} and not {want}"));
        }
    };
    for (field, want) in [
        ("event", case.event),
        ("level", case.level()),
        ("reason", case.reason),
        ("dsn", case.dsn),
        ("domain", &case.domain()),
        ("from", "a@org.test"),
        ("message_id", "<1@org.test>"),
    ] {
        same(field, event.text(field).into(), want.into());
    }
    same("attempt", event.at("/attempt").clone(), case.attempt.into());
    let waits = case.event == "delivery.deferred";
    for field in ["next_attempt", "gives_up"] {
        same(field, event.text(field).ends_with('Z').into(), waits.into());
    }
    for (pointer, want) in [
        ("/ip", case.reached),
        ("/port", case.reached),
        ("/tls", case.tls),
        ("/reply", case.reply),
        ("/delay", true),
        ("/delays/before_queue", true),
        ("/delays/in_queue", true),
        ("/delays/connect", true),
        ("/delays/transmit", true),
    ] {
        same(pointer, (!event.at(pointer).is_null()).into(), want.into());
    }
    let policies = event
        .at("/policies")
        .as_array()
        .cloned()
        .unwrap_or_default();
    let sources: Vec<Value> = policies.iter().map(|p| p["source"].clone()).collect();
    same("policies", sources.into(), case.policies.to_vec().into());
    let failed = policies.iter().any(|p| p["result"] == "failed");
    same("a policy failed", failed.into(), case.policy_failed.into());
    let (side, advice) = event.text("advice").split_once(": ").unwrap_or_default();
    same("side", side.into(), case.side.into());
    same(
        "advice",
        (advice.ends_with('.') && advice.len() > 20).into(),
        true.into(),
    );
    let missing = FIELDS.iter().filter(|f| event.0.get(**f).is_none());
    wrong.extend(missing.map(|field| format!("no {field}")));
    let unsaid = case
        .says
        .iter()
        .filter(|words| !event.text("detail").contains(**words));
    wrong.extend(unsaid.map(|words| format!("{words:?} is not in the detail")));
    wrong
}

/// What `explain` says of the message and of its domain tells the fault from all others.
async fn explained(relay: &Relay, case: &Case, id: &str) {
    let waits = case.event == "delivery.deferred";
    let by_id = relay.cli(&["explain", id]).await;
    if waits {
        assert_eq!(by_id.code, Some(0), "{}: {by_id:?}", case.reason);
        for words in case.says {
            assert!(
                by_id.stdout.contains(words),
                "{}: {words:?} is not in\n{}",
                case.reason,
                by_id.stdout
            );
        }
        for words in [case.reason, "What can be done", "given up", "RFC "] {
            assert!(
                by_id.stdout.contains(words),
                "{words} is not in\n{}",
                by_id.stdout
            );
        }
        let letter = by_id
            .stdout
            .contains(&format!("| To: postmaster@{}", case.domain()));
        assert!(
            letter || case.side != "recipient-admin",
            "no letter:\n{}",
            by_id.stdout
        );
        assert!(
            !by_id
                .stdout
                .split("| To: ")
                .skip(1)
                .any(|l| l.contains("a@org.test"))
        );
    } else {
        // It has left the queue.
        assert_eq!(by_id.code, Some(0), "{}: {by_id:?}", case.reason);
        let key = format!("Reason key: {}.", case.reason);
        assert!(by_id.stdout.contains(&key), "{}: {by_id:?}", case.reason);
    }
    let domain = case.domain();
    let by_domain = ok(relay, &["explain", &domain]).await.stdout;
    for words in case.domain_says {
        assert!(
            by_domain.contains(words),
            "{}: {words:?} is not in\n{by_domain}",
            case.reason
        );
    }
    for text in [&by_id.stdout, &by_domain] {
        harmless(text);
    }
}

/// The fields of a line behind `ID: to=<…>, `, as exporters and pflogsumm take them apart.
fn postfix_fields(case: &Case, fields: &str) {
    let reason = case.reason;
    let (clause, more) = fields.split_once(") ").unwrap_or((fields, ""));
    let (head, inside) = clause
        .split_once(" (")
        .unwrap_or_else(|| panic!("{fields}"));
    assert!(!inside.contains(['(', ')']), "{reason}: {fields}");
    let words: Vec<&str> = head.split(", ").collect();
    let [relay, delay, delays, dsn, status] = words.as_slice() else {
        panic!("{reason}: {head}");
    };
    let relay = relay
        .strip_prefix("relay=")
        .unwrap_or_else(|| panic!("{fields}"));
    assert_eq!(
        relay.ends_with("]:25") || relay.ends_with("]:587"),
        case.reached,
        "{reason}: {fields}"
    );
    let seconds = |text: &str| {
        text.parse::<f64>()
            .unwrap_or_else(|e| panic!("{e}: {text}"))
    };
    seconds(delay.strip_prefix("delay=").unwrap());
    let parts = delays.strip_prefix("delays=").unwrap().split('/');
    let parts: Vec<f64> = parts.map(seconds).collect();
    assert_eq!(parts.len(), 4, "{reason}: {fields}");
    assert_eq!(*dsn, format!("dsn={}", case.dsn), "{reason}: {fields}");
    let word = case.event.strip_prefix("delivery.").unwrap();
    assert_eq!(*status, format!("status={word}"), "{reason}: {fields}");
    let ours: BTreeMap<&str, &str> = more.split(' ').filter_map(|w| w.split_once('=')).collect();
    assert_eq!(ours.get("reason"), Some(&reason), "{fields}");
    assert_eq!(
        ours.contains_key("policy"),
        !case.policies.is_empty(),
        "{reason}: {fields}"
    );
    let is_counted = ours.contains_key("attempt");
    assert_eq!(is_counted, case.attempt.is_some(), "{reason}: {fields}");
}

async fn line_with(relay: &Relay, start: &str, reason: &str) -> String {
    let wanted = |e: &Event| e.text("line").contains(start) && e.text("line").contains(reason);
    relay.wait_event(wanted, SOON).await.text("line").to_owned()
}

/// Nothing steers a terminal, nothing secret shows.
fn harmless(text: &str) {
    for c in text.chars().filter(|c| *c != '\n') {
        assert!(!c.is_control() && c != '\u{202e}', "{c:?} in {text}");
    }
    assert!(!text.contains(PASSWORD), "the password of a route: {text}");
    let body = String::from_utf8_lossy(MESSAGE);
    let body = body.trim_end().rsplit('\n').next().unwrap_or_default();
    assert!(!text.contains(body), "the content of a message: {text}");
}

/// The fields of the interface that every event of an attempt has, null included.
const FIELDS: [&str; 25] = [
    "ts",
    "level",
    "event",
    "queue_id",
    "upstream_id",
    "message_id",
    "from",
    "to",
    "domain",
    "mx",
    "ip",
    "port",
    "tried",
    "reason",
    "dsn",
    "reply",
    "detail",
    "policies",
    "weakened_by",
    "tls",
    "attempt",
    "next_attempt",
    "gives_up",
    "delay",
    "advice",
];

/// What the maps of requirements say of each condition; that of REQUIRETLS is told with REQUIRETLS, which
/// has tests of its own.
const STATUSES: &[(&str, &str)] = &[
    ("mx-not-in-policy", "4.7.1"),
    ("starttls-not-offered", "4.7.10"),
    ("cert-expired", "4.7.5"),
    ("cert-host-mismatch", "4.7.5"),
    ("cert-not-trusted", "4.7.5"),
    ("tls-handshake", "4.7.5"),
    ("dane-mismatch", "4.7.5"),
    ("dane-lookup", "4.7.0"),
    ("dns-bogus", "4.4.3"),
    ("no-such-domain", "5.1.2"),
    ("null-mx", "5.1.10"),
    ("no-usable-mx", "5.4.4"),
    ("loop", "5.4.6"),
    ("dns-temporary", "4.4.3"),
    ("connect", "4.4.1"),
    ("remote-4xx", "4.2.1"),
    ("remote-5xx", "5.1.1"),
    ("extension-missing", "5.6.7"),
];
