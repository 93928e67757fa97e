//! Reports, as operators see them.

use std::path::PathBuf;

use mail_types::Timestamp;
use serde::{Deserialize, Serialize};
use tls_rpt::Day;

/// One report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportView {
    /// Of which day it tells.
    pub day: Day,
    /// Of whom it tells.
    pub domain: String,
    /// Where it stands.
    pub state: State,
    /// Sessions that were as the policy demands.
    pub successes: u64,
    /// Those that were not.
    pub failures: u64,
    /// Its `report-id`, once the day is closed.
    pub report_id: Option<String>,
    /// When it is tried next.
    pub next_attempt: Option<Timestamp>,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// The address that has taken it.
    pub to: Option<String>,
    /// The last error, or why it is not sent.
    pub detail: Option<String>,
    /// When it was sent or given up.
    pub at: Option<Timestamp>,
}

/// Where a report stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its day is not over.
    Collecting,
    /// It is to be sent.
    Pending,
    /// Somebody has taken it.
    Sent,
    /// It is not sent.
    Dropped,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Collecting, Self::Pending, Self::Sent, Self::Dropped];

    /// A short fixed word.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Collecting => "collecting",
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Dropped => "dropped",
        }
    }

    /// The one with this [`key`](Self::key).
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.key() == key)
    }

    /// Whether it changes no more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Sent | Self::Dropped)
    }
}

/// Which reports are meant; what is `None` matches all.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListFilter<'a> {
    /// Of this day.
    pub day: Option<Day>,
    /// Of this domain, in A-label form.
    pub domain: Option<&'a str>,
    /// In this state.
    pub state: Option<State>,
}

impl ListFilter<'_> {
    pub(crate) fn is_of(&self, day: Day) -> bool {
        self.day.is_none_or(|wanted| wanted == day)
    }

    pub(crate) fn names(&self, domain: &str) -> bool {
        self.domain
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(domain))
    }

    pub(crate) fn matches(&self, view: &ReportView) -> bool {
        self.is_of(view.day)
            && self.names(&view.domain)
            && self.state.is_none_or(|state| state == view.state)
    }
}

/// Something on disk that is damaged, and was moved aside, or that is of no day of ours. The rest goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, what it means, and what was done about it.
    pub detail: String,
}

/// The directory of the reports cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the TLS reports in {} cannot be read: {error}", .directory.display())]
pub struct OpenError {
    pub(crate) directory: PathBuf,
    pub(crate) error: std::io::Error,
}

/// Why nothing can be sent now.
#[derive(Debug, thiserror::Error)]
pub enum NotNow {
    /// Before all is started.
    #[error("the relay is still starting")]
    Starting,
    /// What must be on disk first is not.
    #[error("the counts and outcomes of TLS reports cannot be written: {0}")]
    Disk(#[from] std::io::Error),
}
