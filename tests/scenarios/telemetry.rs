//! Traces of deliveries for a collector (`telemetry.otlp.*`).

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use sealpost_tests::{Collector, Relay, RelayConfig, SpanSeen, eventually};
use testkit::TestCa;

use crate::net::{MESSAGE, Net, SOON, deferred, sent};

fn traced(config: RelayConfig) -> RelayConfig {
    config.set("telemetry.otlp.endpoint", &format!("\"http://{AT}\""))
}

/// The spans of a message, once `count` of this name have come.
async fn spans(collector: &Collector, id: &str, name: &str, count: usize) -> Vec<SpanSeen> {
    let find = || {
        let all = collector.spans();
        let trace = all.iter().find(|s| s.text("sealpost.queue_id") == id)?;
        let trace = trace.trace.clone();
        let of: Vec<SpanSeen> = all.into_iter().filter(|s| s.trace == trace).collect();
        (of.iter().filter(|s| s.name == name).count() >= count).then_some(of)
    };
    let found = eventually(SOON, async || find()).await;
    found.unwrap_or_else(|| panic!("no {name} of {id} among {:#?}", collector.spans()))
}

fn one<'a>(spans: &'a [SpanSeen], name: &str) -> &'a SpanSeen {
    let mut of = spans.iter().filter(|s| s.name == name);
    let first = of.next();
    let first = first.unwrap_or_else(|| panic!("no span {name}: {spans:#?}"));
    assert!(of.next().is_none(), "more than one {name}: {spans:#?}");
    first
}

async fn metric(relay: &Relay, line: &str) -> Option<u64> {
    let (_, text) = relay.http_get("/metrics").await;
    let line = text.lines().find_map(|l| l.strip_prefix(line))?;
    line.trim().parse().ok()
}

