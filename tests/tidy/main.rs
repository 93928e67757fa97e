//! The house rules that no compiler holds: which crate may use which, how long files may be, what
//! stands at the top of the repository, that what is shipped loads, which requirement is met where.
#![allow(clippy::expect_used, reason = "tests: a panic is the failure report")]

mod caps;
mod configs;
mod conformance;
mod edges;
mod events;
mod files;
mod fuzz;
mod layout;
mod monitoring;
mod purity;
mod read;
mod repository;
mod sizes;
mod verifiers;
