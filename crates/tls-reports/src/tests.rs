//! Days, sending and the store, in a world of values.

mod crash;
mod sending;
mod world;
