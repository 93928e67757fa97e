//! The counts of a day.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use crate::counts::Key;
use crate::fit::fit;
use crate::{Counts, Day, Finding, Policy};

/// The counts of one day, domain by domain. What it keeps is bounded, whatever peers do: names, policies and
/// kinds of failure. With serde it is what lies on disk, with a version; what is read back has passed the
/// same bounds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Tally {
    day: Day,
    left_out: u64,
    domains: BTreeMap<Box<str>, Counts>,
    /// Of what is kept, roughly, in octets.
    size: usize,
}

/// Its form on disk, to be written.
#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    day: Day,
    left_out: u64,
    domains: &'a BTreeMap<Box<str>, Counts>,
}

/// Its form on disk, read.
#[derive(Deserialize)]
struct Stored {
    version: u32,
    day: Day,
    left_out: u64,
    domains: BTreeMap<Box<str>, Counts>,
}

#[derive(Debug, thiserror::Error)]
#[error("counts of version {0}, where {VERSION} is known")]
struct OtherVersion(u32);

impl Tally {
    /// Nothing yet.
    #[must_use]
    pub const fn new(day: Day) -> Self {
        Self {
            day,
            left_out: 0,
            domains: BTreeMap::new(),
            size: 0,
        }
    }

    /// The day of the findings.
    #[must_use]
    pub const fn day(&self) -> Day {
        self.day
    }

    /// Counts a finding, whose time has to be of this day. Nothing is allocated for one like those before.
    pub fn note(&mut self, finding: &Finding<'_>) {
        let domain = lower_case(finding.domain);
        let sorted;
        let policy = match finding.policy {
            Policy::Sts(text) => Policy::Sts(
                text.get(..text.floor_char_boundary(MAX_TEXT))
                    .unwrap_or(text),
            ),
            // Name servers give them in turns.
            Policy::Tlsa(records) if !is_canonical(records) => {
                sorted = canonical(records);
                Policy::Tlsa(&sorted)
            }
            policy => policy,
        };
        let Some(failure) = &finding.failure else {
            self.add(&domain, policy, None, 1);
            return;
        };
        let mx = failure.mx.map(|mx| fit(mx, MAX_NAME));
        let helo = failure.helo.map(|helo| fit(helo, MAX_NAME));
        let reason = failure.reason.as_deref();
        let reason = reason.map(|reason| fit(reason, MAX_REASON));
        let key = Key::new(
            failure,
            told(mx.as_ref()),
            told(helo.as_ref()),
            told(reason.as_ref()),
        );
        self.add(&domain, policy, Some(key), 1);
    }

    /// The domains of which something was counted, in order.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.keys().map(|domain| &**domain)
    }

    /// What was counted of one, by its name in lower case.
    #[must_use]
    pub fn of(&self, domain: &str) -> Option<&Counts> {
        self.domains.get(domain)
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// Sessions that no report will tell of, since there was no place for their domain or their policy.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Adds what was counted elsewhere of the same day: what was on disk, and what came since. Another day's
    /// is counted as left out.
    pub fn merge(&mut self, other: Self) {
        self.left_out = self.left_out.saturating_add(other.left_out);
        for (domain, counts) in &other.domains {
            if other.day == self.day {
                self.merge_domain(domain, counts);
            } else {
                let sessions = counts.successes().saturating_add(counts.failures());
                self.left_out = self.left_out.saturating_add(sessions);
            }
        }
    }

    fn merge_domain(&mut self, domain: &str, counts: &Counts) {
        for counted in counts.policies() {
            let policy = counted.policy();
            if counted.successes() > 0 {
                self.add(domain, policy, None, counted.successes());
            }
            for detail in counted.details() {
                self.add(domain, policy, Some(detail.key()), detail.sessions());
            }
        }
    }

    fn add(&mut self, domain: &str, policy: Policy<'_>, failed: Option<Key<'_>>, sessions: u64) {
        let is_counted = if let Some(counts) = self.domains.get_mut(domain) {
            counts.add(policy, failed, sessions, &mut self.size, MAX_SIZE)
        } else if self.domains.len() < MAX_DOMAINS && self.size < MAX_SIZE {
            let mut counts = Counts::default();
            let is_counted = counts.add(policy, failed, sessions, &mut self.size, MAX_SIZE);
            self.size += domain.len() + size_of::<(Box<str>, Counts)>();
            self.domains.insert(domain.into(), counts);
            is_counted
        } else {
            false
        };
        if !is_counted {
            self.left_out = self.left_out.saturating_add(sessions);
        }
    }
}

impl Serialize for Tally {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = Written {
            version: VERSION,
            day: self.day,
            left_out: self.left_out,
            domains: &self.domains,
        };
        written.serialize(serializer)
    }
}

impl TryFrom<Stored> for Tally {
    type Error = OtherVersion;

    fn try_from(stored: Stored) -> Result<Self, OtherVersion> {
        if stored.version != VERSION {
            return Err(OtherVersion(stored.version));
        }
        let mut tally = Self::new(stored.day);
        tally.left_out = stored.left_out;
        for (domain, counts) in &stored.domains {
            tally.merge_domain(domain, counts);
        }
        Ok(tally)
    }
}

fn lower_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// What is empty was not told.
fn told<'a>(text: Option<&'a Cow<'_, str>>) -> Option<&'a str> {
    text.map(|text| &**text).filter(|text| !text.is_empty())
}

fn is_canonical(records: &[String]) -> bool {
    let is_plain = |record: &String| {
        let mut fields = record.split(' ');
        fields.by_ref().take(4).all(|field| !field.is_empty())
            && fields.next().is_none()
            && !record.contains(|c: char| !matches!(c, ' ' | '0'..='9' | 'a'..='z'))
    };
    records.is_sorted_by(|a, b| a < b) && records.iter().all(is_plain)
}

/// In order, each once, with four fields, one space between them and unbroken hexadecimal (row B3-09).
fn canonical(records: &[String]) -> Vec<String> {
    let plain = |record: &String| {
        let text = record.replace(['(', ')'], " ").to_ascii_lowercase();
        let mut words = text.split_ascii_whitespace();
        let mut fields: Vec<String> = words.by_ref().take(3).map(str::to_owned).collect();
        let data: String = words.collect();
        fields.extend(Some(data).filter(|data| !data.is_empty()));
        fields.join(" ")
    };
    let mut records: Vec<String> = records.iter().map(plain).collect();
    records.sort_unstable();
    records.dedup();
    records
}

const VERSION: u32 = 1;

/// Of one day: what is beyond is [`Tally::left_out`].
pub const MAX_DOMAINS: usize = 100_000;
/// Of all that is kept of one day, in octets. Hostile policies could otherwise fill memory: 64 KiB each.
const MAX_SIZE: usize = 64 << 20;
/// Of a policy: as much as RFC 8461 section 3.3 has senders read.
const MAX_TEXT: usize = 65_536;
/// Of a host's name.
const MAX_NAME: usize = 255;
/// Of a `failure-reason-code`.
const MAX_REASON: usize = 100;

#[cfg(test)]
mod tests;
