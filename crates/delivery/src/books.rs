//! Keeps the books of an attempt: one record per recipient, the end of the lease, notifications.

pub(crate) mod blame;
pub(crate) mod ending;
pub(crate) mod history;
pub(crate) mod notify;
pub(crate) mod recalled;
pub(crate) mod seal;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use attempt::{
    Case, Delays, DsnKind, DsnSent, Outcome as Ended, Record, Removed, RemovedBecause, Tried,
};
use dsn::Action;
use mail_types::{EnhancedStatus, Recipient, Timestamp};
use outbound_queue::{
    AttemptNote, Done, Effort, Finish, Leased, NewMessage, Now, Outcome, QueueError, QueueStore,
};
use parking_lot::Mutex;

use crate::books::blame::Advice;
use crate::books::history::remembered;
use crate::books::notify::Notice;
use crate::decide::demand::Requirement;
use crate::decide::verdict::{Decider, Failure, Verdict};
use crate::engine::dice::Dice;
use crate::planner::undeliverable::without_disbelief;
use crate::ports::{NoticeWithheld, Observer};
use crate::settings::Settings;
use crate::worker::content;
use crate::worker::findings::Findings;
use crate::worker::steps::Story;
use dsn::NoticeLimits;

/// What the books are kept with.
pub(crate) struct Books<'a, S> {
    pub(crate) queue: &'a S,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) settings: &'a Settings,
    pub(crate) dice: &'a Dice,
    pub(crate) limits: &'a Mutex<NoticeLimits>,
}

/// One attempt to be entered.
pub(crate) struct Entry<'a> {
    pub(crate) leased: &'a Leased,
    pub(crate) found: &'a Findings,
    pub(crate) requirement: Option<&'a Requirement>,
    pub(crate) domain: &'a str,
    /// When the attempt began.
    pub(crate) began: Timestamp,
    pub(crate) now: Now,
    pub(crate) pace: Pace,
}

/// Whether it was an attempt, and when the next one comes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// It was; the retry table says when.
    Attempted,
    /// The destination is suspended until then: deferrals are no attempts.
    PutOff(Timestamp),
    /// Between two attempts the sender is told of the delay; the next attempt comes then.
    Looked(Timestamp),
    /// The sender is told of the delay, since the destination is paused: it stays put off. The queue looks at it
    /// again then, and it is given up then, if at all.
    Paused {
        look_at: Timestamp,
        ends: Option<Timestamp>,
    },
}

impl Entry<'_> {
    /// The host whose word decided, and its address.
    pub(crate) fn decided_by(&self) -> Option<(&str, Option<IpAddr>)> {
        if let Some(decider) = &self.found.decider {
            return Some((&decider.shown, decider.ip));
        }
        let recalled = self.found.recalled.as_ref();
        let host = recalled.and_then(|recalled| recalled.host.as_ref());
        host.map(|(mx, ip)| (&**mx, *ip))
    }

    /// When an attempt at these recipients ended last.
    fn last_attempt(&self) -> Option<Timestamp> {
        match (&self.found.recalled, self.pace) {
            (Some(recalled), _) => recalled.at,
            (None, Pace::Attempted) => Some(self.now.wall),
            (None, Pace::PutOff(_) | Pace::Looked(_) | Pace::Paused { .. }) => {
                recalled::recall(self.leased).1.at
            }
        }
    }
}

/// What is entered for one recipient.
struct Line<'a> {
    recipient: &'a Recipient,
    index: usize,
    tried: Cow<'a, [Tried]>,
    attempt: u32,
    ended: Ended,
    failure: Option<Arc<Failure>>,
    reply: Option<&'a str>,
    status: EnhancedStatus,
    detail: String,
    advice: Option<Advice<'a>>,
    /// The next attempt, and when the queue is to look at the message at the latest.
    next: Option<Timestamp>,
    look_at: Option<Timestamp>,
    relayed: bool,
    /// The sender is to be told of its delay.
    warn: bool,
}

/// A notification that was made: its id, its kind, how many recipients it tells of, and its octets.
type Told = (mail_types::QueueId, DsnKind, usize, u64);

/// What came of telling the sender.
#[derive(Default)]
struct Notices {
    messages: Vec<NewMessage>,
    told: Vec<Told>,
    /// Recipients of whose delay the sender has been told, or is not to be told any more.
    warned: Vec<usize>,
}

