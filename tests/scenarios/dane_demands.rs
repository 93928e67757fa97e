//! DANE beside other demands: local rules, MTA-STS, REQUIRETLS; and what `sealpost check` says.

use sealpost_tests::Relay;
use testkit::FakeMx;

use crate::dane::{EE_FULL, dane, results, start};
use crate::net::{MESSAGE, Net, bounced, deferred, sent};

testkit::net_test! {
    async fn amb_04_what_dnssec_vouches_for_bounces_mail_of_a_protected_domain_at_once() {
        let net = Net::start().await;
        for domain in ["signed.test", "unsigned.test"] {
            net.zone.mx(domain, 0, ".");
            net.enforce(domain);
        }
        net.zone.secure("signed.test");
        let relay = start(&net).await;
        let id = relay.send("a@org.test", &["b@signed.test"], MESSAGE).await;
        assert_eq!(bounced(&relay, &id).await.text("reason"), "null-mx");
        let id = relay.send("a@org.test", &["b@unsigned.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "null-mx");
    }

    async fn c3_13_mandatory_dane_waits_for_signed_mx_records_and_tlsa_records() {
        let net = Net::start().await;
        let leaf = net.ca.leaf(&["mx.good.test"]);
        let (mut peers, mut rules) = (Vec::new(), String::new());
        for (domain, ip) in [
            ("good.test", "127.0.0.21"),
            ("unsigned.test", "127.0.0.22"),
            ("insecure-mx.test", "127.0.0.23"),
            ("absent.test", "127.0.0.24"),
            ("unusable.test", "127.0.0.26"),
        ] {
            let mx = net.mx(domain, ip).await;
            mx.certificate(&leaf);
            let (host, usage) = (format!("mx.{domain}"), if domain == "unusable.test" { 1 } else { 3 });
            if domain != "absent.test" {
                net.zone.tlsa(&host, 25, (usage, 0, 0), &leaf.chain[0]);
            }
            match domain {
                "unsigned.test" => {}
                "insecure-mx.test" => drop(net.zone.secure(&host)),
                _ => drop(net.zone.secure(domain)),
            }
            rules += &format!("[[domain]]\nname = \"{domain}\"\ndane = \"require\"\n");
            peers.push((domain, mx));
        }
        let relay = Relay::start(dane(net.config()).append(&rules)).await;
        for (domain, mx) in &peers {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            if *domain == "good.test" {
                let event = sent(&relay, &id).await;
                assert_eq!(event.at("/tls/authenticated"), "dane-ee", "{event}");
                assert_eq!(results(&event), [("local", "satisfied"), ("dane", "satisfied")], "{event}");
                continue;
            }
            let event = deferred(&relay, &id).await;
            let want = if *domain == "unusable.test" { "dane-unusable" } else { "dane-required" };
            assert_eq!(event.text("reason"), want, "{event}");
            assert_eq!(event.text("dsn"), "4.7.0", "{event}");
            assert_eq!(event.at("/policies/0/source"), "local", "{event}");
            assert_eq!(event.at("/policies/0/mode"), "require-dane", "{event}");
            assert_eq!(event.at("/policies/0/result"), "failed", "{event}");
            mx.assert_no_mail();
        }
    }

    async fn c3_14_dane_off_and_audit_are_explicit_and_told() {
        let net = Net::start().await;
        let mut rules = String::new();
        for (domain, rule, ip) in [
            ("off.test", "dangerous-off", "127.0.0.21"),
            ("audit.test", "dangerous-audit", "127.0.0.22"),
        ] {
            net.zone.mail_domain(domain, &format!("mx.{domain}"), ip).secure(domain);
            net.zone.tlsa(&format!("mx.{domain}"), 25, EE_FULL, b"\x30\x00");
            rules += &format!(
                "[[domain]]\nname = \"{domain}\"\ndane = \"{rule}\"\nreason = \"ticket 1\"\nuntil = \"{}\"\n",
                soon(),
            );
        }
        let off = FakeMx::start("127.0.0.21:25", "mx.off.test", None).await;
        let audit = net.peer("mx.audit.test", "127.0.0.22").await;
        let relay = Relay::start(dane(net.config()).append(&rules)).await;
        let id = relay.send("a@org.test", &["b@off.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("weakened_by"), "exempt", "{event}");
        assert_eq!(off.messages().len(), 1);
        let id = relay.send("a@org.test", &["b@audit.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.text("weakened_by"), "audit", "{event}");
        assert_eq!(event.at("/policies/0/mode"), "audit", "{event}");
        assert_eq!(event.at("/policies/0/result"), "failed", "{event}");
        assert_eq!(event.at("/policies/0/reason"), "dane-mismatch", "{event}");
        assert_eq!(audit.messages().len(), 1);
    }

    async fn c4_01_c4_02_c4_05_amb_14_both_have_to_pass_unless_the_operator_says_otherwise() {
        let net = Net::start().await;
        // "pass" has a good certificate that no record names; "own" one that only a record names.
        let pass = net.mx("pass.test", "127.0.0.21").await;
        let own = net.mx("own.test", "127.0.0.22").await;
        let leaf = net.ca.cert(&["mx.own.test"]).self_signed().issue();
        own.certificate(&leaf);
        for domain in ["pass.test", "own.test"] {
            net.enforce(domain);
            let host = format!("mx.{domain}");
            net.zone.secure(domain).tlsa(&host, 25, EE_FULL, &leaf.chain[0]);
        }
        let relay = start(&net).await;
        let id = relay.send("a@org.test", &["b@pass.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "dane-mismatch", "{event}");
        assert_eq!(results(&event), [("mta-sts", "satisfied"), ("dane", "failed")], "{event}");
        let id = relay.send("a@org.test", &["b@own.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "cert-not-trusted", "{event}");
        assert_eq!(results(&event), [("mta-sts", "failed"), ("dane", "satisfied")], "{event}");
        pass.assert_no_mail();
        own.assert_no_mail();
        drop(relay);

        let relay = Relay::start(dane(net.config()).set("delivery.dane-satisfies-sts", "true")).await;
        let id = relay.send("a@org.test", &["b@own.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/tls/authenticated"), "dane-ee", "{event}");
        assert_eq!(event.at("/tls/would_verify"), false, "{event}");
        assert_eq!(results(&event), [("mta-sts", "satisfied"), ("dane", "satisfied")], "{event}");
        assert_eq!(event.at("/policies/0/by"), "dane", "{event}");
        let id = relay.send("a@org.test", &["b@pass.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "dane-mismatch");
    }

    async fn c4_07_a_testing_policy_does_not_lower_what_dane_demands() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        net.testing("d.test");
        net.zone.secure("d.test").tlsa("mx.d.test", 25, EE_FULL, b"\x30\x00");
        let relay = start(&net).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "starttls-not-offered", "{event}");
        mx.assert_no_mail();
    }

    async fn amb_33_require_is_met_by_mx_records_that_dnssec_vouches_for() {
        let net = Net::start().await;
        let (signed, unsigned) = (
            net.mx("signed.test", "127.0.0.21").await,
            net.mx("unsigned.test", "127.0.0.22").await,
        );
        net.zone.secure("signed.test");
        let relay = Relay::start(dane(net.config()).append(
            "[[domain]]\nname = \"signed.test\"\nmta-sts = \"require\"\n\
             [[domain]]\nname = \"unsigned.test\"\nmta-sts = \"require\"",
        )).await;
        let id = relay.send("a@org.test", &["b@signed.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/tls/authenticated"), "pkix", "{event}");
        assert_eq!(event.at("/policies/0/result"), "satisfied", "{event}");
        assert_eq!(signed.messages().len(), 1);
        let id = relay.send("a@org.test", &["b@unsigned.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "mx-not-in-policy", "{event}");
        unsigned.assert_no_mail();
    }

    async fn i1_12_a_session_without_dane_serves_no_domain_that_has_it() {
        let net = Net::start().await;
        let mx = net.peer("mx.p.test", "127.0.0.25").await;
        net.zone.mx("one.test", 10, "mx.p.test").mx("two.test", 10, "mx.p.test").a("mx.p.test", "127.0.0.25");
        // The certificate is good for every public authority, and not what the record names.
        net.zone.secure("p.test").tlsa("mx.p.test", 25, EE_FULL, b"\x30\x00");
        let relay = Relay::start(dane(net.config()).append(&format!(
            "[[domain]]\nname = \"one.test\"\ndane = \"dangerous-off\"\nreason = \"ticket 1\"\nuntil = \"{}\"",
            soon(),
        ))).await;
        let id = relay.send("a@org.test", &["b@one.test"], MESSAGE).await;
        assert_eq!(sent(&relay, &id).await.at("/tls/authenticated"), "none");
        let id = relay.send("a@org.test", &["b@two.test"], MESSAGE).await;
        assert_eq!(deferred(&relay, &id).await.text("reason"), "dane-mismatch");
        assert_eq!(mx.messages().len(), 1);
    }

    async fn d1_06_d1_08_requiretls_goes_where_dnssec_vouches_for_name_and_certificate() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        let own = net.ca.cert(&["mx.d.test"]).self_signed().issue();
        mx.certificate(&own).script(|s| s.extensions.requiretls = true);
        net.zone.secure("d.test").tlsa("mx.d.test", 25, EE_FULL, &own.chain[0]);
        let relay = Relay::start(net.tls_listener(dane(net.config()))).await;
        let mut client = net.tls_client().await;
        let id = client.send_with("a@org.test", " REQUIRETLS", &["b@d.test"], "", MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(results(&event), [("requiretls", "satisfied"), ("dane", "satisfied")], "{event}");
        assert_eq!(event.at("/policies/0/by"), "dane", "{event}");
        assert_eq!(event.at("/tls/authenticated"), "dane-ee", "{event}");
        let message = mx.messages().remove(0);
        assert!(message.from_params.contains("REQUIRETLS"), "{message:?}");
    }

    async fn d2_06_c2_11_tls_required_no_sets_dane_aside_and_is_told() {
        let net = Net::start().await;
        let wrong = net.mx("wrong.test", "127.0.0.21").await;
        let unknown = net.mx("unknown.test", "127.0.0.22").await;
        for domain in ["wrong.test", "unknown.test"] {
            let host = format!("mx.{domain}");
            net.zone.secure(domain).tlsa(&host, 25, EE_FULL, b"\x30\x00");
        }
        net.zone.bogus("_tcp.mx.unknown.test");
        let relay = Relay::start(
            dane(net.config()).set("delivery.dangerous-tls-required-no", r#""all""#),
        ).await;
        let waived = [&b"TLS-Required: No\r\n"[..], MESSAGE].concat();
        for (domain, mx) in [("wrong.test", &wrong), ("unknown.test", &unknown)] {
            let to = format!("b@{domain}");
            let id = relay.send("a@org.test", &[&to], MESSAGE).await;
            deferred(&relay, &id).await;
            mx.assert_no_mail();
            let id = relay.send("a@org.test", &[&to], &waived).await;
            let event = sent(&relay, &id).await;
            assert_eq!(event.text("weakened_by"), "tls-required-no", "{event}");
            assert_eq!(event.at("/policies/0/mode"), "off", "{event}");
            mx.assert_no_mail_in_clear();
        }
    }

    async fn check_tells_of_tlsa_records_that_do_not_fit() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        let leaf = net.ca.leaf(&["mx.d.test"]);
        mx.certificate(&leaf);
        net.zone.secure("d.test").tlsa("mx.d.test", 25, EE_FULL, &leaf.chain[0]);
        let relay = start(&net).await;
        let report = check(&relay, "d.test").await;
        assert_eq!(report["verdict"]["tls"], "dane", "{report:#}");
        assert_eq!(report["dnssec"], "secure", "{report:#}");
        assert_eq!(report["mx"][0]["tlsa"], "usable", "{report:#}");
        assert!(keys(&report).contains(&"dane-good".to_owned()), "{report:#}");
        mx.certificate(&net.ca.leaf(&["mx.d.test"]));
        let report = check(&relay, "d.test").await;
        assert_eq!(report["verdict"]["reason"], "dane-mismatch", "{report:#}");
        assert!(keys(&report).contains(&"dane-mismatch".to_owned()), "{report:#}");
        // The resolver still validates others.
        net.zone.secure("signed.test").insecure("d.test");
        let report = check(&relay, "d.test").await;
        assert!(keys(&report).contains(&"dane-unsigned".to_owned()), "{report:#}");
        mx.assert_no_mail();
    }
}

/// A day some weeks ahead.
fn soon() -> String {
    let output = std::process::Command::new("date")
        .args(["-u", "-d", "+30 days", "+%Y-%m-%d"])
        .output()
        .expect("date");
    String::from_utf8(output.stdout)
        .expect("a date")
        .trim()
        .to_owned()
}

async fn check(relay: &Relay, domain: &str) -> serde_json::Value {
    let output = relay.cli(&["check", domain, "--json"]).await;
    output.json()
}

fn keys(report: &serde_json::Value) -> Vec<String> {
    let findings = report["findings"].as_array().expect("findings");
    let keys = findings.iter().filter_map(|f| f["key"].as_str());
    keys.map(ToOwned::to_owned).collect()
}
