//! Who has what: leases in memory, fenced by boot and sequence (row H7-10).
//!
//! They last by a clock of their own, which counts the time from one look at them to the next, but a tenth
//! of a lease's time at most. Whoever holds a lease renews it far more often than that; only if nothing of
//! this process runs, since it was stopped or the machine slept, do looks lie further apart. Then nobody
//! could renew, and the work goes on where it was: a lease that had run out meanwhile would have its
//! message delivered twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use mail_types::QueueId;

use crate::{LeaseToken, Stale};

/// All leases of this boot, of parts of messages at destinations `D`. Times are monotonic.
#[derive(Debug)]
pub struct Leases<D> {
    boot: u64,
    last: u64,
    lasts: Duration,
    /// The time of this clock, and when it was looked at last.
    ran: Duration,
    seen: Option<Duration>,
    by_sequence: HashMap<u64, Lease<D>>,
    by_end: BTreeSet<(Duration, u64)>,
    by_message: BTreeMap<QueueId, Vec<u64>>,
    /// What has run out while nobody else has taken its recipients since, nor the message has ended: its
    /// outcome still counts.
    overdue: HashMap<QueueId, Vec<(u64, Lease<D>)>>,
}

/// One lease.
#[derive(Clone, Debug)]
pub struct Lease<D> {
    /// The message.
    pub id: QueueId,
    /// The part of it.
    pub destination: D,
    /// The recipients that were handed out.
    pub recipients: Vec<u32>,
    /// It has run out: its part of the message is due again.
    pub is_overdue: bool,
    /// By the clock of the leases.
    ends: Duration,
}

impl<D: Clone + PartialEq> Leases<D> {
    /// None. `boot` tells this process from others: a random number. They last so long unless renewed.
    #[must_use]
    pub fn new(boot: u64, lasts: Duration) -> Self {
        Self {
            boot,
            last: 0,
            lasts,
            ran: Duration::ZERO,
            seen: None,
            by_sequence: HashMap::new(),
            by_end: BTreeSet::new(),
            by_message: BTreeMap::new(),
            overdue: HashMap::new(),
        }
    }

    /// Hands out these recipients of a message: a lease of theirs that has run out is worth nothing now.
    pub fn grant(
        &mut self,
        id: QueueId,
        destination: D,
        recipients: Vec<u32>,
        now: Duration,
    ) -> LeaseToken {
        self.last += 1;
        let ends = self.look(now).saturating_add(self.lasts);
        self.by_end.insert((ends, self.last));
        self.by_message.entry(id).or_default().push(self.last);
        self.forget_overdue(id, |_, lease| {
            lease.recipients.iter().any(|r| recipients.contains(r))
        });
        let lease = Lease {
            id,
            destination,
            recipients,
            is_overdue: false,
            ends,
        };
        self.by_sequence.insert(self.last, lease);
        LeaseToken {
            boot: self.boot,
            sequence: self.last,
            id,
        }
    }

    fn get(&self, token: &LeaseToken) -> Result<&Lease<D>, Stale> {
        let lease = self.by_sequence.get(&token.sequence);
        lease
            .filter(|lease| token.boot == self.boot && lease.id == token.id)
            .ok_or(Stale(token.id))
    }

