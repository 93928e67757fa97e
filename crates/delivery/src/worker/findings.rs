//! What one attempt found out, and what that means for those without a verdict.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use attempt::{Facts, Reason, Tried, Weakened};
use mail_types::Timestamp;
use outbound_queue::{Now, QueueStore};
use smtp_client::OpeningTimes;

use crate::books::recalled::Recalled;
use crate::decide::conclusion::{Conclusion, conclude};
use crate::decide::demand::Evidence;
use crate::decide::failure::{HostFailure, Weight, as_transient};
use crate::decide::literal::shown;
use crate::decide::standing::Standing;
use crate::decide::verdict::{Decider, Failure, Verdict};
use crate::worker::reported::Overlooked;
use crate::worker::sessions::{Session, Way};
use crate::worker::steps::Steps;
use crate::worker::work::Attempt;

/// What an attempt found out.
pub(crate) struct Findings {
    /// One per recipient of the lease, in its order; none where no host was tried to the end.
    pub(crate) verdicts: Vec<Option<Verdict>>,
    pub(crate) tried: Vec<Tried>,
    /// Which of `tried` has answered each recipient for itself: the last, unless its session broke.
    answered: Option<usize>,
    /// Recipients that had their verdict from another address before the one whose turn it is.
    earlier: Vec<usize>,
    pub(crate) failures: Vec<HostFailure>,
    /// MAIL was refused for now: why this host does not count, if no recipient was settled.
    pub(crate) mail_refused: Option<HostFailure>,
    pub(crate) decider: Option<Decider>,
    /// Some host talked to us about this mail: the destination is alive.
    pub(crate) alive: bool,
    /// A session ended after MAIL.
    pub(crate) begun: bool,
    /// A host may have taken the message without saying so (row E5-12).
    pub(crate) unknown: bool,
    /// No attempt was made: the host has as many sessions as it may have.
    pub(crate) busy: bool,
    /// Our own limits, or clock, keep us from learning what the domain demands, for a time that is known.
    pub(crate) held_back: bool,
    /// The failures alone decided, no host's answer to the mail.
    pub(crate) concluded: bool,
    /// It is this message that fails us, whatever its peers do (row H7-08).
    pub(crate) ours: bool,
    /// Of the host whose turn it is.
    pub(crate) standing: Standing,
    pub(crate) weakened_by: Option<Weakened>,
    /// An attempt before then would find out nothing new.
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) connect: Duration,
    pub(crate) transmit: Duration,
    /// Of the session that was last opened, or not.
    pub(crate) times: OpeningTimes,
    /// What was done when, where somebody wants to know.
    pub(crate) steps: Option<Box<Steps>>,
    /// A session was opened, or could not be: none that was there already.
    pub(crate) met: bool,
    /// Hosts that were left out by their names, for reports.
    pub(crate) overlooked: Vec<Overlooked>,
    /// No host was asked for this: what earlier attempts found.
    pub(crate) recalled: Option<Box<Recalled>>,
    /// Nothing was tried, because of this failure of others: it is what is to be mended.
    pub(crate) suspended: Option<Box<crate::books::recalled::Cause>>,
}

impl Findings {
    pub(crate) fn new(recipients: usize, weakened_by: Option<Weakened>) -> Self {
        Self {
            verdicts: vec![None; recipients],
            tried: Vec::new(),
            answered: None,
            earlier: Vec::new(),
            failures: Vec::new(),
            mail_refused: None,
            decider: None,
            alive: false,
            begun: false,
            unknown: false,
            busy: false,
            held_back: false,
            concluded: false,
            ours: false,
            standing: Standing::NONE,
            weakened_by,
            not_before: None,
            connect: Duration::ZERO,
            transmit: Duration::ZERO,
            times: OpeningTimes::default(),
            steps: None,
            met: false,
            overlooked: Vec::new(),
            recalled: None,
            suspended: None,
        }
    }

