//! Reloads and traces.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /v1/reload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReloadResult {
    /// Keys whose new value is in effect.
    pub applied: Vec<String>,
    /// Keys that changed but need a restart.
    pub needs_restart: Vec<String>,
    /// Every key whose value is another one in the file.
    #[serde(default)]
    pub changes: Vec<ConfigChange>,
}

/// A key with another value, in [`ReloadResult`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigChange {
    /// For instance `queue.retry` or `route[0].relay`.
    pub key: String,
    /// As TOML; `null` if it was not set.
    pub old: Option<String>,
    /// As TOML; `null` if it is no longer set.
    pub new: Option<String>,
    /// Whether it counts now; otherwise after a restart.
    pub in_effect: bool,
}

/// `POST /v1/traces`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceRequest {
    /// A recipient domain, a mail host or a queue id.
    pub subject: String,
    /// For how long, a day at most; `null` ends it.
    pub seconds: Option<u64>,
}

/// One trace in `GET /v1/traces`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TraceView {
    /// What is traced.
    pub subject: String,
    /// When it ends.
    pub until: String,
    /// Events that it may still write.
    pub events_left: u32,
}
