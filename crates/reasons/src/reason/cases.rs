//! Cases of a reason in which there is something else to be said than usually. The keys stay: an
//! operator's filters hang on them.

use super::{Case, Reason, Side, replies};

/// What is said in such a case, in the place of what the reason says.
#[derive(Clone, Copy)]
pub(super) struct Variant {
    pub(super) side: Side,
    /// As [`Entry::sentence`](super::Entry::sentence).
    pub(super) sentence: &'static str,
    /// As [`Entry::advice`](super::Entry::advice); empty if there is nothing to do.
    pub(super) advice: &'static str,
    /// As [`Entry::request`](super::Entry::request).
    pub(super) request: &'static str,
}

pub(super) const fn variant(reason: Reason, case: Case) -> Option<&'static Variant> {
    Some(match (reason, case) {
        (Reason::CertNotTrusted, Case::SelfSigned) => &SELF_SIGNED,
        (Reason::CertNotTrusted, Case::IncompleteChain) => &INCOMPLETE_CHAIN,
        (Reason::CertNotTrusted, Case::NotYetValid) => &NOT_YET_VALID,
        (Reason::CertNotTrusted, Case::Revoked) => &REVOKED,
        (Reason::CertNotTrusted, Case::RevocationUnknown) => &REVOCATION_UNKNOWN,
        (Reason::CertNotTrusted, Case::WrongPurpose) => &WRONG_PURPOSE,
        (Reason::TlsHandshake, Case::BrokenOff) => &BROKEN_OFF,
        (Reason::TlsHandshake, Case::NameNotServed) => &NAME_NOT_SERVED,
        (Reason::TlsHandshake, Case::ClientCertificate) => &CLIENT_CERTIFICATE,
        (Reason::TlsHandshake, Case::CertificateTooLarge) => &CERTIFICATE_TOO_LARGE,
        (Reason::MxNotInPolicy, Case::NotInRule) => &NOT_IN_RULE,
        (Reason::MxNotInPolicy, Case::NobodyVouches) => &NOBODY_VOUCHES,
        (Reason::RequireTlsNoTls, Case::NoPolicy) => &NO_POLICY,
        (Reason::NoSuchDomain, Case::NotBelieved) => &NO_SUCH_DOMAIN_YET,
        (Reason::NullMx, Case::NotBelieved) => &NULL_MX_YET,
        (Reason::NoUsableMx, Case::NotBelieved) => &NO_USABLE_MX_YET,
        (Reason::NoUsableMx, Case::MxNotAHost) => &MX_NOT_A_HOST,
        (Reason::NoUsableMx, Case::NoMailHost) => &NO_MAIL_HOST,
        (Reason::NoUsableMx, Case::RouteHost) => &ROUTE_HOST,
        (Reason::ConnectionLost, Case::NotSmtp) => &NOT_SMTP,
        (Reason::ExtensionMissing, Case::TooBig) => &TOO_BIG,
        (Reason::ExtensionMissing, Case::EightBit) => &EIGHT_BIT,
        (Reason::ExtensionMissing, Case::NotAscii) => &NOT_ASCII,
        (Reason::Local, Case::ByOperator) => &BY_OPERATOR,
        (Reason::Remote4xx | Reason::Remote5xx, _) => return replies::variant(reason, case),
        (Reason::TlsRequiredByPeer, Case::TlsFailed) => &TLS_FAILED,
        (Reason::TlsRequiredByPeer, Case::NoTlsByRoute) => &NO_TLS_BY_ROUTE,
        _ => return None,
    })
}

/// Paragraphs in the place of the reason's own, where those speak of what this case is not about.
pub(super) const fn explanation(reason: Reason, case: Case) -> Option<&'static [&'static str]> {
    match (reason, case) {
        (Reason::MxNotInPolicy, Case::NotInRule) => Some(OF_NOT_IN_RULE),
        (Reason::MxNotInPolicy, Case::NobodyVouches) => Some(OF_NOBODY_VOUCHES),
        (Reason::CertNotTrusted, Case::SelfSigned) => Some(OF_SELF_SIGNED),
        (Reason::CertNotTrusted, Case::NotYetValid) => Some(OF_NOT_YET_VALID),
        (Reason::TlsHandshake, Case::BrokenOff) => Some(OF_BROKEN_OFF),
        (Reason::TlsHandshake, Case::NameNotServed) => Some(OF_NAME_NOT_SERVED),
        (Reason::CertNotTrusted, Case::WrongPurpose) => Some(OF_WRONG_PURPOSE),
        (Reason::TlsHandshake, Case::ClientCertificate) => Some(OF_CLIENT_CERTIFICATE),
        (Reason::TlsHandshake, Case::CertificateTooLarge) => Some(OF_CERTIFICATE_TOO_LARGE),
        (Reason::ConnectionLost, Case::NotSmtp) => Some(OF_NOT_SMTP),
        (Reason::NoUsableMx, Case::MxNotAHost) => Some(OF_MX_NOT_A_HOST),
        (Reason::NoUsableMx, Case::NoMailHost) => Some(OF_NO_MAIL_HOST),
        (Reason::NoUsableMx, Case::RouteHost) => Some(OF_ROUTE_HOST),
        (Reason::Remote4xx | Reason::Remote5xx, _) => replies::explanation(case),
        _ => None,
    }
}

