//! What a host's reply says beyond its class: which case of `remote-4xx` or `remote-5xx` it is.
//!
//! The enhanced status tells first (RFC 3463, RFC 7372), then the words that common servers use. What is not
//! recognised stays the usual case, whose advice is to read the reply.

use mail_types::EnhancedStatus;

use crate::Case;

/// A reply 4yz or 5yz.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The code.
    pub code: u16,
    /// The enhanced status, if one was sent.
    pub status: Option<EnhancedStatus>,
    /// The words.
    pub text: &'a str,
    /// What they answer.
    pub to: AnswerTo,
}

/// What a reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerTo {
    /// The connection, or EHLO: the host knows nothing of the mail yet.
    Greeting,
    /// RCPT.
    Recipient,
    /// Any other command, or the content.
    Other,
}

impl Case {
    /// The case that a reply is, in so far as it says so.
    #[must_use]
    pub fn of_reply(said: &Said<'_>) -> Self {
        let words = plain(said.text);
        let permanent = said.code / 100 == 5;
        if permanent && said.to == AnswerTo::Greeting {
            return match said.code {
                521 | 550 | 553 | 554 => Self::AtGreeting,
                _ => Self::BrokenHost,
            };
        }
        if matches!(said.code, 500 | 502 | 503) && !has(&words, LOGIN) {
            return Self::BrokenHost;
        }
        let status = said.status.map_or((0, 0), |s| (s.subject(), s.detail()));
        by_status(status, permanent, &words)
            .or_else(|| by_words(status.0, said, &words))
            .unwrap_or(Self::Usual)
    }
}

fn by_status(status: (u16, u16), permanent: bool, words: &str) -> Option<Case> {
    Some(match status {
        // The host has yet to find out, or its DNS does not answer it.
        (1, 2) if !permanent => return None,
        (1, _) if !permanent && has(words, UNDECIDED) => return None,
        // "Other or undefined" (RFC 3463 section 3.3): the words may tell.
        (2 | 3, 0) if permanent && !has(words, FULL) => return None,
        (1, 1..=4 | 6 | 10) => Case::BadAddress,
        (1, 7 | 8) | (7, 27) => Case::SenderAddress,
        (2, 3) | (3, 4) if permanent => Case::TooBig,
        (2, 0 | 1) if !permanent && has(words, LATER) => Case::Greylisted,
        (2, 2) => Case::MailboxFull,
        (2, 0) if has(words, FULL) => Case::MailboxFull,
        (2, _) => Case::Mailbox,
        (3, _) if !has(words, GREYLIST) => Case::HostTrouble,
        (7, 20..=24 | 26 | 29) => Case::Unproven,
        (7, 25) => Case::ReverseDns,
        (7, 28) => Case::SlowDown,
        _ => return None,
    })
}

fn by_words(subject: u16, said: &Said<'_>, words: &str) -> Option<Case> {
    let permanent = said.code / 100 == 5;
    let may_be_greylisting = matches!(said.code, 450 | 451);
    if may_be_greylisting && has(words, GREYLIST) {
        return Some(Case::Greylisted);
    }
    if !matches!(subject, 0 | 7) {
        return None;
    }
    if has(words, REVERSE_DNS) {
        return Some(Case::ReverseDns);
    }
    if has(words, PROOFS) {
        return Some(Case::Unproven);
    }
    if has(words, SENDER) {
        return Some(Case::SenderAddress);
    }
    if !permanent && has(words, TOO_MUCH) {
        return Some(Case::SlowDown);
    }
    if said.status.is_none() && has(words, FULL) {
        return Some(Case::MailboxFull);
    }
    let of_address = said.to == AnswerTo::Recipient && !has(words, OF_SENDER);
    if permanent && of_address && has(words, UNKNOWN) {
        return Some(Case::BadAddress);
    }
    let plain_words = said.status.is_none() && said.to == AnswerTo::Recipient;
    if may_be_greylisting && (plain_words || has(words, LATER)) {
        return Some(Case::Greylisted);
    }
    let of_the_host = matches!(said.code, 421 | 452) && said.status.is_none();
    of_the_host.then_some(Case::HostTrouble)
}

/// In lower case, each word between blanks.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len() + 2);
    plain.push(' ');
    for c in text.chars() {
        match c {
            'a'..='z' | '0'..='9' => plain.push(c),
            'A'..='Z' => plain.push(c.to_ascii_lowercase()),
            _ if plain.ends_with(' ') => {}
            _ => plain.push(' '),
        }
    }
    plain.push(' ');
    plain
}

/// Whether one of these stands there: a beginning or end of a phrase that has to be one of a word has a blank.
fn has(words: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| words.contains(phrase))
}

const LOGIN: &[&str] = &[" auth ", " authenticat"];

const UNDECIDED: &[&str] = &[" unverified ", " verification ", " in progress"];

const OF_SENDER: &[&str] = &[" sender", " domain "];

const GREYLIST: &[&str] = &["greylist", "graylist", "grey list", "gray list"];

const LATER: &[&str] = &[
    " greylist",
    " graylist",
    " later ",
    " try again",
    " retry ",
    " busy ",
];

const REVERSE_DNS: &[&str] = &[
    " reverse dns",
    " rdns ",
    " ptr ",
    " reverse hostname",
    " reverse host name",
    " cannot find your hostname",
];

const PROOFS: &[&str] = &[" spf ", " dkim ", " dmarc "];

