//! Failures of DNS and of connections.

use mail_types::EnhancedStatus;

use super::{Entry, ReportCondition, Side};

pub(super) const POLICY_LOOKUP: Entry = Entry {
    key: "policy-lookup",
    statuses: &[EnhancedStatus::transient(4, 3)],
    report: ReportCondition::Never,
    side: Side::Wait,
    sentence: "It is not known at the moment which MTA-STS policy {domain} has",
    advice: "It usually passes within the hour. If many domains show this, look at our resolver \
             (`dns.servers`).",
    request: "Please see whether the name servers of {domain} answer queries for the TXT record \
              _mta-sts.{domain}.",
    clause: "RFC 8461 sections 3.1 and 10.2",
    explanation: &[
        "Before the first mail to a domain it has to be known whether the domain demands secure \
         delivery. The TXT record `_mta-sts.DOMAIN` could not be looked up: no answer or SERVFAIL. An \
         attacker who blocks that answer would have the mail sent unprotected, so it waits a while.",
        "It does not wait for ever: after at least three failed look-ups over half an hour, mail to a \
         domain without any known policy is delivered as if there were none. A domain that had a \
         policy until recently waits 24 hours, one with a local `require` rule as long as the message lives.",
        "Seldom it is the domain's policy that lives too short: a `max_age` of seconds or a few minutes. \
         We fetch a policy at most once a minute and 20 times an hour; if one that was to be enforced has \
         run out before we may ask again, mail waits until then instead of going out unprotected. The \
         administrator of the domain should publish a `max_age` of weeks.",
    ],
};

pub(super) const DNS_TEMPORARY: Entry = Entry {
    key: "dns-temporary",
    statuses: &[EnhancedStatus::transient(4, 3)],
    report: ReportCondition::Never,
    side: Side::Wait,
    sentence: "DNS gave no answer about the mail servers of {domain}",
    advice: "It usually passes. If many domains show this, look at our resolver (`dns.servers`); \
             if it is only {domain} and it lasts, its name servers are broken.",
    request: "Please see whether the name servers of {domain} answer.",
    clause: "RFC 5321 section 5.1",
    explanation: &[
        "A query for MX, A or AAAA records ended without an answer that can be relied on: a time-out, \
         SERVFAIL, REFUSED, or no network. Nothing follows from that about the domain, so the mail \
         waits; it is not bounced. While our name servers answer nothing at all, or refuse whatever we ask, or \
         answer all of it with errors, or do not recurse, that is no fault of the domain's, and the mail waits as `local`.",
        "NXDOMAIN, or NOERROR without any host for the mail, is not relied on either while that is said of more \
         than nine tenths of at least ten domains asked for within five minutes, or of all of the last ten, or of \
         three of them that were there within the last day: that is what a hijacked or broken resolver says (events \
         `dns.mass-nxdomain-guard` and, when it is over, `dns.mass-nxdomain-over`). A single domain that was \
         there within the last day, or whose mail was put off in such a doubt, is believed to be gone when it \
         is seen again after four hours; of such domains at least the last 5,000 are remembered. Where the \
         domain's top-level domain is not found either and nothing else was found within five minutes, \
         as may be after a start, the mail waits until something is found, or for four hours.",
        "To see it: `dig MX DOMAIN` at our resolver and at another one.",
    ],
};

pub(super) const DNS_BOGUS: Entry = Entry {
    key: "dns-bogus",
    statuses: &[EnhancedStatus::transient(4, 3)],
    report: ReportCondition::WithDane("dnssec-invalid"),
    side: Side::RecipientAdmin,
    sentence: "The DNS answers about {domain} failed DNSSEC validation",
    advice: "{Admin} should look at the zone's signatures and its DS records \
             (dnsviz.net shows them). {us}If many domains show this, check our clock and our trust anchors.",
    request: "Please see why DNSSEC validation fails for {domain} (https://dnsviz.net shows it): \
              every validating resolver sees the domain as broken.",
    clause: "RFC 4035 section 5.5, RFC 7672 section 2.1.1",
    explanation: &[
        "The zone is signed, but the signatures on the answer are missing, expired or wrong. Forged \
         answers look like that, and so do botched key rollovers. The answers are not used; the mail \
         waits.",
        "Signatures have dates: if the clock of this machine is wrong, every signed domain fails.",
    ],
};

