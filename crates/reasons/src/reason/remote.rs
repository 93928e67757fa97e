//! What the recipient's side says: replies, and DNS records that are definite.

use mail_types::EnhancedStatus;

use super::{Entry, ReportCondition, Side};

pub(super) const REMOTE_4XX: Entry = Entry {
    key: "remote-4xx",
    statuses: &[EnhancedStatus::transient(0, 0)],
    report: ReportCondition::Never,
    side: Side::Wait,
    sentence: "{mx} asked us to try again later",
    advice: "What the host says in its reply tells whether something has to be done.",
    request: "Please tell us if we have to do something to have our mail accepted.",
    clause: "RFC 5321 section 4.2.1",
    explanation: &[
        "The host answered with a code that begins with 4: not now. The reply itself is in the `reply` field, and \
         the status code is the host's own.",
        "Where status or words of the reply say more (greylisting, a full mailbox, a block list, too much at once), \
         that is told in the place of this, with who has to act.",
    ],
};

pub(super) const REMOTE_5XX: Entry = Entry {
    key: "remote-5xx",
    statuses: &[EnhancedStatus::permanent(0, 0)],
    report: ReportCondition::Never,
    side: Side::RecipientAdmin,
    sentence: "{mx} refused the message for good",
    advice: "{Admin} can say why, if the host's reply does not. {us}If the reply speaks of us \
             (reputation, block list, SPF, DKIM, DMARC), it is ours to put right.",
    request: "Please tell us what we have to do to have our mail accepted.",
    clause: "RFC 5321 section 4.2.1",
    explanation: &[
        "The host answered with a code that begins with 5: never, as it stands. If that is the answer of \
         every host that there is, it is the last word: the message is not tried again, and the sender is \
         told in the host's own words. As long as another host could not be asked, it waits.",
        "Where a policy applies, only answers inside a verified session count as final; anything an \
         attacker could have forged before that only defers the mail.",
    ],
};

pub(super) const NO_SUCH_DOMAIN: Entry = Entry {
    key: "no-such-domain",
    statuses: &[EnhancedStatus::permanent(1, 2)],
    report: ReportCondition::Never,
    side: Side::Us,
    sentence: "The domain {domain} does not exist",
    advice: "{sender} should check the spelling of the part after the @ sign.",
    request: "",
    clause: "RFC 5321 section 5.1",
    explanation: &[
        "DNS says definitely that there is no such name (NXDOMAIN). Usually the address is misspelt, or \
         the domain was given up.",
        "If the domain had an MTA-STS policy that is still in force, this is not believed at once, since \
         DNS can be forged: the mail waits until the same answer was seen over several hours. Where DNSSEC vouches \
         for the answer, it is believed.",
        "The same holds without a policy for a domain that was there within the last day, and for every domain \
         while the resolver says of nearly all of them that they do not exist, or finds not even the \
         top-level domain (see `dns-temporary`).",
    ],
};

pub(super) const NULL_MX: Entry = Entry {
    key: "null-mx",
    statuses: &[EnhancedStatus::permanent(1, 10)],
    report: ReportCondition::Never,
    side: Side::Us,
    sentence: "The domain {domain} says that it does not accept mail",
    advice: "{sender} should use another address: this domain takes no mail at all.",
    request: "",
    clause: "RFC 7505 sections 3 and 4.1",
    explanation: &[
        "The domain has a single MX record that points to the root (`0 .`). That is the standard way to \
         say that no address in it takes mail.",
        "If the domain had an MTA-STS policy that is still in force, this is not believed at once, since \
         DNS can be forged: the mail waits until the same answer was seen over several hours. Where DNSSEC vouches \
         for the answer, it is believed.",
    ],
};

pub(super) const NO_USABLE_MX: Entry = Entry {
    key: "no-usable-mx",
    statuses: &[EnhancedStatus::permanent(4, 4)],
    report: ReportCondition::Never,
    side: Side::RecipientAdmin,
    sentence: "None of the mail servers that {domain} names can be used",
    advice: "{Admin} should correct its MX records: each must be a host name that \
             has an address. {sender} can only wait for that.",
    request: "Please correct the MX records of {domain}: each has to be a host name that has an \
              address.",
    clause: "RFC 5321 section 5.1",
    explanation: &[
        "The domain has MX records, but none of the hosts that they name has an address. Where MX records exist, the domain's own address must \
         not be used instead (RFC 5321 section 5.1).",
        "The detail and `tried` name each record and what is wrong with it.",
    ],
};

pub(super) const LOOP: Entry = Entry {
    key: "loop",
    statuses: &[EnhancedStatus::permanent(4, 6)],
    report: ReportCondition::Never,
    side: Side::Us,
    sentence: "Mail for {domain} would come back to this relay",
    advice: "If {domain} is ours, give it a `[[route]]` to the server that holds its mailboxes. If not, \
             its MX records wrongly point to us, and its administrator has to correct them.",
    request: "Please correct the MX records of {domain}: they point to our relay, which does not \
              hold your mailboxes.",
    clause: "RFC 5321 sections 5.1 and 6.3",
    explanation: &[
        "The best mail server of the domain is this relay itself, or the message has passed through so \
         many hosts that it must be going in circles. This relay delivers to other hosts only; it holds \
         no mailboxes.",
        "A host counts as this relay if its address and port lead to one of our own listeners, or if \
         the address is in `server.own-addresses` or `egress.public-addresses`. A name equal to ours does not matter.",
    ],
};

pub(super) const EXTENSION_MISSING: Entry = Entry {
    key: "extension-missing",
    statuses: &[
        EnhancedStatus::permanent(6, 3),
        EnhancedStatus::permanent(6, 7),
        EnhancedStatus::permanent(3, 4),
    ],
    report: ReportCondition::Never,
    side: Side::Us,
    sentence: "No mail server of {domain} can take a message of this kind",
    advice: "{sender} should send it in another form: smaller, with attachments in a 7-bit encoding, or \
             to an address of ASCII characters only. The detail says which.",
    request: "",
    clause: "RFC 1870 section 6, RFC 6152 section 3, RFC 6531 section 3.2",
    explanation: &[
        "The message is larger than every host allows (SIZE, status 5.3.4), has 8-bit content and no \
         host offers 8BITMIME (5.6.3), or has an address that is not ASCII and no host offers SMTPUTF8 \
         (5.6.7). All hosts were asked before giving up.",
        "Messages are never rewritten here to fit: that would break their signatures.",
    ],
};
