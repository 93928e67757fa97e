//! The TXT record that publishes a key (RFC 6376 section 3.6.1).

use std::fmt;

use data_encoding::BASE64;
use mail_types::Domain;

use crate::Algorithm;

/// A key record, for instance `v=DKIM1; k=ed25519; p=…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record(String);

impl Record {
    pub(crate) fn new(algorithm: Algorithm, public: &[u8]) -> Self {
        let kind = match algorithm {
            Algorithm::RsaSha256 => "rsa",
            Algorithm::Ed25519Sha256 => "ed25519",
        };
        // h=sha256: nobody may use the key with SHA-1 (RFC 8301 section 3.1).
        Self(format!(
            "v=DKIM1; h=sha256; k={kind}; p={}",
            BASE64.encode(public)
        ))
    }

    /// The same for a key that signs for one service only (the `s=` tag), for instance `tlsrpt`: receivers of TLS
    /// reports may ask for that (RFC 8460 section 3), and for other mail the key then counts nothing.
    #[must_use]
    pub fn for_service(&self, service: &str) -> Self {
        Self(self.0.replacen("; p=", &format!("; s={service}; p="), 1))
    }

    /// The record's text, undivided.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The record's strings: a string in DNS has 255 octets at most (RFC 1035 section 3.3).
    pub fn strings(&self) -> impl Iterator<Item = &str> {
        let mut rest = self.0.as_str();
        std::iter::from_fn(move || {
            // The text is ASCII, so that every index is a boundary.
            let (first, behind) = rest.split_at_checked(rest.len().min(MAX_STRING))?;
            rest = behind;
            (!first.is_empty()).then_some(first)
        })
    }

    /// The record as it stands in a zone file. One line, since what prints it lets no control
    /// character through, neither line ends nor tabs.
    #[must_use]
    pub fn zone_line(&self, selector: &str, domain: &Domain) -> String {
        let strings: Vec<String> = self.strings().map(|s| format!("\"{s}\"")).collect();
        format!(
            "{selector}._domainkey.{domain}. IN TXT ( {} )",
            strings.join(" ")
        )
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const MAX_STRING: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b4_11_a_key_for_reports_alone_says_so() {
        let record = Record::new(Algorithm::Ed25519Sha256, &[1, 2, 3]);
        assert_eq!(record.as_str(), "v=DKIM1; h=sha256; k=ed25519; p=AQID");
        let of_reports = record.for_service("tlsrpt");
        assert_eq!(
            of_reports.as_str(),
            "v=DKIM1; h=sha256; k=ed25519; s=tlsrpt; p=AQID"
        );
    }
}
