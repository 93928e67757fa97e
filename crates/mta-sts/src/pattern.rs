//! One `mx` value of a policy (RFC 8461 sections 3.2 and 4.1).

use std::fmt;
use std::sync::Arc;

use mail_types::HostName;

/// `["*."] Domain`: A-labels of letters, digits and hyphens, kept in lower case.
///
/// Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MxPattern(Arc<str>);

/// Why a text is no MX pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing there, or `*.` with nothing behind it.
    #[error("the name is missing")]
    Empty,
    /// Two dots in a row, or a leading dot, or more than one trailing dot.
    #[error("there is an empty label")]
    EmptyLabel,
    /// `*` anywhere but as the complete left-most label.
    #[error("`*` may only stand as the whole left-most label")]
    Wildcard,
    /// Something that no host name has: a blank, a comma, an underscore, a U-label, a bracket.
    #[error("{0:?} is not allowed in a host name (one pattern per line, A-labels only)")]
    BadCharacter(char),
    /// A hyphen at the start or end of a label.
    #[error("a label starts or ends with a hyphen")]
    Hyphen,
    /// A label above 63 or a name above 253 octets.
    #[error("the name is too long")]
    TooLong,
}

impl MxPattern {
    /// Some patterns in a sentence; of many only the first.
    #[must_use]
    pub fn in_words(patterns: &[Self]) -> String {
        const SHOWN: usize = 5;
        let shown: Vec<String> = patterns.iter().take(SHOWN).map(Self::to_string).collect();
        let others = if patterns.len() > SHOWN {
            " and others"
        } else {
            ""
        };
        format!("{}{others}", shown.join(", "))
    }

    /// Parses one pattern without surrounding blanks; the case is folded.
    ///
    /// # Errors
    /// Says which rule of the grammar the text breaks.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        if name.is_empty() {
            return Err(PatternError::Empty);
        }
        if name.len() > MAX_NAME {
            return Err(PatternError::TooLong);
        }
        name.split('.').try_for_each(check_label)?;
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// Whether this pattern covers an MX name (RFC 8461 section 4.1): equal, or equal but for
    /// exactly one left-most label where the pattern has `*`. The host is already in lower-case
    /// A-labels without trailing dot, so octets are compared.
    #[must_use]
    pub fn matches(&self, host: &HostName) -> bool {
        let host = host.as_str();
        match self.0.strip_prefix('*') {
            None => *self.0 == *host,
            // ".d.test": one non-empty label without a dot must stand before it.
            Some(suffix) => host
                .strip_suffix(suffix)
                .is_some_and(|label| !label.is_empty() && !label.contains('.')),
        }
    }

    /// The pattern in lower case, as it stands in the policy.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a wildcard over a whole top-level domain (`*.com`): valid, but it is worth an
    /// operator's look (row H2-24).
    #[must_use]
    pub fn is_broad(&self) -> bool {
        self.0
            .strip_prefix("*.")
            .is_some_and(|parent| !parent.contains('.'))
    }

    /// Whether the last label is a number: an address such as `192.0.2.1` fits the grammar but no
    /// MX name can equal it.
    #[must_use]
    pub fn is_numeric(&self) -> bool {
        let last = self.0.rsplit('.').next().unwrap_or_default();
        last.bytes().all(|b| b.is_ascii_digit())
    }
}

impl fmt::Display for MxPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MxPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `sub-domain = Let-dig [Ldh-str]` of RFC 5321 section 4.1.2.
fn check_label(label: &str) -> Result<(), PatternError> {
    if label.is_empty() {
        return Err(PatternError::EmptyLabel);
    }
    if label.len() > MAX_LABEL {
        return Err(PatternError::TooLong);
    }
    match label
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && *c != '-')
    {
        Some('*') => return Err(PatternError::Wildcard),
        Some(c) => return Err(PatternError::BadCharacter(c)),
        None => {}
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(PatternError::Hyphen);
    }
    Ok(())
}

const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, host: &str) -> bool {
        MxPattern::parse(pattern)
            .unwrap()
            .matches(&HostName::parse(host).unwrap())
    }

    #[test]
    fn a5_01_a5_02_a5_03_matching() {
        for (pattern, host, want, reason) in [
            ("mx1.d.test", "MX1.D.Test", true, "A5-01: case is folded"),
            (
                "MX1.D.Test",
                "mx1.d.test.",
                true,
                "A5-01: so is the pattern's; a root dot is no part",
            ),
            ("*.d.test", "a.d.test", true, "A5-02: one label"),
            ("*.d.test", "d.test", false, "A5-02: not the parent itself"),
            ("*.d.test", "a.b.d.test", false, "A5-02: not two labels"),
            (
                "*.d.test",
                "xd.test",
                false,
                "A5-02: the dot belongs to the pattern",
            ),
            (
                "mx.d.test",
                "notmx.d.test",
                false,
                "A5-03: no suffix matching",
            ),
            (
                "mx.d.test",
                "mx.d.test.evil.test",
                false,
                "A5-03: no prefix matching",
            ),
            ("d.test", "a.d.test", false, "no wildcard, no subdomain"),
            (
                "*.xn--bcher-kva.test",
                "mx.bücher.test",
                true,
                "IDN hosts compare as A-labels",
            ),
            (
                "*.test",
                "d.test",
                true,
                "a whole top-level domain is legal",
            ),
            (
                "*.d.test",
                "_x.d.test",
                true,
                "an underscore is part of one label",
            ),
        ] {
            assert_eq!(matches(pattern, host), want, "{pattern} {host}: {reason}");
        }
    }

    #[test]
    fn a3_17_a3_18_grammar() {
        let long_label = "a".repeat(64) + ".test";
        let long_name = format!("{0}.{0}.{0}.{0}", "a".repeat(63));
        for (text, want) in [
            ("", PatternError::Empty),
            ("*", PatternError::Wildcard),
            ("*.", PatternError::Empty),
            ("mx*.d.test", PatternError::Wildcard),
            ("*.*.d.test", PatternError::Wildcard),
            ("a.*.test", PatternError::Wildcard),
            ("**.d.test", PatternError::Wildcard),
            (".d.test", PatternError::EmptyLabel),
            ("a..b", PatternError::EmptyLabel),
            ("a.test..", PatternError::EmptyLabel),
            ("[192.0.2.1]", PatternError::BadCharacter('[')),
            ("-a.test", PatternError::Hyphen),
            ("a-.test", PatternError::Hyphen),
            ("a_b.test", PatternError::BadCharacter('_')),
            ("a.test, b.test", PatternError::BadCharacter(',')),
            ("a.test b.test", PatternError::BadCharacter(' ')),
            ("mäil.test", PatternError::BadCharacter('ä')),
            (&long_label, PatternError::TooLong),
            (&long_name, PatternError::TooLong),
        ] {
            assert_eq!(MxPattern::parse(text), Err(want), "{text}");
        }
    }

    #[test]
    fn what_is_legal_but_odd_is_told() {
        assert!(MxPattern::parse("*.com").unwrap().is_broad());
        assert!(!MxPattern::parse("*.d.test").unwrap().is_broad());
        assert!(MxPattern::parse("192.0.2.1").unwrap().is_numeric());
        assert!(!MxPattern::parse("mx1.d.test").unwrap().is_numeric());
    }
}
