//! Destinations that an operator has paused.

mod list;
mod paused;

pub use list::{DamagedPause, List};
pub use paused::{Pause, PauseError, Paused};
