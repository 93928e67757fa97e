//! A relay with mail that waits, and somebody logged in.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use sealpost_tests::{Relay, RelayConfig, eventually};
use tempfile::TempDir;
use testkit::{FakeMx, PolicyHost, TestCa, Zone};

use crate::driver::Browser;

pub(crate) struct Net {
    pub(crate) ca: Arc<TestCa>,
    pub(crate) zone: Zone,
    pub(crate) host: PolicyHost,
    folder: TempDir,
}

impl Net {
    pub(crate) async fn start() -> Self {
        let ca = Arc::new(TestCa::new());
        let host = PolicyHost::start("127.0.0.44:443", &ca).await;
        Self {
            zone: Zone::start().await,
            host,
            ca,
            folder: TempDir::with_prefix("tokens-").unwrap(),
        }
    }

    /// A relay that makes one attempt, with the login link and two tokens.
    pub(crate) async fn relay(&self) -> Relay {
        self.relay_with(|config| config).await
    }

    /// As [`Net::relay`], with more settings.
    pub(crate) async fn relay_with(&self, more: impl FnOnce(RelayConfig) -> RelayConfig) -> Relay {
        let file = self.folder.path().join("tokens");
        let lines = format!("olga:admin:{ADMIN_DIGEST}\nrita:read:{READ_DIGEST}\n");
        std::fs::write(&file, lines).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = RelayConfig::default()
            .trust(&self.ca)
            .set("queue.retry", r#"["1h"]"#)
            .set("admin.login-link", "true")
            .set(
                "admin.token-file",
                &format!("{:?}", file.display().to_string()),
            );
        Relay::start(more(config)).await
    }

    /// A domain with an enforce policy whose only host has no STARTTLS: its mail waits.
    pub(crate) async fn stubborn(&self, domain: &str, ip: &str) -> FakeMx {
        let name = format!("mx.{domain}");
        self.zone.mail_domain(domain, &name, ip);
        self.zone.mta_sts(domain, "1", "127.0.0.44");
        self.host.enforce(domain, &[&name]);
        FakeMx::start(&format!("{ip}:25"), &name, None).await
    }
}

/// Sends a message and waits until it is deferred and can be seen.
pub(crate) async fn waiting(relay: &Relay, to: &str) -> String {
    let id = relay.send("a@org.test", &[to], MESSAGE).await;
    relay.wait_for("delivery.deferred", &id, SOON).await;
    let settled = eventually(SOON, async || {
        let shown = relay.cli(&["queue", "show", &id, "--json"]).await;
        (shown.json()["state"] == "deferred").then_some(())
    });
    assert!(settled.await.is_some(), "{}", relay.story());
    id
}

/// Waits until so many messages are deferred.
pub(crate) async fn deferred(relay: &Relay, messages: u64, patience: Duration) -> bool {
    let all = eventually(patience, async || {
        let status = relay.cli(&["status", "--json"]).await.json();
        let states = status["queue_by_state"].as_array()?;
        let waiting = states.iter().find(|s| s[0] == "deferred")?[1].as_u64()?;
        (waiting >= messages).then_some(())
    });
    all.await.is_some()
}

/// The link that the relay printed at its start.
pub(crate) async fn link(relay: &mut Relay) -> String {
    let daemon = relay.daemon();
    let found = eventually(SOON, async || {
        let printed = daemon.printed();
        let at = printed.find("http://127.0.0.1:8025/#login=")?;
        let link = printed.get(at..)?.split_whitespace().next()?;
        Some(link.to_owned())
    });
    found.await.expect("a login link")
}

/// A browser that has logged in with a token.
pub(crate) async fn logged_in(token: &str) -> Browser {
    let browser = Browser::start().await;
    browser.go(PAGE).await;
    browser.type_into("#token", token).await;
    browser.click("form button[type=submit]").await;
    browser.until_says("Overview").await;
    browser
}

pub(crate) const PAGE: &str = "http://127.0.0.1:8025/";
pub(crate) const ADMIN: &str = "the-administrators-token";
pub(crate) const READER: &str = "the-readers-token";
const ADMIN_DIGEST: &str = "9cb5cddee4ca0ffb90e097b8be28465c5a43f8bafb28fc484b1f64b2aa60f909";
const READ_DIGEST: &str = "ab331257bf201d7521ad6271a0d82607ab0a3ddea1a95aeff2e874dd40782933";
pub(crate) const SOON: Duration = Duration::from_secs(20);
pub(crate) const MESSAGE: &[u8] =
    b"From: <a@org.test>\r\nMessage-ID: <1@org.test>\r\nSubject: x\r\n\r\nhello\r\n";
