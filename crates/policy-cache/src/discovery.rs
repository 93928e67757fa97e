//! What a look-up gives back: the policy of a domain, or why there is none.

use std::sync::Arc;
use std::time::Duration;

use mail_types::{DnsError, Domain, Timestamp};
use mta_sts::{Mode, MxPattern, NoRecord, Policy, PolicyId};

use policy_fetch::FetchError;

/// The answer for one policy domain. Cloning shares, it never copies a policy.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// What is in force.
    pub outcome: Outcome,
    /// Nothing valid was known about this domain before this look-up (row A7-07).
    pub first_contact: bool,
    /// Until when this answer may be reused without asking again: the TTL of the TXT answer within
    /// 30 s to 1 h (row A2-20), and never beyond the policy's expiry.
    pub valid_until: Timestamp,
    /// [`crate::PolicyCache::generation`] when this answer was made.
    pub generation: u64,
    /// What the operator has set for this domain.
    pub local: Option<Arc<LocalRules>>,
}

/// What is in force for a domain. Must be matched without `_`.
#[derive(Clone, Debug)]
#[must_use]
pub enum Outcome {
    /// This policy applies; its mode may be none.
    Policy(Applied),
    /// No policy applies: deliver as if the domain had never heard of MTA-STS.
    NoPolicy(NoPolicy),
    /// Nothing is in force, and what the domain demands cannot be known yet. The mail waits; ask again
    /// at `until`.
    Wait {
        /// When the next look-up is worth making.
        until: Timestamp,
        /// Why.
        why: Waiting,
    },
}

/// Why it cannot be known yet what a domain demands: the end of a sentence about its policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Waiting {
    /// First contact, and DNS does not answer (decision AMB-01).
    #[error(
        "the _mta-sts record could not be looked up ({cause}; failures so far: {failures}, the last at {last})"
    )]
    Dns {
        /// When the first look-up of this series failed.
        since: Timestamp,
        /// How many uncached look-ups have failed since.
        failures: u32,
        /// The last failure.
        cause: DnsError,
        /// When it was: nobody is asked anew for a while.
        last: Timestamp,
    },
    /// A policy to be enforced has run out, because its lifetime is very short, or the clock by which
    /// the last fetch failed is doubted no longer; and our limits on fetches keep us from asking now (decision AMB-06).
    #[error(
        "its policy has to be fetched again, which we do at most once a minute and 20 times an hour"
    )]
    FetchLimit,
    /// What the policy host showed was judged by a clock that is doubted (row H8-01).
    #[error("{0}")]
    Clock(FetchError),
    /// Something of ours failed: descriptors, memory, our own name servers. It lasts until that is mended.
    #[error("{0}")]
    Local(FetchError),
}

/// A policy in force, and how we came by it.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The policy with its times.
    pub policy: Arc<StoredPolicy>,
    /// Fetched for this look-up, or from the cache.
    pub from: Origin,
    /// Why the cached policy had to stand in for a live one (rows A4-15, A6-23).
    pub fallback: Option<Fallback>,
}

/// Where a policy in force came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Fetched by HTTPS in this look-up.
    Live,
    /// Fetched earlier and unexpired.
    Cache,
}

impl Origin {
    /// The word of the attempt record: `live` or `cache`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Cache => "cache",
        }
    }
}

/// Why a cached policy stands in for a live one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fallback {
    /// The record is gone, doubled or broken: removed without mode none, or an attack.
    #[error("{}", .0.in_words())]
    Record(RecordTrouble),
    /// The TXT look-up failed.
    #[error("the _mta-sts look-up failed: {0}")]
    Dns(DnsError),
    /// A new id is published and its policy cannot be fetched.
    #[error("the policy with id {id} could not be fetched: {cause}")]
    Fetch {
        /// The published id.
        id: PolicyId,
        /// The last failure.
        cause: FetchError,
    },
}

/// Why there is no usable record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordTrouble {
    /// NXDOMAIN.
    #[error("the name does not exist (NXDOMAIN)")]
    NoSuchName,
    /// Records at the name, but none that can be used.
    #[error(transparent)]
    NoRecord(NoRecord),
    /// `_mta-sts.` in front makes the name longer than DNS allows (row H1-26).
    #[error("the name _mta-sts.<domain> is longer than DNS allows")]
    NameTooLong,
}

impl RecordTrouble {
    /// Whether the domain publishes something that was meant for a record: then it wants a policy.
    #[must_use]
    pub const fn is_of_a_record(&self) -> bool {
        match self {
            Self::NoRecord(NoRecord::NearMiss | NoRecord::Several(_) | NoRecord::Invalid(_)) => {
                true
            }
            Self::NoRecord(NoRecord::Absent) | Self::NoSuchName | Self::NameTooLong => false,
        }
    }

