//! What becomes of reports, as lines of the event log.

use attempt::{Fields, Level, LogEvent};
use mail_types::Timestamp;
use metrics::ReportResult;
use tls_reports::{ReportEvent, What};

/// What became of a report.
pub struct ReportLine<'a>(pub &'a ReportEvent);

impl ReportLine<'_> {
    /// As what it is counted.
    #[must_use]
    pub const fn result(&self) -> Option<ReportResult> {
        match self.0.what {
            What::Sent { .. } => Some(ReportResult::Sent),
            What::Deferred { .. } => Some(ReportResult::Retried),
            What::Dropped { .. } => Some(ReportResult::Failed),
            What::RuaSkipped { .. } => None,
        }
    }
}

impl LogEvent for ReportLine<'_> {
    fn event(&self) -> &'static str {
        match self.0.what {
            What::Sent { .. } => "rpt.sent",
            What::Deferred { .. } => "rpt.deferred",
            What::Dropped { .. } => "rpt.dropped",
            What::RuaSkipped { .. } => "rpt.rua-skipped",
        }
    }

    fn level(&self) -> Level {
        match self.0.what {
            What::Dropped { .. } => Level::Warn,
            What::Sent { .. } | What::Deferred { .. } | What::RuaSkipped { .. } => Level::Info,
        }
    }

    fn at(&self) -> Timestamp {
        self.0.at
    }

    fn fields(&self, fields: &mut Fields<'_>) {
        fields
            .add("domain", self.0.domain.as_str())
            .display("day", &self.0.day)
            .add("report_id", self.0.report_id.as_str());
        match &self.0.what {
            What::Sent {
                rua,
                successes,
                failures,
            } => fields
                .text("rua", rua)
                .display("successes", successes)
                .display("failures", failures),
            What::Deferred { next, detail } => {
                fields.time("next_attempt", *next).text("detail", detail)
            }
            What::Dropped { detail } => fields.text("detail", detail),
            What::RuaSkipped { rua, detail } => fields.text("rua", rua).text("detail", detail),
        };
    }
}
