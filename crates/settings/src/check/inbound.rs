//! What contradicts itself about listeners and their clients.

use std::collections::BTreeMap;

use super::Findings;
use super::world::too_wide;
use crate::settings::{ListenerTls, Settings};

impl Findings<'_> {
    /// Whoever may name another client may relay as it.
    pub(super) fn impostors(&mut self, settings: &Settings) {
        let access = &settings.access;
        for (key, networks) in [
            ("access.xclient-hosts", &access.xclient_hosts),
            ("access.proxy-hosts", &access.proxy_hosts),
        ] {
            for wide in too_wide(networks) {
                self.error(
                    key,
                    format!("{wide}: anybody there may pretend to be anybody else"),
                    "name the addresses of your own proxies",
                );
            }
        }
        self.storytellers(settings);
    }

    /// Nobody gets in by XFORWARD, so the daemon starts.
    fn storytellers(&mut self, settings: &Settings) {
        for wide in too_wide(&settings.access.xforward_hosts) {
            self.warning(
                "access.xforward-hosts",
                format!("{wide}: anybody there may put other clients' names into the log"),
                "name the addresses of your own servers",
            );
        }
    }

    /// Row E4-01: whoever forgets it finds it here.
    pub(super) fn closed(&mut self, settings: &Settings, paths: &[String]) {
        for (listener, path) in settings.listeners.iter().zip(paths) {
            if let Some(text) = &listener.closed {
                if !text.chars().all(|c| matches!(c, ' '..='~')) {
                    self.error(
                        &format!("{path}.closed"),
                        "has characters that no SMTP reply may have (RFC 5321 section 4.2)".into(),
                        "write it in printable ASCII, on one line",
                    );
                }
                self.warning(
                    &format!("{path}.closed"),
                    "is set: this listener turns every client away".into(),
                    "remove it and reload when the maintenance is over",
                );
            }
        }
    }

    /// A client that asks for one name gets one certificate.
    pub(super) fn repeated_server_names(&mut self, settings: &Settings, paths: &[String]) {
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for (certificate, path) in settings.certificates.iter().zip(paths) {
            for name in &certificate.server_names {
                let first = seen.entry(name.to_ascii_lowercase()).or_insert(path);
                if *first != path {
                    let message =
                        format!("{name} is already one of {first}, which is the one used");
                    let key = format!("{path}.server-names");
                    self.error(&key, message, "name each server in one [[certificate]]");
                }
            }
        }
    }

    /// RFC 6376 section 3.6.2.2: one selector of a domain has one record, which is of one key.
    pub(super) fn repeated_signers(&mut self, settings: &Settings, paths: &[String]) {
        let entries = settings.dkim.iter().zip(paths);
        for (n, (dkim, path)) in entries.clone().enumerate() {
            let same = entries.clone().take(n).find(|(other, _)| {
                other.domain == dkim.domain
                    && other.selector.eq_ignore_ascii_case(&dkim.selector)
                    && other.private_key != dkim.private_key
            });
            if let Some((_, first)) = same {
                let message = format!(
                    "{} of {} has another key in {first}: there can be a record in DNS for one \
                     of them only",
                    dkim.selector, dkim.domain
                );
                let key = format!("{path}.selector");
                self.error(&key, message, "give each key a selector of its own");
            }
        }
    }

    pub(super) fn client_certificates(&mut self, settings: &Settings, paths: &[String]) {
        for (listener, path) in settings.listeners.iter().zip(paths) {
            if listener.tls == ListenerTls::Off && listener.client_ca.is_some() {
                self.error(
                    &format!("{path}.client-ca"),
                    "without TLS no client has a certificate".into(),
                    "set tls, certificate and private-key, or remove it",
                );
            }
            if listener.tls == ListenerTls::Off && listener.key_pair.is_some() {
                self.error(
                    &format!("{path}.certificate"),
                    "is not used: this listener has no TLS".into(),
                    "write tls = \"optional\" (or \"required\", \"implicit\"), or remove it and private-key",
                );
            }
        }
        let tls = settings.listeners.iter().any(|l| match l.tls {
            ListenerTls::Off => false,
            ListenerTls::Optional | ListenerTls::Required | ListenerTls::Implicit => true,
        });
        if !tls && !settings.certificates.is_empty() {
            self.warning(
                "certificate[0]",
                "is never used: no listener has TLS".into(),
                "set a listener's tls, certificate and private-key, or remove it",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::{problems, settings};

    /// The listeners compare such a network as the IPv4 network that it is.
    #[test]
    fn g3_03_g3_05_everybody_in_mapped_form_is_everybody() {
        for key in ["relay-networks", "xclient-hosts", "proxy-hosts"] {
            for list in ["\"::ffff:0:0/96\"", "\"::ffff:0:0/97\", \"128.0.0.0/1\""] {
                let found = problems(&format!("access.{key} = [{list}]"));
                let everybody = |line: &String| line.contains("0.0.0.0/0 is everybody");
                assert!(found.iter().any(everybody), "{key} = {list}: {found:?}");
            }
        }
        let some = settings("access.relay-networks = [\"::ffff:10.0.0.0/104\", \"::/127\"]");
        let networks = some.access.relay_networks.iter().map(ToString::to_string);
        assert_eq!(networks.collect::<Vec<_>>(), ["10.0.0.0/8", "::/127"]);
    }

    /// Or its clients get no STARTTLS, and nobody says why.
    #[test]
    fn a_certificate_without_tls_is_refused() {
        let listener = |tls: &str| {
            problems(&format!(
                "[[listener]]\nname = \"x\"\naddress = [\"127.0.0.1:25\"]\n\
                 certificate = \"/none/c\"\nprivate-key = \"/none/k\"\n{tls}"
            ))
        };
        let told = |line: &String| line.contains("listener[0].certificate: is not used");
        for off in ["", "tls = \"off\""] {
            assert!(listener(off).iter().any(told), "{:?}", listener(off));
        }
        let found = listener("tls = \"optional\"");
        assert!(!found.iter().any(told), "{found:?}");
    }

    #[test]
    fn xforward_of_everybody_is_warned_of() {
        let found = problems("access.xforward-hosts = [\"0.0.0.0/0\"]");
        let told = |line: &String| line.contains("access.xforward-hosts: 0.0.0.0/0 is everybody");
        assert!(found.iter().any(told), "{found:?}");
        let found = problems("access.xforward-hosts = [\"10.0.0.0/8\", \"127.0.0.1\"]");
        let about = |line: &String| line.contains("xforward-hosts");
        assert!(!found.iter().any(about), "{found:?}");
    }

    #[test]
    fn h6_13_a_hold_at_every_start_is_warned_of() {
        let told = |line: &String| line.contains("queue.hold-at-start: is true: at each start");
        assert!(problems("queue.hold-at-start = true").iter().any(told));
        assert!(!problems("queue.hold-at-start = false").iter().any(told));
    }

    #[test]
    fn two_for_one_name_are_refused() {
        let dkim = |selector: &str, file: &str| {
            format!(
                "[[dkim]]\ndomain = \"d.test\"\nselector = \"{selector}\"\n\
                 private-key = \"/none/{file}\"\n"
            )
        };
        let certificate = |name: &str| {
            format!(
                "[[certificate]]\nserver-names = [\"{name}\"]\ncertificate = \"/none/c\"\n\
                 private-key = \"/none/k\"\n"
            )
        };
        for (text, want) in [
            (dkim("s1", "a") + &dkim("S1", "b"), Some("has another key")),
            (dkim("s1", "a") + &dkim("s1", "a"), None),
            (dkim("s1", "a") + &dkim("s2", "b"), None),
            (
                certificate("a.test") + &certificate("A.test"),
                Some("is already one of certificate[0]"),
            ),
            (certificate("a.test") + &certificate("b.test"), None),
        ] {
            let found = problems(&text).join("\n");
            match want {
                Some(want) => assert!(found.contains(want), "{text}: {found}"),
                None => assert!(
                    !found.contains("another key") && !found.contains("already one"),
                    "{text}: {found}"
                ),
            }
        }
    }

    #[test]
    fn e4_01_a_closed_listener_is_warned_of() {
        let found = problems(
            "[[listener]]\nname = \"x\"\naddress = [\"127.0.0.1:25\"]\nclosed = \"until noon\"",
        );
        let wrong = problems(
            "[[listener]]\nname = \"x\"\naddress = [\"127.0.0.1:25\"]\nclosed = \"für alle\"",
        );
        assert!(
            wrong.iter().any(|line| line.contains("printable ASCII")),
            "{wrong:?}"
        );
        let told = |line: &String| line.contains("listener[0].closed: is set: this listener turns");
        assert!(found.iter().any(told), "{found:?}");
    }

    #[test]
    fn a_value_that_was_refused_is_not_judged_as_well() {
        let found = problems("[[listener]]\nname = \"x\"\naddress = [\"127.0.0.1\"]");
        assert!(found.iter().any(|p| p.contains("127.0.0.1")), "{found:?}");
        assert!(
            !found.iter().any(|p| p.contains("address: is empty")),
            "{found:?}"
        );
    }
}
