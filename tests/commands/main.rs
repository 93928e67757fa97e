//! What the README says to type, typed.
#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure report")]

mod check_config;
mod demo;
mod man;
mod progress;
mod readme;
mod version;
