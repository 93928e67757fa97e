//! One test per row of what TLSA records ask, and of what removes it.

use std::sync::Arc;

use ::dane::{HostRecords, Records, TlsaSet};
use attempt::{PolicyFrom, PolicyResult, PolicySource, Reason, Weakened};
use mail_types::{Domain, HostName, Timestamp, TlsaRecord};
use mta_sts::Policy;
use policy_cache::StoredPolicy;

use super::super::*;
use crate::decide::standing::{HostDane, Vouched};

fn mx() -> HostName {
    HostName::parse("mx1.d.test").unwrap()
}

fn records(fill: u8) -> Arc<HostRecords> {
    let published = TlsaRecord {
        usage: 3,
        selector: 1,
        matching: 1,
        data: vec![fill; 32],
    };
    match TlsaSet::read(&[published]) {
        Records::Usable(set) => Arc::new(HostRecords::new(mx(), set, &[])),
        other => panic!("{other:?}"),
    }
}

fn with(dane: HostDane) -> Standing {
    Standing {
        vouched: Vouched::Dnssec,
        dane,
    }
}

fn usable() -> Standing {
    with(HostDane::Usable(records(1)))
}

fn unusable() -> Standing {
    with(HostDane::Unusable {
        base: mx(),
        why: "usage 1".into(),
    })
}

fn failed() -> Standing {
    with(HostDane::Failed {
        base: mx(),
        detail: "SERVFAIL".into(),
        ours: false,
    })
}

fn published() -> Inputs {
    Inputs {
        dane_published: true,
        ..Inputs::default()
    }
}

fn enforce() -> Inputs {
    let text = b"version: STSv1\nmode: enforce\nmx: mx1.d.test\nmax_age: 86400\n";
    let stored = StoredPolicy {
        domain: Domain::parse("d.test").unwrap(),
        policy: Policy::parse(text).unwrap().policy,
        id: None,
        fetched_at: Timestamp::from_secs(1),
        expires_at: Timestamp::from_secs(86_401),
    };
    Inputs {
        published: Some(Published {
            stored: Arc::new(stored),
            from: PolicyFrom::Cache,
            first_contact: false,
        }),
        ..published()
    }
}

fn rule(dane: DaneRule) -> Inputs {
    Inputs {
        rule: LocalRule {
            dane,
            ..LocalRule::default()
        },
        ..published()
    }
}

/// The session that the requirement asks for, with this of it seen.
fn session(r: &Requirement, standing: &Standing, tls: SeenTls, dane: SeenDane) -> SessionFacts {
    SessionFacts {
        assurance: r.assurance(standing),
        tls,
        dane,
        records: standing.dane.records().cloned(),
        offers_requiretls: true,
    }
}

fn refused(d: SessionDecision) -> Option<Reason> {
    match d {
        SessionDecision::Deliver => None,
        SessionDecision::Refuse { reason, .. } => Some(reason),
    }
}

fn refused_host(d: HostDecision) -> Option<Reason> {
    match d {
        HostDecision::Connect(_) => None,
        HostDecision::Refuse { reason, .. } => Some(reason),
    }
}

#[test]
fn e_c2_01_c2_02_c2_03_c1_04_what_each_reading_asks() {
    let r = Requirement::of(&published());
    for (standing, want) in [
        (Standing::NONE, Assurance::DangerousOpportunistic),
        (unusable(), Assurance::DangerousEncrypted),
        (usable(), Assurance::Dane),
    ] {
        assert_eq!(r.host(&mx(), &standing), HostDecision::Connect(want));
    }
    assert_eq!(
        refused_host(r.host(&mx(), &failed())),
        Some(Reason::DaneLookup)
    );
    assert!(r.is_demanding(), "nothing that can be forged bounces it");
    assert!(!Requirement::of(&Inputs::default()).is_demanding());
}

#[test]
fn c2_01_c2_11_a_session_has_to_match_these_very_records() {
    let (r, standing) = (Requirement::of(&published()), usable());
    let self_signed = SeenTls::Unverified(Reason::CertNotTrusted);
    let good = session(&r, &standing, self_signed.clone(), SeenDane::Matched);
    assert_eq!(r.session(&mx(), &standing, &good), SessionDecision::Deliver);
    let mismatch = SeenDane::Mismatched(Reason::DaneMismatch);
    let bad = session(&r, &standing, SeenTls::Verified, mismatch);
    assert_eq!(
        refused(r.session(&mx(), &standing, &bad)),
        Some(Reason::DaneMismatch)
    );
    let plain = session(
        &r,
        &standing,
        SeenTls::None(Reason::StarttlsNotOffered),
        SeenDane::Nothing,
    );
    assert_eq!(
        refused(r.session(&mx(), &standing, &plain)),
        Some(Reason::StarttlsNotOffered)
    );
    // What was opened for other records, or for none, serves nobody that has these.
    for facts in [
        SessionFacts {
            records: Some(records(2)),
            ..good.clone()
        },
        SessionFacts {
            records: None,
            ..good.clone()
        },
        SessionFacts {
            assurance: Assurance::Authenticated,
            ..good.clone()
        },
        SessionFacts {
            assurance: Assurance::DangerousOpportunistic,
            ..good
        },
    ] {
        assert_eq!(
            refused(r.session(&mx(), &standing, &facts)),
            Some(Reason::DaneMismatch)
        );
    }
}

