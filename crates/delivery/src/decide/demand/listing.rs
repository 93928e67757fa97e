//! Who has to say that a host takes the domain's mail (RFC 8461 section 4.1, RFC 8689 section 4.2.1).

use std::sync::Arc;

use attempt::{Case, PolicySource, Reason};
use mail_types::HostName;
use mta_sts::{HostVerdict, MxPattern};
use policy_cache::StoredPolicy;

use crate::decide::standing::{Standing, Vouched};

/// One list on which a host has to stand.
#[derive(Clone, Debug)]
pub(super) enum Listing {
    /// A published policy.
    Policy(Arc<StoredPolicy>),
    /// Patterns of a local rule; a DNSSEC-secure MX name needs none (decision AMB-33).
    Patterns(Vec<MxPattern>),
    /// REQUIRETLS: an enforced policy or DNSSEC (RFC 8689 section 4.2.1).
    PolicyOrDnssec(Arc<StoredPolicy>),
    /// Nothing is published: only DNSSEC can vouch for the name.
    Dnssec(PolicySource),
}

impl Listing {
    /// Why the host does not stand on it.
    pub(super) fn refuses(
        &self,
        mx: &HostName,
        standing: &Standing,
    ) -> Option<(Reason, Case, String)> {
        let secure = standing.vouched == Vouched::Dnssec;
        match self {
            Self::Policy(stored) => match stored.policy.host(mx) {
                HostVerdict::Listed { .. } => None,
                HostVerdict::NotListed => Some((
                    Reason::MxNotInPolicy,
                    Case::Usual,
                    format!("the policy lists only {}", MxPattern::in_words(stored.policy.mx())),
                )),
            },
            Self::Patterns(patterns) => {
                let listed = secure || patterns.iter().any(|p| p.matches(mx));
                (!listed).then(|| {
                    (
                        Reason::MxNotInPolicy,
                        Case::NotInRule,
                        format!("the rule lists only {}", MxPattern::in_words(patterns)),
                    )
                })
            }
            Self::PolicyOrDnssec(_) | Self::Dnssec(_) if secure => None,
            Self::PolicyOrDnssec(stored) => Self::Policy(Arc::clone(stored)).refuses(mx, standing),
            Self::Dnssec(PolicySource::RequireTls) => Some((
                Reason::RequireTlsNoTls,
                Case::NoPolicy,
                "there is no MTA-STS policy in mode enforce, and the MX records are not signed with \
                 DNSSEC"
                    .to_owned(),
            )),
            Self::Dnssec(_) => Some((
                Reason::MxNotInPolicy,
                Case::NobodyVouches,
                "the domain publishes no policy, and its MX records are not signed with DNSSEC"
                    .to_owned(),
            )),
        }
    }
}
