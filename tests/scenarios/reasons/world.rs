//! The faults of [`CASES`](super::CASES), made.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use sealpost_tests::{Event, Relay, RelayConfig};
use testkit::{Action, Banner, FakeMx, Login, RecordType, Rule, StartTls, TestCa, ZoneFault};

use super::cases::CASES;
use crate::dane::{EE_FULL, dane};
use crate::net::{MESSAGE, Net, SOON, ok};

/// Peers that stay as they are while it lives.
pub(super) struct World {
    folder: tempfile::TempDir,
    _peers: Vec<FakeMx>,
    /// Takes what the sender is told.
    pub(super) org: FakeMx,
}

impl World {
    /// Makes every fault that is not ours.
    pub(super) async fn build(net: &Net) -> Self {
        let mut peers = Vec::new();
        for (n, case) in CASES.iter().enumerate() {
            let (domain, ip) = (case.domain(), format!("127.0.1.{}", n + 1));
            if case.policies.contains(&"mta-sts") {
                net.enforce(&domain);
            }
            if !dns_fault(net, case.reason, &domain, &ip) {
                let mx = net.mx(&domain, &ip).await;
                tls_fault(net, case.reason, &domain, &mx);
                session_fault(case.reason, &mx);
                dane_fault(net, case.reason, &domain);
                peers.push(mx);
            }
        }
        let hop = FakeMx::start(
            "127.0.2.1:587",
            "hop.test",
            Some(&net.ca.leaf(&["hop.test"])),
        )
        .await;
        hop.script(|s| s.login = Some(Login::new("relay", "another")));
        peers.push(hop);
        let org = net.plain_mx("org.test", "127.0.3.1").await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, PASSWORD).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self {
            folder,
            _peers: peers,
            org,
        }
    }

    pub(super) fn config(&self, net: &Net) -> RelayConfig {
        let rule = |domain| format!("[[domain]]\nname = \"{domain}\"\ndane = \"require\"\n");
        let route = format!(
            "[[route]]\nrecipient-domain = \"route-auth.test\"\nrelay = \"[127.0.2.1]:587\"\n\
             tls-name = \"hop.test\"\nusername = \"relay\"\npassword-file = \"{}\"\n",
            self.folder.path().join("password").display()
        );
        net.tls_listener(dane(net.config()))
            .set("delivery.timeouts.banner", r#""500ms""#)
            .set("server.own-addresses", r#"["127.0.9.9"]"#)
            .append(&(rule("dane-required.test") + &rule("dane-unusable.test") + &route))
    }

    /// Sends a message into each fault; queue ids by reason.
    pub(super) async fn send_all(
        &self,
        net: &Net,
        relay: &Relay,
    ) -> BTreeMap<&'static str, String> {
        let mut ids = BTreeMap::new();
        for case in CASES {
            let to = case.to();
            let id = match case.reason {
                "requiretls-unsupported" | "requiretls-no-tls" => {
                    let mut client = net.tls_client().await;
                    client
                        .send_with("a@org.test", " REQUIRETLS", &[&to], "", MESSAGE)
                        .await
                }
                "extension-missing" => {
                    let mut client = relay.client().await;
                    let message = String::from_utf8_lossy(MESSAGE).replace("hello", "hellö");
                    client
                        .send_with(
                            "a@org.test",
                            " SMTPUTF8 BODY=8BITMIME",
                            &[&to],
                            "",
                            message.as_bytes(),
                        )
                        .await
                }
                "destination-suspended" => {
                    // Three failures in a row, each with an attempt of its own.
                    for n in 0..3 {
                        let to = format!("first{n}@{}", case.domain());
                        let id = relay.send("a@org.test", &[&to], MESSAGE).await;
                        settled(relay, &id).await;
                    }
                    relay.send("a@org.test", &[&to], MESSAGE).await
                }
                "local" => unreadable(relay, &to).await,
                _ => relay.send("a@org.test", &[&to], MESSAGE).await,
            };
            ids.insert(case.reason, id);
        }
        ids
    }
}

/// Faults of DNS. False if the domain has a mail exchanger all the same.
fn dns_fault(net: &Net, reason: &str, domain: &str, ip: &str) -> bool {
    let zone = &net.zone;
    let host = format!("mx.{domain}");
    match reason {
        "dns-temporary" => drop_ref(zone.fault(domain, RecordType::MX, ZoneFault::ServFail)),
        "dns-bogus" => drop_ref(
            zone.mail_domain(domain, &host, ip)
                .bogus(domain)
                .insecure(&format!("_mta-sts.{domain}")),
        ),
        "connect" | "destination-suspended" => drop_ref(zone.mail_domain(domain, &host, ip)),
        "address-refused" => drop_ref(zone.mail_domain(domain, &host, "10.1.2.3")),
        "no-such-domain" => {}
        "null-mx" => drop_ref(zone.mx(domain, 0, ".")),
        "no-usable-mx" => drop_ref(zone.mx(domain, 10, &format!("gone.{domain}"))),
        "loop" => drop_ref(zone.mail_domain(domain, &host, "127.0.9.9")),
        _ => return false,
    }
    true
}

