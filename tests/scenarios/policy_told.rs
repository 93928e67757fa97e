//! What the log tells of policies, so that an operator can judge them.

use std::time::Duration;

use sealpost_tests::{Event, Relay};
use testkit::{PolicyFault, RecordType, ZoneFault, policy_text};

use crate::clock::as_if_the_last_time_was;
use crate::net::{MESSAGE, Net, POLICY_HOST, SOON, deferred, ok, sent};

testkit::net_test! {
    async fn a7_07_h1_16_a_delivery_that_relied_on_a_first_contact_says_so() {
        let net = Net::start().await;
        // DNS is forged: other hosts, and no record, although there is a policy. Nobody can know.
        net.zone.mail_domain("forged.test", "evil.test", "127.0.0.66");
        let evil = net.peer("evil.test", "127.0.0.66").await;
        net.host.enforce("forged.test", &["mx.forged.test"]);
        let _known = net.mx("known.test", "127.0.0.25").await;
        net.enforce("known.test");
        let _broken = net.mx("broken.test", "127.0.0.26").await;
        net.enforce("broken.test");
        net.host.fault("broken.test", PolicyFault::Status(404));
        net.zone.mail_domain("silent.test", "mx.silent.test", "127.0.0.27");
        net.zone.fault("_mta-sts.silent.test", RecordType::TXT, ZoneFault::ServFail);
        let mut relay = net.relay().await;
        let to = async |domain: &str| {
            relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await
        };
        for (domain, policies) in [("forged.test", 0), ("known.test", 1), ("broken.test", 0)] {
            let event = sent(&relay, &to(domain).await).await;
            assert_eq!(*event.at("/first_contact"), true, "{event}");
            assert_eq!(event.at("/policies").as_array().unwrap().len(), policies, "{event}");
        }
        assert_eq!(evil.messages().len(), 1);
        deferred(&relay, &to("silent.test").await).await;
        for (domain, result) in [
            ("known.test", "found"), ("broken.test", "fetch-failure"), ("silent.test", "dns-failure"),
        ] {
            let told = relay.wait_event(
                |e| e.is("policy.first-contact") && e.text("domain") == domain, SOON,
            ).await;
            assert_eq!((told.text("result"), told.at("/first_contact")), (result, &true.into()), "{told}");
        }
        let (_, metrics) = relay.http_get("/metrics").await;
        assert!(metrics.contains("sealpost_policy_first_contacts_total{verified=\"yes\"} 1\n"), "{metrics}");
        // A policy that was known before is no first contact.
        relay.terminate(SOON).await;
        relay.restart().await;
        let id = relay.send("a@org.test", &["b@known.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/first_contact"), &serde_json::Value::Null, "{event}");
    }

    async fn a4_20_a7_01_a_refresh_that_fails_and_a_policy_that_has_run_out_are_told() {
        let net = Net::start().await;
        let hosts = [("hour.test", "127.0.0.30", 3600), ("hours.test", "127.0.0.31", 4 * 3600)];
        let mut peers = Vec::new();
        for (domain, ip, max_age) in hosts {
            peers.push(net.mx(domain, ip).await);
            net.enforce(domain);
            net.host.policy(domain, &policy_text("enforce", &[&format!("mx.{domain}")], max_age));
        }
        let mut relay = net.relay().await;
        // Until an operator says otherwise it is three hours ago.
        as_if_the_last_time_was(&mut relay, -3 * 3600).await;
        for (domain, ..) in hosts {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            sent(&relay, &id).await;
            net.host.fault(domain, PolicyFault::Status(404));
        }
        // A process that begins has fetched nothing lately.
        relay.terminate(SOON).await;
        relay.restart().await;
        ok(&relay, &["clock", "accept"]).await;
        let expired = relay.wait_event(|e| e.is("policy.expired"), WITHIN).await;
        for (field, want) in [("domain", "hour.test"), ("id", "1"), ("mode", "enforce")] {
            assert_eq!(expired.text(field), want, "{expired}");
        }
        assert!(expired.text("expires_at").ends_with('Z'), "{expired}");
        let failed = relay.wait_event(|e| e.is("policy.refresh-failed"), WITHIN).await;
        for (field, want) in [("domain", "hours.test"), ("id", "1"), ("mode", "enforce")] {
            assert_eq!(failed.text(field), want, "{failed}");
        }
        assert!(failed.text("cause").contains("404"), "{failed}");
        // More than half of its life is over.
        assert_eq!((failed.at("/alert"), failed.text("level")), (&true.into(), "error"), "{failed}");
        assert!(failed.text("expires_at").ends_with('Z'), "{failed}");
        // One is enough: what has run out is not fetched again by itself.
        let told = |name| relay.events().iter().filter(|e| e.is(name)).count();
        assert_eq!((told("policy.expired"), told("policy.refresh-failed")), (1, 1), "{}", relay.story());
    }

    async fn an_interval_of_seconds_is_honoured_and_shows_what_becomes_of_policies() {
        let net = Net::start().await;
        let mut hosts = Vec::new();
        for (n, (domain, max_age)) in [("day.test", 86_400), ("short.test", 40)].into_iter().enumerate() {
            hosts.push(net.mx(domain, &format!("127.0.0.{}", 30 + n)).await);
            net.enforce(domain);
            net.host.policy(domain, &policy_text("enforce", &[&format!("mx.{domain}")], max_age));
        }
        let relay = Relay::start(net.config().set("policy-cache.refresh-interval", "\"2s\"")).await;
        for domain in ["day.test", "short.test"] {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            sent(&relay, &id).await;
        }
        let of = |name: &'static str, domain: &'static str| {
            move |e: &Event| e.is(name) && e.text("domain") == domain
        };
        for domain in ["day.test", "short.test"] {
            relay.wait_event(of("policy.refreshed", domain), WITHIN).await;
            net.host.fault(domain, PolicyFault::Status(404));
            relay.wait_event(of("policy.refresh-failed", domain), WITHIN).await;
        }
        let failures = |page: &str| page.contains("sealpost_policy_refresh_failures_total 2\n");
        let (_, page) = relay.http_get("/metrics").await;
        assert!(failures(&page), "{page}");
        // What an operator asks for and does not get is told alike.
        let seen = relay.events().len();
        relay.cli(&["policy", "refresh", "day.test"]).await;
        let told = relay.wait_event_after(seen, of("policy.refresh-failed", "day.test"), SOON).await;
        assert_eq!((told.at("/failures"), told.at("/alert")), (&1.into(), &false.into()), "{told}");
        relay.wait_event(of("policy.expired", "short.test"), WITHIN).await;
    }

    async fn a6_23_whatever_keeps_a_known_policy_from_being_looked_at_is_told_with_the_policy() {
        let net = Net::start().await;
        let domains = ["gone.test", "twice.test", "silent.test", "moved.test"];
        let mut hosts = Vec::new();
        for (n, domain) in domains.iter().enumerate() {
            hosts.push(net.mx(domain, &format!("127.0.0.{}", 30 + n)).await);
            net.enforce(domain);
        }
        let mut relay = net.relay().await;
        for domain in domains {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            sent(&relay, &id).await;
        }
        // A policy of mode none promises nothing that a failure could take away.
        net.zone.mail_domain("none.test", "mx.none.test", "127.0.0.40");
        let _mx = net.peer("mx.none.test", "127.0.0.40").await;
        net.zone.mta_sts("none.test", "1", POLICY_HOST);
        net.host.none("none.test");
        let id = relay.send("a@org.test", &["b@none.test"], MESSAGE).await;
        sent(&relay, &id).await;
        // What was answered is forgotten with the process; the policies are not.
        relay.terminate(SOON).await;
        net.zone.remove("_mta-sts.gone.test", RecordType::TXT);
        net.zone.txt("_mta-sts.twice.test", "v=STSv1; id=2;");
        net.zone.fault("_mta-sts.silent.test", RecordType::TXT, ZoneFault::ServFail);
        net.zone.mta_sts("moved.test", "2", POLICY_HOST);
        net.zone.mta_sts("none.test", "2", POLICY_HOST);
        for domain in ["moved.test", "none.test"] {
            net.host.fault(domain, PolicyFault::Status(404));
        }
        relay.restart().await;
        let seen = relay.events().len();
        for (domain, cause) in domains.iter().zip(["NXDOMAIN", "record", "failed", "404"]) {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            let event = sent(&relay, &id).await;
            let of_it = |e: &Event| e.is("policy.fallback-to-cache") && e.text("domain") == *domain;
            let told = relay.wait_event_after(seen, of_it, SOON).await;
            assert!(told.text("cause").contains(cause), "{cause}: {told}");
            assert_eq!((told.text("mode"), told.text("id")), ("enforce", "1"), "{told}");
            assert!(!told.text("expires_at").is_empty(), "{told}");
            assert_eq!((event.at("/policies/0/from"), event.at("/policies/0/id")), (&"cache".into(), &"1".into()));
        }
        let id = relay.send("a@org.test", &["b@none.test"], MESSAGE).await;
        sent(&relay, &id).await;
        assert_eq!(net.host.count("none.test"), 2, "it was looked at as well");
        let of_none = |e: &Event| e.is("policy.fallback-to-cache") && e.text("domain") == "none.test";
        assert!(!relay.events().iter().any(of_none), "{}", relay.story());
    }

    async fn h2_24_a_pattern_for_a_whole_top_level_domain_is_taken_and_told_of() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce_for("d.test", &["*.test"]);
        let narrow = net.mx("e.test", "127.0.0.26").await;
        net.enforce_for("e.test", &["*.e.test"]);
        let relay = net.relay().await;
        // `*` stands for one label: mx.d.test is two below the top.
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "mx-not-in-policy");
        let told = relay.wait_event(|e| e.is("policy.broad"), SOON).await;
        assert_eq!((told.text("domain"), told.text("pattern")), ("d.test", "*.test"), "{told}");
        assert_eq!(told.text("level"), "warn", "{told}");
        let id = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        sent(&relay, &id).await;
        assert_eq!(relay.events().iter().filter(|e| e.is("policy.broad")).count(), 1);
        assert_eq!((mx.messages().len(), narrow.messages().len()), (0, 1));
    }

    async fn h2_27_of_a_policy_that_changes_under_one_id_the_last_counts_and_both_digests_are_kept() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        // Another region's host says something else.
        let other = policy_text("enforce", &["mx.elsewhere.test"], 604_800);
        net.host.policy("d.test", &other);
        ok(&relay, &["policy", "refresh", "d.test"]).await;
        let first = relay.wait_event(|e| e.is("policy.changed"), SOON).await;
        let digest = |event: &Event, field| {
            let text = event.text(field).to_owned();
            assert!(text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()), "{event}");
            text
        };
        assert_eq!(digest(&first, "sha256"), sha256sum(&other), "{first}");
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "mx-not-in-policy");
        // And back: the same two.
        let seen = relay.events().len();
        net.host.enforce("d.test", &["mx.d.test"]);
        ok(&relay, &["policy", "refresh", "d.test"]).await;
        let second = relay.wait_event_after(seen, |e| e.is("policy.changed"), SOON).await;
        assert_eq!(digest(&second, "sha256"), digest(&first, "old_sha256"), "{second}");
        assert_eq!(digest(&second, "old_sha256"), digest(&first, "sha256"), "{second}");
        ok(&relay, &["queue", "retry", &id]).await;
        relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(mx.messages().len(), 2);
    }

    async fn h2_29_policy_hosts_that_hold_fetches_up_hold_up_nobody_else() {
        let net = Net::start().await;
        for n in 0..DOMAINS {
            let domain = format!("d{n}.test");
            net.zone.mail_domain(&domain, &format!("mx.{domain}"), "127.0.0.30");
            net.enforce(&domain);
            net.host.fault(&domain, PolicyFault::Stall);
        }
        let other = net.mx("other.test", "127.0.0.25").await;
        let relay = Relay::start(net.config().set("policy-cache.fetches", "4")).await;
        let mut client = relay.client().await;
        for n in 0..DOMAINS {
            client.send("a@org.test", &[&format!("b@d{n}.test")], MESSAGE).await;
        }
        let gauge = async || {
            let (_, metrics) = relay.http_get("/metrics").await;
            let name = "sealpost_in_use{resource=\"policy-fetches\"} ";
            let line = metrics.lines().find_map(|l| l.strip_prefix(name)).map(str::to_owned);
            assert!(metrics.contains("sealpost_limit{resource=\"policy-fetches\"} 4\n"), "{metrics}");
            line.unwrap().parse::<u64>().unwrap()
        };
        let full = sealpost_tests::eventually(SOON, async || (gauge().await == 4).then_some(())).await;
        assert_eq!(full, Some(()), "{}", relay.story());
        let id = client.send("a@org.test", &["b@other.test"], MESSAGE).await;
        sent(&relay, &id).await;
        assert_eq!(other.messages().len(), 1);
        assert!(gauge().await <= 4);
        assert!(net.host.handshakes() <= 4, "{}", net.host.handshakes());
    }
}

/// As an operator computes it.
fn sha256sum(text: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let output = std::process::Command::new("sha256sum")
        .arg(file.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    said.split(' ').next().unwrap().to_owned()
}

const DOMAINS: usize = 40;

/// The cache looks around once a minute.
const WITHIN: Duration = Duration::from_secs(75);
