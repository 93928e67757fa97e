//! What is counted for TLS reports, from real sessions with real faults: read by `sealpost report show`.

use std::collections::BTreeMap;

use sealpost_tests::{Relay, RelayConfig};
use serde_json::Value;
use testkit::{Action, FakeMx, Rule};

use crate::dane::EE_FULL;
use crate::fault::Fault;
use crate::net::{MESSAGE, Net, deferred, ok, sent};

testkit::net_test! {
    async fn b2_02_to_b2_08_each_fault_is_told_by_its_type_and_cause() {
        let net = Net::start().await;
        let mut peers = Vec::new();
        for fault in Fault::ALL {
            peers.push(fault.start(&net).await);
            net.testing(&fault.domain());
        }
        let relay = reporting(&net).await;
        for (fault, mx) in Fault::ALL.into_iter().zip(&peers) {
            let domain = fault.domain();
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            if fault == Fault::Injection {
                deferred(&relay, &id).await;
            } else {
                sent(&relay, &id).await;
            }
            let report = report(&relay, &domain).await;
            let story = format!("{fault:?}: {report:#}");
            let policies = report["policies"].as_array().unwrap();
            assert_eq!(policies.len(), 1, "{story}");
            assert_eq!(policies[0]["policy"]["policy-type"], "sts", "{story}");
            assert_eq!(policies[0]["policy"]["policy-string"][0], "version: STSv1", "{story}");
            assert_eq!(policies[0]["summary"]["total-successful-session-count"], 0, "{story}");
            // TLS that failed and mail that then went in clear are one session that failed.
            assert_eq!(policies[0]["summary"]["total-failure-session-count"], 1, "{story}");
            let [detail] = policies[0]["failure-details"].as_array().unwrap().as_slice() else {
                panic!("{story}")
            };
            let (result, code) = counted_as(fault);
            assert_eq!(detail["result-type"], result, "{story}");
            assert_eq!(detail.get("failure-reason-code").and_then(Value::as_str), code, "{story}");
            assert_eq!(detail["failed-session-count"], 1, "{story}");
            let host = if fault == Fault::NotInPolicy { "other" } else { "mx" };
            assert_eq!(detail["receiving-mx-hostname"], format!("{host}.{domain}"), "{story}");
            assert_eq!(detail["receiving-ip"], mx.address().ip().to_string(), "{story}");
            assert!(detail["sending-mta-ip"].is_string(), "{story}");
        }
    }

    async fn b2_01_sessions_are_counted_and_not_messages() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let relay = reporting(&net).await;
        for _ in 0..3 {
            let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
            sent(&relay, &id).await;
        }
        assert_eq!(mx.sessions().len(), 1, "one session carries all of them");
        assert_eq!(counts(&report(&relay, "d.test").await), ["sts 1/0"]);
    }

    async fn b1_02_b2_20_b2_21_whose_report_it_is() {
        let net = Net::start().await;
        let _plain = net.mx("none.test", "127.0.0.21").await;
        let dane = net.mx("dane.test", "127.0.0.22").await;
        let own = net.ca.leaf(&["mx.dane.test"]);
        dane.certificate(&own);
        net.zone.secure("dane.test").tlsa("mx.dane.test", 25, EE_FULL, &own.chain[0]);
        net.testing("dane.test");
        net.zone.a("hop.test", "127.0.0.23");
        let _hop = FakeMx::start("127.0.0.23:2500", "hop.test", Some(&net.ca.leaf(&["hop.test"]))).await;
        let config = config(&net).set("dns.dnssec", "\"trust-ad\"").append(
            "[[route]]\nrecipient-domain = \"routed.test\"\nrelay = \"[hop.test]:2500\"",
        );
        let relay = Relay::start(config).await;
        for domain in ["none.test", "dane.test", "routed.test"] {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            sent(&relay, &id).await;
        }
        assert_eq!(counts(&report(&relay, "none.test").await), ["no-policy-found 1/0"]);
        assert_eq!(counts(&report(&relay, "dane.test").await), ["sts 1/0"]);
        let base = report(&relay, "mx.dane.test").await;
        assert_eq!(counts(&base), ["tlsa 1/0"]);
        let record = base["policies"][0]["policy"]["policy-string"][0].as_str().unwrap();
        assert!(record.starts_with("3 0 0 30"), "{record}");
        assert_eq!(counts(&report(&relay, "hop.test").await), ["no-policy-found 1/0"]);
        let none = relay.cli(&["report", "show", "routed.test"]).await;
        assert_ne!(none.code, Some(0), "{}", none.stdout);
    }

    async fn b2_16_each_kind_of_failure_has_its_own_count() {
        let net = Net::start().await;
        let expired = net.peer("mx1.d.test", "127.0.0.21").await;
        expired.certificate(&net.expired("mx1.d.test"));
        let _plain = FakeMx::start("127.0.0.22:25", "mx2.d.test", None).await;
        for (preference, name, ip) in [(10, "mx1.d.test", "127.0.0.21"), (20, "mx2.d.test", "127.0.0.22")] {
            net.zone.mx("d.test", preference, name).a(name, ip);
        }
        net.enforce_for("d.test", &["*.d.test"]);
        let relay = reporting(&net).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        deferred(&relay, &id).await;
        ok(&relay, &["queue", "retry", "--all"]).await;
        let again = |e: &sealpost_tests::Event| e.is("delivery.deferred") && *e.at("/attempt") == 2;
        relay.wait_event(again, crate::net::SOON).await;
        let report = report(&relay, "d.test").await;
        assert_eq!(counts(&report), ["sts 0/4"], "{report:#}");
        let details = report["policies"][0]["failure-details"].as_array().unwrap();
        let kinds: BTreeMap<&str, i64> = details.iter().map(|detail| {
            (detail["result-type"].as_str().unwrap(), detail["failed-session-count"].as_i64().unwrap())
        }).collect();
        assert_eq!(kinds, BTreeMap::from([("certificate-expired", 2), ("starttls-not-supported", 2)]));
    }

    async fn b2_01_b2_16_a_host_that_is_tried_in_steps_counts_once() {
        let net = Net::start().await;
        let mx = Fault::NotInPolicy.start(&net).await;
        let domain = Fault::NotInPolicy.domain();
        net.enforce(&domain);
        let config = config(&net).set("delivery.dangerous-tls-required-no", "\"all\"");
        let relay = Relay::start(config).await;
        let message = [b"TLS-Required: No\r\n", MESSAGE].concat();
        let id = relay.send("a@org.test", &[&format!("b@{domain}")], &message).await;
        sent(&relay, &id).await;
        let report = report(&relay, &domain).await;
        assert_eq!(counts(&report), ["sts 0/1"], "{report:#}");
        let details = report["policies"][0]["failure-details"].as_array().unwrap();
        assert_eq!(details.len(), 1, "{report:#}");
        assert_eq!(details[0]["receiving-ip"], mx.address().ip().to_string(), "{report:#}");
    }

    async fn b2_01_what_ends_a_session_behind_its_tls_is_no_fault_of_tls() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        mx.rule(Rule::nth("EHLO", 2, Action::ReplyThenClose("421 4.3.2 not now".into())));
        let relay = reporting(&net).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        deferred(&relay, &id).await;
        assert_eq!(counts(&report(&relay, "d.test").await), ["sts 1/0"]);
    }

    async fn b2_12_b2_18_a_policy_that_cannot_be_fetched_is_counted_by_fetches() {
        let net = Net::start().await;
        let _mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        net.host.fault("d.test", testkit::PolicyFault::Status(404));
        let relay = reporting(&net).await;
        for _ in 0..3 {
            let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
            sent(&relay, &id).await;
        }
        let report = report(&relay, "d.test").await;
        let fetches: Vec<&Value> = report["policies"].as_array().unwrap().iter()
            .filter(|p| p["policy"]["policy-type"] == "sts").collect();
        let [fetch] = fetches.as_slice() else { panic!("{report:#}") };
        assert_eq!(fetch["summary"]["total-failure-session-count"], 1, "{report:#}");
        let detail = &fetch["failure-details"][0];
        assert_eq!(detail["result-type"], "sts-policy-fetch-error", "{report:#}");
        assert_eq!(detail["failure-reason-code"], "http-404", "{report:#}");
        // Row B3-14: what cannot apply is left out.
        for key in ["receiving-ip", "receiving-mx-hostname", "sending-mta-ip"] {
            assert_eq!(detail.get(key), None, "{report:#}");
        }
    }
}

