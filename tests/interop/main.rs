//! Other people's software: that each server works alone, then the relay between them.
#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure report")]

mod bounce;
mod chain;
mod clients;
mod corpus;
mod dane;
mod dkim;
mod dnssec;
mod exporters;
mod identity;
mod knot;
mod listener;
mod login;
mod nginx;
mod postfix;
mod postfix_log;
mod prometheus;
mod recipient;
mod restart;
mod site;
mod submission;
mod watchers;
