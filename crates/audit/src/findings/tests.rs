use std::collections::HashSet;
use std::io::ErrorKind;
use std::time::Duration;

use attempt::Reason;
use mail_types::{AddressClass, DnsError};
use mta_sts::Policy;
use policy_cache::{FetchError, PkixError, Stage as FetchStage, Untrusted};
use smtp_client::{
    Cause, CertificateFailure, CertificateFault, HandshakeFault, Reply, SocketFault, Stage,
    StartTls,
};

use super::of;
use crate::facts::{Facts, KnownPolicy, MailHosts, Seen, TxtAnswer};
use crate::finding::Severity;
use crate::samples::{NOW, good, host, ip, policy, session, tls};
use crate::table::Kind;

mod ours;

pub(super) type Change = Box<dyn Fn(&mut Facts)>;

/// Every row of the table, and what makes it apply to a domain that was good.
fn rows() -> Vec<(Kind, Change)> {
    let mut rows = Vec::new();
    rows.extend(record_rows());
    rows.extend(fetch_rows());
    rows.extend(policy_rows());
    rows.extend(mx_rows());
    rows.extend(host_rows());
    rows.extend(super::dnssec::tests::rows());
    rows.extend(reporting_rows());
    rows.extend(ours::rows());
    rows
}

#[test]
fn every_row_applies_to_its_facts_and_to_no_good_domain() {
    let mut seen = HashSet::new();
    let whole: Vec<Kind> = of(&good()).iter().map(|f| f.kind).collect();
    for (kind, change) in rows() {
        let mut facts = good();
        change(&mut facts);
        let found = of(&facts);
        let finding = found.iter().find(|f| f.kind == kind);
        let finding = finding.unwrap_or_else(|| panic!("{kind:?} is missing: {found:#?}"));
        let text = format!("{} {:?}", finding.text, finding.remedy);
        assert!(!text.contains(['{', '}']), "{kind:?}: {text}");
        assert!(!text.chars().any(char::is_control), "{kind:?}: {text}");
        if finding.severity > Severity::Note {
            assert!(finding.remedy.is_some(), "{kind:?}");
            assert!(!whole.contains(&kind), "{kind:?} of a good domain");
        }
        seen.insert(kind);
    }
    for kind in Kind::ALL {
        assert!(seen.contains(kind), "{kind:?} has no test");
    }
}

#[test]
fn a_good_domain_has_nothing_worse_than_a_note() {
    let found = of(&good());
    assert!(
        found.iter().all(|f| f.severity <= Severity::Note),
        "{found:#?}"
    );
}

#[test]
fn without_a_policy_bad_tls_is_a_warning_and_an_unreachable_host_an_error() {
    let mut facts = good();
    facts.record = TxtAnswer::Records(Vec::new());
    for (seen, want) in [
        (session(None, StartTls::NotOffered), Severity::Warning),
        (
            session(Some(bad(CertificateFault::SelfSigned)), StartTls::Used),
            Severity::Warning,
        ),
        (
            failed(Cause::Handshake(HandshakeFault::Eof)),
            Severity::Warning,
        ),
        (slow(), Severity::Error),
    ] {
        first(&mut facts, seen);
        let worst = of(&facts).into_iter().filter(|f| f.host.is_some());
        assert_eq!(worst.map(|f| f.severity).max(), Some(want));
    }
}

#[test]
fn addresses_that_differ_are_told_apart_and_equal_words_are_said_once() {
    let mut facts = good();
    let MailHosts::Hosts { hosts, .. } = &mut facts.mail else {
        panic!("hosts")
    };
    let mut other = hosts[0].addresses[0].clone();
    other.address = ip("192.0.2.2");
    other.seen = slow();
    hosts[0].addresses.push(other.clone());
    hosts[0].addresses.push(other);
    let found = of(&facts);
    let timeouts: Vec<_> = found
        .iter()
        .filter(|f| f.kind == Kind::HostTimeout)
        .collect();
    assert_eq!(timeouts.len(), 1, "{found:#?}");
    assert!(timeouts[0].text.ends_with("at 192.0.2.2"), "{timeouts:?}");
}

