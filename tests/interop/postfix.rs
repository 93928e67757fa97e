//! Postfix at both ends.

use std::time::Duration;

use sealpost_tests::{PostfixSetup, SmtpClient};
use testkit::{FakeMx, TestCa};

const SOON: Duration = Duration::from_secs(30);
const MESSAGE: &[u8] =
    b"From: a@org.test\r\nTo: b@d.test\r\nSubject: dots\r\n\r\n.one\r\n..two\r\n.\r\nend\r\n";

testkit::net_test! {
    async fn a_front_postfix_hands_everything_to_its_relayhost() {
        let relay = FakeMx::start("127.0.0.1:2525", "relay.test", None).await;
        let front = PostfixSetup::front(
            "127.0.0.1:25".parse().unwrap(),
            "mail.org.test",
            "[127.0.0.1]:2525",
        )
        .start()
        .await;
        let mut client = SmtpClient::connect(front.address()).await;
        client.ehlo("app.org.test").await;
        let id = client.send("a@org.test", &["b@d.test", "c@e.test"], MESSAGE).await;
        let message = relay.wait_for_message(SOON).await;
        assert_eq!(message.from, "a@org.test");
        assert_eq!(message.recipients(), ["b@d.test", "c@e.test"]);
        assert!(message.data.ends_with(MESSAGE), "{}", message.text());
        assert!(message.without_trace().starts_with(b"From:"), "{}", message.text());
        front
            .wait_for_log(&[&id, "relay=127.0.0.1[127.0.0.1]:2525", "status=sent"], SOON)
            .await;
    }

    async fn a_receiving_postfix_takes_mail_over_tls_and_keeps_it() {
        let ca = TestCa::new();
        let leaf = ca.leaf(&["mx.d.test"]);
        let mx = PostfixSetup::mx(
            "127.0.0.25:25".parse().unwrap(),
            "mx.d.test",
            &["d.test"],
            &leaf,
        )
        .start()
        .await;
        let mut client = SmtpClient::connect(mx.address()).await;
        assert!(client.ehlo("relay.test").await.contains(&"STARTTLS".to_owned()));
        client.starttls(&ca, "mx.d.test").await;
        client.ehlo("relay.test").await;
        client.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let mail = mx.wait_for_mail(1, SOON).await;
        let want = String::from_utf8_lossy(MESSAGE).replace("\r\n", "\n");
        let text = String::from_utf8_lossy(&mail[0]).into_owned();
        assert!(text.ends_with(&want), "{text}");
        assert!(text.contains("using TLSv1.3"), "{text}");
    }
}
