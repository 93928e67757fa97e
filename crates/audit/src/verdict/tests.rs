use delivery::decide::demand::{LocalRule, RequiredTls};
use mail_types::DnsError;
use smtp_client::{CertificateFault, HandshakeFault, Reply, SignatureCheck, Stage, TlsVerdict};

use super::*;
use crate::samples::{NOW, good, host, policy, session, tls};

fn judged(facts: &Facts) -> Outcome {
    judge(facts, &Inputs::default()).1
}

/// `delivered <how>`, or the result with its reason key.
fn short(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered { protection, .. } => format!("delivered {}", protection.as_str()),
        Outcome::Deferred { reason, .. } => format!("deferred {}", reason.key()),
        Outcome::Bounced { reason, .. } => format!("bounced {}", reason.key()),
    }
}

fn with(seen: Seen, mode: Option<&str>) -> Facts {
    let mut facts = good();
    match mode {
        Some(mode) => facts.policy = Ok(policy(mode, &["mx.d.test"], 604_800)),
        None => facts.record = TxtAnswer::Records(Vec::new()),
    }
    let mut only = host("mx.d.test");
    only.addresses[0].seen = seen;
    facts.mail = mail(vec![only]);
    facts
}

fn mail(hosts: Vec<HostFacts>) -> MailHosts {
    MailHosts::Hosts {
        hosts,
        implicit: false,
        left_out: 0,
        security: mail_types::Security::Unchecked,
    }
}

fn expired() -> Seen {
    let mut session_with = tls();
    session_with.verdict = TlsVerdict::Observed {
        certificate: Err(Box::new(CertificateFailure {
            fault: CertificateFault::Expired {
                not_after: NOW,
                now: NOW,
            },
            leaf: None,
            presented: 1,
        })),
        signature: SignatureCheck::Checked,
    };
    session(Some(session_with), StartTls::Used)
}

fn failed(cause: Cause) -> Seen {
    let stage = Stage::Banner;
    Seen::Failed { stage, cause }
}

#[test]
fn each_mode_does_with_each_host_what_the_relay_does() {
    let reply = |text| Reply::parse(text).unwrap();
    let fine = session(Some(tls()), StartTls::Used);
    let plain = session(None, StartTls::NotOffered);
    let refused = session(None, StartTls::Refused(reply("454 4.7.0 no\r\n")));
    let handshake = failed(Cause::Handshake(HandshakeFault::Eof));
    let no = failed(Cause::Remote(reply("554 5.7.1 go away\r\n")));
    let slow = failed(Cause::Timeout(std::time::Duration::from_secs(300)));
    for (seen, enforce, testing, without) in [
        (
            fine,
            "delivered verified",
            "delivered encrypted",
            "delivered encrypted",
        ),
        (
            expired(),
            "deferred cert-expired",
            "delivered encrypted",
            "delivered encrypted",
        ),
        (
            plain,
            "deferred starttls-not-offered",
            "delivered plain",
            "delivered plain",
        ),
        (
            refused,
            "deferred starttls-refused",
            "delivered plain",
            "delivered plain",
        ),
        (
            handshake,
            "deferred tls-handshake",
            "delivered plain",
            "delivered plain",
        ),
        (
            no,
            "deferred remote-5xx",
            "bounced remote-5xx",
            "bounced remote-5xx",
        ),
        (
            slow,
            "deferred timeout",
            "deferred timeout",
            "deferred timeout",
        ),
        (
            Seen::NotChecked,
            "deferred timeout",
            "deferred timeout",
            "deferred timeout",
        ),
    ] {
        for (mode, want) in [
            (Some("enforce"), enforce),
            (Some("testing"), testing),
            (Some("none"), without),
            (None, without),
        ] {
            let outcome = judged(&with(seen.clone(), mode));
            assert_eq!(short(&outcome), want, "{mode:?} {seen:?}");
        }
    }
}

