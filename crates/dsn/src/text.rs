//! The part that people read: no code has to be understood to understand it (RFC 3464 section 1.2).

use crate::encode::one_line;
use crate::original::{Returned, Why};
use crate::{Action, Diagnostic, Notification, Policy, RecipientReport, Reporter, Story};

/// The whole text with CRLF line ends.
pub(crate) fn write(
    notification: &Notification<'_>,
    reporter: &Reporter<'_>,
    returned: Returned<'_>,
) -> String {
    let mut text = Text::default();
    text.paragraph(
        0,
        &format!("This is the mail system at {}.", reporter.hostname),
    );
    for action in [
        Action::Failed,
        Action::Expired,
        Action::Delayed,
        Action::Relayed,
    ] {
        section(action, notification, &mut text);
    }
    let arrival = &notification.envelope.arrival;
    text.paragraph(
        0,
        &format!(
            "Your message arrived here on {} and is known here as {}. If you need help, send this \
             notice to {}. {}",
            arrival.at.rfc5322(),
            notification.queue_id,
            reporter.from,
            attached(returned)
        ),
    );
    text.out
}

/// The text on the message itself.
const fn attached(returned: Returned<'_>) -> &'static str {
    match returned {
        Returned::Whole(_) => "Your message is attached.",
        Returned::Headers(_, Why::Usual) => "The header of your message is attached.",
        Returned::Headers(_, Why::TooBig) => {
            "Your message is too big to be sent back, so only its header is attached."
        }
        Returned::Headers(_, Why::NotCarried) => {
            "Your message has content that may not survive the way back, so only its header is attached."
        }
        Returned::Nothing => "Nothing of your message is attached.",
    }
}

fn section(action: Action, notification: &Notification<'_>, text: &mut Text) {
    let reports = || {
        notification
            .recipients
            .iter()
            .filter(move |r| r.action == action)
    };
    let who = match reports().count() {
        0 => return,
        1 => "the recipient",
        _ => "the recipients",
    };
    let was_tried = reports().any(|r| r.last_attempt.is_some());
    match action {
        Action::Failed => text.paragraph(
            0,
            &format!(
                "Your message could not be delivered to {who} below. It will not be tried again."
            ),
        ),
        Action::Expired => {
            let since = notification.envelope.arrival.at.rfc5322();
            let what = if reports().all(|r| r.held) {
                "It was held back here, by those who run this mail system,"
            } else if was_tried {
                "It was tried again and again"
            } else {
                "It has waited here"
            };
            text.paragraph(
                0,
                &format!(
                    "Your message could not be delivered to {who} below. {what} since {since}, and \
                     has now been given up."
                ),
            );
        }
        Action::Delayed => {
            text.paragraph(
                0,
                "This is only a warning. You do not have to send your message again.",
            );
            let and = match was_tried {
                true => "and delivery is tried again and again",
                false => "until it can be delivered",
            };
            text.paragraph(
                0,
                &format!(
                    "Your message has not been delivered to {who} below yet. It is kept safe here, \
                     {and}."
                ),
            );
        }
        Action::Relayed => text.paragraph(
            0,
            &format!(
                "Your message for {who} below was handed on to a mail system that does not confirm \
                 deliveries. Unless that system sends you something, you will hear no more of it."
            ),
        ),
    }
    for report in reports() {
        recipient(report, text);
    }
}

fn recipient(report: &RecipientReport<'_>, text: &mut Text) {
    text.line(0, &format!("<{}>", report.recipient.mailbox));
    text.blank();
    if !report.summary.is_empty() {
        text.paragraph(2, &one_line(report.summary, MAX_PROSE));
    }
    match report.diagnostic {
        Some(Diagnostic::Smtp(reply)) => answer(report.remote_mta, reply, text),
        Some(Diagnostic::Local(cause)) if report.summary.is_empty() => {
            text.paragraph(2, &one_line(cause, MAX_PROSE));
        }
        Some(Diagnostic::Local(_)) | None => {}
    }
    if let Some(story) = &report.story {
        told(story, report, text);
    }
    if let (Action::Delayed, Some(until)) = (report.action, report.will_retry_until) {
        // Row F1-17: who wants no word of a failure gets none.
        let then = match report.recipient.notify.wants_failure() {
            true => "you will be told",
            false => "it is given up; as you asked, you will not be told of that",
        };
        text.paragraph(
            2,
            &format!(
                "If it cannot be delivered until {}, {then}.",
                until.rfc5322()
            ),
        );
    }
}

/// The remote host's own words.
fn answer(remote_mta: Option<&str>, reply: &str, text: &mut Text) {
    let host = remote_mta.unwrap_or("The remote mail server");
    text.line(2, &format!("{} said:", one_line(host, MAX_NAME)));
    let lines = reply.split(['\r', '\n']).filter(|l| !l.trim().is_empty());
    for line in lines.take(MAX_REPLY_LINES) {
        text.wrapped(4, &one_line(line, MAX_PROSE));
    }
    text.blank();
}

/// Row F3-01: domain, each MX, what failed, policy and source, next step.
fn told(story: &Story<'_>, report: &RecipientReport<'_>, text: &mut Text) {
    let domain = one_line(story.domain, MAX_NAME);
    // One host that did what was told above is not worth a list.
    let is_news = match story.hosts {
        [] => false,
        [host] => host.failure != report.summary,
        [_, _, ..] => true,
    };
    if is_news {
        text.line(2, &format!("The mail servers of {domain} that were tried:"));
        for host in story.hosts.iter().take(MAX_HOSTS) {
            let ip = host.ip.map(|ip| format!(" [{ip}]")).unwrap_or_default();
            text.wrapped(
                4,
                &format!(
                    "{}{ip}: {}",
                    one_line(host.name, MAX_NAME),
                    one_line(host.failure, MAX_PROSE)
                ),
            );
        }
        if story.hosts.len() > MAX_HOSTS {
            let more = story.hosts.len() - MAX_HOSTS;
            text.line(4, &format!("and {more} more"));
        }
        text.blank();
    }
    if !story.policies.is_empty() {
        text.wrapped(
            2,
            &format!("Mail for {domain} may only travel over a connection that meets:"),
        );
        for policy in story.policies {
            text.wrapped(4, &describe(policy));
        }
        text.blank();
        // Row F3-03.
        if report.action == Action::Delayed {
            text.paragraph(
                2,
                "The message waits until such a connection can be made. It is not sent over a less \
                 secure one.",
            );
        }
    }
    if !story.advice.is_empty() {
        text.paragraph(
            2,
            &format!("What can be done: {}", one_line(story.advice, MAX_PROSE)),
        );
    }
}

fn describe(policy: &Policy<'_>) -> String {
    let mut out = format!(
        "{}, mode {}",
        one_line(policy.source, MAX_NAME),
        one_line(policy.mode, MAX_NAME)
    );
    if let Some(id) = policy.id {
        out.push_str(&format!(", policy id {}", one_line(id, MAX_NAME)));
    }
    if !policy.published_at.is_empty() {
        out.push_str(", published at ");
        out.push_str(&one_line(policy.published_at, MAX_PROSE));
    }
    if let Some(at) = policy.fetched_at {
        out.push_str(", fetched on ");
        out.push_str(&at.rfc5322());
    }
    if let Some(at) = policy.expires_at {
        out.push_str(", in force until ");
        out.push_str(&at.rfc5322());
    }
    out
}

/// Collects wrapped lines.
#[derive(Default)]
struct Text {
    out: String,
}

impl Text {
    /// One wrapped paragraph and an empty line.
    fn paragraph(&mut self, indent: usize, text: &str) {
        self.wrapped(indent, text);
        self.blank();
    }

    /// One paragraph at [`WIDTH`] columns; later lines keep the indent.
    fn wrapped(&mut self, indent: usize, text: &str) {
        let mut line = String::new();
        for word in text.split(' ').filter(|w| !w.is_empty()) {
            if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > WIDTH
            {
                self.line(indent, &line);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(indent, &line);
    }

    /// One line as it is.
    fn line(&mut self, indent: usize, text: &str) {
        self.out.extend(std::iter::repeat_n(' ', indent));
        self.out.push_str(text);
        self.blank();
    }

    fn blank(&mut self) {
        self.out.push_str("\r\n");
    }
}

const WIDTH: usize = 72;
const MAX_NAME: usize = 255;
/// Below the 998 octets that a line may have, even if it is one word.
const MAX_PROSE: usize = 700;
const MAX_REPLY_LINES: usize = 20;
const MAX_HOSTS: usize = 20;