const OF_NOT_IN_RULE: &[&str] = &[
    "DNS names this host, the list of hosts that we have for the domain (`mx` of a `[[domain]]` rule, or a \
     pin) does not. Such a list is a minimum, whatever the domain itself publishes: DNS answers can be \
     forged. So the mail was not even offered to the host.",
    "Usually the domain has moved its mail to other hosts. If the MX records look wrong rather than the \
     list, suspect the DNS: compare the answers of several resolvers.",
];

const OF_NOBODY_VOUCHES: &[&str] = &[
    "A rule of ours (`mta-sts = \"require\"`) lets mail for the domain go only to hosts for which somebody \
     vouches: an MTA-STS policy of the domain, a list of ours, or DNSSEC. None of them does, so the mail \
     was not even offered to the host: DNS answers can be forged.",
];

const OF_WRONG_PURPOSE: &[&str] = &[
    "A certificate says what it may be used for (RFC 5280 sections 4.2.1.9 and 4.2.1.12). This one may not stand \
     for a server: its extended key usage leaves serverAuth out, or it is the certificate of an authority. \
     Intermediate certificates or other roots do not change that.",
    "To see it: `openssl s_client -starttls smtp -connect HOST:25 -servername HOST </dev/null | \
     openssl x509 -noout -ext extendedKeyUsage,basicConstraints`.",
];

const OF_CERTIFICATE_TOO_LARGE: &[&str] = &[
    "In the TLS handshake a host presents its certificate and the chain that belongs to it. Here that was more than \
     64 KiB, which TLS libraries refuse to read, so nobody can say whether it is valid. Versions and ciphers of TLS \
     have nothing to do with it.",
    "Usually one certificate has very many names, or a whole list of authorities is sent with it.",
];

const OF_SELF_SIGNED: &[&str] = &[
    "The certificate was signed with its own key, so nobody vouches for the name in it. Mail servers make such a one \
     for themselves when they are installed; whoever stands between us could do so, too.",
    "If the recipient uses it on purpose, a TLSA record (DANE) can vouch for it, or a `[[route]]` of ours with `roots` \
     of its own trusts it for this destination only.",
];

const OF_NOT_YET_VALID: &[&str] = &[
    "The certificate is valid only from a later time, which is in the detail. Either it was installed too early, or the \
     clock of this machine is slow: then many domains show the same.",
    "To see it: `openssl s_client -starttls smtp -connect HOST:25 -servername HOST </dev/null | \
     openssl x509 -noout -dates`, and `date -u` for the clock.",
];

const OF_BROKEN_OFF: &[&str] = &[
    "STARTTLS was accepted, and then no TLS came of it: the connection was closed or reset, nothing came, or something \
     that is not TLS. The detail names which. Versions and ciphers have nothing to do with it.",
    "Usually a process behind STARTTLS has died, or a firewall or proxy on the way does not let TLS through on port 25. \
     If many unrelated domains show this at once, it is near us; look for an MTU problem, too. To see it: \
     `openssl s_client -starttls smtp -connect HOST:25`.",
];

const OF_NAME_NOT_SERVED: &[&str] = &[
    "The TLS handshake names the host that is meant (SNI, RFC 6066 section 3): the name that the MX record has, or the \
     one at which its TLSA records stand. The host answered that it does not serve that name, and ended the handshake.",
    "To see it: `openssl s_client -starttls smtp -connect HOST:25 -servername HOST`.",
];

const OF_CLIENT_CERTIFICATE: &[&str] = &[
    "In the TLS handshake the host asked for a certificate of the client, and ended the session since it got none. \
     Hosts that MX records name are called by everybody, and nobody on the internet has a certificate that they would \
     know; to ask for one is in order, to demand it is not. None is sent here.",
    "In Postfix the setting is `smtpd_tls_req_ccert`; `smtpd_tls_ask_ccert` does no harm.",
];

const OF_NOT_SMTP: &[&str] = &[
    "A connection was made, and what came over it was no SMTP: no reply codes, a reply that nothing had asked for, \
     or one that makes no sense at that point (RFC 5321 section 4.2). The detail has what it was. The session was \
     ended, because what follows could be taken for the answer to something else.",
    "Usually another service listens on that port, or a filter in front of the mail server answers in its place. To \
     see it: `openssl s_client -starttls smtp -connect HOST:25`, or `nc HOST 25`.",
];