#[test]
fn patterns_are_explained_by_the_host_that_was_meant() {
    for (pattern, mx, kind) in [
        ("*.d.test", "a.b.d.test", Kind::PatternTwoLabels),
        ("*.d.test", "d.test", Kind::PatternApex),
        ("nmx.d.test", "mx.d.test", Kind::PatternTypo),
        ("mx.d.tset", "mx.d.test", Kind::PatternTypo),
        ("mail.other.test", "mx.d.test", Kind::PatternUnused),
    ] {
        let mut facts = good();
        facts.policy = Ok(policy("enforce", &[pattern], 604_800));
        facts.mail = hosts(vec![host(mx)]);
        let found = of(&facts);
        assert!(
            found.iter().any(|f| f.kind == kind),
            "{pattern} {mx}: {found:#?}"
        );
        assert!(
            found.iter().any(|f| f.kind == Kind::HostNotListed),
            "{pattern} {mx}"
        );
    }
    // A pattern for a host of tomorrow is no slip while every host of today is listed.
    let mut facts = good();
    facts.policy = Ok(policy("enforce", &["mx.d.test", "mx2.d.test"], 604_800));
    let found = of(&facts);
    assert!(
        found.iter().any(|f| f.kind == Kind::PatternUnused),
        "{found:#?}"
    );
    assert!(
        found.iter().all(|f| f.kind != Kind::PatternTypo),
        "{found:#?}"
    );
}

#[test]
fn only_an_old_date_says_that_testing_lasts() {
    // It is the first of March 2026.
    for (id, long) in [
        ("20240105T010203", true),
        ("20250201", true),
        ("20250320", false),
        ("20260101000000Z", false),
        ("20991231", false),
        ("19990101", false),
        ("20241301", false),
        ("17000000", false),
        ("1", false),
        ("a20240101", false),
    ] {
        let mut facts = good();
        facts.record = TxtAnswer::Records(vec![format!("v=STSv1; id={id};").into_bytes()]);
        facts.policy = Ok(policy("testing", &["mx.d.test"], 604_800));
        let found = of(&facts).iter().any(|f| f.kind == Kind::PolicyTestingLong);
        assert_eq!(found, long, "{id}");
        facts.policy = Ok(policy("enforce", &["mx.d.test"], 604_800));
        assert!(
            of(&facts).iter().all(|f| f.kind != Kind::PolicyTestingLong),
            "{id}"
        );
    }
}

#[test]
fn an_id_that_was_changed_or_a_policy_that_was_not_is_no_finding() {
    let served = good().policy.unwrap().policy.text().to_owned();
    for (id, text) in [
        ("0", "version: STSv1\nmode: none\nmax_age: 1\n"),
        ("1", &served),
    ] {
        let mut facts = good();
        facts.known = Some(known(id, text));
        assert!(
            of(&facts).iter().all(|f| f.kind != Kind::RecordIdKept),
            "{id}"
        );
    }
}

fn known(id: &str, text: &str) -> KnownPolicy {
    KnownPolicy {
        id: id.to_owned(),
        text: text.to_owned(),
        fetched: "2026-02-01T00:00:00Z".to_owned(),
    }
}

pub(super) fn row(kind: Kind, change: impl Fn(&mut Facts) + 'static) -> (Kind, Change) {
    (kind, Box::new(change))
}

fn record_rows() -> Vec<(Kind, Change)> {
    let records = |kind, texts: &'static [&'static str]| {
        row(kind, move |f| {
            f.record = TxtAnswer::Records(texts.iter().map(|t| t.as_bytes().to_vec()).collect());
        })
    };
    vec![
        row(Kind::RecordFound, |_| {}),
        records(Kind::RecordAbsent, &[]),
        records(Kind::RecordAbsent, &["v=spf1 -all"]),
        records(Kind::RecordSeveral, &["v=STSv1; id=1;", "v=STSv1; id=2;"]),
        records(Kind::RecordInvalid, &["v=STSv1;"]),
        records(Kind::RecordInvalid, &["v=STSv1; id=2026-03-01;"]),
        records(Kind::RecordInvalid, &["v=STSv1; id = 1;"]),
        records(Kind::RecordNearMiss, &["v=stsv1; id=1;"]),
        records(Kind::RecordNearMiss, &["v=STSv1 id=1"]),
        records(Kind::RecordNearMiss, &["\"v=STSv1; id=1;\""]),
        row(Kind::RecordIdKept, |f| {
            f.known = Some(known("1", "version: STSv1\nmode: none\nmax_age: 1\n"));
        }),
        row(Kind::RecordLookup, |f| {
            f.record = TxtAnswer::Failed(servfail())
        }),
        row(Kind::RecordNameTooLong, |f| {
            f.record = TxtAnswer::NameTooLong
        }),
        records(Kind::PolicyWithoutRecord, &[]),
        row(Kind::PolicyDoubtful, |f| {
            f.record = TxtAnswer::Failed(servfail())
        }),
    ]
}