pub(super) const CONNECT: Entry = Entry {
    key: "connect",
    statuses: &[EnhancedStatus::transient(4, 1)],
    report: ReportCondition::Never,
    side: Side::Wait,
    sentence: "No connection could be made to {mx}",
    advice: "The host is down or cannot be reached. If no host anywhere can be reached, port 25 is \
             blocked between us and the internet: ask the network provider.",
    request: "Please see whether {mx} is up and takes connections on port 25 from outside.",
    clause: "RFC 5321 section 4.5.4.1",
    explanation: &[
        "Every address of every mail server of the domain was tried, and none accepted a connection on \
         the port: it was refused, timed out, or there is no way to it. A host that greets with an \
         error before TLS counts the same where a policy applies.",
        "`tried` has each address with what happened. If only IPv6 addresses fail, for every domain, \
         this machine has an IPv6 address but no working IPv6.",
    ],
};

pub(super) const CONNECTION_LOST: Entry = Entry {
    key: "connection-lost",
    statuses: &[EnhancedStatus::transient(4, 2)],
    report: ReportCondition::Never,
    side: Side::Wait,
    sentence: "The connection to {mx} was lost in mid-session",
    advice: "If it keeps happening at the same step with one host, its administrator or a firewall \
             on the way has to be asked.",
    request: "Please see in the log of {mx}, or of a firewall in front of it, why connections \
              end in the middle of a session.",
    clause: "RFC 5321 sections 3.8 and 4.5.3.2.6",
    explanation: &[
        "The host closed the connection, or the network did, before the message was acknowledged. The \
         detail names the step.",
        "If it happened after the message was sent but before the answer to it came, nobody can know \
         whether the host kept it. It is then sent again, to the same host first: the recipient may \
         get it twice, but never not at all.",
        "Always at the same amount of data: suspect an MTU problem or a content filter.",
    ],
};

pub(super) const TIMEOUT: Entry = Entry {
    key: "timeout",
    statuses: &[EnhancedStatus::transient(4, 2)],
    report: ReportCondition::Never,
    side: Side::Wait,
    sentence: "{mx} took too long to answer",
    advice: "The host is overloaded or busy checking. If it lasts for days, ask {admin}.",
    request: "Please see why {mx} answers so late.",
    clause: "RFC 5321 section 4.5.3.2",
    explanation: &[
        "A connection stood, but an answer did not come within the time that RFC 5321 allows for the \
         step; the detail names the step. The times are under `delivery.timeouts`.",
        "Some hosts delay their greeting on purpose to deter spammers; the default times are long \
         enough for that.",
    ],
};

pub(super) const ADDRESS_REFUSED: Entry = Entry {
    key: "address-refused",
    statuses: &[
        EnhancedStatus::transient(4, 4),
        EnhancedStatus::permanent(4, 6),
    ],
    report: ReportCondition::Never,
    side: Side::RecipientAdmin,
    sentence: "The address of {mx} is one that mail must not be sent to",
    advice: "{Admin} should correct the DNS records. {us}If the host really is in our \
             own network, allow its network in `egress.allow-special-use`, or give the domain a `[[route]]`.",
    request: "Please correct the DNS records of {domain}: {mx} leads to an address that cannot \
              be reached from the internet.",
    clause: "RFC 6890 section 2, RFC 5321 section 5.1",
    explanation: &[
        "The host's name leads to an address that is private, local to a machine or a link, multicast \
         or otherwise special (RFC 6890), or to this relay itself. Connecting there on the word of \
         somebody else's DNS would let strangers reach hosts inside our network, so it was not done.",
        "The detail names the address and what kind it is. An address of our own means that the \
         domain's mail servers lead back to us: then the status is 5.4.6.",
    ],
};
