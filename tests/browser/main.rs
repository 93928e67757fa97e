//! The web page in a real browser: Chromium, driven by real clicks and keys through ChromeDriver.
//!
//! `SEALPOST_SHOTS=folder` keeps a picture of every view, for people to look at.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests: a panic is the failure report"
)]

mod driver;
mod keyboard;
mod large;
mod login;
mod looks;
mod net;
mod paused;
mod told;
mod views;
mod words;
