//! Whether fetches fail for whatever domain, so that it looks like our own network (row H2-30).

use std::collections::HashMap;

use mail_types::Domain;
use parking_lot::Mutex;

/// What has failed since a fetch worked.
#[derive(Debug, Default)]
pub(crate) struct Systemic(Mutex<Failed>);

#[derive(Debug, Default)]
struct Failed {
    /// With how often; no more than can fail before it is told.
    domains: HashMap<Domain, usize>,
    is_told: bool,
}

impl Systemic {
    /// A fetch worked.
    pub(crate) fn works(&self) {
        *self.0.lock() = Failed::default();
    }

    /// A fetch failed: of how many domains that is, if it is to be told now. One or two domains that fail
    /// again and again say nothing about others; a relay may know few.
    pub(crate) fn fails(&self, domain: &Domain) -> Option<usize> {
        let mut failed = self.0.lock();
        if failed.is_told {
            return None;
        }
        *failed.domains.entry(domain.clone()).or_default() += 1;
        let fetches = failed.domains.values().map(|n| *n.min(&OF_EACH));
        failed.is_told = fetches.sum::<usize>() >= FETCHES;
        failed.is_told.then(|| failed.domains.len())
    }
}

/// So many in a row, of so many domains, look like our own network.
const FETCHES: usize = 20;
const DOMAINS: usize = 3;
/// So many of one domain count: a third of them.
const OF_EACH: usize = FETCHES.div_ceil(DOMAINS);

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    #[test]
    fn h2_30_a_relay_that_knows_few_domains_learns_of_its_own_network_too() {
        let systemic = Systemic::default();
        let told = |rounds: usize, domains: &[&str]| -> Vec<usize> {
            let of_each = || domains.iter().filter_map(|d| systemic.fails(&name(d)));
            (0..rounds).flat_map(|_| of_each()).collect()
        };
        assert_eq!(told(30, &["a.test", "b.test"]), [0_usize; 0]);
        // One that fails all the time does not make two others more.
        assert_eq!(told(2, &["c.test"]), [0_usize; 0]);
        systemic.works();
        let few = ["a.test", "b.test", "c.test", "d.test", "e.test", "f.test"];
        assert_eq!(told(20, &few), [6], "once");
        systemic.works();
        assert_eq!(told(3, &few), [0_usize; 0], "18 fetches");
        assert_eq!(told(1, &few), [6]);
    }
}
