//! The policy and its host (RFC 8461 sections 3.2 and 3.3).

use std::time::Duration;

use mta_sts::{Mode, MxPattern, Parsed, Policy, Selection, Warning};
use policy_cache::{FetchError, PkixError};

use super::Found;
use crate::facts::TxtAnswer;
use crate::nearest::distance;
use crate::table::Kind;

pub(super) fn look(found: &mut Found<'_>) {
    let facts = found.facts;
    let wanted = matches!(facts.selection(), Some(Selection::Found(_)));
    match &facts.policy {
        Ok(parsed) => {
            if matches!(facts.record, TxtAnswer::Failed(_)) {
                found.add(Kind::PolicyDoubtful, "");
            } else if !wanted {
                found.add(Kind::PolicyWithoutRecord, "");
            }
            of_text(found, parsed);
        }
        // Without a record nobody expects a policy.
        Err(error) if wanted => {
            let (kind, detail) = failed(error);
            found.add(kind, detail);
        }
        Err(_) => {}
    }
}

fn of_text(found: &mut Found<'_>, parsed: &Parsed) {
    let policy = &parsed.policy;
    match policy.mode() {
        Mode::Enforce => found.add(Kind::PolicyEnforce, list(policy.mx())),
        Mode::Testing => match tested_since(found) {
            Some(id) => found.add(Kind::PolicyTestingLong, format!("its id {id} is a date")),
            None => found.add(Kind::PolicyTesting, ""),
        },
        Mode::None => found.add(Kind::PolicyNone, ""),
    }
    if policy.mode() != Mode::None {
        let max_age = policy.max_age();
        if max_age < DAY {
            found.add(Kind::MaxAgeShort, span(max_age));
        } else if max_age < DAY * 7 {
            found.add(Kind::MaxAgeModest, span(max_age));
        }
    }
    for warning in &parsed.warnings {
        let kind = match warning {
            Warning::BlankLine(_) => Kind::PolicyBlankLine,
            Warning::TrailingDot(_) => Kind::PolicyTrailingDot,
            Warning::MaxAgeClamped(_) => Kind::MaxAgeCut,
            Warning::BroadPattern(_) => Kind::PatternBroad,
            Warning::AddressPattern(_) => Kind::PatternAddress,
        };
        found.add(kind, warning.to_string());
    }
    if policy.mode() != Mode::None {
        unused(found, policy);
    }
}

/// The record's id, if it is a date that lies more than a year back: it has to change with the
/// policy, and so the policy has not changed since.
fn tested_since(found: &Found<'_>) -> Option<String> {
    let Some(Selection::Found(record)) = found.facts.selection() else {
        return None;
    };
    let id = record.id().as_str();
    let number = |range: std::ops::Range<usize>| id.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    // MTA-STS is of 2018; anything else is a number of another sort.
    if !(2018..2100).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // The 366th day after it, whatever the months' lengths: a few days more or less do not matter.
    let days = (year - 1970) * 365 + (year - 1969) / 4 + (month - 1) * 30 + month / 2 + day;
    (found.facts.now.as_secs() / 86_400 > days + 366).then(|| id.to_owned())
}

/// Patterns that match no mail host, and what was probably meant.
fn unused(found: &mut Found<'_>, policy: &Policy) {
    let hosts: Vec<_> = found.host_names().collect();
    if hosts.is_empty() {
        return;
    }
    for pattern in policy.mx() {
        if pattern.is_numeric() || hosts.iter().any(|host| pattern.matches(host)) {
            continue;
        }
        let parent = pattern.as_str().strip_prefix("*.");
        let stray: Vec<_> = hosts
            .iter()
            .filter(|host| policy.host(host) == mta_sts::HostVerdict::NotListed)
            .collect();
        let below = parent.and_then(|parent| {
            let suffix = format!(".{parent}");
            stray.iter().find(|host| host.as_str().ends_with(&suffix))
        });
        let apex = parent.and_then(|parent| stray.iter().find(|host| host.as_str() == parent));
        let close = stray
            .iter()
            .find(|host| distance(host.as_str(), pattern.as_str()) <= CLOSE);
        let (kind, detail) = match (below, apex, close) {
            (Some(host), _, _) => (
                Kind::PatternTwoLabels,
                format!("{pattern} does not cover {host}"),
            ),
            (None, Some(host), _) => (
                Kind::PatternApex,
                format!("{pattern} does not cover {host}"),
            ),
            (None, None, Some(host)) => (
                Kind::PatternTypo,
                format!("{pattern} matches no mail host; perhaps {host} was meant"),
            ),
            (None, None, None) => (Kind::PatternUnused, pattern.to_string()),
        };
        found.add(kind, detail);
    }
}

