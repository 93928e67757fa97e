//! The message that tells the postmaster what senders were not told (row F4-06).

use mail_types::{
    Arrival, BodyType, Envelope, Mailbox, MessageClass, Notify, QueueId, Recipient, ReversePath,
    Timestamp,
};

use crate::{NoticeSettings, NoticeSummary, Reporter};

/// One message for all summaries; `None` if there is no postmaster, or nothing to tell.
#[must_use]
pub fn summarise(
    summaries: &[NoticeSummary],
    settings: &NoticeSettings,
    reporter: &Reporter<'_>,
    id: QueueId,
    now: Timestamp,
) -> Option<(Envelope, String)> {
    let postmaster = settings.postmaster.as_ref()?;
    if summaries.is_empty() {
        return None;
    }
    let text = text(summaries, reporter, postmaster, id, now);
    let envelope = Envelope {
        reverse_path: ReversePath::Null,
        recipients: vec![Recipient {
            mailbox: postmaster.clone(),
            notify: Notify::Never,
            orcpt: None,
        }],
        body: if text.is_ascii() {
            BodyType::SevenBit
        } else {
            BodyType::EightBit
        },
        smtputf8: postmaster.to_ascii().is_none(),
        requiretls: false,
        tls_required_no: false,
        ret: None,
        envid: None,
        size: text.len() as u64,
        class: MessageClass::Dsn,
        arrival: Arrival {
            at: now,
            began: now,
            ..Arrival::default()
        },
    };
    Some((envelope, text))
}

fn text(
    summaries: &[NoticeSummary],
    reporter: &Reporter<'_>,
    postmaster: &Mailbox,
    id: QueueId,
    now: Timestamp,
) -> String {
    let total: u64 = summaries.iter().map(|s| s.withheld).sum();
    let hostname = reporter.hostname;
    let mut lines = vec![
        format!("Date: {}", now.rfc5322()),
        format!("From: Mail Delivery System <{}>", reporter.from),
        format!("To: <{postmaster}>"),
        format!("Subject: {total} delivery notifications were not sent by {hostname}"),
        format!("Message-ID: <{id}.summary@{hostname}>"),
        // RFC 3834 section 5.
        "Auto-Submitted: auto-generated".to_owned(),
        "MIME-Version: 1.0".to_owned(),
        "Content-Type: text/plain; charset=utf-8".to_owned(),
        "Content-Transfer-Encoding: 8bit".to_owned(),
        String::new(),
        format!(
            "This is the mail relay {hostname}. So many delivery notifications were due to the"
        ),
        "senders below that it has kept some back: sent in such numbers they only do".to_owned(),
        "harm, above all where the sender's address was forged. What became of each".to_owned(),
        "message is in the relay's log, under its queue id and as dsn.withheld.".to_owned(),
        String::new(),
        "If a sender is a program of yours, see why its mail fails. The limits are".to_owned(),
        "queue.notifications-per-sender and queue.notifications-in-all.".to_owned(),
        String::new(),
    ];
    for s in summaries.iter().take(LISTED) {
        let (first, last) = s.messages;
        lines.push(match &s.sender {
            Some(sender) => sender.to_string(),
            None => OTHERS.to_owned(),
        });
        lines.push(format!(
            "    {} notifications about {} recipients",
            s.withheld, s.recipients
        ));
        lines.push(format!(
            "    the first at {} (message {first})",
            s.times.0.rfc3339()
        ));
        lines.push(format!(
            "    the last at {} (message {last})",
            s.times.1.rfc3339()
        ));
    }
    if let Some(more) = summaries.len().checked_sub(LISTED).filter(|n| *n > 0) {
        lines.push(format!("and {more} other senders"));
    }
    lines.push(String::new());
    lines.join("\r\n")
}

/// Those that had no window of their own.
const OTHERS: &str = "other senders, of whom there were too many to be counted one by one";
/// Senders that are named.
const LISTED: usize = 100;
