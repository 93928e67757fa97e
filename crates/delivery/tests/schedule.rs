//! Days of mail in moments: the queue, the retry table and the health of destinations together, under a
//! clock of the test's own. However hosts come and go, each message is delivered, returned or waits for a
//! time that is not after its end, and none is forgotten.
#![allow(clippy::unwrap_used, reason = "tests: a panic is the failure report")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use attempt::Reason;
use delivery::decide::destination::{Admission, Cause, Health, Recovery};
use mail_types::{EnhancedStatus, Envelope, QueueId, Recipient, RetrySchedule, Timestamp};
use outbound_queue::conformance::envelope;
use outbound_queue::{
    AttemptNote, Destination, Done, Edit, Effort, Filter, Finish, Incoming, Leased, MemoryStore,
    MessageState, Now, Outcome, Placement, QueueStore, Target,
};
use proptest::prelude::*;

/// What the outside does: seconds since the start throughout.
#[derive(Clone, Debug)]
struct Script {
    /// When each message comes, for which domain, and whether it is a notification.
    mail: Vec<(u64, u8, bool)>,
    /// Per domain, when its host is down: from, for how long.
    outages: BTreeMap<u8, Vec<(u64, u64)>>,
    /// What jitter is made of.
    chance: Vec<f64>,
}

impl Script {
    fn is_up(&self, domain: u8, at: u64) -> bool {
        let outages = self.outages.get(&domain).into_iter().flatten();
        !outages
            .clone()
            .any(|(from, long)| (*from..from + long).contains(&at))
    }

    /// Whether the host is up without a break for so long that whoever looks now and then must find it.
    fn is_up_for_long(&self, domain: u8, (from, to): (u64, u64)) -> bool {
        let step = 60;
        let mut up_since = None;
        for at in (from..to).step_by(step) {
            match (self.is_up(domain, at), up_since) {
                (false, _) => up_since = None,
                (true, None) => up_since = Some(at),
                (true, Some(since)) if at - since >= LONGEST_WAIT => return true,
                (true, Some(_)) => {}
            }
        }
        false
    }
}

struct ByDomain(RetrySchedule);

impl Placement for ByDomain {
    fn destination(&self, _: &Envelope, recipient: &Recipient) -> Destination {
        Destination::of_host(recipient.mailbox.host())
    }

    fn expires(&self, envelope: &Envelope) -> Timestamp {
        self.0.expires_envelope(envelope)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Delivered(u64),
    Returned(u64),
}

/// The scheduler as the engine has it, without sessions.
struct World<'a> {
    script: &'a Script,
    store: MemoryStore,
    retry: RetrySchedule,
    health: BTreeMap<Destination, Health>,
    seconds: u64,
    rolls: usize,
    mail: BTreeMap<QueueId, (u64, u8, bool)>,
    ends: BTreeMap<QueueId, End>,
}

impl<'a> World<'a> {
    fn new(script: &'a Script) -> Self {
        let retry = RetrySchedule::default();
        let placement = Arc::new(ByDomain(retry.clone()));
        Self {
            script,
            store: MemoryStore::new(placement, Duration::from_secs(600)),
            retry,
            health: BTreeMap::new(),
            seconds: 0,
            rolls: 0,
            mail: BTreeMap::new(),
            ends: BTreeMap::new(),
        }
    }

    fn now(&self) -> Now {
        Now {
            wall: Timestamp::from_secs(START + self.seconds),
            monotonic: Duration::from_secs(self.seconds),
        }
    }

    fn roll(&mut self) -> f64 {
        self.rolls += 1;
        self.script.chance[self.rolls % self.script.chance.len()]
    }

    async fn receive(&mut self, (at, domain, notice): (u64, u8, bool)) {
        let sender = if notice { "" } else { "a@org.test" };
        let mut envelope = envelope(sender, &[&format!("b@d{domain}.test")]);
        envelope.arrival.at = self.now().wall;
        let mut incoming = self.store.begin(None, self.now()).unwrap();
        let id = incoming.id();
        incoming.write(b"x").await.unwrap();
        incoming.commit(envelope, false, self.now()).await.unwrap();
        self.mail.insert(id, (at, domain, notice));
    }