impl<S: QueueStore> Books<'_, S> {
    /// Ends the lease with what came of the attempt, and tells everybody.
    pub(crate) async fn enter(&self, entry: &Entry<'_>) {
        let lines = self.lines(entry);
        let policies = entry.requirement.map(|r| {
            let decider = entry.found.decider.as_ref();
            r.results(decider.map(Decider::deciding).as_ref())
        });
        let recalled = || entry.found.recalled.as_ref().map(|r| r.policies.clone());
        let policies = policies.or_else(recalled).unwrap_or_default();
        let mut records: Vec<Record<'_>> = lines
            .iter()
            .map(|line| record(entry, line, self.settings, &policies))
            .collect();
        let Notices {
            messages,
            told: sent,
            warned,
        } = self.notifications(entry, &lines, &records).await;
        // A message that this ends altogether leaves no history behind.
        let ends = lines.len() == entry.leased.envelope.recipients.len()
            && lines
                .iter()
                .all(|line| line.look_at.is_none() && line.ended != Ended::Held);
        let mut notes: Vec<AttemptNote> = Vec::new();
        let mut told = Vec::new();
        let outcomes = lines.iter().zip(&records).map(|(line, record)| {
            if ends {
                return (line.index, outcome(line, 0));
            }
            let case = line.failure.as_ref().map_or(Case::Usual, |f| f.case);
            let by = line.advice.as_ref().map(|a| a.facts.by);
            let note = remembered(entry, line.index, record, case, by);
            // Equal causes once: a hundred recipients refused alike are one thing to remember.
            let at = notes.iter().position(|n| *n == note).unwrap_or_else(|| {
                notes.push(note);
                notes.len() - 1
            });
            let outcome = outcome(line, at);
            if matches!(outcome, Outcome::Done(_)) {
                told.push((line.index, at));
            }
            (line.index, outcome)
        });
        let outcomes = outcomes.collect();
        let finish = Finish {
            lease: entry.leased.token,
            outcomes,
            notes,
            told,
            warned,
            effort: match entry.pace {
                Pace::PutOff(_) | Pace::Paused { .. } => Effort::PutOff,
                Pace::Looked(_) => Effort::Look,
                Pace::Attempted => Effort::Attempt,
            },
            messages,
        };
        let finished = self.queue.finish(finish, entry.now);
        if finished.is_err() {
            // Only what happened outside stays true: nobody is bounced or waits by this attempt.
            records.retain(|record| record.outcome == Ended::Sent);
        }
        if !matches!(entry.pace, Pace::Looked(_) | Pace::Paused { .. }) {
            records
                .iter()
                .for_each(|record| self.observer.attempt(record));
        }
        let is_timed = finished.is_ok() || !records.is_empty();
        if is_timed && self.observer.times_attempts() && matches!(entry.pace, Pace::Attempted) {
            self.observer.attempt_timed(&Story::of(entry, &records));
        }
        match finished {
            Ok(finished) => self.tell(entry, sent, finished.removed),
            Err(error) => self.unrecorded(entry, &lines, &error).await,
        }
    }

    /// Says what came of an attempt that is in nobody's books.
    async fn unrecorded(&self, entry: &Entry<'_>, lines: &[Line<'_>], error: &QueueError) {
        let id = entry.leased.id;
        let came = what_came(lines);
        if !matches!(error, QueueError::StaleLease(_)) {
            tracing::error!(queue_id = %id, %error, "the outcome of an attempt could not be recorded ({came})");
        } else {
            let shown = self.queue.show(id, entry.now).await;
            let why = why_stale(shown.as_ref().err());
            tracing::warn!(queue_id = %id, "{why}; the outcome was not recorded ({came})");
        }
    }

    /// Tells of the notifications that were made, and of the message's end.
    fn tell(&self, entry: &Entry<'_>, told: Vec<Told>, removed: bool) {
        for (id, kind, nrcpt, size) in told {
            if let Some(to) = entry.leased.envelope.reverse_path.mailbox() {
                let event = DsnSent {
                    at: entry.now.wall,
                    queue_id: entry.leased.id,
                    dsn_id: id,
                    to,
                    kind,
                    nrcpt,
                    size,
                };
                self.observer.dsn_sent(&event);
            }
        }
        if removed {
            self.observer.removed(&Removed {
                at: entry.now.wall,
                queue_id: entry.leased.id,
                upstream_id: entry.leased.envelope.arrival.upstream_id.as_deref(),
                because: RemovedBecause::Done,
            });
        }
    }

    fn lines<'a>(&self, entry: &'a Entry<'_>) -> Vec<Line<'a>> {
        let slots = entry.leased.recipients.iter().zip(&entry.found.verdicts);
        let envelope = &entry.leased.envelope;
        let (arrived, retry) = (envelope.arrival.at, &self.settings.retry);
        let late = retry.is_warning_due(entry.now.wall, arrived);
        let warning = retry.warning_due(arrived).filter(|_| !late);
        // One for all, also of another attempt: what is due at different times goes out one by one (RFC 5321
        // section 4.5.4.1).
        let chance = self.dice.unit_of(entry.leased.id);
        (0..)
            .zip(slots)
            .filter_map(|(n, (slot, verdict))| {
                let recipient = entry.leased.envelope.recipients.get(slot.index)?;
                let verdict = verdict.as_ref()?;
                let tries = (slot.attempts, chance);
                let which = (slot.index, n);
                let mut line = self.line(entry, recipient, which, tries, verdict);
                let is_open = !slot.warned && line.ended == Ended::Deferred;
                line.warn = late && is_open;
                // Looked at in time, and not with the first attempt after it.
                if is_open && dsn::entitled(envelope, recipient, Action::Delayed) {
                    line.look_at = line.look_at.into_iter().chain(warning).min();
                }
                Some(line)
            })
            .collect()
    }

    fn line<'a>(
        &self,
        entry: &'a Entry<'_>,
        recipient: &'a Recipient,
        (index, of_lease): (usize, usize),
        (attempts, chance): (u32, f64),
        verdict: &'a Verdict,
    ) -> Line<'a> {
        let attempt = match entry.pace {
            // What is told without asking a host is none.
            Pace::Attempted if entry.found.recalled.is_none() => attempts + 1,
            Pace::Attempted | Pace::PutOff(_) | Pace::Looked(_) | Pace::Paused { .. } => attempts,
        };
        let base = Line {
            recipient,
            index,
            tried: Cow::Borrowed(&entry.found.tried),
            attempt,
            ended: Ended::Sent,
            failure: None,
            reply: None,
            status: EnhancedStatus::success(0, 0),
            detail: String::new(),
            advice: None,
            next: None,
            look_at: None,
            relayed: false,
            warn: false,
        };
        let failed = |failure: &Arc<Failure>, ended, status, next| {
            let given_up = ended == Ended::Expired;
            let detail = match without_disbelief(&failure.detail) {
                Some(said) if given_up => said,
                Some(_) | None => &failure.detail,
            };
            Line {
                ended,
                status,
                next,
                look_at: next,
                detail: detail.to_owned(),
                advice: Some(Advice::of(entry, failure, given_up)),
                failure: Some(Arc::clone(failure)),
                tried: entry.found.tried_for(of_lease, failure),
                ..base
            }
        };
        match verdict {
            Verdict::Sent { reply, status, dsn } => Line {
                reply: Some(reply),
                status: *status,
                detail: sent_detail(entry, reply),
                relayed: !dsn && recipient.notify.wants_success(),
                ..base
            },
            Verdict::Bounced(failure) => failed(failure, Ended::Bounced, failure.status, None),
            Verdict::Parked(failure) => failed(failure, Ended::Held, failure.status, None),
            Verdict::Deferred(failure) if let Pace::Paused { look_at, ends } = entry.pace => Line {
                look_at: Some(look_at),
                ..failed(failure, Ended::Deferred, failure.status, ends)
            },
            // The last attempt is made at the end of the lifetime; what it defers is given up.
            Verdict::Deferred(failure) if entry.now.wall >= entry.leased.expires => failed(
                failure,
                Ended::Expired,
                EnhancedStatus::transient(4, 7),
                None,
            ),
            Verdict::Deferred(failure) => {
                let expires = entry.leased.expires;
                let (retry, now) = (&self.settings.retry, entry.now.wall);
                if let Pace::Looked(next) = entry.pace {
                    return failed(failure, Ended::Deferred, failure.status, Some(next));
                }
                if let Pace::PutOff(until) = entry.pace {
                    // It waits for its destination; the queue knows until when.
                    let next = Some(until.min(expires));
                    return Line {
                        look_at: Some(self.duty(entry, index)),
                        ..failed(failure, Ended::Deferred, failure.status, next)
                    };
                }
                let next = retry.next(attempt, now, expires, chance);
                // Not before the look-up that it waits for (decision AMB-01).
                let look = entry.found.not_before.map(|at| at.min(expires));
                let next = look.map_or(next, |at| next.max(at));
                failed(failure, Ended::Deferred, failure.status, Some(next))
            }
        }
    }

    /// When a recipient that is put off is to be looked at.
    fn duty(&self, entry: &Entry<'_>, index: usize) -> Timestamp {
        let arrival = entry.leased.envelope.arrival.at;
        let mut slots = entry.leased.recipients.iter();
        let warned = slots.any(|slot| slot.index == index && slot.warned);
        let (retry, now) = (&self.settings.retry, entry.now.wall);
        retry.next_duty(now, arrival, entry.leased.expires, warned)
    }

    /// One notification per action: the failed ones together, the delayed ones, the relayed ones.
    async fn notifications(
        &self,
        entry: &Entry<'_>,
        lines: &[Line<'_>],
        records: &[Record<'_>],
    ) -> Notices {
        let action = |line: &Line<'_>| match line.ended {
            Ended::Bounced => Some((DsnKind::Failed, Action::Failed)),
            Ended::Expired => Some((DsnKind::Failed, Action::Expired)),
            Ended::Deferred if line.warn => Some((DsnKind::Delayed, Action::Delayed)),
            Ended::Sent if line.relayed => Some((DsnKind::Relayed, Action::Relayed)),
            Ended::Deferred | Ended::Sent | Ended::Held => None,
        };
        let envelope = &entry.leased.envelope;
        let held = entry.found.recalled.as_ref().is_some_and(|r| r.held);
        let mut made = Notices::default();
        for kind in [DsnKind::Failed, DsnKind::Delayed, DsnKind::Relayed] {
            let notices: Vec<Notice<'_>> = lines
                .iter()
                .zip(records)
                .filter_map(|(line, record)| {
                    let (_, action) = action(line).filter(|(k, _)| *k == kind)?;
                    // Who is not to be told of counts nowhere.
                    dsn::entitled(envelope, line.recipient, action).then(|| Notice {
                        recipient: line.recipient,
                        action,
                        record,
                        last_attempt: entry.last_attempt(),
                        held,
                        advice: line
                            .advice
                            .as_ref()
                            .map(Advice::for_sender)
                            .unwrap_or_default(),
                    })
                })
                .collect();
            if notices.is_empty() {
                continue;
            }
            let late = || lines.iter().filter(|l| l.warn).map(|l| l.index);
            if self.is_withheld(entry, kind, &notices) {
                // A warning that was kept back is not due again: it counts once.
                if kind == DsnKind::Delayed {
                    made.warned.extend(late());
                }
                continue;
            }
            let needed = notify::octets_needed(entry.leased, self.settings);
            let original = match content::head(self.queue, entry.leased, needed).await {
                Ok(original) => Some(original),
                Err(error) => {
                    tracing::error!(queue_id = %entry.leased.id, %error, "the notification goes without the message's header");
                    None
                }
            };
            let id = self.queue.allocate_id(entry.now);
            if let Some(message) = notify::compose(
                entry.leased,
                &notices,
                original.as_deref(),
                self.settings,
                id,
                entry.now.wall,
            ) {
                let size = message.envelope.size;
                made.told.push((id, kind, notices.len(), size));
                made.messages.push(message);
                if kind == DsnKind::Delayed {
                    made.warned.extend(late());
                }
            }
        }
        made
    }
}

