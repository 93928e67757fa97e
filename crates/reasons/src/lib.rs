//! Why an attempt did not deliver: keys with status, sentence, advice and explanation.
//!
//! Every text about a failure is made here, for whoever reads it: the log, `explain`, the page, letters to
//! administrators and notifications. What tells the causes of one reason apart is a [`Case`].

mod reason;
mod reply;

pub use reason::{Case, DemandedBy, Facts, Reader, Reason, ReportCondition, Side};
pub use reply::{AnswerTo, Said};
