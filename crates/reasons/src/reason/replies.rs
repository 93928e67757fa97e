//! What is said of a reply whose own words tell what is the matter.

use super::cases::Variant;
use super::{Case, Reason, Side};

pub(super) const fn variant(reason: Reason, case: Case) -> Option<&'static Variant> {
    Some(match (reason, case) {
        (Reason::Remote5xx, Case::AtGreeting) => &AT_GREETING,
        (Reason::Remote4xx, Case::Listed) => &LISTED_FOR_NOW,
        (Reason::Remote5xx, Case::Listed) => &LISTED,
        (Reason::Remote5xx, Case::LoginWanted) => &LOGIN_WANTED,
        (Reason::Remote5xx, Case::BrokenHost) => &BROKEN_HOST,
        (Reason::Remote5xx, Case::TooBig) => &TOO_BIG,
        (_, Case::BadAddress) => &BAD_ADDRESS,
        (_, Case::SenderAddress) => &SENDER_ADDRESS,
        (_, Case::MailboxFull) => &MAILBOX_FULL,
        (_, Case::Mailbox) => &MAILBOX,
        (_, Case::Unproven) => &UNPROVEN,
        (_, Case::ReverseDns) => &REVERSE_DNS,
        (_, Case::SlowDown) => &SLOW_DOWN,
        (Reason::Remote4xx, Case::Greylisted) => &GREYLISTED,
        (Reason::Remote4xx, Case::HostTrouble) => &HOST_TROUBLE_FOR_NOW,
        (Reason::Remote5xx, Case::HostTrouble) => &HOST_TROUBLE,
        (Reason::Remote5xx, Case::NotFinal) => &NOT_FINAL,
        _ => return None,
    })
}

/// Paragraphs in the place of the reason's own, where those speak of what this case is not about.
pub(super) const fn explanation(case: Case) -> Option<&'static [&'static str]> {
    match case {
        Case::Listed => Some(OF_LISTED),
        Case::LoginWanted => Some(OF_LOGIN_WANTED),
        Case::BadAddress => Some(OF_BAD_ADDRESS),
        Case::SenderAddress | Case::Unproven | Case::ReverseDns => Some(OF_PROOFS),
        Case::MailboxFull | Case::Mailbox => Some(OF_MAILBOX),
        Case::SlowDown => Some(OF_SLOW_DOWN),
        Case::Greylisted => Some(OF_GREYLISTED),
        Case::HostTrouble => Some(OF_HOST_TROUBLE),
        Case::BrokenHost => Some(OF_BROKEN_HOST),
        Case::TooBig => Some(OF_TOO_BIG),
        _ => None,
    }
}

const OF_LOGIN_WANTED: &[&str] = &[
    "The host answered 530 (RFC 4954 section 6): it is a submission server, which takes mail only from users who have \
     logged in to it, or one that was set up as such by mistake. A host that MX records name has to take mail for its \
     domain from everybody, without a login.",
    "Nothing that this relay could do would help: nobody but the host's own users has a password there.",
];

const LOGIN_WANTED: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: "{mx} takes mail only from its own users and wants a login, as a submission server does",
    advice: "{Admin} should see that {mx} takes mail for {domain} without a login, or have the MX records name a \
             host that does.",
    request: "Please see that {mx} takes mail for {domain} without a login: it is named by your MX records, and \
              answers like a submission server, which takes mail only from its own users.",
};

const OF_LISTED: &[&str] = &[
    "The host asks a list of senders whose mail is not wanted, public like Spamhaus or its own, and finds this relay's \
     address or the sender's domain there. Most such replies name the list, and the page where one can look up why \
     and ask to be taken off.",
    "An address comes onto a list because unwanted mail came from it (a stolen password, a web form, a list of \
     recipients that was bought), because it is in a range from which no mail is expected, or because a neighbour sends \
     such mail. Lists that are asked to take an address off before that has ended put it back. To try more often \
     makes it worse.",
];

const AT_GREETING: Variant = Variant {
    side: Side::Us,
    sentence: "{mx} refuses mail from us",
    advice: "Read the host's reply: the host did not look at sender or recipient, so it speaks of this relay. \
             Check whether our address stands on a block list, and its reverse DNS.",
    request: "Please tell us what we have to do to have our mail accepted: your server refuses us \
              before it knows what the mail is.",
};

const LISTED: Variant = Variant {
    side: Side::Us,
    sentence: "{mx} refuses mail from us because of a block list or our reputation",
    advice: TO_BE_TAKEN_OFF,
    request: OF_OUR_REPUTATION,
};

const LISTED_FOR_NOW: Variant = Variant {
    side: Side::Us,
    sentence: "{mx} puts off mail from us because of a block list or our reputation",
    advice: TO_BE_TAKEN_OFF,
    request: OF_OUR_REPUTATION,
};

const TO_BE_TAKEN_OFF: &str = "Look up in the list that the host's reply names what of ours it lists (the address of this \
                               relay, the sender's domain) and why, end the cause, and ask that list to take it off. \
                               The recipient's administrator can help only if the list is their own.";

const OF_OUR_REPUTATION: &str = "Please tell us what we have to do to have our mail accepted: your server's reply speaks of \
                                 a block list or of our reputation.";

const NOT_FINAL: Variant = Variant {
    side: Side::Wait,
    sentence: "{mx} refused the message, but that is not the last word",
    advice: "It is tried again. Read the host's reply: if it speaks of us (reputation, block list, SPF, DKIM, \
             DMARC), it is ours to put right.",
    request: "Please tell us what we have to do to have our mail accepted.",
};

