//! Attempts at a message.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One attempt in [`QueueDetail`](super::QueueDetail).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// When it ended.
    pub at: String,
    /// How often it was repeated with the same result, at least 1.
    pub times: u32,
    /// Recipients it was for; empty if an earlier version did not write that down.
    pub recipients: Vec<String>,
    /// The MX host.
    pub mx: Option<String>,
    /// Its address, with the port if that is not 25.
    pub ip: Option<String>,
    /// Every host that was tried, where it was more than one, with its address and what it did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<String>,
    /// Protocol version, cipher and how the peer was authenticated, in one phrase.
    pub tls: Option<String>,
    /// The demands on the delivery and whether they were met, in one phrase.
    pub policy: Option<String>,
    /// Key of the reason; `null` if it was delivered.
    pub reason: Option<String>,
    /// Enhanced status.
    pub dsn: Option<String>,
    /// The peer's reply.
    pub reply: Option<String>,
    /// One sentence in plain words.
    pub detail: Option<String>,
    /// The last dialogue with this destination that ended in this reason, if the daemon still
    /// remembers one: it may be that of another message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<TranscriptView>,
}

/// Commands and replies of one session, without content and secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TranscriptView {
    /// When it ended.
    pub at: String,
    /// The message that was delivered in it.
    #[serde(default)]
    pub queue_id: String,
    /// The host and its address.
    pub peer: String,
    /// `> ` is what we said, `< ` what the host said, `* ` what happened beside. At most 4 KiB.
    pub text: String,
}