async fn reporting(net: &Net) -> Relay {
    Relay::start(config(net)).await
}

fn config(net: &Net) -> RelayConfig {
    net.config()
        .set("reporting.contact-info", "\"tls-reports@org.test\"")
}

/// Today's report on this domain, as it would be sent.
async fn report(relay: &Relay, domain: &str) -> Value {
    let shown = ok(relay, &["report", "show", domain, "--json"]).await;
    shown.json()["report"].clone()
}

/// Each policy with its sessions, good and bad.
fn counts(report: &Value) -> Vec<String> {
    let policies = report["policies"].as_array().unwrap().iter();
    let each = policies.map(|p| {
        let summary = &p["summary"];
        let (good, bad) = (
            &summary["total-successful-session-count"],
            &summary["total-failure-session-count"],
        );
        let kind = p["policy"]["policy-type"].as_str().unwrap();
        format!("{kind} {good}/{bad}")
    });
    each.collect()
}

/// The result type and the failure-reason-code of a fault.
fn counted_as(fault: Fault) -> (&'static str, Option<&'static str>) {
    match fault {
        Fault::Expired => ("certificate-expired", Some("expired")),
        Fault::NotYetValid => ("certificate-not-trusted", Some("not-yet-valid")),
        Fault::WrongName => ("certificate-host-mismatch", Some("host-mismatch")),
        Fault::SelfSigned => ("certificate-not-trusted", Some("self-signed")),
        Fault::UntrustedAuthority | Fault::MissingIntermediate => {
            ("certificate-not-trusted", Some("missing-intermediate"))
        }
        Fault::NoStartTls => ("starttls-not-supported", None),
        Fault::StartTls454 => ("starttls-not-supported", Some("starttls-refused-454")),
        Fault::StartTls250 => ("starttls-not-supported", Some("starttls-refused-250")),
        Fault::Injection => ("validation-failure", Some("starttls-injection")),
        Fault::ResetInHandshake => ("validation-failure", Some("handshake-reset")),
        Fault::Garbage => ("validation-failure", Some("not-tls")),
        Fault::NotInPolicy => ("validation-failure", Some("sts-mx-mismatch")),
        Fault::OldTls => ("validation-failure", Some("protocol-version")),
    }
}
