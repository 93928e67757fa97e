//! What an audit has seen, before anything is made of it.

use std::net::IpAddr;

use attempt::{Case, Reason};
use delivery::decide::hosts::Candidate;
use mail_types::{DnsError, Domain, HostName, Security, Timestamp};
use mta_sts::{Parsed, Record, Selection};
use policy_cache::{FetchError, StoredPolicy};
use smtp_client::{Cause, Stage, StartTls, TlsSession};

/// What an audit has seen.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The recipient domain.
    pub domain: Domain,
    /// When it was asked about.
    pub now: Timestamp,
    /// The TXT records at `_mta-sts.<domain>`.
    pub record: TxtAnswer,
    /// What came of fetching the policy; it is tried whatever the record says.
    pub policy: Result<Parsed, FetchError>,
    /// The domain's mail hosts.
    pub mail: MailHosts,
    /// Exchanges that are no host names, as published and made printable.
    pub unusable: Vec<String>,
    /// The TXT records at `_smtp._tls.<domain>`.
    pub reporting: TxtAnswer,
    /// The next hop of a `[[route]]` that applies to the domain here.
    pub routed_to: Option<String>,
    /// Why nothing at all can be looked up from here, if that is so.
    pub fault: Option<DnsFault>,
    /// What the daemon has stored, where there is one to ask.
    pub known: Option<KnownPolicy>,
}

/// Why nothing can be looked up from here, a phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsFault {
    /// Our own name servers answer nobody at all.
    Silent(String),
    /// They refuse our questions.
    Refused(String),
    /// Some refuse them, and from the others nothing comes.
    Absent(String),
    /// DNSSEC cannot be validated here, so that nobody is asked.
    Barred(String),
}

/// A policy that the daemon fetched before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPolicy {
    /// The record's id at that time.
    pub id: String,
    /// The policy as it was served.
    pub text: String,
    /// When it was fetched, for people.
    pub fetched: String,
}

/// What came of a TXT look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxtAnswer {
    /// All records at the name; none if the name or the type does not exist.
    Records(Vec<Vec<u8>>),
    /// DNS did not say.
    Failed(DnsError),
    /// The name is longer than DNS allows.
    NameTooLong,
}

/// What DNS says of a domain's mail hosts.
#[derive(Clone, Debug)]
pub enum MailHosts {
    /// These, in the order of their preference.
    Hosts {
        /// The hosts; at most as many as delivery tries.
        hosts: Vec<HostFacts>,
        /// There is no MX record: the domain is its own mail host.
        implicit: bool,
        /// Hosts beyond what delivery tries.
        left_out: usize,
        /// The DNSSEC verdict on the MX records, or on their absence.
        security: Security,
    },
    /// Mail cannot go there.
    Undeliverable {
        /// The reason key, and which of its cases it is.
        reason: (Reason, Case),
        /// One phrase.
        detail: String,
    },
    /// DNS did not say.
    Unknown {
        /// The reason key.
        reason: Reason,
        /// One phrase.
        detail: String,
    },
}

/// One mail host.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// As delivery's plan has it.
    pub candidate: Candidate,
    /// Each address with what answered there; empty if there is none to connect to.
    pub addresses: Vec<AddressFacts>,
    /// How its addresses stand in DNS.
    pub signed: Signed,
}

/// How the addresses of a mail host stand in DNS: TLSA records count only if they are secure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signed {
    /// The verdict on them, every CNAME included; `None` if there was no answer.
    pub security: Option<Security>,
    /// What the host is an alias of.
    pub alias: Option<HostName>,
    /// There are TLSA records, and nobody vouches for them.
    pub useless_tlsa: bool,
}

/// One address of a mail host.
#[derive(Clone, Debug)]
pub struct AddressFacts {
    /// The address.
    pub address: IpAddr,
    /// What answered there.
    pub seen: Seen,
}

/// What answered at an address, up to EHLO inside TLS and QUIT.
#[derive(Clone, Debug)]
pub enum Seen {
    /// A mail server.
    Session {
        /// What became of STARTTLS.
        starttls: StartTls,
        /// The TLS session with what a verifier says of its certificate.
        tls: Option<Box<TlsSession>>,
    },
    /// No session came about.
    Failed {
        /// Where it stopped.
        stage: Stage,
        /// Why.
        cause: Cause,
    },
    /// The time was up before its turn came.
    NotChecked,
}

impl Facts {
    /// The DNSSEC verdict on the MX records, in one word.
    pub(crate) const fn dnssec(&self) -> &'static str {
        match &self.mail {
            MailHosts::Hosts {
                security: Security::Secure,
                ..
            } => "secure",
            MailHosts::Hosts {
                security: Security::Insecure,
                ..
            } => "insecure",
            MailHosts::Hosts {
                security: Security::Unchecked,
                ..
            }
            | MailHosts::Undeliverable { .. }
            | MailHosts::Unknown { .. } => "not-validated",
        }
    }

    /// The record that senders go by.
    pub(crate) fn selection(&self) -> Option<Selection> {
        match &self.record {
            TxtAnswer::Records(records) => Some(Record::select(records.iter().map(Vec::as_slice))),
            TxtAnswer::Failed(_) | TxtAnswer::NameTooLong => None,
        }
    }

    /// The policy that a sender applies that has never written to the domain before: the record is
    /// valid, and so is what was fetched (RFC 8461 section 3.3).
    #[must_use]
    pub fn published(&self) -> Option<StoredPolicy> {
        let Some(Selection::Found(record)) = self.selection() else {
            return None;
        };
        let policy = self.policy.as_ref().ok()?.policy.clone();
        Some(StoredPolicy {
            domain: self.domain.clone(),
            expires_at: self.now + policy.max_age(),
            fetched_at: self.now,
            id: Some(record.id().clone()),
            policy,
        })
    }
}
