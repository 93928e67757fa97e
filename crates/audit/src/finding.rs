//! One finding: a row of the table, and what it is about.

use mail_types::{HostName, harmless};

use crate::table::Kind;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Protects less than it could, or will break.
    Warning,
    /// Broken: the domain's administrator did not want this.
    Error,
}

/// Under which heading a finding stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// The `_mta-sts` TXT record.
    Record,
    /// The policy and its host.
    Policy,
    /// The list of mail hosts.
    Mx,
    /// One mail host.
    Host,
    /// The `_smtp._tls` TXT record.
    Reporting,
    /// DNSSEC and DANE.
    Dnssec,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its row of the table.
    pub kind: Kind,
    /// The row's severity, or less where no policy makes it matter.
    pub severity: Severity,
    /// The mail host that it is about.
    pub host: Option<HostName>,
    /// In plain words, a phrase without full stop.
    pub text: String,
    /// What to do; nothing where all is well.
    pub remedy: Option<String>,
}

/// What the words of a row speak of. All of it is printable already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'a> {
    pub(crate) domain: &'a str,
    pub(crate) host: Option<&'a HostName>,
    pub(crate) detail: &'a str,
}

impl Finding {
    pub(crate) fn new(kind: Kind, words: Words<'_>) -> Self {
        let row = kind.row();
        let remedy = fill(row.remedy, words);
        Self {
            kind,
            severity: row.severity,
            host: words.host.cloned(),
            text: fill(row.text, words),
            remedy: (!remedy.is_empty()).then_some(remedy),
        }
    }

    /// Without a policy that asks for more, a host's fault is only a warning.
    pub(crate) fn at_most(mut self, severity: Severity) -> Self {
        self.severity = self.severity.min(severity);
        self
    }
}

impl Severity {
    /// The word of the JSON output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Group {
    /// The word of the JSON output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Policy => "policy",
            Self::Mx => "mx",
            Self::Host => "host",
            Self::Reporting => "reporting",
            Self::Dnssec => "dnssec",
        }
    }
}

/// Puts the words in, once: what comes from outside may have braces in it.
fn fill(template: &str, words: Words<'_>) -> String {
    let mut text = String::with_capacity(template.len() + words.detail.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        text.push_str(match name {
            "domain" => words.domain,
            "host" => words.host.map_or("the host", |h| h.as_str()),
            _ => words.detail,
        });
        rest = after;
    }
    text.push_str(rest);
    text
}

/// A text from outside, short, and nothing in it but what prints.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown: String = text.chars().take(MAX_SHOWN).map(harmless).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

const MAX_SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_put_in_once() {
        let words = Words {
            domain: "d.test",
            host: None,
            detail: "{domain}\u{1b}",
        };
        assert_eq!(
            fill("{domain}: {detail}, {host}", words),
            "d.test: {domain}\u{1b}, the host"
        );
        assert_eq!(printable(b"a\x1b[2J\r\n\xff"), "a?[2J  \u{fffd}");
        assert_eq!(printable(&[b'a'; 300]).chars().count(), MAX_SHOWN + 1);
    }
}
