//! Failures of DANE (RFC 7672).

use mail_types::EnhancedStatus;

use super::{Entry, ReportCondition, Side};

pub(super) const DANE_MISMATCH: Entry = Entry {
    key: "dane-mismatch",
    statuses: &[EnhancedStatus::transient(7, 5)],
    report: ReportCondition::WithPolicy("validation-failure"),
    side: Side::RecipientAdmin,
    sentence: "The certificate of {mx} matches none of the TLSA records published for it",
    advice: "The administrator of {mx} should publish TLSA records for its present certificate. They \
             probably renewed the certificate or its key and forgot the records. {ours}",
    request: "Please publish a TLSA record for the certificate that {mx} presents now, or have \
              it present the certificate that the records name. If somebody else runs that host, \
              please pass this on.",
    clause: "RFC 7672 sections 2.2 and 3",
    explanation: &[
        "The host's zone is signed and has TLSA records, so the certificate has to match one of them. \
         It matches none. That is what an attack looks like, and what a forgotten key rollover looks \
         like; nobody here can tell them apart, so the mail waits.",
        "TLSA records belong to whoever runs the MX host, which may be a provider and not the \
         recipient's domain. To see them: `dig +dnssec TLSA _25._tcp.HOST`.",
    ],
};

pub(super) const DANE_LOOKUP: Entry = Entry {
    key: "dane-lookup",
    statuses: &[EnhancedStatus::transient(7, 0)],
    report: ReportCondition::WithPolicy("dnssec-invalid"),
    side: Side::RecipientAdmin,
    sentence: "The TLSA records of {mx} could not be looked up securely",
    advice: "The administrator of {mx} should check that its name servers answer TLSA queries and that \
             DNSSEC validates. {us}If many domains show this at once, look at our own resolver.",
    request: "Please see whether the name servers of {mx} answer queries for TLSA records, and \
              whether its zone validates with DNSSEC. If somebody else runs that host, please \
              pass this on.",
    clause: "RFC 7672 sections 2.1.1 and 2.2",
    explanation: &[
        "The host's zone is signed, so it may have TLSA records that bind the delivery. The query for \
         them failed: no answer, an error, or signatures that do not validate. As long as it is not \
         known that there are none, the host must be treated as if it had some, or an attacker would \
         only have to drop the answer. So it is passed over.",
        "Some name servers and firewalls answer TLSA queries with errors because they do not know the \
         type. To see it: `dig +dnssec TLSA _25._tcp.HOST` must give records, or NOERROR or NXDOMAIN \
         with a proof.",
    ],
};

pub(super) const DANE_UNUSABLE: Entry = Entry {
    key: "dane-unusable",
    statuses: &[EnhancedStatus::transient(7, 0)],
    report: ReportCondition::WithPolicy("tlsa-invalid"),
    side: Side::RecipientAdmin,
    sentence: "{mx} has TLSA records, but none of them can be used",
    advice: "The administrator of {mx} should publish TLSA records with usage 2 or 3, for instance \
             `3 1 1`. {ours}",
    request: "Please publish TLSA records with usage 2 or 3 for {mx}, for instance `3 1 1`. If \
              somebody else runs that host, please pass this on.",
    clause: "RFC 7672 sections 2.2 and 3.1",
    explanation: &[
        "Every TLSA record of the host is malformed or has parameters that SMTP does not use (such as \
         usage 0 or 1). RFC 7672 then still demands TLS, but nothing can be authenticated by these \
         records, and the delivery needs authentication.",
    ],
};

pub(super) const DANE_REQUIRED: Entry = Entry {
    key: "dane-required",
    statuses: &[EnhancedStatus::transient(7, 0)],
    report: ReportCondition::WithPolicy("dane-required"),
    side: Side::Us,
    sentence: "Our own rule for {domain} requires DANE, and {mx} cannot meet it",
    advice: "Either ask {admin} to have its MX records signed with DNSSEC and TLSA \
             records published for its mail hosts, or remove `dane = \"require\"` from the rule for {domain} in our configuration.",
    request: "We have agreed to use DANE for {domain}. Please have its MX records signed with \
              DNSSEC and TLSA records published for its mail hosts.",
    clause: "RFC 8460 section 4.3.2.1",
    explanation: &[
        "A `[[domain]]` rule here says `dane = \"require\"`. The MX host has no TLSA records, its \
         zone is not signed, or the domain's own MX records are not, so that nobody vouches for the \
         host. The rule cannot be met, and the mail waits.",
        "If this worked before, the recipient has withdrawn DNSSEC or DANE, or moved to other hosts. \
         Also check that our own resolver still validates: `sealpost status` shows it.",
    ],
};
