//! Delivery status notifications (RFC 3461, 3464, 6522, 6533): from values to the bytes of a message.
//!
//! [`entitled`] says who may be told, [`build`] makes one notification for the recipients that may.
//! Everything that peers and senders wrote is untrusted: it reaches the message only through one
//! function per place (structured field, plain text, MIME part), each of which cannot emit a line
//! break, a control character or the boundary. [`NoticeLimits`] says how many may be sent.

mod address;
mod build;
mod encode;
mod entitled;
mod error;
mod fields;
mod limits;
mod original;
mod redact;
mod report;
mod summary;
mod text;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

pub use address::addr_xtext;
pub use build::{Built, build};
pub use entitled::entitled;
pub use error::DsnError;
pub use limits::{NoticeLimits, NoticeSettings, NoticeSummary, Rate, SENDERS, Withheld};
pub use redact::redact;
pub use report::{
    Action, Diagnostic, Host, Notification, Original, Policy, RecipientReport, Reporter,
    ReturnPath, Story,
};
pub use summary::summarise;
