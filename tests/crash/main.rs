//! The real relay, ended in every way that a machine can end it: what was answered 250 is there
//! afterwards, and what was finished does not come back.
//!
//! `SEED=` repeats a run, `CRASH_CYCLES=` makes it longer (CI runs 20 cycles; with more than some
//! fifty also set `TESTKIT_LIMIT=` seconds).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests: a panic is the failure report"
)]

mod chance;
mod descriptors;
mod full;
mod inject;
mod kill;
mod ledger;
mod load;
mod memory;
mod million;
mod mounts;
mod peers;
mod power;
mod refusals;
mod site;
mod stalled;
mod state;
mod sync_failure;
