//! One TLSA record: parsed once, or discarded with the reason why.

use std::fmt;

use mail_types::TlsaRecord;

/// One usable TLSA record (RFC 6698 section 2.1): its parameters are known and its data has the form
/// that they ask for.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Association {
    /// Whom it names.
    pub usage: Usage,
    /// Which part of the certificate.
    pub selector: Selector,
    /// How that part is given.
    pub matching: Matching,
    data: Box<[u8]>,
}

/// Certificate usage (RFC 6698 section 2.1.1), as far as SMTP has a use for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Usage {
    /// DANE-TA(2): an authority that the chain must lead to.
    TrustAnchor,
    /// DANE-EE(3): the host's own certificate.
    EndEntity,
}

/// Selector (RFC 6698 section 2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Selector {
    /// Cert(0): the whole certificate.
    Certificate,
    /// SPKI(1): its `SubjectPublicKeyInfo`.
    PublicKey,
}

/// Matching type (RFC 6698 section 2.1.3), the strongest digest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Matching {
    /// Full(0): the thing itself.
    Full,
    /// SHA2-256(1).
    Sha256,
    /// SHA2-512(2).
    Sha512,
}

/// A record that does not count, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// As published.
    pub record: TlsaRecord,
    /// What is wrong.
    pub flaw: Flaw,
}

impl Discarded {
    /// What is wrong with records of which none counts, each flaw once.
    #[must_use]
    pub fn in_words(discarded: &[Self]) -> String {
        let mut told: Vec<String> = Vec::new();
        for flaw in discarded.iter().map(|d| d.flaw.to_string()) {
            if !told.contains(&flaw) && told.len() < FLAWS_SHOWN {
                told.push(flaw);
            }
        }
        told.join("; ")
    }
}

const FLAWS_SHOWN: usize = 3;

/// Why a record does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Flaw {
    /// PKIX-TA(0) or PKIX-EE(1): RFC 7672 section 3.1.3.
    #[error("usage {0} depends on public authorities and is not used for SMTP")]
    PkixUsage(u8),
    /// A usage that nobody has defined.
    #[error("usage {0} is unknown")]
    Usage(u8),
    /// A selector that nobody has defined.
    #[error("selector {0} is unknown")]
    Selector(u8),
    /// A matching type that is not supported.
    #[error("matching type {0} is unknown")]
    Matching(u8),
    /// A digest of the wrong length.
    #[error("its data has {found} octets where the digest has {expected}")]
    DigestLength {
        /// What the matching type has.
        expected: usize,
        /// What was published.
        found: usize,
    },
    /// Full(0) that is no certificate or key.
    #[error("its data is neither a certificate nor a key in DER")]
    NotDer,
}

impl Association {
    /// Checks one record (RFC 7672 section 2.2, RFC 6698 section 4.1).
    ///
    /// # Errors
    /// Why it must not be used; the others still count (row C3-09).
    pub fn parse(record: &TlsaRecord) -> Result<Self, Flaw> {
        let usage = match record.usage {
            2 => Usage::TrustAnchor,
            3 => Usage::EndEntity,
            // RFC 7672 section 3.1.3: "SMTP client treatment … PKIX-TA(0) or PKIX-EE(1) is undefined";
            // they are taken for unusable.
            pkix @ (0 | 1) => return Err(Flaw::PkixUsage(pkix)),
            other => return Err(Flaw::Usage(other)),
        };
        let selector = match record.selector {
            0 => Selector::Certificate,
            1 => Selector::PublicKey,
            other => return Err(Flaw::Selector(other)),
        };
        let matching = match record.matching {
            0 => Matching::Full,
            1 => Matching::Sha256,
            2 => Matching::Sha512,
            other => return Err(Flaw::Matching(other)),
        };
        let found = record.data.len();
        match matching.length() {
            Some(expected) if expected != found => {
                return Err(Flaw::DigestLength { expected, found });
            }
            None if !is_one_sequence(&record.data) => return Err(Flaw::NotDer),
            Some(_) | None => {}
        }
        Ok(Self {
            usage,
            selector,
            matching,
            data: record.data.as_slice().into(),
        })
    }

    /// The certificate association data: a digest, or the certificate or key itself.
    #[must_use]
    pub const fn data(&self) -> &[u8] {
        &self.data
    }
}

impl Matching {
    /// Octets of the digest; `None` for Full(0).
    const fn length(self) -> Option<usize> {
        match self {
            Self::Full => None,
            Self::Sha256 => Some(32),
            Self::Sha512 => Some(64),
        }
    }
}