fn tls_fault(net: &Net, reason: &str, domain: &str, mx: &FakeMx) {
    let name = format!("mx.{domain}");
    let cert = || net.ca.cert(&[&name]);
    match reason {
        "starttls-not-offered" => drop_ref(mx.script(|s| {
            s.starttls = StartTls::Off;
            s.extensions.more.push("XX\u{1b}[2J".to_owned());
        })),
        "starttls-refused" => drop_ref(mx.script(|s| {
            s.starttls = StartTls::Refuse("454 4.7.0 TLS is not available".to_owned());
        })),
        "starttls-injection" => drop_ref(mx.script(|s| {
            s.starttls = StartTls::Inject(b"250 2.0.0 injected\r\n".to_vec());
        })),
        "tls-handshake" => drop_ref(mx.script(|s| s.starttls = StartTls::Garbage)),
        "cert-expired" => drop_ref(mx.certificate(&cert().expired().issue())),
        "cert-host-mismatch" => drop_ref(mx.certificate(&net.ca.leaf(&["www.other.test", domain]))),
        "cert-not-trusted" => drop_ref(mx.certificate(&TestCa::new().leaf(&[&name]))),
        "mx-not-in-policy" => net.enforce_for(domain, &[&format!("other.{domain}")]),
        "tls-required-by-peer" => drop_ref(mx.script(|s| {
            s.starttls = StartTls::Off;
            s.tls_required = true;
        })),
        _ => {}
    }
}

fn session_fault(reason: &str, mx: &FakeMx) {
    match reason {
        "connection-lost" => drop_ref(mx.rule(Rule::always("MAIL", Action::Close))),
        "timeout" => drop_ref(mx.script(|s| s.banner = Banner::Silence)),
        // What would steer a terminal or a browser if it were shown as it is.
        "remote-4xx" => drop_ref(mx.rule(Rule::always("RCPT", Action::Reply(HOSTILE.to_owned())))),
        "remote-5xx" => drop_ref(mx.rule(Rule::always(
            "RCPT",
            Action::Reply("550 5.1.1 no such user".to_owned()),
        ))),
        "local" => drop_ref(mx.rule(Rule::once(
            "MAIL",
            Action::Reply("451 4.3.0 busy".to_owned()),
        ))),
        "extension-missing" => drop_ref(mx.script(|s| s.extensions.smtputf8 = false)),
        _ => {}
    }
}

fn dane_fault(net: &Net, reason: &str, domain: &str) {
    let (zone, host) = (&net.zone, format!("mx.{domain}"));
    let record = format!("_25._tcp.{host}");
    match reason {
        "dane-mismatch" => {
            let other = net.ca.leaf(&[&host]);
            drop_ref(
                zone.secure(domain)
                    .tlsa(&host, 25, EE_FULL, &other.chain[0]),
            );
        }
        "dane-lookup" => drop_ref(zone.secure(domain).fault(
            &record,
            RecordType::TLSA,
            ZoneFault::ServFail,
        )),
        "dane-unusable" => drop_ref(zone.secure(domain).tlsa(&host, 25, (1, 1, 1), &[7; 32])),
        "dane-required" => drop_ref(zone.secure(domain)),
        "policy-lookup" => {
            let name = format!("_mta-sts.{domain}");
            drop_ref(zone.fault(&name, RecordType::TXT, ZoneFault::ServFail));
        }
        _ => {}
    }
}

/// A message that was put off once and whose content is damaged on disk since.
async fn unreadable(relay: &Relay, to: &str) -> String {
    let mark = "X-Mark: this-will-be-damaged";
    let message = format!("{mark}\r\n{}", String::from_utf8_lossy(MESSAGE));
    let id = relay.send("a@org.test", &[to], message.as_bytes()).await;
    settled(relay, &id).await;
    let journal = relay.folder().join("data/queue/journal");
    let mut damaged = 0;
    for entry in std::fs::read_dir(&journal).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(mark.len()).position(|w| w == mark.as_bytes());
        if let Some(at) = found {
            use std::os::unix::fs::FileExt;
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(b"?", at as u64).unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1, "the content stands in one segment");
    ok(relay, &["queue", "retry", &id]).await;
    id
}

/// Waits for the first attempt at a message, in any format.
async fn settled(relay: &Relay, id: &str) {
    let wanted = |e: &Event| {
        let line = e.text("line");
        let json = e.text("queue_id") == id && e.text("event").starts_with("delivery.");
        json || (line.contains(id) && (line.contains("status=") || line.contains("delivery.")))
    };
    relay.wait_event(wanted, SOON).await;
}

/// What the next hop of the route will not take.
pub(super) const PASSWORD: &str = "correct-horse-battery";
const HOSTILE: &str = "450 4.2.1 \u{1b}[31mred\u{7}]0;title\u{7} <script>alert(1)</script>";

/// The ends of chains that a `match` has no use for.
fn drop_ref<T: ?Sized>(_: &T) {}
