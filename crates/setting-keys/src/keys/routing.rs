//! `[[route]]` and `[[domain]]`.

use super::{Key, Kind};

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "route.recipient-domain",
        Kind::DomainMatch,
        "Which recipients take this route: a domain, \"*.\" and a domain for the names below it, or \
         \"*\". Of several routes that match, one that \
         names a sender counts before one that does not, then an exact recipient domain before a \
         pattern, then the first in the file. Unset, every recipient.",
    )
    .example("\"example.org\""),
    Key::new(
        "route.sender-domain",
        Kind::DomainMatch,
        "Which senders take this route, written in the same way. Unset, every sender.",
    )
    .example("\"news.example.org\""),
    Key::new(
        "route.relay",
        Kind::Relay,
        "Where this mail goes: \"host\" for the mail exchangers of a name, \"[host]\" for that host \
         itself, with \":port\" if it is not 25. A policy is asked of this name, not of the \
         recipient's domain (RFC 8461 section 3.4).",
    )
    .example("\"[mail.example.org]:25\""),
    Key::new(
        "route.tls",
        Kind::Choice(
            &["verified", "policy", "dangerous-unverified", "dangerous-off"],
            &[],
        ),
        "What is asked of that host: a valid certificate (\"verified\"), what its own domain \
         publishes (\"policy\"), TLS with any certificate (\"dangerous-unverified\") or no TLS \
         (\"dangerous-off\").",
    )
    .default("\"verified\""),
    Key::new(
        "route.tls-name",
        Kind::Host,
        "The name that the certificate must have, if it is not the host's own.",
    )
    .example("\"mail.example.org\""),
    Key::new(
        "route.roots",
        Kind::List(&Kind::Path),
        "PEM files of the authorities trusted on this route, instead of tls.roots. They are read at \
         the start and at each reload.",
    )
    .default("[]"),
    Key::new(
        "route.username",
        Kind::Text,
        "The user to log in as; only with tls = \"verified\". Of what the host offers, SCRAM-SHA-256 \
         is used before PLAIN before LOGIN.",
    )
    .example("\"relay\""),
    Key::new(
        "route.password-file",
        Kind::Path,
        "A file with the password on its first line, readable by the server alone. It is read at the \
         start and at each reload.",
    )
    .example("\"/etc/sealpost/smarthost.password\""),
    Key::new(
        "domain.name",
        Kind::Domain,
        "The recipient domain that these rules are for.",
    )
    .example("\"partner.example\""),
    Key::new(
        "domain.mta-sts",
        Kind::Choice(&["policy", "require", "dangerous-audit"], &[]),
        "\"policy\" does what the domain publishes. \"require\" enforces MTA-STS even if it publishes \
         nothing, with the mx patterns given here. \"dangerous-audit\" evaluates and logs, but \
         delivers all the same.",
    )
    .default("\"policy\""),
    Key::new(
        "domain.mx",
        Kind::List(&Kind::MxPattern),
        "The mail exchangers that \"require\" accepts, written as in a policy.",
    )
    .default("[]"),
    Key::new(
        "domain.dane",
        Kind::Choice(
            &["policy", "require", "dangerous-audit", "dangerous-off"],
            &[],
        ),
        "What becomes of the TLSA records of the domain's mail exchangers (RFC 7672). \"policy\" \
         enforces what is published. \"require\" lets mail wait until the MX records are signed with \
         DNSSEC and a mail exchanger has usable TLSA records. \"dangerous-audit\" evaluates and logs, \
         but delivers all the same; \"dangerous-off\" does not look at them.",
    )
    .default("\"policy\""),
    Key::new(
        "domain.tls",
        Kind::Choice(&["encrypted", "verified"], &[]),
        "TLS asked of this domain whatever it publishes: any certificate (\"encrypted\") or a valid \
         one (\"verified\"). It adds to delivery.tls, and never asks for less.",
    )
    .example("\"verified\""),
    Key::new(
        "domain.until",
        Kind::Date,
        "When a rule that weakens protection ends: at most 90 days ahead, and never without one.",
    )
    .example("\"2026-12-31\""),
    Key::new(
        "domain.reason",
        Kind::Text,
        "Why a rule weakens protection; it is logged with every delivery that uses it.",
    )
    .example("\"ticket 4711: their certificate expires before their holidays end\""),
];
