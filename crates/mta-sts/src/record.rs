//! The `_mta-sts` TXT record (RFC 8461 section 3.1).

use std::fmt;
use std::sync::Arc;

/// One valid record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    id: PolicyId,
}

/// The record's `id`: 1 to 32 letters and digits. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(Arc<str>);

/// A text that is no `id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id has 1 to 32 letters and digits")]
pub struct PolicyIdError;

/// What all TXT records at the name amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Selection {
    /// Exactly one candidate, and it is valid.
    Found(Record),
    /// The domain publishes no usable record.
    None(NoRecord),
}

/// Why there is no usable record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRecord {
    /// No TXT record starts with `v=STSv1;`.
    #[error("there is no TXT record that starts with v=STSv1;")]
    Absent,
    /// Some TXT record was meant to be one, and does not start with `v=STSv1;`: that counts as none.
    #[error(
        "there is no TXT record that starts with v=STSv1;, only one that looks as if it was meant to"
    )]
    NearMiss,
    /// More than one candidate: treated as none (RFC 8461 section 3.1).
    #[error("there are {0} records that start with v=STSv1; where exactly one is allowed")]
    Several(usize),
    /// The only candidate breaks the grammar.
    #[error("the record is invalid: {0}")]
    Invalid(RecordError),
}

/// Why a record is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It does not start with `v=STSv1`, optional blanks, `;`.
    #[error("it does not start with v=STSv1;")]
    Version,
    /// There is no field `id`.
    #[error("the field id is missing")]
    IdMissing,
    /// The value of `id` is not 1 to 32 letters and digits.
    #[error("the id is not 1 to 32 letters and digits")]
    Id,
    /// A field that is not `name=value`, counted from 1 behind the version.
    #[error("field {0} is malformed")]
    Field(usize),
}

impl Record {
    /// Parses one record, its character-strings joined without anything between them.
    ///
    /// # Errors
    /// Says which rule of the grammar the record breaks.
    pub fn parse(text: &[u8]) -> Result<Self, RecordError> {
        let fields = fields(text).ok_or(RecordError::Version)?;
        let mut id = None;
        let mut parts = fields.split(|b| *b == b';').enumerate().peekable();
        while let Some((n, part)) = parts.next() {
            let last = parts.peek().is_none();
            let part = trim_start(part);
            // sts-field-delim takes blanks on both sides, so only a closing `;` may follow them.
            let part = if last { part } else { trim_end(part) };
            if last && part.is_empty() && n > 0 {
                break;
            }
            let (name, value) = field(part).ok_or(if part.is_empty() && n == 0 && last {
                RecordError::IdMissing
            } else {
                RecordError::Field(n + 1)
            })?;
            // RFC 8461 section 3.2: of several, all but the first SHALL be ignored.
            if name == b"id" && id.is_none() {
                id = Some(PolicyId::from_bytes(value).ok_or(RecordError::Id)?);
            }
        }
        id.map(|id| Self { id }).ok_or(RecordError::IdMissing)
    }

    /// Sorts out all TXT records at `_mta-sts.<domain>`: those that do not start with `v=STSv1;`
    /// are discarded before the rest is counted.
    pub fn select<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Selection {
        let mut first = None;
        let mut count = 0;
        let mut nearly = false;
        for text in records {
            if fields(text).is_some() {
                count += 1;
                first = first.or(Some(text));
            } else {
                nearly |= Self::looks_meant(text);
            }
        }
        match (first, count) {
            (Some(text), 1) => match Self::parse(text) {
                Ok(record) => Selection::Found(record),
                Err(e) => Selection::None(NoRecord::Invalid(e)),
            },
            (Some(_), n) => Selection::None(NoRecord::Several(n)),
            (None, _) if nearly => Selection::None(NoRecord::NearMiss),
            (None, _) => Selection::None(NoRecord::Absent),
        }
    }

    /// Whether somebody wanted an MTA-STS record, whatever it became. It decides nothing. A wildcard's SPF
    /// record answers at this name too, and is no mistake, though it names hosts such as `lists1`.
    #[must_use]
    pub fn looks_meant(text: &[u8]) -> bool {
        let text = String::from_utf8_lossy(text).to_ascii_lowercase();
        let text = text.trim();
        let version = text
            .strip_prefix('v')
            .and_then(|rest| rest.trim_start().strip_prefix('='));
        if let Some(version) = version {
            let of = version.trim_start().split([';', ' ', '\t']).next();
            return of.is_some_and(|of| of.contains("sts"));
        }
        ["stsv", "sts1", "mta-sts"].iter().any(|word| {
            text.match_indices(word).any(|(at, _)| {
                let before = text.get(..at).and_then(|t| t.chars().next_back());
                !before.is_some_and(char::is_alphanumeric)
            })
        })
    }

    /// A record with this `id`.
    #[must_use]
    pub const fn new(id: PolicyId) -> Self {
        Self { id }
    }

    /// The `id`; equal or not is all that it says, it has no order (RFC 8461 section 3.1).
    #[must_use]
    pub const fn id(&self) -> &PolicyId {
        &self.id
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v=STSv1; id={};", self.id)
    }
}

impl PolicyId {
    /// Parses an id.
    ///
    /// # Errors
    /// [`PolicyIdError`] if the text is not 1 to 32 letters and digits.
    pub fn parse(text: &str) -> Result<Self, PolicyIdError> {
        Self::from_bytes(text.as_bytes()).ok_or(PolicyIdError)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn from_bytes(text: &[u8]) -> Option<Self> {
        let valid =
            (1..=MAX_ID).contains(&text.len()) && text.iter().all(u8::is_ascii_alphanumeric);
        let text = std::str::from_utf8(text).ok()?;
        valid.then(|| Self(text.into()))
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What follows `v=STSv1 *WSP ";"`, if the record starts with that (decision: blanks before the
/// semicolon are in the grammar, so such a record is a candidate too).
fn fields(text: &[u8]) -> Option<&[u8]> {
    trim_start(text.strip_prefix(b"v=STSv1")?).strip_prefix(b";")
}

/// `name "=" value` of sts-extension, which the grammar of `id` is a part of.
fn field(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = part.iter().position(|b| *b == b'=')?;
    let (name, value) = (part.get(..at)?, part.get(at + 1..)?);
    let first = name.first()?;
    let name_ok = name.len() <= MAX_NAME
        && first.is_ascii_alphanumeric()
        && name
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    // An empty id is told as a bad id rather than as a bad field.
    let value_ok = (!value.is_empty() || name == b"id")
        && value.iter().all(|b| b.is_ascii_graphic() && *b != b'=');
    (name_ok && value_ok).then_some((name, value))
}

fn trim_start(mut text: &[u8]) -> &[u8] {
    while let Some(rest) = text.strip_prefix(b" ").or_else(|| text.strip_prefix(b"\t")) {
        text = rest;
    }
    text
}

fn trim_end(mut text: &[u8]) -> &[u8] {
    while let Some(rest) = text.strip_suffix(b" ").or_else(|| text.strip_suffix(b"\t")) {
        text = rest;
    }
    text
}

const MAX_ID: usize = 32;
const MAX_NAME: usize = 32;

#[cfg(test)]
mod tests;
