//! What is remembered of a message's attempts: bounded, whatever its peers answer.
//!
//! Attempts are counted and not their results: eight recipients may get eight answers in one attempt, and
//! all of them belong to it. The first attempt stays, since how it began is what people ask, and so do the
//! last [`LAST_ATTEMPTS`], and each pending recipient's last result, however old. Over [`RESULTS`] results or
//! [`OCTETS`] of text even some of these go. How many went is known.

use mail_types::Timestamp;

use crate::state::RecipientEntry;
use crate::{AttemptEntry, Destination};

/// The results of a message's attempts, in the order of their last time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct History {
    pub(crate) entries: Vec<AttemptEntry>,
    /// Results that are not kept.
    pub(crate) left_out: u32,
}

impl History {
    /// Takes up the results of an attempt.
    pub(crate) fn remember(
        &mut self,
        mut results: Vec<AttemptEntry>,
        recipients: &[RecipientEntry],
    ) {
        // One attempt may bring thousands, of which next to none could stay: each would be held against all.
        let far_too_many = results.len().saturating_sub(AT_ONCE);
        if far_too_many > 0 {
            let gone = results.drain(1..=far_too_many).map(|result| result.count);
            self.left_out = self.left_out.saturating_add(gone.sum());
        }
        for result in results {
            self.add(result);
        }
        while let Some(at) = self.too_much(recipients) {
            let gone = self.entries.remove(at);
            self.left_out = self.left_out.saturating_add(gone.count);
        }
    }

    /// What its recipients have had the last time, too, is counted.
    fn add(&mut self, result: AttemptEntry) {
        let last = self.entries.iter().rposition(|e| {
            e.destination == result.destination
                && match (&e.recipients, &result.recipients) {
                    (Some(those), Some(these)) => these.iter().any(|r| those.contains(r)),
                    (None, _) | (_, None) => true,
                }
        });
        let again = last.filter(|at| {
            self.entries
                .get(*at)
                .is_some_and(|e| e.note == result.note && e.recipients == result.recipients)
        });
        let Some(at) = again else {
            return self.entries.push(result);
        };
        let mut entry = self.entries.remove(at);
        entry.last = result.last;
        entry.count = entry.count.saturating_add(1);
        self.entries.push(entry);
    }

    /// The result that goes next, if there are too many.
    fn too_much(&self, recipients: &[RecipientEntry]) -> Option<usize> {
        // The usual case: no need to look whose they are.
        if self.entries.len() <= 1 + LAST_ATTEMPTS {
            return None;
        }
        let wanted = self.wanted(recipients);
        let began = self.began();
        let mut each = self.entries.iter().zip(&wanted);
        let spare = each.position(|(e, wanted)| !wanted && Some(e.first) != began);
        if let Some(at) = spare.filter(|at| self.attempts_from(*at) > LAST_ATTEMPTS) {
            return Some(at);
        }
        let octets: usize = self.entries.iter().map(octets).sum();
        if self.entries.len() <= RESULTS && octets <= OCTETS {
            return None;
        }
        // Of the first attempt one result tells how it began.
        let of_first = || wanted.iter().skip(1).position(|wanted| !wanted);
        Some(spare.or_else(|| of_first().map(|at| at + 1)).unwrap_or(1))
    }

    /// When the first attempt ended.
    fn began(&self) -> Option<Timestamp> {
        self.entries.iter().map(|e| e.first).min()
    }

    /// How many attempts there were since the one that had this result, with it; the first does not count.
    fn attempts_from(&self, at: usize) -> usize {
        let began = self.began();
        let mut attempts: Vec<(&Destination, Timestamp)> = Vec::new();
        for e in self.entries.iter().skip(at) {
            let attempt = (&e.destination, e.last);
            if Some(e.first) != began && !attempts.contains(&attempt) {
                attempts.push(attempt);
            }
        }
        attempts.len()
    }

    /// Which results are the last of somebody who waits.
    fn wanted(&self, recipients: &[RecipientEntry]) -> Vec<bool> {
        let mut waiting: Vec<bool> = recipients.iter().map(|r| r.done.is_none()).collect();
        let mut wanted = vec![false; self.entries.len()];
        for (entry, wanted) in self.entries.iter().zip(&mut wanted).rev() {
            let mut take = |n: usize| {
                if let Some(waits) = waiting.get_mut(n) {
                    *wanted |= std::mem::take(waits);
                }
            };
            match &entry.recipients {
                Some(those) => those.iter().for_each(|n| take(*n as usize)),
                None => (0..)
                    .zip(recipients)
                    .filter(|(_, r)| r.destination == entry.destination)
                    .for_each(|(n, _)| take(n)),
            }
        }
        wanted
    }
}