const OF_MX_NOT_A_HOST: &[&str] = &[
    "An MX record holds a host name (RFC 5321 section 5.1, RFC 1035 section 3.3.9). The domain has written something \
     else there, mostly an IP address. Where MX records exist, the domain's own address must not be used instead.",
    "To see it: `dig MX DOMAIN`.",
];

const OF_NO_MAIL_HOST: &[&str] = &[
    "The domain exists in DNS, but has no MX record; and the address of the domain itself, which would take its place \
     (RFC 5321 section 5.1), does not exist either. So there is no host that mail could go to. Usually the address is \
     misspelt, or the domain is not used for mail.",
];

const OF_ROUTE_HOST: &[&str] = &[
    "A `[[route]]` of our configuration sends this mail to a host of which DNS says definitely that it does not exist, \
     or has no address. The detail names it. DNS of the recipient's domain is not asked for such mail.",
    "The mail is not returned for it: it goes out when the name in `relay` is right or exists.",
];

const NOT_ACCEPTED: &str = "The certificate of {mx} is not accepted";

const SELF_SIGNED: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: NOT_ACCEPTED,
    advice: "{Admin} should replace it by one of a public authority: anybody can sign for himself. {ours}",
    request: "Please replace the self-signed certificate of {mx} by one of a public authority.",
};

const INCOMPLETE_CHAIN: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: NOT_ACCEPTED,
    advice: "{Admin} should let {mx} send the whole chain: the file with the intermediate certificates \
             (\"fullchain\") rather than the certificate alone. {ours}",
    request: "Please let {mx} send the whole chain: the file with the intermediate certificates \
              (\"fullchain\") rather than the certificate alone. Mail servers do not fetch what is missing.",
};

const NOT_YET_VALID: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: NOT_ACCEPTED,
    advice: "{Admin} should have {mx} present a certificate that is valid now. {us}Look at the clock of this \
             machine first: if it is slow, the certificate is in order.",
    request: "Please have {mx} present a certificate that is valid now: this one begins only later.",
};

const REVOKED: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: NOT_ACCEPTED,
    advice: "{Admin} should get a new certificate for {mx}: this one counts as revoked by the lists that \
             are configured here (`tls.crls`). {ours}",
    request: "Please get a new certificate for {mx}: the present one counts as revoked.",
};

const REVOCATION_UNKNOWN: Variant = Variant {
    side: Side::Us,
    sentence: NOT_ACCEPTED,
    advice: "Renew or complete the lists of revoked certificates that `tls.crls` names: those that are there \
             do not say whether this certificate is revoked.",
    request: "",
};

const WRONG_PURPOSE: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: NOT_ACCEPTED,
    advice: "{Admin} should replace the certificate of {mx} by one issued for servers (extended key usage \
             serverAuth). {ours}",
    request: "Please replace the certificate of {mx} by one issued for servers (extended key usage serverAuth) \
              that is not an authority's own.",
};

const BROKEN_OFF: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: "The TLS handshake with {mx} failed",
    advice: "{Admin} should see in the log of {mx} why nothing comes of TLS after STARTTLS, and whether a firewall or \
             proxy in front of it is in the way. {us}{ours} If many domains fail at the same time, the cause is near us.",
    request: "Please see in the log of {mx}, or of a firewall in front of it, why nothing comes of TLS after STARTTLS \
              on port 25.",
};

const NAME_NOT_SERVED: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: "The TLS handshake with {mx} failed",
    advice: "{Admin} should configure {mx} to serve TLS under that very name: it says that it does not know it. {ours}",
    request: "Please configure {mx} to serve TLS under that very name: it ends the handshake with the alert \
              unrecognized_name.",
};

const CLIENT_CERTIFICATE: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: "The TLS handshake with {mx} failed",
    advice: "{Admin} should have {mx} take mail without a client certificate: it may ask for one, but not demand it. \
             {ours}",
    request: "Please have {mx} take mail without a client certificate: it ends the TLS handshake with whoever shows \
              none, and senders on the internet have none.",
};

const CERTIFICATE_TOO_LARGE: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: "The TLS handshake with {mx} failed",
    advice: "{Admin} should have {mx} present a smaller certificate and only the chain that belongs to it: \
             together they may not be larger than 64 KiB. {ours}",
    request: "Please have {mx} present a smaller certificate and only the chain that belongs to it: together \
              they are larger than 64 KiB, which TLS libraries do not read.",
};