fn fetch_rows() -> Vec<(Kind, Change)> {
    let text = || "x".to_owned();
    let address = FetchError::RefusedAddress {
        address: ip("127.0.0.1"),
        class: AddressClass::Loopback,
    };
    let status = |status, location: Option<&str>| FetchError::Status {
        status,
        location: location.map(str::to_owned),
    };
    let timeout = FetchError::Timeout {
        stage: FetchStage::Body,
        bytes: 7,
    };
    let name = PkixError::Name {
        expected: "mta-sts.d.test".to_owned(),
        presented: vec!["www.d.test".to_owned()],
    };
    let (not_after, not_before, now) = (NOW, NOW, NOW);
    let pkix = FetchError::Certificate;
    let invalid = Policy::parse(b"version: STSv1\nmode: enforced\n").unwrap_err();
    [
        (Kind::PolicyNoAddress, FetchError::Dns(no_name())),
        (Kind::PolicyDns, FetchError::Dns(servfail())),
        (Kind::PolicySpecialUse, address),
        (Kind::PolicyConnect, FetchError::Connect(text())),
        (
            Kind::PolicyCertExpired,
            pkix(PkixError::Expired { not_after, now }),
        ),
        (
            Kind::PolicyCertEarly,
            pkix(PkixError::NotYetValid { not_before, now }),
        ),
        (Kind::PolicyCertName, pkix(name)),
        (
            Kind::PolicyCertUntrusted,
            pkix(PkixError::UnknownIssuer(Untrusted::SelfSigned)),
        ),
        (Kind::PolicyCertOther, pkix(PkixError::Revoked)),
        (Kind::PolicyTls, FetchError::Tls(text())),
        (Kind::PolicyTls, FetchError::TlsVersion(text())),
        (Kind::PolicyTimeout, timeout),
        (
            Kind::PolicyRedirect,
            status(301, Some("https://www.d.test/")),
        ),
        (Kind::PolicyNotFound, status(404, None)),
        (Kind::PolicyRefused, status(403, None)),
        (Kind::PolicyRefused, status(429, None)),
        (Kind::PolicyServerError, status(502, None)),
        (Kind::PolicyStatus, status(204, None)),
        (
            Kind::PolicyMediaType,
            FetchError::MediaType(Some("text/html".to_owned())),
        ),
        (
            Kind::PolicyEncoding,
            FetchError::ContentEncoding("gzip".to_owned()),
        ),
        (Kind::PolicyOversize, FetchError::Oversize),
        (
            Kind::PolicyIncomplete,
            FetchError::BodyIncomplete { bytes: 7 },
        ),
        (Kind::PolicyBadHttp, FetchError::BadHttp(text())),
        (Kind::PolicyInvalid, FetchError::Policy(invalid)),
        (Kind::PolicyLocal, FetchError::Local(text())),
    ]
    .into_iter()
    .map(|(kind, error)| row(kind, move |f| f.policy = Err(error.clone())))
    .collect()
}

fn policy_rows() -> Vec<(Kind, Change)> {
    let mode = |kind, mode: &'static str, max_age| {
        row(kind, move |f| {
            f.policy = Ok(policy(mode, &["mx.d.test"], max_age))
        })
    };
    let patterns = |kind, patterns: &'static [&'static str]| {
        row(kind, move |f| {
            f.policy = Ok(policy("enforce", patterns, 604_800))
        })
    };
    let text = |kind, text: &'static str| {
        row(kind, move |f| {
            f.policy = Ok(Policy::parse(text.as_bytes()).unwrap())
        })
    };
    vec![
        mode(Kind::PolicyEnforce, "enforce", 604_800),
        mode(Kind::PolicyTesting, "testing", 604_800),
        row(Kind::PolicyTestingLong, |f| {
            f.record = TxtAnswer::Records(vec![b"v=STSv1; id=20240105T010203;".to_vec()]);
            f.policy = Ok(policy("testing", &["mx.d.test"], 604_800));
        }),
        mode(Kind::PolicyNone, "none", 604_800),
        mode(Kind::MaxAgeShort, "enforce", 86_399),
        mode(Kind::MaxAgeShort, "testing", 0),
        mode(Kind::MaxAgeModest, "enforce", 86_400),
        mode(Kind::MaxAgeCut, "enforce", 99_999_999),
        text(
            Kind::PolicyBlankLine,
            "version: STSv1\n\nmode: enforce\nmx: mx.d.test\nmax_age: 604800\n",
        ),
        text(
            Kind::PolicyTrailingDot,
            "version: STSv1\nmode: enforce\nmx: mx.d.test.\nmax_age: 604800\n",
        ),
        patterns(Kind::PatternBroad, &["*.test"]),
        patterns(Kind::PatternAddress, &["mx.d.test", "192.0.2.1"]),
        patterns(Kind::PatternTypo, &["nmx.d.test"]),
        patterns(Kind::PatternUnused, &["mx.d.test", "old.other.test"]),
        row(Kind::PatternTwoLabels, |f| {
            f.policy = Ok(policy("enforce", &["*.d.test"], 604_800));
            f.mail = hosts(vec![host("mx.a.d.test")]);
        }),
        row(Kind::PatternApex, |f| {
            f.policy = Ok(policy("enforce", &["*.d.test"], 604_800));
            f.mail = hosts(vec![host("d.test")]);
        }),
    ]
}

