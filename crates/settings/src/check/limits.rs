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

#[cfg(test)]
mod tests {
    use crate::tests::problems;

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
                    queue.lifetime = \"12h\"";
        let found = problems(toml);
        let about = |line: &String| line.contains("is more than");
        assert!(!found.iter().any(about), "{found:?}");
    }
}
