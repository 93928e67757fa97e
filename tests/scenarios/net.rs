//! The small internet that the scenarios share: an authority, a zone, a policy host.

use std::sync::Arc;
use std::time::Duration;

use sealpost_tests::{CliOutput, Event, Relay, RelayConfig, SmtpClient};
use testkit::{FakeMx, Leaf, PolicyHost, TestCa, Zone};

/// The authority, the zone and the policy host.
pub(crate) struct Net {
    pub(crate) ca: Arc<TestCa>,
    pub(crate) zone: Zone,
    pub(crate) host: PolicyHost,
}

impl Net {
    pub(crate) async fn start() -> Self {
        let ca = Arc::new(TestCa::new());
        let host = PolicyHost::start(&format!("{POLICY_HOST}:443"), &ca).await;
        Self {
            zone: Zone::start().await,
            host,
            ca,
        }
    }

    /// A relay's configuration that makes no attempt by itself after the first one.
    pub(crate) fn config(&self) -> RelayConfig {
        RelayConfig::default()
            .trust(&self.ca)
            .set("queue.retry", r#"["1h"]"#)
    }

    /// A listener with STARTTLS at [`TLS_LISTENER`] besides the usual one.
    pub(crate) fn tls_listener(&self, config: RelayConfig) -> RelayConfig {
        let leaf = self.ca.leaf(&["relay.test"]);
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&leaf.key_path, private).unwrap();
        config.append(&format!(
            "[[listener]]\nname = \"tls\"\naddress = [\"{TLS_LISTENER}\"]\nrole = \"relay\"\n\
             tls = \"optional\"\ncertificate = \"{}\"\nprivate-key = \"{}\"\n",
            leaf.cert_path.display(),
            leaf.key_path.display(),
        ))
    }

    /// A client inside TLS at [`TLS_LISTENER`], after EHLO.
    pub(crate) async fn tls_client(&self) -> SmtpClient {
        let mut client = SmtpClient::connect(TLS_LISTENER.parse().unwrap()).await;
        client.ehlo("client.test").await;
        client.starttls(&self.ca, "relay.test").await;
        client.ehlo("client.test").await;
        client
    }

    /// A relay with [`Net::config`].
    pub(crate) async fn relay(&self) -> Relay {
        Relay::start(self.config()).await
    }

    /// A mail exchanger `mx.DOMAIN`, the only one of the domain, with a good certificate.
    pub(crate) async fn mx(&self, domain: &str, ip: &str) -> FakeMx {
        let name = format!("mx.{domain}");
        self.zone.mail_domain(domain, &name, ip);
        self.peer(&name, ip).await
    }

    /// A mail exchanger that DNS does not know of, with a good certificate.
    pub(crate) async fn peer(&self, name: &str, ip: &str) -> FakeMx {
        FakeMx::start(&format!("{ip}:25"), name, Some(&self.ca.leaf(&[name]))).await
    }

    /// A mail exchanger `mx.DOMAIN`, the only one of the domain, without STARTTLS.
    pub(crate) async fn plain_mx(&self, domain: &str, ip: &str) -> FakeMx {
        let name = format!("mx.{domain}");
        self.zone.mail_domain(domain, &name, ip);
        FakeMx::start(&format!("{ip}:25"), &name, None).await
    }

    /// The domain publishes an enforce policy for `mx.DOMAIN`, with the id 1.
    pub(crate) fn enforce(&self, domain: &str) {
        self.enforce_for(domain, &[&format!("mx.{domain}")]);
    }

    /// The domain publishes an enforce policy with these patterns, with the id 1.
    pub(crate) fn enforce_for(&self, domain: &str, patterns: &[&str]) {
        self.zone.mta_sts(domain, "1", POLICY_HOST);
        self.host.enforce(domain, patterns);
    }

    /// The domain publishes a testing policy for `mx.DOMAIN`, with the id 1.
    pub(crate) fn testing(&self, domain: &str) {
        self.zone.mta_sts(domain, "1", POLICY_HOST);
        self.host.testing(domain, &[&format!("mx.{domain}")]);
    }

    /// A certificate for this name that has expired.
    pub(crate) fn expired(&self, name: &str) -> Leaf {
        self.ca.cert(&[name]).expired().issue()
    }
}

/// Runs `sealpost ARGS`, which must succeed.
pub(crate) async fn ok(relay: &Relay, args: &[&str]) -> CliOutput {
    let output = relay.cli(args).await;
    assert_eq!(output.code, Some(0), "{args:?}: {output:?}");
    output
}

/// Waits for the message's delivery; a deferral or bounce fails the test at once.
pub(crate) async fn sent(relay: &Relay, id: &str) -> Event {
    outcome(relay, id, "delivery.sent").await
}

/// Waits for the message's deferral; a delivery or bounce fails the test at once.
pub(crate) async fn deferred(relay: &Relay, id: &str) -> Event {
    outcome(relay, id, "delivery.deferred").await
}

/// Waits for the message's bounce; a delivery or deferral fails the test at once.
pub(crate) async fn bounced(relay: &Relay, id: &str) -> Event {
    outcome(relay, id, "delivery.bounced").await
}

async fn outcome(relay: &Relay, id: &str, wanted: &str) -> Event {
    let any = |e: &Event| e.text("event").starts_with("delivery.") && e.text("queue_id") == id;
    let event = relay.wait_event(any, SOON).await;
    assert!(event.is(wanted), "not {wanted}: {event}");
    event
}

/// The events of one kind about one message, in order.
pub(crate) fn events_of(relay: &Relay, kind: &str, id: &str) -> Vec<Event> {
    let mut events = relay.events();
    events.retain(|e| e.is(kind) && e.text("queue_id") == id);
    events
}

/// Waits for the event of one recipient of a message, by its kind.
pub(crate) async fn of_recipient(relay: &Relay, kind: &str, id: &str, to: &str) -> Event {
    let wanted = |e: &Event| e.is(kind) && e.text("queue_id") == id && e.text("to") == to;
    relay.wait_event(wanted, SOON).await
}

/// Seconds since 1970 of the UTC time at a JSON pointer.
pub(crate) fn time(event: &Event, pointer: &str) -> i64 {
    let text = event.at(pointer).as_str().unwrap_or_default();
    let digits = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let parse = || {
        let date = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
        let time = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
        text.ends_with('Z').then_some((date, time))
    };
    let Some(((y, m, d), (hour, minute, second))) = parse() else {
        panic!("no time at {pointer}: {event}");
    };
    // Years that begin in March have their leap day at the end.
    let (y, m) = if m > 2 { (y, m - 3) } else { (y - 1, m + 9) };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + d - 1 - 719_468;
    ((days * 24 + hour) * 60 + minute) * 60 + second
}

/// Where the policy host listens.
pub(crate) const POLICY_HOST: &str = "127.0.0.80";
/// Where [`Net::tls_listener`] listens.
pub(crate) const TLS_LISTENER: &str = "127.0.0.1:2587";
/// For what takes a moment.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// An ordinary message.
pub(crate) const MESSAGE: &[u8] = b"From: a@org.test\r\nTo: b@d.test\r\nSubject: hello\r\n\
    Message-ID: <1@org.test>\r\nDate: Sun, 1 Mar 2026 00:00:00 +0000\r\n\r\nHello.\r\n";
