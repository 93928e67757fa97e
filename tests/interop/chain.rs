//! The whole way with other people's servers at each end: Postfix in front, Knot for names, nginx
//! for the policy, Postfix as the receiving MX.

use std::time::Duration;

use sealpost_tests::{Knot, Nginx, NginxSite, PostfixSetup, Relay, RelayConfig, SmtpClient};
use testkit::{TestCa, policy_text};

const SOON: Duration = Duration::from_secs(30);
const MESSAGE: &[u8] = b"From: a@org.test\r\nTo: b@d.test\r\nSubject: dots\r\n\
    Message-ID: <1@org.test>\r\nDate: Sun, 1 Mar 2026 00:00:00 +0000\r\n\r\n.one\r\n.\r\nend\r\n";
const ZONE: &str = "\
$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 30
@ NS ns
ns A 127.0.0.53
@ MX 10 mx
mx A 127.0.0.25
_mta-sts TXT \"v=STSv1; id=1;\"
mta-sts A 127.0.0.80
";

testkit::net_test! {
    async fn enforced_mail_goes_from_postfix_to_postfix_over_verified_tls() {
        let ca = TestCa::new();
        let _knot = Knot::start("127.0.0.53:53".parse().unwrap(), &[("d.test", ZONE)]).await;
        let policy = policy_text("enforce", &["mx.d.test"], 86400);
        let site = NginxSite::new("d.test", &policy, &ca.leaf(&["mta-sts.d.test"]));
        let nginx = Nginx::start("127.0.0.80:443".parse().unwrap(), &[site]).await;
        let mx = PostfixSetup::mx(
            "127.0.0.25:25".parse().unwrap(),
            "mx.d.test",
            &["d.test"],
            &ca.leaf(&["mx.d.test"]),
        )
        .start()
        .await;
        let relay = Relay::start(RelayConfig::default().trust(&ca)).await;
        let front = PostfixSetup::front(
            "127.0.0.1:25".parse().unwrap(),
            "mail.org.test",
            "[127.0.0.1]:2525",
        )
        .start()
        .await;

        let mut client = SmtpClient::connect(front.address()).await;
        client.ehlo("app.org.test").await;
        let upstream = client.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let sent = relay.wait_event(|e| e.is("delivery.sent"), SOON).await;
        assert_eq!(sent.text("to"), "b@d.test", "{sent}");
        assert_eq!(sent.text("mx"), "mx.d.test", "{sent}");
        assert_eq!(sent.at("/tls/authenticated"), "pkix", "{sent}");
        assert_eq!(sent.at("/policies/0/source"), "mta-sts", "{sent}");
        assert_eq!(sent.at("/policies/0/mode"), "enforce", "{sent}");
        assert_eq!(sent.at("/policies/0/result"), "satisfied", "{sent}");
        assert_eq!(nginx.requests().len(), 1);

        let mail = mx.wait_for_mail(1, SOON).await;
        let want = String::from_utf8_lossy(MESSAGE).replace("\r\n", "\n");
        let text = String::from_utf8_lossy(&mail[0]).into_owned();
        assert!(text.ends_with(&want), "{text}");
        // The upstream's log and ours are joined by our queue id.
        let id = sent.text("queue_id");
        front
            .wait_for_log(&[&upstream, "status=sent", &format!("queued as {id}")], SOON)
            .await;
    }

    async fn a_wrong_certificate_defers_until_it_is_mended() {
        let ca = TestCa::new();
        let _knot = Knot::start("127.0.0.53:53".parse().unwrap(), &[("d.test", ZONE)]).await;
        let policy = policy_text("enforce", &["mx.d.test"], 86400);
        let site = NginxSite::new("d.test", &policy, &ca.leaf(&["mta-sts.d.test"]));
        let _nginx = Nginx::start("127.0.0.80:443".parse().unwrap(), &[site]).await;
        let address = "127.0.0.25:25".parse().unwrap();
        let start = async |name| {
            let leaf = ca.leaf(&[name]);
            PostfixSetup::mx(address, "mx.d.test", &["d.test"], &leaf).start().await
        };
        let bad = start("mx.other.test").await;
        let config = RelayConfig::default().trust(&ca);
        let relay = Relay::start(config.set("queue.retry", "[\"1h\"]")).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let deferred = relay.wait_for("delivery.deferred", &id, SOON).await;
        assert_eq!(deferred.text("reason"), "cert-host-mismatch", "{deferred}");
        assert_eq!(bad.mailbox().len(), 0);
        drop(bad);
        let good = start("mx.d.test").await;
        let retried = relay.cli(&["queue", "retry", &id]).await;
        assert_eq!(retried.code, Some(0), "{retried:?}");
        relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(good.wait_for_mail(1, SOON).await.len(), 1);
    }
}
