//! The sample file and the reference page, printed from the table of keys; tests keep the files
//! `config/sealpost.toml` and `docs/configuration.md` equal to them.

use std::fmt::Write as _;

use super::keys::{self, ENTRY_SECTIONS, Key};

/// `config/sealpost.toml`: every key, commented out, with its default.
#[must_use]
pub fn sample() -> String {
    let mut text = String::from(SAMPLE_HEAD);
    for (section, keys) in sections() {
        let _ = match is_entry(section) {
            // Commented out too: an entry without its keys would not load.
            true => write!(text, "\n#[[{section}]]\n"),
            false => write!(text, "\n[{section}]\n"),
        };
        for key in keys {
            text.push('\n');
            for line in wrapped(key.doc, 94) {
                let _ = writeln!(text, "# {line}");
            }
            let (_, name) = key.split();
            let value = key.default.or(key.example).unwrap_or_default();
            let _ = writeln!(text, "#{name} = {value}");
        }
    }
    text
}

/// `docs/configuration.md`.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(REFERENCE_HEAD);
    for (section, keys) in sections() {
        let _ = match is_entry(section) {
            true => write!(text, "\n## `[[{section}]]`\n"),
            false => write!(text, "\n## `[{section}]`\n"),
        };
        for key in keys {
            let (_, name) = key.split();
            let _ = writeln!(text, "\n### `{name}`\n");
            for line in wrapped(key.doc, 100) {
                text.push_str(&line);
                text.push('\n');
            }
            let _ = writeln!(text, "\n- Value: {}", key.kind.describe());
            if let Some(default) = key.default {
                let _ = writeln!(text, "- Default: `{default}`");
            } else {
                let _ = writeln!(text, "- Default: unset");
            }
            if let Some(example) = key.example {
                let _ = writeln!(text, "- Example: `{name} = {example}`");
            }
            if !key.is_of_entry() {
                let variable = key.name.replace('.', "__").replace('-', "_");
                let _ = writeln!(text, "- Variable: `SEALPOST__{}`", variable.to_uppercase());
            }
        }
    }
    text
}

/// Keys by section, in the table's order.
fn sections() -> Vec<(&'static str, Vec<&'static Key>)> {
    let mut sections: Vec<(&'static str, Vec<&'static Key>)> = Vec::new();
    for key in keys::all() {
        let (section, _) = key.split();
        match sections.iter_mut().find(|(name, _)| *name == section) {
            Some((_, keys)) => keys.push(key),
            None => sections.push((section, vec![key])),
        }
    }
    sections
}

fn is_entry(section: &str) -> bool {
    ENTRY_SECTIONS.contains(&section)
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

const SAMPLE_HEAD: &str = "\
# Sealpost: every key with its default (or an example, where there is no default).
# Printed from the program's own table of keys; docs/configuration.md says the same at length.
#
# Later wins: defaults, this file, environment variables (SEALPOST__SERVER__DATA_DIR sets
# server.data-dir; lists are separated by commas). Time spans are written \"90s\", \"5m\", \"4h\",
# \"5d\", sizes \"64KiB\", \"50MiB\". A key that weakens protection has `dangerous` in its name.
# `sealpost check-config` finds every mistake at once.
";

const REFERENCE_HEAD: &str = "\
# Configuration

This page is printed from the program's own table of keys, as is `config/sealpost.toml`.

Sealpost reads `/etc/sealpost/sealpost.toml`, else `config/sealpost.toml` below the working
directory, or the file given with `--config`. Layers, later wins: built-in defaults, the file,
environment variables. A variable is named after the key: `SEALPOST__SERVER__DATA_DIR` sets
`server.data-dir`; the items of a list are separated by commas; entries of `[[…]]` sections come
only from the file.

Unknown keys, wrong types and contradictions keep the server from starting. All problems are listed
at once, each with its file and line or its variable: `sealpost check-config` prints them and exits
with status 78. A key that weakens TLS or durability has `dangerous` in its name, and its use is
logged at each start. Files with keys or passwords must not be open to everybody.
";
