//! The recipient's side of the tests: `d.test` with its names at Knot, its policy at nginx, and its
//! mailboxes at a Postfix with STARTTLS.

use sealpost_tests::{Knot, Nginx, NginxSite, Postfix, PostfixSetup, RelayConfig};
use testkit::{TestCa, policy_text};

/// The servers of `d.test`, but for its MX.
pub(crate) struct Recipient {
    /// The authority that everybody trusts here.
    pub(crate) ca: TestCa,
    /// The policy host, if there is a policy.
    pub(crate) nginx: Option<Nginx>,
    _knot: Knot,
}

impl Recipient {
    /// `d.test` has a policy of this mode that lists these MX hosts.
    pub(crate) async fn with_policy(mode: &str, mx: &[&str]) -> Self {
        Self::of(TestCa::new(), mode, mx).await
    }

    /// As [`Recipient::with_policy`], with an authority that the relay already knows.
    pub(crate) async fn of(ca: TestCa, mode: &str, mx: &[&str]) -> Self {
        let site = site(&ca, mode, mx);
        let nginx = Nginx::start("127.0.0.80:443".parse().unwrap(), &[site]).await;
        Self {
            ca,
            nginx: Some(nginx),
            _knot: knot(&format!("{ZONE}{POLICY_RECORDS}")).await,
        }
    }

    /// `d.test` has no policy.
    pub(crate) async fn without_policy() -> Self {
        Self {
            ca: TestCa::new(),
            nginx: None,
            _knot: knot(ZONE).await,
        }
    }

    /// Publishes another policy in the place of the first.
    pub(crate) async fn publish(&mut self, mode: &str, mx: &[&str]) {
        let site = site(&self.ca, mode, mx);
        self.nginx.as_mut().unwrap().replace(site).await;
    }

    /// A relay that knows these servers and believes the front's XFORWARD.
    pub(crate) fn relay(&self) -> RelayConfig {
        Self::config(&self.ca)
    }

    /// As [`Recipient::relay`], for servers that are not there yet.
    pub(crate) fn config(ca: &TestCa) -> RelayConfig {
        RelayConfig::default()
            .trust(ca)
            .set("access.xforward-hosts", r#"["127.0.0.1"]"#)
    }

    /// The MX, with STARTTLS and a certificate for its name.
    pub(crate) fn mx(&self) -> PostfixSetup {
        self.mx_as("mx.d.test")
    }

    /// The MX, with a certificate for some name.
    pub(crate) fn mx_as(&self, certificate: &str) -> PostfixSetup {
        let leaf = self.ca.leaf(&[certificate]);
        PostfixSetup::mx(MX.parse().unwrap(), "mx.d.test", &["d.test"], &leaf)
    }

    /// The MX without STARTTLS.
    pub(crate) fn mx_without_tls(&self) -> PostfixSetup {
        self.mx().set("smtpd_tls_security_level", "none")
    }
}

/// Names of `d.test` and of nobody else, at 127.0.0.53.
pub(crate) async fn knot(zone: &str) -> Knot {
    Knot::start("127.0.0.53:53".parse().unwrap(), &[("d.test", zone)]).await
}

/// The organisation's own Postfix, which gives everything to the relay.
pub(crate) async fn front() -> Postfix {
    front_setup("mail.org.test").start().await
}

/// As [`front`], to be changed before it starts.
pub(crate) fn front_setup(hostname: &str) -> PostfixSetup {
    PostfixSetup::front(
        "127.0.0.1:25".parse().unwrap(),
        hostname,
        "[127.0.0.1]:2525",
    )
}

/// A message from `a@org.test` with a subject of its own.
pub(crate) fn message(subject: &str) -> Vec<u8> {
    format!(
        "From: a@org.test\r\nTo: b@d.test\r\nSubject: {subject}\r\n\
         Message-ID: <{subject}@org.test>\r\nDate: Sun, 1 Mar 2026 00:00:00 +0000\r\n\r\n\
         .one\r\n.\r\nend\r\n"
    )
    .into_bytes()
}

fn site(ca: &TestCa, mode: &str, mx: &[&str]) -> NginxSite {
    let leaf = ca.leaf(&["mta-sts.d.test"]);
    NginxSite::new("d.test", &policy_text(mode, mx, 86400), &leaf)
}

/// Names that every test needs.
pub(crate) const ZONE: &str = "\
$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 30
@ NS ns
ns A 127.0.0.53
@ MX 10 mx
mx A 127.0.0.25
";

const POLICY_RECORDS: &str = "\
_mta-sts TXT \"v=STSv1; id=1;\"
mta-sts A 127.0.0.80
";

const MX: &str = "127.0.0.25:25";
