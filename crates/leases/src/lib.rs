//! Who has which part of a message in hand, and until when.

mod leases;
mod token;

pub use leases::{Lease, Leases};
pub use token::{LeaseToken, Stale};
