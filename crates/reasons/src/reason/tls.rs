//! Failures of TLS that a policy forbids to overlook.

use mail_types::EnhancedStatus;

use super::{Entry, ReportCondition, Side};

pub(super) const STARTTLS_NOT_OFFERED: Entry = Entry {
    key: "starttls-not-offered",
    statuses: &[EnhancedStatus::transient(7, 10)],
    report: ReportCondition::WithPolicy("starttls-not-supported"),
    side: Side::RecipientAdmin,
    sentence: "{mx} does not offer encryption (STARTTLS), but {demand} demands it",
    advice: "{Admin} should enable STARTTLS on {mx}, or check whether a firewall \
             or mail filter in front of it removes STARTTLS. {ours}",
    request: "Please enable STARTTLS on {mx}, or see whether a firewall or mail filter in front \
              of it removes the keyword STARTTLS from its answer to EHLO.",
    clause: "RFC 8461 section 5, RFC 3207 section 4",
    explanation: &[
        "The host answered EHLO without the STARTTLS keyword. The mail may only go over a verified, \
         encrypted connection: the recipient's domain or its mail host has published so (MTA-STS, DANE), \
         the sender has demanded it (REQUIRETLS), or our own configuration says so. So this host was passed over, and so was every other one.",
        "Either the host's TLS is switched off or broken, or something on the way removes the keyword. \
         The second is exactly the attack that the policy exists for, which is why the mail waits and \
         is not sent in plain text.",
        "To see it: `openssl s_client -starttls smtp -connect HOST:25`, from this machine and from \
         another network. If only this machine sees no STARTTLS, look at the firewall near it.",
    ],
};

pub(super) const STARTTLS_REFUSED: Entry = Entry {
    key: "starttls-refused",
    statuses: &[EnhancedStatus::transient(7, 10)],
    report: ReportCondition::WithPolicy("starttls-not-supported"),
    side: Side::RecipientAdmin,
    sentence: "{mx} offers encryption (STARTTLS) but refused to start it, and {demand} demands it",
    advice: "{Admin} should look at the TLS configuration of {mx}: usually its \
             certificate or key could not be loaded. {ours}",
    request: "Please look at the TLS configuration of {mx}: it announces STARTTLS and then \
              refuses it, usually because its certificate or key could not be loaded.",
    clause: "RFC 3207 section 4, RFC 8461 section 5",
    explanation: &[
        "The host announced STARTTLS and then answered the command with something else than `220`, usually \
         `454 TLS not available due to temporary reason`. Under a policy that counts like no TLS at \
         all: the mail waits, whatever the code of the refusal.",
        "The peer's reply is in the `reply` field. The cause is nearly always on that host: a missing \
         or unreadable key file, an exhausted entropy source, a broken TLS proxy.",
    ],
};

pub(super) const STARTTLS_INJECTION: Entry = Entry {
    key: "starttls-injection",
    statuses: &[EnhancedStatus::transient(7, 5)],
    report: ReportCondition::WithPolicy("validation-failure"),
    side: Side::RecipientAdmin,
    sentence: "{mx} sent extra data in plain text behind its answer to STARTTLS, so the connection was dropped",
    advice: "If it happens again, tell {admin}: the SMTP server or a proxy in \
             front of {mx} is broken, or somebody tampers with the connection.",
    request: "Please look at the mail server {mx} and at any proxy or filter in front of it: \
              between the answer 220 to STARTTLS and the TLS handshake there must be no other \
              octet.",
    clause: "RFC 3207 section 6",
    explanation: &[
        "Between the answer `220` to STARTTLS and the TLS handshake there must be nothing. Octets were \
         found there. A client that keeps them would treat them as if they had come through TLS, which \
         is how responses are injected (CVE-2011-0411 and its relatives), so the session was ended at \
         once and the next host was tried.",
        "Once is odd; again and again from one host means broken software there or interference on \
         the way. Compare what you see from another network.",
    ],
};

pub(super) const TLS_HANDSHAKE: Entry = Entry {
    key: "tls-handshake",
    statuses: &[EnhancedStatus::transient(7, 5)],
    report: ReportCondition::WithPolicy("validation-failure"),
    side: Side::RecipientAdmin,
    sentence: "The TLS handshake with {mx} failed",
    advice: "{Admin} should check that {mx} speaks TLS 1.2 or 1.3 with current \
             ciphers. {us}{ours} If many domains fail at the same time, the cause is near us.",
    request: "Please see whether {mx} speaks TLS 1.2 or 1.3 with current ciphers on port 25; its \
              own log at the time above should say why the handshake failed.",
    clause: "RFC 8461 section 5, RFC 8446 section 4",
    explanation: &[
        "STARTTLS was accepted, but no TLS session came of it. The detail names the exact cause: an \
         alert and which side sent it, no protocol version or cipher in common, a connection closed \
         or silent in mid-handshake.",
        "TLS 1.0 and 1.1 are not spoken here (RFC 8996). A host that knows nothing newer cannot meet \
         any policy.",
        "If many unrelated domains show this at once, the cause is near us: look for a firewall that \
         inspects or damages TLS on port 25, and for an MTU problem.",
    ],
};