#[test]
fn hosts_are_walked_in_order_until_one_takes_it() {
    let mut facts = good();
    facts.policy = Ok(policy("enforce", &["*.d.test"], 604_800));
    let mut bad = host("mx1.d.test");
    bad.addresses[0].seen = expired();
    let stranger = host("mx.evil.test");
    facts.mail = mail(vec![bad.clone(), stranger.clone(), host("mx2.d.test")]);
    let (hosts, outcome) = judge(&facts, &Inputs::default());
    assert_eq!(short(&outcome), "delivered verified");
    let taken: Vec<_> = hosts
        .iter()
        .map(|h| matches!(h, HostOutcome::Takes { .. }))
        .collect();
    assert_eq!(taken, [false, false, true]);
    facts.mail = mail(vec![bad, stranger]);
    // As for the relay, a host that was asked tells before one that the policy leaves out.
    assert_eq!(short(&judged(&facts)), "deferred cert-expired");
}

#[test]
fn what_the_configuration_demands_counts_too() {
    let facts = with(expired(), None);
    let verified = Inputs {
        delivery_tls: Some(RequiredTls::Verified),
        ..Inputs::default()
    };
    assert_eq!(short(&judge(&facts, &verified).1), "deferred cert-expired");
    let require = Inputs {
        rule: LocalRule {
            require: true,
            ..LocalRule::default()
        },
        ..Inputs::default()
    };
    assert_eq!(
        short(&judge(&facts, &require).1),
        "deferred mx-not-in-policy"
    );
}

#[test]
fn what_dns_says_is_final_only_where_nothing_is_demanded() {
    let mut facts = good();
    facts.mail = MailHosts::Undeliverable {
        reason: (Reason::NoSuchDomain, Case::Usual),
        detail: "NXDOMAIN".to_owned(),
    };
    assert_eq!(short(&judged(&facts)), "deferred no-such-domain");
    facts.record = TxtAnswer::Records(Vec::new());
    assert_eq!(short(&judged(&facts)), "bounced no-such-domain");
    facts.mail = MailHosts::Unknown {
        reason: Reason::DnsTemporary,
        detail: "SERVFAIL".to_owned(),
    };
    assert_eq!(short(&judged(&facts)), "deferred dns-temporary");
}

#[test]
fn amb_01_mail_waits_while_nobody_knows_whether_there_is_a_policy() {
    let mut facts = good();
    facts.record = TxtAnswer::Failed(DnsError::Temporary("SERVFAIL".to_owned()));
    assert_eq!(short(&judged(&facts)), "deferred policy-lookup");
}

#[test]
fn a_policy_that_cannot_be_had_protects_nothing() {
    let mut facts = with(session(None, StartTls::NotOffered), Some("enforce"));
    facts.policy = Err(policy_cache::FetchError::Oversize);
    assert_eq!(short(&judged(&facts)), "delivered plain");
}

#[test]
fn a_report_is_good_if_mail_arrives_and_nothing_is_broken() {
    use crate::Report;
    let inputs = Inputs::default();
    assert!(Report::of(&good(), &inputs).is_good());
    assert!(!Report::of(&with(expired(), Some("enforce")), &inputs).is_good());
    // Testing delivers, and the certificate is broken all the same.
    assert!(!Report::of(&with(expired(), Some("testing")), &inputs).is_good());
    assert!(Report::of(&with(expired(), None), &inputs).is_good());
    let json = serde_json::to_value(Report::of(&good(), &inputs).view()).unwrap();
    for pointer in [
        "/domain",
        "/ok",
        "/verdict/result",
        "/policy/mode",
        "/mx/0/name",
        "/mx/0/verdict/tls",
        "/mx/0/addresses/0/certificate_valid",
        "/findings/0/key",
        "/dnssec",
    ] {
        assert!(
            json.pointer(pointer).is_some_and(|v| !v.is_null()),
            "{pointer}: {json}"
        );
    }
}

#[test]
fn a_domain_with_neither_mx_nor_address_is_told_as_that() {
    let mut facts = good();
    facts.record = TxtAnswer::Records(Vec::new());
    let mut only = host("d.test");
    only.addresses.clear();
    only.candidate.addresses = Err(delivery::decide::hosts::Unreachable {
        reason: Reason::NoUsableMx,
        detail: "x".to_owned(),
        definite: true,
    });
    facts.mail = MailHosts::Hosts {
        hosts: vec![only],
        implicit: true,
        left_out: 0,
        security: mail_types::Security::Unchecked,
    };
    let said = judged(&facts).view();
    assert_eq!(said.result, "bounced");
    assert!(
        said.detail.contains("neither an MX record nor an address"),
        "{said:?}"
    );
}