const NOT_IN_RULE: Variant = Variant {
    side: Side::Us,
    sentence: "Our own rule for {domain} does not list {mx}, an MX host of the domain",
    advice: "Compare the rule with the domain's MX records: if {mx} is right, add it to `mx` of the \
             `[[domain]]` rule or to the pin, or remove that.",
    request: "",
};

const NOBODY_VOUCHES: Variant = Variant {
    side: Side::Us,
    sentence: "Our own rule for {domain} demands that somebody vouches for {mx}, and nobody does",
    advice: "Name the domain's mail hosts in `mx` of the `[[domain]]` rule, or remove its `mta-sts = \"require\"`.",
    request: "",
};

const NO_POLICY: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: "The sender demanded secure transport (REQUIRETLS), and nothing vouches for {mx} as a mail server of {domain}",
    advice: "{Admin} should publish an MTA-STS policy in mode enforce, or sign the MX records with DNSSEC. \
             {sender} may send the message again without REQUIRETLS, if its content allows that.",
    request: "Please publish an MTA-STS policy in mode enforce or sign your MX records with DNSSEC: our \
              sender has demanded secure transport (REQUIRETLS), and nothing vouches for {mx} now.",
};

const IF_IT_IS_TRUE: &str = "If it is true, the mail is returned after four hours; compare the answers of other resolvers meanwhile.";

const NO_SUCH_DOMAIN_YET: Variant = Variant {
    side: Side::Wait,
    sentence: "The domain {domain} does not exist",
    advice: IF_IT_IS_TRUE,
    request: "",
};

const NULL_MX_YET: Variant = Variant {
    side: Side::Wait,
    sentence: "The domain {domain} says that it does not accept mail",
    advice: IF_IT_IS_TRUE,
    request: "",
};

const NO_USABLE_MX_YET: Variant = Variant {
    side: Side::Wait,
    sentence: "DNS names no mail server of {domain} that can be used",
    advice: IF_IT_IS_TRUE,
    request: "Please correct the MX records of {domain}: each has to be a host name that has an \
              address.",
};

const MX_NOT_A_HOST: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: "The MX records of {domain} name no host",
    advice: "{Admin} should write the host's name into them: an MX record names a host, never an address. \
             {sender} can only wait for that.",
    request: "Please correct the MX records of {domain}: each has to name a host, never an address.",
};

const NO_MAIL_HOST: Variant = Variant {
    side: Side::Us,
    sentence: "The domain {domain} has no mail server: neither an MX record nor an address",
    advice: "{sender} should check the spelling of the part after the @ sign. If it is right, the domain takes no mail \
             until its administrator publishes an MX record.",
    // Nobody there could read a letter.
    request: "",
};

const ROUTE_HOST: Variant = Variant {
    side: Side::Us,
    sentence: "Our own route for {domain} leads to a host that does not exist or has no address",
    advice: "Correct `relay` of the `[[route]]` for {domain}, or have that name published in DNS. {kept}",
    request: "",
};

const NOT_SMTP: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: "{mx} does not speak SMTP properly",
    advice: "{Admin} should see what answers at {mx}: a broken mail server, or a filter or another service \
             in its place.",
    request: "Please see what answers on port 25 of {mx}: what it says is no SMTP.",
};

const TOO_BIG: Variant = Variant {
    side: Side::Us,
    sentence: "No mail server of {domain} takes a message of this size",
    advice: "{sender} should send less at once, or a link in the place of an attachment.",
    request: "",
};

const EIGHT_BIT: Variant = Variant {
    side: Side::Us,
    sentence: "No mail server of {domain} takes 8-bit content",
    advice: "{sender} should send it with its texts and attachments in a 7-bit encoding (quoted-printable or base64).",
    request: "",
};

const NOT_ASCII: Variant = Variant {
    side: Side::Us,
    sentence: "No mail server of {domain} takes addresses that are not ASCII",
    advice: "{sender} should use addresses of ASCII characters only, also in the header.",
    request: "",
};

const TLS_FAILED: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: "{mx} accepts mail only over TLS, but a TLS session with it could not be set up",
    advice: "{Admin} should repair TLS on {mx}: it demands what does not work there. {ours}",
    request: "Please repair TLS on {mx}: it accepts mail only over TLS, and a TLS session with it cannot be set up.",
};

const NO_TLS_BY_ROUTE: Variant = Variant {
    side: Side::Us,
    sentence: "{mx} accepts mail only over TLS, and our own route for {domain} forbids TLS",
    advice: "Remove `tls = \"dangerous-off\"` from the `[[route]]`, so that TLS is used with {mx}.",
    request: "",
};

const BY_OPERATOR: Variant = Variant {
    side: Side::Us,
    sentence: "An operator of this relay ended it",
    advice: "",
    request: "",
};