fn mx_rows() -> Vec<(Kind, Change)> {
    let gone = |kind, reason| {
        row(kind, move |f| {
            let (reason, detail) = ((reason, attempt::Case::Usual), "x".to_owned());
            f.mail = MailHosts::Undeliverable { reason, detail };
        })
    };
    vec![
        row(Kind::MxFound, |_| {}),
        gone(Kind::NoSuchDomain, Reason::NoSuchDomain),
        gone(Kind::NullMx, Reason::NullMx),
        gone(Kind::MxLoop, Reason::Loop),
        gone(Kind::MxUnusable, Reason::NoUsableMx),
        row(Kind::MxUnusable, |f| {
            f.unusable = vec!["192.0.2.1".to_owned()]
        }),
        row(Kind::MxLookup, |f| {
            let (reason, detail) = (Reason::DnsTemporary, "SERVFAIL".to_owned());
            f.mail = MailHosts::Unknown { reason, detail };
        }),
        row(Kind::MxImplicit, |f| {
            let MailHosts::Hosts { implicit, .. } = &mut f.mail else {
                panic!("hosts")
            };
            *implicit = true;
        }),
        row(Kind::MxMany, |f| {
            let MailHosts::Hosts { left_out, .. } = &mut f.mail else {
                panic!("hosts")
            };
            *left_out = 3;
        }),
        row(Kind::MxRouted, |f| {
            f.routed_to = Some("hub.test, port 25".to_owned())
        }),
    ]
}

fn host_rows() -> Vec<(Kind, Change)> {
    let at = |kind, seen: Seen| row(kind, move |f| first(f, seen.clone()));
    let reply = |text| Reply::parse(text).unwrap();
    let fault = |kind, fault: CertificateFault| {
        let tls = bad(fault);
        row(kind, move |f| {
            first(f, session(Some(tls.clone()), StartTls::Used))
        })
    };
    let refused = StartTls::Refused(reply("454 4.7.0 no\r\n"));
    let reset = || SocketFault::from(std::io::Error::from(ErrorKind::ConnectionReset));
    let (not_after, not_before, now) = (NOW, NOW, NOW);
    let issuer = || "CN=x".into();
    let mismatch = CertificateFault::HostMismatch {
        expected: "mx.d.test".into(),
        names: vec!["d.test".into()],
    };
    let mut soon = tls();
    if let Some(leaf) = &mut soon.certificate {
        leaf.not_after = NOW + Duration::from_secs(86_400);
    }
    let unreachable = |kind, reason, definite| {
        row(kind, move |f| {
            let MailHosts::Hosts { hosts, .. } = &mut f.mail else {
                panic!("hosts")
            };
            hosts[0].addresses.clear();
            hosts[0].candidate.addresses = Err(delivery::decide::hosts::Unreachable {
                reason,
                detail: "x".to_owned(),
                definite,
            });
        })
    };
    vec![
        row(Kind::HostListed, |_| {}),
        row(Kind::CertGood, |_| {}),
        row(Kind::HostNotListed, |f| {
            f.mail = hosts(vec![host("evil.test")])
        }),
        unreachable(Kind::HostNoAddress, Reason::NoUsableMx, true),
        unreachable(Kind::HostLookup, Reason::DnsTemporary, false),
        unreachable(Kind::HostSpecialUse, Reason::AddressRefused, false),
        at(Kind::HostConnect, failed(Cause::Connect(reset()))),
        at(Kind::HostLost, failed(Cause::Lost(reset()))),
        at(Kind::HostTimeout, slow()),
        at(
            Kind::HostRefuses,
            failed(Cause::Remote(reply("554 5.7.1 no\r\n"))),
        ),
        at(Kind::NoStartTls, session(None, StartTls::NotOffered)),
        at(Kind::StartTlsRefused, session(None, refused)),
        at(Kind::StartTlsInjection, failed(Cause::StartTlsInjection)),
        at(
            Kind::TlsHandshake,
            failed(Cause::Handshake(HandshakeFault::ProtocolVersion)),
        ),
        at(Kind::CertEndsSoon, session(Some(soon), StartTls::Used)),
        at(Kind::HostNotChecked, Seen::NotChecked),
        fault(
            Kind::CertExpired,
            CertificateFault::Expired { not_after, now },
        ),
        fault(
            Kind::CertEarly,
            CertificateFault::NotYetValid { not_before, now },
        ),
        fault(Kind::CertName, mismatch),
        fault(Kind::CertSelfSigned, CertificateFault::SelfSigned),
        fault(
            Kind::CertChain,
            CertificateFault::MissingIntermediate { issuer: issuer() },
        ),
        fault(
            Kind::CertIssuer,
            CertificateFault::UnknownIssuer { issuer: issuer() },
        ),
        fault(Kind::CertOther, CertificateFault::BadSignature),
    ]
}