impl<S> Books<'_, S> {
    /// Whether there were too many notifications already (row F4-06); told then.
    fn is_withheld(&self, entry: &Entry<'_>, kind: DsnKind, notices: &[Notice<'_>]) -> bool {
        let to = entry.leased.envelope.reverse_path.mailbox();
        let (Some(to), Some(Notice { action, .. })) = (to, notices.first()) else {
            return false;
        };
        let about @ (queue_id, recipients) = (entry.leased.id, notices.len());
        let at = (entry.now.wall, entry.now.monotonic);
        let limits = &self.settings.notices;
        let Some(limit) = self.limits.lock().check(limits, to, *action, about, at) else {
            return false;
        };
        self.observer.notice_withheld(&NoticeWithheld {
            queue_id,
            to,
            kind,
            recipients,
            limit,
        });
        true
    }
}

fn record<'a>(
    entry: &'a Entry<'_>,
    line: &'a Line<'_>,
    settings: &Settings,
    policies: &'a [attempt::PolicyUse],
) -> Record<'a> {
    let envelope = &entry.leased.envelope;
    let decider = entry.found.decider.as_ref();
    let host = entry.decided_by();
    let arrival = &envelope.arrival;
    let delays = Delays {
        before_queue: arrival.at.since(arrival.began),
        in_queue: entry.began.since(arrival.at),
        connect: entry.found.connect,
        transmit: entry.found.transmit,
    };
    Record {
        at: entry.now.wall,
        outcome: line.ended,
        queue_id: entry.leased.id,
        upstream_id: arrival.upstream_id.as_deref(),
        message_id: arrival.message_id.as_deref(),
        from: &envelope.reverse_path,
        to: &line.recipient.mailbox,
        domain: entry.domain,
        mx: host.map(|(mx, _)| mx),
        ip: host.and_then(|(_, ip)| ip),
        port: decider.filter(|d| d.ip.is_some()).map(|d| d.port),
        tried: &line.tried,
        reason: line.failure.as_ref().map(|f| f.reason),
        dsn: line.status,
        reply: line
            .reply
            .or_else(|| line.failure.as_ref().and_then(|f| f.reply.as_deref())),
        in_reply_to: line.failure.as_ref().and_then(|f| f.stage?.replied_to()),
        detail: &line.detail,
        policies,
        first_contact: entry.requirement.is_some_and(|r| r.first_contact),
        no_policy: entry.requirement.and_then(|r| r.no_policy.as_ref()),
        weakened_by: entry.found.weakened_by,
        tls: decider.and_then(|d| d.tls.as_deref()),
        attempt: line.attempt,
        next_attempt: line.next,
        gives_up: ending::of(settings, entry, line.failure.as_deref(), line.next),
        delay: entry.now.wall.since(arrival.began),
        delays,
        side: line.advice.as_ref().map(|a| a.side),
        for_sender: line.advice.as_ref().is_some_and(|a| a.is_for_sender),
        advice: line.advice.as_ref().map_or("", |a| &a.text),
    }
}

