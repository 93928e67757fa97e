//! What a submission server may do to a message (RFC 6409 section 8), and the form in which a
//! message leaves when it is signed.
//!
//! A [`Composer`] stands between a session and the queue: it collects the header (which is
//! bounded), mends it by the [`Fixups`] of the listener, begins the signatures that the
//! [`SigningRules`] ask for, and lets the body pass through. On a relay listener there are no
//! fix-ups, and without a rule for the client's network there is no composer at all: what came
//! in goes on, byte for byte.
//!
//! Invariant: a field that a signature in the message covers is kept byte for byte and in its
//! place, and nothing is added that such a signature says is absent. The one exception is an
//! `Authentication-Results` field that claims to be ours: that is a forgery.

mod addresses;
mod collector;
mod composer;
mod fixups;
mod rejection;
mod signed;
mod signing;

pub use addresses::addresses;
pub use composer::{Composed, Composer, Origin};
pub use fixups::{Fixups, Mended};
pub use rejection::Rejection;
pub use signed::Covered;
pub use signing::{SignedBy, SigningRule, SigningRules};
