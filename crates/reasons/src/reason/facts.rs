//! What a text about a failure speaks of, and to whom.

use super::{Reason, Side};

/// What a sentence about a failure speaks of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The recipient's domain.
    pub domain: &'a str,
    /// The host that failed.
    pub mx: Option<&'a str>,
    /// What exactly happened, a phrase without full stop: a peer's reply, a date, a list of names.
    pub specifics: Option<&'a str>,
    /// Who demands what was not met.
    pub by: DemandedBy,
    /// Which of the reason's cases it is.
    pub case: Case,
    /// The message was given up: there will be no other attempt.
    pub given_up: bool,
    /// Who reads it.
    pub reader: Reader,
}

/// Who demands what a host did not meet, and so whose move it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DemandedBy {
    /// The recipient's domain: its policy. Also where nobody demands anything.
    #[default]
    Recipient,
    /// The host's own TLSA records.
    TlsaRecords,
    /// The sender, with REQUIRETLS.
    Sender,
    /// Our configuration for the domain: a `[[domain]]` rule, a pin.
    Rule,
    /// Our configuration for all domains: `delivery.tls`.
    Default,
    /// A `[[route]]` of ours, whose next hop is not the recipient's.
    Route,
    /// What the next hop of a route publishes. Also where nobody demands anything of it.
    NextHop,
    /// The sender, of the next hop of a route.
    SenderByRoute,
    /// Our configuration for the domain, of the next hop of a route.
    RuleByRoute,
    /// Our configuration for all domains, of the next hop of a route.
    DefaultByRoute,
}

/// The cases of a reason in which there is something else to be done than usually.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Case {
    /// What the reason says.
    #[default]
    Usual,
    /// `cert-not-trusted`: signed by its own key.
    SelfSigned,
    /// `cert-not-trusted`: the chain has a gap.
    IncompleteChain,
    /// `cert-not-trusted`: valid only later.
    NotYetValid,
    /// `cert-not-trusted`: revoked.
    Revoked,
    /// `cert-not-trusted`: our lists do not say whether it is revoked.
    RevocationUnknown,
    /// `cert-not-trusted`: not issued for servers.
    WrongPurpose,
    /// `tls-handshake`: the host wants a certificate of us.
    ClientCertificate,
    /// `tls-handshake`: it began, and did not go on.
    BrokenOff,
    /// `tls-handshake`: the host does not know its own name.
    NameNotServed,
    /// `tls-handshake`: what the host presents is larger than TLS libraries take.
    CertificateTooLarge,
    /// `mx-not-in-policy`: a rule or pin of ours has a list of hosts.
    NotInRule,
    /// `mx-not-in-policy`: a rule of ours wants somebody to vouch for the host, and nobody does.
    NobodyVouches,
    /// `requiretls-no-tls`: neither a policy nor DNSSEC vouches for the host.
    NoPolicy,
    /// `no-such-domain` and the like: DNS says so, and it is not believed yet.
    NotBelieved,
    /// `no-usable-mx`: MX records name addresses, or what is no host name.
    MxNotAHost,
    /// `no-usable-mx`: there is neither an MX record nor an address.
    NoMailHost,
    /// `no-usable-mx`: our own route leads to a host that does not exist.
    RouteHost,
    /// `connection-lost`: what the host says is no SMTP.
    NotSmtp,
    /// `remote-5xx`: the host wants no mail from us at all.
    AtGreeting,
    /// `remote-4xx`, `remote-5xx`: the reply names a block list that we are on, or our reputation.
    Listed,
    /// `remote-5xx`: the host is one for its own users, who log in.
    LoginWanted,
    /// `remote-5xx`: what the host answers makes no sense for a mail server.
    BrokenHost,
    /// `remote-4xx`, `remote-5xx`: the recipient's address is not known there.
    BadAddress,
    /// `remote-4xx`, `remote-5xx`: the sender's address is not accepted.
    SenderAddress,
    /// `remote-4xx`, `remote-5xx`: the recipient's mailbox is full.
    MailboxFull,
    /// `remote-4xx`, `remote-5xx`: the recipient's mailbox takes no mail.
    Mailbox,
    /// `remote-4xx`, `remote-5xx`: SPF, DKIM or DMARC does not vouch for the sender's domain.
    Unproven,
    /// `remote-4xx`, `remote-5xx`: our address has no name, or a wrong one.
    ReverseDns,
    /// `remote-4xx`, `remote-5xx`: too much at once from us.
    SlowDown,
    /// `remote-4xx`: it may be greylisting.
    Greylisted,
    /// `remote-4xx`, `remote-5xx`: the host has trouble of its own.
    HostTrouble,
    /// `remote-5xx`: not the last word, since others could not be asked.
    NotFinal,
    /// `tls-required-by-peer`: it is offered, and failed.
    TlsFailed,
    /// `tls-required-by-peer`: our route forbids it.
    NoTlsByRoute,
    /// `extension-missing`: SIZE.
    TooBig,
    /// `extension-missing`: 8BITMIME.
    EightBit,
    /// `extension-missing`: SMTPUTF8.
    NotAscii,
    /// `local`: an operator wanted it so.
    ByOperator,
}