#[test]
fn c2_02_c2_11_unusable_records_still_forbid_plain_text() {
    let (r, standing) = (Requirement::of(&published()), unusable());
    let any = SeenTls::Unverified(Reason::CertExpired);
    let encrypted = session(&r, &standing, any, SeenDane::Nothing);
    assert_eq!(
        r.session(&mx(), &standing, &encrypted),
        SessionDecision::Deliver
    );
    let plain = SeenTls::None(Reason::StarttlsRefused);
    let plain = session(&r, &standing, plain, SeenDane::Nothing);
    assert_eq!(
        refused(r.session(&mx(), &standing, &plain)),
        Some(Reason::StarttlsRefused)
    );
}

#[test]
fn c4_01_c4_02_amb_14_dane_and_an_enforced_policy_both_have_to_pass() {
    let (r, standing) = (Requirement::of(&enforce()), usable());
    assert_eq!(r.assurance(&standing), Assurance::DaneAndAuthenticated);
    let verdict = |tls, dane| {
        let facts = session(&r, &standing, tls, dane);
        refused(r.session(&mx(), &standing, &facts))
    };
    let self_signed = SeenTls::Unverified(Reason::CertNotTrusted);
    let mismatch = SeenDane::Mismatched(Reason::DaneMismatch);
    assert_eq!(verdict(SeenTls::Verified, SeenDane::Matched), None);
    assert_eq!(
        verdict(self_signed.clone(), SeenDane::Matched),
        Some(Reason::CertNotTrusted)
    );
    assert_eq!(
        verdict(SeenTls::Verified, mismatch),
        Some(Reason::DaneMismatch)
    );
    // Row C4-03: a look-up that fails is no way round DANE.
    assert_eq!(
        refused_host(r.host(&mx(), &failed())),
        Some(Reason::DaneLookup)
    );
    // A host without records has the policy alone.
    assert_eq!(r.assurance(&Standing::NONE), Assurance::Authenticated);

    let relaxed = Requirement::of(&Inputs {
        dane_satisfies_sts: true,
        ..enforce()
    });
    assert_eq!(relaxed.assurance(&standing), Assurance::Dane);
    let facts = session(&relaxed, &standing, self_signed, SeenDane::Matched);
    assert_eq!(
        relaxed.session(&mx(), &standing, &facts),
        SessionDecision::Deliver
    );
    let stranger = HostName::parse("mx9.evil.test").unwrap();
    assert_eq!(
        refused_host(relaxed.host(&stranger, &standing)),
        Some(Reason::MxNotInPolicy)
    );
    // Nor does it help where there is nothing to match.
    assert_eq!(relaxed.assurance(&unusable()), Assurance::Authenticated);
}

#[test]
fn c3_13_require_wants_secure_mx_records_and_usable_tlsa_records() {
    let r = Requirement::of(&rule(DaneRule::Require));
    let insecure = Standing {
        vouched: Vouched::Nobody,
        ..usable()
    };
    for (standing, want) in [
        (usable(), None),
        (insecure, Some(Reason::DaneRequired)),
        (with(HostDane::Absent), Some(Reason::DaneRequired)),
        (unusable(), Some(Reason::DaneUnusable)),
        (failed(), Some(Reason::DaneLookup)),
    ] {
        assert_eq!(refused_host(r.host(&mx(), &standing)), want);
    }
    // It is a demand of ours: `TLS-Required: No` does not remove it.
    let still = Requirement::of(&Inputs {
        tls_required_no: true,
        ..rule(DaneRule::Require)
    });
    assert_eq!(still.assurance(&usable()), Assurance::Dane);
    assert!(still.is_demanding());
}

#[test]
fn h9_01_records_that_we_could_not_ask_for_are_our_fault() {
    let unasked = with(HostDane::Failed {
        base: mx(),
        detail: "no file descriptor left".into(),
        ours: true,
    });
    let r = Requirement::of(&published());
    assert_eq!(refused_host(r.host(&mx(), &unasked)), Some(Reason::Local));
}

