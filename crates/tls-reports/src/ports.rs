//! What sending needs of the world.

use std::sync::Arc;

use clocks::Clock;
use mail_types::{BoxFuture, Mailbox, Resolver, Timestamp};
use tls_rpt::{Day, Endpoint};

/// Why something failed, in words.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The ways out.
#[derive(Clone)]
pub struct Ports {
    /// Where the records are looked up.
    pub resolver: Arc<dyn Resolver>,
    /// HTTPS.
    pub post: Arc<dyn Post>,
    /// Our own queue.
    pub mail: Arc<dyn Mail>,
    /// The log.
    pub events: Arc<dyn Events>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whether name servers are not believed now when they say that a name does not exist: they say so of nearly all.
    pub doubted: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Posts a report (RFC 8460 section 5.4).
pub trait Post: Send + Sync {
    /// Returns when the other side has taken it (2xx).
    fn post<'a>(
        &'a self,
        to: &'a Endpoint,
        media_type: &'static str,
        body: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), BoxError>>;
}

/// Takes a report as mail.
pub trait Mail: Send + Sync {
    /// Signs it and puts it into the queue. Returns when it is safe there.
    fn submit<'a>(
        &'a self,
        from: &'a Mailbox,
        to: &'a Mailbox,
        message: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), BoxError>>;
}

/// Takes what becomes of reports. It must not block.
pub trait Events: Send + Sync {
    /// One event, complete in itself.
    fn report_event(&self, event: &ReportEvent);
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportEvent {
    /// When.
    pub at: Timestamp,
    /// Of whom it tells, and to whom it goes.
    pub domain: String,
    /// Of which day it tells.
    pub day: Day,
    /// Its `report-id`.
    pub report_id: String,
    /// What happened.
    pub what: What,
}

/// What happened to a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// This address has taken it; of mail: our queue has.
    Sent {
        /// The address, as published.
        rua: String,
        /// Sessions that were as the policy demands.
        successes: u64,
        /// Those that were not.
        failures: u64,
    },
    /// It is tried again.
    Deferred {
        /// When.
        next: Timestamp,
        /// Why it failed.
        detail: String,
    },
    /// It is not sent.
    Dropped {
        /// Why.
        detail: String,
    },
    /// An address of the record is not used.
    RuaSkipped {
        /// The address, as published.
        rua: String,
        /// Why.
        detail: String,
    },
}
