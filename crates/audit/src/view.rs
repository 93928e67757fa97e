//! The report as `--json` prints it. Keys are stable; fields are only ever added.

use delivery::decide::standing::HostDane;
use serde::Serialize;

use crate::facts::{AddressFacts, HostFacts, Seen, TxtAnswer};
use crate::finding::{Finding, Group, printable};
use crate::report::Report;
use crate::verdict::{HostOutcome, Outcome, Protection};

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub struct ReportView {
    /// The domain as A-labels.
    pub domain: String,
    /// RFC 3339.
    pub checked_at: String,
    /// Whether mail would be delivered and nothing is broken: the exit status.
    pub ok: bool,
    /// What would become of mail.
    pub verdict: VerdictView,
    /// TXT records at `_mta-sts.<domain>`; `null` if they could not be looked up.
    pub record: Option<Vec<String>>,
    /// The policy as fetched; `null` if there is none to be had.
    pub policy: Option<PolicyView>,
    /// The mail hosts in order of preference.
    pub mx: Vec<HostView>,
    /// TXT records at `_smtp._tls.<domain>`; `null` if they could not be looked up.
    pub reporting: Option<Vec<String>>,
    /// The DNSSEC verdict on the MX records: `secure`, `insecure`, or `not-validated`.
    pub dnssec: String,
    /// Everything that is to be said, hosts included.
    pub findings: Vec<FindingView>,
}

/// What would become of mail, in all or at one host.
#[derive(Clone, Debug, Serialize)]
pub struct VerdictView {
    /// `delivered`, `deferred` or `bounced`; of a host `delivered` or `refused`.
    pub result: String,
    /// The host that takes it.
    pub host: Option<String>,
    /// `verified`, `dane`, `encrypted` or `plain`, if it is delivered.
    pub tls: Option<String>,
    /// The reason key, if it is not.
    pub reason: Option<String>,
    /// One sentence.
    pub detail: String,
}

/// The policy as fetched.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyView {
    /// `enforce`, `testing` or `none`.
    pub mode: String,
    /// Seconds, as it counts.
    pub max_age: u64,
    /// Its patterns.
    pub mx: Vec<String>,
    /// Whether senders apply it: there is one valid record.
    pub applied: bool,
    /// The file.
    pub text: String,
}

/// One mail host.
#[derive(Clone, Debug, Serialize)]
pub struct HostView {
    /// The MX record's exchange.
    pub name: String,
    /// The MX record's preference.
    pub preference: u16,
    /// What would become of mail there.
    pub verdict: VerdictView,
    /// Its TLSA records: `none`, `usable`, `unusable` or `failed`.
    pub tlsa: String,
    /// The usable ones, as in a zone file and cut short.
    pub tlsa_records: Vec<String>,
    /// The name at which they stand.
    pub tlsa_base: Option<String>,
    /// What answered at each address.
    pub addresses: Vec<AddressView>,
    /// What is to be said of it.
    pub findings: Vec<FindingView>,
}

/// One address of a mail host.
#[derive(Clone, Debug, Serialize)]
pub struct AddressView {
    /// The address.
    pub address: String,
    /// For instance `TLSv1.3`; `null` without TLS.
    pub tls: Option<String>,
    /// Whether the certificate is valid for the host.
    pub certificate_valid: Option<bool>,
    /// Whether its TLSA records accept the certificate; `null` if it has none that can be used.
    pub dane_matches: Option<bool>,
    /// The certificate's DNS names.
    pub certificate_names: Vec<String>,
    /// The certificate's last valid moment.
    pub certificate_not_after: Option<String>,
    /// What failed, if no session came about.
    pub error: Option<String>,
}

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub struct FindingView {
    /// `record`, `policy`, `mx`, `host`, `reporting` or `dnssec`.
    pub group: String,
    /// A stable word, for instance `record-absent`.
    pub key: String,
    /// `good`, `note`, `warning` or `error`.
    pub severity: String,
    /// The mail host that it is about.
    pub host: Option<String>,
    /// In plain words.
    pub text: String,
    /// What to do.
    pub remedy: Option<String>,
}

impl Report {
    /// As `--json` prints it.
    #[must_use]
    pub fn view(&self) -> ReportView {
        let facts = &self.facts;
        let applied = facts.published().is_some();
        let policy = facts.policy.as_ref().ok().map(|parsed| PolicyView {
            mode: parsed.policy.mode().to_string(),
            max_age: parsed.policy.max_age().as_secs(),
            mx: parsed.policy.mx().iter().map(ToString::to_string).collect(),
            applied,
            text: parsed.policy.text().to_owned(),
        });
        ReportView {
            domain: facts.domain.to_string(),
            checked_at: facts.now.rfc3339(),
            ok: self.is_good(),
            verdict: self.outcome.view(),
            record: texts(&facts.record),
            policy,
            mx: self
                .per_host()
                .map(|(host, outcome, findings)| host_view(host, outcome, &findings))
                .collect(),
            reporting: texts(&facts.reporting),
            dnssec: facts.dnssec().to_owned(),
            findings: self.findings.iter().map(Finding::view).collect(),
        }
    }

