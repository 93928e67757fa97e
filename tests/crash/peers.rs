//! The mail exchangers of the world outside.

use sealpost_tests::RelayConfig;
use testkit::{Action, FakeMx, ReceivedMessage, Rule, Zone};

/// One host per kind of recipient, and the sender's own for DSNs.
pub(crate) struct Peers {
    pub(crate) zone: Zone,
    pub(crate) taken: FakeMx,
    pub(crate) later: FakeMx,
    pub(crate) refused: FakeMx,
    pub(crate) sender: FakeMx,
}

impl Peers {
    pub(crate) async fn start() -> Self {
        let zone = Zone::start().await;
        let host = async |domain: &str, ip: &str| {
            let name = format!("mx.{domain}");
            zone.mail_domain(domain, &name, ip);
            FakeMx::start(&format!("{ip}:25"), &name, None).await
        };
        let taken = host("d.test", "127.0.1.1").await;
        let later = host("later.test", "127.0.1.2").await;
        let refused = host("no.test", "127.0.1.3").await;
        let sender = host("org.test", "127.0.1.4").await;
        later.script(|s| s.greylist = true);
        refused.rule(Rule::always(
            "RCPT",
            Action::Reply("550 5.1.1 nobody here".into()),
        ));
        Self {
            zone,
            taken,
            later,
            refused,
            sender,
        }
    }

    pub(crate) fn config() -> RelayConfig {
        RelayConfig::default()
            .set("queue.minimum-free-space", "\"1MiB\"")
            .set("delivery.connections", "64")
    }

    /// Everything that arrived anywhere.
    pub(crate) fn arrived(&self) -> Vec<ReceivedMessage> {
        let hosts = [&self.taken, &self.later, &self.refused, &self.sender];
        hosts.iter().flat_map(|host| host.messages()).collect()
    }
}
