//! The grammar of RFC 8461 section 3.2, line by line.

use std::time::Duration;

use crate::pattern::MxPattern;
use crate::policy::{MAX_MAX_AGE, MAX_POLICY_SIZE, Mode, Parsed, Policy, PolicyError, Warning};

pub(super) fn parse(body: &[u8]) -> Result<Parsed, PolicyError> {
    if body.len() > MAX_POLICY_SIZE {
        return Err(PolicyError::TooLarge);
    }
    let text = std::str::from_utf8(body).map_err(|_| PolicyError::NotUtf8)?;
    if text.starts_with('\u{feff}') {
        return Err(PolicyError::ByteOrderMark);
    }
    let mut fields = Fields::default();
    // A CR belongs to a line end only in front of an LF. The last line end is optional.
    for (n, line) in (1..).zip(text.split_inclusive('\n')) {
        let line = match line.strip_suffix('\n') {
            Some(ended) => ended.strip_suffix('\r').unwrap_or(ended),
            None => line,
        };
        fields.line(n, line)?;
    }
    fields.finish(text)
}

/// What has been read so far. Of version, mode and max_age the first counts (section 3.2: "all
/// entries except for the first SHALL be ignored"), and later ones are not looked at.
#[derive(Default)]
struct Fields {
    version: bool,
    mode: Option<Mode>,
    max_age: Option<Duration>,
    mx: Vec<MxPattern>,
    warnings: Vec<Warning>,
}

impl Fields {
    fn line(&mut self, n: usize, line: &str) -> Result<(), PolicyError> {
        if line.contains('\0') {
            return Err(PolicyError::Nul(n));
        }
        if line.contains('\r') {
            return Err(PolicyError::BareCr(n));
        }
        if line.bytes().all(is_wsp) {
            self.warnings.push(Warning::BlankLine(n));
            return Ok(());
        }
        let (name, value) = line.split_once(':').ok_or(PolicyError::Line(n))?;
        let value = value.trim_matches([' ', '\t']);
        match name {
            "version" if self.version => {}
            "version" => {
                if value != "STSv1" {
                    return Err(PolicyError::Version(n));
                }
                self.version = true;
            }
            "mode" if self.mode.is_some() => {}
            "mode" => self.mode = Some(mode(value).ok_or(PolicyError::Mode(n))?),
            "max_age" if self.max_age.is_some() => {}
            "max_age" => self.max_age(n, value)?,
            "mx" => self.mx(n, value)?,
            _ if is_ext_name(name) && is_ext_value(value) => {}
            _ => return Err(PolicyError::Line(n)),
        }
        Ok(())
    }

    fn max_age(&mut self, n: usize, value: &str) -> Result<(), PolicyError> {
        let valid = (1..=10).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
        let secs: u64 = match value.parse() {
            Ok(secs) if valid => secs,
            _ => return Err(PolicyError::MaxAge(n)),
        };
        if secs > MAX_MAX_AGE.as_secs() {
            self.warnings.push(Warning::MaxAgeClamped(secs));
        }
        self.max_age = Some(Duration::from_secs(secs).min(MAX_MAX_AGE));
        Ok(())
    }

    fn mx(&mut self, n: usize, value: &str) -> Result<(), PolicyError> {
        let name = match value.strip_suffix('.') {
            // `*.` alone is no name with a trailing dot.
            Some(name) if name != "*" => {
                self.warnings.push(Warning::TrailingDot(n));
                name
            }
            _ => value,
        };
        let pattern = MxPattern::parse(name).map_err(|e| PolicyError::Mx(n, e))?;
        if pattern.is_broad() {
            self.warnings.push(Warning::BroadPattern(pattern.clone()));
        } else if pattern.is_numeric() {
            self.warnings.push(Warning::AddressPattern(pattern.clone()));
        }
        self.mx.push(pattern);
        Ok(())
    }

    fn finish(self, text: &str) -> Result<Parsed, PolicyError> {
        if !self.version {
            return Err(PolicyError::Missing("version"));
        }
        let mode = self.mode.ok_or(PolicyError::Missing("mode"))?;
        let max_age = self.max_age.ok_or(PolicyError::Missing("max_age"))?;
        if self.mx.is_empty() && mode != Mode::None {
            return Err(PolicyError::Missing("mx"));
        }
        let policy = Policy {
            mode,
            max_age,
            mx: self.mx.into(),
            text: text.into(),
        };
        Ok(Parsed {
            policy,
            warnings: self.warnings,
        })
    }
}

fn mode(value: &str) -> Option<Mode> {
    match value {
        "enforce" => Some(Mode::Enforce),
        "testing" => Some(Mode::Testing),
        "none" => Some(Mode::None),
        _ => None,
    }
}

/// sts-policy-ext-name: 1 to 32 characters, the first a letter or digit.
fn is_ext_name(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// sts-policy-ext-value: not empty, no control characters; UTF-8 is allowed.
fn is_ext_value(value: &str) -> bool {
    !value.is_empty() && !value.bytes().any(|b| b.is_ascii_control())
}

const fn is_wsp(b: u8) -> bool {
    matches!(b, b' ' | b'\t')
}
