//! The keys of the configuration: which there are, what they hold, what they mean, and the sample file
//! and the reference page that are printed from them.
//!
//! Nothing is read here: that is what the crate `settings` does, by this table.

mod keys;
mod sample;
mod units;

pub use keys::{ENTRY_SECTIONS, Key, Kind, all, find, quoted};
pub use sample::{reference, sample};
pub use units::{duration_text, parse_duration, parse_size, size_text};
