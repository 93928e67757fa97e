//! What may change while the listeners run: for connections that come from then on. Those that are
//! there keep what they began with. (Not everything is in these terms: the intake judges each message,
//! sender and recipient by its own rules of that moment, and so do logins, XCLIENT and the memory of
//! content.)

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use smtp_proto::BareNewline;
use smtp_proto::server::Settings;

use crate::limits::Counter;
use crate::{Access, ContentMemory, Limits, Timeouts};

/// What the sessions of one listener begin with.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) session: Arc<Settings>,
    pub(crate) bare_newline: BareNewline,
    pub(crate) timeouts: Timeouts,
}

/// Changes what new connections find ([`crate::Server::reins`]).
#[derive(Clone, Debug)]
pub struct Reins {
    pub(crate) listeners: Arc<HashMap<Box<str>, Arc<ArcSwap<Terms>>>>,
    pub(crate) access: Arc<ArcSwap<Access>>,
    pub(crate) counter: Arc<Counter>,
    pub(crate) memory: ContentMemory,
}

/// Everything that [`Reins::change`] puts in force.
#[derive(Debug)]
pub struct Change {
    /// What each listener's sessions begin with; those of names that nobody has are left out. Role
    /// and TLS stay as they were bound.
    pub listeners: Vec<(Settings, BareNewline, Timeouts)>,
    /// Who may do what.
    pub access: Access,
    /// How many connections there may be; those that are there already stay.
    pub limits: Limits,
}

impl Reins {
    /// Puts it in force for connections that come from now on. Logins and claims of XCLIENT are
    /// judged by the new rules on connections that are there, too.
    pub fn change(&self, change: Change) {
        for (mut session, bare_newline, timeouts) in change.listeners {
            let Some(terms) = self.listeners.get(&session.listener) else {
                continue;
            };
            let before = &terms.load().session;
            // A port's promise to those who know it: not to be changed under them.
            (session.role, session.tls) = (before.role, before.tls);
            terms.store(Arc::new(Terms {
                session: Arc::new(session),
                bare_newline,
                timeouts,
            }));
        }
        self.access.store(Arc::new(change.access));
        self.memory.limit_to(change.limits.content_memory);
        self.counter.limit_to(change.limits);
    }

    /// What clients who come now are told by this listener, if it is closed.
    #[must_use]
    pub fn closed(&self, listener: &str) -> Option<Box<str>> {
        let terms = self.listeners.get(listener)?.load();
        terms.session.closed.clone()
    }

    /// From now on, or no more: but for a few, who comes is sent away (421 4.3.2), and a message that
    /// needs more memory than it has is refused for now (452 4.3.2). What is stored or being stored
    /// is kept.
    pub fn memory_is_scarce(&self, scarce: bool) {
        self.counter.close(scarce);
        self.memory.close(scarce);
    }

    /// What [`Self::memory_is_scarce`] was told last.
    #[must_use]
    pub fn is_memory_scarce(&self) -> bool {
        self.counter.is_closed()
    }

    /// What messages on their way in take.
    #[must_use]
    pub const fn content_memory(&self) -> &ContentMemory {
        &self.memory
    }

    /// How many connections there may be now.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.counter.limits()
    }
}
