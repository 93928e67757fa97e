//! What happens to the mail of a domain.

use std::fmt;
use std::time::Duration;

use attempt::{Reason, Side};
use mail_types::{Domain, Host};
use outbound_queue::{
    AttemptEntry, Destination as Key, Filter, MessageState, QueueStore, SummaryRow,
};
use routes::Destination;

use super::{message, time};
use crate::Control;

/// The domain's mail in the queue by reason, the most first, each with an attempt that ended so.
pub(super) struct Waiting {
    pub(super) rows: Vec<(SummaryRow, Option<AttemptEntry>)>,
    /// Messages that are held; no more than [`COUNTED`] of them.
    held: usize,
}

impl Waiting {
    pub(super) async fn find<S: QueueStore>(control: &Control<S>, domain: &Domain) -> Self {
        let now = control.now();
        let mut rows = Vec::new();
        let suspended = control.delivery.suspended_sides();
        let summary = control.queue.summary(now, 0, usize::MAX, &suspended);
        let own = summary.rows.into_iter();
        let own = own.filter(|row| is_for(row.destination.as_str(), domain));
        for row in by_reason(own) {
            let filter = Filter {
                destination: Some(row.destination.clone()),
                reason: row.reason.clone(),
                ..Filter::default()
            };
            // A look at one message; a failing store shows elsewhere.
            let page = control.queue.list(&filter, None, 1, now).await.ok();
            let example = page.and_then(|page| page.messages.into_iter().next());
            let is_put_off = row.reason == Some(Reason::DestinationSuspended.into());
            let entry = example.and_then(|view| {
                let entries = view.attempts.into_iter();
                entries
                    .filter(|e| e.destination == row.destination)
                    // Who was put off has the failures of before.
                    .filter(|e| is_put_off || row.reason == e.note.reason)
                    .max_by_key(|e| e.last)
            });
            rows.push((row, entry));
        }
        let held = Filter {
            domain: Some(domain.as_str().into()),
            state: Some(MessageState::Held),
            ..Filter::default()
        };
        let held = control.queue.list(&held, None, COUNTED, now).await;
        Self {
            rows,
            held: held.map_or(0, |page| page.messages.len()),
        }
    }

    pub(super) fn situation<S: QueueStore>(
        &self,
        control: &Control<S>,
        domain: &Domain,
    ) -> Vec<String> {
        let mut out: Vec<String> = pause(control, domain).into_iter().collect();
        if self.rows.is_empty() {
            out.push(format!("No mail for {domain} waits in the queue."));
        } else {
            let all: u64 = self.rows.iter().map(|(row, _)| row.count).sum();
            let oldest = self.rows.iter().map(|(row, _)| row.oldest).min();
            out.push(format!(
                "{} for {domain} in the queue, the oldest since {}.",
                some_wait(all),
                oldest.map(time).unwrap_or_default(),
            ));
            out.extend(self.end(control, domain));
        }
        if self.held > 0 {
            let (least, held) = match self.held {
                COUNTED => ("At least ", COUNTED),
                held => ("", held),
            };
            let them = if held == 1 {
                "message is"
            } else {
                "messages are"
            };
            out.push(format!(
                "{least}{held} {them} held: no attempt is made until somebody releases them (`sealpost queue list --domain \
                 {domain} --state held`, `sealpost queue release`)."
            ));
        }
        let lanes = control.delivery.lanes();
        for lane in lanes.into_iter().filter(|l| is_for(&l.destination, domain)) {
            if let Some((left, cause)) = lane.suspended {
                let named = Named::new(control, &lane.destination);
                let retry = format!("--domain {domain}");
                out.push(suspension(&named, &retry, left, &cause));
            }
        }
        out
    }
}

impl Waiting {
    /// When the first is given up, or that none is.
    fn end<S: QueueStore>(&self, control: &Control<S>, domain: &Domain) -> Option<String> {
        let settings = control.delivery.settings();
        if !settings.expire_held && pause(control, domain).is_some() {
            return Some(
                "None is given up while the domain is paused (`queue.expire-held`).".into(),
            );
        }
        // What is held has no next attempt.
        let rows = self.rows.iter().map(|(row, _)| row);
        let row = rows
            .filter(|row| settings.expire_held || row.next_attempt.is_some())
            .min_by_key(|row| row.oldest)?;
        let end = row.oldest + settings.retry.lifetime_of(false);
        Some(format!(
            "What cannot be delivered in time is given up, the first at {}.",
            time(end.max(row.next_attempt.unwrap_or_default()))
        ))
    }
}

