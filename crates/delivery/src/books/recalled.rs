//! What earlier attempts found, for what is told of a message without another: a warning of its delay
//! between two attempts, mail that an operator returns, held mail at the end of its life.

use std::net::IpAddr;
use std::sync::Arc;

use attempt::{Case, DemandedBy, Facts, PolicyUse, Reason, Tried};
use mail_types::{EnhancedStatus, RetrySchedule, Timestamp};
use outbound_queue::{AttemptEntry, Demand, Demands, HostNote, Keyed, Leased};

use crate::decide::verdict::{Failure, Verdict};
use crate::engine::dice::Dice;
use crate::worker::findings::Findings;
use routes::is_routed;

/// What is known of the last attempt at a message's part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recalled {
    /// When it ended; `None` if there was none.
    pub(crate) at: Option<Timestamp>,
    /// The host that decided, where its answer is what is told.
    pub(crate) host: Option<(Box<str>, Option<IpAddr>)>,
    /// Demands and what came of them.
    pub(crate) policies: Vec<PolicyUse>,
    /// Who demands what was not met.
    pub(crate) by: DemandedBy,
    /// What failed, where something else is told as the reason.
    pub(crate) cause: Option<Cause>,
    /// The message was held until its time was over.
    pub(crate) held: bool,
}

/// What failed at a host.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub(crate) reason: Reason,
    pub(crate) case: Case,
    pub(crate) mx: Option<Box<str>>,
}

/// What is to be told of mail that comes up between two attempts only because its sender is to be warned
/// of the delay by now; with it the time of the next attempt. `None` for all other mail.
pub(crate) fn warning(
    leased: &Leased,
    retry: &RetrySchedule,
    now: Timestamp,
    dice: &Dice,
) -> Option<(Findings, Timestamp)> {
    if leased.attempts.is_empty() {
        return None; // The usual case: it has just come.
    }
    let due = retry.warning_due(leased.envelope.arrival.at)?;
    // An operator, or a destination that has recovered, makes mail due at another time.
    if leased.due != due || leased.put_off || now >= leased.expires {
        return None;
    }
    if leased.recipients.iter().any(|slot| slot.warned) {
        return None;
    }
    let attempts = leased.recipients.iter().map(|slot| slot.attempts).max()?;
    let (tried, recalled) = recall(leased);
    // Of a message with very many results not all are remembered: it is not tried for that.
    let last = recalled.at.unwrap_or(now);
    let next = retry.next(attempts, last, leased.expires, dice.unit_of(leased.id));
    if next <= now {
        return None;
    }
    let mut found = Findings::new(leased.recipients.len(), None);
    for (slot, verdict) in leased.recipients.iter().zip(&mut found.verdicts) {
        let remembered = leased.last_attempt(slot).and_then(failure);
        let reason = slot.reason.filter(|_| slot.attempts > 0);
        let failure = remembered.or_else(|| Some(of_reason(leased, reason?)))?;
        *verdict = Some(Verdict::Deferred(Arc::new(failure)));
    }
    found.tried = tried;
    found.recalled = Some(Box::new(Recalled {
        // It is the reason that is told.
        cause: None,
        ..recalled
    }));
    Some((found, next))
}

/// Without an attempt: an operator wants it so, or it was held for all its life.
pub(crate) fn returned(leased: &Leased, is_too_old: bool) -> Findings {
    let (tried, recalled) = recall(leased);
    // What was found out before is what somebody wants to know: each recipient's own.
    let before = |slot| match leased.last_attempt(slot).map(|last| &*last.note.detail) {
        Some(detail) if !detail.is_empty() => {
            format!("; the last attempt: {}", detail.trim_end_matches('.'))
        }
        Some(_) | None => String::new(),
    };
    let local = |detail| Failure {
        case: Case::ByOperator,
        ..Failure::new(Reason::Local, detail)
    };
    let verdict = |before: String| {
        if is_too_old {
            let detail = format!(
                "The message was held on this relay until the end of its lifetime{before}."
            );
            // Its time is over: that makes it a failure for good, with 4.4.7 (decision AMB-28).
            return Verdict::Deferred(Arc::new(local(detail)));
        }
        let detail = format!("The message was returned by an operator of this relay{before}.");
        Verdict::Bounced(Arc::new(Failure {
            status: EnhancedStatus::permanent(0, 0),
            ..local(detail)
        }))
    };
    let mut found = Findings::new(leased.recipients.len(), None);
    for (slot, told) in leased.recipients.iter().zip(&mut found.verdicts) {
        *told = Some(verdict(before(slot)));
    }
    found.tried = tried;
    found.recalled = Some(Box::new(Recalled {
        // Nobody's answer is told as the reason.
        host: None,
        held: is_too_old,
        ..recalled
    }));
    found
}

