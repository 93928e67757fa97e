//! Limits that another one makes idle: nothing breaks, and what the operator meant does not hold.

use super::{Findings, Place};
use crate::settings::Settings;

impl Findings<'_> {
    pub(super) fn idle_limits(&mut self, settings: &Settings) {
        let (access, delivery) = (&settings.access, &settings.delivery);
        let (clients, hosts) = ("access.connections", "delivery.connections");
        let per_destination = delivery.connections_per_destination;
        let (inbound, outbound) = (access.connections, delivery.connections);
        for (inner, count, outer, all) in [
            (
                "access.connections-per-client",
                access.connections_per_client,
                clients,
                inbound,
            ),
            (
                "delivery.connections-per-destination",
                per_destination,
                hosts,
                outbound,
            ),
            (
                "delivery.connections-per-host",
                delivery.connections_per_host,
                hosts,
                outbound,
            ),
        ] {
            self.idle(count > all, inner, outer, "one of them may take all places");
        }
        let queue = &settings.queue;
        if let (Some(one), Some(all)) = (queue.notifications_per_sender, queue.notifications_in_all)
        {
            let outer = "queue.notifications-in-all";
            let idle = one.count > all.count && one.period <= all.period;
            self.idle(
                idle,
                "queue.notifications-per-sender",
                outer,
                "one sender may use up all",
            );
        }
        let once = queue
            .retry
            .first()
            .is_some_and(|first| *first >= queue.lifetime);
        let why = "mail is tried once only";
        self.idle(once, "queue.retry", "queue.lifetime", why);
        let patience = "delivery.patience";
        for (outer, lifetime, why) in [
            (
                "queue.lifetime",
                queue.lifetime,
                "mail that no host can take as it is waits for its whole lifetime",
            ),
            (
                "queue.bounce-lifetime",
                queue.bounce_lifetime,
                "a notification about REQUIRETLS mail is kept back until its last attempt",
            ),
        ] {
            self.idle(delivery.patience >= lifetime, patience, outer, why);
        }
    }

    /// Less than what RFC 5321 section 4.5.3.1 asks of a server will do for some clients.
    pub(super) fn small_limits(&mut self, settings: &Settings, paths: &[String]) {
        for (listener, path) in settings.listeners.iter().zip(paths) {
            if listener.max_recipients < LEAST_RECIPIENTS {
                self.warning(
                    &format!("{path}.max-recipients"),
                    format!(
                        "{} is less than the 100 that RFC 5321 section 4.5.3.1.8 asks for: clients get 452 for the others",
                        listener.max_recipients
                    ),
                    "write 100 or more, unless you know what its clients send",
                );
            }
            if listener.max_message_size < LEAST_SIZE {
                self.warning(
                    &format!("{path}.max-message-size"),
                    format!(
                        "{} octets are less than the 64KiB that RFC 5321 section 4.5.3.1.7 asks for: larger mail is refused",
                        listener.max_message_size
                    ),
                    "write \"64KiB\" or more, unless you know what its clients send",
                );
            }
        }
    }

    /// Told at the inner limit, or at the outer one if only that is written.
    fn idle(&mut self, idle: bool, inner: &str, outer: &str, consequence: &str) {
        let is_default = matches!(self.places.of(inner), Place::Default);
        let key = if is_default { outer } else { inner };
        if idle {
            let message = format!("{inner} is more than {outer} allows: {consequence}");
            self.warning(key, message, &format!("make {inner} less, or {outer} more"));
        }
    }
}

const LEAST_RECIPIENTS: usize = 100;
const LEAST_SIZE: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use crate::tests::problems;

    #[test]
    fn limits_below_those_of_the_rfc_are_taken_and_warned_of() {
        let listener = |keys: &str| {
            let toml =
                format!("[[listener]]\nname = \"printer\"\naddress = [\"127.0.0.1:2525\"]\n{keys}");
            problems(&toml)
        };
        let small = listener("max-recipients = 1\nmax-message-size = \"1KiB\"");
        for (key, asked) in [
            ("max-recipients", "the 100"),
            ("max-message-size", "the 64KiB"),
        ] {
            let line = small
                .iter()
                .find(|line| line.contains(&format!("listener[0].{key}: ")));
            let line = line.unwrap_or_else(|| panic!("{small:?}"));
            assert!(
                line.contains("warning") && line.contains("RFC 5321 section 4.5.3.1"),
                "{line}"
            );
            assert!(line.contains(asked), "{line}");
        }
        let enough = listener("max-recipients = 100\nmax-message-size = \"64KiB\"");
        assert!(
            !enough.iter().any(|line| line.contains("listener[0]")),
            "{enough:?}"
        );
        for keys in ["max-recipients = 0", "max-message-size = \"1000\""] {
            let none = listener(keys);
            assert!(
                none.iter().any(|line| line.contains("it takes")),
                "{none:?}"
            );
        }
    }

    #[test]
    fn g5_07_limits_without_effect_are_warned_of() {
        for (toml, key, inner) in [
            (
                "access.connections = 40",
                "access.connections",
                "access.connections-per-client",
            ),
            (
                "access.connections = 100\naccess.connections-per-client = 101",
                "access.connections-per-client",
                "access.connections-per-client",
            ),
            (
                "delivery.connections = 10\ndelivery.connections-per-host = 5",
                "delivery.connections",
                "delivery.connections-per-destination",
            ),
            (
                "delivery.connections-per-host = 501",
                "delivery.connections-per-host",
                "delivery.connections-per-host",
            ),
            (
                "queue.notifications-per-sender = \"300/1h\"\nqueue.notifications-in-all = \"100/2h\"",
                "queue.notifications-per-sender",
                "queue.notifications-per-sender",
            ),
            ("queue.lifetime = \"5m\"", "queue.lifetime", "queue.retry"),
            (
                "queue.lifetime = \"1d\"",
                "queue.lifetime",
                "delivery.patience",
            ),
            (
                "queue.bounce-lifetime = \"12h\"",
                "queue.bounce-lifetime",
                "delivery.patience",
            ),
            (
                "delivery.patience = \"2d\"",
                "delivery.patience",
                "delivery.patience",
            ),
        ] {
            let want = format!("{key}: {inner} is more than ");
            let found = problems(toml);
            assert!(
                found.iter().any(|line| line.contains(&want)),
                "{toml}: {found:?}"
            );
        }
    }

    #[test]
    fn g5_07_limits_that_bind_are_not() {
        let toml = "access.connections = 50\n\
                    delivery.connections = 20\n\
                    queue.notifications-per-sender = \"300/1h\"\n\
                    queue.notifications-in-all = \"100/30m\"\n\
                    queue.lifetime = \"12h\"\n\
                    queue.bounce-lifetime = \"6h\"\n\
                    delivery.patience = \"5h\"";
        let found = problems(toml);
        let about = |line: &String| line.contains("is more than");
        assert!(!found.iter().any(about), "{found:?}");
    }
}