/// That an operator keeps the domain's mail back, if so.
pub(super) fn pause<S: QueueStore>(control: &Control<S>, domain: &Domain) -> Option<String> {
    let paused = control.delivery.paused();
    let pause = paused.get(&Host::Domain(domain.clone()))?;
    Some(format!(
        "Delivery to {domain} is paused since {} by {} ({}): its mail is accepted and waits. `sealpost queue resume \
         {domain}` lets it go on.",
        time(pause.since),
        pause.by,
        pause.reason
    ))
}

/// A destination as people name it.
pub(super) struct Named {
    /// The recipients' host.
    pub(super) host: String,
    /// The next hop of its route.
    via: Option<String>,
}

impl Named {
    /// From the queue's name of it, which has a key in it that is nobody's business.
    pub(super) fn new<S: QueueStore>(control: &Control<S>, destination: &str) -> Self {
        let (host, via) = match Destination::parse(destination) {
            Some(parsed) => control.delivery.settings().routes.in_words(&parsed),
            None => (destination.to_owned(), None),
        };
        Self { host, via }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.via {
            Some(hop) => write!(f, "{} via {hop}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// Whose move it is at a destination that is being left alone.
pub(super) fn suspended_side<S: QueueStore>(control: &Control<S>, key: &str) -> Option<Side> {
    Some(control.delivery.suspended_for(&Key::new(key))?.1)
}

/// A destination that is being left alone; `retry` is what `queue retry` has to be told.
pub(super) fn suspension(named: &Named, retry: &str, left: Duration, cause: &str) -> String {
    format!(
        "Delivery to {named} is suspended for another {} seconds after repeated failures. The last one: \
         {cause} `sealpost queue retry {retry}` tries it now.",
        left.as_secs()
    )
}

/// One row for each destination and reason, whoever has to act.
fn by_reason(rows: impl Iterator<Item = SummaryRow>) -> Vec<SummaryRow> {
    let mut out: Vec<SummaryRow> = Vec::new();
    for row in rows {
        let same = |other: &&mut SummaryRow| {
            (&other.destination, &other.reason) == (&row.destination, &row.reason)
        };
        match out.iter_mut().find(same) {
            Some(other) => {
                other.count += row.count;
                other.held &= row.held;
                other.oldest = other.oldest.min(row.oldest);
                let next = [other.next_attempt, row.next_attempt];
                other.next_attempt = next.into_iter().flatten().min();
            }
            None => out.push(row),
        }
    }
    out
}

/// One row of the summary, and what an attempt that ended so found.
///
/// `paused`: no attempt is made.
pub(super) fn why(
    row: &SummaryRow,
    entry: Option<&AttemptEntry>,
    domain: &str,
    paused: bool,
) -> Vec<String> {
    let Some(key) = &row.reason else {
        return vec![format!(
            "{} and has not been tried yet.",
            some_wait(row.count)
        )];
    };
    let next = row
        .next_attempt
        .filter(|_| !paused)
        .map(|at| format!("; the next attempt is at {}", time(at)))
        .unwrap_or_default();
    let mut out = vec![format!(
        "{} with the reason {key}, the oldest since {}{next}.",
        some_wait(row.count),
        time(row.oldest)
    )];
    match (entry, key.known()) {
        (Some(entry), _) => out.extend(message::failure(entry, domain, row.held)),
        (None, Some(reason)) => out.extend(message::meaning(
            reason,
            domain,
            row.side.filter(|_| !row.held),
        )),
        (None, None) => {}
    }
    out
}

/// `1 message waits`, `2 messages wait`.
pub(super) fn some_wait(count: u64) -> String {
    match count {
        1 => "1 message waits".to_owned(),
        n => format!("{n} messages wait"),
    }
}

/// Whether a destination of the queue is this domain's, by MX records or by a route.
pub(super) fn is_for(destination: &str, domain: &Domain) -> bool {
    Destination::parse(destination).is_some_and(|d| d.host == Host::Domain(domain.clone()))
}

/// Held messages that are counted.
const COUNTED: usize = 1000;