testkit::net_test! {
    async fn a_delivered_message_is_one_trace_from_arrival_to_the_last_dot() {
        let net = Net::start().await;
        let _mx = net.mx("d.test", "127.0.1.1").await;
        net.enforce("d.test");
        let collector = Collector::start(AT.parse::<SocketAddr>().unwrap()).await;
        let headers = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(headers.path(), "Authorization: Bearer of-bad-news\n").unwrap();
        std::fs::set_permissions(headers.path(), PermissionsExt::from_mode(0o600)).unwrap();
        let file = format!("\"{}\"", headers.path().display());
        let config = traced(net.config()).set("telemetry.otlp.headers-file", &file);
        let relay = Relay::start(config).await;
        let id = relay.send("a@org.test", &["b@d.test", "c@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        let spans = spans(&collector, &id, "message", 1).await;

        let message = one(&spans, "message");
        assert_eq!((message.parent.as_str(), message.error.as_deref()), ("", None), "{message:?}");
        assert_eq!(message.text("sealpost.domain"), "d.test");
        assert_eq!(message.resource["service.name"], "sealpost");
        assert_eq!(message.resource["host.name"], "relay.test");
        let attempt = one(&spans, "attempt");
        assert_eq!(attempt.parent, message.id);
        assert_eq!(attempt.text("sealpost.outcome"), "sent");
        assert_eq!(attempt.text("sealpost.recipients.sent"), "2");
        assert_eq!(attempt.text("sealpost.policies"), "mta-sts enforce satisfied");
        assert_eq!(attempt.text("network.peer.address"), "127.0.1.1");
        let plan = one(&spans, "plan");
        assert_eq!((plan.parent.as_str(), plan.text("sealpost.policy.mode")), (attempt.id.as_str(), "enforce"));
        let host = one(&spans, "host");
        assert_eq!((host.parent.as_str(), host.text("server.address")), (attempt.id.as_str(), "mx.d.test"));
        assert_eq!(host.text("tls.protocol.version"), "1.3");
        let steps = ["connect", "starttls", "transfer"].map(|name| one(&spans, name));
        for step in steps {
            assert_eq!(step.parent, host.id, "{step:?}");
            assert_eq!(step.error, None, "{step:?}");
        }
        // In order, none before its parent, none after it.
        let [connect, starttls, transfer] = steps;
        let order = [message.began, attempt.began, plan.began, plan.ended, connect.began, connect.ended,
            starttls.ended, transfer.ended, message.ended];
        let slack = 50_000_000; // the wall clock is read in whole milliseconds
        assert!(order.windows(2).all(|w| w[0] <= w[1] + slack), "{order:?}\n{spans:#?}");
        // What the start would refuse, check-config refuses too, and repeats no secret.
        for (line, fault) in [
            ("(x): secret", "line 1 is no header field"),
            ("Content-Type: secret", "line 1 is a field that every request has already"),
        ] {
            std::fs::write(headers.path(), format!("{line}\n")).unwrap();
            let checked = relay.cli(&["check-config"]).await;
            assert_eq!(checked.code, Some(78), "{line}: {checked:?}");
            assert!(checked.stdout.contains(fault), "{line}: {checked:?}");
            assert!(!checked.stdout.contains("secret"), "{line}: {checked:?}");
        }
        assert!(spans.iter().all(|s| s.ended >= s.began), "{spans:#?}");

        // Nobody's address, nothing secret.
        let all = format!("{spans:?}");
        for words in ["b@d.test", "a@org.test", "Hello.", "of-bad-news"] {
            assert!(!all.contains(words), "{words} in {all}");
        }
        let head = collector.heads().remove(0);
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains("authorization: bearer of-bad-news\r\n"), "{head}");
        let exported = "sealpost_trace_spans_total{result=\"exported\"}";
        assert!(metric(&relay, exported).await >= Some(spans.len() as u64));

        // A second message takes the connection that is there.
        let again = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &again).await;
        let spans = self::spans(&collector, &again, "message", 1).await;
        assert_eq!(one(&spans, "host").text("sealpost.session.reused"), "true");
        assert!(!spans.iter().any(|s| s.name == "connect"), "{spans:#?}");
    }

    async fn a_deferred_message_names_its_reason_and_later_attempts_join_its_trace() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.1.1").await;
        net.enforce("d.test");
        mx.certificate(&net.expired("mx.d.test"));
        let collector = Collector::start(AT.parse::<SocketAddr>().unwrap()).await;
        let mut relay = Relay::start(traced(net.config())).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        deferred(&relay, &id).await;
        let first = spans(&collector, &id, "attempt", 1).await;
        let attempt = one(&first, "attempt");
        assert_eq!(attempt.text("error.type"), "cert-expired", "{attempt:?}");
        assert_eq!(attempt.text("sealpost.outcome"), "deferred");
        assert_eq!(attempt.text("sealpost.tried"), "mx.d.test [127.0.1.1]: cert-expired");
        assert!(attempt.error.as_deref().is_some_and(|e| e.contains("has expired")), "{attempt:?}");
        assert_eq!(one(&first, "starttls").error.as_deref(), Some("cert-expired"));
        assert!(!first.iter().any(|s| s.name == "transfer" || s.name == "message"), "{first:#?}");

        // After a restart it is still the same trace.
        assert!(relay.terminate(SOON).await.success());
        mx.certificate(&net.ca.leaf(&["mx.d.test"]));
        relay.restart().await;
        crate::net::ok(&relay, &["queue", "retry", &id]).await;
        relay.wait_for("delivery.sent", &id, SOON).await;
        let all = spans(&collector, &id, "message", 1).await;
        let message = one(&all, "message");
        let attempts: Vec<_> = all.iter().filter(|s| s.name == "attempt").collect();
        assert_eq!(attempts.len(), 2, "{all:#?}");
        assert!(attempts.iter().all(|a| a.parent == message.id), "{all:#?}");
        assert_eq!(message.error, None);
    }

    async fn a_message_that_an_operator_cancels_ends_its_trace() {
        let net = Net::start().await;
        let _mx = net.plain_mx("d.test", "127.0.1.1").await;
        net.enforce("d.test");
        let collector = Collector::start(AT.parse::<SocketAddr>().unwrap()).await;
        let relay = Relay::start(traced(net.config())).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        deferred(&relay, &id).await;
        let first = spans(&collector, &id, "attempt", 1).await;
        crate::net::ok(&relay, &["queue", "cancel", &id]).await;
        let all = spans(&collector, &id, "message", 1).await;
        let message = one(&all, "message");
        assert_eq!(one(&first, "attempt").parent, message.id, "{all:#?}");
        assert_eq!(message.text("sealpost.outcome"), "cancelled", "{message:?}");
        assert_eq!(message.text("sealpost.domain"), "d.test", "{message:?}");
        assert_eq!(message.error, None);
    }

    async fn mail_does_not_wait_for_a_collector_that_is_gone_or_silent() {
        let net = Net::start().await;
        let _mx = net.mx("d.test", "127.0.1.1").await;
        let mut relay = Relay::start(traced(net.config())).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        let told = relay.wait_event(|e| e.is("telemetry.failed"), SOON).await;
        assert!(!told.text("detail").is_empty() && told.text("advice").contains("telemetry.otlp.endpoint"), "{told}");
        let dropped = "sealpost_trace_spans_total{result=\"dropped\"}";
        let counted = eventually(SOON, async || metric(&relay, dropped).await.filter(|n| *n > 0)).await;
        assert!(counted.is_some());

        // It comes up and takes connections, but answers nothing: more than its queue holds is sent.
        let collector = Collector::start(AT.parse::<SocketAddr>().unwrap()).await;
        collector.fall_silent();
        let mut client = relay.client().await;
        for _ in 0..50 {
            let id = client.send("a@org.test", &["b@d.test"], MESSAGE).await;
            sent(&relay, &id).await;
        }
        // Nor does the end of the process.
        let began = std::time::Instant::now();
        assert!(relay.terminate(SOON).await.success());
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        assert_eq!(relay.events().iter().filter(|e| e.is("telemetry.failed")).count(), 1);
    }

    async fn a_collector_behind_tls_is_one_that_the_ca_file_vouches_for() {
        let net = Net::start().await;
        let _mx = net.mx("d.test", "127.0.1.1").await;
        // An authority of the collector's own: mail hosts' certificates do not come from it.
        let own = TestCa::new();
        let over_tls = |ca: &TestCa| net.config()
            .set("telemetry.otlp.endpoint", &format!("\"https://{AT}\""))
            .set("telemetry.otlp.ca-file", &format!("\"{}\"", ca.root_path().display()));
        let collector = Collector::start_tls(AT.parse().unwrap(), &own.leaf(&["127.0.0.1"])).await;
        let relay = Relay::start(over_tls(&own)).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        spans(&collector, &id, "message", 1).await;
        assert!(!relay.events().iter().any(|e| e.is("telemetry.failed")), "{}", relay.story());
        drop(relay);

        // Another authority: nothing arrives, which is told once, and mail is not touched by it.
        let before = collector.spans().len();
        let relay = Relay::start(over_tls(&net.ca)).await;
        for _ in 0..2 {
            let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
            sent(&relay, &id).await;
        }
        let told = relay.wait_event(|e| e.is("telemetry.failed"), SOON).await;
        assert!(told.text("detail").to_lowercase().contains("certificate"), "{told}");
        let dropped = "sealpost_trace_spans_total{result=\"dropped\"}";
        let counted = eventually(SOON, async || metric(&relay, dropped).await.filter(|n| *n > 0)).await;
        assert!(counted.is_some());
        assert_eq!(collector.spans().len(), before);
    }

    async fn the_configuration_alone_says_where_traces_go_and_what_is_sent_with_them() {
        let net = Net::start().await;
        let _mx = net.mx("d.test", "127.0.1.1").await;
        let collector = Collector::start(AT.parse().unwrap()).await;
        // The tests' relays all have variables of the SDKs set: another endpoint, header fields, a name, a
        // compression that exporters refuse to start with.
        let relay = Relay::start(traced(net.config())).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        let spans = spans(&collector, &id, "message", 1).await;
        let message = one(&spans, "message");
        assert_eq!(message.resource["service.name"], "sealpost");
        assert!(!message.resource.contains_key("team"), "{message:?}");
        let heads = collector.heads().join("").to_lowercase();
        assert!(!heads.contains("x-smuggled") && !heads.contains("content-encoding"), "{heads}");
    }

    async fn one_message_in_so_many_is_traced() {
        let net = Net::start().await;
        let _mx = net.mx("d.test", "127.0.1.1").await;
        let collector = Collector::start(AT.parse::<SocketAddr>().unwrap()).await;
        let config = traced(net.config()).set("telemetry.otlp.sample-one-in", "8");
        let relay = Relay::start(config).await;
        let mut client = relay.client().await;
        let mut last = String::new();
        for _ in 0..160 {
            last = client.send("a@org.test", &["b@d.test"], MESSAGE).await;
        }
        sent(&relay, &last).await;
        let count = || {
            let spans = collector.spans();
            spans.iter().filter(|s| s.name == "message").count()
        };
        let some = eventually(SOON, async || (count() >= 4).then_some(())).await;
        assert!(some.is_some(), "{} of 160", count());
        // 20 are to be expected; more than 60 would be no sample.
        assert!(count() < 60, "{} of 160", count());
    }
}

const AT: &str = "127.0.0.1:4318";