    /// Counts what was done before as a part of connecting: policy and DNS, and an attempt that this one
    /// replaces.
    pub(crate) fn began_after(&mut self, asked: Now, began: Now) {
        self.connect += began.monotonic.saturating_sub(asked.monotonic);
    }

    /// The same verdict for everybody, before any host was tried.
    pub(crate) fn uniform(recipients: usize, verdict: &Verdict) -> Self {
        let mut found = Self::new(recipients, None);
        found.all_open(verdict);
        found
    }

    /// Nobody could be asked whether the policy still stands: what it had a part in waits.
    pub(crate) fn defer_bounces(&mut self) {
        for verdict in self.verdicts.iter_mut().flatten() {
            if let Verdict::Bounced(failure) = verdict {
                let status = as_transient(failure.status);
                let failure = Failure {
                    status,
                    ..(**failure).clone()
                };
                *verdict = Verdict::Deferred(Arc::new(failure));
            }
        }
    }

    /// Whether all that came of it are hosts that took no session for now (4yz before any mail was spoken of).
    pub(crate) fn is_turned_away(&self) -> bool {
        let for_now = |f: &HostFailure| f.reason == Reason::Remote4xx;
        !self.alive && !self.begun && !self.failures.is_empty() && self.failures.iter().all(for_now)
    }

    /// Whether a host has taken the message for somebody, or may have.
    pub(crate) fn has_gone_out(&self) -> bool {
        let sent = |v: &Verdict| matches!(v, Verdict::Sent { .. });
        self.unknown || self.verdicts.iter().flatten().any(sent)
    }

    pub(crate) fn undecided(&self) -> impl Iterator<Item = usize> {
        self.verdicts
            .iter()
            .enumerate()
            .filter(|(_, v)| v.is_none())
            .map(|(n, _)| n)
    }

    pub(crate) fn all_open(&mut self, verdict: &Verdict) {
        for slot in self.verdicts.iter_mut().filter(|v| v.is_none()) {
            *slot = Some(verdict.clone());
        }
    }

    pub(crate) fn fail(&mut self, mut failure: HostFailure) {
        failure.standing.clone_from(&self.standing);
        self.tried.push(failure.tried());
        self.failures.push(failure);
    }

    /// The next address has its turn.
    pub(crate) fn turn(&mut self) {
        let decided = |(n, v): (usize, &Option<Verdict>)| v.is_some().then_some(n);
        self.earlier.clear();
        self.earlier
            .extend(self.verdicts.iter().enumerate().filter_map(decided));
    }

    /// Why the address whose turn it is took the message for nobody, if it did not.
    fn refusal(&self) -> Option<&Failure> {
        let verdicts = self.verdicts.iter().enumerate();
        let own = verdicts.filter(|(n, _)| self.earlier.binary_search(n).is_err());
        let mut verdicts = own.filter_map(|(_, verdict)| verdict.as_ref());
        if verdicts.clone().any(|v| matches!(v, Verdict::Sent { .. })) {
            return None;
        }
        verdicts.find_map(|verdict| match verdict {
            Verdict::Deferred(failure) | Verdict::Bounced(failure) | Verdict::Parked(failure) => {
                Some(&**failure)
            }
            Verdict::Sent { .. } => None,
        })
    }