#[test]
fn amb_33_c3_14_what_removes_dane_and_what_does_not() {
    for (inputs, by) in [
        (rule(DaneRule::DangerousOff), Weakened::Exempt),
        (rule(DaneRule::DangerousAudit), Weakened::Audit),
        (
            Inputs {
                tls_required_no: true,
                ..published()
            },
            Weakened::TlsRequiredNo,
        ),
        (
            Inputs {
                report: true,
                ..published()
            },
            Weakened::Report,
        ),
    ] {
        let r = Requirement::of(&inputs);
        assert_eq!(r.weakened_by, Some(by));
        // Only what is audited is looked at: elsewhere SNI is the MX name.
        let audited = inputs.rule.dane == DaneRule::DangerousAudit;
        assert_eq!(r.records(&usable()).is_some(), audited);
        for standing in [usable(), unusable(), failed()] {
            assert_eq!(
                r.host(&mx(), &standing),
                HostDecision::Connect(Assurance::DangerousOpportunistic)
            );
        }
        assert!(!r.is_demanding());
    }
    // An exemption and MTA-STS audit concern the policy only (row C4-07 for testing and none).
    for inputs in [
        Inputs {
            exempt: true,
            ..enforce()
        },
        Inputs {
            rule: LocalRule {
                dangerous_audit: true,
                ..LocalRule::default()
            },
            ..enforce()
        },
    ] {
        assert_eq!(
            Requirement::of(&inputs).assurance(&usable()),
            Assurance::Dane
        );
    }
    // Switching DANE off leaves the policy in force.
    let off = Inputs {
        rule: rule(DaneRule::DangerousOff).rule,
        ..enforce()
    };
    let r = Requirement::of(&off);
    assert_eq!(r.assurance(&usable()), Assurance::Authenticated);
    assert!(r.enforces_policy());
}

#[test]
fn d1_08_requiretls_takes_pkix_or_dane_and_a_name_that_dnssec_vouches_for() {
    let r = Requirement::of(&Inputs {
        requiretls: true,
        tls_required_no: true,
        ..published()
    });
    assert_eq!(r.assurance(&usable()), Assurance::Dane);
    assert_eq!(r.assurance(&unusable()), Assurance::Authenticated);
    assert_eq!(
        r.host(&mx(), &with(HostDane::Absent)),
        HostDecision::Connect(Assurance::Authenticated)
    );
    assert_eq!(
        refused_host(r.host(&mx(), &Standing::NONE)),
        Some(Reason::RequireTlsNoTls)
    );
}

#[test]
fn c_a_local_require_is_met_by_a_name_that_dnssec_vouches_for() {
    let require = |patterns: &[&str]| {
        let mx = patterns.iter().map(|p| MxPattern::parse(p).unwrap());
        Requirement::of(&Inputs {
            rule: LocalRule {
                require: true,
                mx: mx.collect(),
                ..LocalRule::default()
            },
            ..published()
        })
    };
    let secure = with(HostDane::Absent);
    for patterns in [&[][..], &["other.test"]] {
        let r = require(patterns);
        assert_eq!(
            r.host(&mx(), &secure),
            HostDecision::Connect(Assurance::Authenticated)
        );
        assert_eq!(
            refused_host(r.host(&mx(), &Standing::NONE)),
            Some(Reason::MxNotInPolicy)
        );
    }
}

#[test]
fn c4_05_c2_05_each_demand_has_its_own_result() {
    let r = Requirement::of(&enforce());
    let insecure = Standing {
        vouched: Vouched::Nobody,
        ..usable()
    };
    let evidence = Evidence::Session(SeenTls::Unverified(Reason::CertExpired));
    let (mx, dane) = (mx(), SeenDane::Matched);
    let uses = r.results(Some(&Deciding {
        mx: &mx,
        standing: &insecure,
        evidence: &evidence,
        dane,
    }));
    assert_eq!(uses.len(), 2);
    assert_eq!(uses[0].source, PolicySource::MtaSts);
    assert_eq!(
        (uses[0].result, uses[0].reason),
        (PolicyResult::Failed, Some(Reason::CertExpired))
    );
    assert_eq!(uses[1].source, PolicySource::Dane);
    assert_eq!(
        (uses[1].result, &*uses[1].mode),
        (PolicyResult::Satisfied, "enforce")
    );
    let told = uses[1].dane.as_ref().unwrap();
    assert_eq!((&*told.target, told.mx_secure), ("mx1.d.test", false));

    let audit = Requirement::of(&rule(DaneRule::DangerousAudit));
    let uses = audit.results(Some(&Deciding {
        mx: &mx,
        standing: &usable(),
        evidence: &evidence,
        dane: SeenDane::Mismatched(Reason::DaneMismatch),
    }));
    assert_eq!(
        (uses[0].result, uses[0].reason, &*uses[0].mode),
        (PolicyResult::Failed, Some(Reason::DaneMismatch), "audit")
    );
}
