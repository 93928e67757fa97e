//! What contradicts itself about listeners and their clients.

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
    }

    /// Row E4-01: whoever forgets it finds it here.
    pub(super) fn closed(&mut self, settings: &Settings, paths: &[String]) {
        for (listener, path) in settings.listeners.iter().zip(paths) {
            if listener.closed.is_some() {
                self.warning(
                    &format!("{path}.closed"),
                    "is set: this listener turns every client away".into(),
                    "remove it and reload when the maintenance is over",
                );
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

    #[test]
    fn e4_01_a_closed_listener_is_warned_of() {
        let found = problems(
            "[[listener]]\nname = \"x\"\naddress = [\"127.0.0.1:25\"]\nclosed = \"until noon\"",
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
