//! What the commands print: aligned tables, plain lines, JSON, and on a terminal that they go on.

mod output;
mod progress;

pub use output::{Mark, Output, Table, age, messages, or_dash, time};
pub use progress::Progress;
