//! The whole relay, judged from outside: what DNS and policy hosts are asked, what mail exchangers
//! hear, which events are written, what the commands print.
//!
//! Each test runs the real binary in a network of its own and is named after the rows of the
//! requirements that it shows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests: a panic is the failure report"
)]

mod advice;
mod api;
mod api_document;
mod api_hostile;
mod check;
mod clock;
mod content;
mod conversation;
mod counter;
mod dane;
mod dane_demands;
mod dnssec;
mod durability;
mod enforce;
mod fairness;
mod fault;
mod grid;
mod hosts;
mod https;
mod listener;
mod load;
mod login;
mod metrics;
mod net;
mod notice_limits;
mod notifications;
mod observing;
mod operator;
mod ordered;
mod parked;
mod paused;
mod policy_change;
mod policy_crash;
mod policy_rows;
mod policy_store;
mod policy_told;
mod pressure;
mod reasons;
mod recipients;
mod refused;
mod relaying;
mod reload;
mod report_commands;
mod reports;
mod requiretls;
mod routes;
mod sendmail;
mod service;
mod sinks;
mod smuggling;
mod startup;
mod submission;
mod telemetry;
mod testing;
mod tls_findings;
mod tls_required_no;
mod trust;
mod whose_move;
