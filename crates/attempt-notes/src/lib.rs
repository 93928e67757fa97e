//! What is remembered of an attempt, as the disk has it and as readers want it: values of our tables by their keys
//! ([`Keyed`]), also such as only a newer version knows, and the demands on a delivery in one line ([`Demands`]).

mod demands;
mod keyed;

pub use demands::{Demand, Demands};
pub use keyed::{Key, Keyed};
