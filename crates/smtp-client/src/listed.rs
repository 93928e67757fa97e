//! Whether a host's reply speaks of a block list or of our reputation: that is ours to put right.

use smtp_proto::Reply;

/// Whether the host refuses us with this reply since we are on a list of unwanted senders, in so far as its
/// words tell.
///
/// What its status puts down to the address or the mailbox is not ours, whatever the words.
#[must_use]
pub fn names_a_block_list(reply: &Reply) -> bool {
    let of_recipient = reply
        .enhanced()
        .is_some_and(|s| matches!(s.subject(), ADDRESS | MAILBOX));
    !of_recipient && speaks_of_us(&reply.to_string().to_ascii_lowercase())
}

fn speaks_of_us(text: &str) -> bool {
    let words: Vec<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != ':')
        .map(|word| word.trim_matches(['.', ':']))
        .filter(|word| !word.is_empty())
        .collect();
    let plain = words.join(" ");
    if LISTS.iter().chain(PHRASES).any(|said| plain.contains(said)) {
        return true;
    }
    if words.iter().any(|word| matches!(*word, "rbl" | "dnsbl")) {
        return true;
    }
    // "Listed" may be said of a recipient, too: of whom depends on what else is named.
    let is_listed = words.windows(2).any(|pair| match pair {
        ["not" | "longer" | "t", _] => false,
        [_, word] => *word == "listed",
        _ => false,
    });
    let of_a_host =
        |word: &&str| matches!(*word, "ip" | "client") || word.parse::<std::net::IpAddr>().is_ok();
    is_listed && words.iter().any(of_a_host)
}

/// Those who keep lists of addresses or domains, as replies name them.
const LISTS: &[&str] = &[
    "spamhaus",
    "spamcop",
    "barracudacentral",
    "uceprotect",
    "sorbs.net",
    "abusix",
    "mailspike",
    "invaluement",
    "senderscore",
];

/// With every other character between words a blank.
const PHRASES: &[&str] = &[
    "blocked using",
    "block list",
    "blocklist",
    "black list",
    "blacklist",
    "reputation",
    "banned sending ip",
    "unsolicited mail originating from your ip",
];

/// Subjects of a status (RFC 3463 section 3).
const ADDRESS: u16 = 1;
const MAILBOX: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &str) -> bool {
        names_a_block_list(&Reply::parse(&format!("{text}\r\n")).unwrap())
    }

    #[test]
    fn a_block_list_or_our_reputation_is_ours_to_put_right() {
        for text in [
            "554 5.7.1 Service unavailable; Client host [203.0.113.5] blocked using zen.spamhaus.org; \
             https://www.spamhaus.org/query/ip/203.0.113.5",
            "550 5.7.606 Access denied, banned sending IP [203.0.113.5]. To request removal from this list please visit",
            "550 5.7.1 Unfortunately, messages from [203.0.113.5] weren't sent. Please contact your Internet service \
             provider since part of their network is on our block list (S3150).",
            "554 Your access to this mail system has been rejected due to the sending MTA's poor reputation.",
            "550 5.7.1 this message is likely suspicious due to the very low reputation of the sending domain",
            "450 4.7.1 Client host rejected: listed by bl.example.net",
            "554 RBL: 203.0.113.5",
            "550 Mail from IP 203.0.113.5 was rejected due to listing in Spamhaus PBL",
            "550 [203.0.113.5] is listed at https://lists.example.net/",
            "550 2001:db8::5 is listed",
            "554 5.7.1 You are Blacklisted",
            "421 4.7.0 [203.0.113.5] Our system has detected an unusual rate of unsolicited mail originating from your IP address.",
        ] {
            assert!(says(text), "{text}");
        }
    }

    #[test]
    fn other_refusals_are_what_they_were() {
        for text in [
            "550 5.1.1 <b@d.test>: Recipient address rejected: User unknown",
            "550 User b@d.test not listed in Domino Directory (client 203.0.113.5)",
            "550 b@d.test is no longer listed here (203.0.113.5)",
            "550 b@d.test isn't listed at 203.0.113.5",
            "550 no mailbox is listed under this name",
            "450 4.2.0 <b@d.test>: Recipient address rejected: Greylisted, client 203.0.113.5",
            "552 5.7.0 This message was blocked because its content presents a potential security issue",
            "554 5.7.1 <b@d.test>: Relay access denied",
            "550 5.7.1 herbleiben: SPF check failed for 203.0.113.5",
            "550 5.1.1 203.0.113.5: unknown user, see our blocklist",
            "552 5.2.1 mailbox disabled, see our blocklist",
        ] {
            assert!(!says(text), "{text}");
        }
    }
}
