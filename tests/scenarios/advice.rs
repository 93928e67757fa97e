//! What `explain` and its letter advise: for every host, cause and domain, and only what helps.

use sealpost_tests::Relay;
use testkit::{Action, PolicyFault, Rule, StartTls};

use crate::net::{MESSAGE, Net, SOON, deferred, of_recipient, ok, sent};

testkit::net_test! {
    async fn an_exemption_is_offered_only_where_it_lets_the_mail_go() {
        let net = Net::start().await;
        let mut peers = Vec::new();
        for (n, domain) in ["plain.test", "rule.test", "list.test"].into_iter().enumerate() {
            net.enforce(domain);
            let mx = net.mx(domain, &format!("127.0.0.{}", 31 + n)).await;
            if domain != "list.test" {
                mx.certificate(&net.expired(&format!("mx.{domain}")));
            }
            peers.push(mx);
        }
        let relay = Relay::start(net.config().append(
            "[[domain]]\nname = \"rule.test\"\ntls = \"verified\"\n\
             [[domain]]\nname = \"list.test\"\nmta-sts = \"require\"\nmx = [\"mx.elsewhere.test\"]\n",
        )).await;
        let mut ids = Vec::new();
        for domain in ["plain.test", "rule.test", "list.test"] {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            deferred(&relay, &id).await;
            ids.push(id);
        }
        let flat = async |subject: &str| words(&ok(&relay, &["explain", subject]).await.stdout);
        let told = flat(&ids[0]).await;
        assert!(told.contains("`sealpost policy exempt plain.test --dangerous"), "{told}");
        for subject in [ids[1].as_str(), "rule.test"] {
            let told = flat(subject).await;
            assert!(!told.contains("policy exempt rule.test"), "{told}");
            assert!(told.contains("our own rule, which demands it too"), "{told}");
        }
        let told = flat(&ids[2]).await;
        assert!(!told.contains("policy exempt") && told.contains("`[[domain]]` rule, or a pin"), "{told}");
        let exempt = [
            "policy", "exempt", "plain.test", "--dangerous", "--until", "7d", "--because", "urgent",
        ];
        ok(&relay, &exempt).await;
        let told = flat(&ids[0]).await;
        assert!(told.contains("has exempted the domain") && !told.contains("--dangerous"), "{told}");
    }

    async fn each_cause_at_a_domain_is_told_with_the_recipients_whose_it_is() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always("RCPT", Action::Reply("451 4.7.1 greylisted".into())).about("b@d.test"));
        mx.rule(Rule::always("RCPT", Action::Reply("452 4.2.2 mailbox full".into())).about("c@d.test"));
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test", "c@d.test"], MESSAGE).await;
        for to in ["b@d.test", "c@d.test"] {
            of_recipient(&relay, "delivery.deferred", &id, to).await;
        }
        let json = ok(&relay, &["explain", &id, "--json"]).await.json();
        let titles: Vec<&str> = json["sections"].as_array().unwrap().iter()
            .filter_map(|section| section["title"].as_str()).collect();
        for title in ["Why mail for b@d.test waits", "Why mail for c@d.test waits"] {
            assert!(titles.contains(&title), "{titles:?}");
        }
        let applies = titles.iter().filter(|title| title.starts_with("What applies to"));
        assert_eq!(applies.count(), 1, "{titles:?}");
        let told = words(&ok(&relay, &["explain", &id]).await.stdout);
        assert!(told.contains("greylisted") && told.contains("mailbox full"), "{told}");
    }

    async fn a_letter_names_every_host_that_is_to_be_mended_and_other_domains_have_their_own() {
        let net = Net::start().await;
        net.enforce_for("d.test", &["*.d.test"]);
        let mut peers = Vec::new();
        for (n, name) in ["a.d.test", "b.d.test"].into_iter().enumerate() {
            let ip = format!("127.0.0.{}", 31 + n);
            net.zone.mx("d.test", 10 * (n as u16 + 1), name).a(name, &ip);
            peers.push(net.peer(name, &ip).await);
        }
        peers[0].certificate(&net.expired("a.d.test"));
        peers[1].script(|s| s.starttls = StartTls::Off);
        net.enforce("e.test");
        let other = net.mx("e.test", "127.0.0.35").await;
        other.certificate(&net.expired("mx.e.test"));
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test", "c@e.test"], MESSAGE).await;
        for to in ["b@d.test", "c@e.test"] {
            of_recipient(&relay, "delivery.deferred", &id, to).await;
        }
        for subject in [id.as_str(), "d.test"] {
            let json = ok(&relay, &["explain", subject, "--json"]).await.json();
            let letter = words(json["letter"].as_str().unwrap());
            for host in ["Host: a.d.test [127.0.0.31]", "Host: b.d.test [127.0.0.32]"] {
                assert!(letter.contains(host), "{host}: {letter}");
            }
            for request in ["certificate of a.d.test", "b.d.test"] {
                let asked = letter.split("Please").skip(1).any(|text| text.contains(request));
                assert!(asked, "{request}: {letter}");
            }
            assert_eq!(letter.matches("What we see:").count(), 2, "{letter}");
        }
        let told = words(&ok(&relay, &["explain", &id]).await.stdout);
        assert!(told.contains("should renew the certificate of a.d.test"), "{told}");
        assert!(told.contains("`sealpost explain e.test` has a letter to them as well."), "{told}");
        let domain = words(&ok(&relay, &["explain", "d.test"]).await.stdout);
        assert!(domain.contains("is given up, the first at 20"), "{domain}");
        other.assert_no_mail();
    }

    async fn what_testing_only_notes_and_a_failed_live_fetch_are_shown() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        net.testing("d.test");
        mx.certificate(&net.expired("mx.d.test"));
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        relay.wait_event(|e| e.is("policy.testing-would-fail"), SOON).await;
        let told = words(&ok(&relay, &["explain", "d.test"]).await.stdout);
        assert!(told.contains("would have kept back went to mx.d.test at 20"), "{told}");
        assert!(told.contains("has expired. (cert-expired)"), "{told}");
        let shown = ok(&relay, &["policy", "show", "d.test"]).await.stdout;
        assert!(shown.contains("would have failed at mx.d.test"), "{shown}");
        // Another id, and no policy to be had for it: what is stored counts, and that is told.
        net.zone.mta_sts("d.test", "2", crate::net::POLICY_HOST);
        net.host.fault("d.test", PolicyFault::Status(404));
        let failed = relay.cli(&["policy", "refresh", "d.test"]).await;
        assert_ne!(failed.code, Some(0), "{failed:?}");
        let shown = ok(&relay, &["policy", "show", "d.test", "--json"]).await.json();
        assert!(shown["refresh_failure"].as_str().unwrap_or_default().contains("404"), "{shown}");
        net.host.testing("d.test", &["mx.d.test"]);
        net.host.heal("d.test");
        ok(&relay, &["policy", "refresh", "d.test"]).await;
        let shown = ok(&relay, &["policy", "show", "d.test", "--json"]).await.json();
        assert!(shown["refresh_failure"].is_null(), "{shown}");
    }

    async fn a_dialogue_of_another_message_is_called_that() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always("RCPT", Action::Reply("450 4.2.1 later".into())));
        let relay = net.relay().await;
        let first = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        deferred(&relay, &first).await;
        let shown = ok(&relay, &["queue", "show", &first]).await.stdout;
        assert!(shown.contains("the last one with this reason, with"), "{shown}");
        let second = relay.send("a@org.test", &["c@d.test"], MESSAGE).await;
        deferred(&relay, &second).await;
        let shown = ok(&relay, &["queue", "show", &first]).await.stdout;
        assert!(shown.contains(&format!("(of another message, {second})")), "{shown}");
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