fn reporting_rows() -> Vec<(Kind, Change)> {
    let records = |kind, texts: &'static [&'static str]| {
        row(kind, move |f| {
            f.reporting = TxtAnswer::Records(texts.iter().map(|t| t.as_bytes().to_vec()).collect());
        })
    };
    let two = &[
        "v=TLSRPTv1; rua=mailto:a@d.test",
        "v=TLSRPTv1; rua=mailto:b@d.test",
    ];
    vec![
        row(Kind::ReportingFound, |_| {}),
        records(
            Kind::ReportingFound,
            &["v=TLSRPTv1;rua=mailto:a@d.test,https://d.test/r"],
        ),
        records(Kind::ReportingAbsent, &[]),
        records(Kind::ReportingAbsent, &["v=spf1 -all"]),
        records(Kind::ReportingSeveral, two),
        records(Kind::ReportingInvalid, &["v=TLSRPTv1;"]),
        records(Kind::ReportingInvalid, &["v=TLSRPTv1; rua=a@d.test"]),
        records(Kind::ReportingInvalid, &["v=TLSRPTv1; rua=http://d.test/"]),
        records(
            Kind::ReportingInvalid,
            &["v=TLSRPTv1; rua=mailto:a@d.test, https://192.0.2.1/"],
        ),
        row(Kind::ReportingLookup, |f| {
            f.reporting = TxtAnswer::Failed(servfail())
        }),
    ]
}

fn hosts(hosts: Vec<crate::HostFacts>) -> MailHosts {
    MailHosts::Hosts {
        hosts,
        implicit: false,
        left_out: 0,
        security: mail_types::Security::Unchecked,
    }
}

/// Puts this at the first host's only address.
fn first(facts: &mut Facts, seen: Seen) {
    let MailHosts::Hosts { hosts, .. } = &mut facts.mail else {
        panic!("hosts")
    };
    hosts[0].addresses[0].seen = seen;
}

fn slow() -> Seen {
    failed(Cause::Timeout(Duration::from_secs(300)))
}

fn failed(cause: Cause) -> Seen {
    Seen::Failed {
        stage: Stage::Banner,
        cause,
    }
}

fn bad(fault: CertificateFault) -> smtp_client::TlsSession {
    let mut session = tls();
    let failure = CertificateFailure {
        fault,
        leaf: session.certificate.clone(),
        presented: 1,
    };
    session.verdict = smtp_client::TlsVerdict::Observed {
        certificate: Err(Box::new(failure)),
        signature: smtp_client::SignatureCheck::Checked,
    };
    session
}

fn servfail() -> DnsError {
    DnsError::Temporary("SERVFAIL".to_owned())
}

fn no_name() -> DnsError {
    DnsError::NoSuchName {
        ttl: Duration::ZERO,
        security: mail_types::Security::Unchecked,
    }
}
