//! What is decided, as values of values: nothing in here looks anything up, waits, logs or keeps anything, and it knows
//! nothing of those who do (`tests/tidy/purity.rs` holds that).

pub(crate) mod case;
pub mod conclusion;
pub mod demand;
pub mod destination;
pub mod failure;
pub mod hosts;
pub(crate) mod literal;
pub(crate) mod orcpt;
pub mod plan;
pub(crate) mod policy;
pub(crate) mod replies;
pub mod standing;
pub(crate) mod verdict;
