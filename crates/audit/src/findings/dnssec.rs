//! DNSSEC and DANE: who vouches for the mail hosts, and whether their TLSA records fit.

use delivery::decide::standing::HostDane;
use mail_types::Security;
use smtp_client::{DaneFault, DaneMatch};

use super::Found;
use crate::facts::{HostFacts, MailHosts, Seen};
use crate::finding::Finding;
use crate::table::Kind;

/// The list of mail hosts.
pub(super) fn look(found: &mut Found<'_>) {
    let MailHosts::Hosts { security, .. } = &found.facts.mail else {
        return;
    };
    let kind = match security {
        Security::Secure => Kind::DnssecMxSecure,
        Security::Insecure => Kind::DnssecMxInsecure,
        Security::Unchecked => Kind::DnssecNotValidated,
    };
    found.add(kind, "");
}

/// What TLSA records say of one host.
pub(super) fn at_host(found: &Found<'_>, host: &HostFacts) -> Vec<Finding> {
    let name = Some(&host.candidate.name);
    let finding = |kind, detail: &str| found.finding(kind, name, detail);
    match &host.candidate.standing.dane {
        HostDane::Usable(_) => sessions(host)
            .into_iter()
            .map(|(kind, detail)| finding(kind, &detail))
            .collect(),
        HostDane::Unusable { why, .. } => vec![finding(Kind::DaneUnusable, why)],
        HostDane::Failed { detail, ours, .. } => {
            let kind = match ours {
                true => Kind::DaneLocal,
                false => Kind::DaneLookup,
            };
            vec![finding(kind, detail)]
        }
        HostDane::Absent => absent(host)
            .map(|(kind, detail)| finding(kind, &detail))
            .into_iter()
            .collect(),
    }
}

/// Whether the records accept the certificate of any address, so that a certificate of a public
/// authority is needed by a policy only.
pub(super) fn matches(host: &HostFacts) -> bool {
    let by = |seen: &Seen| match seen {
        Seen::Session { tls: Some(tls), .. } => tls.dane.would_match().is_some(),
        Seen::Session { tls: None, .. } | Seen::Failed { .. } | Seen::NotChecked => false,
    };
    !host.addresses.is_empty() && host.addresses.iter().all(|at| by(&at.seen))
}

fn absent(host: &HostFacts) -> Option<(Kind, String)> {
    let signed = &host.signed;
    match (signed.security?, &signed.alias) {
        (Security::Secure, _) => Some((Kind::DaneAbsent, String::new())),
        (Security::Insecure, Some(alias)) if signed.useless_tlsa => {
            Some((Kind::DaneAlias, alias.to_string()))
        }
        (Security::Insecure, None) if signed.useless_tlsa => {
            Some((Kind::DaneUnsigned, String::new()))
        }
        (Security::Insecure | Security::Unchecked, _) => None,
    }
}

fn sessions(host: &HostFacts) -> Vec<(Kind, String)> {
    let mut list = Vec::new();
    for at in &host.addresses {
        let Seen::Session { tls: Some(tls), .. } = &at.seen else {
            continue;
        };
        let (kind, detail) = match (tls.dane.would_match(), tls.dane.failure()) {
            (Some(by), _) => (Kind::DaneGood, words(by).to_owned()),
            (None, Some(failure)) => match &failure.fault {
                DaneFault::NoMatch { .. } | DaneFault::KeyNotProven => {
                    (Kind::DaneMismatch, failure.fault.to_string())
                }
                DaneFault::Anchored { fault, .. } => (Kind::DaneAuthority, fault.to_string()),
            },
            (None, None) => continue,
        };
        let detail = if host.addresses.len() > 1 {
            format!("{detail}, at {}", at.address)
        } else {
            detail
        };
        list.push((kind, detail));
    }
    list
}

const fn words(by: DaneMatch) -> &'static str {
    match by {
        DaneMatch::EndEntity => "DANE-EE: the host's own key",
        DaneMatch::TrustAnchor => "DANE-TA: the authority above it",
    }
}

#[cfg(test)]
pub(super) mod tests;
