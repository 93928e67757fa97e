//! Six recipient domains, each with a mail server of its own.

use std::sync::Arc;

use sealpost_tests::RelayConfig;
use testkit::{FakeMx, Leaf, PolicyHost, TestCa, Zone};

/// A recipient domain and what shall become of its mail.
pub(crate) struct Site {
    pub(crate) domain: &'static str,
    /// What the domain publishes and what its server does, in a few words.
    pub(crate) about: &'static str,
    pub(crate) expected: Expected,
    policy: Option<Policy>,
    server: MailServer,
}

/// How the attempt shall end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Over TLS with a certificate that was verified.
    SentVerified,
    /// By whatever the server offers.
    Sent,
    /// Not sent, for this reason.
    Deferred(&'static str),
}

#[derive(Clone, Copy)]
enum Policy {
    Enforce { lists: &'static str },
    Testing,
}

#[derive(Clone, Copy)]
enum MailServer {
    Good,
    Expired,
    Plain,
}

impl Site {
    /// Whether its policy is in mode testing.
    pub(crate) fn is_tested(&self) -> bool {
        matches!(self.policy, Some(Policy::Testing))
    }
}

/// The running servers.
pub(crate) struct Internet {
    ca: Arc<TestCa>,
    _zone: Zone,
    _policies: PolicyHost,
    servers: Vec<FakeMx>,
}

impl Internet {
    /// Starts name server, policy host and six mail servers on loopback.
    pub(crate) async fn start() -> Self {
        let ca = Arc::new(TestCa::new());
        let zone = Zone::start().await;
        let policies = PolicyHost::start(POLICY_HOST, &ca).await;
        let mut servers = Vec::new();
        for (n, site) in SITES.iter().enumerate() {
            let host = format!("mx.{}", site.domain);
            let address = format!("127.0.1.{}", n + 1);
            zone.mail_domain(site.domain, &host, &address);
            if let Some(policy) = site.policy {
                zone.mta_sts(site.domain, "20260301", "127.0.0.80");
                match policy {
                    Policy::Enforce { lists } => policies.enforce(site.domain, &[lists]),
                    Policy::Testing => policies.testing(site.domain, &[&host]),
                };
            }
            let leaf: Option<Leaf> = match site.server {
                MailServer::Good => Some(ca.leaf(&[&host])),
                MailServer::Expired => Some(ca.cert(&[&host]).expired().issue()),
                MailServer::Plain => None,
            };
            servers.push(FakeMx::start(&format!("{address}:25"), &host, leaf.as_ref()).await);
        }
        Self {
            ca,
            _zone: zone,
            _policies: policies,
            servers,
        }
    }

    /// A relay that lives in this internet, and otherwise does as by default.
    pub(crate) fn relay(&self) -> RelayConfig {
        RelayConfig::default()
            .trust(&self.ca)
            .set("queue.retry", r#"["5m", "15m", "30m", "1h", "2h", "4h"]"#)
    }

    /// How many messages the server of the `n`-th site has taken.
    pub(crate) fn taken(&self, n: usize) -> usize {
        self.servers.get(n).map_or(0, |mx| mx.messages().len())
    }
}

/// In the order of the story.
pub(crate) const SITES: [Site; 6] = [
    Site {
        domain: "enforce-good.test",
        about: "enforces a policy; its server does what the policy promises",
        expected: Expected::SentVerified,
        policy: Some(Policy::Enforce {
            lists: "mx.enforce-good.test",
        }),
        server: MailServer::Good,
    },
    Site {
        domain: "enforce-expired.test",
        about: "enforces a policy; its server's certificate has expired",
        expected: Expected::Deferred("cert-expired"),
        policy: Some(Policy::Enforce {
            lists: "mx.enforce-expired.test",
        }),
        server: MailServer::Expired,
    },
    Site {
        domain: "enforce-plain.test",
        about: "enforces a policy; its server does not offer STARTTLS",
        expected: Expected::Deferred("starttls-not-offered"),
        policy: Some(Policy::Enforce {
            lists: "mx.enforce-plain.test",
        }),
        server: MailServer::Plain,
    },
    Site {
        domain: "enforce-unlisted.test",
        about: "enforces a policy; DNS names a server that the policy does not list",
        expected: Expected::Deferred("mx-not-in-policy"),
        policy: Some(Policy::Enforce {
            lists: "mail.enforce-unlisted.test",
        }),
        server: MailServer::Good,
    },
    Site {
        domain: "testing-expired.test",
        about: "only tests a policy; its server's certificate has expired",
        expected: Expected::Sent,
        policy: Some(Policy::Testing),
        server: MailServer::Expired,
    },
    Site {
        domain: "no-policy.test",
        about: "has no policy; its server does not offer STARTTLS",
        expected: Expected::Sent,
        policy: None,
        server: MailServer::Plain,
    },
];

const POLICY_HOST: &str = "127.0.0.80:443";