/// The row for a failed fetch.
fn failed(error: &FetchError) -> (Kind, String) {
    if error.is_ours() {
        return (Kind::PolicyLocal, error.to_string());
    }
    let kind = match error {
        FetchError::Addresses { main, .. } => failed(main).0,
        FetchError::Dns(e) => {
            let kind = if e.is_definite() {
                Kind::PolicyNoAddress
            } else {
                Kind::PolicyDns
            };
            return (kind, e.to_string());
        }
        FetchError::Certificate(fault) => return (certificate(fault), fault.to_string()),
        FetchError::RefusedAddress { .. } => Kind::PolicySpecialUse,
        FetchError::Connect(_) => Kind::PolicyConnect,
        FetchError::Tls(_) | FetchError::TlsVersion(_) => Kind::PolicyTls,
        FetchError::Timeout { .. } => Kind::PolicyTimeout,
        FetchError::Status { status, .. } => match status {
            300..=399 => Kind::PolicyRedirect,
            404 | 410 => Kind::PolicyNotFound,
            401 | 403 | 406 | 407 | 429 | 451 => Kind::PolicyRefused,
            500..=599 => Kind::PolicyServerError,
            _ => Kind::PolicyStatus,
        },
        FetchError::MediaType(_) => Kind::PolicyMediaType,
        FetchError::ContentEncoding(_) => Kind::PolicyEncoding,
        FetchError::Oversize => Kind::PolicyOversize,
        FetchError::BodyIncomplete { .. } => Kind::PolicyIncomplete,
        FetchError::BadHttp(_) => Kind::PolicyBadHttp,
        FetchError::Policy(fault) => return (Kind::PolicyInvalid, fault.to_string()),
        FetchError::NameTooLong
        | FetchError::RateLimited { .. }
        | FetchError::ClockDoubted(_)
        | FetchError::Local(_) => Kind::PolicyLocal,
    };
    (kind, error.to_string())
}

const fn certificate(fault: &PkixError) -> Kind {
    match fault {
        PkixError::Expired { .. } => Kind::PolicyCertExpired,
        PkixError::NotYetValid { .. } => Kind::PolicyCertEarly,
        PkixError::Name { .. } => Kind::PolicyCertName,
        PkixError::UnknownIssuer(_) => Kind::PolicyCertUntrusted,
        PkixError::Revoked | PkixError::Other(_) => Kind::PolicyCertOther,
    }
}

fn list(patterns: &[MxPattern]) -> String {
    let names: Vec<_> = patterns.iter().take(SHOWN).map(MxPattern::as_str).collect();
    let more = match patterns.len().saturating_sub(SHOWN) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    names.join(", ") + &more
}

/// In the largest unit that fits exactly enough for people.
fn span(time: Duration) -> String {
    let secs = time.as_secs();
    match secs {
        0..=119 => format!("{secs} seconds"),
        120..=7199 => format!("{} minutes", secs / 60),
        7200..=172_799 => format!("{} hours", secs / 3600),
        _ => format!("{} days", secs / 86_400),
    }
}

const DAY: Duration = Duration::from_secs(86_400);
/// Slips such as `nmx` for `mx`.
const CLOSE: usize = 2;
const SHOWN: usize = 10;
