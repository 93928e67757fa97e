//! What the cache has in memory: one entry per domain that there is something to know about, and
//! the bounded set of domains that publish nothing.
//!
//! Invariant: policies and local rules leave the book only through an operator's order or, 90 days
//! after expiry, by age. Memory pressure evicts negative answers and nothing else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mail_types::{Domain, Timestamp};
use mta_sts::Mode;
use policy_fetch::Gate;

use crate::contact::Contact;
use crate::decide::Cached;
use crate::discovery::{
    LocalRules, NoPolicy, Origin, Outcome, RecordTrouble, StoredPolicy, Waiting,
};
use crate::orders::TestingFailure;
use crate::schedule::{Life, Schedule};

#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) entries: HashMap<Domain, Entry>,
    pub(crate) schedule: Schedule,
}

/// All that is known about a domain.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// The last policy, maybe expired.
    pub(crate) policy: Option<Arc<StoredPolicy>>,
    /// The number of the policy's row.
    pub(crate) seq: u64,
    /// The row is not on disk yet, because the store failed.
    pub(crate) unsaved: bool,
    /// Policies that are being put on disk.
    pub(crate) adopting: u32,
    /// The number of the order to forget; 0 if there was none.
    pub(crate) forgotten: u64,
    /// When that was, in monotonic time.
    pub(crate) forgotten_at: Option<Duration>,
    pub(crate) local: Option<Arc<LocalRules>>,
    pub(crate) contact: Option<Contact>,
    pub(crate) gate: Gate,
    /// The last answer.
    pub(crate) memo: Option<Memo>,
    /// When record and policy were last both had, in monotonic time.
    pub(crate) checked: Option<Duration>,
    pub(crate) expiry_told: bool,
    /// The last delivery that enforcement would have stopped.
    pub(crate) testing: Option<TestingFailure>,
    /// The policy had run out before this process started.
    pub(crate) expired_before: bool,
}

/// An answer that may be given again.
#[derive(Clone, Debug)]
pub(crate) struct Memo {
    pub(crate) outcome: Outcome,
    pub(crate) first_contact: bool,
    /// Monotonic.
    pub(crate) until: Duration,
}

impl Memo {
    /// Nothing was learnt but that our own clock is doubted.
    pub(crate) fn is_doubt(&self) -> bool {
        match &self.outcome {
            Outcome::Wait { why, .. } => matches!(why, Waiting::Clock(_)),
            Outcome::Policy(_) | Outcome::NoPolicy(_) => false,
        }
    }
}

impl Entry {
    pub(crate) fn cached(&self, now: Timestamp) -> Cached {
        match &self.policy {
            Some(p) if !p.is_expired(now) => Cached::Unexpired { id: p.id.clone() },
            Some(_) => Cached::Expired,
            None => Cached::Absent,
        }
    }

    pub(crate) fn unexpired(&self, now: Timestamp) -> Option<&Arc<StoredPolicy>> {
        self.policy.as_ref().filter(|p| !p.is_expired(now))
    }

    /// The remembered answer, if it is still good.
    pub(crate) fn answer(&self, now: Timestamp, mono: Duration) -> Option<&Memo> {
        let memo = self.memo.as_ref().filter(|m| mono < m.until)?;
        match &memo.outcome {
            Outcome::Policy(applied) if applied.policy.is_expired(now) => None,
            Outcome::Policy(_) | Outcome::NoPolicy(_) | Outcome::Wait { .. } => Some(memo),
        }
    }

    /// Remembers an answer; what was live is from the cache the next time.
    pub(crate) fn remember(&mut self, outcome: &Outcome, until: Duration) {
        let mut outcome = outcome.clone();
        let first_contact = match &mut outcome {
            Outcome::Policy(applied) => {
                applied.from = Origin::Cache;
                false
            }
            Outcome::NoPolicy(NoPolicy::Record(_)) => false,
            Outcome::NoPolicy(NoPolicy::Fetch { .. } | NoPolicy::Unknown { .. })
            | Outcome::Wait { .. } => true,
        };
        self.memo = Some(Memo {
            outcome,
            first_contact,
            until,
        });
    }

    /// Forgets an answer that is only that DNS gave none.
    pub(crate) fn forget_failure(&mut self) {
        let failed = self.memo.as_ref().is_some_and(|m| match &m.outcome {
            Outcome::Wait {
                why: Waiting::Dns { .. } | Waiting::Clock(_) | Waiting::Local(_),
                ..
            }
            | Outcome::NoPolicy(NoPolicy::Unknown { .. }) => true,
            Outcome::Wait {
                why: Waiting::FetchLimit,
                ..
            }
            | Outcome::NoPolicy(NoPolicy::Record(_) | NoPolicy::Fetch { .. })
            | Outcome::Policy(_) => false,
        });
        if failed {
            self.memo = None;
        }
    }

