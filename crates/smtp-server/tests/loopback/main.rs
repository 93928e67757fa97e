//! The server over loopback TCP, with a queue in memory.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

mod impostors;
mod limits;
mod mail;
mod shutdown;
mod support;
mod tls;
mod tls_names;
