//! swaks, a client that is not ours.

use sealpost_tests::{Relay, RelayConfig};

use crate::site::{SOON, exchanger, swaks};

testkit::net_test! {
    async fn swaks_sends_pipelined_eight_bit_mail() {
        let (_zone, mx) = exchanger().await;
        let relay = Relay::start(RelayConfig::default()).await;
        // UTF-8, Latin-1 and a line of dots, as they may come.
        let content = b"From: a@org.test\nTo: b@d.test\nSubject: gr\xc3\xbc\xc3\x9fe\n\n\
            \xe4\xf6\xfc \xe2\x82\xac\n.\n..\nend\n";
        let file = relay.folder().join("message");
        std::fs::write(&file, content).unwrap();
        let output = swaks(&["--port", "2525", "--pipeline"])
            .args(["--helo", "app.org.test", "--from", "a@org.test"])
            .args(["--to", "b@d.test,c@d.test", "--data"])
            .arg(&file)
            .output()
            .await
            .unwrap();
        let talk = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{talk}{errors}");
        assert!(talk.contains("250-PIPELINING"), "{talk}");
        assert!(talk.contains("250-8BITMIME"), "{talk}");
        let said = |text: &str| talk.find(text).unwrap_or_else(|| panic!("no {text}: {talk}"));
        assert!(said(" -> DATA") < said("<-  250 2.1.0"), "not pipelined: {talk}");
        let id = &talk[said("queued as ") + "queued as ".len()..];
        let id = id.split_whitespace().next().unwrap();

        let message = mx.wait_for_message(SOON).await;
        assert_eq!(message.recipients(), ["b@d.test", "c@d.test"]);
        let want = String::from_utf8_lossy(&content.escape_ascii().to_string().into_bytes())
            .replace("\\n", "\\r\\n");
        let got = message.data.escape_ascii().to_string();
        assert!(got.trim_end_matches("\\r\\n").ends_with(want.trim_end_matches("\\r\\n")), "{got}");
        let received = relay.wait_for("message.received", id, SOON).await;
        assert_eq!(received.text("helo"), "app.org.test", "{received}");
        for to in ["b@d.test", "c@d.test"] {
            let sent = |e: &sealpost_tests::Event| {
                e.is("delivery.sent") && e.text("queue_id") == id && e.text("to") == to
            };
            relay.wait_event(sent, SOON).await;
        }
    }
}