pub(super) const CERT_EXPIRED: Entry = Entry {
    key: "cert-expired",
    statuses: &[EnhancedStatus::transient(7, 5)],
    report: ReportCondition::WithPolicy("certificate-expired"),
    side: Side::RecipientAdmin,
    sentence: "The certificate of {mx} has expired",
    advice: "{Admin} should renew the certificate of {mx} and reload the mail \
             server. {ours}",
    request: "Please renew the certificate of {mx} and reload the mail server, so that it \
              presents the new one on port 25.",
    clause: "RFC 8461 section 4.2, RFC 5280 section 4.1.2.5",
    explanation: &[
        "The host presented a certificate whose validity has ended. A policy demands a valid one, so \
         the mail waits for its renewal and is tried again on the usual schedule. It is never \
         bounced at once: an expired certificate is normally put right within a day.",
        "The date is in the detail and in `tls.cert.not_after`. If it lies in the future, the clock of \
         this machine is wrong: check it, since then every domain with a policy will show the same.",
        "To see it: `openssl s_client -starttls smtp -connect HOST:25 -servername HOST </dev/null | \
         openssl x509 -noout -dates`.",
    ],
};

pub(super) const CERT_HOST_MISMATCH: Entry = Entry {
    key: "cert-host-mismatch",
    statuses: &[EnhancedStatus::transient(7, 5)],
    report: ReportCondition::WithPolicy("certificate-host-mismatch"),
    side: Side::RecipientAdmin,
    sentence: "The certificate of {mx} is not for that name",
    advice: "{Admin} should install a certificate on {mx} that has this very name \
             among its subject alternative names. {ours}",
    request: "Please install a certificate on {mx} that has exactly this name among its subject \
              alternative names. The common name does not count.",
    clause: "RFC 8461 section 4.2, RFC 6125 section 6.4",
    explanation: &[
        "The certificate is valid in itself, but the host's name as the MX record gives it is not \
         among its subject alternative names. The common name does not count, nor does the name at \
         the end of a CNAME chain, nor the recipient's domain.",
        "Common causes: the certificate was made for `mail.example.com` while the MX record says \
         `mx1.example.com`; a hosting provider serves its default certificate to names it does not \
         know; a wildcard is expected to cover two labels.",
        "The names it does have are in `tls.cert.subject_alt_names`.",
    ],
};

pub(super) const CERT_NOT_TRUSTED: Entry = Entry {
    key: "cert-not-trusted",
    statuses: &[EnhancedStatus::transient(7, 5)],
    report: ReportCondition::WithPolicy("certificate-not-trusted"),
    side: Side::RecipientAdmin,
    sentence: "The certificate of {mx} is not accepted",
    advice: "{Admin} should install a certificate from a public authority on {mx}, \
             with its intermediate certificates. {us}Only if that authority ought to be trusted here, add \
             it to the roots.",
    request: "Please install a certificate from a public authority on {mx}, together with its \
              intermediate certificates, which mail servers do not fetch by themselves.",
    clause: "RFC 8461 section 4.2, RFC 5280 section 6",
    explanation: &[
        "The chain that the host presented could not be verified against the trust anchors in \
         `tls.roots`. The detail names the exact cause: an unknown issuer (often a self-signed \
         certificate or a missing intermediate), a certificate that is not valid yet, not meant for \
         servers, revoked, or with a bad signature.",
        "A missing intermediate is the most frequent cause and easily missed, because web browsers \
         fetch it by themselves and mail servers do not.",
        "If the recipient uses a private authority on purpose, give the destination a `[[route]]` with \
         `roots` of its own: that trusts the authority for this destination only.",
    ],
};

pub(super) const MX_NOT_IN_POLICY: Entry = Entry {
    key: "mx-not-in-policy",
    statuses: &[EnhancedStatus::transient(7, 1)],
    report: ReportCondition::WithPolicy("validation-failure"),
    side: Side::RecipientAdmin,
    sentence: "{mx} is an MX host of {domain}, but the domain's MTA-STS policy does not list it",
    advice: "{Admin} should add {mx} to the policy file and then change the id in \
             the _mta-sts TXT record, or remove the host from the MX records. {ours}",
    request: "Please add {mx} to the MTA-STS policy file of {domain} and then change the id in \
              the TXT record _mta-sts.{domain}, or take the host out of the MX records.",
    clause: "RFC 8461 sections 4.1 and 5",
    explanation: &[
        "DNS names this host, the policy that the domain published over HTTPS does not. In mode \
         `enforce` mail must not go to such a host: DNS answers can be forged, the policy cannot. So \
         the mail was not even offered to it.",
        "Usually the domain moved its mail to other hosts and forgot the policy, or changed the policy \
         file and forgot the id. When this happens the policy is fetched again over HTTPS whatever \
         the id says, so nothing has to be refreshed by hand.",
        "If the MX records look wrong rather than the policy, suspect the DNS: compare the answers of \
         several resolvers.",
    ],
};
