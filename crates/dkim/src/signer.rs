//! From a header and a body's digest to the `DKIM-Signature` field.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::BASE64;
use mail_types::{Domain, Field, Timestamp};

use crate::header::{relaxed, relaxed_value};
use crate::{BodyDigest, SigningKey};

/// Signs for one domain with one key.
#[derive(Clone, Debug)]
pub struct Signer {
    domain: Domain,
    selector: Box<str>,
    key: Arc<SigningKey>,
    signed: Vec<Box<str>>,
    oversigned: Vec<Box<str>>,
    expires: Option<Duration>,
}

/// A signature whose header is hashed and whose body is not yet known.
#[must_use]
pub struct Pending {
    key: Arc<SigningKey>,
    /// The canonical header fields, all but our own.
    context: Context,
    /// Our field up to the value of `bh=`.
    prefix: String,
}

/// The key could not sign. It never happens but for lack of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the DKIM key could not sign")]
pub struct SignError;

/// A header field that cannot or must not be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderNameError {
    /// RFC 5322 section 3.6.8.
    #[error("{0:?} is not the name of a header field")]
    Name(String),
    /// RFC 6376 section 5.4: it is changed or removed on the way, or is our own.
    #[error("{0:?} is changed or removed on the way, so that a signature over it would break")]
    Volatile(String),
}

impl Signer {
    /// Signs for `domain` (`d=`) with the key published under `selector` (`s=`), over the fields
    /// of [`SIGNED_BY_DEFAULT`] and [`OVERSIGNED_BY_DEFAULT`].
    #[must_use]
    pub fn new(domain: Domain, selector: &str, key: Arc<SigningKey>) -> Self {
        let boxed = |names: &[&str]| names.iter().map(|n| (*n).into()).collect();
        Self {
            domain,
            selector: selector.into(),
            key,
            signed: boxed(SIGNED_BY_DEFAULT),
            oversigned: boxed(OVERSIGNED_BY_DEFAULT),
            expires: None,
        }
    }

    /// Which fields are signed where they stand, and which as often as they stand and once more,
    /// so that nobody can add another one (RFC 6376 section 8.15). `From` always is among those.
    ///
    /// # Errors
    /// The first name that does not fit.
    pub fn with_fields(
        mut self,
        signed: &[String],
        oversigned: &[String],
    ) -> Result<Self, HeaderNameError> {
        let (signed, mut oversigned) = (names(signed)?, names(oversigned)?);
        if !oversigned.iter().any(|n| n.eq_ignore_ascii_case("From")) {
            oversigned.insert(0, "From".into());
        }
        self.signed = signed;
        self.signed.retain(|name| !contains(&oversigned, name));
        self.oversigned = oversigned;
        Ok(self)
    }

    /// Adds `x=`: the signature counts for no longer than this after it was made.
    #[must_use]
    pub const fn with_expiry(mut self, after: Duration) -> Self {
        self.expires = Some(after);
        self
    }

    /// The domain that signs.
    #[must_use]
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Begins a signature over the fields of a complete header.
    pub fn begin(&self, fields: &[Field<'_>], now: Timestamp) -> Pending {
        let mut canonical = Vec::with_capacity(1024);
        let mut list = String::with_capacity(256);
        for (names, extra) in [(&self.oversigned, 1), (&self.signed, 0)] {
            for name in names {
                // RFC 6376 section 5.4.2: from the bottom of the header up.
                let mut count = extra;
                for field in fields.iter().rev().filter(|f| f.is(name)) {
                    relaxed(field, &mut canonical);
                    count += 1;
                }
                for _ in 0..count {
                    push_name(&mut list, name);
                }
            }
        }
        let mut context = Context::new(&SHA256);
        context.update(&canonical);
        let seconds = now.as_secs();
        let mut prefix = String::with_capacity(512);
        // Writing to a String does not fail.
        let _ = write!(
            prefix,
            "DKIM-Signature: v=1; a={}; c=relaxed/relaxed;\r\n\td={}; s={};\r\n\tt={seconds};",
            self.key.algorithm(),
            self.domain,
            self.selector,
        );
        if let Some(after) = self.expires {
            let _ = write!(prefix, " x={};", seconds.saturating_add(after.as_secs()));
        }
        let _ = write!(prefix, "\r\n\th={list};\r\n\tbh=");
        Pending {
            key: Arc::clone(&self.key),
            context,
            prefix,
        }
    }
}

impl Pending {
    /// Octets that the field will have, with its CRLF.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a field is never empty")]
    pub fn len(&self) -> usize {
        let signature = BASE64.encode_len(self.key.signature_len());
        let folds = (signature - 1) / SIGNATURE_LINE * FOLD.len();
        self.prefix.len() + BASE64.encode_len(32) + BEFORE_SIGNATURE.len() + signature + folds + 2
    }

