//! The plan of a destination: what is known of it before connecting. Made by the planner.

use std::sync::Arc;
use std::time::Duration;

use attempt::{Case, Reason};
use mail_types::Domain;
use policy_cache::Discovery;
use routes::Route;

use crate::decide::hosts::Candidate;

/// Everything that is known of a destination before connecting.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which hosts, or why none.
    pub hosts: Hosts,
    /// The domain whose policy counts (RFC 8461 section 3.4), if there is one.
    pub policy_domain: Option<Domain>,
    /// What that domain has published.
    pub discovery: Option<Discovery>,
    /// The route, if one applies.
    pub route: Option<Arc<Route>>,
    /// Until when this may be used; monotonic.
    pub valid_until: Duration,
    /// What was known when this was made.
    pub made: Made,
    /// How many hosts the MX records name beyond those that are tried (row H1-17).
    pub beyond: usize,
    /// Nobody asked for TLSA records, since a rule set them aside (row C3-14): that hosts have none says nothing
    /// once it does so no more.
    pub tlsa_unasked: bool,
}

impl Plan {
    /// Whether it is still in force; `now` is monotonic.
    pub(crate) fn holds(&self, now: Duration, made: Made) -> bool {
        now < self.valid_until && self.made == made
    }

    /// Whether some host has TLSA records, or it is not known whether it has.
    pub(crate) fn publishes_dane(&self) -> bool {
        match &self.hosts {
            Hosts::Candidates(list) => list.iter().any(|c| c.standing.dane.is_present()),
            Hosts::Undeliverable { .. } | Hosts::Unknown { .. } => false,
        }
    }
}

/// What a plan was made from, so that a newer state is noticed by comparing two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// The policy cache's generation.
    pub policies: u64,
    /// Counts the times that an operator asked for everything to be looked up again.
    pub epoch: u64,
}

/// The hosts of a destination.
#[derive(Clone, Debug)]
pub enum Hosts {
    /// Try these, sorted by preference.
    Candidates(Vec<Candidate>),
    /// The answer is definite: mail cannot go there.
    Undeliverable {
        /// The reason key, and which of its cases it is.
        reason: (Reason, Case),
        /// One phrase: what exactly was answered.
        detail: String,
        /// DNSSEC vouches for it.
        secure: bool,
    },
    /// Not known now.
    Unknown {
        /// The reason key.
        reason: Reason,
        /// One phrase: what exactly was answered.
        detail: String,
    },
}
