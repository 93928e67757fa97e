//! What was counted of one domain.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Failure, Policy, PolicyType, ResultType};

/// What was counted of one domain on one day, policy by policy: where DANE and MTA-STS both apply, and
/// where a policy changed during the day, there are several (row B2-20).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counts {
    policies: Vec<PolicyCounts>,
}

/// What was counted under one policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyCounts {
    applied: Applied,
    successes: u64,
    failures: u64,
    /// In the order of their keys, each once.
    details: Vec<Detail>,
}

/// The sessions that failed in one way at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    result: ResultType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sending_ip: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mx: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    helo: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receiving_ip: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Box<str>>,
    sessions: u64,
}

/// A [`Policy`] that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Applied {
    Sts(Box<str>),
    Tlsa(Vec<String>),
    NoPolicyFound,
}

/// What tells failures apart (row B2-16): what of a [`Failure`] is fit for a report.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key<'a> {
    result: ResultType,
    sending_ip: Option<IpAddr>,
    mx: Option<&'a str>,
    helo: Option<&'a str>,
    receiving_ip: Option<IpAddr>,
    reason: Option<&'a str>,
}

impl Counts {
    /// Sessions with TLS as the policy demands.
    #[must_use]
    pub fn successes(&self) -> u64 {
        sum(self.policies.iter().map(|policy| policy.successes))
    }

    /// Sessions without, and failed fetches of policies.
    #[must_use]
    pub fn failures(&self) -> u64 {
        sum(self.policies.iter().map(|policy| policy.failures))
    }

    /// Whether there was no session: all that is counted are fetches of the policy that failed.
    #[must_use]
    pub fn is_without_sessions(&self) -> bool {
        let is_of_fetches = |detail: &Detail| detail.result.is_of_fetches();
        let mut policies = self.policies.iter();
        policies.all(|p| p.successes == 0 && p.details.iter().all(is_of_fetches))
    }

    /// In the order in which they were met.
    #[must_use]
    pub fn policies(&self) -> &[PolicyCounts] {
        &self.policies
    }

    /// Counts so many sessions, unless there is no place for another policy. `size` grows by what is newly
    /// kept; no new kind of failure is kept once it is `largest`.
    pub(crate) fn add(
        &mut self,
        policy: Policy<'_>,
        failed: Option<Key<'_>>,
        sessions: u64,
        size: &mut usize,
        largest: usize,
    ) -> bool {
        let known = self.policies.iter().position(|p| p.policy() == policy);
        if known.is_none() {
            if self.policies.len() >= MAX_POLICIES || *size >= largest {
                return false;
            }
            let new = PolicyCounts::new(policy);
            *size += new.applied.size();
            self.policies.push(new);
        }
        let details: usize = self.policies.iter().map(|p| p.details.len()).sum();
        let is_full = details >= MAX_DETAILS || *size >= largest;
        let at = known.unwrap_or(self.policies.len() - 1);
        if let Some(counts) = self.policies.get_mut(at) {
            counts.add(failed, sessions, is_full, size);
        }
        true
    }
}

impl PolicyCounts {
    fn new(policy: Policy<'_>) -> Self {
        let applied = match policy {
            Policy::Sts(text) => Applied::Sts(text.into()),
            Policy::Tlsa(records) => Applied::Tlsa(records.to_vec()),
            Policy::NoPolicyFound => Applied::NoPolicyFound,
        };
        Self {
            applied,
            successes: 0,
            failures: 0,
            details: Vec::new(),
        }
    }

    /// What applied.
    #[must_use]
    pub fn policy(&self) -> Policy<'_> {
        match &self.applied {
            Applied::Sts(text) => Policy::Sts(text),
            Applied::Tlsa(records) => Policy::Tlsa(records),
            Applied::NoPolicyFound => Policy::NoPolicyFound,
        }
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> PolicyType {
        self.policy().kind()
    }

    /// Sessions with TLS as it demands.
    #[must_use]
    pub const fn successes(&self) -> u64 {
        self.successes
    }

