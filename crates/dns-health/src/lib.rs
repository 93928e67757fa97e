//! How our look-ups fare: whether the name servers serve us, whether DNSSEC reaches us, and what look-ups end in.

mod conduct;
mod path;
mod presence;
mod silence;
mod stats;
mod witnesses;

pub use conduct::{Absence, Conduct};
pub use path::{Path, Seen, Spells, Way};
pub use presence::Presence;
pub use silence::Silence;
pub use stats::{BUCKETS, Counters, Kind, Outcome, Series, Stats};
pub use witnesses::Witnesses;
