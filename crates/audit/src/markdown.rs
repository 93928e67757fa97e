//! The documentation of all findings, made from the table that the code uses.

use std::fmt::Write as _;

use crate::finding::{Finding, Group, Words};
use crate::table::Kind;

/// The text of `docs/check.md`.
#[must_use]
pub fn findings_markdown() -> String {
    let mut out = String::from(HEAD);
    for (group, title) in GROUPS {
        let _ = write!(out, "\n## {title}\n");
        for kind in Kind::ALL.iter().filter(|kind| kind.group() == group) {
            let words = Words {
                domain: "example.org",
                host: None,
                detail: "…",
            };
            let finding = Finding::new(*kind, words);
            let remedy = finding.remedy.map_or_else(String::new, |r| format!(" {r}"));
            let severity = finding.severity.as_str();
            let _ = write!(
                out,
                "\n- `{}` ({severity}): {}.{remedy}\n",
                kind.key(),
                finding.text
            );
        }
    }
    out
}

const GROUPS: [(Group, &str); 6] = [
    (Group::Record, "Record"),
    (Group::Policy, "Policy"),
    (Group::Mx, "MX"),
    (Group::Host, "Each mail host"),
    (Group::Reporting, "Reporting"),
    (Group::Dnssec, "DNSSEC"),
];

const HEAD: &str = "# sealpost check

<!-- Made from the table in crates/audit/src/table.rs: UPDATE=1 cargo test -p audit -->

`sealpost check DOMAIN` audits a recipient domain live. It needs no daemon, uses the same configuration, never sends `MAIL FROM`, and
ends within a minute. It looks at the MX records, the `_mta-sts` record, the policy, every address of every mail host with STARTTLS and
certificate, and the `_smtp._tls` record; then it says what would become of mail, by the very decisions that the relay takes.

The exit status is 0 if mail would be delivered and nothing is broken (no finding is an error), 1 otherwise, 64 for a slip on the command
line, 78 for a configuration that cannot be used. `--json` prints one object; the keys below stand in its `findings`.

Some things cannot be seen from outside: since when a policy has been in testing mode, and whether its id was changed with its last
change. The audit speaks for a relay that knows nothing of the domain: what this one has stored of it (`sealpost policy show`: an older
policy, a pin, an exemption) may decide otherwise. A host's TLS is an error where a policy applies, and a warning where none does.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_check_md_is_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/check.md");
        let text = findings_markdown();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let there = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            there == text,
            "docs/check.md is not what the table says: run UPDATE=1 cargo test -p audit"
        );
    }
}
