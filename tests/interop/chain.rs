//! The whole way with other people's servers at each end: Postfix in front, Knot for names, nginx
//! for the policy, Postfix as the receiving MX.

use std::time::Duration;

use sealpost_tests::{PostfixSetup, Relay, SmtpClient};

use crate::recipient::{Recipient, front, message};

const SOON: Duration = Duration::from_secs(30);

testkit::net_test! {
    async fn enforced_mail_goes_from_postfix_to_postfix_over_verified_tls() {
        let d = Recipient::with_policy("enforce", &["mx.d.test"]).await;
        let mx = d.mx().start().await;
        let relay = Relay::start(d.relay()).await;
        let front = front().await;

        let mut client = SmtpClient::connect(front.address()).await;
        client.ehlo("app.org.test").await;
        let content = message("dots");
        let upstream = client.send("a@org.test", &["b@d.test"], &content).await;
        let sent = relay.wait_event(|e| e.is("delivery.sent"), SOON).await;
        assert_eq!(sent.text("to"), "b@d.test", "{sent}");
        assert_eq!(sent.text("mx"), "mx.d.test", "{sent}");
        assert_eq!(sent.at("/tls/authenticated"), "pkix", "{sent}");
        assert_eq!(sent.at("/policies/0/source"), "mta-sts", "{sent}");
        assert_eq!(sent.at("/policies/0/mode"), "enforce", "{sent}");
        assert_eq!(sent.at("/policies/0/result"), "satisfied", "{sent}");
        assert_eq!(d.nginx.as_ref().unwrap().requests().len(), 1);

        let mail = mx.wait_for_mail(1, SOON).await;
        let want = String::from_utf8_lossy(&content).replace("\r\n", "\n");
        let text = String::from_utf8_lossy(&mail[0]).into_owned();
        assert!(text.ends_with(&want), "{text}");
        // The two logs are joined either way: Postfix names our id, and we name Postfix's.
        let id = sent.text("queue_id");
        front
            .wait_for_log(&[&upstream, "status=sent", &format!("queued as {id}")], SOON)
            .await;
        assert_eq!(sent.text("upstream_id"), upstream, "{sent}");
        let received = relay.wait_for("message.received", id, SOON).await;
        assert_eq!(received.text("upstream_id"), upstream, "{received}");
        assert_eq!(received.at("/orig_client/proto"), "ESMTP", "{received}");
        assert!(received.at("/orig_client/ip").is_string(), "{received}");
    }

    async fn a_wrong_certificate_defers_until_it_is_mended() {
        let d = Recipient::with_policy("enforce", &["mx.d.test"]).await;
        deferred_then_sent(&d, d.mx_as("mx.other.test"), "cert-host-mismatch").await;
    }

    async fn an_mx_without_starttls_defers_until_it_is_mended() {
        let d = Recipient::with_policy("enforce", &["mx.d.test"]).await;
        deferred_then_sent(&d, d.mx_without_tls(), "starttls-not-offered").await;
    }

    async fn an_mx_that_the_policy_does_not_list_defers_until_it_does() {
        let mut d = Recipient::with_policy("enforce", &["mail.d.test"]).await;
        let mx = d.mx().start().await;
        let relay = Relay::start(d.relay().set("queue.retry", "[\"1h\"]")).await;
        let id = relay.send("a@org.test", &["b@d.test"], &message("unlisted")).await;
        let deferred = relay.wait_for("delivery.deferred", &id, SOON).await;
        assert_eq!(deferred.text("reason"), "mx-not-in-policy", "{deferred}");
        assert_eq!(deferred.text("dsn"), "4.7.1", "{deferred}");
        assert!(!mx.log().contains("ehlo="), "it was not even talked to: {}", mx.log());

        d.publish("enforce", &["mx.d.test"]).await;
        let refreshed = relay.cli(&["policy", "refresh", "d.test"]).await;
        assert_eq!(refreshed.code, Some(0), "{refreshed:?}");
        let retried = relay.cli(&["queue", "retry", &id]).await;
        assert_eq!(retried.code, Some(0), "{retried:?}");
        let sent = relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(sent.at("/tls/authenticated"), "pkix", "{sent}");
        assert_eq!(mx.wait_for_mail(1, SOON).await.len(), 1);
    }

    async fn testing_delivers_and_says_what_enforce_would_have_done() {
        let d = Recipient::with_policy("testing", &["mx.d.test"]).await;
        let mx = d.mx_as("mx.other.test").start().await;
        let relay = Relay::start(d.relay()).await;
        let id = relay.send("a@org.test", &["b@d.test"], &message("testing")).await;
        let sent = relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(sent.at("/policies/0/mode"), "testing", "{sent}");
        assert_eq!(sent.at("/policies/0/result"), "failed", "{sent}");
        assert_eq!(sent.at("/policies/0/reason"), "cert-host-mismatch", "{sent}");
        assert_eq!(sent.at("/tls/authenticated"), "none", "{sent}");
        assert_eq!(sent.at("/tls/would_verify"), false, "{sent}");
        assert_eq!(mx.wait_for_mail(1, SOON).await.len(), 1);
    }

    async fn without_a_policy_mail_is_delivered_with_or_without_tls() {
        let d = Recipient::without_policy().await;
        let relay = Relay::start(d.relay()).await;
        let self_signed = d.mx_as("mx.other.test").start().await;
        let id = relay.send("a@org.test", &["b@d.test"], &message("observed")).await;
        let sent = relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(sent.at("/policies").as_array().map(Vec::len), Some(0), "{sent}");
        assert_eq!(sent.at("/tls/authenticated"), "none", "{sent}");
        assert_eq!(self_signed.wait_for_mail(1, SOON).await.len(), 1);
        drop(self_signed);

        let plain = d.mx_without_tls().start().await;
        let id = relay.send("a@org.test", &["b@d.test"], &message("plain")).await;
        let sent = relay.wait_for("delivery.sent", &id, SOON).await;
        assert!(sent.at("/tls").is_null(), "{sent}");
        assert_eq!(plain.wait_for_mail(1, SOON).await.len(), 1);
    }
}

/// An enforced policy meets this MX, then a good one.
async fn deferred_then_sent(d: &Recipient, bad: PostfixSetup, reason: &str) {
    let bad = bad.start().await;
    let relay = Relay::start(d.relay().set("queue.retry", "[\"1h\"]")).await;
    let id = relay
        .send("a@org.test", &["b@d.test"], &message("deferred"))
        .await;
    let deferred = relay.wait_for("delivery.deferred", &id, SOON).await;
    assert_eq!(deferred.text("reason"), reason, "{deferred}");
    assert_eq!(deferred.at("/policies/0/result"), "failed", "{deferred}");
    assert_eq!(bad.mailbox().len(), 0);
    drop(bad);

    let good = d.mx().start().await;
    let retried = relay.cli(&["queue", "retry", &id]).await;
    assert_eq!(retried.code, Some(0), "{retried:?}");
    relay.wait_for("delivery.sent", &id, SOON).await;
    assert_eq!(good.wait_for_mail(1, SOON).await.len(), 1);
}
