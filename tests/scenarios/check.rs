//! `sealpost check` from outside, without a daemon; `policy pin` and `policy exempt` with one.

use sealpost_tests::{CliOutput, Relay, cli};
use serde_json::Value;
use testkit::{FakeMx, PolicyFault, StartTls, TestCa, policy_text};

use crate::net::{MESSAGE, Net, POLICY_HOST, SOON, deferred, ok, sent};

testkit::net_test! {
    async fn check_of_a_good_domain_says_delivered_and_sends_no_mail() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        net.zone.txt("_smtp._tls.d.test", "v=TLSRPTv1; rua=mailto:tls@d.test");
        let check = Check::new(&net);
        let output = check.json("d.test").await;
        let report = output.json();
        assert_eq!(output.code, Some(0), "{report:#}");
        assert_eq!(report["ok"], true, "{report:#}");
        assert_eq!(report["verdict"]["result"], "delivered", "{report:#}");
        assert_eq!(report["verdict"]["tls"], "verified", "{report:#}");
        assert_eq!(report["mx"][0]["name"], "mx.d.test", "{report:#}");
        assert_eq!(report["mx"][0]["addresses"][0]["address"], "127.0.0.25", "{report:#}");
        assert_eq!(report["policy"]["mode"], "enforce", "{report:#}");
        assert_eq!(report["dnssec"], "not-validated", "{report:#}");
        let bad = keys(&report, "error").into_iter().chain(keys(&report, "warning"));
        assert_eq!(bad.collect::<Vec<_>>(), [""; 0], "{report:#}");

        let output = check.text("D.Test").await;
        assert_eq!(output.code, Some(0), "{output:?}");
        assert!(!output.stdout.contains('\u{1b}'), "colour without a terminal: {output:?}");
        for words in ["Record", "Policy", "MX 10 mx.d.test, 127.0.0.25", "Reporting", "Verdict",
            "mail would be: delivered to mx.d.test", "DNS answers are not validated here"] {
            assert!(output.stdout.contains(words), "{words}: {}", output.stdout);
        }
        mx.wait_for_sessions(2, SOON).await;
        let commands = mx.commands();
        assert!(commands.iter().all(|c| !c.to_ascii_uppercase().starts_with("MAIL")), "{commands:?}");
        let quits = commands.iter().filter(|c| c.eq_ignore_ascii_case("QUIT")).count();
        assert_eq!(quits, 2, "{commands:?}");
    }

    async fn check_explains_what_is_wrong_with_the_record() {
        let net = Net::start().await;
        let _mx = net.mx("d.test", "127.0.0.25").await;
        net.host.enforce("d.test", &["mx.d.test"]);
        net.zone.a("mta-sts.d.test", POLICY_HOST).ttl(0);
        let check = Check::new(&net);
        let report = check.expect("d.test", 0, "delivered").await;
        assert_found(&report, "record-absent", "warning");
        assert_found(&report, "policy-without-record", "warning");
        assert_found(&report, "reporting-absent", "warning");

        net.zone.txt("_mta-sts.d.test", "v=STSv1 id=1");
        let report = check.expect("d.test", 1, "delivered").await;
        assert_found(&report, "record-near-miss", "error");

        net.zone.txt("_mta-sts.d.test", "v=STSv1; id=2026-03-01;");
        let report = check.expect("d.test", 1, "delivered").await;
        assert_found(&report, "record-invalid", "error");

        net.zone.txt("_mta-sts.d.test", "v=STSv1; id=2;");
        let report = check.expect("d.test", 1, "delivered").await;
        assert_found(&report, "record-several", "error");
    }

    async fn check_explains_what_is_wrong_with_the_policy() {
        let net = Net::start().await;
        let _mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let check = Check::new(&net);
        let redirect = PolicyFault::Redirect("https://www.d.test/".to_owned());
        for (fault, key) in [
            (redirect, "policy-redirect"),
            (PolicyFault::ContentType("text/html".to_owned()), "policy-media-type"),
            (PolicyFault::Status(404), "policy-not-found"),
            (PolicyFault::Status(403), "policy-refused"),
            (PolicyFault::Status(503), "policy-server-error"),
            (PolicyFault::ExpiredCertificate, "policy-certificate-expired"),
            (PolicyFault::WrongCertificate, "policy-certificate-name"),
            (PolicyFault::UntrustedCertificate, "policy-certificate-untrusted"),
        ] {
            net.host.fault("d.test", fault);
            // A policy that cannot be had protects nothing: mail goes, and the audit objects.
            let report = check.expect("d.test", 1, "delivered").await;
            assert_found(&report, key, "error");
        }
        net.host.heal("d.test");
        net.host.policy("d.test", "version: STSv1\r\nmode: enforced\r\nmx: a.test\r\nmax_age: 9\r\n");
        let report = check.expect("d.test", 1, "delivered").await;
        let finding = assert_found(&report, "policy-invalid", "error");
        assert!(finding["text"].as_str().unwrap().contains("line 2"), "{finding}");

        net.host.policy("d.test", &policy_text("testing", &["mx.d.test"], 3600));
        let report = check.expect("d.test", 0, "delivered").await;
        assert_found(&report, "policy-testing", "warning");
        assert_found(&report, "max-age-short", "warning");
        net.host.none("d.test");
        let report = check.expect("d.test", 0, "delivered").await;
        assert_found(&report, "policy-none", "warning");
    }

    async fn check_tells_of_testing_without_end_and_of_a_policy_that_changed_under_its_id() {
        let net = Net::start().await;
        let _mx = net.mx("d.test", "127.0.0.25").await;
        net.zone.mta_sts("d.test", "20200101T000000", POLICY_HOST);
        net.host.testing("d.test", &["mx.d.test"]);
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        let json = async || relay.cli(&["check", "d.test", "--json"]).await.json();
        let report = json().await;
        assert_found(&report, "policy-testing-long", "warning");
        assert!(!keys(&report, "warning").contains(&"record-id-not-changed".to_owned()), "{report:#}");
        net.host.enforce("d.test", &["mx.d.test"]);
        let finding = assert_found(&json().await, "record-id-not-changed", "warning");
        assert!(finding["text"].as_str().unwrap().contains("20200101T000000"), "{finding}");
        // A CDN that refuses what is no browser.
        net.host.fault("d.test", PolicyFault::Status(403));
        assert_found(&json().await, "policy-refused", "error");
    }

    async fn check_explains_patterns_that_cover_no_host() {
        let net = Net::start().await;
        net.zone.mail_domain("d.test", "mx.eu.d.test", "127.0.0.25");
        let mx = net.peer("mx.eu.d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let check = Check::new(&net);
        for (pattern, key, severity) in [
            ("*.d.test", "pattern-two-labels", "warning"),
            ("127.0.0.25", "pattern-address", "error"),
            ("nmx.eu.d.test", "pattern-typo", "warning"),
            ("mail.other.test", "pattern-unused", "note"),
        ] {
            net.host.enforce("d.test", &[pattern]);
            let report = check.expect("d.test", 1, "deferred").await;
            assert_eq!(report["verdict"]["reason"], "mx-not-in-policy", "{report:#}");
            assert_found(&report, key, severity);
            assert_found(&report, "host-not-listed", "error");
            assert_eq!(report["mx"][0]["verdict"]["result"], "refused", "{report:#}");
        }
        mx.assert_no_mail();
    }

    async fn check_explains_what_is_wrong_with_a_mail_host() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let check = Check::new(&net);
        let cert = || net.ca.cert(&["mx.d.test"]);
        for (leaf, key, reason) in [
            (cert().expired().issue(), "certificate-expired", "cert-expired"),
            (cert().not_yet_valid().issue(), "certificate-not-yet-valid", "cert-not-trusted"),
            (net.ca.leaf(&["d.test"]), "certificate-name", "cert-host-mismatch"),
            (cert().self_signed().issue(), "certificate-self-signed", "cert-not-trusted"),
            (cert().missing_intermediate().issue(), "certificate-incomplete-chain", "cert-not-trusted"),
        ] {
            mx.certificate(&leaf);
            let report = check.expect("d.test", 1, "deferred").await;
            assert_found(&report, key, "error");
            assert_eq!(report["verdict"]["reason"], reason, "{report:#}");
            assert_eq!(report["mx"][0]["addresses"][0]["certificate_valid"], false, "{report:#}");
        }
        let stranger = TestCa::new().leaf(&["mx.d.test"]);
        mx.certificate(&stranger);
        let report = check.expect("d.test", 1, "deferred").await;
        assert_eq!(report["verdict"]["reason"], "cert-not-trusted", "{report:#}");
        mx.script(|s| s.starttls = StartTls::Off);
        let report = check.expect("d.test", 1, "deferred").await;
        assert_found(&report, "no-starttls", "error");
        mx.script(|s| s.starttls = StartTls::Refuse("454 4.7.0 no".to_owned()));
        let report = check.expect("d.test", 1, "deferred").await;
        assert_found(&report, "starttls-refused", "error");
        let text = check.text("d.test").await;
        assert!(text.stdout.contains("mail would be: deferred because "), "{}", text.stdout);
        mx.assert_no_mail();
    }

    async fn check_of_domains_that_take_no_mail() {
        let net = Net::start().await;
        let check = Check::new(&net);
        let report = check.expect("gone.test", 1, "bounced").await;
        assert_found(&report, "no-such-domain", "error");
        net.zone.mx("null.test", 0, ".");
        let report = check.expect("null.test", 1, "bounced").await;
        assert_found(&report, "null-mx", "error");
        net.zone.mail_domain("inner.test", "mx.inner.test", "10.1.2.3");
        let report = check.expect("inner.test", 1, "deferred").await;
        assert_found(&report, "host-special-use", "error");
        net.zone.a("bare.test", "127.0.0.26");
        let _mx = FakeMx::start("127.0.0.26:25", "bare.test", None).await;
        let report = check.expect("bare.test", 0, "delivered").await;
        assert_found(&report, "mx-absent", "warning");
        assert_found(&report, "no-starttls", "warning");
        assert_eq!(report["verdict"]["tls"], "plain", "{report:#}");
    }

    async fn check_tells_slips_of_the_command_line_and_of_the_file() {
        let net = Net::start().await;
        let mut check = Check::new(&net);
        let output = check.text("no domain").await;
        assert_eq!(output.code, Some(64), "{output:?}");
        check.write("[dns]\nservers = 7\n");
        let output = check.text("d.test").await;
        assert_eq!(output.code, Some(78), "{output:?}");
    }

    async fn a7_09_an_exempt_domain_gets_its_mail_and_every_event_says_so() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.certificate(&net.expired("mx.d.test"));
        net.enforce("d.test");
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        deferred(&relay, &id).await;

        let exempt = |more: &[&'static str]| {
            let line = ["policy", "exempt", "d.test", "--reason", "their certificate"];
            [&line[..], more].concat()
        };
        for (more, status) in [
            (&["--until", "7d"][..], 64),
            (&["--dangerous"][..], 64),
            (&["--dangerous", "--until", "soon"][..], 64),
        ] {
            let output = relay.cli(&exempt(more)).await;
            assert_eq!(output.code, Some(status), "{more:?}: {output:?}");
        }
        let output = relay.cli(&exempt(&["--dangerous", "--until", "91d"])).await;
        assert!(output.code != Some(0) && output.stderr.contains("90 days"), "{output:?}");
        let status = ok(&relay, &["status"]).await.stdout;
        assert!(!status.contains("exempt"), "{status}");
        let output = ok(&relay, &exempt(&["--dangerous", "--until", "7d", "--json"])).await;
        assert_eq!(output.json()["exemption"]["active"], true, "{output:?}");
        assert_eq!(output.json()["waiting"], 1, "{output:?}");
        let output = ok(&relay, &exempt(&["--dangerous", "--until", "7d"])).await.stdout;
        let told = output.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains("waiting 1 message, for its next attempt; `sealpost queue retry --domain d.test`"), "{output}");
        // What is held or paused has no next attempt.
        ok(&relay, &["queue", "pause", "d.test"]).await;
        let output = ok(&relay, &exempt(&["--dangerous", "--until", "7d"])).await.stdout;
        assert!(output.contains("1 message, until `sealpost queue resume d.test`"), "{output}");
        ok(&relay, &["queue", "resume", "d.test"]).await;
        ok(&relay, &["queue", "hold", "--all"]).await;
        let output = ok(&relay, &exempt(&["--dangerous", "--until", "7d"])).await.stdout;
        assert!(output.contains("1 message, until `sealpost queue release --domain d.test`"), "{output}");
        assert!(!output.contains("next attempt"), "{output}");
        ok(&relay, &["queue", "release", "--all"]).await;
        // A weakening that is in force stands where people look.
        let status = ok(&relay, &["status"]).await.stdout;
        assert!(status.contains("1 domain from its policy, until "), "{status}");
        audited(&relay, "policy exempt", "their certificate").await;

        ok(&relay, &["queue", "retry", "--all"]).await;
        let event = relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(event.at("/weakened_by"), "exempt", "{event}");
        assert_eq!(event.at("/policies/0/source"), "mta-sts", "{event}");
        let shown = ok(&relay, &["policy", "show", "d.test"]).await.stdout;
        assert!(shown.contains("exempt until") && shown.contains("their certificate"), "{shown}");

        ok(&relay, &exempt(&["--remove"])).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.at("/weakened_by"), &Value::Null, "{event}");
    }

    async fn a7_08_a_pin_demands_a_listed_host_and_a_certificate_whatever_the_domain_publishes() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;

        let output = relay.cli(&["policy", "pin", "d.test", "--because", "x"]).await;
        assert_eq!(output.code, Some(64), "{output:?}");
        let bad = ["policy", "pin", "d.test", "--mx", "*.*.d.test", "--because", "x"];
        assert_ne!(relay.cli(&bad).await.code, Some(0));
        let pin = ["policy", "pin", "d.test", "--mx", "mx.d.test", "--because", "agreed with them"];
        ok(&relay, &pin).await;
        audited(&relay, "policy pin", "agreed with them").await;
        let shown = ok(&relay, &["policy", "show", "d.test", "--json"]).await.json();
        assert_eq!(shown["pin"]["mx"][0], "mx.d.test", "{shown:#}");
        assert_eq!(shown["mode"], Value::Null, "{shown:#}");
        let listed = ok(&relay, &["policy", "list"]).await.stdout;
        assert!(listed.contains("pinned"), "{listed}");

        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "starttls-not-offered", "{event}");
        assert_eq!(event.at("/policies/0/source"), "local", "{event}");
        assert_eq!(event.at("/policies/0/mode"), "require", "{event}");
        assert_eq!(mx.messages().len(), 1);

        ok(&relay, &["policy", "pin", "d.test", "--remove", "--because", "over"]).await;
        ok(&relay, &["queue", "retry", "--all"]).await;
        relay.wait_for("delivery.sent", &id, SOON).await;
    }
}

