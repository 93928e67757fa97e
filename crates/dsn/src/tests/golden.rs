//! A notification of each kind, kept as files for people to read and for a diff to show.
//! `UPDATE=1 cargo test -p dsn` writes them anew.

use super::rows::{Case, NOW, reported};
use crate::fixtures::{ARRIVED, recipient};
use crate::{Action, Diagnostic, Host, Policy, RecipientReport, ReturnPath, Story};

#[expect(
    clippy::disallowed_methods,
    reason = "a test that keeps files equal to what the code makes"
)]
fn compare(name: &str, message: &[u8]) {
    let path = format!("{}/src/tests/golden/{name}.eml", env!("CARGO_MANIFEST_DIR"));
    let text = String::from_utf8(message.to_vec())
        .unwrap()
        .replace("\r\n", "\n");
    if std::env::var("UPDATE").is_ok() {
        std::fs::write(&path, &text).unwrap();
    }
    let have = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        have == text,
        "{name}.eml differs; after a look at it: UPDATE=1 cargo test -p dsn\n{text}"
    );
}

#[test]
fn failed() {
    let r = recipient("bob@d.test");
    let built = Case::default().build(&[RecipientReport {
        diagnostic: Some(Diagnostic::Smtp(
            "550-5.1.1 The email account that you tried to reach does not exist. Please try\r\n\
             550 5.1.1 double-checking the recipient's email address.",
        )),
        ..reported(&r, Action::Failed)
    }]);
    compare("failed", &built.message);
}

/// An MTA-STS failure until expiry, and as a delay warning.
#[test]
fn expired_and_delayed_by_policy() {
    let r = recipient("bob@d.test");
    let hosts = [
        Host {
            name: "mx1.d.test",
            ip: Some("192.0.2.1".parse().unwrap()),
            failure: "The certificate of mx1.d.test has expired: not valid after 2026-02-03.",
        },
        Host {
            name: "mx2.d.test",
            ip: Some("2001:db8::2".parse().unwrap()),
            failure: "No connection could be made to mx2.d.test: connection refused.",
        },
    ];
    let policies = [Policy {
        source: "MTA-STS",
        mode: "enforce",
        id: Some("20260101T000000"),
        published_at: "https://mta-sts.d.test/.well-known/mta-sts.txt",
        fetched_at: Some(ARRIVED),
        expires_at: Some(NOW),
    }];
    for (name, action) in [("expired", Action::Expired), ("delayed", Action::Delayed)] {
        let built = Case::default().build(&[RecipientReport {
            status: "4.7.5".parse().unwrap(),
            remote_mta: None,
            diagnostic: Some(Diagnostic::Local(
                "The certificate of mx1.d.test has expired: not valid after 2026-02-03.",
            )),
            summary: "The certificate of mx1.d.test has expired: not valid after 2026-02-03.",
            story: Some(Story {
                domain: "d.test",
                policies: &policies,
                hosts: &hosts,
                advice: "The administrator of d.test should renew the certificate of mx1.d.test and \
                         reload the mail server.",
            }),
            ..reported(&r, action)
        }]);
        compare(name, &built.message);
    }
}

#[test]
fn relayed() {
    let r = recipient("bob@d.test");
    let built = Case::default().build(&[RecipientReport {
        status: "2.0.0".parse().unwrap(),
        diagnostic: Some(Diagnostic::Smtp("250 2.0.0 Ok: queued as 4XyZ12")),
        summary: "",
        ..reported(&r, Action::Relayed)
    }]);
    compare("relayed", &built.message);
}

#[test]
fn utf8() {
    let r = recipient("jürgen@bücher.test");
    for (name, return_path) in [
        ("utf8-to-ascii", ReturnPath::SevenBit),
        ("utf8", ReturnPath::Utf8),
    ] {
        let case = Case {
            return_path,
            ..Case::default()
        };
        compare(name, &case.build(&[reported(&r, Action::Failed)]).message);
    }
}