impl Usage {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::TrustAnchor => 2,
            Self::EndEntity => 3,
        }
    }
}

impl Selector {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Certificate => 0,
            Self::PublicKey => 1,
        }
    }
}

impl Matching {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Full => 0,
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }
}

impl Association {
    /// All of it as in a zone file: four fields with one space between, the data in lower-case hexadecimal without
    /// breaks (RFC 6698 section 2.2, RFC 8460 section 4.5).
    #[must_use]
    pub fn to_record(&self) -> String {
        let (u, s, m) = (
            self.usage.number(),
            self.selector.number(),
            self.matching.number(),
        );
        let data = self.data.iter().map(|byte| format!("{byte:02x}"));
        format!("{u} {s} {m} {}", data.collect::<String>())
    }
}

/// `3 1 1 8a9b…`: as in a zone file, long data cut short.
impl fmt::Display for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (u, s, m) = (
            self.usage.number(),
            self.selector.number(),
            self.matching.number(),
        );
        write!(f, "{u} {s} {m} ")?;
        for byte in self.data.iter().take(SHOWN) {
            write!(f, "{byte:02x}")?;
        }
        if self.data.len() > SHOWN {
            f.write_str("…")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tlsa({self})")
    }
}

/// Whether this is one DER SEQUENCE and nothing else: what a certificate and a key both are.
fn is_one_sequence(data: &[u8]) -> bool {
    let Some((0x30, rest)) = data.split_first().map(|(tag, rest)| (*tag, rest)) else {
        return false;
    };
    let Some((&first, rest)) = rest.split_first() else {
        return false;
    };
    if first < 0x80 {
        return rest.len() == usize::from(first);
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) || rest.len() < count {
        return false;
    }
    let (length, content) = rest.split_at(count);
    let length = length.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b));
    u64::try_from(content.len()).is_ok_and(|n| n == length)
}

const SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(usage: u8, selector: u8, matching: u8, data: &[u8]) -> TlsaRecord {
        TlsaRecord {
            usage,
            selector,
            matching,
            data: data.to_vec(),
        }
    }

    #[test]
    fn c3_04_c3_09_each_flaw_alone() {
        let good = [7; 32];
        for (u, s, m, data, want) in [
            (0, 1, 1, &good[..], Flaw::PkixUsage(0)),
            (1, 1, 1, &good[..], Flaw::PkixUsage(1)),
            (4, 1, 1, &good[..], Flaw::Usage(4)),
            (255, 1, 1, &good[..], Flaw::Usage(255)),
            (3, 2, 1, &good[..], Flaw::Selector(2)),
            (3, 1, 3, &good[..], Flaw::Matching(3)),
            (
                3,
                1,
                1,
                &good[..31],
                Flaw::DigestLength {
                    expected: 32,
                    found: 31,
                },
            ),
            (
                3,
                1,
                2,
                &good[..],
                Flaw::DigestLength {
                    expected: 64,
                    found: 32,
                },
            ),
            (3, 0, 0, b"", Flaw::NotDer),
            (3, 0, 0, b"\x30\x02x", Flaw::NotDer),
            (2, 0, 0, b"\x30\x01xx", Flaw::NotDer),
            (2, 1, 0, b"\x31\x01x", Flaw::NotDer),
            (2, 1, 0, b"\x30\x80", Flaw::NotDer),
        ] {
            assert_eq!(Association::parse(&record(u, s, m, data)), Err(want));
        }
    }

    #[test]
    fn c3_05_each_kind_is_read_and_shown() {
        for (r, shown) in [
            (record(3, 1, 1, &[0xab; 32]), "3 1 1 abababababababab…"),
            (record(3, 1, 2, &[1; 64]), "3 1 2 0101010101010101…"),
            (record(3, 0, 0, b"\x30\x01x"), "3 0 0 300178"),
            (record(2, 0, 1, &[2; 32]), "2 0 1 0202020202020202…"),
            (record(2, 1, 1, &[3; 32]), "2 1 1 0303030303030303…"),
            (record(2, 0, 0, b"\x30\x81\x01x"), "2 0 0 30810178"),
        ] {
            let parsed = Association::parse(&r).unwrap();
            assert_eq!(parsed.to_string(), shown);
            assert_eq!(parsed.data(), r.data);
        }
    }

    #[test]
    fn b3_09_a_record_is_four_fields_with_single_spaces() {
        let long: Vec<u8> = (0..32).collect();
        let parsed = Association::parse(&record(3, 1, 1, &long)).unwrap();
        let data: String = long.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(parsed.to_record(), format!("3 1 1 {data}"));
    }
}