    /// The field with its CRLF, of exactly [`Pending::len`] octets.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn finish(self, body: BodyDigest) -> Result<String, SignError> {
        let mut field = self.prefix;
        field.push_str(&BASE64.encode(&body.0));
        field.push_str(BEFORE_SIGNATURE);
        let mut own = Vec::with_capacity(field.len());
        own.extend_from_slice(b"dkim-signature:");
        relaxed_value(
            field.as_bytes().get(NAME.len()..).unwrap_or_default(),
            &mut own,
        );
        // RFC 6376 section 3.7: without its last CRLF.
        let mut context = self.context;
        context.update(&own);
        let signature = BASE64.encode(&self.key.sign(&context.finish())?);
        let mut rest = signature.as_str();
        while let Some((line, behind)) = rest.split_at_checked(SIGNATURE_LINE) {
            field.push_str(line);
            if !behind.is_empty() {
                field.push_str(FOLD);
            }
            rest = behind;
        }
        field.push_str(rest);
        field.push_str("\r\n");
        Ok(field)
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pending").field(&self.prefix).finish()
    }
}

/// `a:b:c`, folded before a line gets too long.
fn push_name(list: &mut String, name: &str) {
    if !list.is_empty() {
        list.push(':');
    }
    let line = list
        .rfind('\n')
        .map_or(list.len() + 3, |lf| list.len() - lf);
    if line + name.len() > LIST_LINE {
        list.push_str(FOLD);
    }
    list.push_str(name);
}

fn names(list: &[String]) -> Result<Vec<Box<str>>, HeaderNameError> {
    let mut names: Vec<Box<str>> = Vec::new();
    for name in list {
        let is_name = |b: u8| b.is_ascii_graphic() && !matches!(b, b':' | b';');
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(HeaderNameError::Name(name.clone()));
        }
        if VOLATILE.iter().any(|v| v.eq_ignore_ascii_case(name)) {
            return Err(HeaderNameError::Volatile(name.clone()));
        }
        if !contains(&names, name) {
            names.push(name.as_str().into());
        }
    }
    Ok(names)
}

fn contains(names: &[Box<str>], name: &str) -> bool {
    names.iter().any(|n| n.eq_ignore_ascii_case(name))
}

/// Signed as often as they stand and once more. RFC 6376 section 5.4.1 names what matters to
/// readers; a second one of these would be shown to them.
pub const OVERSIGNED_BY_DEFAULT: &[&str] = &[
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// Signed where they stand; mailing lists and forwarders may add them.
pub const SIGNED_BY_DEFAULT: &[&str] = &[
    "Sender",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "Resent-Date",
    "Resent-Message-ID",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
    "Auto-Submitted",
];

const VOLATILE: [&str; 5] = [
    "Return-Path",
    "Received",
    "Bcc",
    "DKIM-Signature",
    "Authentication-Results",
];
const NAME: &str = "DKIM-Signature:";
const BEFORE_SIGNATURE: &str = ";\r\n\tb=";
const FOLD: &str = "\r\n\t ";
/// Octets of base64 on a line.
const SIGNATURE_LINE: usize = 72;
const LIST_LINE: usize = 74;
