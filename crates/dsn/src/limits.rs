//! How many notifications are sent: who has his address forged, or a program that fails ten thousand
//! times, must not be buried in them (RFC 5321 section 6.2, row F4-06).
//!
//! Per reverse-path and in all, by fixed windows. What counts is the message: there is a notification for each
//! of its destinations, and a newsletter to six hundred domains is one mishap, not six hundred. Failures have a
//! count of their own, as large as that of all else: were there one for all, a day of delays would take the room of
//! the bounces that follow them, and those are the last word on the mail.
//!
//! A notification over a limit is not made; that is told
//! in the log for each message, counted, and summarised to the postmaster when the window of its sender
//! ends. The windows are memory: an orderly restart begins new ones, after the summaries of the old; a crash takes
//! those with it. So many senders have one of their own; where there are more, as somebody may see to who forges them, the others
//! share some by chance, and one line of the summary.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::time::Duration;

use mail_types::{Mailbox, QueueId, Timestamp};

use crate::Action;

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
    /// The reverse-path; `None` for all that had no window of their own.
    pub sender: Option<Mailbox>,
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
pub struct NoticeLimits {
    senders: HashMap<Box<str>, Window>,
    all: Each<Count>,
    others: Option<Others>,
    /// Messages that have been counted, and when: their further notifications are not.
    counted: HashMap<(QueueId, Sort), Duration>,
    /// Of windows that have ended.
    ended: Vec<NoticeSummary>,
}

/// One sender's, from the first notification on.
struct Window {
    since: Duration,
    so_far: Each<Count>,
    over: Option<NoticeSummary>,
}

/// Of senders beyond [`SENDERS`]: which of the windows is whose nobody can know before.
struct Others {
    hash: RandomState,
    counts: Box<[Each<Count>]>,
    /// Since when something was withheld.
    since: Duration,
    over: Option<NoticeSummary>,
}

#[derive(Clone, Default)]
struct Count {
    since: Duration,
    so_far: u32,
}

/// What has a count of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sort {
    /// The mail is lost unless its sender does something.
    Failure,
    /// Nothing is lost: a delay, or that it was passed on.
    Progress,
}

#[derive(Clone, Default)]
struct Each<T> {
    failure: T,
    progress: T,
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

impl From<Action> for Sort {
    fn from(action: Action) -> Self {
        match action {
            Action::Failed | Action::Expired => Self::Failure,
            Action::Delayed | Action::Relayed => Self::Progress,
        }
    }
}

impl<T> Each<T> {
    const fn of(&mut self, sort: Sort) -> &mut T {
        match sort {
            Sort::Failure => &mut self.failure,
            Sort::Progress => &mut self.progress,
        }
    }
}

impl Count {
    /// Whether one more fits. `now` is monotonic.
    fn has_room(&mut self, rate: Option<Rate>, now: Duration) -> bool {
        let Some(rate) = rate else { return true };
        if self.so_far == 0 || now.saturating_sub(self.since) >= rate.period {
            *self = Self {
                since: now,
                so_far: 0,
            };
        }
        self.so_far < rate.count.get()
    }

    /// One more of both. Neither is counted for what the other keeps back.
    fn one_more(
        own: &mut Self,
        all: &mut Self,
        settings: &NoticeSettings,
        now: Duration,
    ) -> Option<Withheld> {
        if !own.has_room(settings.per_sender, now) {
            return Some(Withheld::PerSender);
        }
        if !all.has_room(settings.in_all, now) {
            return Some(Withheld::InAll);
        }
        own.so_far = own.so_far.saturating_add(1);
        all.so_far = all.so_far.saturating_add(1);
        None
    }
}

impl Window {
    fn new(now: Duration) -> Self {
        Self {
            since: now,
            so_far: Each::default(),
            over: None,
        }
    }

