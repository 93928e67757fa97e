//! How long a client may take.

use std::time::Duration;

/// How long a client may take. RFC 5321 section 4.5.3.2.7 asks for five minutes at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the next command.
    pub command: Duration,
    /// For the next octets of content.
    pub data: Duration,
    /// For a whole message, besides what [`Timeouts::min_data_rate`] gives.
    pub data_grace: Duration,
    /// Octets of content per second that a client has to reach in the long run (row H5-05); 0: none.
    pub min_data_rate: u32,
    /// How long strangers wait for the greeting, so that those who talk before it are noticed (row
    /// E4-23).
    pub greeting: Duration,
    /// For a proxy's header.
    pub proxy: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For taking our replies.
    pub write: Duration,
    /// After the last reply, for closing from the other side.
    pub linger: Duration,
}

impl Timeouts {
    /// How long a message of which `octets` have come may have taken.
    pub(crate) fn whole_message(&self, octets: u64) -> Duration {
        match octets.checked_div(u64::from(self.min_data_rate)) {
            Some(earned) => self.data_grace.saturating_add(Duration::from_secs(earned)),
            None => Duration::MAX,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            command: Duration::from_secs(300),
            data: Duration::from_secs(300),
            data_grace: Duration::from_secs(600),
            min_data_rate: 256,
            greeting: Duration::ZERO,
            proxy: Duration::from_secs(10),
            handshake: Duration::from_secs(60),
            write: Duration::from_secs(300),
            linger: Duration::from_secs(5),
        }
    }
}
