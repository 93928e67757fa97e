//! One test per row of the table of demands.

use super::*;
use attempt::PolicyResult;
use mail_types::{Domain, Timestamp};
use mta_sts::Policy;
use routes::RouteTls;

mod published;

fn policy(mode: &str, mx: &str) -> Published {
    let text = format!("version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n");
    let stored = StoredPolicy {
        domain: Domain::parse("d.test").unwrap(),
        policy: Policy::parse(text.as_bytes()).unwrap().policy,
        id: None,
        fetched_at: Timestamp::from_secs(1),
        expires_at: Timestamp::from_secs(86401),
    };
    Published {
        stored: Arc::new(stored),
        from: PolicyFrom::Cache,
        first_contact: false,
    }
}

fn mx(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

fn facts(assurance: Assurance, tls: SeenTls) -> SessionFacts {
    SessionFacts {
        assurance,
        tls,
        dane: SeenDane::Nothing,
        records: None,
        offers_requiretls: false,
    }
}

/// A host that nobody vouches for, without TLSA records.
fn plain() -> Standing {
    Standing::default()
}

fn deciding<'a>(mx: &'a HostName, evidence: &'a Evidence) -> Deciding<'a> {
    Deciding {
        mx,
        standing: const { &Standing::NONE },
        evidence,
        dane: SeenDane::Nothing,
    }
}

fn reason_of(d: SessionDecision) -> Option<Reason> {
    match d {
        SessionDecision::Deliver => None,
        SessionDecision::Refuse { reason, .. } => Some(reason),
    }
}

fn enforce() -> Inputs {
    Inputs {
        published: Some(policy("enforce", "mx1.d.test")),
        ..Inputs::default()
    }
}

#[test]
fn no_demand_is_opportunistic() {
    let r = Requirement::of(&Inputs::default());
    assert_eq!(
        r.host(&mx("any.test"), &plain()),
        HostDecision::Connect(Assurance::DangerousOpportunistic)
    );
    assert!(!r.is_demanding() && r.results(None).is_empty());
    let in_clear = facts(
        Assurance::DangerousOpportunistic,
        SeenTls::None(Reason::StarttlsNotOffered),
    );
    assert_eq!(
        r.session(&mx("any.test"), &plain(), &in_clear),
        SessionDecision::Deliver
    );
}

#[test]
fn a_delivery_tls() {
    let encrypted = Requirement::of(&Inputs {
        delivery_tls: Some(RequiredTls::Encrypted),
        ..Inputs::default()
    });
    assert_eq!(encrypted.assurance(&plain()), Assurance::DangerousEncrypted);
    let bad_cert = facts(
        Assurance::DangerousEncrypted,
        SeenTls::Unverified(Reason::CertExpired),
    );
    assert_eq!(
        encrypted.session(&mx("a.test"), &plain(), &bad_cert),
        SessionDecision::Deliver
    );
    let verified = Requirement::of(&Inputs {
        delivery_tls: Some(RequiredTls::Verified),
        ..Inputs::default()
    });
    assert_eq!(verified.assurance(&plain()), Assurance::Authenticated);
    assert_eq!(
        reason_of(verified.session(&mx("a.test"), &plain(), &bad_cert)),
        Some(Reason::CertNotTrusted)
    );
}

#[test]
fn b_route_tls() {
    for (tls, want) in [
        (RouteTls::Verified, Assurance::Authenticated),
        (RouteTls::Policy, Assurance::DangerousOpportunistic),
        (
            RouteTls::DangerousUnverified,
            Assurance::DangerousOpportunistic,
        ),
        (RouteTls::DangerousOff, Assurance::DangerousPlain),
    ] {
        assert_eq!(
            Requirement::of(&Inputs {
                route_tls: Some(tls),
                ..Inputs::default()
            })
            .assurance(&plain()),
            want
        );
    }
    // Each only adds: what (a) asks stands beside a route that asks for nothing.
    let both = Inputs {
        route_tls: Some(RouteTls::DangerousOff),
        delivery_tls: Some(RequiredTls::Verified),
        ..Inputs::default()
    };
    assert_eq!(
        Requirement::of(&both).assurance(&plain()),
        Assurance::Authenticated
    );
}

#[test]
fn c_local_rules() {
    let tls = LocalRule {
        tls: Some(RequiredTls::Verified),
        ..LocalRule::default()
    };
    assert_eq!(
        Requirement::of(&Inputs {
            rule: tls,
            ..Inputs::default()
        })
        .assurance(&plain()),
        Assurance::Authenticated
    );

    let require = LocalRule {
        require: true,
        ..LocalRule::default()
    };
    let alone = Requirement::of(&Inputs {
        rule: require.clone(),
        ..Inputs::default()
    });
    assert!(matches!(
        alone.host(&mx("mx1.d.test"), &plain()),
        HostDecision::Refuse {
            reason: Reason::MxNotInPolicy,
            ..
        }
    ));

    let pinned = LocalRule {
        mx: vec![MxPattern::parse("mx1.d.test").unwrap()],
        ..require.clone()
    };
    let pinned = Requirement::of(&Inputs {
        rule: pinned,
        ..Inputs::default()
    });
    assert_eq!(
        pinned.host(&mx("mx1.d.test"), &plain()),
        HostDecision::Connect(Assurance::Authenticated)
    );
    assert!(matches!(
        pinned.host(&mx("mx2.d.test"), &plain()),
        HostDecision::Refuse { .. }
    ));

    // A testing policy lists hosts too: `require` makes it binding.
    let testing = Inputs {
        rule: require,
        published: Some(policy("testing", "mx1.d.test")),
        ..Inputs::default()
    };
    assert_eq!(
        Requirement::of(&testing).host(&mx("mx1.d.test"), &plain()),
        HostDecision::Connect(Assurance::Authenticated)
    );
}

#[test]
fn d_requiretls_is_removed_by_nothing() {
    let inputs = Inputs {
        requiretls: true,
        tls_required_no: true,
        exempt: true,
        ..enforce()
    };
    let r = Requirement::of(&inputs);
    let good = facts(Assurance::Authenticated, SeenTls::Verified);
    assert_eq!(
        reason_of(r.session(&mx("mx1.d.test"), &plain(), &good)),
        Some(Reason::RequireTlsUnsupported)
    );
    let offered = SessionFacts {
        offers_requiretls: true,
        ..good
    };
    assert_eq!(
        r.session(&mx("mx1.d.test"), &plain(), &offered),
        SessionDecision::Deliver
    );
    // D1-07: testing vouches for no name, and without any policy there is nobody who does.
    for published in [
        None,
        Some(policy("testing", "mx1.d.test")),
        Some(policy("none", "mx1.d.test")),
    ] {
        let r = Requirement::of(&Inputs {
            requiretls: true,
            published,
            ..Inputs::default()
        });
        assert!(matches!(
            r.host(&mx("mx1.d.test"), &plain()),
            HostDecision::Refuse {
                reason: Reason::RequireTlsNoTls,
                ..
            }
        ));
    }
}

#[test]
fn f_enforce_needs_a_listed_host_and_a_valid_certificate() {
    let r = Requirement::of(&enforce());
    assert!(r.is_demanding() && r.enforces_policy());
    assert!(matches!(
        r.host(&mx("mx9.d.test"), &plain()),
        HostDecision::Refuse {
            reason: Reason::MxNotInPolicy,
            ..
        }
    ));
    assert_eq!(
        r.host(&mx("mx1.d.test"), &plain()),
        HostDecision::Connect(Assurance::Authenticated)
    );
    let good = facts(Assurance::Authenticated, SeenTls::Verified);
    assert_eq!(
        r.session(&mx("mx1.d.test"), &plain(), &good),
        SessionDecision::Deliver
    );
    // A5-07: a valid certificate does not make up for a host that is not listed.
    assert_eq!(
        reason_of(r.session(&mx("evil.test"), &plain(), &good)),
        Some(Reason::MxNotInPolicy)
    );
    // I1-12: what was opened opportunistically never serves, whatever it saw.
    let opportunistic = facts(Assurance::DangerousOpportunistic, SeenTls::Verified);
    assert_eq!(
        reason_of(r.session(&mx("mx1.d.test"), &plain(), &opportunistic)),
        Some(Reason::CertNotTrusted)
    );
}

#[test]
fn a6_06_a6_08_testing_and_none_demand_nothing() {
    for mode in ["testing", "none"] {
        let r = Requirement::of(&Inputs {
            published: Some(policy(mode, "mx1.d.test")),
            ..Inputs::default()
        });
        assert_eq!(
            r.host(&mx("mx9.d.test"), &plain()),
            HostDecision::Connect(Assurance::DangerousOpportunistic)
        );
        assert!(!r.is_demanding() && r.weakened_by.is_none());
    }
}

#[test]
fn what_weakens_removes_the_published_policy_and_nothing_else() {
    for (inputs, by) in [
        (
            Inputs {
                exempt: true,
                ..enforce()
            },
            Weakened::Exempt,
        ),
        (
            Inputs {
                tls_required_no: true,
                ..enforce()
            },
            Weakened::TlsRequiredNo,
        ),
        (
            Inputs {
                report: true,
                ..enforce()
            },
            Weakened::Report,
        ),
        (
            Inputs {
                rule: LocalRule {
                    dangerous_audit: true,
                    ..LocalRule::default()
                },
                ..enforce()
            },
            Weakened::Audit,
        ),
    ] {
        let r = Requirement::of(&inputs);
        assert_eq!(
            (r.weakened_by, r.assurance(&plain())),
            (Some(by), Assurance::DangerousOpportunistic)
        );
        assert!(!r.enforces_policy());
        let strict = Requirement::of(&Inputs {
            delivery_tls: Some(RequiredTls::Verified),
            ..inputs
        });
        assert_eq!(strict.assurance(&plain()), Assurance::Authenticated);
    }
}

#[test]
fn a6_24_testing_is_evaluated_and_recorded() {
    let r = Requirement::of(&Inputs {
        published: Some(policy("testing", "mx1.d.test")),
        ..Inputs::default()
    });
    let result = |host: &str, tls| {
        let (mx, evidence) = (mx(host), Evidence::Session(tls));
        let uses = r.results(Some(&deciding(&mx, &evidence)));
        (uses[0].result, uses[0].reason)
    };
    assert_eq!(
        result("mx1.d.test", SeenTls::Verified),
        (PolicyResult::Satisfied, None)
    );
    assert_eq!(
        result("mx1.d.test", SeenTls::Unverified(Reason::CertExpired)),
        (PolicyResult::Failed, Some(Reason::CertExpired))
    );
    assert_eq!(
        result("mx1.d.test", SeenTls::None(Reason::StarttlsNotOffered)),
        (PolicyResult::Failed, Some(Reason::StarttlsNotOffered))
    );
    assert_eq!(
        result("mx9.d.test", SeenTls::Verified),
        (PolicyResult::Failed, Some(Reason::MxNotInPolicy))
    );
    assert_eq!(r.results(None)[0].result, PolicyResult::NotEvaluated);
    let unreached = r.results(Some(&deciding(&mx("mx1.d.test"), &Evidence::Nothing)));
    assert_eq!(unreached[0].result, PolicyResult::NotEvaluated);
}

#[test]
fn f3_01_who_demands_what_a_host_has_not_met() {
    let by = |inputs: &Inputs, reason, standing: &Standing| {
        Requirement::of(inputs).demanded_by(reason, standing)
    };
    let no_tls = Reason::StarttlsNotOffered;
    let general = Inputs {
        delivery_tls: Some(RequiredTls::Verified),
        ..Inputs::default()
    };
    let none = Standing::NONE;
    assert_eq!(by(&general, no_tls, &none), DemandedBy::Default);
    let rule = LocalRule {
        tls: Some(RequiredTls::Verified),
        ..LocalRule::default()
    };
    let ruled = Inputs {
        rule,
        ..general.clone()
    };
    assert_eq!(by(&ruled, no_tls, &none), DemandedBy::Rule);
    // TLSA records of this host, and of another one; and what they do not ask for.
    let listed = Standing {
        dane: crate::decide::standing::HostDane::Unusable {
            base: mx("mx1.d.test"),
            why: "usage 1".into(),
        },
        ..Standing::NONE
    };
    let published = Inputs {
        dane_published: true,
        ..general
    };
    assert_eq!(by(&published, no_tls, &listed), DemandedBy::TlsaRecords);
    assert_eq!(by(&published, no_tls, &none), DemandedBy::Default);
    assert_eq!(
        by(&published, Reason::CertExpired, &listed),
        DemandedBy::Default
    );
    assert_eq!(
        by(&published, Reason::Connect, &listed),
        DemandedBy::Recipient
    );
    // A route that leaves it to the next hop demands nothing.
    let route = |tls| Inputs {
        route_tls: Some(tls),
        ..Inputs::default()
    };
    let (strict, lenient) = (route(RouteTls::Verified), route(RouteTls::Policy));
    assert_eq!(by(&strict, no_tls, &none).by_route(), DemandedBy::Route);
    assert_eq!(by(&lenient, no_tls, &none).by_route(), DemandedBy::NextHop);
}

#[test]
fn f3_01_a_demand_for_encryption_is_not_named_for_a_bad_certificate() {
    // Of two demands one may be met: an expired certificate encrypts.
    let (encrypted, verified) = (Some(RequiredTls::Encrypted), Some(RequiredTls::Verified));
    let route = Some(RouteTls::Verified);
    for (delivery_tls, route_tls, tls, no_session, expired) in [
        (
            encrypted,
            route,
            None,
            DemandedBy::Default,
            DemandedBy::Route,
        ),
        (None, route, encrypted, DemandedBy::Rule, DemandedBy::Route),
        (
            verified,
            None,
            encrypted,
            DemandedBy::Rule,
            DemandedBy::Default,
        ),
        (
            encrypted,
            None,
            verified,
            DemandedBy::Rule,
            DemandedBy::Rule,
        ),
    ] {
        let rule = LocalRule {
            tls,
            ..LocalRule::default()
        };
        let inputs = Inputs {
            delivery_tls,
            route_tls,
            rule,
            ..Inputs::default()
        };
        let said = [Reason::StarttlsNotOffered, Reason::CertExpired]
            .map(|reason| Requirement::of(&inputs).demanded_by(reason, &Standing::NONE));
        assert_eq!(said, [no_session, expired], "{inputs:?}");
    }
}
