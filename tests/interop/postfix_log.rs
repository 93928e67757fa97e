//! Tools for Postfix's log read ours: Debian's pflogsumm counts right.

use std::process::Command;
use std::time::Duration;

use sealpost_tests::{Relay, program};

use crate::recipient::{Recipient, front_setup, message};

const SOON: Duration = Duration::from_secs(30);

testkit::net_test! {
    async fn pflogsumm_counts_our_log() {
        let d = Recipient::without_policy().await;
        let _mx = d
            .mx()
            .set("virtual_mailbox_maps", "inline:{b@d.test=inbox/,c@d.test=inbox/}")
            .start()
            .await;
        let front = front_setup("mail.org.test").mailbox(&["org.test"]).start().await;
        let config = d
            .relay()
            .set("log.format", r#""postfix""#)
            .set("queue.retry", r#"["1h"]"#)
            .append(
                "[[route]]\nrecipient-domain = \"org.test\"\nrelay = \"[127.0.0.1]:25\"\n\
                 tls = \"dangerous-off\"\n\
                 [[route]]\nrecipient-domain = \"down.test\"\nrelay = \"[127.0.0.99]:25\"\n\
                 tls = \"dangerous-off\"\n",
            );
        let relay = Relay::start(config).await;
        relay.send("a@org.test", &["b@d.test", "c@d.test"], &message("two")).await;
        relay.send("a@org.test", &["nobody@d.test"], &message("unknown")).await;
        relay.send("a@org.test", &["x@down.test"], &message("waits")).await;
        front.wait_for_mail(1, SOON).await;
        for (to, status) in [
            ("b@d.test", "sent"),
            ("c@d.test", "sent"),
            ("nobody@d.test", "bounced"),
            ("x@down.test", "deferred"),
            ("a@org.test", "sent"),
        ] {
            let (to, status) = (format!("to=<{to}>,"), format!(" status={status} ("));
            let wanted = |e: &sealpost_tests::Event| {
                e.text("line").contains(&to) && e.text("line").contains(&status)
            };
            relay.wait_event(wanted, SOON).await;
        }

        let log = relay.folder().join("events.log");
        let output = Command::new(program("pflogsumm", "pflogsumm"))
            .args(["--syslog-name", "sealpost"])
            .arg(&log)
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}\n{text}");
        // Notifications come from nobody: with Postfix, too, they are delivered, but not received.
        for (number, what) in [
            (3, "received"),
            (3, "delivered"),
            (1, "deferred"),
            (1, "bounced"),
            (0, "rejected"),
        ] {
            assert_eq!(total(&report, what), Some(number), "{what}\n{report}\n{text}");
        }
    }
}

/// The number in the line `  3   delivered` of the grand totals.
fn total(report: &str, what: &str) -> Option<u64> {
    report.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let number = words.next()?.parse().ok()?;
        (words.next() == Some(what)).then_some(number)
    })
}
