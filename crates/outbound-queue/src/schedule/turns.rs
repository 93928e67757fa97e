//! Turns: who is next where several wait.

use std::collections::BTreeSet;

use super::{Key, NOBODY};

/// Entries by sender, what was put off marked and last.
pub(super) type BySender = BTreeSet<(u16, bool, Key)>;

/// The senders of mail, beginning with the one whose turn it is.
pub(super) fn in_turn(by_sender: &BySender, turn: u16) -> impl Iterator<Item = u16> {
    let next = |from: u16| {
        let from = (from, false, FIRST_KEY);
        by_sender.range(from..).next().map(|(sender, ..)| *sender)
    };
    let all_from = move |from: u16| {
        std::iter::successors(next(from), move |sender| next(sender.checked_add(1)?))
    };
    let before = all_from(NOBODY + 1).take_while(move |sender| *sender < turn);
    all_from(turn.max(NOBODY + 1)).chain(before)
}

/// Takes one of each queue, then another one of each, and so on until there are `end` keys or no more. Answers
/// whose was the last one.
pub(super) fn round_by_round<I: Iterator<Item = Key>>(
    mut queues: Vec<(u16, I)>,
    end: usize,
    keys: &mut Vec<Key>,
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
pub(super) fn older_first<T>(
    put_off: impl Iterator<Item = T>,
    others: impl Iterator<Item = T>,
    key: impl Fn(&T) -> Key,
) -> impl Iterator<Item = T> {
    let (mut put_off, mut others) = (put_off.peekable(), others.peekable());
    std::iter::from_fn(move || match (put_off.peek(), others.peek()) {
        (Some(first), Some(other)) if key(other).1 < key(first).1 => others.next(),
        (Some(_), _) => put_off.next(),
        _ => others.next(),
    })
}

/// Before all others.
const FIRST_KEY: Key = (
    mail_types::Timestamp::from_millis(0),
    mail_types::QueueId::from_raw(0),
);