/// To whom a text speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reader {
    /// Who runs this relay.
    #[default]
    Operator,
    /// Who sent the message.
    Sender,
}

impl DemandedBy {
    pub(super) const ALL: [Self; 10] = [
        Self::Recipient,
        Self::TlsaRecords,
        Self::Sender,
        Self::Rule,
        Self::Default,
        Self::Route,
        Self::NextHop,
        Self::SenderByRoute,
        Self::RuleByRoute,
        Self::DefaultByRoute,
    ];

    /// The same, where the mail goes by a `[[route]]` of ours.
    #[must_use]
    pub const fn by_route(self) -> Self {
        match self {
            Self::Recipient | Self::TlsaRecords | Self::NextHop => Self::NextHop,
            Self::Sender | Self::SenderByRoute => Self::SenderByRoute,
            Self::Rule | Self::RuleByRoute => Self::RuleByRoute,
            Self::Default | Self::DefaultByRoute => Self::DefaultByRoute,
            Self::Route => Self::Route,
        }
    }

    /// Whether the host is the next hop of a route, and not the recipient's.
    pub(super) const fn is_by_route(self) -> bool {
        match self {
            Self::Route
            | Self::NextHop
            | Self::SenderByRoute
            | Self::RuleByRoute
            | Self::DefaultByRoute => true,
            Self::Recipient | Self::TlsaRecords | Self::Sender | Self::Rule | Self::Default => {
                false
            }
        }
    }

    /// For what is stored.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Recipient => "recipient",
            Self::TlsaRecords => "tlsa",
            Self::Sender => "sender",
            Self::Rule => "rule",
            Self::Default => "default",
            Self::Route => "route",
            Self::NextHop => "next-hop",
            Self::SenderByRoute => "sender-by-route",
            Self::RuleByRoute => "rule-by-route",
            Self::DefaultByRoute => "default-by-route",
        }
    }

    /// The one with this key; what is not known is [`DemandedBy::Recipient`].
    #[must_use]
    pub fn from_key(key: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|by| by.key() == key).unwrap_or_default()
    }
}

impl Case {
    /// Every case, the usual one first.
    pub const ALL: [Self; 39] = [
        Self::Usual,
        Self::SelfSigned,
        Self::IncompleteChain,
        Self::NotYetValid,
        Self::Revoked,
        Self::RevocationUnknown,
        Self::WrongPurpose,
        Self::ClientCertificate,
        Self::BrokenOff,
        Self::NameNotServed,
        Self::CertificateTooLarge,
        Self::NotInRule,
        Self::NobodyVouches,
        Self::NoPolicy,
        Self::NotBelieved,
        Self::MxNotAHost,
        Self::NoMailHost,
        Self::RouteHost,
        Self::NotSmtp,
        Self::AtGreeting,
        Self::Listed,
        Self::LoginWanted,
        Self::BrokenHost,
        Self::BadAddress,
        Self::SenderAddress,
        Self::MailboxFull,
        Self::Mailbox,
        Self::Unproven,
        Self::ReverseDns,
        Self::SlowDown,
        Self::Greylisted,
        Self::HostTrouble,
        Self::NotFinal,
        Self::TlsFailed,
        Self::NoTlsByRoute,
        Self::TooBig,
        Self::EightBit,
        Self::NotAscii,
        Self::ByOperator,
    ];

    /// For what is stored; the usual case has an empty one.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::SelfSigned => "self-signed",
            Self::IncompleteChain => "incomplete-chain",
            Self::NotYetValid => "not-yet-valid",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation-unknown",
            Self::WrongPurpose => "wrong-purpose",
            Self::ClientCertificate => "client-certificate",
            Self::BrokenOff => "broken-off",
            Self::NameNotServed => "name-not-served",
            Self::CertificateTooLarge => "certificate-too-large",
            Self::NotInRule => "not-in-rule",
            Self::NobodyVouches => "nobody-vouches",
            Self::NoPolicy => "no-policy",
            Self::NotBelieved => "not-believed",
            Self::MxNotAHost => "mx-not-a-host",
            Self::NoMailHost => "no-mail-host",
            Self::RouteHost => "route-host",
            Self::NotSmtp => "not-smtp",
            Self::AtGreeting => "at-greeting",
            Self::Listed => "listed",
            Self::LoginWanted => "login-wanted",
            Self::BrokenHost => "broken-host",
            Self::BadAddress => "bad-address",
            Self::SenderAddress => "sender-address",
            Self::MailboxFull => "mailbox-full",
            Self::Mailbox => "mailbox",
            Self::Unproven => "unproven",
            Self::ReverseDns => "reverse-dns",
            Self::SlowDown => "slow-down",
            Self::Greylisted => "greylisted",
            Self::HostTrouble => "host-trouble",
            Self::NotFinal => "not-final",
            Self::TlsFailed => "tls-failed",
            Self::NoTlsByRoute => "no-tls-by-route",
            Self::TooBig => "too-big",
            Self::EightBit => "eight-bit",
            Self::NotAscii => "not-ascii",
            Self::ByOperator => "by-operator",
        }
    }

    /// The one with this key; what is not known is [`Case::Usual`].
    #[must_use]
    pub fn from_key(key: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|case| case.key() == key).unwrap_or_default()
    }
}

