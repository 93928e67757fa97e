//! What every log event has in common.

use mail_types::Timestamp;

use crate::Fields;
pub use crate::format::{PostfixLine, TextLine};

/// An event that one formatter writes in all three formats. Object-safe.
///
/// Only [`LogEvent::fields`] is needed beside name, level and time: the other two formats then
/// show the same fields as `key=value`.
pub trait LogEvent {
    /// For instance `policy.changed`: from a fixed set, never from input.
    fn event(&self) -> &'static str;

    /// How much it matters.
    fn level(&self) -> Level;

    /// When it happened.
    fn at(&self) -> Timestamp;

    /// Adds every field, in the order in which people want to read them.
    fn fields(&self, fields: &mut Fields<'_>);

    /// Writes the lines that Postfix would write; each is begun with [`PostfixLine::begin`].
    fn postfix(&self, line: &mut PostfixLine<'_>) {
        line.generic(self.event(), &|f| self.fields(f));
    }

    /// Writes what stands after time and event on a terminal.
    fn text(&self, line: &mut TextLine<'_>) {
        line.generic(&|f| self.fields(f));
    }
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Only when looking for something.
    Debug,
    /// The normal course.
    Info,
    /// Somebody should look at it some time.
    Warn,
    /// Somebody has to act.
    Error,
}

impl Level {
    /// Lower case, as in the `level` field.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// An event whose fields are all text: of the process itself, its clients, its configuration.
#[derive(Clone, Copy, Debug)]
pub struct PlainEvent<'a> {
    /// When.
    pub at: Timestamp,
    /// [`LogEvent::event`].
    pub event: &'static str,
    /// How much it matters.
    pub level: Level,
    /// In the order in which they are written.
    pub fields: &'a [(&'static str, &'a str)],
}

impl LogEvent for PlainEvent<'_> {
    fn event(&self) -> &'static str {
        self.event
    }

    fn level(&self) -> Level {
        self.level
    }

    fn at(&self) -> Timestamp {
        self.at
    }

    fn fields(&self, fields: &mut Fields<'_>) {
        for (key, value) in self.fields {
            fields.add(key, *value);
        }
    }
}
