//! The system's fully qualified name, as `hostname -f` gives it, without asking the network.

use mail_types::Domain;

/// The name of this system by its node name and the text of `/etc/hosts`: the node name itself if
/// it is fully qualified, else the canonical name of the line of `/etc/hosts` that has it.
pub(super) fn system_name(node: &str, hosts: &str) -> Option<Domain> {
    let is_real = |name: &Domain| !PLACEHOLDERS.contains(&top(name));
    first_name(node, hosts, is_real)
}

/// The same for who talks to nobody but the relay: there a placeholder is better than nothing.
pub(super) fn local_name(node: &str, hosts: &str) -> Option<Domain> {
    system_name(node, hosts).or_else(|| first_name(node, hosts, |_| true))
}

fn first_name(node: &str, hosts: &str, is_good: impl Fn(&Domain) -> bool) -> Option<Domain> {
    let fully_qualified = |name: &str| {
        let domain = Domain::parse(name).ok()?;
        (domain.is_fully_qualified() && is_good(&domain)).then_some(domain)
    };
    fully_qualified(node).or_else(|| {
        hosts
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default())
            .filter_map(|line| {
                let mut fields = line.split_whitespace();
                fields.next()?;
                let canonical = fields.next()?;
                let named = canonical == node || fields.any(|alias| alias == node);
                named.then_some(canonical)
            })
            .find_map(&fully_qualified)
    })
}

pub(super) fn top(name: &Domain) -> &str {
    name.as_str().rsplit('.').next().unwrap_or_default()
}

/// Distributions put such where no name was given; nobody outside can resolve what is below them.
pub(super) const PLACEHOLDERS: [&str; 3] = ["localhost", "localdomain", "invalid"];

pub(super) const OWN_NAME: &str =
    "set it to the name that your mail comes from, for instance \"relay.example.org\"";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{sources, text_file};

    #[test]
    fn e2_03_the_name_is_fully_qualified_or_missing() {
        let hosts = "127.0.0.1 localhost.localdomain localhost\n\
                     127.0.1.1 mail.example.org mail # us\n\
                     192.0.2.1 other.example.org other\n";
        for (node, hosts, expected) in [
            ("mx.example.net", "", Some("mx.example.net")), // already qualified
            ("mail", hosts, Some("mail.example.org")),      // the alias of a line
            ("localhost", hosts, None),                     // a placeholder is no name
            ("mail.localdomain", "", None),                 // nor is one below it
            ("stranger", hosts, None),                      // in no line
            ("", hosts, None),                              // no name at all
        ] {
            let found = system_name(node, hosts);
            assert_eq!(found.as_ref().map(Domain::as_str), expected, "{node}");
        }
    }

    #[test]
    fn who_talks_to_the_relay_alone_takes_a_placeholder() {
        let hosts = "127.0.0.1 localhost.localdomain localhost\n127.0.1.1 app.localdomain app\n";
        for (node, expected) in [
            ("app.localdomain", Some("app.localdomain")),
            ("app", Some("app.localdomain")),
            ("app.example.org", Some("app.example.org")),
            ("stranger", None),
        ] {
            let found = local_name(node, hosts);
            assert_eq!(found.as_ref().map(Domain::as_str), expected, "{node}");
        }
    }

    #[test]
    fn e2_03_a_name_that_nobody_outside_can_look_up_is_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        let loaded = |name: &str| {
            let text = format!("server.hostname = \"{name}\"");
            crate::load(&sources(&text_file(&dir, &text)))
        };
        assert!(loaded("192.0.2.1").is_err());
        let warned = |name| {
            let warnings = loaded(name).unwrap().warnings;
            let mut ours = warnings.iter().filter(|p| p.key == "server.hostname");
            ours.any(|p| p.message.contains("nobody outside can look up"))
        };
        for name in [
            "relay.local",
            "relay.localdomain",
            "mail.localhost",
            "relay.invalid",
        ] {
            assert!(warned(name), "{name}");
        }
        assert!(!warned("relay.example.org"));
    }
}
