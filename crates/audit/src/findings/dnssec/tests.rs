use std::sync::Arc;

use dane::{HostRecords, Records, TlsaSet};
use delivery::decide::standing::{HostDane, Standing, Vouched};
use mail_types::{HostName, Security, TlsaRecord};
use smtp_client::{
    CertificateFault, DaneFailure, DaneFault, DaneMatch, DaneVerdict, StartTls, TlsVerdict,
};

use crate::facts::{Facts, HostFacts, MailHosts, Seen, Signed, TxtAnswer};
use crate::finding::Severity;
use crate::findings::of;
use crate::findings::tests::{Change, row};
use crate::samples::{good, session, tls};
use crate::table::Kind;

/// Every row about DNSSEC and DANE, and what makes it apply to a domain that was good.
pub(in crate::findings) fn rows() -> Vec<(Kind, Change)> {
    let mx = |verdict| {
        move |f: &mut Facts| {
            let MailHosts::Hosts { security, .. } = &mut f.mail else {
                panic!("hosts")
            };
            *security = verdict;
        }
    };
    let dane = |dane: HostDane| move |f: &mut Facts| host(f).candidate.standing = of_dane(&dane);
    let base = HostName::parse("mx.d.test").unwrap();
    vec![
        row(Kind::DnssecNotValidated, mx(Security::Unchecked)),
        row(Kind::DnssecMxSecure, mx(Security::Secure)),
        row(Kind::DnssecMxInsecure, mx(Security::Insecure)),
        row(Kind::DaneAbsent, |f| {
            host(f).signed.security = Some(Security::Secure);
        }),
        row(Kind::DaneUnsigned, |f| host(f).signed.useless_tlsa = true),
        row(Kind::DaneAlias, |f| {
            host(f).signed = Signed {
                security: Some(Security::Insecure),
                alias: HostName::parse("mx.p.test").ok(),
                useless_tlsa: true,
            };
        }),
        row(
            Kind::DaneUnusable,
            dane(HostDane::Unusable {
                base: base.clone(),
                why: "usage 1".into(),
            }),
        ),
        row(
            Kind::DaneLookup,
            dane(HostDane::Failed {
                base,
                detail: "SERVFAIL".into(),
                ours: false,
            }),
        ),
        row(Kind::DaneGood, |f| {
            says(f, Ok(DaneMatch::EndEntity));
        }),
        row(Kind::DaneMismatch, |f| says(f, Err(no_match()))),
        row(Kind::DaneAuthority, |f| {
            says(
                f,
                Err(DaneFault::Anchored {
                    base: "mx.d.test".into(),
                    fault: CertificateFault::SelfSigned,
                }),
            );
        }),
    ]
}

#[test]
fn a_host_that_tlsa_records_authenticate_needs_no_public_authority() {
    let mut facts = good();
    facts.record = TxtAnswer::Records(Vec::new());
    says(&mut facts, Ok(DaneMatch::EndEntity));
    let Seen::Session { tls: Some(tls), .. } = &mut host(&mut facts).addresses[0].seen else {
        panic!("a session")
    };
    tls.verdict = TlsVerdict::Observed {
        certificate: Err(Box::new(smtp_client::CertificateFailure {
            fault: CertificateFault::SelfSigned,
            leaf: None,
            presented: 1,
        })),
        signature: smtp_client::SignatureCheck::Checked,
    };
    let found = of(&facts);
    let of_host = found.iter().filter(|f| f.host.is_some());
    assert_eq!(
        of_host.map(|f| f.severity).max(),
        Some(Severity::Note),
        "{found:#?}"
    );
}

#[test]
fn c2_01_without_tls_a_host_with_tlsa_records_gets_nothing() {
    let mut facts = good();
    facts.record = TxtAnswer::Records(Vec::new());
    host(&mut facts).candidate.standing = usable();
    host(&mut facts).addresses[0].seen = session(None, StartTls::NotOffered);
    let found = of(&facts);
    let finding = found.iter().find(|f| f.kind == Kind::NoStartTls).unwrap();
    assert_eq!(finding.severity, Severity::Error);
}

fn host(facts: &mut Facts) -> &mut HostFacts {
    match &mut facts.mail {
        MailHosts::Hosts { hosts, .. } => &mut hosts[0],
        other => panic!("{other:?}"),
    }
}

fn of_dane(dane: &HostDane) -> Standing {
    Standing {
        vouched: Vouched::Dnssec,
        dane: dane.clone(),
    }
}

fn usable() -> Standing {
    let published = TlsaRecord {
        usage: 3,
        selector: 1,
        matching: 1,
        data: vec![0; 32],
    };
    let Records::Usable(set) = TlsaSet::read(&[published]) else {
        panic!("usable")
    };
    let base = HostName::parse("mx.d.test").unwrap();
    of_dane(&HostDane::Usable(Arc::new(HostRecords::new(
        base,
        set,
        &[],
    ))))
}

fn no_match() -> DaneFault {
    DaneFault::NoMatch {
        base: "mx.d.test".into(),
        records: "3 1 1 0000".into(),
    }
}

/// The host has usable records, which say this of its session.
fn says(facts: &mut Facts, result: Result<DaneMatch, DaneFault>) {
    let mut with = tls();
    with.dane = DaneVerdict::Observed(result.map_err(|fault| {
        Box::new(DaneFailure {
            fault,
            leaf: None,
            presented: 1,
        })
    }));
    host(facts).candidate.standing = usable();
    host(facts).addresses[0].seen = session(Some(with), StartTls::Used);
}
