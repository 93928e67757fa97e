//! The report about one domain and one day (RFC 8460 section 4.4).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use mail_types::Mailbox;
use serde::Serialize;

use crate::counts::TRUNCATED;
use crate::{Counts, Day, Detail, Encoded, Policy, PolicyCounts, PolicyType, ResultType};

/// Who reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `organization-name`; if it is empty, the submitter stands there.
    pub organization_name: String,
    /// `contact-info`: also where report mail comes from.
    pub contact_info: Mailbox,
    /// Whether reports are compressed (RFC 8460 section 5.2; row B4-07).
    pub gzip: bool,
}

/// The report about one domain and one day. With serde it is the JSON of RFC 8460 section 4.4.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    organization_name: String,
    date_range: DateRange,
    contact_info: String,
    report_id: String,
    policies: Vec<Item>,
    #[serde(skip)]
    about: About,
}

/// What is said outside of the JSON, too.
#[derive(Clone, Debug)]
struct About {
    domain: String,
    day: Day,
    submitter: String,
    gzip: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct DateRange {
    start_datetime: String,
    end_datetime: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Item {
    policy: Applied,
    summary: Summary,
    /// The most frequent first, sums of what was left out last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failure_details: Vec<Entry>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Applied {
    policy_type: PolicyType,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policy_string: Vec<String>,
    policy_domain: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mx_host: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Summary {
    total_successful_session_count: u64,
    total_failure_session_count: u64,
}

/// What cannot apply is left out (row B3-14).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    result_type: ResultType,
    #[serde(skip_serializing_if = "Option::is_none")]
    sending_mta_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiving_mx_hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiving_mx_helo: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiving_ip: Option<IpAddr>,
    failed_session_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason_code: Option<String>,
}

impl Identity {
    /// The submitter (RFC 8460 section 5.3): the domain of the contact address, which signs report mail.
    #[must_use]
    pub fn submitter(&self) -> String {
        self.contact_info.host().to_string()
    }
}

/// The `report-id`: nobody else's, and the same whenever this report is made again (row B3-05). It has the
/// form of a Message-ID, as the subject of report mail asks, without angle brackets.
#[must_use]
pub fn report_id(day: Day, domain: &str, node: &[u8; 16], submitter: &str) -> String {
    format!(
        "{day}.{domain}.{:032x}@{submitter}",
        u128::from_be_bytes(*node)
    )
}

impl Report {
    /// Of what was counted.
    #[must_use]
    pub fn new(
        counts: &Counts,
        domain: &str,
        day: Day,
        identity: &Identity,
        report_id: impl Into<String>,
    ) -> Self {
        let submitter = identity.submitter();
        let organization = match identity.organization_name.trim() {
            "" => &submitter,
            name => name,
        };
        let contact = identity.contact_info.to_ascii();
        let policies = counts.policies().iter();
        Self {
            organization_name: i_json(organization),
            date_range: DateRange {
                start_datetime: format!("{day}T00:00:00Z"),
                end_datetime: format!("{day}T23:59:59Z"),
            },
            contact_info: contact.map_or_else(|| identity.contact_info.to_string(), Into::into),
            report_id: report_id.into(),
            policies: policies.map(|counted| Item::new(counted, domain)).collect(),
            about: About {
                domain: domain.to_owned(),
                day,
                submitter,
                gzip: identity.gzip,
            },
        }
    }

    /// As JSON of at most `max` octets, if that can be: the rarest failures are summed up, then the texts of
    /// policies left out (row B4-24). The sums stay right.
    #[must_use]
    pub fn to_json(&self, max: usize) -> Vec<u8> {
        let whole = json(self);
        if whole.len() <= max {
            return whole;
        }
        let mut reduced = self.clone();
        let longest = self.policies.iter().map(|item| item.failure_details.len());
        let mut kept = longest.max().unwrap_or_default();
        while kept > 0 {
            kept /= 2;
            for item in &mut reduced.policies {
                item.keep(kept);
            }
            let text = json(&reduced);
            if text.len() <= max {
                return text;
            }
        }
        for item in &mut reduced.policies {
            item.policy.policy_string.clear();
            item.policy.mx_host.clear();
        }
        json(&reduced)
    }

    /// As it is sent; `max` is of the JSON.
    #[must_use]
    pub fn encode(&self, max: usize) -> Encoded {
        Encoded::new(
            self.to_json(max),
            &self.about.domain,
            self.about.day,
            &self.about.submitter,
            &self.report_id,
            self.about.gzip,
        )
    }
}

impl Item {
    fn new(counted: &PolicyCounts, domain: &str) -> Self {
        let mut details: Vec<&Detail> = counted.details().iter().collect();
        let is_sum = |detail: &Detail| detail.failure().reason.as_deref() == Some(TRUNCATED);
        details.sort_by_key(|detail| (is_sum(detail), Reverse(detail.sessions())));
        Self {
            policy: Applied::new(counted.policy(), domain),
            summary: Summary {
                total_successful_session_count: safe(counted.successes()),
                total_failure_session_count: safe(counted.failures()),
            },
            failure_details: details.into_iter().map(Entry::new).collect(),
        }
    }

    /// Keeps so many entries, and one for each result of the others, those included that were sums already.
    fn keep(&mut self, entries: usize) {
        let details = &mut self.failure_details;
        let mut sums: BTreeMap<ResultType, u64> = BTreeMap::new();
        for entry in details.split_off(entries.min(details.len())) {
            let sum = sums.entry(entry.result_type).or_default();
            *sum = safe(*sum + entry.failed_session_count);
        }
        details.extend(sums.into_iter().map(Entry::truncated));
    }
}

impl Applied {
    fn new(policy: Policy<'_>, domain: &str) -> Self {
        let (policy_string, mx_host) = match policy {
            Policy::Sts(text) => (lines(text), patterns(text)),
            Policy::Tlsa(records) => (records.to_vec(), Vec::new()),
            Policy::NoPolicyFound => Default::default(),
        };
        Self {
            policy_type: policy.kind(),
            policy_string,
            policy_domain: domain.to_owned(),
            mx_host,
        }
    }
}

impl Entry {
    fn new(detail: &Detail) -> Self {
        let failure = detail.failure();
        Self {
            result_type: failure.result,
            sending_mta_ip: failure.sending_ip.map(|ip| ip.to_canonical()),
            receiving_mx_hostname: failure.mx.map(str::to_owned),
            receiving_mx_helo: failure.helo.map(str::to_owned),
            receiving_ip: failure.receiving_ip.map(|ip| ip.to_canonical()),
            failed_session_count: safe(detail.sessions()),
            failure_reason_code: failure.reason.map(Into::into),
        }
    }

    fn truncated((result_type, sessions): (ResultType, u64)) -> Self {
        Self {
            result_type,
            sending_mta_ip: None,
            receiving_mx_hostname: None,
            receiving_mx_helo: None,
            receiving_ip: None,
            failed_session_count: sessions,
            failure_reason_code: Some(TRUNCATED.to_owned()),
        }
    }
}

/// The lines of a policy as they were received, mistakes included (row B3-08).
fn lines(text: &str) -> Vec<String> {
    text.lines().map(i_json).collect()
}

/// None where the text is no policy.
fn patterns(text: &str) -> Vec<String> {
    mta_sts::Policy::parse(text.as_bytes()).map_or_else(
        |_| Vec::new(),
        |parsed| parsed.policy.mx().iter().map(ToString::to_string).collect(),
    )
}

/// I-JSON (RFC 7493 section 2.1) has no noncharacters.
fn i_json(text: &str) -> String {
    let is_none =
        |c: &char| matches!(u32::from(*c), 0xfdd0..=0xfdef) || u32::from(*c) & 0xfffe == 0xfffe;
    let safe = |c: char| {
        if is_none(&c) {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    text.chars().map(safe).collect()
}

/// I-JSON (RFC 7493 section 2.2) counts to here: what readers in floating point tell apart.
const fn safe(number: u64) -> u64 {
    const MOST: u64 = (1 << 53) - 1;
    if number < MOST { number } else { MOST }
}

/// Nothing in a report can fail to be written.
fn json(report: &Report) -> Vec<u8> {
    serde_json::to_vec(report).unwrap_or_default()
}

#[cfg(test)]
mod tests;