    fn is_over(&self, period: Duration, now: Duration) -> bool {
        now.saturating_sub(self.since) >= period
    }
}

impl NoticeLimits {
    /// Whether a notification about a message and so many of its recipients may be made; now on both clocks.
    pub fn check(
        &mut self,
        settings: &NoticeSettings,
        sender: &Mailbox,
        action: Action,
        about: (QueueId, usize),
        (wall, monotonic): (Timestamp, Duration),
    ) -> Option<Withheld> {
        if settings.per_sender.is_none() && settings.in_all.is_none() {
            return None;
        }
        let period = settings.period();
        let sort = Sort::from(action);
        let message = (about.0, sort);
        let since = self.counted.get(&message);
        if since.is_some_and(|since| monotonic.saturating_sub(*since) < period) {
            return None;
        }
        let all = self.all.of(sort);
        let name: Box<str> = sender.as_str().to_ascii_lowercase().into();
        // Windows that have ended are swept away every few seconds ([`NoticeLimits::ended`]).
        let withheld = if self.senders.len() >= SENDERS && !self.senders.contains_key(&name) {
            let others = self.others.get_or_insert_with(Others::new);
            let mut unshared = Each::default();
            let own = others.count(&name).unwrap_or(&mut unshared).of(sort);
            let withheld = Count::one_more(own, all, settings, monotonic);
            if withheld.is_some() {
                if others.over.is_none() {
                    others.since = monotonic;
                }
                note(&mut others.over, None, about, wall);
            }
            withheld
        } else {
            let window = self.senders.entry(name);
            let window = window.or_insert_with(|| Window::new(monotonic));
            if window.is_over(period, monotonic) {
                // A flood goes on: what was kept back until now is told all the same.
                self.ended.extend(window.over.take());
                *window = Window::new(monotonic);
            }
            let own = window.so_far.of(sort);
            let withheld = Count::one_more(own, all, settings, monotonic);
            if withheld.is_some() {
                note(&mut window.over, Some(sender), about, wall);
            }
            withheld
        };
        // Where there are more, each of their notifications counts.
        if withheld.is_none() && self.counted.len() < COUNTED {
            self.counted.insert(message, monotonic);
        }
        withheld
    }

    /// The summaries of windows that have ended; all that there are with `now` at the end of time.
    #[must_use]
    pub fn ended(&mut self, settings: &NoticeSettings, now: Duration) -> Vec<NoticeSummary> {
        let state = self;
        let period = settings.period();
        let mut summaries = std::mem::take(&mut state.ended);
        let senders = state.senders.values_mut();
        let ended = senders.filter(|window| window.is_over(period, now));
        summaries.extend(ended.filter_map(|window| window.over.take()));
        state
            .senders
            .retain(|_, window| !window.is_over(period, now));
        let is_recent = |since: Duration| now.saturating_sub(since) < period;
        state.counted.retain(|_, since| is_recent(*since));
        if let Some(others) = &mut state.others {
            let is_over = now.saturating_sub(others.since) >= period;
            summaries.extend(others.over.take_if(|_| is_over));
        }
        if state.senders.len() < SENDERS / 2 {
            state.others.take_if(|others| others.over.is_none());
        }
        summaries.sort_by_key(|s| std::cmp::Reverse(s.withheld));
        summaries
    }

    /// Senders that are remembered.
    #[must_use]
    pub fn senders(&self) -> usize {
        self.senders.len()
    }
}

impl Others {
    fn new() -> Self {
        Self {
            hash: RandomState::new(),
            counts: vec![Each::default(); SHARED].into(),
            since: Duration::ZERO,
            over: None,
        }
    }

    fn count(&mut self, name: &str) -> Option<&mut Each<Count>> {
        let at = self.hash.hash_one(name) % self.counts.len().max(1) as u64;
        self.counts.get_mut(usize::try_from(at).ok()?)
    }
}

/// One more that is withheld.
fn note(
    over: &mut Option<NoticeSummary>,
    sender: Option<&Mailbox>,
    (id, recipients): (QueueId, usize),
    now: Timestamp,
) {
    let summary = over.get_or_insert_with(|| NoticeSummary {
        sender: sender.cloned(),
        withheld: 0,
        recipients: 0,
        messages: (id, id),
        times: (now, now),
    });
    summary.withheld += 1;
    summary.recipients += recipients as u64;
    summary.messages.1 = id;
    summary.times.1 = now;
}

impl NoticeSettings {
    /// How long a sender's window lasts.
    fn period(&self) -> Duration {
        let rates = self.per_sender.or(self.in_all);
        rates.map_or(DAY, |rate| rate.period)
    }
}

/// Senders that have a window of their own.
pub const SENDERS: usize = 10_000;
/// Windows that the others share: 800 KiB, while there are so many.
const SHARED: usize = 16_384;
/// Messages that are remembered as counted: a few MiB at most.
const COUNTED: usize = 100_000;
const DAY: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Action = Action::Failed;