/// A configuration file, and no daemon.
struct Check {
    folder: tempfile::TempDir,
}

impl Check {
    fn new(net: &Net) -> Self {
        let mut check = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let text = net.config().text(check.folder.path());
        check.write(&text);
        check
    }

    fn write(&mut self, text: &str) {
        std::fs::write(self.folder.path().join("sealpost.toml"), text).unwrap();
    }

    async fn run(&self, args: &[&str]) -> CliOutput {
        cli(&self.folder.path().join("sealpost.toml"), args).await
    }

    async fn text(&self, domain: &str) -> CliOutput {
        self.run(&["check", domain]).await
    }

    async fn json(&self, domain: &str) -> CliOutput {
        self.run(&["check", domain, "--json"]).await
    }

    /// The report, which must have this status and result.
    async fn expect(&self, domain: &str, status: i32, result: &str) -> Value {
        let output = self.json(domain).await;
        let report = output.json();
        assert_eq!(output.code, Some(status), "{report:#}");
        assert_eq!(report["verdict"]["result"], result, "{report:#}");
        report
    }
}

fn keys(report: &Value, severity: &str) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap();
    let of_severity = findings.iter().filter(|f| f["severity"] == severity);
    of_severity
        .map(|f| f["key"].as_str().unwrap().to_owned())
        .collect()
}

/// The finding with this key, which must have this severity and, if it is bad, a remedy.
fn assert_found(report: &Value, key: &str, severity: &str) -> Value {
    let findings = report["findings"].as_array().unwrap();
    let Some(finding) = findings.iter().find(|f| f["key"] == key) else {
        panic!("no {key}: {report:#}")
    };
    assert_eq!(finding["severity"], severity, "{finding:#}");
    assert!(
        severity == "note" || finding["remedy"].is_string(),
        "{finding:#}"
    );
    finding.clone()
}

/// Waits for the line that says who did it and why.
async fn audited(relay: &Relay, action: &str, reason: &str) {
    let wanted = |e: &sealpost_tests::Event| {
        e.is("admin.action") && e.text("action") == action && e.text("reason") == reason
    };
    let event = relay.wait_event(wanted, SOON).await;
    assert_eq!(event.text("target"), "d.test", "{event}");
}
