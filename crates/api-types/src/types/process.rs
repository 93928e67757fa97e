//! The process: its parts in the status, reloads, traces.

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

/// One listener in [`StatusView`](super::StatusView).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListenerView {
    /// Its name.
    pub name: String,
    /// Address and port.
    pub address: String,
    /// Clients connected now.
    pub clients: u64,
    /// What clients are told while it is closed for maintenance; absent if it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
}

/// DNS look-ups of one type in [`StatusView`](super::StatusView).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LookupView {
    /// `mx`, `address`, `txt` or `tlsa`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Answered, if only that there is nothing.
    pub answered: u64,
    /// No answer, or one that DNSSEC refuses.
    pub failed: u64,
}

/// A certificate in [`StatusView`](super::StatusView).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateView {
    /// The listener, or `admin.http`.
    pub of: String,
    /// Its last valid moment; `null` if the file cannot be read.
    pub not_after: Option<String>,
}

/// What came of the last reload, in [`StatusView`](super::StatusView).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastReloadView {
    /// When it failed, and why; what was in force before stays. `null` if it did not, or there was none.
    pub failed: Option<String>,
    /// Keys that have been changed and count from the next restart.
    pub needs_restart: Vec<String>,
    /// Since when a reload has been reading files; `null` if none does. It ends soon unless a disk does not answer.
    #[serde(default)]
    pub under_way_since: Option<String>,
    /// How many reloads wait for that one.
    #[serde(default)]
    pub waiting: u64,
}

/// Events that the log could not be told, in [`StatusView`](super::StatusView).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLossView {
    /// When the first of them happened.
    pub since: String,
    /// How many so far.
    pub lost: u64,
    /// Why.
    pub cause: String,
}

/// What became of recipients lately, in [`StatusView`](super::StatusView).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecentView {
    /// Recipients delivered.
    pub delivered: u64,
    /// Attempts that ended in a deferral.
    pub deferred: u64,
    /// Recipients bounced.
    pub bounced: u64,
    /// In how many seconds.
    pub seconds: u64,
    /// Until when; what came since is not in it.
    pub until: String,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees everything, decides nothing.
    Read,
    /// May do everything.
    Admin,
}