    /// Does what is due until nothing is.
    async fn work(&mut self) {
        for _ in 0..100_000 {
            let due = self.store.due_destinations(self.now(), None, 64);
            if due.is_empty() {
                return;
            }
            for due in due {
                let key = due.destination;
                let monotonic = self.now().monotonic;
                let health = self.health.entry(key.clone());
                match health
                    .or_insert_with(|| Health::new(20))
                    .admit(0, monotonic)
                {
                    Admission::Go => self.session(&key).await,
                    Admission::Suspended(until) => self.put_off(&key, until.until).await,
                    Admission::Wait => panic!("nothing runs at {key}, and it is not its turn"),
                }
            }
        }
        panic!("at {} the same mail is due again and again", self.seconds);
    }

    async fn session(&mut self, key: &Destination) {
        loop {
            let now = self.now();
            let health = &self.health[key];
            let wanted = if health.is_doubtful() { 1 } else { 20 };
            let leases = match health.suspension(now.monotonic) {
                Some(_) => Vec::new(),
                None => self.store.lease(key, wanted, now).await.unwrap(),
            };
            if leases.is_empty() {
                self.health.get_mut(key).unwrap().inconclusive();
                return;
            }
            for leased in leases {
                self.attempt(key, &leased).await;
            }
        }
    }

    async fn attempt(&mut self, key: &Destination, leased: &Leased) {
        let (now, monotonic) = (self.now(), self.now().monotonic);
        if let Some(until) = self.health[key].suspension(monotonic).map(|s| s.until) {
            return self.suspend(leased, until);
        }
        let (_, domain, _) = self.mail[&leased.id];
        if self.script.is_up(domain, self.seconds) {
            self.end(leased, Done::Delivered);
            if self.health.get_mut(key).unwrap().succeeded() == Recovery::Recovered {
                self.store.suspend(key, None, now);
                let filter = Filter {
                    destination: Some(key.clone()),
                    state: Some(MessageState::Deferred),
                    reason: Some(Reason::Connect.into()),
                    ..Filter::default()
                };
                let target = Target::Filter(filter);
                let edited = self.store.edit(&target, Edit::Retry, false, now);
                edited.await.unwrap();
            }
            return;
        }
        let cause = Cause {
            reason: Reason::Connect,
            case: attempt::Case::Usual,
            side: attempt::Side::Wait,
            status: EnhancedStatus::transient(4, 1),
            detail: "refused".into(),
        };
        self.health.get_mut(key).unwrap().failed(cause, monotonic);
        if let Some(suspension) = self.health[key].suspension(monotonic) {
            let until = now.wall + (suspension.until - monotonic);
            self.store.suspend(key, Some(until), now);
        }
        if now.wall >= leased.expires {
            return self.end(leased, Done::Expired);
        }
        let attempt = leased.recipients[0].attempts + 1;
        let unit = self.roll();
        let next = self.retry.next(attempt, now.wall, leased.expires, unit);
        self.defer(leased, next, Reason::Connect, Effort::Attempt);
    }

    async fn put_off(&mut self, key: &Destination, until: Duration) {
        let now = self.now();
        self.store
            .suspend(key, Some(now.wall + (until - now.monotonic)), now);
        loop {
            let leases = self.store.lease(key, 20, now).await.unwrap();
            if leases.is_empty() {
                return;
            }
            leases.iter().for_each(|leased| self.suspend(leased, until));
        }
    }

    fn suspend(&mut self, leased: &Leased, _until: Duration) {
        let now = self.now();
        if leased.put_off && now.wall < leased.due {
            return self.store.release(&leased.token).unwrap();
        }
        if now.wall >= leased.expires {
            return self.end(leased, Done::Expired);
        }
        let (arrival, warned) = (leased.envelope.arrival.at, leased.recipients[0].warned);
        let duty = self
            .retry
            .next_duty(now.wall, arrival, leased.expires, warned);
        self.defer(leased, duty, Reason::DestinationSuspended, Effort::PutOff);
    }

