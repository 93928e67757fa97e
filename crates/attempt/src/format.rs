//! The three formats, and the one formatter that writes every event in them.

use std::fmt;
use std::io;

use crate::fields::{Fields, Style};
use crate::{LogEvent, PostfixEvent};
use mail_types::write_clean;

mod postfix;
mod text;

pub use postfix::PostfixLine;
pub(crate) use text::Paint;
pub use text::TextLine;

/// How events are written (`log.format`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// One JSON object on a line.
    Json,
    /// The lines that Postfix would write, for the tools that read those.
    Postfix,
    /// For a writer that hands fields to the systemd journal: the line of JSON, and the line of text
    /// without colours.
    Journal,
    /// For people at a terminal.
    Text {
        /// With ANSI colours.
        colour: bool,
    },
}

/// Writes events in one format.
#[derive(Clone, Debug)]
pub struct Formatter {
    format: Format,
    /// What stands before the daemon's pid in Postfix format: `host name/`.
    origin: Box<str>,
    pid: u32,
}

impl Formatter {
    /// `hostname`, `syslog_name` (`log.syslog-name`) and `pid` stand in Postfix lines. White space
    /// and colons in the names would confuse readers and are replaced.
    #[must_use]
    pub fn new(format: Format, hostname: &str, syslog_name: &str, pid: u32) -> Self {
        let word = |s: &str| {
            s.chars()
                .map(|c| {
                    if c.is_ascii_alphanumeric() || ".-_/".contains(c) {
                        c
                    } else {
                        '_'
                    }
                })
                .collect::<String>()
        };
        Self {
            format,
            origin: format!("{} {}/", word(hostname), word(syslog_name)).into(),
            pid,
        }
    }

    /// Appends the event with its line end: one line, except that Postfix format says what
    /// Postfix says in two lines in two lines. `out` is best reused.
    pub fn write(&self, event: &dyn LogEvent, out: &mut Vec<u8>) {
        match self.format {
            Format::Json => write_json(event, out),
            Format::Postfix => {
                let mut line = PostfixLine::new(out, &self.origin, self.pid, event.at());
                event.postfix(&mut line);
                line.finish();
            }
            Format::Journal => {
                write_json(event, out);
                text::write(event, false, out);
            }
            Format::Text { colour } => text::write(event, colour, out),
        }
    }
}

impl Formatter {
    /// Whether what only Postfix has is written.
    #[must_use]
    pub const fn is_postfix(&self) -> bool {
        matches!(self.format, Format::Postfix)
    }

    /// Appends what only Postfix has; nothing in other formats.
    pub fn write_postfix(&self, event: &dyn PostfixEvent, out: &mut Vec<u8>) {
        if self.is_postfix() {
            let mut line = PostfixLine::new(out, &self.origin, self.pid, event.at());
            event.postfix(&mut line);
            line.finish();
        }
    }
}

fn write_json(event: &dyn LogEvent, out: &mut Vec<u8>) {
    push_fmt(out, format_args!("{{\"ts\":\"{}\"", event.at()));
    Fields::new(out, Style::Json)
        .text("level", event.level().as_str())
        .text("event", event.event());
    event.fields(&mut Fields::new(out, Style::Json));
    out.extend_from_slice(b"}\n");
}

/// Appends formatted text as it is: only for text that is known to be harmless.
pub(crate) fn push_fmt(out: &mut Vec<u8>, args: fmt::Arguments<'_>) {
    // Writing to a vector does not fail; a Display that does leaves its part out.
    let _ = fmt::write(&mut BytesFmt(out), args);
}

/// Appends formatted text with everything harmful replaced.
pub(crate) fn push_clean(out: &mut Vec<u8>, args: fmt::Arguments<'_>) {
    struct Cleaning<'a>(BytesFmt<'a, Vec<u8>>);
    impl fmt::Write for Cleaning<'_> {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            write_clean(s, &mut self.0)
        }
    }
    let _ = fmt::write(&mut Cleaning(BytesFmt(out)), args);
}

/// A byte writer as a text writer.
pub(crate) struct BytesFmt<'a, W: ?Sized>(pub(crate) &'a mut W);

impl<W: io::Write + ?Sized> fmt::Write for BytesFmt<'_, W> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0.write_all(s.as_bytes()).map_err(|_| fmt::Error)
    }
}

#[cfg(test)]
mod tests;
