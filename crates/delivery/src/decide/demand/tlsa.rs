//! Demand e: what a host's TLSA records ask of it and of its session (RFC 7672 section 2.2).

use std::borrow::Cow;

use attempt::{DaneUse, PolicyResult, PolicySource, PolicyUse, Reason, Weakened};
use smtp_client::DaneVerdict;

use super::{Assurance, Deciding, Evidence, Inputs, SeenTls, SessionFacts};
use crate::decide::standing::{HostDane, Standing, Vouched};

/// `[[domain]] dane` as it applies now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DaneRule {
    /// What is published counts.
    #[default]
    Policy,
    /// And something has to be published (RFC 7672 section 6, row C3-13).
    Require,
    /// Held against the session and recorded, never enforced.
    DangerousAudit,
    /// Not looked at.
    DangerousOff,
}

/// What a host's TLSA records said of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeenDane {
    /// It has none that can be used, or there was no certificate.
    #[default]
    Nothing,
    /// They accept the certificate.
    Matched,
    /// They do not.
    Mismatched(Reason),
}

impl SeenDane {
    /// In delivery's terms.
    #[must_use]
    pub fn of(verdict: &DaneVerdict) -> Self {
        match (verdict.would_match(), verdict.failure()) {
            (Some(_), _) => Self::Matched,
            (None, Some(failure)) => Self::Mismatched(failure.reason()),
            (None, None) => Self::Nothing,
        }
    }
}

/// What becomes of TLSA records in one delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dane {
    force: Force,
    /// `dane = "require"`.
    required: bool,
    /// Some host has records.
    published: bool,
    /// `delivery.dane-satisfies-sts`.
    pub(super) satisfies_sts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Force {
    Enforced,
    Audited,
    Off,
}

type Refusal = Option<(Reason, String)>;

impl Dane {
    /// Decision AMB-33: `TLS-Required: No` removes what is published, and so does a report's class;
    /// nothing removes what the configuration requires, nor what REQUIRETLS stands on.
    pub(super) fn of(inputs: &Inputs) -> Self {
        let set_aside = inputs.report || (inputs.tls_required_no && !inputs.requiretls);
        let force = match inputs.rule.dane {
            DaneRule::Require => Force::Enforced,
            DaneRule::DangerousOff => Force::Off,
            DaneRule::DangerousAudit => Force::Audited,
            DaneRule::Policy if set_aside => Force::Off,
            DaneRule::Policy => Force::Enforced,
        };
        Self {
            force,
            required: inputs.rule.dane == DaneRule::Require,
            published: inputs.dane_published,
            satisfies_sts: inputs.dane_satisfies_sts,
        }
    }

    /// What took the demand away, if there was one.
    pub(super) const fn weakened_by(self, inputs: &Inputs) -> Option<Weakened> {
        match (self.force, inputs.rule.dane) {
            // Nobody looked what there is.
            (Force::Off, DaneRule::DangerousOff) => Some(Weakened::Exempt),
            _ if !self.published => None,
            (Force::Enforced, _) => None,
            (Force::Audited, _) => Some(Weakened::Audit),
            (Force::Off, _) if inputs.report => Some(Weakened::Report),
            (Force::Off, _) => Some(Weakened::TlsRequiredNo),
        }
    }

    pub(super) const fn is_demanding(self) -> bool {
        self.required || (self.published && matches!(self.force, Force::Enforced))
    }

    /// Whether certificates are held against records at all.
    pub(super) const fn looks(self) -> bool {
        match self.force {
            Force::Enforced | Force::Audited => true,
            Force::Off => false,
        }
    }

    /// Whether this host has to be authenticated by its records (row C2-01).
    pub(super) fn authenticates(self, standing: &Standing) -> bool {
        self.force == Force::Enforced && standing.dane.records().is_some()
    }

    /// Whether TLS is mandatory with this host: whatever its records are worth (rows C2-02, C2-11).
    pub(super) fn encrypts(self, standing: &Standing) -> bool {
        self.force == Force::Enforced && standing.dane.is_present()
    }

    /// Whether the host is out of the question.
    pub(super) fn refuses(self, standing: &Standing) -> Refusal {
        if self.force != Force::Enforced {
            return None;
        }
        if let HostDane::Failed { detail, ours, .. } = &standing.dane {
            if *ours {
                return Some((Reason::Local, detail.to_string()));
            }
            // RFC 7672 section 2.1.1: "the … server MUST be treated as unreachable" (row C1-04), also
            // under an enforced MTA-STS policy (row C4-03).
            return Some((Reason::DaneLookup, detail.to_string()));
        }
        if !self.required {
            return None;
        }
        match (&standing.dane, standing.vouched) {
            (HostDane::Unusable { why, .. }, _) => Some((Reason::DaneUnusable, why.to_string())),
            (HostDane::Absent | HostDane::Failed { .. }, _) => Some((
                Reason::DaneRequired,
                "it has no DNSSEC-signed TLSA records".to_owned(),
            )),
            (HostDane::Usable(_), Vouched::Nobody) => Some((
                Reason::DaneRequired,
                "the MX records of the domain are not signed with DNSSEC".to_owned(),
            )),
            (HostDane::Usable(_), Vouched::Dnssec | Vouched::Configuration) => None,
        }
    }

