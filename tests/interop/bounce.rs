//! A delivery status notification finds its way home, though the organisation's Postfix has the
//! same host name as the relay.

use std::time::Duration;

use sealpost_tests::{Relay, SmtpClient};

use crate::recipient::{Recipient, front_setup, message};

const SOON: Duration = Duration::from_secs(30);

testkit::net_test! {
    async fn a_bounce_returns_through_a_front_of_our_own_name() {
        let d = Recipient::with_policy("enforce", &["mx.d.test"]).await;
        // It knows `b` only.
        let mx = d
            .mx()
            .set("virtual_mailbox_maps", "inline:{b@d.test=inbox/}")
            .start()
            .await;
        let config = d.relay().set("server.hostname", r#""mail.org.test""#).append(
            "[[route]]\nrecipient-domain = \"org.test\"\nrelay = \"[127.0.0.1]:25\"\n\
             tls = \"dangerous-off\"\n",
        );
        let relay = Relay::start(config).await;
        let front = front_setup("mail.org.test").mailbox(&["org.test"]).start().await;

        let mut client = SmtpClient::connect(front.address()).await;
        client.ehlo("app.org.test").await;
        let content = message("returned");
        client.send("a@org.test", &["nobody@d.test", "b@d.test"], &content).await;
        let bounced = relay.wait_event(|e| e.is("delivery.bounced"), SOON).await;
        assert_eq!(bounced.text("to"), "nobody@d.test", "{bounced}");
        assert_eq!(bounced.text("reason"), "remote-5xx", "{bounced}");
        assert_eq!(bounced.text("dsn"), "5.1.1", "{bounced}");
        assert_eq!(mx.wait_for_mail(1, SOON).await.len(), 1, "the other recipient has it");

        let mail = front.wait_for_mail(1, SOON).await;
        let text = String::from_utf8_lossy(&mail[0]).into_owned();
        for wanted in [
            "Return-Path: <>\n",
            "X-Original-To: a@org.test\n",
            "Auto-Submitted: auto-replied\n",
            "multipart/report",
            "report-type=delivery-status",
            "Reporting-MTA: dns; mail.org.test\n",
            "Final-Recipient: rfc822;nobody@d.test\n",
            "Action: failed\n",
            "Status: 5.1.1\n",
            "Remote-MTA: dns; mx.d.test\n",
            "mx.d.test said:\n",
            "What can be done: You should check the address",
            "Subject: returned\n",
        ] {
            assert!(text.to_ascii_lowercase().contains(&wanted.to_ascii_lowercase()), "{wanted}{text}");
        }
        // It came once, by one hop, and the front gave nothing back to the relay.
        let dsn = relay.wait_event(|e| e.is("dsn.sent"), SOON).await;
        let returned = |e: &sealpost_tests::Event| e.is("delivery.sent") && e.text("to") == "a@org.test";
        let returned = relay.wait_event(returned, SOON).await;
        assert_eq!(returned.text("from"), "", "{returned}");
        assert_eq!(returned.text("ip"), "127.0.0.1", "{returned}");
        assert_eq!(returned.at("/port"), 25, "{returned}");
        assert!(!front.log().contains("loops back"), "{}", front.log());
        let listed = relay.cli(&["queue", "list", "--json"]).await;
        assert_eq!(listed.stdout.trim(), "", "nothing waits after {dsn}");
        assert_eq!(front.mailbox().len(), 1);
    }
}
