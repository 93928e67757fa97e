//! The engine: lanes, the scheduler that fills them, and what others may ask of it.

pub(crate) mod aftermath;
pub(crate) mod at_work;
pub(crate) mod dice;
pub(crate) mod in_hand;
pub(crate) mod lane;
pub(crate) mod lanes;
pub(crate) mod lingering;
mod orders;
pub(crate) mod own_resolver;
pub(crate) mod paused_mail;
pub(crate) mod poison;
pub(crate) mod suspended;
pub(crate) mod upkeep;
pub(crate) mod views;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use mail_types::{Domain, Envelope, QueueId, Recipient, Resolver, Timestamp};
use nxdomain_guard::NxdomainGuard;
use outbound_queue::{Leased, Now, Placement, QueueError, QueueStore};
use parking_lot::Mutex;
use policy_cache::{Clock, PolicyCache};
use smtp_client::{Connector, Pool};

use crate::decide::destination::Admission;
use crate::decide::plan::{Hosts, Made};
use crate::engine::at_work::Workers;
use crate::engine::dice::Dice;
use crate::engine::in_hand::InHand;
use crate::engine::lane::Lane;
use crate::engine::lanes::Lanes;
use crate::engine::paused_mail::KeptBack;
use crate::engine::poison::Strikes;
use crate::planner::Planner;
use crate::ports::Observer;
use crate::settings::Settings;
use crate::worker;
use crate::worker::sessions::Sessions;
use dsn::NoticeLimits;
use fairness::Shares;
use pauses::Paused;
use routes::Destination;

/// What an engine is made of.
pub struct Parts<S> {
    /// The queue.
    pub queue: Arc<S>,
    /// DNS.
    pub resolver: Arc<dyn Resolver>,
    /// Policies.
    pub policies: PolicyCache,
    /// The client for MX hosts and for routes without trust anchors of their own.
    pub connector: Connector,
    /// One client per route that has trust anchors of its own; `None` for the others. In the order
    /// of the routes.
    pub route_connectors: Vec<Option<Connector>>,
    /// Idle connections.
    pub pool: Pool,
    /// Wall and monotonic clock: that of the policies.
    pub clock: Arc<dyn Clock>,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
    /// Chance.
    pub dice: Dice,
    /// What the configuration says.
    pub settings: Settings,
    /// Where it is written down what is in hand.
    pub in_hand: InHand,
    /// Destinations that an operator has paused.
    pub paused: Paused,
}

/// The delivery engine. Cloning shares.
pub struct Delivery<S> {
    pub(crate) inner: Arc<Inner<S>>,
}

pub(crate) struct Inner<S> {
    pub(crate) queue: Arc<S>,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) policies: PolicyCache,
    pub(crate) connector: Connector,
    pub(crate) route_connectors: Vec<Option<Connector>>,
    pub(crate) sessions: Sessions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) dice: Dice,
    pub(crate) nxdomain_guard: Mutex<NxdomainGuard>,
    pub(crate) settings: ArcSwap<Settings>,
    pub(crate) in_hand: InHand,
    pub(crate) paused: Paused,
    pub(crate) kept_back: KeptBack,
    /// Raised when an operator returns mail, which a paused destination does not keep back.
    pub(crate) returns: AtomicU64,
    pub(crate) strikes: Strikes,
    pub(crate) notices: Mutex<NoticeLimits>,
    /// When held mail was last looked through for what is too old; monotonic milliseconds.
    pub(crate) held_looked: AtomicU64,
    /// By how many milliseconds next attempts have followed a clock that was set back.
    pub(crate) set_back: AtomicU64,
    pub(crate) missed_dns: own_resolver::Missed,
    /// Raised by the scheduler as it moves.
    pub(crate) pulse: AtomicU64,
    /// Held by the one round of upkeep, which may take longer than the time between two.
    pub(crate) upkeep: tokio::sync::Mutex<()>,
    pub(crate) lanes: Lanes,
    pub(crate) workers: Arc<Workers>,
    /// See [`Made::epoch`].
    epoch: AtomicU64,
    /// The queue gave out no mail: not asked again before then; monotonic milliseconds.
    queue_pause: AtomicU64,
}