    /// The sessions of all details.
    #[must_use]
    pub const fn failures(&self) -> u64 {
        self.failures
    }

    /// How sessions failed: each combination once.
    #[must_use]
    pub fn details(&self) -> &[Detail] {
        &self.details
    }

    /// Where no other kind of failure has place, only the result is kept, with the reason "truncated" (row
    /// B2-19): the sums stay right.
    fn add(&mut self, failed: Option<Key<'_>>, sessions: u64, is_full: bool, size: &mut usize) {
        let Some(key) = failed else {
            self.successes = self.successes.saturating_add(sessions);
            return;
        };
        self.failures = self.failures.saturating_add(sessions);
        let mut place = self.details.binary_search_by(|d| d.key().cmp(&key));
        let mut kept = key;
        if place.is_err() && is_full {
            kept = Key::truncated(key.result);
            place = self.details.binary_search_by(|d| d.key().cmp(&kept));
        }
        match place {
            Ok(at) => {
                if let Some(detail) = self.details.get_mut(at) {
                    detail.sessions = detail.sessions.saturating_add(sessions);
                }
            }
            Err(at) => {
                let detail = Detail::new(kept, sessions);
                *size += detail.size();
                self.details.insert(at, detail);
            }
        }
    }
}

impl Detail {
    fn new(key: Key<'_>, sessions: u64) -> Self {
        Self {
            result: key.result,
            sending_ip: key.sending_ip,
            mx: key.mx.map(Into::into),
            helo: key.helo.map(Into::into),
            receiving_ip: key.receiving_ip,
            reason: key.reason.map(Into::into),
            sessions,
        }
    }

    pub(crate) fn key(&self) -> Key<'_> {
        Key {
            result: self.result,
            sending_ip: self.sending_ip,
            mx: self.mx.as_deref(),
            helo: self.helo.as_deref(),
            receiving_ip: self.receiving_ip,
            reason: self.reason.as_deref(),
        }
    }

    /// What was wrong, and where.
    #[must_use]
    pub fn failure(&self) -> Failure<'_> {
        Failure {
            result: self.result,
            sending_ip: self.sending_ip,
            mx: self.mx.as_deref(),
            helo: self.helo.as_deref(),
            receiving_ip: self.receiving_ip,
            reason: self.reason.as_deref().map(Into::into),
        }
    }

    /// How many failed so.
    #[must_use]
    pub const fn sessions(&self) -> u64 {
        self.sessions
    }

    fn size(&self) -> usize {
        let texts = [&self.mx, &self.helo, &self.reason].into_iter().flatten();
        size_of::<Self>() + texts.map(|text| text.len()).sum::<usize>()
    }
}

impl<'a> Key<'a> {
    /// As it stands in the failure, whose texts have to be fit already.
    pub(crate) const fn new(
        failure: &Failure<'_>,
        mx: Option<&'a str>,
        helo: Option<&'a str>,
        reason: Option<&'a str>,
    ) -> Self {
        Self {
            result: failure.result,
            sending_ip: failure.sending_ip,
            mx,
            helo,
            receiving_ip: failure.receiving_ip,
            reason,
        }
    }

    const fn truncated(result: ResultType) -> Self {
        Self {
            result,
            sending_ip: None,
            mx: None,
            helo: None,
            receiving_ip: None,
            reason: Some(TRUNCATED),
        }
    }
}

impl Applied {
    fn size(&self) -> usize {
        let text = match self {
            Self::Sts(text) => text.len(),
            Self::Tlsa(records) => records.iter().map(String::len).sum(),
            Self::NoPolicyFound => 0,
        };
        size_of::<PolicyCounts>() + text
    }
}

fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// The reason of the entries that stand for all that had no place.
pub(crate) const TRUNCATED: &str = "truncated";

/// Of one domain. A domain that changes its policy or its TLSA records more often in a day wants no report.
const MAX_POLICIES: usize = 20;
/// Of one domain.
const MAX_DETAILS: usize = 1_000;
