//! A report as it is sent.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use crate::Day;

/// A report as it is sent, and what is said of it beside. Content, media type and file name agree (row B4-06).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    content: Vec<u8>,
    domain: String,
    day: Day,
    submitter: String,
    report_id: String,
    gzip: bool,
}

impl Encoded {
    pub(crate) fn new(
        json: Vec<u8>,
        domain: &str,
        day: Day,
        submitter: &str,
        report_id: &str,
        compressed: bool,
    ) -> Self {
        Self {
            content: if compressed { gzip(&json) } else { json },
            domain: domain.to_owned(),
            day,
            submitter: submitter.to_owned(),
            report_id: report_id.to_owned(),
            gzip: compressed,
        }
    }

    /// The octets: what is POSTed (RFC 8460 section 5.4).
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// Without copying the octets.
    #[must_use]
    pub fn into_content(self) -> Vec<u8> {
        self.content
    }

    /// `application/tlsrpt+gzip` or `application/tlsrpt+json` (RFC 8460 section 6.4, 6.5).
    #[must_use]
    pub const fn media_type(&self) -> &'static str {
        if self.gzip {
            "application/tlsrpt+gzip"
        } else {
            "application/tlsrpt+json"
        }
    }

    /// Of the report. The node's part of the id makes it unique.
    #[must_use]
    pub fn file_name(&self) -> String {
        let left = self.report_id.split('@').next().unwrap_or_default();
        let unique = left.rsplit('.').next();
        file_name(&self.submitter, &self.domain, self.day, unique, self.gzip)
    }

    /// The domain that it is about.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The day that it is about.
    #[must_use]
    pub const fn day(&self) -> Day {
        self.day
    }

    /// The domain that it comes from.
    #[must_use]
    pub fn submitter(&self) -> &str {
        &self.submitter
    }

    /// As in the JSON.
    #[must_use]
    pub fn report_id(&self) -> &str {
        &self.report_id
    }
}

/// Compressed (RFC 1952): the same octets each time, since no time and no name is in them.
#[must_use]
pub fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // A Vec takes everything.
    let written = encoder.write_all(octets).and_then(|()| encoder.finish());
    written.unwrap_or_default()
}

/// The file name of a report (RFC 8460 section 5.1; row B4-05). The end is the last second of the day, as in
/// the report.
#[must_use]
pub fn file_name(
    submitter: &str,
    domain: &str,
    day: Day,
    unique: Option<&str>,
    gzip: bool,
) -> String {
    let (begin, end) = (day.begin().as_secs(), day.last_second().as_secs());
    let unique: String = unique
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let mark = if unique.is_empty() { "" } else { "!" };
    let extension = if gzip { "json.gz" } else { "json" };
    format!("{submitter}!{domain}!{begin}!{end}{mark}{unique}.{extension}")
}