    fn at(secs: u64) -> (Timestamp, Duration) {
        (
            Timestamp::from_secs(1_800_000_000 + secs),
            Duration::from_secs(secs),
        )
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
        let mut limits = NoticeLimits::default();
        let settings = settings(rate(100, 86_400), None);
        let sender: Mailbox = "News@Org.test".parse().unwrap();
        let other: Mailbox = "b@org.test".parse().unwrap();
        let sent = (0..10_000u64)
            .filter(|n| {
                limits
                    .check(&settings, &sender, FAILED, about(*n), at(n / 10))
                    .is_none()
            })
            .count();
        assert_eq!(sent, 100);
        assert_eq!(
            limits.check(&settings, &other, FAILED, about(10_000), at(1000)),
            None
        );
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
            limits.check(&settings, &sender, FAILED, about(1), at(86_500)),
            None,
            "a new day"
        );
    }

    #[test]
    fn f4_06_forged_senders_share_the_limit_in_all() {
        let mut limits = NoticeLimits::default();
        let settings = settings(rate(5, 3600), rate(50, 3600));
        let sent = (0..30_000u64).filter(|n| {
            let sender = format!("u{n}@org.test").parse().unwrap();
            limits
                .check(&settings, &sender, FAILED, about(*n), at(1))
                .is_none()
        });
        assert_eq!(sent.count(), 50);
        assert!(limits.senders() <= SENDERS);
        // One line tells of all that came after the table was full.
        let summaries = limits.ended(&settings, DAY);
        let others = summaries.iter().find(|s| s.sender.is_none()).unwrap();
        assert_eq!(others.withheld, 20_000);
        let total: u64 = summaries.iter().map(|s| s.withheld).sum();
        assert_eq!(total, 30_000 - 50);
    }

    #[test]
    fn f4_06_who_comes_when_all_windows_are_taken_is_limited_too() {
        const NEW: u64 = 1_000_000;
        let mut limits = NoticeLimits::default();
        let settings = settings(rate(5, 3600), None);
        for n in 0..SENDERS as u64 {
            let sender = format!("u{n}@org.test").parse().unwrap();
            assert_eq!(
                limits.check(&settings, &sender, FAILED, about(n), at(1)),
                None
            );
        }
        let sender: Mailbox = "victim@org.test".parse().unwrap();
        let sent = (0..100).filter(|n| {
            limits
                .check(&settings, &sender, FAILED, about(NEW + *n), at(2))
                .is_none()
        });
        assert_eq!(sent.count(), 5);
        // Of others hardly anybody has his window.
        let others = (0..50).filter(|n| {
            let other = format!("other{n}@org.test").parse().unwrap();
            limits
                .check(&settings, &other, FAILED, about(NEW + *n), at(3))
                .is_none()
        });
        assert!(others.count() >= 48);
        assert_eq!(limits.senders(), SENDERS);
        assert!(
            limits
                .ended(&settings, Duration::from_secs(3600))
                .is_empty()
        );
        let [told] = &limits.ended(&settings, Duration::from_secs(3602))[..] else {
            panic!("one line for all others")
        };
        assert!(
            told.sender.is_none() && (95..=97).contains(&told.withheld),
            "{told:?}"
        );
        // Then there is room again.
        assert_eq!(limits.senders(), 0);
        assert_eq!(
            limits.check(&settings, &sender, FAILED, about(NEW), at(3603)),
            None
        );
        assert_eq!(limits.senders(), 1);
    }

    #[test]
    fn f4_06_a_flood_that_goes_on_is_summarised_each_period() {
        let mut limits = NoticeLimits::default();
        let settings = settings(rate(2, 100), None);
        let sender: Mailbox = "a@org.test".parse().unwrap();
        let mut told = Vec::new();
        // One a second, and a sweep that comes behind it.
        for second in 1_000..1_350u64 {
            let _ = limits.check(&settings, &sender, FAILED, about(second), at(second));
            told.extend(limits.ended(&settings, Duration::from_secs(second)));
        }
        let withheld: Vec<u64> = told.iter().map(|summary| summary.withheld).collect();
        assert_eq!(withheld, [98, 98, 98]);
    }

    #[test]
    fn f4_06_with_the_limit_in_all_alone_there_is_a_summary_a_period_too() {
        let mut limits = NoticeLimits::default();
        let settings = settings(None, rate(2, 100));
        let sender: Mailbox = "a@org.test".parse().unwrap();
        // The machine has been up for long.
        for second in 90_000..90_099u64 {
            let _ = limits.check(&settings, &sender, FAILED, about(second), at(second));
            let told = limits.ended(&settings, Duration::from_secs(second));
            assert_eq!(told, [], "at {second}");
        }
        let told = limits.ended(&settings, Duration::from_secs(90_100));
        assert_eq!(told.iter().map(|s| s.withheld).sum::<u64>(), 97);
    }

    #[test]
    fn f4_06_without_limits_nothing_is_kept_back_or_remembered() {
        let mut limits = NoticeLimits::default();
        let sender: Mailbox = "a@org.test".parse().unwrap();
        for n in 0..1000 {
            assert_eq!(
                limits.check(&settings(None, None), &sender, FAILED, about(n), at(1)),
                None
            );
        }
        assert_eq!(limits.senders(), 0);
    }

    #[test]
    fn f4_06_a_message_counts_once_however_many_destinations_it_has() {
        let mut limits = NoticeLimits::default();
        let sender: Mailbox = "a@org.test".parse().unwrap();
        let mut told = |settings: &NoticeSettings, action, message| {
            let about = about(message);
            let fits = |_: &u64| {
                limits
                    .check(settings, &sender, action, about, at(1))
                    .is_none()
            };
            (0..600).filter(fits).count()
        };
        let settings = settings(rate(2, 86_400), rate(3, 3600));
        for action in [Action::Delayed, Action::Failed] {
            assert_eq!(told(&settings, action, 1), 600, "{action:?}");
            assert_eq!(told(&settings, action, 2), 600, "{action:?}");
            assert_eq!(told(&settings, action, 3), 0, "{action:?}");
            assert_eq!(told(&settings, action, 1), 600, "{action:?}");
        }
        // It is one failure whether a host refused it or its time is over.
        assert_eq!(told(&settings, Action::Expired, 1), 600);
    }

    #[test]
    fn f4_06_delays_take_no_room_that_failures_need() {
        for settings in [settings(rate(5, 3600), None), settings(None, rate(5, 3600))] {
            let mut limits = NoticeLimits::default();
            let sender: Mailbox = "a@org.test".parse().unwrap();
            for (action, sent) in [
                (Action::Delayed, 5),
                (Action::Relayed, 0),
                (Action::Failed, 5),
                (Action::Expired, 0),
            ] {
                let fits = |n: &u64| {
                    limits
                        .check(&settings, &sender, action, about(*n), at(1))
                        .is_none()
                };
                let first = 100 * u64::from(matches!(action, Action::Relayed | Action::Expired));
                assert_eq!((first..first + 10).filter(fits).count(), sent, "{action:?}");
            }
        }
    }

    #[test]
    fn f4_06_a_sender_is_not_charged_for_what_the_limit_in_all_keeps_back() {
        let mut limits = NoticeLimits::default();
        let settings = settings(rate(2, 3600), rate(1, 60));
        let sender: Mailbox = "a@org.test".parse().unwrap();
        let mut check = |n, now| limits.check(&settings, &sender, FAILED, about(n), at(now));
        assert_eq!(check(1, 0), None);
        for n in 2..9 {
            assert_eq!(check(n, 1), Some(Withheld::InAll));
        }
        assert_eq!(check(9, 60), None);
        assert_eq!(check(10, 120), Some(Withheld::PerSender));
    }

    #[test]
    fn f4_06_messages_are_remembered_for_a_period_and_not_beyond_their_number() {
        let mut limits = NoticeLimits::default();
        let settings = settings(rate(u32::MAX, 100), None);
        let sender: Mailbox = "a@org.test".parse().unwrap();
        for n in 0..COUNTED as u64 + 10 {
            let withheld = limits.check(&settings, &sender, FAILED, about(n), at(1));
            assert_eq!(withheld, None);
        }
        assert_eq!(limits.counted.len(), COUNTED);
        let _ = limits.ended(&settings, Duration::from_secs(101));
        assert!(limits.counted.is_empty());
    }
}
