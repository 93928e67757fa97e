//! How the mail ended that has left the queue lately.
//!
//! In memory, and bounded: what was delivered has a ring of its own, so that a busy hour does not push
//! out what came back. Everything older is in the log.

use std::collections::VecDeque;
use std::fmt::Write as _;

use attempt::{Authenticated, DsnKind, DsnSent, Outcome, Record, TlsSession};
use mail_types::{QueueId, Timestamp};
use parking_lot::Mutex;

/// The last ends.
#[derive(Debug, Default)]
pub struct Ends {
    delivered: Mutex<VecDeque<End>>,
    others: Mutex<VecDeque<End>>,
}

/// What became of a recipient, or of a whole message.
#[derive(Clone, Debug)]
struct End {
    id: QueueId,
    at: Timestamp,
    /// Without the time.
    told: Box<str>,
}

impl Ends {
    /// An attempt has ended; only what ends its recipient is kept.
    pub fn attempt(&self, record: &Record<'_>) {
        let ring = match record.outcome {
            Outcome::Sent => &self.delivered,
            Outcome::Bounced | Outcome::Expired => &self.others,
            Outcome::Deferred | Outcome::Held => return,
        };
        keep(ring, record.queue_id, record.at, &of_recipient(record));
    }

    /// A notification was made.
    pub fn notified(&self, event: &DsnSent<'_>) {
        let ring = match event.kind {
            DsnKind::Failed => &self.others,
            // Of mail that went on: it must not push out what came back.
            DsnKind::Relayed => &self.delivered,
            DsnKind::Delayed => return,
        };
        let told = format!(
            "Its sender {} was sent the notification {} about it.",
            event.to, event.dsn_id
        );
        keep(ring, event.queue_id, event.at, &told);
    }

    /// An operator has cancelled it.
    pub fn cancelled(&self, id: QueueId, at: Timestamp, under_way: bool) {
        let still = match under_way {
            true => " It was being delivered at that moment, and may have arrived.",
            false => "",
        };
        let told = format!(
            "An operator cancelled it: it was removed, and its sender was not told.{still}"
        );
        keep(&self.others, id, at, &told);
    }

    /// What is known of this message, oldest first, in a sentence or two each.
    #[must_use]
    pub fn of(&self, id: QueueId) -> Vec<String> {
        let mut found: Vec<End> = Vec::new();
        for ring in [&self.delivered, &self.others] {
            let ring = ring.lock();
            found.extend(ring.iter().filter(|end| end.id == id).cloned());
        }
        found.sort_by_key(|end| end.at);
        let more = found.len().saturating_sub(TOLD);
        let told = found.iter().take(TOLD);
        let mut told: Vec<String> = told
            .map(|end| format!("{}: {}", second(end.at), end.told))
            .collect();
        if more > 0 {
            told.push(format!("And {more} more like these."));
        }
        told
    }
}

fn keep(ring: &Mutex<VecDeque<End>>, id: QueueId, at: Timestamp, told: &str) {
    let told = told.chars().take(LONGEST).collect::<String>().into();
    let mut ring = ring.lock();
    if ring.len() >= KEPT {
        ring.pop_front();
    }
    ring.push_back(End { id, at, told });
}

/// What is told in sentences needs no more.
fn second(at: Timestamp) -> String {
    Timestamp::from_secs(at.as_secs())
        .rfc3339()
        .replace(".000Z", "Z")
}

fn of_recipient(record: &Record<'_>) -> String {
    let mut told = String::with_capacity(160);
    // Writing to a string does not fail.
    let _ = match record.outcome {
        Outcome::Sent => write!(told, "Delivered for {}", record.to),
        Outcome::Expired => write!(
            told,
            "Given up for {} after {}",
            record.to,
            attempts(record.attempt)
        ),
        Outcome::Bounced | Outcome::Deferred | Outcome::Held => {
            write!(
                told,
                "Failed for good: it could not be delivered to {}",
                record.to
            )
        }
    };
    if let Some(mx) = record.mx {
        let by = match record.outcome {
            Outcome::Sent => " to",
            _ => "; last tried was",
        };
        let _ = write!(told, "{by} {mx}");
        if let Some(ip) = record.ip.filter(|ip| !mx.contains(&ip.to_string())) {
            let _ = write!(told, " ({ip})");
        }
    }
    match record.outcome {
        Outcome::Sent => told.push_str(&protection(record.tls)),
        _ => {
            let _ = write!(told, ". {}", record.detail);
            if let Some(reason) = record.reason {
                let _ = write!(told, " Reason key: {}.", reason.key());
            }
        }
    }
    if let Some(reply) = record.reply {
        let words = reply.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = write!(told, " The host's own words: {words}");
    }
    told
}

