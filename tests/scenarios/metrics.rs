//! What probes and scrapers see.

use std::collections::{BTreeMap, BTreeSet};

use sealpost_tests::Relay;

use crate::net::{MESSAGE, Net, SOON, bounced, deferred, sent};

testkit::net_test! {
    async fn probes_answer_and_every_documented_family_is_there() {
        let net = Net::start().await;
        let _good = net.mx("good.test", "127.0.1.1").await;
        let _plain = net.plain_mx("plain.test", "127.0.1.2").await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        net.enforce("good.test");
        net.enforce("plain.test");
        let relay = net.relay().await;
        assert_eq!(relay.http_get("/healthz").await.0, 200);
        let (code, ready) = relay.http_get("/readyz").await;
        assert_eq!((code, ready.lines().next()), (200, Some("ready")));
        // Nothing of anybody's mail is served here.
        for path in ["/", "/v1/queue", "/v1/status"] {
            assert_eq!(relay.http_get(path).await.0, 404, "{path}");
        }

        let id = relay.send("a@org.test", &["b@good.test", "c@good.test"], MESSAGE).await;
        sent(&relay, &id).await;
        relay.wait_for("message.removed", &id, SOON).await;
        let id = relay.send("a@org.test", &["b@plain.test"], MESSAGE).await;
        deferred(&relay, &id).await;
        let id = relay.send("a@org.test", &["b@nowhere.test"], MESSAGE).await;
        bounced(&relay, &id).await;
        org.wait_for_message(SOON).await;
        let mut client = relay.client().await;
        client.command("MAIL FROM:<a@org.test> FOO=1").await.demand(555);

        let samples = scrape(&relay).await;
        for (series, want) in [
            ("sealpost_messages_accepted_total", 3.0),
            ("sealpost_delivery_attempts_total{result=\"deferred\",reason=\"starttls-not-offered\"}", 1.0),
            ("sealpost_delivery_attempts_total{result=\"bounced\",reason=\"no-such-domain\"}", 1.0),
            ("sealpost_dsns_sent_total{kind=\"failed\"}", 1.0),
            ("sealpost_queue_messages{state=\"deferred\"}", 1.0),
            ("sealpost_policies{mode=\"enforce\"}", 2.0),
            ("sealpost_queue_healthy", 1.0),
            ("sealpost_policy_refresh_failures_total", 0.0),
        ] {
            assert_eq!(samples.get(series), Some(&want), "{series}: {samples:#?}");
        }
        let sum = |start: &str| -> f64 {
            samples.iter().filter(|(k, _)| k.starts_with(start)).map(|(_, v)| v).sum()
        };
        assert!(sum("sealpost_delivery_attempts_total{result=\"sent\"") >= 2.0);
        assert!((sum("sealpost_messages_refused_total") - 1.0).abs() < 0.5);
        assert!(sum("sealpost_fsync_seconds_count") >= 3.0);
        assert!(sum("sealpost_store_bytes") > 0.0);
        assert!(sum("sealpost_tls_handshakes_total") >= 1.0);
        for resource in capped() {
            let of = |family: &str| samples.get(&format!("{family}{{resource=\"{resource}\"}}"));
            let (used, cap) = (of("sealpost_in_use"), of("sealpost_limit"));
            assert!(used.zip(cap).is_some_and(|(used, cap)| used <= cap), "{resource}: {used:?} of {cap:?}");
        }
        // Labels come from fixed sets: no address, no domain, no id.
        let names: Vec<_> = samples.keys().filter(|k| k.contains(".test") || k.contains('@')).collect();
        assert!(names.is_empty(), "{names:?}");
    }
}

/// Every sample, after checks of the text format and against `docs/metrics.md`.
async fn scrape(relay: &Relay) -> BTreeMap<String, f64> {
    let (status, text) = relay.http_get("/metrics").await;
    assert_eq!(status, 200, "{text}");
    let mut samples = BTreeMap::new();
    let mut families = BTreeSet::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.split(' ');
            let (kind, name) = (words.next().unwrap(), words.next().unwrap());
            assert!(["HELP", "TYPE"].contains(&kind), "{line}");
            families.insert(name.to_owned());
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value
            .parse()
            .unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(
            samples.insert(series.to_owned(), value).is_none(),
            "twice: {line}"
        );
        let name = series.split('{').next().unwrap();
        let known = families.iter().any(|f| name.starts_with(f.as_str()));
        assert!(known && name.starts_with("sealpost_"), "{line}");
    }
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let documented: BTreeSet<String> = docs
        .lines()
        .filter_map(|l| l.strip_prefix("## "))
        .map(str::to_owned)
        .collect();
    assert_eq!(families, documented);
    samples
}

/// The resources of the table of caps in the documentation.
fn capped() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, table) = text.split_once("| `resource` | cap |").unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let names: Vec<String> = rows
        .map(|row| row.split('`').nth(1).unwrap().to_owned())
        .collect();
    assert!(names.len() > 8, "{names:?}");
    names
}
