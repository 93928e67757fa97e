//! What is said of a reply whose own words tell what is the matter.

use super::cases::Variant;
use super::{Case, Reason, Side};

pub(super) const fn variant(reason: Reason, case: Case) -> Option<&'static Variant> {
    Some(match (reason, case) {
        (Reason::Remote5xx, Case::AtGreeting) => &AT_GREETING,
        (Reason::Remote4xx, Case::Listed) => &LISTED_FOR_NOW,
        (Reason::Remote5xx, Case::Listed) => &LISTED,
        (Reason::Remote5xx, Case::LoginWanted) => &LOGIN_WANTED,
        (Reason::Remote5xx, Case::NotFinal) => &NOT_FINAL,
        _ => return None,
    })
}

/// Paragraphs in the place of the reason's own, where those speak of what this case is not about.
pub(super) const fn explanation(case: Case) -> Option<&'static [&'static str]> {
    match case {
        Case::Listed => Some(OF_LISTED),
        Case::LoginWanted => Some(OF_LOGIN_WANTED),
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
