//! What is wrong with a configuration: where, what, and what to do.

use mail_types::harmless;
use std::fmt;

use serde::Serialize;

/// One thing that is wrong, or worth a warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Errors keep the server from starting.
    pub severity: Severity,
    /// Where it was set.
    #[serde(serialize_with = "as_text")]
    pub place: Place,
    /// The key as written in the file, for instance `listener[0].tls`; empty for the whole file.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// Whether the server may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It may not.
    Error,
    /// It may.
    Warning,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of a file, from 1.
    Line(String, usize),
    /// A file.
    File(String),
    /// An environment variable.
    Variable(String),
    /// Nobody set it.
    Default,
}

/// Everything that is wrong with a configuration; at least one error.
#[derive(Clone, Debug, thiserror::Error)]
pub struct ConfigError(pub Vec<Problem>);

impl Problem {
    pub(super) fn error(place: Place, key: &str, message: String, remedy: &str) -> Self {
        Self {
            severity: Severity::Error,
            place,
            key: key.to_owned(),
            message: printable(&message),
            remedy: remedy.to_owned(),
        }
    }

    pub(super) fn warning(place: Place, key: &str, message: String, remedy: &str) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(place, key, message, remedy)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place != Place::Default {
            write!(f, "{}: ", self.place)?;
        }
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, line) => write!(f, "{file}:{line}"),
            Self::File(file) => f.write_str(file),
            Self::Variable(name) => write!(f, "${name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One on each line. Errors come first: whoever reads only the beginning reads why it was refused.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |severity| self.0.iter().filter(move |p| p.severity == severity);
        let ordered = of(Severity::Error).chain(of(Severity::Warning));
        for (n, problem) in ordered.enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// Values come from files and the environment: no control character of theirs reaches a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(harmless).collect()
}

fn as_text<S: serde::Serializer>(place: &Place, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_refuses_stands_before_what_only_warns() {
        let line = |n| Place::Line("a.toml".into(), n);
        let error = ConfigError(vec![
            Problem::warning(line(1), "x", "is odd".into(), ""),
            Problem::error(line(2), "y", "is wrong".into(), ""),
            Problem::error(line(3), "z", "is wrong".into(), ""),
        ]);
        assert_eq!(
            error.to_string(),
            "a.toml:2: y: is wrong\na.toml:3: z: is wrong\na.toml:1: warning: x: is odd"
        );
    }
}
