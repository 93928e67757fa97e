//! Policies that do not enforce, and no policy at all: the mail goes out, as well as it can.

use sealpost_tests::Event;
use serde_json::Value;
use testkit::{PolicyFault, RecordType, ZoneFault};

use crate::fault::Fault;
use crate::net::{MESSAGE, Net, POLICY_HOST, SOON, deferred, ok, sent};

testkit::net_test! {
    async fn a6_06_a6_07_h4_07_i4_01_testing_delivers_at_once_and_tells_what_would_have_failed() {
        let net = Net::start().await;
        let mut peers = Vec::new();
        for fault in Fault::ALL.into_iter().filter(|f| *f != Fault::Injection) {
            peers.push((fault, fault.start(&net).await));
            net.testing(&fault.domain());
        }
        let relay = net.relay().await;
        for (fault, mx) in &peers {
            let domain = fault.domain();
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            let event = sent(&relay, &id).await;
            let story = format!("{fault:?}: {event}\n{}", mx.transcript_text());
            assert_eq!(event.at("/attempt"), 1, "{story}");
            assert_eq!(event.at("/weakened_by"), &Value::Null, "{story}");
            assert_eq!(event.at("/policies/0/mode"), "testing", "{story}");
            assert_eq!(event.at("/policies/0/result"), "failed", "{story}");
            assert_eq!(event.at("/policies/0/reason"), fault.told_as().0, "{story}");
            assert_eq!(!event.at("/tls").is_null(), fault.leaves_tls(), "{story}");
            assert_eq!(mx.messages().len(), 1, "{story}");
            let would_fail = relay.wait_event(
                |e| e.is("policy.testing-would-fail") && e.text("domain") == domain,
                SOON,
            ).await;
            assert_eq!(would_fail.text("reason"), fault.told_as().0, "{would_fail}");
            assert_eq!(would_fail.text("mx"), event.text("mx"), "{would_fail}");
            assert_eq!(would_fail.text("mode"), "testing", "{would_fail}");
            assert_eq!(would_fail.text("id"), "1", "{would_fail}");
            assert_eq!(would_fail.at("/ip"), event.at("/ip"), "{would_fail}");
            let said = would_fail.text("detail");
            assert!(said.ends_with("which would wait if no other host could."), "{would_fail}");
            let wrong = match fault {
                Fault::Expired => "it expired on 20",
                Fault::WrongName => "it is not for",
                Fault::SelfSigned => "it is self-signed",
                Fault::UntrustedAuthority | Fault::MissingIntermediate => "does not present the certificate of its issuer",
                Fault::NotInPolicy => "the policy lists only",
                _ => event.text("mx"),
            };
            assert!(said.contains(wrong), "{fault:?}: {would_fail}");
            if fault.is_of_certificate() {
                let told = event.at("/tls/fault").as_str().unwrap_or_default();
                assert!(said.contains(told) && !told.is_empty(), "{story}");
            }
        }
    }

    async fn a6_06_testing_with_a_good_host_tells_nothing() {
        let net = Net::start().await;
        let _mx = net.mx("d.test", "127.0.0.25").await;
        net.testing("d.test");
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = sent(&relay, &id).await;
        assert_eq!(event.at("/policies/0/result"), "satisfied", "{event}");
        assert_eq!(event.at("/tls/would_verify"), true, "{event}");
        assert!(!relay.events().iter().any(|e| e.is("policy.testing-would-fail")));
    }

    async fn h4_05_h4_06_h4_09_a6_08_without_a_policy_in_force_every_fault_is_delivered() {
        let net = Net::start().await;
        let mut peers = Vec::new();
        for fault in Fault::ALL.into_iter().filter(|f| *f != Fault::Injection) {
            peers.push((fault, fault.start(&net).await));
            // Half of them publish mode none, which has to make no difference.
            if (fault as u8).is_multiple_of(2) {
                net.zone.mta_sts(&fault.domain(), "1", POLICY_HOST);
                net.host.none(&fault.domain());
            }
        }
        let relay = net.relay().await;
        for (fault, mx) in &peers {
            let to = format!("b@{}", fault.domain());
            let id = relay.send("a@org.test", &[&to], MESSAGE).await;
            let event = sent(&relay, &id).await;
            let story = format!("{fault:?}: {event}\n{}", mx.transcript_text());
            assert_eq!(event.at("/attempt"), 1, "{story}");
            assert_eq!(!event.at("/tls").is_null(), fault.leaves_tls(), "{story}");
            if fault.leaves_tls() {
                let valid = !fault.is_of_certificate();
                assert_eq!(event.at("/tls/would_verify"), valid, "{story}");
            }
            let message = mx.wait_for_message(SOON).await;
            assert_eq!(message.tls.is_some(), fault.leaves_tls(), "{story}");
        }
        assert!(!relay.events().iter().any(|e| e.is("policy.testing-would-fail")));
    }

    async fn e2_28_h3_05_injected_plain_text_ends_the_session_whatever_the_policy_is() {
        let net = Net::start().await;
        let mx = Fault::Injection.start(&net).await;
        let to = format!("b@{}", Fault::Injection.domain());
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &[&to], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "starttls-injection", "{event}");
        mx.assert_no_mail();
        mx.behave();
        ok(&relay, &["queue", "retry", &id]).await;
        let event = relay.wait_for("delivery.sent", &id, SOON).await;
        assert!(event.at("/tls").is_object(), "{event}");
    }

    async fn a4_14_a_policy_that_cannot_be_had_at_first_contact_does_not_stop_the_mail() {
        let net = Net::start().await;
        let faults = [
            PolicyFault::Status(404),
            PolicyFault::ContentType("text/html".to_owned()),
            PolicyFault::Redirect("https://mta-sts.d0.test/other".to_owned()),
            PolicyFault::ExpiredCertificate,
            PolicyFault::WrongCertificate,
            PolicyFault::UntrustedCertificate,
            PolicyFault::Oversize(70_000),
            PolicyFault::CutBody,
            PolicyFault::Reset,
        ];
        let mut peers = Vec::new();
        for (n, fault) in faults.iter().enumerate() {
            let domain = format!("d{n}.test");
            peers.push(net.plain_mx(&domain, &format!("127.0.1.{}", n + 1)).await);
            net.enforce(&domain);
            net.host.fault(&domain, fault.clone());
        }
        let relay = net.relay().await;
        for (n, fault) in faults.iter().enumerate() {
            let domain = format!("d{n}.test");
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            let event = sent(&relay, &id).await;
            let failed = relay.wait_event(
                |e| e.is("policy.fetch-failed") && e.text("domain") == domain,
                SOON,
            ).await;
            assert!(!failed.text("cause").is_empty(), "{fault:?}: {failed}");
            assert!(failed.text("effect").starts_with("mail goes as if"), "{fault:?}: {failed}");
            // The delivery says itself why it went without a policy.
            let told = event.text("no_policy");
            assert!(told.starts_with("fetch-failed: ") && told.ends_with(failed.text("cause")), "{fault:?}: {event}");
            assert_eq!(peers[n].messages().len(), 1, "{fault:?}");
        }
    }

    async fn a2_12_a2_16_a7_06_without_a_usable_record_nothing_is_fetched() {
        let net = Net::start().await;
        // The policy hosts serve ENF; the record alone decides (row A7-06).
        for n in 0..5 {
            net.enforce(&format!("d{n}.test"));
        }
        let txt = |n: usize| format!("_mta-sts.d{n}.test");
        net.zone.remove(&txt(0), RecordType::TXT);
        net.zone.fault(&txt(1), RecordType::TXT, ZoneFault::NxDomain);
        net.zone.txt(&txt(2), "v=STSv1; id=other;");
        net.zone.remove(&txt(3), RecordType::TXT).txt(&txt(3), "V=STSv1; id=1;");
        net.zone.remove(&txt(4), RecordType::TXT).txt(&txt(4), "v=STSv1; id=a-b;");
        let relay = net.relay().await;
        for n in 0..5 {
            let domain = format!("d{n}.test");
            let mx = net.plain_mx(&domain, &format!("127.0.1.{}", n + 1)).await;
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            let event = sent(&relay, &id).await;
            assert_eq!(event.at("/policies"), &serde_json::json!([]), "{event}");
            assert_eq!(mx.messages().len(), 1);
            let unusable = ["", "", "2 records", "looks as if it was meant to", "the id is not"][n];
            if unusable.is_empty() {
                assert_eq!(event.at("/no_policy"), &Value::Null, "{event}");
                continue;
            }
            let told = event.text("no_policy");
            assert!(told.starts_with("record-unusable: ") && told.contains(unusable), "{event}");
            let of_it = |e: &Event| e.is("policy.record-unusable") && e.text("domain") == domain;
            let told = relay.wait_event(of_it, SOON).await;
            assert!(told.text("cause").contains(unusable) && told.text("level") == "warn", "{told}");
        }
        let told = relay.events().iter().filter(|e| e.is("policy.record-unusable")).count();
        assert_eq!(told, 3, "only where something was meant");
        assert_eq!(net.host.handshakes(), 0);
    }
}
