//! What a peer offers in its EHLO reply (RFC 5321 section 4.1.1.1).

use super::Mechanisms;
use crate::Reply;

/// The extensions that a peer offers. The default is a peer that offers none (HELO).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870).
    pub size: SizeLimit,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// REQUIRETLS (RFC 8689).
    pub requiretls: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// AUTH (RFC 4954): the mechanisms of ours among those offered.
    pub auth: Mechanisms,
    /// LIMITS RCPTMAX: recipients in a transaction (RFC 9422).
    pub recipients_max: Option<u32>,
    /// LIMITS MAILMAX: transactions in a session (RFC 9422).
    pub transactions_max: Option<u32>,
    /// The keywords as offered, upper case, for the record of an attempt: the first 64.
    pub keywords: Vec<Box<str>>,
    /// More keywords than are kept were offered.
    pub truncated: bool,
    /// A keyword whose parameter made no sense and was ignored.
    pub bad_parameter: Option<&'static str>,
}

/// What SIZE says (RFC 1870 section 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SizeLimit {
    /// SIZE is not offered.
    #[default]
    NotOffered,
    /// Offered without a number, with 0, or with nonsense: no fixed limit.
    Unlimited,
    /// The largest message, in octets.
    Octets(u64),
}

impl Extensions {
    /// Reads the keywords of an EHLO reply; the first line is the greeting. What is not known or
    /// makes no sense is ignored (rows H3-13, H3-14).
    #[must_use]
    pub fn parse(reply: &Reply) -> Self {
        let mut offered = Self::default();
        for line in reply.lines().skip(1) {
            offered.keyword(line);
        }
        offered
    }

    /// The keywords on one line, for logs.
    #[must_use]
    pub fn keyword_list(&self) -> String {
        self.keywords.join(" ")
    }

    fn keyword(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let Some(word) = words.next() else { return };
        let keyword = word.to_ascii_uppercase();
        match keyword.as_str() {
            "PIPELINING" => self.pipelining = true,
            "SIZE" => self.size(words.next()),
            "STARTTLS" => self.starttls = true,
            "8BITMIME" => self.eight_bit_mime = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "CHUNKING" => self.chunking = true,
            "DSN" => self.dsn = true,
            "REQUIRETLS" => self.requiretls = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "AUTH" => words.for_each(|mechanism| self.auth.add(mechanism)),
            "LIMITS" => words.for_each(|limit| self.limit(limit)),
            _ => {}
        }
        if self.keywords.len() < KEYWORDS_KEPT {
            let end = keyword.floor_char_boundary(KEYWORD_SHOWN);
            self.keywords
                .push(keyword.get(..end).unwrap_or_default().into());
        } else {
            self.truncated = true;
        }
    }

    fn size(&mut self, parameter: Option<&str>) {
        self.size = match parameter.map(str::parse::<u64>) {
            None | Some(Ok(0)) => SizeLimit::Unlimited,
            Some(Ok(octets)) => SizeLimit::Octets(octets),
            // Row H3-14: garbage and numbers beyond 2^64 are no limit.
            Some(Err(_)) => {
                self.bad_parameter = Some("SIZE");
                SizeLimit::Unlimited
            }
        };
    }

    fn limit(&mut self, limit: &str) {
        let Some((name, value)) = limit.split_once('=') else {
            return;
        };
        // RFC 9422 section 4: a limit is at least 1; zero would stop all mail.
        let Some(value) = value.parse::<u32>().ok().filter(|v| *v > 0) else {
            self.bad_parameter = Some("LIMITS");
            return;
        };
        match name {
            "RCPTMAX" => self.recipients_max = Some(value),
            "MAILMAX" => self.transactions_max = Some(value),
            // RCPTDOMAINMAX is at least 1, and no transaction of ours names more than one domain.
            _ => {}
        }
    }
}

const KEYWORDS_KEPT: usize = 64;
const KEYWORD_SHOWN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &str) -> Extensions {
        Extensions::parse(&Reply::new(250, None, &format!("mx.test hello\n{lines}")))
    }

    #[test]
    fn known_keywords_in_any_case() {
        let e = parse(
            "pipelining\nSIZE 1000\nStartTLS\n8BITMIME\nSMTPUTF8\nCHUNKING\nDSN\nREQUIRETLS\nENHANCEDSTATUSCODES\nAUTH LOGIN plain\nX-OTHER a b\nLIMITS RCPTMAX=100 MAILMAX=20 X=1",
        );
        assert!(e.pipelining && e.starttls && e.eight_bit_mime && e.smtputf8 && e.chunking);
        assert!(e.dsn && e.requiretls && e.enhanced_status_codes);
        assert!(e.auth.plain && e.auth.login && !e.auth.scram_sha_256);
        assert_eq!(e.size, SizeLimit::Octets(1000));
        assert_eq!(
            (e.recipients_max, e.transactions_max),
            (Some(100), Some(20))
        );
        assert_eq!(e.keywords.len(), 12);
    }

    #[test]
    fn the_greeting_is_no_keyword() {
        let reply = Reply::new(250, None, "STARTTLS PIPELINING");
        assert_eq!(Extensions::parse(&reply), Extensions::default());
    }

    #[test]
    fn h3_02_a_stripped_keyword_is_not_starttls() {
        let e = parse("XXXXXXXX\nPIPELINING");
        assert!(!e.starttls);
        assert_eq!(e.keyword_list(), "XXXXXXXX PIPELINING");
    }

    #[test]
    fn h3_14_odd_sizes() {
        for (line, size, bad) in [
            ("SIZE", SizeLimit::Unlimited, None),
            ("SIZE 0", SizeLimit::Unlimited, None),
            ("SIZE huge", SizeLimit::Unlimited, Some("SIZE")),
            ("SIZE -1", SizeLimit::Unlimited, Some("SIZE")),
            (
                "SIZE 1208925819614629174706176",
                SizeLimit::Unlimited,
                Some("SIZE"),
            ),
            ("SIZE 7 8", SizeLimit::Octets(7), None),
            ("DSN", SizeLimit::NotOffered, None),
        ] {
            let e = parse(line);
            assert_eq!((e.size, e.bad_parameter), (size, bad), "{line}");
        }
    }

    #[test]
    fn h3_13_five_thousand_keywords() {
        let mut lines = "X-JUNK\n".repeat(5_000);
        lines.push_str("STARTTLS");
        let e = parse(&lines);
        assert!(e.starttls && e.truncated);
        assert_eq!(e.keywords.len(), 64);
    }

    #[test]
    fn limits_that_make_no_sense_are_ignored() {
        let e = parse("LIMITS RCPTMAX=0 MAILMAX=x");
        assert_eq!((e.recipients_max, e.transactions_max), (None, None));
        assert_eq!(e.bad_parameter, Some("LIMITS"));
    }
}