    fn defer(&self, leased: &Leased, next_attempt: Timestamp, reason: Reason, effort: Effort) {
        assert!(next_attempt > self.now().wall, "due in the past");
        assert!(next_attempt <= leased.expires, "due after its end");
        let note = AttemptNote {
            reason: Some(reason.into()),
            ..AttemptNote::default()
        };
        let late = self
            .retry
            .is_warning_due(self.now().wall, leased.envelope.arrival.at);
        let finish = Finish {
            lease: leased.token,
            outcomes: vec![(
                0,
                Outcome::Deferred {
                    next_attempt,
                    note: 0,
                },
            )],
            notes: vec![note],
            told: Vec::new(),
            warned: if late { vec![0] } else { Vec::new() },
            effort,
            messages: Vec::new(),
        };
        drop(self.store.finish(finish, self.now()).unwrap());
    }

    fn end(&mut self, leased: &Leased, done: Done) {
        let end = match done {
            Done::Delivered => End::Delivered(self.seconds),
            _ => End::Returned(self.seconds),
        };
        assert_eq!(self.ends.insert(leased.id, end), None, "ended twice");
        let finish = Finish {
            lease: leased.token,
            outcomes: vec![(0, Outcome::Done(done))],
            notes: Vec::new(),
            told: Vec::new(),
            warned: Vec::new(),
            effort: Effort::Attempt,
            messages: Vec::new(),
        };
        drop(self.store.finish(finish, self.now()).unwrap());
    }

    /// Every message that is left has a time, not after its end.
    async fn inspect(&self) {
        let all = Filter::default();
        let page = self.store.list(&all, None, 10_000, self.now());
        let page = page.await.unwrap();
        assert_eq!(
            page.messages.len() + self.ends.len(),
            self.mail.len(),
            "none is lost"
        );
        for message in page.messages {
            let next = message.next_attempt;
            assert!(
                next.is_some_and(|at| at > self.now().wall && at <= message.expires),
                "{message:?}"
            );
        }
    }

    async fn run(&mut self) {
        let mut coming = self.script.mail.clone();
        coming.sort_unstable();
        coming.reverse();
        loop {
            while let Some(mail) = coming.pop_if(|mail| mail.0 <= self.seconds) {
                self.receive(mail).await;
            }
            self.work().await;
            self.inspect().await;
            let due = self.store.next_due(self.now());
            let due = due.map(|at| (at.as_millis() / 1000 + 1).saturating_sub(START));
            let arrival = coming.last().map(|mail| mail.0);
            let Some(next) = due.into_iter().chain(arrival).min() else {
                return;
            };
            assert!(next > self.seconds, "time stands still at {next}");
            self.seconds = next;
        }
    }
}

fn script() -> impl Strategy<Value = Script> {
    let mail = (0..2 * DAY, 0..4u8, proptest::bool::weighted(0.2));
    let outage = (0..7 * DAY, prop_oneof![60..HOUR, HOUR..DAY, DAY..9 * DAY]);
    (
        prop::collection::vec(mail, 1..60),
        prop::collection::btree_map(0..4u8, prop::collection::vec(outage, 0..5), 0..4),
        prop::collection::vec(0.0..1.0, 1..50),
    )
        .prop_map(|(mail, outages, chance)| Script {
            mail,
            outages,
            chance,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn e5_01_e5_02_e5_04_mail_is_delivered_returned_or_has_its_time_and_none_starves(script in script()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut world = World::new(&script);
        runtime.block_on(world.run());
        prop_assert_eq!(world.ends.len(), script.mail.len());
        for (id, (at, domain, notice)) in &world.mail {
            let lifetime = world.retry.lifetime_of(*notice).as_secs();
            let end = world.ends[id];
            match end {
                End::Delivered(when) => prop_assert!(when <= at + lifetime + 1),
                // Punctually, and only if there was no good time to deliver it.
                End::Returned(when) => {
                    prop_assert!((at + lifetime..=at + lifetime + 1).contains(&when), "{end:?} of {at}");
                    prop_assert!(!script.is_up_for_long(*domain, (*at, at + lifetime)), "{id} starved");
                }
            }
            if script.is_up(*domain, *at) && script.outages.get(domain).is_none_or(Vec::is_empty) {
                prop_assert_eq!(end, End::Delivered(*at), "nothing was in its way");
            }
        }
    }
}

const START: u64 = 1_800_000_000;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// The last delay of the table with its jitter, and the longest suspension.
const LONGEST_WAIT: u64 = 4 * HOUR + 24 * 60 + HOUR / 2 + 60;
