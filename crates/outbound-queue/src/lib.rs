//! The durable outbound queue: what is still to be delivered, since when, and when next.
//!
//! [`QueueStore`] is the port: ingest is pushed ([`Incoming`]), work is leased by destination
//! ([`Leased`]), and what came of it is handed back ([`Finish`]). Behind it stand
//! [`EmbeddedStore`] (journal segments as the truth, sled as a lagging index) and [`MemoryStore`]
//! (nothing on disk: for the tests of the crates above).

mod body;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod core;
mod disk;
mod embedded;
mod error;
mod filter;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod history;
mod lease;
mod memory;
mod message;
mod moves;
mod outcome;
mod pieces;
#[cfg(any(test, feature = "conformance"))]
mod samples;
mod schedule;
mod select;
mod state;
mod stats;
mod store;

pub use attempt_notes::{Demand, Demands, Key, Keyed};
pub use body::{Body, HeldBody};
pub use embedded::{EmbeddedIncoming, EmbeddedOptions, EmbeddedStore, FreeSpaceProbe};
pub use error::{EditError, QueueError};
pub use filter::{Cancelled, Cursor, Edit, Edited, Filter, Page, Target, WantedSide};
pub use lease::{DueDestination, Leased, LeasedRecipient};
pub use leases::LeaseToken;
pub use mail_types::Addresses;
pub use memory::{MemoryIncoming, MemoryStore};
pub use message::{
    AttemptEntry, AttemptNote, HostNote, MessageState, MessageView, RecipientState, RecipientView,
};
pub use moves::{Blame, SuspendedSides, goes_by_suspension, side_as_told};
pub use outcome::{Done, Durable, Effort, Finish, Finished, NewMessage, Outcome};
pub use stats::{DestinationCount, Health, ReasonCount, Stats, Summary, SummaryRow};
pub use store::{Committed, Destination, Incoming, Now, Placement, QueueStore};
