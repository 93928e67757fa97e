//! Time: the clocks of the machine, and the guard of the one that can be wrong.

mod clock;
mod guard;
mod judged;

pub use clock::{Clock, SystemClock};
pub use guard::{ClockGuard, ClockHeld, ClockNews};
pub use judged::JudgedClock;