/// The hosts of the last attempt at this destination, and what else is known of it.
pub(crate) fn recall(leased: &Leased) -> (Vec<Tried>, Recalled) {
    let here = |entry: &&AttemptEntry| entry.destination == leased.destination;
    let Some(last) = leased.attempts.iter().rfind(here) else {
        return (Vec::new(), Recalled::default());
    };
    let note = &last.note;
    let by = note.by.or_usual();
    let domain = domain(leased);
    let tried = note.tried.iter().map(|host| tried(host, domain, by));
    let recalled = Recalled {
        at: Some(last.last),
        host: note.mx.clone().map(|mx| (mx, note.ip)),
        policies: note
            .policy
            .iter()
            .flat_map(Demands::iter)
            .map(policy)
            .collect(),
        by,
        cause: known(note.reason.as_ref()).map(|reason| Cause {
            reason,
            case: note.case.or_usual(),
            mx: note.mx.clone(),
        }),
        held: false,
    };
    (tried.collect(), recalled)
}

/// The domain that mail goes to, unless that is a route's.
fn domain(leased: &Leased) -> &str {
    if is_routed(leased.destination.as_str()) {
        ""
    } else {
        leased.destination.as_str()
    }
}

/// What a newer version wrote tells us nothing.
fn known(reason: Option<&Keyed<Reason>>) -> Option<Reason> {
    reason.and_then(Keyed::known)
}

fn failure(entry: &AttemptEntry) -> Option<Failure> {
    let note = &entry.note;
    let reason = known(note.reason.as_ref())?;
    Some(Failure {
        reason,
        case: note.case.or_usual(),
        status: note.status.unwrap_or_else(|| reason.status()),
        reply: note.reply.as_deref().map(Into::into),
        stage: None,
        detail: note.detail.as_ref().into(),
    })
}

/// What is told where the reason is all that is known.
fn of_reason(leased: &Leased, reason: Reason) -> Failure {
    let facts = Facts {
        domain: domain(leased),
        ..Facts::default()
    };
    Failure::new(reason, reason.sentence(&facts))
}

fn tried(host: &HostNote, domain: &str, by: DemandedBy) -> Tried {
    let reason = known(host.reason.as_ref());
    let case = host.case.or_usual();
    let facts = Facts {
        domain,
        mx: Some(&host.mx),
        by,
        case,
        ..Facts::default()
    };
    Tried {
        mx: host.mx.clone(),
        ip: host.ip,
        reason,
        case,
        detail: reason.map_or_else(Box::default, |reason| reason.sentence(&facts).into()),
    }
}