    /// What the trouble comes to, and why: nothing is wrong with a record that is not there.
    fn in_words(self) -> String {
        match self.is_of_a_record() {
            true => format!("the _mta-sts record cannot be used: {self}"),
            false => format!("there is no _mta-sts record: {self}"),
        }
    }
}

/// Why no policy applies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPolicy {
    /// The domain publishes no usable record, and no unexpired policy is cached.
    #[error("{}", .0.in_words())]
    Record(RecordTrouble),
    /// A record is there, its policy cannot be had, and none is cached (RFC 8461 section 3.3).
    #[error("the policy with id {id} could not be fetched: {cause}")]
    Fetch {
        /// The published id.
        id: PolicyId,
        /// The last failure.
        cause: FetchError,
    },
    /// DNS has not answered for so long that mail is let through unprotected for a while
    /// (decision AMB-01). A local `require` goes on waiting.
    #[error("DNS has not answered since {}, {failures} look-ups: {cause}", .since.rfc3339())]
    Unknown {
        /// When the first look-up of this series failed.
        since: Timestamp,
        /// How many uncached look-ups have failed since.
        failures: u32,
        /// The last failure.
        cause: DnsError,
    },
}

impl NoPolicy {
    /// Which step failed, where the domain publishes a policy or may do so; nothing where it publishes none,
    /// as most domains do.
    #[must_use]
    pub const fn failed_step(&self) -> Option<&'static str> {
        match self {
            Self::Record(trouble) if trouble.is_of_a_record() => Some("record-unusable"),
            Self::Record(_) => None,
            Self::Fetch { .. } => Some("fetch-failed"),
            Self::Unknown { .. } => Some("dns-unanswered"),
        }
    }
}

/// A policy as the store keeps it.
#[derive(Clone, Debug)]
pub struct StoredPolicy {
    /// The policy domain.
    pub domain: Domain,
    /// The policy with its raw text.
    pub policy: Policy,
    /// The id of the TXT record seen before the fetch; none if the record could not be had then.
    pub id: Option<PolicyId>,
    /// When the complete HTTPS answer was there. Only a fetch renews this (decision AMB-02).
    pub fetched_at: Timestamp,
    /// `fetched_at` plus `max_age`.
    pub expires_at: Timestamp,
}

impl StoredPolicy {
    /// The mode of the policy.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.policy.mode()
    }

    /// Whether the policy is past its lifetime (RFC 8461 section 3.2).
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }

    /// The time from fetch to expiry.
    #[must_use]
    pub const fn lifetime(&self) -> Duration {
        self.expires_at.since(self.fetched_at)
    }
}

/// What the operator has set for a domain through `policy pin` and `policy exempt`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalRules {
    /// A minimum that only adds to what the domain publishes (row A7-08).
    pub pin: Option<Pin>,
    /// Enforcement is off until a time (row A7-09); check [`Exemption::is_active`].
    pub exemption: Option<Exemption>,
}

/// Enforce with these patterns, whatever the domain publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The MX names that are allowed; never empty.
    pub mx: Vec<MxPattern>,
    /// Who pinned, when, and why.
    pub order: Order,
}

/// The domain's enforce policy is not enforced for a while: `weakened_by: "exempt"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemption {
    /// From then on the policy is enforced again; at most 90 days after the order.
    pub until: Timestamp,
    /// Who exempted, when, and why.
    pub order: Order,
}

impl Exemption {
    /// Whether it still counts.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

/// Who ordered something, when, and why: every such act is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The operator (user name and uid of the control socket's peer).
    pub by: String,
    /// The reason given; never empty.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Traces, `explain` and events tell these words.
    #[test]
    fn f3_01_a_record_that_is_not_there_is_not_said_to_be_of_no_use() {
        for (trouble, want) in [
            (RecordTrouble::NoSuchName, "there is no _mta-sts record: "),
            (RecordTrouble::NameTooLong, "there is no _mta-sts record: "),
            (
                RecordTrouble::NoRecord(NoRecord::Absent),
                "there is no _mta-sts record: ",
            ),
            (
                RecordTrouble::NoRecord(NoRecord::Several(2)),
                "the _mta-sts record cannot be used: ",
            ),
            (
                RecordTrouble::NoRecord(NoRecord::NearMiss),
                "the _mta-sts record cannot be used: ",
            ),
        ] {
            for text in [
                NoPolicy::Record(trouble).to_string(),
                Fallback::Record(trouble).to_string(),
            ] {
                assert!(text.starts_with(want), "{text}");
            }
        }
    }
}
