//! Report mail (RFC 8460 section 5.3).

use data_encoding::BASE64_MIME;
use mail_types::{Mailbox, Timestamp};

use crate::{Encoded, Identity};

/// The whole message but for its DKIM signature, in lines of 7-bit text with CRLF. It may be delivered
/// whatever is wrong with the destination's TLS, which is what it tells of: `TLS-Required: No` (RFC 8689
/// section 3; row B4-16). The Message-ID may be given with or without its angle brackets.
#[must_use]
pub fn message(
    report: &Encoded,
    identity: &Identity,
    to: &Mailbox,
    date: Timestamp,
    message_id: &str,
) -> Vec<u8> {
    let (domain, submitter) = (report.domain(), report.submitter());
    let (day, id) = (report.day(), report.report_id());
    let from = header_address(&identity.contact_info);
    let to = header_address(to);
    let date = date.rfc5322();
    let message_id = message_id.trim_start_matches('<').trim_end_matches('>');
    let content = BASE64_MIME.encode(report.content());
    let content = content.trim_end();
    let (media_type, file_name) = (report.media_type(), report.file_name());
    let text = format!(
        "From: {from}\r\n\
         Date: {date}\r\n\
         To: {to}\r\n\
         Subject: Report Domain: {domain}\r\n \
         Submitter: {submitter}\r\n \
         Report-ID: <{id}>\r\n\
         Message-ID: <{message_id}>\r\n\
         TLS-Report-Domain: {domain}\r\n\
         TLS-Report-Submitter: {submitter}\r\n\
         TLS-Required: No\r\n\
         Auto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n\
         \tboundary=\"{BOUNDARY}\"\r\n\
         \r\n\
         This is a TLS report in MIME format.\r\n\
         \r\n\
         --{BOUNDARY}\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\
         Content-Transfer-Encoding: 7bit\r\n\
         \r\n\
         This is an aggregate TLS report (RFC 8460)\r\n\
         from {submitter}\r\n\
         about {domain}\r\n\
         of {day} (UTC).\r\n\
         \r\n\
         The part after this one is for programs to read. The record at\r\n\
         _smtp._tls.{domain}\r\n\
         asks for such reports.\r\n\
         \r\n\
         --{BOUNDARY}\r\n\
         Content-Type: {media_type}\r\n\
         Content-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment;\r\n\
         \tfilename=\"{file_name}\"\r\n\
         \r\n\
         {content}\r\n\
         --{BOUNDARY}--\r\n"
    );
    text.into_bytes()
}

/// `<local@domain>`, in ASCII.
fn header_address(mailbox: &Mailbox) -> String {
    match mailbox.to_ascii() {
        Some(ascii) => format!("<{ascii}>"),
        None => format!("<{mailbox}>"),
    }
}

/// Neither the text nor base64 has such a line: nothing to be random about, and the same report is the same
/// message when it is made again.
const BOUNDARY: &str = "=_tls-report";

#[cfg(test)]
mod tests;