/// Fills in what stands in braces:
///
/// * `{mx}`, `{domain}`;
/// * `{admin}`, `{Admin}`: who runs the host;
/// * `{demand}`: who demands what was not met;
/// * `{ours}`: a sentence on what there is to be changed here;
/// * `{sender}`: the sender, who may be the reader;
/// * `{us}`: nothing; what follows is not for senders;
/// * `{kept}`: that the mail goes out by itself, unless it was given up.
pub(super) fn fill(template: &str, facts: &Facts<'_>) -> String {
    let mx = facts.mx.unwrap_or("the mail server");
    let domain = if facts.domain.is_empty() {
        "the recipient's domain"
    } else {
        facts.domain
    };
    let mut text = String::with_capacity(template.len() + 96);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        match name {
            "mx" => text.push_str(mx),
            "domain" => text.push_str(domain),
            "admin" => admin("the", "whoever", facts, mx, domain, &mut text),
            "Admin" => admin("The", "Whoever", facts, mx, domain, &mut text),
            "demand" => demand(facts, domain, &mut text),
            "ours" => text.push_str(ours(facts)),
            "sender" => text.push_str(match facts.reader {
                Reader::Operator => "The sender",
                Reader::Sender => "You",
            }),
            "kept" if !facts.given_up => text.push_str(KEPT),
            _ => {}
        }
        rest = after;
    }
    text.push_str(rest);
    text.truncate(text.trim_end().len());
    // A sentence may begin with the host's name; without one it begins with "the".
    if let Some(lower) = text.strip_prefix("the ") {
        text = format!("The {lower}");
    }
    text
}

fn admin(the: &str, whoever: &str, facts: &Facts<'_>, mx: &str, domain: &str, out: &mut String) {
    let words = match facts.by {
        by if by.is_by_route() => [whoever, " runs ", mx, ", the next hop of our route,"],
        // They belong to the host, whoever's domain it serves.
        DemandedBy::TlsaRecords => [the, " administrator of ", mx, ""],
        _ => [the, " administrator of ", domain, ""],
    };
    out.extend(words);
}

fn demand(facts: &Facts<'_>, domain: &str, out: &mut String) {
    let who = match facts.by {
        DemandedBy::Recipient => "a policy for ",
        DemandedBy::Rule | DemandedBy::RuleByRoute => "our own rule for ",
        DemandedBy::Route => "our own route for ",
        DemandedBy::TlsaRecords => return out.push_str("DANE (its TLSA records)"),
        DemandedBy::NextHop => {
            return out.push_str("what the next hop publishes (a policy or TLSA records)");
        }
        DemandedBy::Sender | DemandedBy::SenderByRoute => {
            return out.push_str("the sender (REQUIRETLS)");
        }
        DemandedBy::Default | DemandedBy::DefaultByRoute => {
            return out.push_str("our setting `delivery.tls`");
        }
    };
    out.extend([who, domain]);
}

const fn ours(facts: &Facts<'_>) -> &'static str {
    match (facts.reader, facts.by) {
        // Of no use to them: they cannot change anything here.
        (Reader::Sender, _) => "",
        (
            Reader::Operator,
            DemandedBy::Recipient
            | DemandedBy::TlsaRecords
            | DemandedBy::Sender
            | DemandedBy::NextHop
            | DemandedBy::SenderByRoute,
        ) => "Nothing has to be changed here.",
        (Reader::Operator, DemandedBy::Rule | DemandedBy::RuleByRoute) => {
            "It is our own rule that demands this (`tls` or `mta-sts` of `[[domain]]`, or a pin): change it if it \
             asks for too much."
        }
        (Reader::Operator, DemandedBy::Default | DemandedBy::DefaultByRoute) => {
            "It is our own setting `delivery.tls` that demands this, of every domain: a `[[domain]]` rule can ask \
             for more, not for less."
        }
        (Reader::Operator, DemandedBy::Route) => {
            "It is our own route that demands this: change its `tls` if it asks for too much."
        }
    }
}

const KEPT: &str = "Mail is kept and tried again by itself once that is repaired.";

/// Whose move it is, if the reason by itself says `side`.
pub(super) const fn side(reason: Reason, side: Side, by: DemandedBy) -> Side {
    match (side, by) {
        (Side::RecipientAdmin, by) if by.is_by_route() => Side::Us,
        (Side::RecipientAdmin, DemandedBy::Rule | DemandedBy::Default) if is_of_tls(reason) => {
            Side::Us
        }
        (side, _) => side,
    }
}

/// Whether it is a demand on the session that was not met.
pub(super) const fn is_of_tls(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::StarttlsNotOffered
            | Reason::StarttlsRefused
            | Reason::StarttlsInjection
            | Reason::TlsHandshake
            | Reason::CertExpired
            | Reason::CertHostMismatch
            | Reason::CertNotTrusted
            | Reason::MxNotInPolicy
    )
}
