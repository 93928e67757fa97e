//! DANE end to end: zones that Knot signs, validated by the relay itself, and hosts that match their
//! TLSA records or do not.

use std::fmt::Write as _;
use std::time::Duration;

use sealpost_tests::{Event, Knot, Relay, RelayConfig, Signing};
use tempfile::TempDir;
use testkit::{FakeMx, TestCa};

testkit::net_test! {
    async fn c2_01_c2_03_c2_08_c3_01_what_knot_signs_decides_whom_mail_is_given_to() {
        let ca = TestCa::new();
        let own = ca.cert(&["mx.d.test"]).self_signed().issue();
        let good = FakeMx::start("127.0.0.25:25", "mx.d.test", Some(&own)).await;
        let bad = FakeMx::start("127.0.0.26:25", "mx.bad.test", Some(&own)).await;
        let none = FakeMx::start("127.0.0.27:25", "mx.none.test", None).await;
        let unsigned = FakeMx::start("127.0.0.28:25", "mx.u.test", None).await;
        let root = format!(
            "{HEAD}ns.test. A 127.0.0.53\n\
             d.test. MX 10 mx.d.test.\nmx.d.test. A 127.0.0.25\n\
             _25._tcp.mx.d.test. TLSA 3 0 0 {}\n\
             bad.test. MX 10 mx.bad.test.\nmx.bad.test. A 127.0.0.26\n\
             _25._tcp.mx.bad.test. TLSA 3 1 1 {}\n\
             none.test. MX 10 mx.none.test.\nmx.none.test. A 127.0.0.27\n\
             u.test. NS ns.test.\n",
            hex(&own.chain[0]),
            "00".repeat(32),
        );
        let below = format!(
            "{HEAD}@ MX 10 mx\nmx A 127.0.0.28\n_25._tcp.mx TLSA 3 1 1 {}\n",
            "00".repeat(32)
        );
        let zones = [(".", root.as_str(), Signing::Nsec), ("u.test", &below, Signing::No)];
        let knot = Knot::start_signing("127.0.0.53:53".parse().unwrap(), &zones).await;
        let folder = TempDir::with_prefix("anchor-").unwrap();
        let anchor = folder.path().join("root.key");
        std::fs::write(&anchor, knot.anchor(".")).unwrap();
        let config = RelayConfig::default()
            .set("queue.retry", r#"["1h"]"#)
            .set("dns.dnssec", r#""validate""#)
            .set("dns.trust-anchors", &format!("[{anchor:?}]"));
        let relay = Relay::start(config).await;

        let event = outcome(&relay, "d.test").await;
        assert_eq!(event.at("/tls/authenticated"), "dane-ee", "{event}");
        assert_eq!(event.at("/policies/0/dane/mx_secure"), true, "{event}");
        assert_eq!(good.messages().len(), 1);
        let event = outcome(&relay, "bad.test").await;
        assert_eq!(event.text("reason"), "dane-mismatch", "{event}");
        bad.assert_no_mail();
        // A signed denial, and records in a zone that nobody vouches for: nothing is demanded.
        for (domain, mx) in [("none.test", &none), ("u.test", &unsigned)] {
            let event = outcome(&relay, domain).await;
            assert!(event.is("delivery.sent"), "{event}");
            assert_eq!(event.at("/policies"), &serde_json::json!([]), "{event}");
            assert_eq!(mx.messages().len(), 1);
        }
    }
}

async fn outcome(relay: &Relay, domain: &str) -> Event {
    let to = format!("b@{domain}");
    let id = relay.send("a@org.test", &[&to], MESSAGE).await;
    let ended = |e: &Event| e.text("queue_id") == id && e.text("event").starts_with("delivery.");
    relay.wait_event(ended, Duration::from_secs(30)).await
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").unwrap();
        text
    })
}

const HEAD: &str = "$TTL 300\n@ SOA ns.test. h.test. 1 3600 600 86400 30\n@ NS ns.test.\n";
const MESSAGE: &[u8] = b"From: a@org.test\r\nTo: b@d.test\r\nSubject: hello\r\n\
    Message-ID: <1@org.test>\r\nDate: Sun, 1 Mar 2026 00:00:00 +0000\r\n\r\nHello.\r\n";
