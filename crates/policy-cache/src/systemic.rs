//! Whether fetches fail for whatever domain, so that it looks like our own network (row H2-30).

use std::collections::HashSet;

use mail_types::Domain;
use parking_lot::Mutex;

/// The domains whose fetches have failed since one worked.
#[derive(Debug, Default)]
pub(crate) struct Systemic(Mutex<HashSet<Domain>>);

impl Systemic {
    /// A fetch worked.
    pub(crate) fn works(&self) {
        self.0.lock().clear();
    }

    /// A fetch failed: how many domains that makes, if it is to be told now. One domain that fails again and
    /// again says nothing about others.
    pub(crate) fn fails(&self, domain: &Domain) -> Option<usize> {
        let mut domains = self.0.lock();
        let told = domains.len() >= SYSTEMIC;
        if told || !domains.insert(domain.clone()) {
            return None;
        }
        Some(domains.len()).filter(|n| *n >= SYSTEMIC)
    }
}

/// So many domains in a row look like our own network.
const SYSTEMIC: usize = 20;