    /// What was tried for a recipient that did not get the message. Of the host that answered each for itself
    /// it has its own answer: what was said of others is not its sender's business, and explains nothing.
    pub(crate) fn tried_for(&self, recipient: usize, failure: &Failure) -> Cow<'_, [Tried]> {
        let Some(at) = self.answered else {
            return Cow::Borrowed(&self.tried);
        };
        if self.earlier.binary_search(&recipient).is_ok() {
            return Cow::Borrowed(self.tried.get(..at).unwrap_or_default());
        }
        let is_own = |t: &Tried| t.reason == Some(failure.reason) && *t.detail == *failure.detail;
        if self.tried.get(at).is_none_or(is_own) {
            return Cow::Borrowed(&self.tried);
        }
        let mut own = self.tried.clone();
        own[at].reason = Some(failure.reason);
        own[at].case = failure.case;
        own[at].detail = failure.detail.as_str().into();
        Cow::Owned(own)
    }

    /// How the host that decided stands in DNS, or else the last one that was thought of.
    pub(crate) fn stood(&self) -> &Standing {
        let decider = self.decider.as_ref();
        decider.map_or(&self.standing, |decider| &decider.standing)
    }

    pub(crate) fn push_tried(&mut self, way: &Way<'_>, session: &Session) {
        let (ip, _) = session.address();
        self.answered = Some(self.tried.len());
        let refused = self.refusal();
        self.tried.push(Tried {
            mx: shown(way.name, Some(ip)).into(),
            ip: Some(ip),
            reason: refused.map(|failure| failure.reason),
            case: refused.map(|failure| failure.case).unwrap_or_default(),
            detail: refused.map_or_else(Box::default, |failure| failure.detail.as_str().into()),
        });
    }

    pub(crate) fn decide(&mut self, way: &Way<'_>, session: &Session) {
        let (ip, port) = session.address();
        let facts = session.facts();
        self.times = session.connection.facts().times;
        let evidence = Evidence::Session(facts.tls);
        self.decider = Some(Decider {
            mx: way.name.clone(),
            shown: shown(way.name, Some(ip)),
            ip: Some(ip),
            port,
            tls: session.tls(),
            evidence,
            dane: facts.dane,
            standing: way.standing.clone(),
        });
    }

    /// Addresses that have said nothing definite.
    fn unasked(&self) -> usize {
        let open = |f: &&HostFailure| !matches!(f.weight, Weight::Permanent | Weight::Missing);
        self.failures.iter().filter(open).count()
    }

    /// Every host has failed: what that means for those that have no verdict yet.
    pub(crate) fn settle<S: QueueStore>(&mut self, attempt: &Attempt<'_, S>) {
        let age = attempt.now.since(attempt.leased.envelope.arrival.at);
        let concluded = conclude(&self.failures, attempt.requirement, age, attempt.patience);
        let Some(conclusion) = concluded else {
            let detail = format!("No host of {} was left to try.", attempt.domain);
            self.all_open(&Verdict::Deferred(Arc::new(Failure::new(
                Reason::NoUsableMx,
                detail,
            ))));
            return;
        };
        self.concluded = true;
        let (Conclusion::Defer(index) | Conclusion::Bounce(index)) = conclusion;
        let Some(failure) = self.failures.get(index) else {
            return;
        };
        if self.decider.is_none() || !self.alive {
            self.decider = Some(Decider::from(failure));
        }
        let mut failure = Failure::from(failure);
        let verdict = match conclusion {
            Conclusion::Bounce(_) => Verdict::Bounced(Arc::new(
                failure.for_good(attempt.domain, attempt.requirement),
            )),
            Conclusion::Defer(_) => {
                failure.status = as_transient(failure.status);
                if failure.reason == Reason::Remote5xx {
                    let mx = self.decider.as_ref().map(|d| d.shown.as_str());
                    let about = Facts {
                        mx,
                        ..attempt.about(failure.reason, &Standing::NONE)
                    };
                    failure.is_not_final(&about, self.unasked());
                }
                Verdict::Deferred(Arc::new(failure))
            }
        };
        self.all_open(&verdict);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_and_dns_are_part_of_connecting() {
        let at = |seconds| Now {
            wall: Timestamp::from_secs(1000 - seconds),
            monotonic: Duration::from_secs(seconds),
        };
        let mut found = Findings::new(1, None);
        found.connect = Duration::from_secs(3);
        found.transmit = Duration::from_secs(4);
        // The wall clock may do what it likes.
        found.began_after(at(10), at(70));
        assert_eq!((found.connect + found.transmit).as_secs(), 60 + 3 + 4);
    }
}
