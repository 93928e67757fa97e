//! The system's fully qualified name, as `hostname -f` gives it, without asking the network.

use mail_types::Domain;

/// The name of this system by its node name and the text of `/etc/hosts`: the node name itself if
/// it is fully qualified, else the canonical name of the line of `/etc/hosts` that has it.
pub(super) fn system_name(node: &str, hosts: &str) -> Option<Domain> {
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
            .find_map(fully_qualified)
    })
}

fn fully_qualified(name: &str) -> Option<Domain> {
    let domain = Domain::parse(name).ok()?;
    // Distributions put this where no name was given; nobody outside can resolve it.
    let is_placeholder = domain.as_str() == "localhost.localdomain";
    (domain.is_fully_qualified() && !is_placeholder).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e2_03_the_name_is_fully_qualified_or_missing() {
        let hosts = "127.0.0.1 localhost.localdomain localhost\n\
                     127.0.1.1 mail.example.org mail # us\n\
                     192.0.2.1 other.example.org other\n";
        for (node, hosts, expected) in [
            ("mx.example.net", "", Some("mx.example.net")), // already qualified
            ("mail", hosts, Some("mail.example.org")),      // the alias of a line
            ("localhost", hosts, None),                     // a placeholder is no name
            ("stranger", hosts, None),                      // in no line
            ("", hosts, None),                              // no name at all
        ] {
            let found = system_name(node, hosts);
            assert_eq!(found.as_ref().map(Domain::as_str), expected, "{node}");
        }
    }
}
