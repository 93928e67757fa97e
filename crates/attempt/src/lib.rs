//! The record of a delivery attempt, and its formats.
//!
//! A [`Record`] says all there is to say of one attempt on one recipient. It borrows from the
//! facts of the attempt, so that a transaction with a hundred recipients makes a hundred records
//! without copying the certificate a hundred times. [`Formatter`] writes it, and every other
//! [`LogEvent`], as one line of JSON, as the lines Postfix would write, or as text for a terminal.
//!
//! Invariant: whatever peers, senders or certificates say, one attempt is one line, and no control
//! character reaches it. The neutralising is done by the formats, in one place each, never by the
//! maker of an event.

mod event;
mod fields;
mod format;
mod message;
mod record;
mod session;

pub use event::{Level, LogEvent, PlainEvent, PostfixLine, TextLine};
pub use fields::Fields;
pub use format::{Format, Formatter};
pub use message::{DsnKind, DsnSent, Received, Refused, RefusedBy, Removed, RemovedBecause};
pub use record::{
    Authenticated, Certificate, DaneUse, Delays, NoPolicy, Outcome, PolicyFrom, PolicyResult,
    PolicySource, PolicyUse, Record, TlsSession, Tried, Weakened,
};
pub use session::{Broken, BrokenBy, LoginRejected, PostfixEvent, SessionBegun, SessionEnded};
// With the record, since they are a part of it.
pub use reasons::{AnswerTo, Case, DemandedBy, Facts, Reader, Reason, ReportCondition, Said, Side};
