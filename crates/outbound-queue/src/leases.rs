//! Who has what: leases in memory, fenced by boot and sequence (row H7-10).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use mail_types::QueueId;

use crate::{Destination, LeaseToken, Now, QueueError};

/// All leases of this boot.
pub(crate) struct Leases {
    boot: u64,
    last: u64,
    lasts: Duration,
    by_sequence: HashMap<u64, Lease>,
    by_end: BTreeSet<(Duration, u64)>,
    by_message: BTreeMap<QueueId, Vec<u64>>,
}

/// One lease.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) id: QueueId,
    pub(crate) destination: Destination,
    /// The recipients that were handed out.
    pub(crate) recipients: Vec<u32>,
    ends: Duration,
}

impl Leases {
    /// `boot` tells this process from others: a random number.
    pub(crate) fn new(boot: u64, lasts: Duration) -> Self {
        Self {
            boot,
            last: 0,
            lasts,
            by_sequence: HashMap::new(),
            by_end: BTreeSet::new(),
            by_message: BTreeMap::new(),
        }
    }

    pub(crate) fn grant(
        &mut self,
        id: QueueId,
        destination: Destination,
        recipients: Vec<u32>,
        now: Now,
    ) -> LeaseToken {
        self.last += 1;
        let ends = now.monotonic.saturating_add(self.lasts);
        self.by_end.insert((ends, self.last));
        self.by_message.entry(id).or_default().push(self.last);
        let lease = Lease {
            id,
            destination,
            recipients,
            ends,
        };
        self.by_sequence.insert(self.last, lease);
        LeaseToken {
            boot: self.boot,
            sequence: self.last,
            id,
        }
    }

    pub(crate) fn get(&self, token: &LeaseToken) -> Result<&Lease, QueueError> {
        let lease = self.by_sequence.get(&token.sequence);
        lease
            .filter(|lease| token.boot == self.boot && lease.id == token.id)
            .ok_or(QueueError::StaleLease(token.id))
    }

    /// Lets a lease last at least nine tenths of its time from now on: one that was granted a moment ago,
    /// as nearly all are, stays as it is.
    pub(crate) fn renew(&mut self, token: &LeaseToken, now: Now) -> Result<(), QueueError> {
        let ends = self.get(token)?.ends;
        let later = now.monotonic.saturating_add(self.lasts);
        if later.saturating_sub(ends) > self.lasts / 10
            && let Some(lease) = self.by_sequence.get_mut(&token.sequence)
        {
            self.by_end.remove(&(ends, token.sequence));
            lease.ends = later;
            self.by_end.insert((later, token.sequence));
        }
        Ok(())
    }

    pub(crate) fn end(&mut self, token: &LeaseToken) -> Result<Lease, QueueError> {
        self.get(token)?;
        self.take(token.sequence)
            .ok_or(QueueError::StaleLease(token.id))
    }

    /// Ends the leases whose time is over.
    pub(crate) fn end_expired(&mut self, now: Now) -> Vec<Lease> {
        let mut ended = Vec::new();
        while let Some((ends, sequence)) = self.by_end.first().copied()
            && ends <= now.monotonic
        {
            ended.extend(self.take(sequence));
        }
        ended
    }

    /// Ends all leases of a message.
    pub(crate) fn end_message(&mut self, id: QueueId) -> Vec<Lease> {
        let sequences = self.by_message.get(&id).cloned().unwrap_or_default();
        sequences.into_iter().filter_map(|s| self.take(s)).collect()
    }

    pub(crate) fn is_leased(&self, id: QueueId) -> bool {
        self.by_message.contains_key(&id)
    }

    /// Whether a message's part at a destination is leased.
    pub(crate) fn holds(&self, id: QueueId, destination: &Destination) -> bool {
        let sequences = self.by_message.get(&id).into_iter().flatten();
        sequences
            .filter_map(|s| self.by_sequence.get(s))
            .any(|lease| lease.destination == *destination)
    }

    /// Whether a recipient is leased.
    pub(crate) fn has(&self, id: QueueId, recipient: u32) -> bool {
        let sequences = self.by_message.get(&id).into_iter().flatten();
        sequences
            .filter_map(|s| self.by_sequence.get(s))
            .any(|lease| lease.recipients.contains(&recipient))
    }

    pub(crate) fn messages(&self) -> impl Iterator<Item = QueueId> {
        self.by_message.keys().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_sequence.len()
    }

    /// When the first lease ends.
    pub(crate) fn next_end(&self) -> Option<Duration> {
        self.by_end.first().map(|(ends, _)| *ends)
    }

    fn take(&mut self, sequence: u64) -> Option<Lease> {
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
    use mail_types::Timestamp;

    fn at(secs: u64) -> Now {
        Now {
            wall: Timestamp::from_secs(secs),
            monotonic: Duration::from_secs(secs),
        }
    }

    #[test]
    fn h7_10_h7_12_tokens_are_fenced() {
        let mut first = Leases::new(1, Duration::from_secs(60));
        let mut second = Leases::new(2, Duration::from_secs(60));
        let (id, d) = (QueueId::from_raw(7), Destination::new("d.test"));
        let token = first.grant(id, d.clone(), vec![0], at(0));
        let other = second.grant(id, d.clone(), vec![0], at(0));
        assert_eq!(
            second.end(&token).unwrap_err(),
            QueueError::StaleLease(id),
            "another boot"
        );
        assert!(first.holds(id, &d) && !first.holds(id, &Destination::new("e.test")));
        first.renew(&token, at(30)).unwrap();
        assert!(first.end_expired(at(89)).is_empty(), "renewed");
        first.renew(&token, at(35)).unwrap();
        assert_eq!(
            first.next_end(),
            Some(Duration::from_secs(90)),
            "granted just now"
        );
        assert_eq!(first.end_expired(at(90)).len(), 1);
        assert!(first.renew(&token, at(91)).is_err() && first.end(&token).is_err());
        assert!(!first.is_leased(id) && first.next_end().is_none());
        assert!(
            second.end(&other).is_ok() && second.end(&other).is_err(),
            "ends once"
        );
    }
}
