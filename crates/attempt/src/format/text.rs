//! Lines for people at a terminal.

use std::fmt;

use super::{push_clean, push_fmt};
use crate::fields::{Fields, Style};
use crate::{Level, LogEvent};
use mail_types::Clean;

/// Writes the part of a text line that comes after time and event.
#[derive(Debug)]
pub struct TextLine<'a> {
    out: &'a mut Vec<u8>,
    colour: bool,
}

/// What a colour means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Good,
    Waiting,
    Bad,
    Quiet,
}

/// `2026-03-01 12:00:00 event               …`
pub(crate) fn write(event: &dyn LogEvent, colour: bool, out: &mut Vec<u8>) {
    let at = event.at().rfc3339();
    let (date, time) = at.split_once('T').unwrap_or(("", &at));
    let mut line = TextLine { out, colour };
    line.paint(
        Paint::Quiet,
        format_args!("{date} {}", time.get(..8).unwrap_or(time)),
    );
    let paint = match event.level() {
        Level::Error => Paint::Bad,
        Level::Warn => Paint::Waiting,
        Level::Info => Paint::Good,
        Level::Debug => Paint::Quiet,
    };
    line.push(format_args!(" "));
    line.paint(paint, format_args!("{:<EVENT_WIDTH$}", event.event()));
    event.text(&mut line);
    line.out.push(b'\n');
}

impl TextLine<'_> {
    /// Adds text; what is harmful in it is replaced.
    pub fn push(&mut self, args: fmt::Arguments<'_>) -> &mut Self {
        push_clean(self.out, args);
        self
    }

    /// Adds untrusted text of at most 400 octets.
    pub fn clip(&mut self, text: &str) -> &mut Self {
        push_fmt(self.out, format_args!("{}", Clean::new(text, MAX_TEXT)));
        self
    }

    /// Adds every field as `key=value`.
    pub fn generic(&mut self, fields: &dyn Fn(&mut Fields<'_>)) {
        fields(&mut Fields::new(self.out, Style::Plain));
    }

    pub(crate) fn paint(&mut self, paint: Paint, args: fmt::Arguments<'_>) -> &mut Self {
        if !self.colour {
            return self.push(args);
        }
        let code = match paint {
            Paint::Good => 32,
            Paint::Waiting => 33,
            Paint::Bad => 31,
            Paint::Quiet => 2,
        };
        push_fmt(self.out, format_args!("\x1b[{code}m"));
        self.push(args);
        push_fmt(self.out, format_args!("\x1b[0m"));
        self
    }
}

/// The longest event name is `policy.testing-would-fail`; most are much shorter.
const EVENT_WIDTH: usize = 18;
const MAX_TEXT: usize = 400;