    /// Nothing is lost if this entry goes. Looks that began before an order to forget take `look` at most: as
    /// long as one may be under way its end must find the order.
    fn is_idle(&self, now: Timestamp, mono: Duration, look: Duration) -> bool {
        let policy_is_old = self
            .policy
            .as_ref()
            .is_none_or(|p| now >= p.expires_at + REMEMBER_EXPIRED);
        policy_is_old
            && self.local.is_none()
            && self.contact.is_none_or(|c| c.is_over(now))
            && self.gate.is_idle(mono)
            && self.memo.as_ref().is_none_or(|m| mono >= m.until)
            && self.forgotten_at.is_none_or(|at| mono >= at + look)
    }
}

impl Book {
    pub(crate) fn policies(&self) -> impl Iterator<Item = &Arc<StoredPolicy>> {
        self.entries.values().filter_map(|e| e.policy.as_ref())
    }

    /// Unexpired policies in the modes enforce, testing, none.
    pub(crate) fn by_mode(&self, now: Timestamp) -> [u64; 3] {
        let mut count = [0; 3];
        for p in self.policies().filter(|p| !p.is_expired(now)) {
            let [enforce, testing, none] = &mut count;
            match p.mode() {
                Mode::Enforce => *enforce += 1,
                Mode::Testing => *testing += 1,
                Mode::None => *none += 1,
            }
        }
        count
    }

    /// Drops what nobody needs any more; a look takes no longer than `look`.
    pub(crate) fn purge(&mut self, now: Timestamp, mono: Duration, look: Duration) {
        self.entries.retain(|_, e| !e.is_idle(now, mono, look));
    }
}

impl StoredPolicy {
    pub(crate) fn life(&self) -> Life {
        Life {
            mode: self.mode(),
            fetched_at: self.fetched_at,
            expires_at: self.expires_at,
        }
    }
}

/// Domains that publish nothing: 98 of 100.
#[derive(Debug)]
pub(crate) struct Negatives {
    map: HashMap<Domain, (RecordTrouble, Duration)>,
    most: usize,
}

impl Negatives {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            map: HashMap::new(),
            most: most.max(1),
        }
    }

    /// Why there is no policy, and until when (monotonic) that may be believed.
    pub(crate) fn get(&self, domain: &Domain, mono: Duration) -> Option<(RecordTrouble, Duration)> {
        self.map
            .get(domain)
            .copied()
            .filter(|(_, until)| mono < *until)
    }

    /// What was last found of this domain, whether or not it may still be believed.
    pub(crate) fn last(&self, domain: &Domain) -> Option<RecordTrouble> {
        self.map.get(domain).map(|(why, _)| *why)
    }

    /// When full, what has run out goes first, and then a quarter, whichever it is: a lost answer
    /// costs one look-up.
    pub(crate) fn insert(
        &mut self,
        domain: Domain,
        why: RecordTrouble,
        until: Duration,
        mono: Duration,
    ) {
        if self.map.len() >= self.most {
            self.map.retain(|_, (_, until)| mono < *until);
            let keep = self.most - self.most / 4 - 1;
            if self.map.len() > keep {
                let mut n = 0;
                self.map.retain(|_, _| {
                    n += 1;
                    n <= keep
                });
            }
        }
        self.map.insert(domain, (why, until));
    }

    pub(crate) fn remove(&mut self, domain: &Domain) {
        self.map.remove(domain);
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }
}

/// How long it is remembered that a domain had a policy (decision AMB-01).
pub(crate) const REMEMBER_EXPIRED: Duration = Duration::from_hours(90 * 24);

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> Domain {
        Domain::parse(&format!("d{n}.test")).unwrap()
    }

    #[test]
    fn negative_answers_are_bounded_and_run_out() {
        let s = Duration::from_secs;
        let mut negatives = Negatives::new(100);
        for n in 0..1000 {
            negatives.insert(name(n), RecordTrouble::NoSuchName, s(60), s(0));
            assert!(negatives.len() <= 100);
        }
        assert!(
            negatives.get(&name(999), s(59)).is_some(),
            "the newest is there"
        );
        assert!(
            negatives.get(&name(999), s(60)).is_none(),
            "no longer than its TTL"
        );
        let mut one = Negatives::new(0);
        one.insert(name(1), RecordTrouble::NoSuchName, s(60), s(0));
        one.insert(name(2), RecordTrouble::NoSuchName, s(60), s(0));
        assert_eq!(one.len(), 1);
    }
}