    /// The findings about the hosts with the verdict on each: name, preference, outcome, findings.
    #[must_use]
    pub fn hosts_view(&self) -> Vec<HostView> {
        self.per_host()
            .map(|(host, outcome, findings)| host_view(host, outcome, &findings))
            .collect()
    }
}

impl Outcome {
    /// As JSON has it.
    #[must_use]
    pub fn view(&self) -> VerdictView {
        match self {
            Self::Delivered { host, protection } => VerdictView {
                result: "delivered".to_owned(),
                host: Some(host.to_string()),
                tls: Some(protection.as_str().to_owned()),
                reason: None,
                detail: protection.words().to_owned(),
            },
            Self::Deferred { reason, because } => {
                VerdictView::not("deferred", reason.key(), because)
            }
            Self::Bounced { reason, because } => VerdictView::not("bounced", reason.key(), because),
        }
    }
}

impl HostOutcome {
    fn view(&self, host: &HostFacts) -> VerdictView {
        match self {
            Self::Takes { protection } => VerdictView {
                result: "delivered".to_owned(),
                host: Some(host.candidate.name.to_string()),
                tls: Some(protection.as_str().to_owned()),
                reason: None,
                detail: protection.words().to_owned(),
            },
            Self::Refused(failures) => match failures.first() {
                Some(first) => VerdictView::not("refused", first.reason.key(), &first.detail),
                None => VerdictView::not("refused", "no-usable-mx", "It has no address."),
            },
        }
    }
}

impl VerdictView {
    fn not(result: &str, reason: &str, because: &str) -> Self {
        Self {
            result: result.to_owned(),
            host: None,
            tls: None,
            reason: Some(reason.to_owned()),
            detail: because.to_owned(),
        }
    }
}

impl Protection {
    /// The word of the JSON output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Dane => "dane",
            Self::Encrypted => "encrypted",
            Self::Plain => "plain",
        }
    }

    /// A phrase.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Verified => "over TLS with a certificate that has to be valid, and is",
            Self::Dane => {
                "over TLS with a certificate that DNSSEC-signed TLSA records accept, as they demand"
            }
            Self::Encrypted => "over TLS, with whatever certificate: nothing demands a valid one",
            Self::Plain => "in plain text: nothing demands TLS",
        }
    }
}

impl Finding {
    /// As JSON has it.
    #[must_use]
    pub fn view(&self) -> FindingView {
        let group: Group = self.kind.group();
        FindingView {
            group: group.as_str().to_owned(),
            key: self.kind.key().to_owned(),
            severity: self.severity.as_str().to_owned(),
            host: self.host.as_ref().map(ToString::to_string),
            text: self.text.clone(),
            remedy: self.remedy.clone(),
        }
    }
}

fn host_view(host: &HostFacts, outcome: &HostOutcome, findings: &[&Finding]) -> HostView {
    HostView {
        name: host.candidate.name.to_string(),
        preference: host.candidate.preference,
        verdict: outcome.view(host),
        tlsa: tlsa(&host.candidate.standing.dane).to_owned(),
        tlsa_records: host
            .candidate
            .standing
            .dane
            .records()
            .map_or_else(Vec::new, |records| {
                records
                    .set
                    .records()
                    .iter()
                    .map(ToString::to_string)
                    .collect()
            }),
        tlsa_base: host.candidate.standing.dane.base().map(ToString::to_string),
        addresses: host.addresses.iter().map(address).collect(),
        findings: findings.iter().map(|f| f.view()).collect(),
    }
}

const fn tlsa(dane: &HostDane) -> &'static str {
    match dane {
        HostDane::Absent => "none",
        HostDane::Usable(_) => "usable",
        HostDane::Unusable { .. } => "unusable",
        HostDane::Failed { .. } => "failed",
    }
}

fn address(at: &AddressFacts) -> AddressView {
    let (tls, error) = match &at.seen {
        Seen::Session { tls, .. } => (tls.as_deref(), None),
        Seen::Failed { cause, .. } => (None, Some(cause.to_string())),
        Seen::NotChecked => (None, Some("not checked".to_owned())),
    };
    let certificate = tls.and_then(|tls| tls.certificate.as_ref());
    AddressView {
        address: at.address.to_string(),
        tls: tls.map(|tls| tls.version.to_string()),
        certificate_valid: tls.map(|tls| tls.verdict.would_verify()),
        dane_matches: tls.and_then(|tls| match (tls.dane.would_match(), tls.dane.failure()) {
            (Some(_), _) => Some(true),
            (None, Some(_)) => Some(false),
            (None, None) => None,
        }),
        certificate_names: certificate.map_or_else(Vec::new, |c| {
            c.subject_alt_names
                .iter()
                .map(ToString::to_string)
                .collect()
        }),
        certificate_not_after: certificate.map(|c| c.not_after.rfc3339()),
        error,
    }
}

fn texts(answer: &TxtAnswer) -> Option<Vec<String>> {
    match answer {
        TxtAnswer::Records(records) => Some(records.iter().map(|r| printable(r)).collect()),
        TxtAnswer::Failed(_) | TxtAnswer::NameTooLong => None,
    }
}
