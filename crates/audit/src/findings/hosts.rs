//! The mail hosts: their names against the policy, their addresses, STARTTLS, certificates.

use std::time::Duration;

use attempt::Reason;
use mail_types::Timestamp;
use mta_sts::{HostVerdict, Mode};
use smtp_client::{Cause, CertificateFailure, CertificateFault, StartTls, TlsSession};

use super::{Found, dnssec};
use crate::facts::{AddressFacts, HostFacts, MailHosts, Seen};
use crate::finding::{Finding, Severity};
use crate::table::Kind;

pub(super) fn look(found: &mut Found<'_>) {
    let facts = found.facts;
    if let Some(hop) = &facts.routed_to {
        found.add(Kind::MxRouted, hop);
    }
    match &facts.mail {
        MailHosts::Hosts {
            hosts,
            implicit,
            left_out,
            ..
        } => {
            if *implicit {
                found.add(Kind::MxImplicit, "");
            } else {
                let text = match hosts.len() + left_out {
                    1 => "1 mail host".to_owned(),
                    n => format!("{n} mail hosts"),
                };
                found.add(Kind::MxFound, text);
            }
            if *left_out > 0 {
                let all = hosts.len() + left_out;
                let text = format!(
                    "of {all} mail hosts only the first {} are tried",
                    hosts.len()
                );
                found.add(Kind::MxMany, text);
            }
            for name in &facts.unusable {
                found.add(Kind::MxUnusable, name);
            }
            for host in hosts {
                at_host(found, host);
            }
        }
        MailHosts::Undeliverable { reason, detail } => {
            let kind = match reason.0 {
                Reason::NoSuchDomain => Kind::NoSuchDomain,
                Reason::NullMx => Kind::NullMx,
                Reason::Loop => Kind::MxLoop,
                _ => Kind::MxUnusable,
            };
            found.add(kind, detail);
        }
        MailHosts::Unknown { reason, detail } => {
            let kind = match reason {
                Reason::Local => Kind::MxLocal,
                _ => Kind::MxLookup,
            };
            found.add(kind, detail);
        }
    }
}

fn at_host(found: &mut Found<'_>, host: &HostFacts) {
    let name = &host.candidate.name;
    let policy = found.facts.published();
    let policy = policy.as_ref().filter(|p| p.mode() != Mode::None);
    // A host that no policy speaks of may have any certificate: mail gets there all the same. One
    // that TLSA records authenticate needs no other.
    let dane = host.candidate.standing.dane.is_present();
    let worst = match policy {
        Some(_) => Severity::Error,
        None if dnssec::matches(host) => Severity::Note,
        None => Severity::Warning,
    };
    if let Some(stored) = policy {
        let finding = match stored.policy.host(name) {
            HostVerdict::Listed { pattern } => {
                found.finding(Kind::HostListed, Some(name), pattern.as_str())
            }
            HostVerdict::NotListed => found.finding(Kind::HostNotListed, Some(name), ""),
        };
        found.list.push(finding);
    }
    let about_dane = dnssec::at_host(found, host);
    found.list.extend(about_dane);
    if let Err(unreachable) = &host.candidate.addresses {
        let kind = match unreachable.reason {
            Reason::AddressRefused => Kind::HostSpecialUse,
            Reason::Local => Kind::HostLocal,
            _ if unreachable.definite => Kind::HostNoAddress,
            _ => Kind::HostLookup,
        };
        let finding = found.finding(kind, Some(name), &unreachable.detail);
        found.list.push(finding);
    }
    for address in &host.addresses {
        for (kind, detail) in at_address(address, found.facts.now) {
            let about_tls = !matches!(address.seen, Seen::Failed { .. }) || is_tls(kind);
            let detail = if host.addresses.len() > 1 {
                format!("{detail}, at {}", address.address)
            } else {
                detail
            };
            let mut finding = found.finding(kind, Some(name), &detail);
            if about_tls && !(dane && is_no_tls(kind)) {
                finding = finding.at_most(worst);
            }
            push_once(&mut found.list, finding);
        }
    }
}

/// Equal words about one host are said once.
fn push_once(list: &mut Vec<Finding>, finding: Finding) {
    if !list.contains(&finding) {
        list.push(finding);
    }
}

