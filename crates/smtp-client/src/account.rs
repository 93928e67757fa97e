//! The account of a route: credentials that can be replaced while sessions run.

use std::sync::Arc;

use arc_swap::ArcSwap;
use smtp_proto::Credentials;

/// Credentials for one next hop. They are only ever sent over TLS to a host whose certificate was
/// verified. Cloning shares.
#[derive(Clone, Debug)]
pub struct Account {
    current: Arc<ArcSwap<Issue>>,
}

/// Credentials as they were at one time.
#[derive(Debug)]
pub(crate) struct Issue {
    pub(crate) credentials: Credentials,
    pub(crate) key: AccountKey,
}

/// As whom a connection is logged in: part of the pool's key, so that no message travels under
/// another identity than its route's, nor under credentials that were replaced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccountKey {
    /// The user name.
    pub username: Arc<str>,
    /// Counts the replacements.
    pub generation: u64,
}

impl Account {
    /// Starts with generation 1.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self {
            current: Arc::new(ArcSwap::from_pointee(Issue::new(credentials, 1))),
        }
    }

    /// Puts other credentials in force for connections from now on; the same ones change nothing.
    pub fn replace(&self, credentials: Credentials) {
        let before = self.current();
        if before.credentials != credentials {
            let next = Issue::new(credentials, before.key.generation + 1);
            self.current.store(Arc::new(next));
        }
    }

    pub(crate) fn current(&self) -> Arc<Issue> {
        self.current.load_full()
    }
}

impl Issue {
    fn new(credentials: Credentials, generation: u64) -> Self {
        let username = Arc::from(credentials.username());
        Self {
            credentials,
            key: AccountKey {
                username,
                generation,
            },
        }
    }
}