const OF_BAD_ADDRESS: &[&str] = &[
    "The host says that there is no such address there (RFC 3463 section 3.2), or that it cannot tell yet. Its reply is \
     in the `reply` field. Usually the address is misspelt, or the mailbox was given up.",
];

const OF_PROOFS: &[&str] = &[
    "The host looks up who may send mail for the sender's domain (SPF, DKIM, DMARC), whether that domain exists, and \
     what name belongs to the address of this relay (RFC 7372). What it found is in its reply. All of these are \
     records in our DNS, or in that of the sender's domain.",
    "To see them: `dig -x ADDRESS`, `dig TXT DOMAIN` (SPF), `dig TXT _dmarc.DOMAIN`, `dig TXT SELECTOR._domainkey.DOMAIN`.",
];

const OF_MAILBOX: &[&str] = &[
    "The host knows the address, but its mailbox takes nothing (RFC 3463 section 3.3): it is full, or was disabled. \
     Other recipients of the domain are not concerned.",
];

const OF_SLOW_DOWN: &[&str] = &[
    "The host counts what comes from this relay, or from the sender's domain, and that was more than it takes: too many \
     connections, messages or recipients in a time. Trying faster or by hand makes that worse.",
    "`delivery.connections-per-host`, `delivery.rate-per-host` and `delivery.messages-per-connection` are the limits \
     that can be set here.",
];

const OF_GREYLISTED: &[&str] = &[
    "Greylisting puts off the first mail from a sender whom the host does not know, for minutes up to hours, and takes \
     it when it is tried again. The usual schedule is made for that: nothing has to be done.",
];

const OF_HOST_TROUBLE: &[&str] = &[
    "The host says that it cannot take mail, whoever sends it (RFC 3463 section 3.4): its disk is full, it has too much \
     to do, it is being shut down, or something that it needs does not work.",
];

const OF_BROKEN_HOST: &[&str] = &[
    "The host answered a command that every mail server has to know (RFC 5321 section 4.5.1) as if it did not know it, \
     or refused to begin a session with a code that is not made for that.",
    "Usually a filter in front of the mail server answers in its place. To see it: `nc HOST 25`.",
];

const OF_TOO_BIG: &[&str] = &[
    "The message is larger than the host or the recipient's mailbox takes (status 5.3.4 or 5.2.3). Messages are never \
     rewritten here to fit.",
];

const TELL_US: &str = "Please tell us what we have to do to have our mail accepted.";

const BAD_ADDRESS: Variant = Variant {
    side: Side::Us,
    sentence: "{mx} does not accept the recipient's address",
    advice: "{sender} should check the address: its spelling first.",
    request: "",
};

const SENDER_ADDRESS: Variant = Variant {
    side: Side::Us,
    sentence: "{mx} does not accept the sender's address",
    advice: "Check the sender's address as it stands in the envelope: its domain has to exist in DNS, with MX records or \
             an address, and to take mail.",
    request: TELL_US,
};

const MAILBOX_FULL: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: "{mx} says that the recipient's mailbox is full",
    advice: "The recipient has to make room in the mailbox, or {admin} has to give it more.",
    request: "Please see that there is room in the recipient's mailbox: {mx} says that it is full.",
};

const MAILBOX: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: "{mx} says that the recipient's mailbox takes no mail",
    advice: "{Admin} can say why, and whether the mailbox was disabled.",
    request: "Please see why the recipient's mailbox takes no mail.",
};

const UNPROVEN: Variant = Variant {
    side: Side::Us,
    sentence: "{mx} finds that SPF, DKIM or DMARC does not vouch for the sender's domain",
    advice: "Compare the host's reply with the records of the sender's domain: SPF has to name the address of this relay, \
             or the message has to be signed with DKIM for that domain.",
    request: TELL_US,
};

const REVERSE_DNS: Variant = Variant {
    side: Side::Us,
    sentence: "{mx} does not accept the reverse DNS of this relay's address",
    advice: "The address of this relay needs a PTR record whose name leads back to that address; whoever gave us the \
             address can set it.",
    request: TELL_US,
};

const SLOW_DOWN: Variant = Variant {
    side: Side::Us,
    sentence: "{mx} takes no more mail from us for the time being",
    advice: "See what sends so much (`sealpost queue summary`), and lower `delivery.rate-per-host` or \
             `delivery.connections-per-host` if it is rightly so.",
    request: TELL_US,
};

const GREYLISTED: Variant = Variant {
    side: Side::Wait,
    sentence: "{mx} asked us to try again later",
    advice: "It may be greylisting, which passes with the next attempts.",
    request: "Please tell us if we have to do something to have our mail accepted.",
};

const HOST_TROUBLE_FOR_NOW: Variant = Variant {
    side: Side::Wait,
    sentence: "{mx} says that it cannot take mail at the moment",
    advice: "The host has trouble of its own, such as a full disk or too much to do. If it lasts for days, tell {admin}.",
    request: "Please see why {mx} takes no mail: its answer speaks of trouble of its own.",
};

const HOST_TROUBLE: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: "{mx} says that it cannot take mail",
    advice: "{Admin} should see why: the host's reply speaks of trouble of its own.",
    request: "Please see why {mx} takes no mail: its answer speaks of trouble of its own.",
};

const BROKEN_HOST: Variant = Variant {
    side: Side::RecipientAdmin,
    sentence: "{mx} does not answer as a mail server has to",
    advice: "{Admin} should see what answers at {mx}: a broken mail server, or a filter in its place.",
    request: "Please see what answers on port 25 of {mx}: it refuses commands that every mail server has to know.",
};

const TOO_BIG: Variant = Variant {
    side: Side::Us,
    sentence: "{mx} does not take a message of this size",
    advice: "{sender} should send less at once, or a link in the place of an attachment.",
    request: "",
};