fn attempts(count: u32) -> String {
    match count {
        1 => "1 attempt".to_owned(),
        n => format!("{n} attempts"),
    }
}

/// How it went over the wire.
fn protection(tls: Option<&TlsSession>) -> String {
    let Some(tls) = tls else {
        return ", without TLS.".to_owned();
    };
    let proof = match tls.authenticated {
        Authenticated::Pkix => "with a verified certificate",
        Authenticated::DaneEe | Authenticated::DaneTa => {
            "with a certificate that its TLSA records vouch for"
        }
        Authenticated::None => "with a certificate that nothing demanded to be verified",
    };
    format!(" over {}, {proof}.", tls.version)
}

/// Of each kind: half a megabyte each, as replies and addresses usually are.
const KEPT: usize = 2000;
/// Characters of each.
const LONGEST: usize = 800;
/// Of one message.
const TOLD: usize = 50;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use attempt::{Delays, Reason};
    use mail_types::{EnhancedStatus, ReversePath};

    use super::*;

    fn id(n: u64) -> QueueId {
        QueueId::from_raw(n)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn what_ended_is_told_in_order_and_only_of_the_message() {
        let ends = Ends::default();
        keep(&ends.others, id(1), at(20), "b");
        keep(&ends.delivered, id(2), at(15), "of another");
        keep(&ends.delivered, id(1), at(10), "a");
        ends.cancelled(id(1), at(30), true);
        let told = ends.of(id(1));
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[0], "1970-01-01T00:00:10Z: a");
        assert_eq!(told[1], "1970-01-01T00:00:20Z: b");
        assert!(
            told[2].contains("cancelled") && told[2].contains("may have arrived"),
            "{told:?}"
        );
        assert_eq!(ends.of(id(3)), Vec::<String>::new());
    }

    #[test]
    fn what_is_kept_is_bounded_and_deliveries_do_not_push_out_failures() {
        let ends = Ends::default();
        keep(&ends.others, id(1), at(1), &"x".repeat(10_000));
        for n in 0..2 * KEPT as u64 {
            keep(&ends.delivered, id(2), at(n), "delivered");
        }
        assert_eq!(ends.delivered.lock().len(), KEPT);
        assert!(ends.of(id(1))[0].len() < LONGEST + 30);
        let told = ends.of(id(2));
        assert_eq!(told.len(), TOLD + 1);
        assert_eq!(told[TOLD], format!("And {} more like these.", KEPT - TOLD));
    }

    #[test]
    fn notifications_of_what_went_on_do_not_push_out_what_came_back() {
        let ends = Ends::default();
        let to = "a@s.test".parse().unwrap();
        let notified = |n, kind| {
            ends.notified(&DsnSent {
                at: at(n),
                queue_id: id(n),
                dsn_id: id(n + 1),
                to: &to,
                kind,
                nrcpt: 1,
                size: 1,
            });
        };
        notified(1, DsnKind::Failed);
        for n in 2..=KEPT as u64 + 2 {
            notified(n, DsnKind::Relayed);
        }
        notified(9000, DsnKind::Delayed);
        assert_eq!(ends.of(id(1)).len(), 1);
        assert_eq!(ends.of(id(3)).len(), 1);
        assert_eq!(ends.of(id(9000)), Vec::<String>::new(), "it has not left");
    }

    /// Whether anything was returned is what the notification's entry says: mail without a sender, and
    /// whoever asked for none, gets none.
    #[test]
    fn what_failed_is_not_called_returned() {
        let (from, to) = (ReversePath::Null, "b@d.test".parse().unwrap());
        let record = Record {
            at: at(1),
            outcome: Outcome::Bounced,
            queue_id: id(1),
            upstream_id: None,
            message_id: None,
            from: &from,
            to: &to,
            domain: "d.test",
            mx: Some("mx.d.test"),
            ip: None,
            port: None,
            tried: &[],
            reason: Some(Reason::Remote5xx),
            dsn: EnhancedStatus::permanent(1, 1),
            reply: Some("550 5.1.1 nobody"),
            in_reply_to: None,
            detail: "No such user.",
            policies: &[],
            first_contact: false,
            no_policy: None,
            weakened_by: None,
            tls: None,
            attempt: 1,
            next_attempt: None,
            for_sender: false,
            gives_up: None,
            delay: Duration::ZERO,
            delays: Delays::default(),
            side: None,
            advice: "",
        };
        let told = of_recipient(&record);
        assert!(
            told.starts_with("Failed for good: it could not be delivered to b@d.test")
                && !told.contains("eturned"),
            "{told}"
        );
    }
}
