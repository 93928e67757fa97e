//! `sendmail`, as local programs call it: its flags, its exit codes, and a message on standard
//! input, handed over to a listener by SMTP.
//!
//! ```text
//! arguments ── Options ──┐
//! standard input ────────┴─ Message: line ends, header, recipients ── hand_over ──→ listener
//! ```
//!
//! All of the input is read, and everything about it is decided, before the first octet goes to
//! the listener: what cannot be read to its end is not sent at all. If the listener refuses one
//! recipient for good, nobody gets the message, and the caller is told. Nothing is kept here:
//! once the listener has said 250 the message is safe, and until then it is the caller's.

mod dialogue;
mod failure;
mod message;
mod options;
mod qualify;
mod text;

pub use dialogue::{Handover, hand_over, pass_through};
pub use failure::{Exit, Failure};
pub use message::{Message, Site};
pub use options::{Mode, Notify, Options};
