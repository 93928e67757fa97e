//! Turns: who is next where several wait.

use std::collections::BTreeSet;

use crate::NOBODY;

/// The senders of mail, beginning with the one whose turn it is. No entry of a sender's comes before `first`.
pub fn in_turn<K: Ord + Copy>(
    by_sender: &BTreeSet<(u16, K)>,
    first: K,
    turn: u16,
) -> impl Iterator<Item = u16> {
    let next = move |from: u16| by_sender.range((from, first)..).next().map(|entry| entry.0);
    let all_from = move |from: u16| {
        std::iter::successors(next(from), move |sender| next(sender.checked_add(1)?))
    };
    let before = all_from(NOBODY + 1).take_while(move |sender| *sender < turn);
    all_from(turn.max(NOBODY + 1)).chain(before)
}

/// Takes one of each queue, then another one of each, and so on until there are `end` keys or no more. Answers
/// whose was the last one.
pub fn round_by_round<K, I: Iterator<Item = K>>(
    mut queues: Vec<(u16, I)>,
    end: usize,
    keys: &mut Vec<K>,
) -> Option<u16> {
    let mut last = None;
    while !queues.is_empty() && keys.len() < end {
        queues.retain_mut(|(sender, queue)| {
            if keys.len() >= end {
                return true;
            }
            let Some(key) = queue.next() else {
                return false;
            };
            keys.push(key);
            last = Some(*sender);
            true
        });
    }
    last
}

/// What was put off and what was not have times that say nothing of each other: of the two that come next the
/// older message goes (row H9-10), also while an order makes the one kind into the other.
pub fn older_first<T, A: Ord>(
    put_off: impl Iterator<Item = T>,
    others: impl Iterator<Item = T>,
    age: impl Fn(&T) -> A,
) -> impl Iterator<Item = T> {
    let (mut put_off, mut others) = (put_off.peekable(), others.peekable());
    std::iter::from_fn(move || match (put_off.peek(), others.peek()) {
        (Some(first), Some(other)) if age(other) < age(first) => others.next(),
        (Some(_), _) => put_off.next(),
        _ => others.next(),
    })
}

/// A tenth of all that is given out, however little at once.
#[derive(Default)]
pub struct Tenths {
    owed: u8,
}

impl Tenths {
    /// The part of so much.
    pub fn of(&mut self, wanted: usize) -> usize {
        let owed = usize::from(self.owed) + wanted % 10;
        self.owed = u8::try_from(owed % 10).unwrap_or_default();
        wanted / 10 + owed / 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_a_tenth_also_of_little() {
        let mut tenths = Tenths::default();
        assert_eq!((0..30).map(|_| tenths.of(1)).sum::<usize>(), 3);
        assert_eq!((tenths.of(20), tenths.of(0)), (2, 0));
        assert_eq!((tenths.of(15), tenths.of(15)), (1, 2));
    }

    #[test]
    fn e5_05_the_round_begins_with_whose_turn_it_is() {
        let waiting: BTreeSet<(u16, u32)> =
            [(3, 1), (3, 2), (NOBODY, 9), (5, 4), (u16::MAX, 7)].into();
        let order = |turn| in_turn(&waiting, 0, turn).collect::<Vec<_>>();
        assert_eq!(order(0), [3, 5, u16::MAX]);
        assert_eq!(order(4), [5, u16::MAX, 3]);
        assert_eq!(order(u16::MAX), [u16::MAX, 3, 5]);
    }
}
