//! What does a domain demand? Finds, fetches, stores and refreshes MTA-STS policies
//! (RFC 8461 sections 3.3 and 5.1).
//!
//! [`PolicyCache::policy_for`] answers for each delivery; its [`Outcome`] says what is in force. The
//! rules are in pure modules with a table each: `decide` (which policy applies), `contact` (what if
//! DNS does not answer), `schedule` (refresh); when a policy host may be asked again is in
//! `policy-fetch`.

mod book;
mod cache;
mod contact;
mod decide;
mod discovery;
mod disk;
mod event;
mod flight;
mod index;
mod jitter;
mod lookup;
mod mend;
mod mirror;
mod orders;
mod refresh;
mod replay;
mod row;
mod schedule;
mod stats;
mod store;
mod systemic;
mod unanswered;

pub use cache::{CacheError, Config, FreshLook, Opened, PolicyCache, Ports};
pub use clocks::{Clock, ClockHeld, ClockNews, JudgedClock, SystemClock};
pub use discovery::{
    Applied, Discovery, Exemption, Fallback, LocalRules, NoPolicy, Order, Origin, Outcome, Pin,
    RecordTrouble, StoredPolicy, Waiting,
};
pub use event::{EventKind, EventSink, PolicyEvent, Severity, StorePart, look_at_clock};
pub use jitter::Jitter;
pub use orders::{PolicyView, TestingFailure, WouldFail};
pub use policy_fetch::{
    CONNECTIONS, FetchError, FetchFailure, HttpsFetcher, HttpsFetcherError, PkixError,
    PolicyFetcher, ResultType, Stage, TlsSource, Untrusted,
};
pub use stats::{Lookups, Stats};

#[cfg(test)]
mod tests;
