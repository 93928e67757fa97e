//! Tools for Postfix's log read ours: Debian's pflogsumm counts right.

use std::process::Command;
use std::time::Duration;

use attempt::{Delays, Facts, Format, Formatter, Outcome, Reason, Record};
use mail_types::{Mailbox, QueueId, ReversePath, Timestamp};
use sealpost_tests::{Relay, program};

use crate::exporters::READER;
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
            let told = relay.wait_event(wanted, SOON).await;
            let step = told.text("line").contains(" [in reply to RCPT TO command]) ");
            assert_eq!(step, status.contains("bounced"), "{told}");
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

/// Every reason, also where a point of time is told: pflogsumm adds up what people can read, exporters and
/// Grok find the fields, and none of them stumbles over what stands behind the parenthesis.
#[test]
fn tools_read_the_line_of_every_reason() {
    let work = tempfile::tempdir().unwrap();
    let (log, script) = (work.path().join("log"), work.path().join("read.py"));
    std::fs::write(&log, every_reason()).unwrap();
    std::fs::write(&script, READER).unwrap();
    let output = Command::new(program("pflogsumm", "pflogsumm"))
        .args(["--syslog-name", "postfix"])
        .arg(&log)
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let number = Reason::ALL.len() as u64;
    assert_eq!(total(&report, "deferred"), Some(number), "{report}");
    assert!(
        report.contains(&format!("({number}  deferrals)")),
        "{report}"
    );
    let sums: Vec<&str> = report.lines().filter(|l| l.contains("UTC")).collect();
    assert!(
        sums.iter()
            .any(|l| l.contains("asked us to try again later - 2026-01-02 03h04 UTC")),
        "{report}"
    );
    // Not what a colon of the time would have left of it.
    assert!(
        !report.contains("   04:05Z") && !report.contains("   05Z"),
        "{report}"
    );
    let wanted = format!(r#"{{"deferred": {number}}}"#);
    let read = Command::new(program("python3", "python3"))
        .arg(&script)
        .args([log.as_os_str(), wanted.as_ref()])
        .output()
        .unwrap();
    assert!(
        read.status.success(),
        "{}",
        String::from_utf8_lossy(&read.stdout)
    );
}

/// A message for each reason that waits for it, since a point of time that is told.
fn every_reason() -> Vec<u8> {
    let formatter = Formatter::new(Format::Postfix, "relay.test", "postfix", 7);
    let now = Timestamp::from_secs(1_772_366_400);
    let (from, to) = (ReversePath::Null, Mailbox::parse("b@d.test").unwrap());
    let mut log = Vec::new();
    for (n, reason) in (1..).zip(Reason::ALL) {
        let facts = Facts {
            domain: "d.test",
            mx: Some("m.d.test"),
            specifics: Some("2026-01-02T03:04:05Z"),
            ..Facts::default()
        };
        let (detail, advice) = (reason.sentence(&facts), reason.advice(&facts));
        let record = Record {
            at: now,
            outcome: Outcome::Deferred,
            queue_id: QueueId::from_raw(n),
            upstream_id: None,
            message_id: None,
            from: &from,
            to: &to,
            domain: "d.test",
            mx: None,
            ip: None,
            port: None,
            tried: &[],
            reason: Some(reason),
            dsn: reason.status(),
            reply: None,
            in_reply_to: None,
            detail: &detail,
            policies: &[],
            first_contact: false,
            no_policy: None,
            weakened_by: None,
            tls: None,
            attempt: 1,
            next_attempt: Some(now + Duration::from_secs(900)),
            for_sender: false,
            gives_up: None,
            delay: Duration::ZERO,
            delays: Delays::default(),
            side: None,
            advice: &advice,
        };
        formatter.write(&record, &mut log);
    }
    log
}

/// The number in the line `  3   delivered` of the grand totals.
pub(crate) fn total(report: &str, what: &str) -> Option<u64> {
    report.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let number = words.next()?.parse().ok()?;
        (words.next() == Some(what)).then_some(number)
    })
}