/// A demand, as far as it is remembered.
fn policy(demand: Demand<'_>) -> PolicyUse {
    PolicyUse {
        source: demand.source,
        mode: demand.mode.to_owned().into(),
        id: demand.id.map(Into::into),
        from: None,
        fetched_at: None,
        expires_at: None,
        first_contact: false,
        result: demand.result,
        reason: demand.reason,
        by: None,
        dane: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use attempt::{PolicyResult, PolicySource};
    use mail_types::Envelope;
    use outbound_queue::conformance::{self, LEASE_TIME, placement};
    use outbound_queue::{
        AttemptNote, Destination, Effort, Finish, Incoming, MemoryStore, Now, Outcome, QueueStore,
    };

    fn envelope(at: Timestamp, recipients: usize) -> Envelope {
        let recipients = (0..recipients).map(|n| format!("b{n}@d.test"));
        let recipients: Vec<String> = recipients.collect();
        let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
        let mut envelope = conformance::envelope("a@org.test", &recipients);
        envelope.arrival.at = at;
        envelope
    }

    #[tokio::test]
    async fn f1_17_e5_01_mail_comes_up_for_its_warning_alone_only_at_the_time_that_was_set_for_it()
    {
        let at = |secs: u64| Now {
            wall: Timestamp::from_secs(secs),
            monotonic: Duration::from_secs(secs),
        };
        let (hour, day) = (Duration::from_hours(1), Duration::from_hours(24));
        let retry = RetrySchedule::new(vec![hour], day, day, hour / 2);
        let dice = Dice::seeded(1);
        let store = MemoryStore::new(placement(), LEASE_TIME);
        let key = Destination::new("d.test");
        let incoming = store.begin(None, at(1000)).unwrap();
        let committed = incoming.commit(envelope(at(1000).wall, 1), true, at(1000));
        let committed = committed.await.unwrap();
        let first = committed.leases.into_iter().next().unwrap();
        assert!(
            warning(&first, &retry, at(1000).wall, &dice).is_none(),
            "it has just come"
        );
        let demand = policy(Demand {
            source: PolicySource::MtaSts,
            mode: "enforce",
            id: Some("7"),
            result: PolicyResult::Failed,
            reason: Some(Reason::CertExpired),
        });
        let defer = |leased: &Leased, secs| Finish {
            lease: leased.token,
            outcomes: vec![(
                0,
                Outcome::Deferred {
                    next_attempt: Timestamp::from_secs(secs),
                    note: 0,
                },
            )],
            notes: vec![AttemptNote {
                reason: Some(Reason::CertExpired.into()),
                detail: "The certificate has expired.".into(),
                policy: Demands::of(std::slice::from_ref(&demand)),
                ..AttemptNote::default()
            }],
            told: Vec::new(),
            warned: Vec::new(),
            effort: Effort::Attempt,
            messages: Vec::new(),
        };
        let due = 1000 + 1800;
        store.finish(defer(&first, due), at(1010)).unwrap();
        let again = store.lease(&key, 1, at(due)).await.unwrap().remove(0);
        let (found, next) = warning(&again, &retry, at(due).wall, &dice).unwrap();
        let table = Timestamp::from_secs(1010 + 3600)..Timestamp::from_secs(1010 + 3960);
        assert!(table.contains(&next), "{next:?}");
        // As for the recipients of whose delay nobody is to be told: they go out together.
        let others = retry.next(1, at(1010).wall, again.expires, dice.unit_of(again.id));
        assert_eq!(next, others);
        let recalled = found.recalled.unwrap();
        assert_eq!(recalled.at, Some(at(1010).wall));
        assert_eq!(recalled.policies[0].id.as_deref(), Some("7"));
        assert!(
            matches!(&found.verdicts[0], Some(Verdict::Deferred(f)) if f.reason == Reason::CertExpired)
        );
        // At another time it is an attempt: somebody wants it.
        store.finish(defer(&again, due + 1), at(due)).unwrap();
        let wanted = store.lease(&key, 1, at(due + 1)).await.unwrap().remove(0);
        assert!(warning(&wanted, &retry, at(due + 1).wall, &dice).is_none());
        // And if its next attempt has come meanwhile.
        let retry = RetrySchedule::new(vec![Duration::from_secs(1)], day, day, hour / 2);
        assert!(warning(&again, &retry, at(due).wall, &dice).is_none());
    }

    #[tokio::test]
    async fn f1_17_e5_01_a_warning_is_no_attempt_however_many_answers_there_were() {
        let at = |secs: u64| Now {
            wall: Timestamp::from_secs(secs),
            monotonic: Duration::from_secs(secs),
        };
        let (hour, day) = (Duration::from_hours(1), Duration::from_hours(24));
        let retry = RetrySchedule::new(vec![hour], day, day, hour / 2);
        let due = 1000 + 1800;
        for recipients in [8, 40] {
            let store = MemoryStore::new(placement(), LEASE_TIME);
            let incoming = store.begin(None, at(1000)).unwrap();
            let envelope = envelope(at(1000).wall, recipients);
            let committed = incoming.commit(envelope, true, at(1000)).await.unwrap();
            let first = committed.leases.into_iter().next().unwrap();
            let deferred = |note| Outcome::Deferred {
                next_attempt: Timestamp::from_secs(due),
                note,
            };
            let note = |n| AttemptNote {
                reason: Some(Reason::Remote4xx.into()),
                reply: Some(format!("451 {n}").into()),
                ..AttemptNote::default()
            };
            let finish = Finish {
                lease: first.token,
                outcomes: (0..recipients).map(|n| (n, deferred(n))).collect(),
                notes: (0..recipients).map(note).collect(),
                told: Vec::new(),
                warned: Vec::new(),
                effort: Effort::Attempt,
                messages: Vec::new(),
            };
            store.finish(finish, at(1010)).unwrap();
            let key = Destination::new("d.test");
            let again = store.lease(&key, 1, at(due)).await.unwrap().remove(0);
            let warned = warning(&again, &retry, at(due).wall, &Dice::seeded(1));
            let (found, _) = warned.expect("there is no attempt");
            let of_it = |v: &Option<Verdict>| matches!(v, Some(Verdict::Deferred(f)) if f.reason == Reason::Remote4xx);
            assert_eq!(
                found.verdicts.iter().filter(|v| of_it(v)).count(),
                recipients
            );
        }
    }

    #[tokio::test]
    async fn what_befell_one_recipient_is_not_told_of_another() {
        let at = |secs: u64| Now {
            wall: Timestamp::from_secs(secs),
            monotonic: Duration::from_secs(secs),
        };
        let store = MemoryStore::new(placement(), LEASE_TIME);
        let incoming = store.begin(None, at(1000)).unwrap();
        let committed = incoming.commit(envelope(at(1000).wall, 2), true, at(1000));
        let first = committed.await.unwrap().leases.remove(0);
        let deferred = |note| Outcome::Deferred {
            next_attempt: Timestamp::from_secs(2000),
            note,
        };
        let note = |reason: Reason, case: Case| AttemptNote {
            reason: Some(reason.into()),
            case: case.into(),
            detail: format!("{reason}.").into(),
            ..AttemptNote::default()
        };
        let (refused, connect) = (Reason::Remote4xx, Reason::Connect);
        let finish = Finish {
            lease: first.token,
            outcomes: vec![(0, deferred(0)), (1, deferred(1))],
            notes: vec![note(connect, Case::Usual), note(refused, Case::Usual)],
            told: Vec::new(),
            warned: Vec::new(),
            effort: Effort::Attempt,
            messages: Vec::new(),
        };
        store.finish(finish, at(1010)).unwrap();
        let key = Destination::new("d.test");
        let mut again = store.lease(&key, 1, at(2000)).await.unwrap().remove(0);
        // As an earlier version wrote it, which did not say whose each was.
        again.attempts.iter_mut().for_each(|e| e.recipients = None);
        let mut returned_before = again.attempts[0].clone();
        returned_before.note = note(Reason::Local, Case::ByOperator);
        returned_before.recipients = Some([0].into());
        again.attempts.push(returned_before);
        let told: Vec<String> = returned(&again, false)
            .verdicts
            .into_iter()
            .flatten()
            .map(|verdict| match verdict {
                Verdict::Bounced(failure) => failure.detail.to_string(),
                _ => String::new(),
            })
            .collect();
        for (told, reason) in told.iter().zip([connect, refused]) {
            let words = format!("the last attempt: {reason}.");
            assert!(told.ends_with(&words), "{told}");
        }
        assert_eq!(told.len(), 2);
    }
}