/// What the texts of a result take.
fn octets(entry: &AttemptEntry) -> usize {
    let note = &entry.note;
    let optional = [&note.reply, &note.mx, &note.tls];
    let hosts = note.tried.iter();
    note.detail.len()
        + note.policy.as_ref().map_or(0, |line| line.as_str().len())
        + optional
            .into_iter()
            .flatten()
            .map(|t| t.len())
            .sum::<usize>()
        + hosts.map(|host| host.mx.len()).sum::<usize>()
        + entry.recipients.as_ref().map_or(0, |r| 4 * r.len())
}

/// Kept beside the first attempt.
const LAST_ATTEMPTS: usize = 5;
/// Results that are kept at most.
const RESULTS: usize = 32;
/// Results of one attempt that are looked at.
const AT_ONCE: usize = 4 * RESULTS;
/// Octets of text from which on no more are kept than attempts would be with one result each.
const OCTETS: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AttemptNote;
    use attempt::Reason;

    fn recipients(number: usize) -> Vec<RecipientEntry> {
        let one = RecipientEntry {
            destination: Destination::new("d.test"),
            done: None,
            next: Timestamp::default(),
            attempts: 0,
            reason: None,
            put_off: false,
            warned: false,
        };
        vec![one; number]
    }

    fn result(number: u32, at: u64, reply: &str) -> AttemptEntry {
        AttemptEntry {
            note: AttemptNote {
                reason: Some(Reason::Remote4xx.into()),
                reply: Some(reply.into()),
                ..AttemptNote::default()
            },
            destination: Destination::new("d.test"),
            recipients: Some([number].into()),
            first: Timestamp::from_secs(at),
            last: Timestamp::from_secs(at),
            count: 1,
        }
    }

    /// An attempt in which each recipient has an answer of its own.
    fn attempt(recipients: u32, at: u64, reply: &str) -> Vec<AttemptEntry> {
        let each = (0..recipients).map(|n| result(n, at, &format!("{reply} {n}")));
        each.collect()
    }

    #[test]
    fn all_answers_of_one_attempt_are_kept_whatever_their_number_is() {
        let (mut history, recipients) = (History::default(), recipients(8));
        history.remember(attempt(8, 1, "451 no"), &recipients);
        assert_eq!((history.entries.len(), history.left_out), (8, 0));
        // Once more the same: each is counted.
        history.remember(attempt(8, 2, "451 no"), &recipients);
        let counts: Vec<u32> = history.entries.iter().map(|e| e.count).collect();
        assert_eq!((counts, history.left_out), (vec![2; 8], 0));
        // And then something else.
        history.remember(attempt(8, 3, "452 full"), &recipients);
        assert_eq!((history.entries.len(), history.left_out), (16, 0));
    }

    #[test]
    fn who_waits_keeps_its_last_answer_however_often_others_were_tried() {
        let (mut history, recipients) = (History::default(), recipients(2));
        history.remember(vec![result(0, 1, "how it began")], &recipients);
        history.remember(vec![result(1, 2, "the last of it")], &recipients);
        for at in 3..40 {
            let reply = format!("451 {at}");
            history.remember(vec![result(0, at, &reply)], &recipients);
        }
        let replies = history
            .entries
            .iter()
            .filter_map(|e| e.note.reply.as_deref());
        let replies: Vec<&str> = replies.collect();
        let last = ["451 35", "451 36", "451 37", "451 38", "451 39"];
        assert_eq!(replies[..2], ["how it began", "the last of it"]);
        assert_eq!(replies[2..], last);
        assert_eq!(history.left_out, 32);
    }

    #[test]
    fn the_history_is_bounded_and_counts_what_is_left_out() {
        let (mut history, recipients) = (History::default(), recipients(100));
        for at in 1..=10 {
            history.remember(attempt(100, at, &format!("451 {at}")), &recipients);
            let kept = history.entries.len();
            assert_eq!(kept, RESULTS);
            assert_eq!(history.left_out as usize, 100 * at as usize - kept);
        }
        let replies = history
            .entries
            .iter()
            .filter_map(|e| e.note.reply.as_deref());
        let replies: Vec<&str> = replies.collect();
        assert_eq!((replies[0], replies[31]), ("451 1 0", "451 10 99"));
        // Long answers of many are not all kept either.
        let long = "x".repeat(3000);
        let mut history = History::default();
        for at in 1..=3 {
            history.remember(attempt(20, at, &format!("{at}{long}")), &recipients);
        }
        let (kept, left_out) = (history.entries.len(), history.left_out as usize);
        assert_eq!((kept, left_out), (1 + LAST_ATTEMPTS, 60 - kept));
    }
}