    /// Lets a lease last at least nine tenths of its time from now on: one that was granted a moment ago,
    /// as nearly all are, stays as it is.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn renew(&mut self, token: &LeaseToken, now: Duration) -> Result<(), Stale> {
        let later = self.look(now).saturating_add(self.lasts);
        let ends = self.get(token)?.ends;
        if later.saturating_sub(ends) > self.lasts / 10
            && let Some(lease) = self.by_sequence.get_mut(&token.sequence)
        {
            self.by_end.remove(&(ends, token.sequence));
            lease.ends = later;
            self.by_end.insert((later, token.sequence));
        }
        Ok(())
    }

    /// Ends a lease without an outcome.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn end(&mut self, token: &LeaseToken) -> Result<Lease<D>, Stale> {
        self.get(token)?;
        self.take(token.sequence).ok_or(Stale(token.id))
    }

    /// Ends the leases whose time is over.
    pub fn end_expired(&mut self, now: Duration) -> Vec<Lease<D>> {
        let mut ended = Vec::new();
        let time = self.look(now);
        while let Some((ends, sequence)) = self.by_end.first().copied()
            && ends <= time
        {
            if let Some(mut lease) = self.take(sequence) {
                lease.is_overdue = true;
                ended.push(lease.clone());
                let overdue = self.overdue.entry(lease.id).or_default();
                overdue.push((sequence, lease));
            }
        }
        ended
    }

    /// The lease that an outcome comes with: it may have run out, while nobody else has its recipients.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn of_outcome(&self, token: &LeaseToken) -> Result<&Lease<D>, Stale> {
        let of_message = self.overdue.get(&token.id).into_iter().flatten();
        let mut overdue = of_message.filter(|_| token.boot == self.boot);
        match overdue.find(|(sequence, _)| *sequence == token.sequence) {
            Some((_, lease)) => Ok(lease),
            None => self.get(token),
        }
    }

    /// Ends that lease: its outcome has come.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn conclude(&mut self, token: &LeaseToken) -> Result<Lease<D>, Stale> {
        let lease = self.of_outcome(token)?;
        if !lease.is_overdue {
            return self.end(token);
        }
        let lease = lease.clone();
        self.forget_overdue(token.id, |sequence, _| sequence == token.sequence);
        Ok(lease)
    }

    fn forget_overdue(&mut self, id: QueueId, which: impl Fn(u64, &Lease<D>) -> bool) {
        if let Some(of_message) = self.overdue.get_mut(&id) {
            of_message.retain(|(sequence, lease)| !which(*sequence, lease));
            if of_message.is_empty() {
                self.overdue.remove(&id);
            }
        }
    }

    /// Ends all leases of a message.
    pub fn end_message(&mut self, id: QueueId) -> Vec<Lease<D>> {
        self.overdue.remove(&id);
        let sequences = self.by_message.get(&id).cloned().unwrap_or_default();
        sequences.into_iter().filter_map(|s| self.take(s)).collect()
    }

    /// Whether anything of a message is leased.
    #[must_use]
    pub fn is_leased(&self, id: QueueId) -> bool {
        self.by_message.contains_key(&id)
    }

    /// Whether somebody may be at work on a message: with a lease, or with one that has run out while nobody
    /// else has taken its recipients.
    #[must_use]
    pub fn is_under_way(&self, id: QueueId) -> bool {
        self.is_leased(id) || self.overdue.contains_key(&id)
    }

    /// Whether a message's part at a destination is leased.
    #[must_use]
    pub fn holds(&self, id: QueueId, destination: &D) -> bool {
        let sequences = self.by_message.get(&id).into_iter().flatten();
        sequences
            .filter_map(|s| self.by_sequence.get(s))
            .any(|lease| lease.destination == *destination)
    }

    /// Whether a recipient is leased.
    #[must_use]
    pub fn has(&self, id: QueueId, recipient: u32) -> bool {
        let sequences = self.by_message.get(&id).into_iter().flatten();
        sequences
            .filter_map(|s| self.by_sequence.get(s))
            .any(|lease| lease.recipients.contains(&recipient))
    }

    /// The messages of which something is leased.
    pub fn messages(&self) -> impl Iterator<Item = QueueId> {
        self.by_message.keys().copied()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_sequence.len()
    }

    /// How long until the first lease ends, or until the next look at them, without which their clock
    /// stands still.
    pub fn next_look(&mut self, now: Duration) -> Option<Duration> {
        let time = self.look(now);
        let (ends, _) = self.by_end.first()?;
        Some(ends.saturating_sub(time).min(self.step()))
    }

    /// What the clock of the leases says now.
    fn look(&mut self, now: Duration) -> Duration {
        let seen = self.seen.unwrap_or(now);
        let step = now.saturating_sub(seen).min(self.step());
        self.ran = self.ran.saturating_add(step);
        self.seen = Some(seen.max(now));
        self.ran
    }

    /// What counts at most between two looks.
    fn step(&self) -> Duration {
        self.lasts / 10
    }

    fn take(&mut self, sequence: u64) -> Option<Lease<D>> {
        let lease = self.by_sequence.remove(&sequence)?;
        self.by_end.remove(&(lease.ends, sequence));
        if let Some(of_message) = self.by_message.get_mut(&lease.id) {
            of_message.retain(|s| *s != sequence);
            if of_message.is_empty() {
                self.by_message.remove(&lease.id);
            }
        }
        Some(lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn h7_10_h7_12_tokens_are_fenced() {
        let mut first = Leases::new(1, Duration::from_secs(60));
        let mut second = Leases::new(2, Duration::from_secs(60));
        let (id, d) = (QueueId::from_raw(7), "d.test");
        let token = first.grant(id, d, vec![0], AT(0));
        let other = second.grant(id, d, vec![0], AT(0));
        assert_eq!(second.end(&token).unwrap_err(), Stale(id), "another boot");
        assert!(first.holds(id, &d) && !first.holds(id, &"e.test"));
        let look = |leases: &mut Leases<&str>, from: u64, to: u64| {
            let times = (from..=to).step_by(5);
            times
                .map(|t| leases.end_expired(AT(t)).len())
                .sum::<usize>()
        };
        assert_eq!(look(&mut first, 0, 30), 0);
        first.renew(&token, AT(30)).unwrap();
        assert_eq!(look(&mut first, 30, 35), 0);
        first.renew(&token, AT(35)).unwrap();
        assert_eq!(look(&mut first, 35, 85), 0, "renewed");
        assert_eq!(
            first.next_look(AT(85)),
            Some(Duration::from_secs(5)),
            "granted just now"
        );
        assert_eq!(look(&mut first, 90, 90), 1);
        assert!(first.renew(&token, AT(91)).is_err() && first.end(&token).is_err());
        assert!(!first.is_leased(id) && first.next_look(AT(91)).is_none());
        assert!(first.is_under_way(id), "its outcome would still count");
        first.conclude(&token).unwrap();
        assert!(!first.is_under_way(id));
        assert!(
            second.end(&other).is_ok() && second.end(&other).is_err(),
            "ends once"
        );
    }

    #[test]
    fn h8_07_time_in_which_nobody_looks_ends_no_lease() {
        let mut leases = Leases::new(1, Duration::from_secs(60));
        let (id, d) = (QueueId::from_raw(7), "d.test");
        let token = leases.grant(id, d, vec![0], AT(0));
        // Eight naps of an hour each.
        for hour in 1..=8 {
            assert!(leases.end_expired(AT(hour * 3600)).is_empty(), "{hour}");
        }
        let next = leases.next_look(AT(8 * 3600));
        assert_eq!(next, Some(Duration::from_secs(6)), "looked at in steps");
        leases.renew(&token, AT(9 * 3600)).unwrap();
        for hour in 10..=18 {
            assert!(leases.end_expired(AT(hour * 3600)).is_empty(), "{hour}");
        }
        assert!(leases.end(&token).is_ok());
    }
}
