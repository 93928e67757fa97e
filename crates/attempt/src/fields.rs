//! The fields of an event: each is written where it stands, without a tree in between.

use std::fmt;
use std::io;
use std::time::Duration;

use mail_types::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::ser::{CharEscape, Formatter};

use crate::clean::{replacement, write_clean};
use crate::format::BytesFmt;

/// Takes the fields of an event one by one. Whatever a field's value is, nothing but printable
/// text on the same line comes out, and no string is longer than 2,048 octets.
#[derive(Debug)]
pub struct Fields<'a> {
    out: &'a mut Vec<u8>,
    style: Style,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Style {
    /// `,"key":value`
    Json,
    /// ` key=value`, without what is null, empty or false
    Plain,
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(out: &'a mut Vec<u8>, style: Style) -> Self {
        Self { out, style }
    }

    /// Adds any value that serde can write: numbers, text, lists, structs.
    pub fn add<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> &mut Self {
        let start = self.out.len();
        match self.style {
            Style::Json => {
                self.out.extend_from_slice(b",\"");
                self.out.extend_from_slice(key.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
            Style::Plain => {
                self.out.push(b' ');
                self.out.extend_from_slice(key.as_bytes());
                self.out.push(b'=');
            }
        }
        let value_at = self.out.len();
        write_value(self.out, value);
        if self.style == Style::Plain {
            self.simplify(start, value_at);
        }
        self
    }

    /// Adds what a value prints as, as text.
    pub fn display(&mut self, key: &'static str, value: &dyn fmt::Display) -> &mut Self {
        self.add(key, &Shown(value))
    }

    /// Adds what a value prints as, or null.
    pub fn display_option(
        &mut self,
        key: &'static str,
        value: Option<&dyn fmt::Display>,
    ) -> &mut Self {
        self.add(key, &value.map(Shown))
    }

    /// Adds a point in time in RFC 3339 form.
    pub fn time(&mut self, key: &'static str, value: Timestamp) -> &mut Self {
        self.add(key, &Shown(&Rfc3339(value)))
    }

    /// Adds a point in time, or null.
    pub fn time_option(&mut self, key: &'static str, value: Option<Timestamp>) -> &mut Self {
        let shown = value.map(Rfc3339);
        self.add(key, &shown.as_ref().map(|t| Shown(t)))
    }

    /// Adds a length of time in seconds, with milliseconds.
    pub fn seconds(&mut self, key: &'static str, value: Duration) -> &mut Self {
        self.add(key, &seconds(value))
    }

    /// Leaves out what says nothing, and the quotes where they are not needed.
    fn simplify(&mut self, start: usize, value_at: usize) {
        let value = self.out.get(value_at..).unwrap_or_default();
        if matches!(value, b"null" | b"\"\"" | b"[]" | b"false") {
            self.out.truncate(start);
            return;
        }
        if let [b'"', inner @ .., b'"'] = value
            && inner
                .iter()
                .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'='))
        {
            self.out.pop();
            self.out.remove(value_at);
        }
    }
}

/// Writes one JSON value. A value that serde cannot write becomes null.
pub(crate) fn write_value<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let start = out.len();
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, OneLine::default());
    if value.serialize(&mut serializer).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

/// Writes RFC 3339 in UTC with milliseconds, without allocation.
pub(crate) struct Rfc3339(pub(crate) Timestamp);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX);
        let t = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{t:.3}")
    }
}

/// Serialises what a value prints as.
pub(crate) struct Shown<'a>(pub(crate) &'a dyn fmt::Display);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self.0)
    }
}

/// Whole milliseconds, as seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of a delay are far below 2^53"
)]
pub(crate) const fn seconds(value: Duration) -> f64 {
    value.as_millis() as f64 / 1000.0
}

pub(crate) fn ser_time<S: Serializer>(t: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&Rfc3339(*t))
}

pub(crate) fn ser_time_option<S: Serializer>(
    t: &Option<Timestamp>,
    s: S,
) -> Result<S::Ok, S::Error> {
    match t {
        Some(t) => s.collect_str(&Rfc3339(*t)),
        None => s.serialize_none(),
    }
}

/// JSON on one line whose strings have no control characters even after they are decoded, and
/// are cut off at [`MAX_STRING`] octets.
struct OneLine {
    left: usize,
    cut: bool,
}

impl Default for OneLine {
    fn default() -> Self {
        Self {
            left: MAX_STRING,
            cut: false,
        }
    }
}

impl OneLine {
    /// The part of a fragment that still fits.
    fn take<'f>(&mut self, fragment: &'f str) -> &'f str {
        if fragment.len() <= self.left {
            self.left -= fragment.len();
            return fragment;
        }
        let (fits, _) = fragment.split_at(fragment.floor_char_boundary(self.left));
        self.left = 0;
        self.cut = true;
        fits
    }
}

impl Formatter for OneLine {
    fn begin_string<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        *self = Self::default();
        writer.write_all(b"\"")
    }

    fn end_string<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(if self.cut { "…\"".as_bytes() } else { b"\"" })
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let fits = self.take(fragment);
        // Nearly every string is plain ASCII, which a look at the octets shows.
        let plain = fits.bytes().all(|b| matches!(b, b' '..=b'~'));
        if plain || fits.chars().all(|c| replacement(c).is_none()) {
            return writer.write_all(fits.as_bytes());
        }
        write_clean(fits, &mut BytesFmt(writer)).map_err(io::Error::other)
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        if self.take("?").is_empty() {
            return Ok(());
        }
        writer.write_all(match escape {
            CharEscape::Quote => b"\\\"",
            CharEscape::ReverseSolidus => b"\\\\",
            CharEscape::Solidus => b"/",
            CharEscape::LineFeed | CharEscape::CarriageReturn | CharEscape::Tab => b" ",
            CharEscape::Backspace | CharEscape::FormFeed | CharEscape::AsciiControl(_) => b"?",
        })
    }
}

/// Octets of one string in a log line: room for any SMTP reply worth reading.
pub(crate) const MAX_STRING: usize = 2048;
