//! Memory of the control group that a process runs in, and when little of it is left.

mod pressure;

pub use pressure::{Pressure, Turn, Usage};
