//! How many notifications are sent: who has his address forged, or a program that fails ten thousand
//! times, must not be buried in them (RFC 5321 section 6.2, row F4-06).
//!
//! Per reverse-path and in all, by fixed windows. A notification over a limit is not made; that is told
//! in the log for each message, counted, and summarised to the postmaster when the window of its sender
//! ends. The windows are memory: a restart begins new ones, after the summaries of the old.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use mail_types::{Mailbox, QueueId, Timestamp};
use parking_lot::Mutex;

/// So many per period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In which time.
    pub period: Duration,
}

/// `queue.notifications-…`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoticeSettings {
    /// To one reverse-path; `None` for no limit.
    pub per_sender: Option<Rate>,
    /// To all of them; `None` for no limit.
    pub in_all: Option<Rate>,
    /// Who gets the summaries.
    pub postmaster: Option<Mailbox>,
}

/// Which limit keeps a notification back.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// `queue.notifications-per-sender`.
    PerSender,
    /// `queue.notifications-in-all`.
    InAll,
}

/// What one sender was not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeSummary {
    /// The reverse-path.
    pub sender: Mailbox,
    /// Notifications that were not made.
    pub withheld: u64,
    /// Recipients that they would have told of.
    pub recipients: u64,
    /// The messages that they were about: the first and the last.
    pub messages: (QueueId, QueueId),
    /// When the first and the last of them were kept back.
    pub times: (Timestamp, Timestamp),
}

/// The windows.
#[derive(Default)]
pub(crate) struct NoticeLimits(Mutex<State>);

#[derive(Default)]
struct State {
    senders: HashMap<Box<str>, Window>,
    all: Count,
    /// Of windows that have ended.
    ended: Vec<NoticeSummary>,
}

/// One sender's, from the first notification on.
struct Window {
    since: Duration,
    so_far: u32,
    over: Option<NoticeSummary>,
}

#[derive(Default)]
struct Count {
    since: Duration,
    so_far: u32,
}

impl Withheld {
    /// The configuration's key.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::PerSender => "queue.notifications-per-sender",
            Self::InAll => "queue.notifications-in-all",
        }
    }
}

impl Count {
    /// Whether one more fits; it is counted then. `now` is monotonic.
    fn fits(&mut self, rate: Option<Rate>, now: Duration) -> bool {
        let Some(rate) = rate else { return true };
        if self.is_over(rate, now) {
            *self = Self {
                since: now,
                so_far: 0,
            };
        }
        let fits = self.so_far < rate.count.get();
        self.so_far += u32::from(fits);
        fits
    }

    fn is_over(&self, rate: Rate, now: Duration) -> bool {
        self.so_far == 0 || now.saturating_sub(self.since) >= rate.period
    }
}

impl Window {
    const fn new(now: Duration) -> Self {
        Self {
            since: now,
            so_far: 0,
            over: None,
        }
    }

    fn is_over(&self, period: Duration, now: Duration) -> bool {
        now.saturating_sub(self.since) >= period
    }

    fn fits(&mut self, rate: Option<Rate>) -> bool {
        let fits = rate.is_none_or(|rate| self.so_far < rate.count.get());
        self.so_far += u32::from(fits);
        fits
    }
}

impl NoticeLimits {
    /// Whether a notification of so many `recipients` of a message may be made; `now` on both clocks.
    pub(crate) fn check(
        &self,
        settings: &NoticeSettings,
        sender: &Mailbox,
        about: (QueueId, usize),
        now: outbound_queue::Now,
    ) -> Option<Withheld> {
        if settings.per_sender.is_none() && settings.in_all.is_none() {
            return None;
        }
        let state = &mut *self.0.lock();
        let name: Box<str> = sender.as_str().to_ascii_lowercase().into();
        if state.senders.len() >= SENDERS && !state.senders.contains_key(&name) {
            state.forget(settings, now.monotonic);
        }
        // With so many senders it is not one of them that is flooded: the limit in all is left.
        let full = state.senders.len() >= SENDERS && !state.senders.contains_key(&name);
        if full {
            let fits = state.all.fits(settings.in_all, now.monotonic);
            return (!fits).then_some(Withheld::InAll);
        }
        let window = state.senders.entry(name);
        let window = window.or_insert_with(|| Window::new(now.monotonic));
        if window.is_over(settings.period(), now.monotonic) {
            // A flood goes on: what was kept back until now is told all the same.
            state.ended.extend(window.over.take());
            *window = Window::new(now.monotonic);
        }
        let withheld = if !window.fits(settings.per_sender) {
            Withheld::PerSender
        } else if !state.all.fits(settings.in_all, now.monotonic) {
            Withheld::InAll
        } else {
            return None;
        };
        let (id, recipients) = about;
        let summary = window.over.get_or_insert_with(|| NoticeSummary {
            sender: sender.clone(),
            withheld: 0,
            recipients: 0,
            messages: (id, id),
            times: (now.wall, now.wall),
        });
        summary.withheld += 1;
        summary.recipients += recipients as u64;
        summary.messages.1 = id;
        summary.times.1 = now.wall;
        Some(withheld)
    }

    /// The summaries of windows that have ended; all that there are with `now` at the end of time.
    pub(crate) fn ended(&self, settings: &NoticeSettings, now: Duration) -> Vec<NoticeSummary> {
        let state = &mut *self.0.lock();
        let period = settings.period();
        let mut summaries = std::mem::take(&mut state.ended);
        let senders = state.senders.values_mut();
        let ended = senders.filter(|window| window.is_over(period, now));
        summaries.extend(ended.filter_map(|window| window.over.take()));
        state
            .senders
            .retain(|_, window| !window.is_over(period, now));
        summaries.sort_by_key(|s| std::cmp::Reverse(s.withheld));
        summaries
    }

