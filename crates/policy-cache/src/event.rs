//! What the cache tells the log.

use std::net::IpAddr;
use std::time::Duration;

use mail_types::{Domain, Timestamp};
use mta_sts::{Mode, NoRecord, PolicyId, Warning};

use crate::discovery::Fallback;
use clocks::{ClockNews, JudgedClock};
use policy_fetch::FetchError;

/// Where events go. Called from the tasks of the cache: it must not block.
pub trait EventSink: Send + Sync {
    /// One event, complete in itself.
    fn policy_event(&self, event: &PolicyEvent);
}

impl<F: Fn(&PolicyEvent) + Send + Sync> EventSink for F {
    fn policy_event(&self, event: &PolicyEvent) {
        self(event);
    }
}

/// One event with what an operator needs to judge it.
#[derive(Clone, Debug)]
pub struct PolicyEvent {
    /// When.
    pub at: Timestamp,
    /// The policy domain; none for what concerns the whole cache.
    pub domain: Option<Domain>,
    /// The id of the policy in hand, else of the published record.
    pub id: Option<PolicyId>,
    /// The mode of the policy in hand.
    pub mode: Option<Mode>,
    /// Until when the policy in hand is valid.
    pub expires_at: Option<Timestamp>,
    /// What happened.
    pub kind: EventKind,
}

impl PolicyEvent {
    /// Of what concerns the whole cache.
    pub(crate) const fn of_all(at: Timestamp, kind: EventKind) -> Self {
        Self {
            at,
            domain: None,
            id: None,
            mode: None,
            expires_at: None,
            kind,
        }
    }
}

/// Looks at the clock in the place of a cache, while there is none: nobody else has the guard go on, so that a jump
/// would be doubted for ever, untold.
pub fn look_at_clock(clock: &JudgedClock, events: &dyn EventSink) {
    let (wall, mono) = clock.unjudged();
    let (now, news) = clock.guard().now(wall, mono);
    if let Some(news) = news {
        let accepted_by = None;
        events.policy_event(&PolicyEvent::of_all(
            now,
            EventKind::Clock { news, accepted_by },
        ));
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum EventKind {
    /// A first contact was answered (row A7-07); `result` is `found`, `dns-failure`,
    /// `fetch-failure`, or `unverified` when DNS has not answered for so long that mail goes all the same
    /// (decision AMB-01). Not for each domain without a policy: only where a record was found or DNS
    /// failed. That no record was found stands in the event of each delivery that relies on it.
    FirstContact {
        /// What came of it.
        result: &'static str,
    },
    /// A policy was fetched that was not known.
    Fetched {
        /// What was lenient or odd in its text.
        warnings: Vec<Warning>,
    },
    /// The same policy was fetched again: its lifetime starts anew.
    Refreshed,
    /// A policy was replaced by a different one.
    Changed {
        /// The mode before.
        old_mode: Mode,
        /// The lifetime before.
        old_max_age: Duration,
        /// The old and the new text, of whose digests the log tells variants apart (row H2-27).
        texts: (Box<str>, Box<str>),
        /// What was lenient or odd in its text.
        warnings: Vec<Warning>,
    },
    /// The new policy demands less than the old one, validly (row A6-20): warn.
    Weakened {
        /// The mode before.
        old_mode: Mode,
        /// The lifetime before.
        old_max_age: Duration,
    },
    /// A pattern covers a whole top-level domain (row H2-24): warn.
    Broad {
        /// The pattern.
        pattern: String,
    },
    /// The domain publishes a record that cannot be used, and no policy is known: as if it had none. Told
    /// once, until it is wrong in another way.
    RecordUnusable {
        /// What is wrong with it.
        cause: NoRecord,
    },
    /// A fetch for a published id failed.
    FetchFailed {
        /// Why.
        cause: FetchError,
        /// Whether a policy is in force all the same.
        kept: bool,
        /// No new fetch for this id before that much time has passed.
        back_off: Duration,
    },
    /// The published id changes so often that fetches are held back (row H1-07).
    RateLimited,
    /// A refresh failed, in the background or for an operator; an error once `alert` is set.
    RefreshFailed {
        /// Why.
        cause: FetchError,
        /// Failures in a row in the background: what an operator asks for does not count.
        failures: u32,
        /// Three failures or less than half of the lifetime left; never of mode none, nor of
        /// a life of some minutes.
        alert: bool,
    },
    /// The cached policy stands in for a live one.
    FallbackToCache {
        /// Why.
        cause: Fallback,
    },
    /// A policy ran out; mail to the domain is no longer protected by it.
    Expired,
    /// Delivery under a policy in mode testing would have failed had it been enforced. Made by
    /// delivery through [`crate::PolicyCache::report_testing_failure`].
    TestingWouldFail {
        /// The MX host.
        mx: String,
        /// Its address.
        ip: Option<IpAddr>,
        /// The key of what failed.
        reason: String,
        /// The same in words, and what enforcing the policy would have come to.
        detail: String,
    },
    /// A policy-caused delivery failure forced a fetch (decision AMB-18).
    Refetch,
    /// An operator removed a policy.
    Forgotten {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// An operator pinned a minimum or removed the pin.
    Pinned {
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// False: removed.
        set: bool,
    },
    /// An operator exempted a domain or ended the exemption.
    Exempted {
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// The end; none: ended now.
        until: Option<Timestamp>,
    },
    /// A new policy could not be stored; it applies as long as this process lives.
    StoreFailed {
        /// The store's words.
        error: String,
    },
    /// A part of the store was damaged or missing and was made anew from the other (row H6-14).
    StoreRebuilt {
        /// The part that was made anew.
        part: StorePart,
        /// What was wrong with it.
        cause: String,
        /// Policies that are stored now.
        policies: usize,
    },
    /// Policies are gone, and an operator said to go on without them (row H6-14).
    StoreLost {
        /// What was wrong.
        cause: String,
        /// Policies that are left.
        policies: usize,
    },
    /// The index is not written any more; nothing is lost by it while the journal is whole.
    IndexFailed {
        /// Why.
        error: String,
    },
    /// The cache holds as many policies as it may: a new one applies once and is not kept.
    Full,
    /// No fetch has worked for some time: our own network may be cut off from port 443.
    AllFetchesFail {
        /// Domains whose fetches have failed since one worked.
        domains: usize,
    },
    /// What the wall clock did: while it is doubted, expiry is held.
    Clock {
        /// What.
        news: ClockNews,
        /// Who says that the new time is right; `None` if it has proved steady.
        accepted_by: Option<String>,
    },
}

/// A part of the store on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorePart {
    /// The truth.
    Journal,
    /// Its second copy.
    Index,
}

impl StorePart {
    /// The name in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Index => "index",
        }
    }
}

