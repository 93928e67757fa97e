//! What fails on this side is no finding about the domain.

use attempt::Reason;
use delivery::decide::standing::HostDane;
use mail_types::{DnsError, HostName};
use smtp_client::Cause;

use super::super::of;
use super::{Change, failed, row, servfail};
use crate::facts::{DnsFault, Facts, HostFacts, MailHosts, Seen, TxtAnswer};
use crate::finding::Severity;
use crate::report::Report;
use crate::samples::good;
use crate::table::Kind;

pub(super) fn rows() -> Vec<(Kind, Change)> {
    vec![
        row(Kind::OurResolver, |f| {
            f.record = TxtAnswer::Failed(servfail());
            f.fault = Some(DnsFault::Silent("192.0.2.1: request timed out".into()));
        }),
        row(Kind::OurAccess, |f| {
            f.record = TxtAnswer::Failed(servfail());
            f.fault = Some(DnsFault::Refused(
                "192.0.2.1 answers every question with REFUSED".into(),
            ));
        }),
        row(Kind::OurServers, |f| {
            f.record = TxtAnswer::Failed(servfail());
            f.fault = Some(DnsFault::Absent(
                "192.0.2.1 answers every question with REFUSED; 192.0.2.2: no answer in time"
                    .into(),
            ));
        }),
        // Addresses were remembered, TLSA records were not.
        row(Kind::OurResolver, |f| {
            at_host(f).candidate.standing.dane = HostDane::Failed {
                base: HostName::parse("mx.d.test").unwrap(),
                detail: servfail().to_string().into(),
                ours: false,
            };
            f.fault = Some(DnsFault::Silent("192.0.2.1: request timed out".into()));
        }),
        row(Kind::OurDnssec, |f| {
            f.record = TxtAnswer::Failed(servfail());
            f.fault = Some(DnsFault::Barred("the keys have expired".into()));
        }),
        row(Kind::RecordLocal, |f| f.record = TxtAnswer::Failed(local())),
        row(Kind::PolicyLocal, |f| {
            f.policy = Err(policy_cache::FetchError::Local(local().to_string()));
        }),
        row(Kind::MxLocal, |f| {
            let (reason, detail) = (Reason::Local, local().to_string());
            f.mail = MailHosts::Unknown { reason, detail };
        }),
        row(Kind::HostLocal, |f| {
            at_host(f).addresses.clear();
            at_host(f).candidate.addresses = Err(delivery::decide::hosts::Unreachable {
                reason: Reason::Local,
                detail: local().to_string(),
                definite: false,
            });
        }),
        row(Kind::HostLocal, |f| {
            seen(f, failed(Cause::Local(LACK.into())))
        }),
        row(Kind::HostLocal, |f| {
            let text = "the source address 192.0.2.9 of egress.source-addresses is not an address of this machine";
            seen(f, failed(Cause::Configured(text.into())));
        }),
        row(Kind::DaneLocal, |f| {
            at_host(f).candidate.standing.dane = HostDane::Failed {
                base: HostName::parse("mx.d.test").unwrap(),
                detail: local().to_string().into(),
                ours: true,
            };
        }),
        row(Kind::ReportingLocal, |f| {
            f.reporting = TxtAnswer::Failed(local())
        }),
    ]
}

/// The domain's administrator has nothing to do with it, and the exit status tells that something is wrong.
#[test]
fn h9_01_what_fails_on_this_side_is_told_as_ours_and_the_mail_waits_for_us() {
    for (kind, change) in rows() {
        let mut facts = good();
        change(&mut facts);
        let report = Report::of(&facts, &delivery::decide::demand::Inputs::default());
        let worst = report
            .findings
            .iter()
            .filter(|f| f.severity == Severity::Error);
        let worst: Vec<Kind> = worst.map(|f| f.kind).collect();
        assert_eq!(worst, [kind], "{:#?}", report.findings);
        assert!(!report.is_good(), "{kind:?}");
        if kind == Kind::ReportingLocal {
            continue;
        }
        let verdict = report.outcome.view();
        let said = (verdict.result.as_str(), verdict.reason.as_deref());
        assert_eq!(said, ("deferred", Some("local")), "{kind:?}: {verdict:?}");
    }
}

/// Whose fault it is: a domain is not blamed for name servers of ours.
#[test]
fn our_own_silent_resolver_is_the_one_finding_about_dns() {
    let mut facts = good();
    facts.record = TxtAnswer::Failed(servfail());
    facts.reporting = TxtAnswer::Failed(servfail());
    facts.fault = Some(DnsFault::Silent("192.0.2.1: request timed out".into()));
    let found = of(&facts);
    assert!(
        !found.iter().any(|f| f.text.contains("failed")),
        "{found:#?}"
    );
    let ours = found.iter().find(|f| f.kind == Kind::OurResolver).unwrap();
    assert!(
        ours.remedy
            .as_deref()
            .unwrap()
            .contains("This side has to act"),
        "{ours:?}"
    );
}

fn local() -> DnsError {
    DnsError::Local(LACK.to_owned())
}

fn at_host(facts: &mut Facts) -> &mut HostFacts {
    let MailHosts::Hosts { hosts, .. } = &mut facts.mail else {
        panic!("hosts")
    };
    &mut hosts[0]
}

fn seen(facts: &mut Facts, seen: Seen) {
    super::first(facts, seen);
}

const LACK: &str = "this process has no file descriptor left (EMFILE)";
