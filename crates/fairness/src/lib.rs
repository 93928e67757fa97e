//! Whose mail is next, how much of it is taken ahead, and which connections are for whom.

mod pace;
mod senders;
mod shares;
mod turns;

pub use pace::Pace;
pub use senders::{NOBODY, sender_number};
pub use shares::Shares;
pub use turns::{Tenths, in_turn, older_first, round_by_round};