    /// Whether a session does not count as authenticated by the host's records. A connection counts
    /// for the records that it was opened for, and for no others.
    pub(super) fn refuses_session(self, standing: &Standing, facts: &SessionFacts) -> Refusal {
        let records = standing.dane.records()?;
        if !self.authenticates(standing) {
            return None;
        }
        let refuse = |reason, specifics: &str| Some((reason, specifics.to_owned()));
        match facts.assurance {
            Assurance::Dane | Assurance::DaneAndAuthenticated => {}
            Assurance::Authenticated
            | Assurance::DangerousEncrypted
            | Assurance::DangerousOpportunistic
            | Assurance::DangerousPlain => {
                return refuse(
                    Reason::DaneMismatch,
                    "the connection was opened without the host's TLSA records",
                );
            }
        }
        if facts.records.as_ref() != Some(records) {
            return refuse(
                Reason::DaneMismatch,
                "the connection was opened for other TLSA records than the present ones",
            );
        }
        match (facts.dane, &facts.tls) {
            (SeenDane::Matched, SeenTls::Verified | SeenTls::Unverified(_)) => None,
            (SeenDane::Matched | SeenDane::Nothing, SeenTls::None(reason)) => {
                refuse(*reason, "the session has no TLS")
            }
            (SeenDane::Mismatched(reason), _) => refuse(
                reason,
                "the host's TLSA records do not accept its certificate",
            ),
            (SeenDane::Nothing, SeenTls::Verified | SeenTls::Unverified(_)) => {
                refuse(Reason::DaneMismatch, "the certificate was not looked at")
            }
        }
    }

    /// What came of `dane = "require"`.
    pub(super) fn require_result(self, last: &Deciding<'_>) -> (PolicyResult, Option<Reason>) {
        match self.refuses(last.standing) {
            Some((reason, _)) => (PolicyResult::Failed, Some(reason)),
            None => self.outcome(last),
        }
    }

    /// The entry of the record, if the host has records or may have some.
    pub(super) fn result(self, last: &Deciding<'_>) -> Option<PolicyUse> {
        let base = last.standing.dane.base()?;
        let (result, reason) = match self.force {
            Force::Off => (PolicyResult::NotEvaluated, None),
            Force::Enforced | Force::Audited => self.outcome(last),
        };
        let mode = match (self.force, &last.standing.dane) {
            (Force::Off, _) => "off",
            (Force::Audited, _) => "audit",
            (Force::Enforced, HostDane::Usable(_)) => "enforce",
            (Force::Enforced, HostDane::Unusable { .. }) => "encrypt",
            (Force::Enforced, HostDane::Failed { .. } | HostDane::Absent) => "unknown",
        };
        Some(PolicyUse {
            source: PolicySource::Dane,
            mode: Cow::Borrowed(mode),
            id: None,
            from: None,
            fetched_at: None,
            expires_at: None,
            first_contact: false,
            result,
            reason,
            by: None,
            dane: Some(DaneUse {
                target: base.as_str().into(),
                mx_secure: match last.standing.vouched {
                    Vouched::Dnssec | Vouched::Configuration => true,
                    Vouched::Nobody => false,
                },
                unusable: match &last.standing.dane {
                    HostDane::Unusable { why, .. } => Some(why.clone()),
                    HostDane::Usable(_) | HostDane::Failed { .. } | HostDane::Absent => None,
                },
            }),
        })
    }

    fn outcome(self, last: &Deciding<'_>) -> (PolicyResult, Option<Reason>) {
        let failed = |reason| (PolicyResult::Failed, Some(reason));
        match (&last.standing.dane, last.evidence, last.dane) {
            (HostDane::Failed { ours: true, .. }, _, _) => failed(Reason::Local),
            (HostDane::Failed { ours: false, .. }, _, _) => failed(Reason::DaneLookup),
            (HostDane::Absent, _, _) => (PolicyResult::NotEvaluated, None),
            (_, Evidence::Session(SeenTls::None(reason)), _) => failed(*reason),
            (HostDane::Usable(_), _, SeenDane::Matched) => (PolicyResult::Satisfied, None),
            (HostDane::Usable(_), _, SeenDane::Mismatched(reason)) => failed(reason),
            (HostDane::Unusable { .. }, Evidence::Session(_) | Evidence::WithoutRequireTls, _) => {
                (PolicyResult::Satisfied, None)
            }
            (HostDane::Usable(_), _, SeenDane::Nothing)
            | (HostDane::Unusable { .. }, Evidence::Nothing, _) => {
                (PolicyResult::NotEvaluated, None)
            }
        }
    }
}

#[cfg(test)]
mod tests;