/// Why an outcome came with a lease that counts no more, by what asking for the message has failed with.
fn why_stale(shown: Option<&QueueError>) -> Cow<'static, str> {
    match shown {
        None => "the lease of this message ran out during its attempt, and another attempt has taken it up since".into(),
        // By an operator, whose word counts, or since another attempt ended it.
        Some(QueueError::NotFound(_)) => "the message was removed from the queue during its attempt".into(),
        Some(error) => format!(
            "the lease of this message ended during its attempt, and what became of it cannot be seen now ({error})"
        ).into(),
    }
}

/// What the attempt found, in words: how many recipients it was sent to, refused to, and so on.
fn what_came(lines: &[Line<'_>]) -> String {
    let words = [
        (Ended::Sent, "sent"),
        (Ended::Deferred, "deferred"),
        (Ended::Bounced, "refused"),
        (Ended::Expired, "expired"),
        (Ended::Held, "to be held"),
    ];
    let counted = words.iter().filter_map(|(ended, word)| {
        let count = lines.iter().filter(|line| line.ended == *ended).count();
        (count > 0).then(|| format!("{word}: {count}"))
    });
    counted.collect::<Vec<_>>().join(", ")
}

fn outcome(line: &Line<'_>, note: usize) -> Outcome {
    match (line.ended, line.look_at) {
        (Ended::Sent, _) if line.relayed => Outcome::Done(Done::Relayed),
        (Ended::Sent, _) => Outcome::Done(Done::Delivered),
        (Ended::Bounced, _) => Outcome::Done(Done::Bounced),
        (Ended::Expired, _) => Outcome::Done(Done::Expired),
        (Ended::Held, _) => Outcome::Parked { note },
        (Ended::Deferred, Some(next_attempt)) => Outcome::Deferred { next_attempt, note },
        // A deferral always has a next attempt; without one the mail would be lost sight of.
        (Ended::Deferred, None) => Outcome::Deferred {
            next_attempt: Timestamp::default(),
            note,
        },
    }
}

fn sent_detail(entry: &Entry<'_>, reply: &str) -> String {
    match entry.found.decider.as_ref().map(|d| &d.tls) {
        Some(Some(_)) | None => reply.to_owned(),
        Some(None) => format!("{reply} (sent without TLS)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_called_removed_only_if_the_queue_says_so() {
        let gone = QueueError::NotFound(mail_types::QueueId::from_raw(7));
        assert!(why_stale(Some(&gone)).contains("removed from the queue"));
        for other in [None, Some(&QueueError::Rebuilding)] {
            assert!(!why_stale(other).contains("removed"), "{other:?}");
        }
    }
}
