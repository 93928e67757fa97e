//! The grid by which senders are audited: what goes out under an enforced policy, and without one.

use testkit::{FakeMx, StartTls};

use crate::fault::Fault;
use crate::net::{MESSAGE, Net, deferred, sent};

/// What becomes of the mail.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Encrypted,
    InClear,
    Waits(&'static str),
}
use Fate::{Encrypted, InClear, Waits};

/// What is wrong, and the mail's fate under enforce and without a policy.
const GRID: [(&str, Option<Fault>, Fate, Fate); 13] = [
    ("all is well", None, Encrypted, Encrypted),
    (
        "a policy, but no TLS",
        Some(Fault::NoStartTls),
        Waits("starttls-not-offered"),
        InClear,
    ),
    (
        "an untrusted CA",
        Some(Fault::UntrustedAuthority),
        Waits("cert-not-trusted"),
        Encrypted,
    ),
    (
        "an expired certificate",
        Some(Fault::Expired),
        Waits("cert-expired"),
        Encrypted,
    ),
    (
        "one that is not valid yet",
        Some(Fault::NotYetValid),
        Waits("cert-not-trusted"),
        Encrypted,
    ),
    (
        "the wrong name",
        Some(Fault::WrongName),
        Waits("cert-host-mismatch"),
        Encrypted,
    ),
    (
        "a self-signed one",
        Some(Fault::SelfSigned),
        Waits("cert-not-trusted"),
        Encrypted,
    ),
    (
        "STARTTLS refused",
        Some(Fault::StartTls454),
        Waits("starttls-refused"),
        InClear,
    ),
    (
        "STARTTLS answered 250",
        Some(Fault::StartTls250),
        Waits("starttls-refused"),
        InClear,
    ),
    (
        "STARTTLS injected",
        Some(Fault::Injection),
        Waits("starttls-injection"),
        Waits("starttls-injection"),
    ),
    (
        "the handshake tampered with",
        Some(Fault::Garbage),
        Waits("tls-handshake"),
        InClear,
    ),
    (
        "the handshake cut",
        Some(Fault::ResetInHandshake),
        Waits("tls-handshake"),
        InClear,
    ),
    (
        "TLS 1.0 only",
        Some(Fault::OldTls),
        Waits("tls-handshake"),
        InClear,
    ),
];

async fn start(net: &Net, fault: Option<Fault>, domain: &str) -> FakeMx {
    match fault {
        Some(fault) => fault.start(net).await,
        None => net.mx(domain, "127.0.3.1").await,
    }
}

async fn run(enforced: bool) {
    let net = Net::start().await;
    let mut peers = Vec::new();
    for (what, fault, enforce, none) in GRID {
        let domain = fault.map_or_else(|| "well.test".to_owned(), Fault::domain);
        let mx = start(&net, fault, &domain).await;
        if enforced {
            net.enforce(&domain);
        }
        peers.push((what, domain, mx, if enforced { enforce } else { none }));
    }
    // A middlebox that overwrites the keyword (row H3-02).
    let stripped = net.mx("stripped.test", "127.0.3.2").await;
    stripped.script(|s| {
        s.starttls = StartTls::Off;
        s.extensions.more.push("XXXXXXXX".to_owned());
    });
    let fate = if enforced {
        net.enforce("stripped.test");
        Waits("starttls-not-offered")
    } else {
        InClear
    };
    peers.push((
        "STARTTLS stripped",
        "stripped.test".to_owned(),
        stripped,
        fate,
    ));
    let relay = net.relay().await;
    for (what, domain, mx, fate) in &peers {
        let id = relay
            .send("a@org.test", &[&format!("b@{domain}")], MESSAGE)
            .await;
        match fate {
            Encrypted | InClear => {
                let event = sent(&relay, &id).await;
                let encrypted = event.at("/tls").is_object();
                assert_eq!(encrypted, *fate == Encrypted, "{what}: {event}");
                let message = &mx.messages()[0];
                assert_eq!(message.tls.is_some(), encrypted, "{what}");
            }
            Waits(reason) => {
                let event = deferred(&relay, &id).await;
                assert_eq!(event.text("reason"), *reason, "{what}: {event}");
                assert!(event.text("dsn").starts_with("4."), "{what}: {event}");
                if *what == "STARTTLS stripped" {
                    assert!(event.text("detail").contains("XXXXXXXX"), "{event}");
                }
                mx.assert_no_mail();
            }
        }
    }
}

testkit::net_test! {
    async fn a5_14_h3_02_h4_10_under_enforce_only_a_verified_host_gets_the_mail() {
        run(true).await;
    }

    async fn h4_09_without_a_policy_the_mail_goes_out_as_well_as_it_can() {
        run(false).await;
    }
}
