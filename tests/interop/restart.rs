//! What the relay has answered 250 to arrives, whatever happens to its process.

use std::collections::BTreeSet;
use std::time::Duration;

use sealpost_tests::{Relay, SmtpClient};
use testkit::TestCa;
use tokio::net::UdpSocket;

use crate::recipient::{Recipient, front, message};

const SOON: Duration = Duration::from_secs(60);
const MESSAGES: usize = 10;

testkit::net_test! {
    async fn mail_taken_before_kill_9_is_delivered_after_the_restart() {
        // A name server that says nothing: no attempt can come to an end.
        let silent = UdpSocket::bind("127.0.0.53:53").await.unwrap();
        let ca = TestCa::new();
        let mut relay = Relay::start(Recipient::config(&ca)).await;
        let front = front().await;
        let mut client = SmtpClient::connect(front.address()).await;
        client.ehlo("app.org.test").await;
        let mut upstream = Vec::new();
        for n in 0..MESSAGES {
            let content = message(&format!("kept-{n}"));
            upstream.push(client.send("a@org.test", &["b@d.test"], &content).await);
        }
        for id in &upstream {
            front.wait_for_log(&[id, "status=sent", "queued as"], SOON).await;
        }
        relay.kill();
        assert!(
            !relay.events().iter().any(|e| e.is("delivery.sent")),
            "{}",
            relay.story()
        );
        drop(silent);

        let d = Recipient::of(ca, "enforce", &["mx.d.test"]).await;
        let mx = d.mx().start().await;
        relay.restart().await;
        let mail = mx.wait_for_mail(MESSAGES, SOON).await;
        let subjects: BTreeSet<String> = mail.iter().map(|m| subject(m)).collect();
        assert_eq!(subjects.len(), MESSAGES, "{subjects:?}");
        assert_eq!(mail.len(), MESSAGES, "none came twice");
        // Also after the restart each is known by the id that the front gave it.
        for id in &upstream {
            let sent = |e: &sealpost_tests::Event| {
                e.is("delivery.sent") && e.text("upstream_id") == id
            };
            let sent = relay.wait_event(sent, SOON).await;
            assert_eq!(sent.at("/tls/authenticated"), "pkix", "{sent}");
        }
    }
}

fn subject(mail: &[u8]) -> String {
    let text = String::from_utf8_lossy(mail);
    let line = text.lines().find(|line| line.starts_with("Subject: "));
    line.unwrap_or_default().to_owned()
}
