//! Limits of the process. Open files: enough of them for the connections that the configuration allows.
//!
//! The soft limit of a process is often 1,024, whatever the system would grant. Without enough of them
//! the listeners would not get the connections that they may have (they pause and go on), and
//! deliveries would fail for a while.

use attempt::Level;
use metrics::Usage;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use settings::Settings;

use super::observe::Observer;

/// Raises the limit as far as it is needed and allowed; says so if that is not enough.
pub(crate) fn provide(settings: &Settings, observer: &Observer) {
    let needed = needed(settings);
    let Some(allowed) = raise(needed) else {
        return;
    };
    if allowed >= needed {
        return;
    }
    let detail = format!(
        "fewer files may be open than the configuration needs: raise LimitNOFILE of the unit \
         (or ulimit -n), or lower access.connections and delivery.connections; until then at most {} \
         clients are served at once",
        share(settings.access.connections, allowed)
    );
    let (allowed, needed) = (allowed.to_string(), needed.to_string());
    let fields = [
        ("allowed", allowed.as_str()),
        ("needed", needed.as_str()),
        ("detail", &detail),
    ];
    observer.process("process.descriptors", Level::Warn, &fields);
}

/// How many clients may be connected: `access.connections`, or fewer where too few files may be open.
/// Clients that took every descriptor would leave none to the store and to deliveries.
pub(crate) fn connections(settings: &Settings) -> usize {
    let configured = settings.access.connections;
    let needed = needed(settings);
    match raise(needed) {
        Some(allowed) if allowed < needed => share(configured, allowed),
        _ => configured,
    }
}

fn share(configured: usize, allowed: u64) -> usize {
    let half = usize::try_from(allowed / 2).unwrap_or(usize::MAX);
    configured.min(half.max(1))
}

/// No image of our memory is written when the process dies: passwords and keys are in it (row G2-12).
/// Only the soft limit, so that root can lift it for a process: `prlimit --core=unlimited --pid`.
pub(crate) fn refuse_core_dumps() {
    let limit = Rlimit {
        current: Some(0),
        ..getrlimit(Resource::Core)
    };
    if let Err(error) = setrlimit(Resource::Core, limit) {
        tracing::warn!(%error, "core dumps cannot be switched off");
    }
}

/// What is open, and how much may be.
pub(crate) fn usage() -> Usage {
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    Usage {
        resource: metrics::Resource::Descriptors,
        in_use: open,
        limit: getrlimit(Resource::Nofile).current,
    }
}

/// Of each inbound connection the socket and a large message's file, of each outbound one the socket
/// and the message that it reads; of each fetch, and each in the background, the addresses that are tried
/// at once.
fn needed(settings: &Settings) -> u64 {
    let inbound = settings.access.connections as u64;
    let outbound = settings.delivery.connections as u64;
    inbound
        .saturating_add(outbound)
        .saturating_mul(2)
        .saturating_add(of_fetches(settings.policy_cache.fetches))
        .saturating_add(OTHERS)
}

fn of_fetches(for_mail: usize) -> u64 {
    let mut cache = policy_cache::Config::new("");
    cache.max_fetches = for_mail;
    let all: usize = cache.slots().iter().sum();
    all.saturating_mul(policy_cache::CONNECTIONS) as u64
}

/// The limit after it was raised; `None`: there is none.
fn raise(needed: u64) -> Option<u64> {
    let now = getrlimit(Resource::Nofile);
    let current = now.current?;
    let wanted = now.maximum.map_or(needed, |most| needed.min(most));
    if wanted <= current {
        return Some(current);
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: now.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => Some(wanted),
        Err(_) => Some(current),
    }
}

/// Segments, index, policies, log, resolver, control connections.
const OTHERS: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h9_01_clients_take_half_of_few_descriptors() {
        assert_eq!(share(1_000, 256), 128);
        assert_eq!(share(20, 256), 20);
        assert_eq!(share(20, 1), 1);
    }

    /// A domain that names many addresses must not lead to fewer descriptors than were counted on.
    #[test]
    fn h9_01_each_address_that_a_fetch_tries_at_once_is_counted() {
        assert_eq!(of_fetches(20), (20 + 5) * policy_cache::CONNECTIONS as u64);
    }
}
