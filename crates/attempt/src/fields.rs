//! The fields of an event: each is written where it stands, without a tree in between.

use std::fmt;
use std::io;
use std::time::Duration;

use mail_types::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::ser::{CharEscape, Formatter};

use crate::format::BytesFmt;
use mail_types::{harmless, is_plain_text, write_clean};

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
        self.field(key, |out| write_value(out, value))
    }

    /// Adds text.
    pub fn text(&mut self, key: &'static str, value: &str) -> &mut Self {
        self.field(key, |out| write_text(out, value))
    }

    /// Adds text, or null.
    pub fn text_option(&mut self, key: &'static str, value: Option<&str>) -> &mut Self {
        self.field(key, |out| match value {
            Some(value) => write_text(out, value),
            None => out.extend_from_slice(b"null"),
        })
    }

    /// Adds what a value prints as, as text.
    pub fn display(&mut self, key: &'static str, value: &dyn fmt::Display) -> &mut Self {
        self.field(key, |out| write_shown(out, value))
    }

    /// Adds what a value prints as, or null.
    pub fn display_option(
        &mut self,
        key: &'static str,
        value: Option<&dyn fmt::Display>,
    ) -> &mut Self {
        self.field(key, |out| match value {
            Some(value) => write_shown(out, value),
            None => out.extend_from_slice(b"null"),
        })
    }

    /// Adds a point in time in RFC 3339 form.
    pub fn time(&mut self, key: &'static str, value: Timestamp) -> &mut Self {
        self.display(key, &value)
    }

    /// Adds a point in time, or null.
    pub fn time_option(&mut self, key: &'static str, value: Option<Timestamp>) -> &mut Self {
        self.display_option(key, value.as_ref().map(|t| t as _))
    }

    /// Adds a length of time in seconds, with milliseconds.
    pub fn seconds(&mut self, key: &'static str, value: Duration) -> &mut Self {
        self.add(key, &seconds(value))
    }

    fn field(&mut self, key: &'static str, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
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
        write(self.out);
        if self.style == Style::Plain {
            self.simplify(start, value_at);
        }
        self
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

/// Writes a string. Nearly all are plain and go in whole; the others' way is serde's.
fn write_text(out: &mut Vec<u8>, text: &str) {
    if !is_plain(text.as_bytes()) {
        return write_value(out, text);
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Writes what a value prints as, as a string.
fn write_shown(out: &mut Vec<u8>, value: &dyn fmt::Display) {
    let start = out.len();
    out.push(b'"');
    let written = fmt::write(&mut BytesFmt(out), format_args!("{value}"));
    if written.is_err() || !is_plain(out.get(start + 1..).unwrap_or_default()) {
        out.truncate(start);
        return write_value(out, &Shown(value));
    }
    out.push(b'"');
}

/// Whether a string stands in the log as it is.
fn is_plain(text: &[u8]) -> bool {
    let plain = |b: &u8| matches!(b, b' '..=b'~') & !matches!(b, b'"' | b'\\');
    // All of them, whatever comes first: without a branch for each that is many at once.
    text.len() <= MAX_STRING && text.iter().fold(true, |all, b| all & plain(b))
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
    s.collect_str(t)
}

pub(crate) fn ser_time_option<S: Serializer>(
    t: &Option<Timestamp>,
    s: S,
) -> Result<S::Ok, S::Error> {
    match t {
        Some(t) => s.collect_str(t),
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
        if is_plain_text(fits) || fits.chars().all(|c| harmless(c) == c) {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Add = fn(&mut Fields<'_>, &str);

    fn written(style: Style, text: &str, add: Add) -> String {
        let mut out = Vec::new();
        add(&mut Fields::new(&mut out, style), text);
        String::from_utf8(out).unwrap()
    }

    fn same_by_all_ways(text: &str) {
        let ways: [Add; 4] = [
            |f, s| _ = f.text("k", s),
            |f, s| _ = f.text_option("k", Some(s)),
            |f, s| _ = f.display("k", &s),
            |f, s| _ = f.display_option("k", Some(&s)),
        ];
        for style in [Style::Json, Style::Plain] {
            let want = written(style, text, |f, s| _ = f.add("k", s));
            for way in ways {
                assert_eq!(written(style, text, way), want);
            }
        }
    }

    #[test]
    fn h3_32_the_short_way_writes_what_the_long_one_does() {
        for text in [
            "", "a", "a b", "\"", "\\", "a\nb", "\x7f", "\u{202e}", "é", "=",
        ] {
            same_by_all_ways(text);
        }
        for len in MAX_STRING - 2..MAX_STRING + 3 {
            same_by_all_ways(&"x".repeat(len));
        }
        let nothing = written(Style::Json, "", |f, _| _ = f.text_option("k", None));
        assert_eq!(nothing, ",\"k\":null");
        assert_eq!(
            written(Style::Plain, "", |f, _| _ = f.time_option("k", None)),
            ""
        );
    }

    proptest! {
        #[test]
        fn h3_32_any_text_is_written_the_same_by_all_ways(text in any::<String>()) {
            same_by_all_ways(&text);
        }
    }
}