    /// Senders that are remembered.
    pub(crate) fn senders(&self) -> usize {
        self.0.lock().senders.len()
    }
}

impl State {
    /// Makes room: who has nothing withheld and a window that is over is forgotten.
    fn forget(&mut self, settings: &NoticeSettings, now: Duration) {
        let period = settings.period();
        self.senders
            .retain(|_, window| window.over.is_some() || !window.is_over(period, now));
    }
}

impl NoticeSettings {
    /// How long a sender's window lasts.
    fn period(&self) -> Duration {
        let rates = self.per_sender.or(self.in_all);
        rates.map_or(DAY, |rate| rate.period)
    }
}

/// Senders that are remembered.
pub(crate) const SENDERS: usize = 10_000;
const DAY: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;
    use outbound_queue::Now;

    fn at(secs: u64) -> Now {
        Now {
            wall: Timestamp::from_secs(1_800_000_000 + secs),
            monotonic: Duration::from_secs(secs),
        }
    }

    fn rate(count: u32, secs: u64) -> Option<Rate> {
        Some(Rate {
            count: count.try_into().unwrap(),
            period: Duration::from_secs(secs),
        })
    }

    fn settings(per_sender: Option<Rate>, in_all: Option<Rate>) -> NoticeSettings {
        NoticeSettings {
            per_sender,
            in_all,
            postmaster: None,
        }
    }

    fn about(n: u64) -> (QueueId, usize) {
        (QueueId::from_raw(n), 2)
    }

    #[test]
    fn f4_06_ten_thousand_failures_of_one_sender_are_a_few_notices_and_one_summary() {
        let limits = NoticeLimits::default();
        let settings = settings(rate(100, 86_400), None);
        let sender: Mailbox = "News@Org.test".parse().unwrap();
        let other: Mailbox = "b@org.test".parse().unwrap();
        let sent = (0..10_000u64)
            .filter(|n| {
                limits
                    .check(&settings, &sender, about(*n), at(n / 10))
                    .is_none()
            })
            .count();
        assert_eq!(sent, 100);
        assert_eq!(limits.check(&settings, &other, about(1), at(1000)), None);
        assert!(
            limits
                .ended(&settings, Duration::from_secs(86_399))
                .is_empty()
        );
        let ended = limits.ended(&settings, Duration::from_secs(86_400));
        let [summary] = &ended[..] else {
            panic!("{ended:?}")
        };
        assert_eq!((summary.withheld, summary.recipients), (9_900, 19_800));
        assert_eq!(summary.messages.1, QueueId::from_raw(9_999));
        assert_eq!(
            limits.check(&settings, &sender, about(1), at(86_500)),
            None,
            "a new day"
        );
    }

    #[test]
    fn f4_06_forged_senders_share_the_limit_in_all() {
        let limits = NoticeLimits::default();
        let settings = settings(rate(5, 3600), rate(50, 3600));
        let sent = (0..30_000u64).filter(|n| {
            let sender = format!("u{n}@org.test").parse().unwrap();
            limits.check(&settings, &sender, about(*n), at(1)).is_none()
        });
        assert_eq!(sent.count(), 50);
        assert!(limits.senders() <= SENDERS);
        let total: u64 = limits
            .ended(&settings, DAY)
            .iter()
            .map(|s| s.withheld)
            .sum();
        assert!(total > 9_000, "{total}");
    }

    #[test]
    fn f4_06_a_flood_that_goes_on_is_summarised_each_period() {
        let limits = NoticeLimits::default();
        let settings = settings(rate(2, 100), None);
        let sender: Mailbox = "a@org.test".parse().unwrap();
        let mut told = Vec::new();
        // One a second, and a sweep that comes behind it.
        for second in 1_000..1_350u64 {
            let _ = limits.check(&settings, &sender, about(second), at(second));
            told.extend(limits.ended(&settings, Duration::from_secs(second)));
        }
        let withheld: Vec<u64> = told.iter().map(|summary| summary.withheld).collect();
        assert_eq!(withheld, [98, 98, 98]);
    }

    #[test]
    fn f4_06_with_the_limit_in_all_alone_there_is_a_summary_a_period_too() {
        let limits = NoticeLimits::default();
        let settings = settings(None, rate(2, 100));
        let sender: Mailbox = "a@org.test".parse().unwrap();
        // The machine has been up for long.
        for second in 90_000..90_099u64 {
            let _ = limits.check(&settings, &sender, about(second), at(second));
            let told = limits.ended(&settings, Duration::from_secs(second));
            assert_eq!(told, [], "at {second}");
        }
        let told = limits.ended(&settings, Duration::from_secs(90_100));
        assert_eq!(told.iter().map(|s| s.withheld).sum::<u64>(), 97);
    }

    #[test]
    fn f4_06_without_limits_nothing_is_kept_back_or_remembered() {
        let limits = NoticeLimits::default();
        let sender: Mailbox = "a@org.test".parse().unwrap();
        for n in 0..1000 {
            assert_eq!(
                limits.check(&settings(None, None), &sender, about(n), at(1)),
                None
            );
        }
        assert_eq!(limits.senders(), 0);
    }
}
