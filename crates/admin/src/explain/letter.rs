//! A letter to the recipient's administrator, ready to be sent.

use std::fmt::Write as _;

use attempt::Facts;
use mail_types::{Domain, Timestamp};
use outbound_queue::AttemptEntry;

use super::demands::Look;
use super::{reason_of, time};

/// What the letter is about.
pub(super) struct Case<'a> {
    pub(super) domain: &'a Domain,
    pub(super) entry: &'a AttemptEntry,
    pub(super) look: &'a Look,
    /// When the message is given up, if it is about one.
    pub(super) expires: Option<Timestamp>,
}

impl Case<'_> {
    /// `None` if the recipient's administrator can do nothing about it. Nothing of the message and
    /// of its sender is in it.
    pub(super) fn write(&self, hostname: &str) -> Option<String> {
        let (domain, note) = (self.domain, &self.entry.note);
        let reason = reason_of(self.entry)?;
        let facts = Facts {
            domain: domain.as_str(),
            mx: note.mx.as_deref(),
            specifics: None,
        };
        let request = reason.request(&facts)?;
        let mut text = format!(
            "To: postmaster@{domain}\nSubject: Mail to {domain} cannot be delivered ({})\n\n\
             Our mail server {hostname} has mail for {domain} that it cannot deliver.\n\n",
            reason.key()
        );
        // Writing to a string does not fail.
        let mut fact = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:<14} {value}");
        };
        fact("What we see:", &note.detail);
        if let Some(mx) = &note.mx {
            let ip = note.ip.map(|ip| format!(" [{ip}]")).unwrap_or_default();
            fact("Host:", &format!("{mx}{ip}"));
        }
        fact(
            "When:",
            &match self.entry.count {
                1 => format!("{} (UTC)", time(self.entry.last)),
                n => format!(
                    "{n} times from {} to {} (UTC)",
                    time(self.entry.first),
                    time(self.entry.last)
                ),
            },
        );
        if let Some(reply) = &note.reply {
            fact("It said:", reply);
        }
        if let Some(tls) = &note.tls {
            fact("TLS:", tls);
        }
        if let Some(policy) = self.look.policy_in_short() {
            fact("Your policy:", &policy);
        }
        fact("See:", reason.clause());
        let _ = write!(text, "\n{request}\n\n{}\n", self.patience());
        Some(text)
    }

    fn patience(&self) -> String {
        match self.expires {
            Some(at) => format!(
                "We keep trying; what cannot be delivered by {} goes back to its sender.",
                time(at)
            ),
            None => {
                "We keep trying for some days; then the mail goes back to its senders.".to_owned()
            }
        }
    }
}
