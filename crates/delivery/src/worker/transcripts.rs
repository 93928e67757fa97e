//! The last dialogue of each destination and cause, for `queue show`.
//!
//! Kept in memory, one per destination and cause, so that ten thousand messages that fail alike
//! share one; at most [`MOST`], each of 4 KiB at most. A restart forgets them: the records of the
//! attempts are in the queue.

use std::collections::HashMap;
use std::sync::Arc;

use attempt::Reason;
use mail_types::{QueueId, Timestamp};
use outbound_queue::Destination;
use parking_lot::Mutex;

/// The dialogues.
#[derive(Default)]
pub(crate) struct Transcripts {
    kept: Mutex<HashMap<(Destination, Reason), Dialogue>>,
}

/// Commands and replies of the last session that ended in a cause, without content and secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialogue {
    /// When it ended.
    pub at: Timestamp,
    /// The message in hand.
    pub id: QueueId,
    /// With which host and address.
    pub peer: Arc<str>,
    /// `> ` is what we said, `< ` what the host said, `* ` what happened beside.
    pub text: Arc<str>,
}

impl Transcripts {
    /// Remembers a dialogue that ended in this cause.
    pub(crate) fn keep(
        &self,
        destination: &Destination,
        reason: Reason,
        at: Timestamp,
        id: QueueId,
        peer: &str,
        text: String,
    ) {
        if text.is_empty() {
            return;
        }
        let mut kept = self.kept.lock();
        let key = (destination.clone(), reason);
        if kept.len() >= MOST && !kept.contains_key(&key) {
            let oldest = kept.iter().min_by_key(|(_, d)| d.at);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                kept.remove(&oldest);
            }
        }
        kept.insert(
            key,
            Dialogue {
                at,
                id,
                peer: peer.into(),
                text: text.into(),
            },
        );
    }

    /// As last remembered.
    pub(crate) fn get(&self, destination: &Destination, reason: Reason) -> Option<Dialogue> {
        let key = (destination.clone(), reason);
        self.kept.lock().get(&key).cloned()
    }
}

/// Four mebibytes at the very most.
const MOST: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_for_each_destination_and_cause_and_only_so_many() {
        let all = Transcripts::default();
        let destination = |n: u64| Destination::new(&format!("d{n}.test"));
        let keep = |n: u64, reason, at, text: &str| {
            let at = Timestamp::from_secs(at);
            all.keep(
                &destination(n),
                reason,
                at,
                QueueId::from_raw(n),
                "mx [192.0.2.1]",
                text.to_owned(),
            );
        };
        let text = |n, reason| all.get(&destination(n), reason).map(|d| d.text.to_string());
        keep(0, Reason::Remote4xx, 1, "first");
        keep(0, Reason::Remote4xx, 2, "second");
        keep(0, Reason::Timeout, 2, "third");
        keep(0, Reason::Timeout, 3, "");
        assert_eq!(text(0, Reason::Remote4xx).as_deref(), Some("second"));
        assert_eq!(text(0, Reason::Timeout).as_deref(), Some("third"));
        assert_eq!(text(1, Reason::Timeout), None);
        for n in 1..=MOST as u64 {
            keep(n, Reason::Timeout, 10 + n, "more");
        }
        assert_eq!(all.kept.lock().len(), MOST);
        assert_eq!(text(0, Reason::Remote4xx), None, "the oldest went");
        assert!(text(MOST as u64, Reason::Timeout).is_some());
    }
}
