//! Other people's servers, as the tests of the whole relay use them: first that they work alone.
#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure report")]

mod chain;
mod knot;
mod nginx;
mod postfix;