fn at_address(at: &AddressFacts, now: Timestamp) -> Vec<(Kind, String)> {
    match &at.seen {
        Seen::Session { starttls, tls } => match tls {
            Some(tls) => of_tls(tls, now),
            None => vec![without_tls(starttls)],
        },
        Seen::Failed { cause, .. } => vec![failed(cause)],
        Seen::NotChecked => vec![(Kind::HostNotChecked, at.address.to_string())],
    }
}

fn without_tls(starttls: &StartTls) -> (Kind, String) {
    match starttls {
        StartTls::Refused(reply) => (Kind::StartTlsRefused, reply.to_string()),
        StartTls::Used | StartTls::NotOffered | StartTls::NotTried => (
            Kind::NoStartTls,
            "no such line in its answer to EHLO".to_owned(),
        ),
    }
}

fn of_tls(tls: &TlsSession, now: Timestamp) -> Vec<(Kind, String)> {
    if let Some(failure) = tls.verdict.failure() {
        return vec![(certificate(failure), failure.fault.to_string())];
    }
    if !tls.verdict.would_verify() {
        let detail = CertificateFault::KeyNotProven.to_string();
        return vec![(Kind::CertOther, detail)];
    }
    let mut list = Vec::new();
    let certificate = tls.certificate.as_ref();
    let until = certificate.map_or_else(String::new, |c| format!(" until {}", day(c.not_after)));
    let good = format!("{}, a certificate that is valid{until}", tls.version);
    list.push((Kind::CertGood, good));
    if let Some(end) = certificate.map(|c| c.not_after)
        && end < now + ENDS_SOON
    {
        list.push((Kind::CertEndsSoon, day(end)));
    }
    list
}

fn failed(cause: &Cause) -> (Kind, String) {
    let kind = match cause {
        Cause::Connect(_) => Kind::HostConnect,
        Cause::StartTlsNotOffered(_) => Kind::NoStartTls,
        Cause::StartTlsRefused(_) => Kind::StartTlsRefused,
        Cause::StartTlsInjection => Kind::StartTlsInjection,
        Cause::Handshake(_) => Kind::TlsHandshake,
        Cause::Certificate(failure) => {
            return (certificate(failure), failure.fault.to_string());
        }
        // The probe demands nothing of TLSA records.
        Cause::Dane(_) => Kind::HostLost,
        Cause::Timeout(_) => Kind::HostTimeout,
        Cause::Remote(_) => Kind::HostRefuses,
        Cause::Local(_) | Cause::Configured(_) => {
            return (Kind::HostLocal, cause.specifics());
        }
        Cause::Lost(_) | Cause::Protocol(_) | Cause::Auth(_) | Cause::Missing(_) => Kind::HostLost,
    };
    (kind, cause.to_string())
}

const fn certificate(failure: &CertificateFailure) -> Kind {
    match failure.fault {
        CertificateFault::Expired { .. } => Kind::CertExpired,
        CertificateFault::NotYetValid { .. } => Kind::CertEarly,
        CertificateFault::HostMismatch { .. } => Kind::CertName,
        CertificateFault::SelfSigned => Kind::CertSelfSigned,
        CertificateFault::MissingIntermediate { .. } => Kind::CertChain,
        CertificateFault::UnknownIssuer { .. } => Kind::CertIssuer,
        CertificateFault::Purpose(_)
        | CertificateFault::Constraint(_)
        | CertificateFault::Algorithm(_)
        | CertificateFault::BadSignature
        | CertificateFault::Revocation(_)
        | CertificateFault::Malformed(_)
        | CertificateFault::KeyNotProven
        | CertificateFault::Other(_) => Kind::CertOther,
    }
}

/// Without TLS nothing is delivered to a host that has TLSA records (RFC 7672 section 2.2).
const fn is_no_tls(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::NoStartTls | Kind::StartTlsRefused | Kind::TlsHandshake
    )
}

/// Faults that only a policy makes matter: without one, mail is sent without verified TLS.
const fn is_tls(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::NoStartTls
            | Kind::StartTlsRefused
            | Kind::TlsHandshake
            | Kind::CertExpired
            | Kind::CertEarly
            | Kind::CertName
            | Kind::CertSelfSigned
            | Kind::CertChain
            | Kind::CertIssuer
            | Kind::CertOther
    )
}

fn day(time: Timestamp) -> String {
    let text = time.rfc3339();
    text.split_once('T')
        .map_or_else(|| text.clone(), |(day, _)| day.to_owned())
}

const ENDS_SOON: Duration = Duration::from_secs(14 * 86_400);
