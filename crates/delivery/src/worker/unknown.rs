//! Messages that a host may have taken without saying so (row E5-12).
//!
//! Their next attempt goes to the same host and address first: if it took the message, it has the
//! best chance of noticing the repetition, and another host would make a duplicate certain. Kept
//! in memory only: a restart in between loses the preference, never the message.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mail_types::{HostName, QueueId};
use parking_lot::Mutex;

/// Where the outcome of which message is unknown.
#[derive(Default)]
pub(crate) struct Unknown {
    hosts: Mutex<BTreeMap<QueueId, (HostName, IpAddr)>>,
}

impl Unknown {
    /// This host may have the message.
    pub(crate) fn note(&self, id: QueueId, host: &HostName, ip: IpAddr) {
        let mut hosts = self.hosts.lock();
        if hosts.len() >= MOST && !hosts.contains_key(&id) {
            hosts.pop_first();
        }
        hosts.insert(id, (host.clone(), ip));
    }

    /// The host to ask first.
    pub(crate) fn host(&self, id: QueueId) -> Option<(HostName, IpAddr)> {
        self.hosts.lock().get(&id).cloned()
    }

    /// An attempt has come to a known end.
    pub(crate) fn settle(&self, id: QueueId) {
        self.hosts.lock().remove(&id);
    }
}

/// A host's addresses; first of all the one that may have this very message already.
pub(crate) fn before_others(
    addresses: &[IpAddr],
    name: &HostName,
    before: Option<&(HostName, IpAddr)>,
) -> Vec<IpAddr> {
    let mut addresses = addresses.to_vec();
    if let Some((_, ip)) = before.filter(|(host, _)| host == name) {
        addresses.sort_by_key(|address| address != ip);
    }
    addresses
}

const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e5_12_the_host_is_remembered_until_the_outcome_is_known() {
        let unknown = Unknown::default();
        let id = QueueId::from_raw(7);
        let host = HostName::parse("mx1.d.test").unwrap();
        let ip: IpAddr = [192, 0, 2, 1].into();
        assert_eq!(unknown.host(id), None);
        unknown.note(id, &host, ip);
        assert_eq!(unknown.host(id), Some((host, ip)));
        unknown.settle(id);
        assert_eq!(unknown.host(id), None);
    }
}