/// How loud an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Ordinary.
    Info,
    /// Worth a look.
    Warning,
    /// Somebody has to act.
    Error,
}

impl EventKind {
    /// The name in the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::FirstContact { .. } => "policy.first-contact",
            Self::Fetched { .. } => "policy.fetched",
            Self::Refreshed => "policy.refreshed",
            Self::Changed { .. } => "policy.changed",
            Self::Weakened { .. } => "policy.weakened",
            Self::Broad { .. } => "policy.broad",
            Self::RecordUnusable { .. } => "policy.record-unusable",
            Self::FetchFailed { .. } => "policy.fetch-failed",
            Self::RateLimited => "policy.fetch-ratelimited",
            Self::RefreshFailed { .. } => "policy.refresh-failed",
            Self::FallbackToCache { .. } => "policy.fallback-to-cache",
            Self::Expired => "policy.expired",
            Self::TestingWouldFail { .. } => "policy.testing-would-fail",
            Self::Refetch => "policy.refetch",
            Self::Forgotten { .. } => "policy.forgotten",
            Self::Pinned { .. } => "policy.pinned",
            Self::Exempted { .. } => "policy.exempted",
            Self::StoreFailed { .. } => "policy.store-failed",
            Self::StoreRebuilt { .. } => "policy.store-rebuilt",
            Self::StoreLost { .. } => "policy.store-lost",
            Self::IndexFailed { .. } => "policy.index-failed",
            Self::Full => "policy.cache-full",
            Self::AllFetchesFail { .. } => "policy.all-fetches-fail",
            Self::Clock { news, .. } => match news {
                ClockNews::Jumped { .. } => "clock.jumped",
                ClockNews::TakenBack => "clock.taken-back",
                ClockNews::Believed { .. } => "clock.believed",
            },
        }
    }

    /// How loud.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::FirstContact {
                result: "unverified",
            } => Severity::Warning,
            Self::FirstContact { .. } | Self::Fetched { .. } | Self::Refreshed | Self::Refetch => {
                Severity::Info
            }
            Self::RefreshFailed { alert: true, .. }
            | Self::StoreFailed { .. }
            | Self::StoreLost { .. }
            | Self::IndexFailed { .. }
            | Self::Full
            | Self::AllFetchesFail { .. }
            | Self::Clock {
                news: ClockNews::Jumped { .. },
                ..
            } => Severity::Error,
            Self::RefreshFailed { alert: false, .. }
            | Self::Changed { .. }
            | Self::Weakened { .. }
            | Self::Broad { .. }
            | Self::RecordUnusable { .. }
            | Self::FetchFailed { .. }
            | Self::RateLimited
            | Self::FallbackToCache { .. }
            | Self::Expired
            | Self::StoreRebuilt { .. }
            | Self::TestingWouldFail { .. }
            | Self::Forgotten { .. }
            | Self::Pinned { .. }
            | Self::Exempted { .. }
            | Self::Clock { .. } => Severity::Warning,
        }
    }
}