const SENDER: &[&str] = &[
    " sender address rejected",
    " sender verify failed",
    " sender domain must ",
    " domain of sender address",
];

const TOO_MUCH: &[&str] = &[
    " too many ",
    " too much ",
    " too fast",
    " rate ",
    " ratelimit",
    " throttl",
    " slow down",
    " volume ",
    " complaints",
    " from you ",
    " your ip",
    " your server",
    " your host",
    " your domain",
];

const FULL: &[&str] = &[" quota", " mailbox full", " mailbox is full", " inbox full"];

const UNKNOWN: &[&str] = &[
    " user unknown",
    " unknown user",
    " user not found",
    " unknown recipient",
    " recipient unknown",
    " recipient not found",
    " invalid recipient",
    " invalid mailbox",
    " no such user",
    " no such recipient",
    " no such mailbox",
    " no such address",
    " no mailbox",
    " mailbox not found",
    " does not exist",
    " doesn t exist",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn case(text: &str, to: AnswerTo) -> Case {
        let (code, rest) = text.split_at(3);
        let rest = rest.trim_start();
        let (first, words) = rest.split_once(' ').unwrap_or((rest, ""));
        let parts: Vec<u16> = first.split('.').filter_map(|n| n.parse().ok()).collect();
        let (status, text) = match parts[..] {
            [4, subject, detail] => (Some(EnhancedStatus::transient(subject, detail)), words),
            [5, subject, detail] => (Some(EnhancedStatus::permanent(subject, detail)), words),
            _ => (None, rest),
        };
        let code = code.parse().unwrap();
        let said = Said {
            code,
            status,
            text,
            to,
        };
        Case::of_reply(&said)
    }

    #[test]
    fn what_a_reply_says_tells_whose_move_it_is() {
        for (text, expected) in [
            ("550 5.1.1 <b@d.test>: User unknown", Case::BadAddress),
            ("450 4.1.1 no such user yet", Case::BadAddress),
            (
                "450 4.1.1 unverified address: Address verification in progress",
                Case::Usual,
            ),
            ("450 4.1.2 Domain not found", Case::Usual),
            ("550 5.2.0 blocked for spam", Case::Usual),
            ("503 5.5.1 this requires authentication", Case::Usual),
            ("550 5.7.1 Sender domain x.test does not exist", Case::Usual),
            (
                "550 Requested action not taken: mailbox unavailable",
                Case::Usual,
            ),
            ("550 5.1.10 null MX", Case::BadAddress),
            ("550 No such user here", Case::BadAddress),
            ("450 4.1.8 Domain of sender not found", Case::SenderAddress),
            ("550 5.7.27 Sender address has null MX", Case::SenderAddress),
            ("452 4.2.2 Mailbox full", Case::MailboxFull),
            ("552 5.2.2 Over quota", Case::MailboxFull),
            ("552 mailbox is full", Case::MailboxFull),
            ("550 5.2.1 Mailbox disabled", Case::Mailbox),
            ("552 5.3.4 Message too big", Case::TooBig),
            ("552 5.2.3 Message too big", Case::TooBig),
            ("550 5.7.26 This mail is unauthenticated", Case::Unproven),
            ("550 5.7.23 The message was refused by SPF", Case::Unproven),
            (
                "550 5.7.1 rejected by DMARC policy of the domain",
                Case::Unproven,
            ),
            ("450 4.7.25 no PTR", Case::ReverseDns),
            (
                "450 4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]",
                Case::ReverseDns,
            ),
            ("421 4.7.0 Too many connections from you", Case::SlowDown),
            (
                "421 4.7.0 [TSS04] deferred due to unexpected volume or user complaints",
                Case::SlowDown,
            ),
            (
                "451 4.7.1 rate limit exceeded, try again later",
                Case::SlowDown,
            ),
            ("450 4.7.1 Greylisted for 300 seconds", Case::Greylisted),
            ("450 4.2.0 Greylisted", Case::Greylisted),
            ("451 4.3.0 Greylisting in action", Case::Greylisted),
            ("451 4.7.1 Please try again later", Case::Greylisted),
            ("450 not now", Case::Greylisted),
            ("452 4.3.1 Insufficient system storage", Case::HostTrouble),
            ("452 Insufficient system storage", Case::HostTrouble),
            ("451 4.3.0 Local error", Case::HostTrouble),
            ("421 Service not available", Case::HostTrouble),
            ("502 5.5.1 Command not implemented", Case::BrokenHost),
            ("550 5.7.1 not you", Case::Usual),
            ("554 5.6.0 content refused", Case::Usual),
            ("450 4.7.1 moderate and separate", Case::Usual),
        ] {
            assert_eq!(case(text, AnswerTo::Recipient), expected, "{text}");
        }
        // Only recipients are greylisted without a word.
        assert_eq!(case("450 not now", AnswerTo::Other), Case::Usual);
    }

    #[test]
    fn who_refuses_at_the_greeting_refuses_us_or_is_broken() {
        for (text, expected) in [
            ("554 5.7.1 go away", Case::AtGreeting),
            ("521 no mail here", Case::AtGreeting),
            ("550 no", Case::AtGreeting),
            ("502 5.5.2 unknown command", Case::BrokenHost),
            ("500 what?", Case::BrokenHost),
            ("421 4.3.2 closing", Case::HostTrouble),
        ] {
            assert_eq!(case(text, AnswerTo::Greeting), expected, "{text}");
        }
    }
}
