//! What came of each demand, for the record.

use std::borrow::Cow;
use std::sync::Arc;

use attempt::{PolicyResult, PolicySource, PolicyUse, Reason};
use mail_types::HostName;

use super::listing::Listing;
use super::{Published, Requirement, SeenDane, SeenTls};
use crate::decide::standing::Standing;

/// One demand on a delivery.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    pub(super) source: PolicySource,
    pub(super) mode: Cow<'static, str>,
    pub(super) published: Option<Published>,
    pub(super) needs: Needs,
    /// It is `delivery.tls`.
    pub(super) general: bool,
}

/// What a demand asks of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    Encryption,
    Certificate,
    ListedAndCertificate,
    /// These, and the extension at the next hop.
    RequireTls,
    Dane,
}

impl Needs {
    /// Whether a failure for this reason (one of TLS) means that it is not met.
    pub(super) const fn is_of(self, reason: Reason) -> bool {
        match self {
            Self::Nothing | Self::Dane => false,
            Self::Encryption => !reason.is_of_certificate(),
            Self::Certificate => !matches!(reason, Reason::MxNotInPolicy),
            Self::ListedAndCertificate | Self::RequireTls => true,
        }
    }
}

/// The host and session that decided an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Deciding<'a> {
    /// The host.
    pub mx: &'a HostName,
    /// What DNS says of it.
    pub standing: &'a Standing,
    /// How far it came.
    pub evidence: &'a Evidence,
    /// What its TLSA records say of the session.
    pub dane: SeenDane,
}

/// How far an attempt came with a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The host was refused by name, or its session showed this.
    Session(SeenTls),
    /// The session was verified, and REQUIRETLS was not offered in it.
    WithoutRequireTls,
    /// Nothing that a policy speaks of was seen: no connection, a lost one.
    Nothing,
}

impl Requirement {
    /// What came of each demand, for the record: `last` is the host and session that decided the
    /// attempt, or the reason why there was none.
    #[must_use]
    pub fn results(&self, last: Option<&Deciding<'_>>) -> Vec<PolicyUse> {
        let each = self.demands.iter().map(|demand| {
            let (result, reason) = match last {
                Some(last) => demand.result(last, self),
                None => (PolicyResult::NotEvaluated, None),
            };
            let by_dane = result == PolicyResult::Satisfied
                && last.is_some_and(|last| {
                    matches!(last.evidence, Evidence::Session(SeenTls::Unverified(_)))
                        && demand.is_met_by_dane(last, self)
                });
            PolicyUse {
                by: by_dane.then_some(PolicySource::Dane),
                ..demand.record(result, reason)
            }
        });
        let dane = last.and_then(|last| self.dane.result(last));
        each.chain(dane).collect()
    }
}

impl Demand {
    fn result(&self, last: &Deciding<'_>, all: &Requirement) -> (PolicyResult, Option<Reason>) {
        let failed = |reason| (PolicyResult::Failed, Some(reason));
        let (mx, standing) = (last.mx, last.standing);
        if self.needs == Needs::Nothing {
            return (PolicyResult::NotEvaluated, None);
        }
        if self.needs == Needs::Dane {
            return all.dane.require_result(last);
        }
        if matches!(self.needs, Needs::ListedAndCertificate | Needs::RequireTls) {
            let refused = match &self.published {
                Some(p) => Listing::Policy(Arc::clone(&p.stored)).refuses(mx, standing),
                None => all.listed_by.iter().find_map(|l| l.refuses(mx, standing)),
            };
            if refused.is_some() && self.needs == Needs::RequireTls {
                return failed(Reason::RequireTlsNoTls);
            }
            if let Some((reason, ..)) = refused {
                return failed(reason);
            }
        }
        match last.evidence {
            Evidence::Nothing => (PolicyResult::NotEvaluated, None),
            Evidence::WithoutRequireTls if self.needs == Needs::RequireTls => {
                failed(Reason::RequireTlsUnsupported)
            }
            Evidence::WithoutRequireTls => (PolicyResult::Satisfied, None),
            Evidence::Session(SeenTls::None(reason)) => failed(*reason),
            Evidence::Session(SeenTls::Unverified(_)) if self.is_met_by_dane(last, all) => {
                (PolicyResult::Satisfied, None)
            }
            Evidence::Session(SeenTls::Unverified(reason)) if self.needs != Needs::Encryption => {
                failed(*reason)
            }
            Evidence::Session(SeenTls::Unverified(_) | SeenTls::Verified) => {
                (PolicyResult::Satisfied, None)
            }
        }
    }

    /// Whether TLSA records that accept the certificate are enough, so that PKIX has no say.
    fn is_met_by_dane(&self, last: &Deciding<'_>, all: &Requirement) -> bool {
        let enough = match self.source {
            PolicySource::MtaSts => all.dane.satisfies_sts,
            PolicySource::RequireTls => true,
            PolicySource::Dane | PolicySource::Local | PolicySource::Route => false,
        };
        enough && last.dane == SeenDane::Matched && all.dane.authenticates(last.standing)
    }

    fn record(&self, result: PolicyResult, reason: Option<Reason>) -> PolicyUse {
        let p = self.published.as_ref();
        PolicyUse {
            source: self.source,
            mode: self.mode.clone(),
            id: p
                .and_then(|p| p.stored.id.as_ref())
                .map(|id| id.as_str().into()),
            from: p.map(|p| p.from),
            fetched_at: p.map(|p| p.stored.fetched_at),
            expires_at: p.map(|p| p.stored.expires_at),
            first_contact: p.is_some_and(|p| p.first_contact),
            result,
            reason,
            by: None,
            dane: None,
        }
    }
}
