//! A letter to the recipient's administrator, ready to be sent.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use mail_types::{Domain, Timestamp};
use outbound_queue::{AttemptEntry, HostNote};

use super::demands::Look;
use super::message::{self, Told};
use super::time;

/// What the letter is about.
pub(super) struct Case<'a> {
    pub(super) domain: &'a Domain,
    pub(super) entry: &'a AttemptEntry,
    pub(super) look: &'a Look,
    /// When the message is given up, if it is about one.
    pub(super) expires: Option<Timestamp>,
}

/// Said before the letter, and no part of it.
pub(super) fn how_to_send(domain: &Domain) -> String {
    format!(
        "Mail to postmaster@{domain} may be stuck for the same reason: send the letter another way if there is one \
         (their web site, the `rua` of _smtp._tls.{domain})."
    )
}

impl Case<'_> {
    /// `None` if the recipient's administrator can do nothing about it. Nothing of the message and
    /// of its sender is in it.
    pub(super) fn write(&self, hostname: &str) -> Option<String> {
        let (domain, note) = (self.domain, &self.entry.note);
        let all = message::faults(note, domain.as_str());
        let theirs: Vec<(Told<'_>, String)> = all
            .into_iter()
            .filter_map(|told| {
                let request = told.reason.request(&told.facts)?;
                Some((told, request))
            })
            .collect();
        if theirs.is_empty() {
            return None;
        }
        let reasons: BTreeSet<&str> = theirs.iter().map(|(told, _)| told.reason.key()).collect();
        let reasons: Vec<&str> = reasons.into_iter().collect();
        let mut text = format!(
            "To: postmaster@{domain}\nSubject: Mail to {domain} cannot be delivered ({})\n\n\
             Our mail server {hostname} has mail for {domain} that it cannot deliver.\n\n",
            reasons.join(", ")
        );
        for (told, _) in &theirs {
            self.seen(told, &mut text);
            if theirs.len() > 1 {
                text.push('\n');
            }
        }
        fact(&mut text, "When:", &self.when());
        if let Some(policy) = self.look.policy_in_short() {
            fact(&mut text, "Your policy:", &policy);
        }
        for (_, request) in &theirs {
            let _ = write!(text, "\n{request}\n");
        }
        let _ = write!(text, "\n{}\n", self.patience());
        Some(text)
    }

    /// What one host did.
    fn seen(&self, told: &Told<'_>, text: &mut String) {
        let note = &self.entry.note;
        let Told { reason, facts } = told;
        // Another host than the one that decided: the rest of the note is not about it.
        let decided = note.reason == Some((*reason).into()) && facts.mx == note.mx.as_deref();
        let seen = match decided {
            true => note.detail.to_string(),
            false => reason.sentence(facts),
        };
        fact(text, "What we see:", &seen);
        if let Some(mx) = facts.mx {
            let its = |host: &&HostNote| &*host.mx == mx;
            let ip = match decided {
                true => note.ip,
                false => note.tried.iter().find(its).and_then(|host| host.ip),
            };
            let ip = ip.map(|ip| format!(" [{ip}]")).unwrap_or_default();
            fact(text, "Host:", &format!("{mx}{ip}"));
        }
        if let Some(reply) = note.reply.as_deref().filter(|_| decided) {
            fact(text, "It said:", reply);
        }
        if let Some(tls) = note.tls.as_deref().filter(|_| decided) {
            fact(text, "TLS:", tls);
        }
        fact(text, "See:", reason.clause());
    }

    fn when(&self) -> String {
        match self.entry.count {
            1 => time(self.entry.last),
            n => format!(
                "{n} times from {} to {}",
                time(self.entry.first),
                time(self.entry.last)
            ),
        }
    }

    fn patience(&self) -> String {
        match self.expires {
            Some(at) => format!(
                "We keep trying; what cannot be delivered by {} goes back to its sender.",
                time(at)
            ),
            None => "We keep trying; what cannot be delivered in time goes back to its senders."
                .to_owned(),
        }
    }
}

/// A line of what is known.
fn fact(text: &mut String, name: &str, value: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{name:<14} {value}");
}
