//! Every value of the configuration is read by whoever it is for: a key that is checked, documented and
//! then forgotten promises what nobody does.
//!
//! Judged by the names of fields: one that shares its name with another that is read is not found out.

use crate::repository::{is_test, read, sources, without_tests};

#[test]
fn every_setting_is_read_by_the_daemon() {
    let is_daemon = |path: &String| {
        let is_wiring = path.starts_with("crates/report-ports/src/");
        (path.starts_with("crates/sealpost/src/") || is_wiring)
            && !path.starts_with("crates/sealpost/src/commands/")
            && !is_test(path)
    };
    let mut readers = String::new();
    for path in sources().iter().filter(|path| is_daemon(path)) {
        for line in without_tests(&read(path)).lines() {
            readers.push_str(line.split("//").next().unwrap_or_default().trim());
        }
    }
    let (mut fields, mut unread) = (0, Vec::new());
    for path in sources() {
        if !path.starts_with("crates/settings/src/") || is_test(&path) || OTHERS.contains(&&*path) {
            continue;
        }
        for field in public_fields(without_tests(&read(&path))) {
            fields += 1;
            if !reads(&readers, &field) && !OF_THEIR_OWN.iter().any(|(name, _)| *name == field) {
                unread.push(format!("{path}: {field}"));
            }
        }
    }
    assert!(fields > 100, "only {fields} fields were found");
    assert!(unread.is_empty(), "read by nobody: {unread:?}");
}

/// Fields of public structures, by the indentation that rustfmt gives them.
fn public_fields(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut fields = Vec::new();
    for line in text.lines() {
        if line.starts_with("pub struct ") {
            inside = line.ends_with('{');
        } else if line == "}" {
            inside = false;
        } else if let Some(rest) = line.strip_prefix("    pub ")
            && inside
            && let Some((name, _)) = rest.split_once(": ")
        {
            fields.push(name.to_owned());
        }
    }
    fields
}

fn reads(readers: &str, field: &str) -> bool {
    let named = format!(".{field}");
    readers.match_indices(&named).any(|(at, _)| {
        let after = readers.get(at + named.len()..).unwrap_or_default();
        !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '(')
    })
}

/// Not the configuration, but how it is read and what is wrong with it.
const OTHERS: [&str; 2] = [
    "crates/settings/src/load.rs",
    "crates/settings/src/problem.rs",
];

/// What `settings` itself does with these.
const OF_THEIR_OWN: [(&str, &str); 6] = [
    ("algorithm", "`Dkim::signer` compares it with the key"),
    ("expires", "`Dkim::signer` gives it to the signer"),
    ("signed_headers", "`Dkim::signer` gives it to the signer"),
    (
        "oversigned_headers",
        "`Dkim::signer` gives it to the signer",
    ),
    ("dangerous_open_relay", "consent, which the checks ask for"),
    ("dangerous_plain_http", "consent, which the checks ask for"),
];
