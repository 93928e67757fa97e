//! Failures of demands that the sender, the next hop or our own routes make.

use mail_types::EnhancedStatus;

use super::{Entry, ReportCondition, Side};

pub(super) const REQUIRETLS_UNSUPPORTED: Entry = Entry {
    key: "requiretls-unsupported",
    statuses: &[EnhancedStatus::permanent(7, 30)],
    report: ReportCondition::Never,
    side: Side::Us,
    sentence: "The sender demanded secure transport all the way (REQUIRETLS), and no mail server of {domain} supports that",
    advice: "{sender} may send the message again without REQUIRETLS, if its content allows that.",
    request: "",
    clause: "RFC 8689 sections 4.2.1 and 5",
    explanation: &[
        "With REQUIRETLS the sender asks that the message travel only over verified TLS, also after it \
         has left us. Every host that could be reached has verified TLS but does not promise that for \
         the hops after it. The message cannot be delivered as asked, so it goes back.",
        "This is not a fault of anybody: few mail servers support REQUIRETLS.",
    ],
};

pub(super) const REQUIRETLS_NO_TLS: Entry = Entry {
    key: "requiretls-no-tls",
    statuses: &[EnhancedStatus::permanent(7, 10)],
    report: ReportCondition::Never,
    side: Side::RecipientAdmin,
    sentence: "The sender demanded secure transport (REQUIRETLS), and no mail server of {domain} could be reached over verified TLS",
    advice: "{Admin} should give {mx} working STARTTLS and a valid certificate. \
             {sender} may send the message again without REQUIRETLS, if its content allows that.",
    request: "Please give {mx} STARTTLS and a valid certificate, and publish an MTA-STS policy \
              in mode enforce or sign your MX records with DNSSEC: our sender has demanded \
              secure transport (REQUIRETLS).",
    clause: "RFC 8689 section 4.2.1",
    explanation: &[
        "The message was sent with REQUIRETLS, so plain text and unverified certificates are out of \
         the question. Such failures are treated as passing for a day; after that the message goes \
         back, as RFC 8689 demands.",
        "What exactly failed at each host is in `tried`.",
    ],
};

pub(super) const TLS_REQUIRED_BY_PEER: Entry = Entry {
    key: "tls-required-by-peer",
    statuses: &[EnhancedStatus::permanent(7, 10)],
    report: ReportCondition::Never,
    side: Side::RecipientAdmin,
    sentence: "{mx} accepts mail only over TLS, but does not offer it (STARTTLS)",
    advice: "{Admin} should enable STARTTLS on {mx}, or check whether a firewall or mail filter in front of it \
             removes STARTTLS: it demands what it does not provide. {ours}",
    request: "Please enable STARTTLS on {mx}, or see whether a firewall or mail filter in front of it removes the \
              keyword STARTTLS from its answer to EHLO: it accepts mail only over TLS, and does not offer it.",
    clause: "RFC 3207 section 4",
    explanation: &[
        "The host answered `530 Must issue a STARTTLS command first`, and either offers no STARTTLS or \
         fails at the handshake: the sentence says which. No sender can deliver to it in this state. The same \
         code without a word of TLS wants a login: that is `remote-5xx`.",
    ],
};

pub(super) const ROUTE_AUTH: Entry = Entry {
    key: "route-auth",
    statuses: &[EnhancedStatus::transient(7, 8)],
    report: ReportCondition::Never,
    side: Side::Us,
    sentence: "We could not log in at {mx}, the next hop of our route",
    advice: "Check `username` and `password-file` of the route in our configuration, and whether the \
             account at {mx} is still valid. Then `sealpost reload` and `sealpost queue retry`.",
    request: "",
    clause: "RFC 4954 section 4",
    explanation: &[
        "The next hop of the `[[route]]` for this mail wants a login. It refused the user name and \
         password that the route has, offers no AUTH mechanism that can be used safely, or the route \
         has none. Mail for this route waits, because wrong \
         credentials are ours to put right and no reason to bounce.",
        "Credentials are only ever sent over TLS whose certificate was verified.",
    ],
};