/// What a round of the scheduler came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// Somebody is at work who was not.
    Started,
    /// Nothing could be started; there are more destinations.
    Barren,
    /// Nothing could be started, and nothing can.
    Over,
}

/// Which destinations an operator means.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// All of them.
    All,
    /// These.
    These(&'a [outbound_queue::Destination]),
    /// These messages, and nothing else of their destinations.
    Messages(&'a [(QueueId, outbound_queue::Destination)]),
}

impl<S> Clone for Delivery<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl Settings {
    /// The destination under which the queue files a recipient.
    #[must_use]
    pub fn destination(
        &self,
        envelope: &Envelope,
        recipient: &Recipient,
    ) -> outbound_queue::Destination {
        let destination = self
            .routes
            .destination(&envelope.reverse_path, &recipient.mailbox);
        match destination.route {
            None => outbound_queue::Destination::of_host(&destination.host),
            Some(_) => outbound_queue::Destination::new(&destination.key()),
        }
    }
}

impl Placement for Settings {
    fn destination(
        &self,
        envelope: &Envelope,
        recipient: &Recipient,
    ) -> outbound_queue::Destination {
        Self::destination(self, envelope, recipient)
    }

    fn expires(&self, envelope: &Envelope) -> Timestamp {
        self.retry.expires_envelope(envelope)
    }
}

impl<S: QueueStore> Delivery<S> {
    /// Puts an engine together; nothing runs yet.
    #[must_use]
    pub fn new(parts: Parts<S>) -> Self {
        let workers = Arc::new(Workers::new(parts.settings.connections));
        let sessions = Sessions::new(
            Arc::clone(&workers),
            parts.pool,
            Arc::clone(&parts.observer),
            parts.settings.connections_per_host,
            parts.settings.spacing_per_host,
        );
        Self {
            inner: Arc::new(Inner {
                queue: parts.queue,
                resolver: parts.resolver,
                policies: parts.policies,
                connector: parts.connector,
                route_connectors: parts.route_connectors,
                sessions,
                clock: parts.clock,
                observer: parts.observer,
                dice: parts.dice,
                nxdomain_guard: Mutex::default(),
                settings: ArcSwap::from_pointee(parts.settings),
                in_hand: parts.in_hand,
                paused: parts.paused,
                kept_back: KeptBack::default(),
                returns: AtomicU64::new(1),
                strikes: Strikes::default(),
                notices: Mutex::default(),
                held_looked: AtomicU64::new(0),
                set_back: AtomicU64::new(0),
                missed_dns: own_resolver::Missed::at_start(),
                pulse: AtomicU64::new(0),
                upkeep: tokio::sync::Mutex::new(()),
                lanes: Lanes::default(),
                workers,
                epoch: AtomicU64::new(0),
                queue_pause: AtomicU64::new(0),
            }),
        }
    }

    /// Takes fresh mail, claimed at its commit, for an immediate first attempt. What does not fit
    /// goes back to the queue, where it is due.
    pub fn offer(&self, leases: Vec<Leased>) {
        for leased in leases {
            let lane = self.inner.lane(&leased.destination);
            if self.inner.is_stopping() || self.inner.paused.is_paused(&lane.destination.host) {
                self.inner.give_back(&leased);
                continue;
            }
            let Err(leased) = lane.hand(leased, self.inner.now().monotonic) else {
                continue;
            };
            if lane.is_narrow(self.inner.now().monotonic) {
                self.inner.give_back(&leased);
                continue;
            }
            match lane.push_fresh(*leased) {
                Ok(()) => self.start(&lane),
                Err(leased) => self.inner.give_back(&leased),
            }
        }
    }

    /// Delivers what is due until [`Delivery::stop`].
    pub async fn run(&self) {
        let wake = self.inner.queue.wake();
        let mut cursor: Option<outbound_queue::Destination> = None;
        let mut swept = Duration::ZERO;
        let began = self.inner.now().monotonic;
        let mut barren = 0;
        while !self.inner.is_stopping() {
            self.inner.pulse.fetch_add(1, Ordering::Relaxed);
            let now = self.inner.now();
            if now.monotonic.saturating_sub(swept) >= SWEEP {
                swept = now.monotonic;
                self.sweep(now.monotonic);
                let (inner, running) =
                    (Arc::clone(&self.inner), now.monotonic.saturating_sub(began));
                tokio::spawn(async move { upkeep::look(&inner, running).await });
            }
            match self.round(&mut cursor).await {
                Round::Started => {
                    barren = 0;
                    continue;
                }
                // Many destinations may wait for places at one host: it is looked behind them.
                Round::Barren if barren < BARREN => {
                    barren += 1;
                    continue;
                }
                Round::Barren | Round::Over => barren = 0,
            }
            let pause = self.idle();
            tokio::select! {
                () = wake.notified() => {}
                () = self.inner.workers.progress.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One round over due destinations, each getting a worker at most: fair over destinations.
    async fn round(&self, cursor: &mut Option<outbound_queue::Destination>) -> Round {
        if self.inner.queue_pauses() {
            return Round::Over;
        }
        let due = self
            .inner
            .queue
            .due_destinations(self.inner.now(), cursor.as_ref(), ROUND);
        // Whoever was looked at last is where the next round goes on, so that each has its turn.
        let more = cursor.is_some() || due.len() == ROUND;
        let whole = due.len() < ROUND;
        let mut started = false;
        for due in due {
            let (shares, workers) = (self.inner.shares(), self.inner.workers.count());
            if !shares.has_room_for_backlog(workers) {
                return Round::Over;
            }
            *cursor = Some(due.destination.clone());
            if due.notices_only && !shares.has_room_to_spare(workers) {
                continue;
            }
            let lane = self.inner.lane(&due.destination);
            if self.inner.paused.is_paused(&lane.destination.host) {
                self.return_from(&lane);
                continue;
            }
            let now = self.inner.now();
            match lane.admit(now.monotonic, shares.are_scarce(workers)) {
                Admission::Go => {
                    self.spawn(&lane);
                    started = true;
                }
                Admission::Wait => {}
                Admission::Suspended(_) => {
                    let (inner, lane) = (Arc::clone(&self.inner), Arc::clone(&lane));
                    tokio::spawn(async move {
                        suspended::put_off(&inner, &lane).await;
                        inner.look_for_returns(&lane);
                    });
                }
            }
        }
        if whole {
            *cursor = None;
        }
        match (started, more) {
            (true, _) => Round::Started,
            (false, true) => Round::Barren,
            (false, false) => Round::Over,
        }
    }

    /// A paused destination gives out nothing but what an operator returns, if there is such mail; from time to time
    /// what is due there is put off.
    fn return_from(&self, lane: &Arc<Lane>) {
        let returns = self.inner.returns.load(Ordering::Acquire);
        let every = paused_mail::patience(&self.inner.settings.load().retry);
        let looks = every.is_some_and(|every| lane.looks(self.inner.now().monotonic, every));
        if lane.has_seen_returns(returns) && !looks {
            return;
        }
        let (inner, lane) = (Arc::clone(&self.inner), Arc::clone(lane));
        tokio::spawn(async move { paused_mail::keep_back(&inner, &lane, returns).await });
    }

    fn idle(&self) -> Duration {
        let now = self.inner.now().wall;
        match self.inner.queue.next_due(self.inner.now()) {
            // Due, but nothing could be started: whoever finishes wakes us.
            Some(at) if at <= now => STALLED,
            Some(at) => at.since(now).min(IDLE),
            None => IDLE,
        }
    }

    /// Starts a worker for what is in a lane's hands, if there may be one more.
    fn start(&self, lane: &Arc<Lane>) {
        let (shares, workers) = (self.inner.shares(), self.inner.workers.count());
        let admission = if shares.has_room(workers) {
            lane.admit(self.inner.now().monotonic, shares.are_scarce(workers))
        } else {
            Admission::Wait
        };
        match admission {
            Admission::Go => self.spawn(lane),
            Admission::Wait => {
                if lane.active() == 0 {
                    lane.drain()
                        .iter()
                        .for_each(|leased| self.inner.give_back(leased));
                }
            }
            Admission::Suspended(_) => {
                let (inner, lane) = (Arc::clone(&self.inner), Arc::clone(lane));
                tokio::spawn(async move {
                    suspended::put_off_backlog(&inner, &lane).await;
                    inner.look_for_returns(&lane);
                });
            }
        }
    }

    /// Somebody has put so much of the queue's mail in a lane's hands, from where the scheduler does not see it: it
    /// must not all wait for one peer. The last places are for fresh mail.
    pub(crate) fn share(&self, lane: &Arc<Lane>, work: usize) {
        let shares = self.inner.shares();
        for _ in 0..work {
            if !shares.has_room_to_spare(self.inner.workers.count()) {
                return;
            }
            self.start(lane);
        }
    }

    fn spawn(&self, lane: &Arc<Lane>) {
        let (inner, lane) = (Arc::clone(&self.inner), Arc::clone(lane));
        // Counted before the task runs.
        let working = inner.workers.begin();
        tokio::spawn(async move {
            // A panic in one delivery ends that delivery; its lease runs out and it is due again.
            let worker = tokio::spawn(worker::run(Arc::clone(&inner), Arc::clone(&lane)));
            if let Err(error) = worker.await {
                tracing::error!(destination = %lane.key, %error, "a delivery worker died");
                lane.retreat(inner.now().monotonic);
                lane.drain()
                    .iter()
                    .for_each(|leased| inner.give_back(leased));
            }
            drop(working);
            inner.look_for_returns(&lane);
        });
    }

    /// Stops taking up mail and waits for what runs, `drain_timeout` at most. Mail in hand goes back
    /// without counting an attempt.
    pub async fn stop(&self) {
        self.inner.workers.stop();
        for lane in self.inner.lanes.all() {
            lane.drain()
                .iter()
                .for_each(|leased| self.inner.give_back(leased));
        }
        let patience = self.inner.settings.load().drain_timeout;
        let drained = tokio::time::timeout(patience, self.inner.workers.drained());
        if drained.await.is_err() {
            let left = self.inner.workers.left();
            tracing::warn!(
                left,
                "sessions were still running when the drain time-out ended; their mail is due after the restart"
            );
        }
        self.inner.sessions.pool.close().await;
        upkeep::end(&self.inner).await;
        self.inner.in_hand.close();
    }

    /// Puts other settings in force for attempts from now on.
    pub fn reconfigure(&self, settings: Settings) {
        self.inner.workers.set_limit(settings.connections);
        self.inner.settings.store(Arc::new(settings));
        // Lanes in use: their next attempts go by new plans.
        self.inner.look_again();
        let now = self.inner.now();
        for key in self.inner.lanes.forget_unused() {
            self.inner.queue.suspend(&key, None, now);
        }
        let limit = self.inner.settings.load().connections_per_destination;
        self.inner
            .lanes
            .all()
            .iter()
            .for_each(|lane| lane.set_limit(limit));
        self.inner.workers.progress.notify_one();
    }

    /// What DNS says now of the hosts that take a domain's mail from here; routes count, policies do
    /// not.
    pub async fn hosts(&self, domain: &Domain) -> Hosts {
        let settings = self.inner.settings.load_full();
        let planner = Planner {
            resolver: &*self.inner.resolver,
            policies: &self.inner.policies,
            settings: &settings,
        };
        planner.hosts_of(domain).await
    }

    /// The policies that mail goes by.
    #[must_use]
    pub fn policies(&self) -> &PolicyCache {
        &self.inner.policies
    }

    /// What is in force now.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.inner.settings.load_full()
    }

    /// The time that expiry is judged by, and monotonic time.
    #[must_use]
    pub fn now(&self) -> Now {
        self.inner.now()
    }

    fn sweep(&self, now: Duration) {
        // A peer that withholds its reply to QUIT must not hold up the scheduler.
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move { inner.sessions.pool.sweep().await });
        self.inner.lanes.sweep(now);
    }
}

impl<S: QueueStore> Inner<S> {
    /// The wall clock is the policy cache's: a sudden jump is held until it has proved steady, so
    /// that it neither ends policies nor expires mail at once.
    pub(crate) fn now(&self) -> Now {
        let (wall, monotonic) = self.policies.clocks();
        Now { wall, monotonic }
    }

    /// Whether workers may stay a moment without work: not if others need their places.
    pub(crate) fn has_places(&self) -> bool {
        !self.is_stopping() && self.shares().has_room_to_spare(self.workers.count())
    }

    fn shares(&self) -> Shares {
        Shares::of(self.settings.load().connections)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.workers.is_stopping()
    }

    pub(crate) fn connector(&self, destination: &Destination) -> &Connector {
        let route = self.settings.load().routes.position(destination);
        let own = route
            .and_then(|n| self.route_connectors.get(n))
            .and_then(Option::as_ref);
        own.unwrap_or(&self.connector)
    }

    /// What plans are made from now.
    pub(crate) fn made(&self) -> Made {
        Made {
            policies: self.policies.generation(),
            epoch: self.epoch.load(Ordering::Relaxed),
        }
    }

    /// Everything is to be looked up again.
    pub(crate) fn look_again(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    /// The queue gives out no mail (a full disk, a failed index): it is not asked all the time.
    pub(crate) fn pause_queue(&self) {
        let until = self.clock.monotonic() + QUEUE_PAUSE;
        let millis = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.queue_pause.store(millis, Ordering::Relaxed);
    }

    fn queue_pauses(&self) -> bool {
        let until = Duration::from_millis(self.queue_pause.load(Ordering::Relaxed));
        self.clock.monotonic() < until
    }

    /// Somebody has mail of this destination in hand no more. If it is paused, an operator may have returned
    /// some of it meanwhile, which nobody could see then.
    pub(crate) fn look_for_returns(&self, lane: &Lane) {
        if self.paused.is_paused(&lane.destination.host) {
            self.returns.fetch_add(1, Ordering::AcqRel);
        }
        self.workers.progress.notify_one();
    }

    /// Returns a lease without an attempt.
    pub(crate) fn give_back(&self, leased: &Leased) {
        match self.queue.release(&leased.token) {
            Ok(()) | Err(QueueError::StaleLease(_)) => {}
            Err(error) => {
                tracing::error!(queue_id = %leased.id, %error, "a lease could not be given back")
            }
        }
    }

    fn lane(&self, key: &outbound_queue::Destination) -> Arc<Lane> {
        let limit = self.settings.load().connections_per_destination;
        self.lanes.of(key, limit, self.clock.monotonic())
    }
}

/// Destinations looked at in one round.
const ROUND: usize = 64;
/// Rounds that start nothing before the scheduler rests.
const BARREN: u32 = 16;
const SWEEP: Duration = Duration::from_secs(5);
/// How long the queue is not asked when it gives out no mail.
const QUEUE_PAUSE: Duration = Duration::from_secs(1);
const STALLED: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(5);
