//! The whole table of what a published policy permits for a host (RFC 8461 sections 4 and 5).
//!
//! | mode | name | TLS | permitted |
//! |---|---|---|---|
//! | none | any | any | as if there were no policy |
//! | testing | any | any | the same, and what would have failed is recorded |
//! | enforce | listed | 1.2 or later, a valid certificate | yes |
//! | enforce | otherwise | | never, now or on any retry |

use super::*;

const LISTED: &str = "mx1.d.test";
const UNLISTED: &str = "mx9.d.test";

fn faults() -> [SeenTls; 6] {
    [
        SeenTls::None(Reason::StarttlsNotOffered),
        SeenTls::None(Reason::StarttlsRefused),
        SeenTls::None(Reason::TlsHandshake),
        SeenTls::Unverified(Reason::CertExpired),
        SeenTls::Unverified(Reason::CertHostMismatch),
        SeenTls::Unverified(Reason::CertNotTrusted),
    ]
}

fn of_mode(mode: &str) -> Requirement {
    Requirement::of(&Inputs {
        published: Some(policy(mode, LISTED)),
        ..Inputs::default()
    })
}

fn reason_in(tls: &SeenTls) -> Option<Reason> {
    match tls {
        SeenTls::None(reason) | SeenTls::Unverified(reason) => Some(*reason),
        SeenTls::Verified => None,
    }
}

/// What is decided before connecting and of the session, and what is recorded.
fn judged(
    mode: &str,
    host: &str,
    tls: &SeenTls,
) -> (HostDecision, Option<Reason>, PolicyResult, Option<Reason>) {
    let (r, host) = (of_mode(mode), mx(host));
    let session = facts(r.assurance(&plain()), tls.clone());
    let evidence = Evidence::Session(tls.clone());
    let uses = r.results(Some(&deciding(&host, &evidence)));
    assert_eq!(uses.len(), 1);
    (
        r.host(&host, &plain()),
        reason_of(r.session(&host, &plain(), &session)),
        uses[0].result,
        uses[0].reason,
    )
}

#[test]
fn a6_01_a6_02_a6_03_a6_04_a6_24_enforce_refuses_every_failure() {
    for tls in faults() {
        let reason = reason_in(&tls);
        let may_connect = HostDecision::Connect(Assurance::Authenticated);
        let want = (may_connect, reason, PolicyResult::Failed, reason);
        assert_eq!(judged("enforce", LISTED, &tls), want, "{tls:?}");
    }
    let (_, refused, result, _) = judged("enforce", LISTED, &SeenTls::Verified);
    assert_eq!((refused, result), (None, PolicyResult::Satisfied));
}

#[test]
fn a5_07_a6_01_an_unlisted_host_fails_with_any_certificate() {
    let not_listed = Some(Reason::MxNotInPolicy);
    for tls in faults().into_iter().chain([SeenTls::Verified]) {
        let (before, session, result, reason) = judged("enforce", UNLISTED, &tls);
        let HostDecision::Refuse {
            reason: by_name, ..
        } = before
        else {
            panic!("{tls:?}: {before:?}");
        };
        assert_eq!(Some(by_name), not_listed);
        assert_eq!(session, not_listed, "{tls:?}");
        assert_eq!((result, reason), (PolicyResult::Failed, not_listed));
    }
}

#[test]
fn a6_06_a6_07_a6_24_testing_delivers_and_tells() {
    let as_without = Requirement::of(&Inputs::default());
    for tls in faults().into_iter().chain([SeenTls::Verified]) {
        for host in [LISTED, UNLISTED] {
            let (before, session, result, reason) = judged("testing", host, &tls);
            assert_eq!(before, as_without.host(&mx(host), &plain()));
            assert_eq!(session, None, "{host} {tls:?}");
            let want = match host {
                UNLISTED => Some(Reason::MxNotInPolicy),
                _ => reason_in(&tls),
            };
            assert_eq!(reason, want, "{host} {tls:?}");
            assert_eq!(result == PolicyResult::Failed, want.is_some());
        }
    }
}

#[test]
fn a6_08_a6_24_none_restricts_and_tells_nothing() {
    let as_without = Requirement::of(&Inputs::default());
    for tls in faults().into_iter().chain([SeenTls::Verified]) {
        for host in [LISTED, UNLISTED] {
            let before = as_without.host(&mx(host), &plain());
            let want = (before, None, PolicyResult::NotEvaluated, None);
            assert_eq!(judged("none", host, &tls), want, "{host} {tls:?}");
        }
    }
}
