//! Opens everything in order and runs until told to stop.
//!
//! The order is what makes errors clear: what is configured wrongly fails before anything is
//! opened, ports before the store is touched (those of operators first), the lock before the store. Mail is
//! accepted only when all of it stands.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use admin::{Control, Readiness};
use arc_swap::ArcSwap;
use attempt::{Level, Reason};
use control_group::{Pressure, Turn};
use delivery::Delivery;
use doors::{DoorError, Doors};
use mail_types::QueueId;
use outbound_queue::{Edit, EmbeddedStore, Filter, Now, QueueError, QueueStore, Target};
use policy_cache::{Clock, PolicyCache};
use report_ports::Reporting;
use resolver::DnsResolver;
use settings::{Loaded, Settings};
use smtp_server::Server;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use web::{Api, Checker};

use super::certificates::Certificates;
use super::clock::{self, MachineClock, judged};
use super::form::Forms;
use super::intake::{QueueIntake, Rules};
use super::logins::with_logins;
use super::observe::Observer;
use super::otlp::{self, Exporter};
use super::page::Page;
use super::placed::Placed;
use super::process::Process;
use super::recipients::DomainCheck;
use super::reload::{InForce, Reloading, on_signal};
use super::signals::{Signals, Told, notify, stopped};
use super::trust::Trust;
use super::watchdog::{self, Pulse, Watchdog};
use super::{descriptors, dnssec, open, refusing, reminders, reporting, scrape, translate};
use crate::commands::check;
use crate::exit::Status;
use crate::logging::SetLevel;

/// Runs the relay until SIGTERM or SIGINT.
///
/// # Errors
/// What kept it from starting, or made it stop: one line with the remedy and the exit status.
pub(crate) async fn run(
    loaded: Loaded,
    set_level: SetLevel,
    dangerous_lose_policies: bool,
) -> anyhow::Result<Status> {
    let signals = Signals::catch()?;
    let (settings, values) = (loaded.settings, loaded.values);
    let (machine, clock) = clock::plausible()?;
    let (mut doors, certificates, server) = bind(&settings).await?;
    let trust = Trust::open(&settings).map_err(|e| open::fail(Status::Configuration, &e))?;
    let dns = open::resolver(&settings)?;
    let _lock = open::lock(&settings.server.data_dir)?;
    let (logins, server) = with_logins(server, &settings, &clock)?;
    open::make_room(&settings)?;
    let (log, feed, _log_guard) = open::event_log(&settings)?;
    let (metrics, scraped) = scrape::metrics();
    let mut observer = Observer::new(log, Arc::clone(&clock), judged(&clock, &settings), metrics);
    let page = served(&mut doors, open::page(&settings, &observer)?);
    let (exporter, reporting) = tellers(&settings, &dns, &trust, &mut observer)?;
    let told = translate::delivery(&settings, &trust.signing)?;
    let opening = open::Opening {
        settings: &settings,
        resolver: Arc::clone(&dns) as _,
        trust: &trust,
        clock: Arc::clone(&clock),
        observer: observer.clone(),
    };
    let mut standing = Vec::new();
    // Before the queue: see `expected` there.
    let policies = opening.policies(dangerous_lose_policies, &mut standing)?;
    let placed = Arc::new(Placed::new(told.clone()));
    doors.starting.is_at("the queue is being opened");
    let queue = Arc::new(open::queue(&settings, &placed)?);
    let (delivery, suspects) = engine(&opening, &queue, policies, told)?;
    // Nobody else names the sources: this is the first and only time.
    let _ = scraped.set(scrape::Sources {
        queue: Arc::clone(&queue),
        delivery: delivery.clone(),
        resolver: Arc::clone(&dns),
        clock: Arc::clone(&observer.judged) as _,
        counts: Arc::clone(&observer.counts),
        log: observer.log.clone(),
        started_at: clock.wall().as_secs(),
        inbound: server.reins(),
        limits: settings.queue.clone(),
        certificates: certificates.clone(),
    });
    let process = Process {
        started: observer.now(),
        queue: Arc::clone(&queue),
        observer: observer.clone(),
        reloading: Reloading {
            running: InForce::new(&settings, values),
            delivery: delivery.as_ref().map(|(engine, _)| engine.clone()),
            placed,
            set_level,
            inbound: server.reins(),
            rules: Arc::new(ArcSwap::from_pointee(rules(&settings, &trust, &dns))),
        },
        trust,
        certificates,
        logins,
        listeners: named(&server),
        standing,
        told_full: AtomicU32::new(0),
        dns_silence: dns.silence(),
        dns_path: dns.path(),
        resolver: Arc::clone(&dns),
        page,
        reporting,
        settings,
    };
    let running = Running {
        machine,
        process: Arc::new(process),
        delivery,
        queue,
        clock: Arc::clone(&observer.judged) as _,
        observer,
        feed,
        dns,
        suspects,
        exporter,
    };
    running.serve(server, doors, signals).await
}

fn tellers(
    settings: &Settings,
    dns: &Arc<DnsResolver>,
    trust: &Trust,
    observer: &mut Observer,
) -> anyhow::Result<(Option<Exporter>, Reporting)> {
    let exporter = observer.trace_to(otlp::open(settings, &trust.roots)?);
    let reporting = reporting::open(settings, dns.clone(), &trust.roots, observer)?;
    descriptors::provide(settings, observer);
    Ok((exporter, reporting))
}

/// `admin.http`, as soon as it is known who may come in.
fn served(doors: &mut Doors, page: Page) -> Page {
    doors.serve_http(&page.access, page.tls.clone());
    page
}

/// The ports, before anything else is touched.
async fn bind(settings: &Settings) -> anyhow::Result<(Doors, Certificates, Server)> {
    let doors = Doors::open(&settings.admin.socket, settings.admin.http).await;
    let doors = doors.map_err(|e| match &e {
        DoorError::Control(_) => open::fail(Status::CannotCreate, &e),
        DoorError::Http(_) => open::fail(Status::System, &e),
    })?;
    let certificates =
        Certificates::open(settings).map_err(|e| open::fail(Status::Configuration, &e))?;
    let server = Server::bind(open::server(settings, &certificates)?)
        .map_err(|e| open::fail(Status::System, &e))?;
    Ok((doors, certificates, server))
}

/// Engine and policies, and the messages that are to be parked before it runs.
type Engine = (Option<(Delivery<EmbeddedStore>, PolicyCache)>, Vec<QueueId>);

/// Nothing is delivered while policies are lost.
fn engine(
    opening: &open::Opening<'_>,
    queue: &Arc<EmbeddedStore>,
    policies: Option<PolicyCache>,
    told: delivery::Settings,
) -> anyhow::Result<Engine> {
    let Some(policies) = policies else {
        return Ok((None, Vec::new()));
    };
    let (delivery, suspects) = opening.delivery(queue, &policies, told)?;
    Ok((Some((delivery, policies)), suspects))
}

/// What the listeners hold mail against, and make of it.
pub(super) fn rules(settings: &Settings, trust: &Trust, dns: &Arc<DnsResolver>) -> Rules {
    let resolver = Arc::clone(dns) as _;
    Rules {
        domains: DomainCheck::new(&settings.access, &settings.routes, resolver),
        forms: Forms::new(settings, Arc::clone(&trust.signing)),
    }
}

fn named(server: &Server) -> Vec<(String, SocketAddr)> {
    let owned = |(name, address): (&str, SocketAddr)| (name.to_owned(), address);
    server.addresses().map(owned).collect()
}

/// Everything stands.
struct Running {
    machine: Arc<MachineClock>,
    process: Arc<Process<EmbeddedStore>>,
    delivery: Option<(Delivery<EmbeddedStore>, PolicyCache)>,
    queue: Arc<EmbeddedStore>,
    /// The time that mail arrives at is the one by which it runs out: also while the machine's is doubted.
    clock: Arc<dyn Clock>,
    observer: Observer,
    /// Events as they happen, for the page.
    feed: Arc<web::Feed>,
    dns: Arc<DnsResolver>,
    /// Messages that earlier processes had in hand whenever they ended.
    suspects: Vec<QueueId>,
    /// Of traces, if they are wanted.
    exporter: Option<Exporter>,
}

impl Running {
    async fn serve(
        mut self,
        server: Server,
        mut doors: Doors,
        mut signals: Signals,
    ) -> anyhow::Result<Status> {
        let settings = &self.process.settings;
        if settings.queue.hold_at_start {
            doors
                .starting
                .is_at("all mail is being held (queue.hold-at-start)");
            self.hold_all().await?;
        }
        if let Some((delivery, _)) = &self.delivery {
            doors
                .starting
                .is_at("the queue is being read, to hold mail that may have ended the relay");
            self.park(delivery).await?;
        }
        let api = self.api();
        self.stands(&doors, api.as_ref());
        let background = &mut doors.served;
        if let Some(api) = api {
            background.spawn(api.keep_history());
        }
        if let Some((delivery, policies)) = &self.delivery {
            let (engine, cache) = (delivery.clone(), policies.clone());
            background.spawn(async move { engine.run().await });
            background.spawn(async move { cache.run().await });
        }
        if let Some(logins) = self.process.logins.clone() {
            background.spawn(logins.keep());
        }
        let watching = dnssec::Watch {
            resolver: Arc::clone(&self.dns),
            observer: self.observer.clone(),
            data_dir: settings.server.data_dir.clone(),
        };
        background.spawn(watching.run());
        let (stop, stopping) = watch::channel(false);
        let (export_ends, ends) = watch::channel(false);
        let told = self.tell(&ends);
        let accepting = tokio::spawn(server.run(
            Arc::new(self.intake()),
            Arc::new(self.observer.clone()),
            open::client_clock(&self.clock),
            stopped(stopping),
        ));
        self.announce();
        let pulse = Arc::new(AtomicU64::new(0));
        let watchdog = self.watch(&pulse)?;
        let status = self.wait(&mut signals, background, &pulse).await?;
        drop(watchdog);
        notify(&[sd_notify::NotifyState::Stopping]);
        self.observer.process("process.stopping", Level::Info, &[]);
        stop.send_replace(true);
        // Both have server.drain-timeout, at the same time: mail that still comes in while
        // delivery stops is safe in the queue.
        let deliveries = async {
            if let Some((delivery, _)) = &self.delivery {
                delivery.stop().await;
            }
        };
        let (listeners, ()) = tokio::join!(accepting, deliveries);
        if listeners.is_err() {
            tracing::error!("the listeners died");
        }
        // While it still listens: see there.
        drop(doors.file);
        background.shutdown().await;
        export_ends.send_replace(true);
        for teller in told {
            if teller.await.is_err() {
                tracing::error!("what sends traces or TLS reports died");
            }
        }
        if let Some((_, policies)) = &self.delivery {
            let policies = policies.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || policies.close()).await {
                tracing::error!(%error, "closing the policies failed");
            }
        }
        self.close_queue().await;
        self.write_down().await;
        self.observer.process("process.stopped", Level::Info, &[]);
        Ok(status)
    }

    /// Traces and TLS reports, which end when all that they tell of has.
    fn tell(&mut self, ends: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        let (delivery, end) = (self.delivery.as_ref(), stopped(ends.clone()));
        let delivery = delivery.map(|(engine, _)| engine.clone());
        let (told, observer) = (&self.process.reporting, &self.observer);
        let (events, clock) = (
            Arc::new(observer.clone()),
            Arc::clone(&observer.judged) as _,
        );
        let doubted = reporting::doubted(observer);
        let reports = told.start(&self.queue, delivery, events, clock, doubted, end);
        let traces = self.exporter.take();
        let traces = traces.map(|t| tokio::spawn(t.run(self.observer.clone(), ends.clone())));
        traces.into_iter().chain([reports]).collect()
    }

    async fn close_queue(&self) {
        let queue = Arc::clone(&self.queue);
        match tokio::task::spawn_blocking(move || queue.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "the queue could not be closed in order; no mail is lost, the next start takes longer");
            }
            Err(error) => tracing::error!(%error, "closing the queue failed"),
        }
    }

    fn intake(&self) -> QueueIntake<EmbeddedStore> {
        QueueIntake {
            queue: Arc::clone(&self.queue),
            delivery: self.delivery.as_ref().map(|(d, _)| d.clone()),
            clock: Arc::clone(&self.clock),
            rules: Arc::clone(&self.process.reloading.rules),
        }
    }

    /// What the commands and the page act on; nothing while the policy store is lost.
    fn api(&self) -> Option<Api<EmbeddedStore>> {
        let (delivery, policies) = self.delivery.as_ref()?;
        let process = Arc::clone(&self.process);
        let now = move || process.reloading.settings();
        let make = move || check::auditor(&now()).map_err(|e| e.to_string());
        Some(Api {
            control: Control {
                queue: Arc::clone(&self.queue),
                delivery: delivery.clone(),
                policies: policies.clone(),
                clock: Arc::clone(&self.clock),
                daemon: Arc::clone(&self.process) as _,
            },
            history: Arc::clone(&self.process.observer.counts.history),
            feed: Arc::clone(&self.feed),
            checker: Arc::new(Checker::new(Arc::new(make))),
        })
    }

    /// Whoever asks is answered by the relay itself from here on.
    fn stands(&self, doors: &Doors, api: Option<&Api<EmbeddedStore>>) {
        let page = &self.process.page;
        if let Some(door) = &doors.http {
            if self.process.settings.admin.login_link {
                page.print_link(door.address);
            }
            let readiness: Arc<dyn Readiness> = Arc::clone(&self.process) as _;
            let routes = api.cloned().map(web::api_routes);
            let router = web::http_router(readiness, routes, &page.access);
            door.gate.open(router);
        }
        doors.control.open(match api {
            Some(api) => web::api_routes(api.clone()).into_router(),
            None => doors::refusing_router(refusing::why(&self.process, &self.queue, &self.clock)),
        });
    }

    /// Watches the parts that never rest (row H7-09).
    fn watch(&self, pulse: &Arc<AtomicU64>) -> anyhow::Result<Watchdog> {
        let pulse = Arc::clone(pulse);
        let process = move || pulse.load(Ordering::Relaxed);
        let mut pulses: Vec<Pulse> = vec![("process", Box::new(process))];
        if let Some((delivery, _)) = &self.delivery {
            let delivery = delivery.clone();
            pulses.push(("scheduler", Box::new(move || delivery.pulse())));
        }
        Ok(watchdog::start(pulses, self.observer.clone())?)
    }

    /// What the next process may as well know.
    async fn write_down(&self) {
        if let Some(logins) = self.process.logins.clone() {
            logins.write_down().await;
        }
        self.write_down_the_time();
    }

    /// For the next process, unless mail has yet to follow a clock set back: see [`clock::remembered`].
    fn write_down_the_time(&self) {
        let delivery = self.delivery.as_ref();
        if let Some((delivery, _)) = delivery.filter(|(d, _)| d.has_followed_the_clock()) {
            let (data_dir, now) = (&self.process.settings.server.data_dir, delivery.now());
            clock::remember(data_dir, now.wall, now.monotonic);
        }
    }

    /// Tells that the machine has slept (row H8-07); returns how long in all.
    fn tell_of_sleep(&self, before: Duration) -> Duration {
        let slept = self.machine.slept();
        if slept > before {
            let seconds = (slept - before).as_secs().to_string();
            let fields = [("seconds", seconds.as_str())];
            self.observer.process("clock.resumed", Level::Info, &fields);
        }
        slept
    }

    /// `queue.hold-at-start`: before anything is delivered (row H6-13).
    async fn hold_all(&self) -> anyhow::Result<()> {
        let all = Target::Filter(Filter::default());
        let held = loop {
            let now = Now {
                wall: self.clock.wall(),
                monotonic: self.clock.monotonic(),
            };
            match self.queue.edit(&all, Edit::Hold, false, now).await {
                Err(e) if e.cause == QueueError::Rebuilding => tokio::time::sleep(TICK).await,
                other => break other.map_err(|e| open::fail(Status::Io, &e))?,
            }
        };
        let (count, reason) = (held.changed.to_string(), "queue.hold-at-start");
        let fields = [("reason", reason), ("messages", count.as_str())];
        self.observer.process("queue.hold", Level::Warn, &fields);
        Ok(())
    }

    /// Before anything is delivered (row H7-08).
    async fn park(&self, delivery: &Delivery<EmbeddedStore>) -> anyhow::Result<()> {
        if self.suspects.is_empty() {
            return Ok(());
        }
        loop {
            match delivery.park(&self.suspects).await {
                Err(QueueError::Rebuilding) => tokio::time::sleep(TICK).await,
                other => break other.map_err(|e| open::fail(Status::Io, &e))?,
            }
        }
        for id in &self.suspects {
            let id = id.to_string();
            let fields = [
                ("reason", Reason::Parked.key()),
                ("queue_id", id.as_str()),
                (
                    "detail",
                    "the relay has ended three times while this message was being delivered",
                ),
            ];
            self.observer.process("queue.hold", Level::Error, &fields);
        }
        Ok(())
    }

    fn announce(&self) {
        let settings = &self.process.settings;
        for (name, address) in &self.process.listeners {
            let address = address.to_string();
            let fields = [("listener", name.as_str()), ("address", &address)];
            self.observer
                .process("listener.ready", Level::Info, &fields);
        }
        let roots = self.process.trust.roots.current();
        let count = roots.count().to_string();
        let sources = roots.sources().join(", ");
        self.observer.process(
            "tls.roots",
            Level::Info,
            &[("count", &count), ("sources", &sources)],
        );
        reminders::dangers(&self.observer, settings);
        let version = env!("CARGO_PKG_VERSION");
        self.observer.process(
            "process.ready",
            Level::Info,
            &[
                ("version", version),
                ("hostname", settings.server.hostname.as_str()),
            ],
        );
        notify(&[sd_notify::NotifyState::Ready]);
    }

    /// Runs until a signal says stop, or a store fails (exit 74).
    async fn wait(
        &self,
        signals: &mut Signals,
        background: &mut JoinSet<()>,
        pulse: &AtomicU64,
    ) -> anyhow::Result<Status> {
        let reload = Arc::new(Notify::new());
        background.spawn(on_signal(Arc::clone(&self.process), Arc::clone(&reload)));
        let mut tick = tokio::time::interval(TICK);
        let mut look = tokio::time::interval(LOOK);
        let mut dropped = 0;
        let mut ticks: u32 = 0;
        let mut slept = self.machine.slept();
        let mut pressure = Pressure::of_this_process();
        loop {
            tokio::select! {
                told = signals.next() => match told {
                    Told::Stop => return Ok(Status::Ok),
                    Told::Reload => reload.notify_one(),
                },
                Some(_) = background.join_next() => {
                    // None of them ends by itself: one has died, and with it a part of the work.
                    self.observer.process("process.task-died", Level::Error, &[]);
                    return Ok(Status::Software);
                }
                _ = look.tick() => {
                    self.heed(pressure.look());
                    if self.process.tell_of_failed_store() {
                        return Ok(Status::Io);
                    }
                }
                _ = tick.tick() => {
                    self.process.tell_of_full_disk();
                    self.process.reloading.running.under_way.tell(&self.observer);
                    if ticks.is_multiple_of(CRL_ALERT) {
                        self.process.tell_of_what_ends();
                    }
                    if ticks.is_multiple_of(REMINDER) {
                        self.remind(ticks > 0);
                    }
                    if ticks.is_multiple_of(EVERY_MINUTE) {
                        self.write_down_the_time();
                    }
                    if self.delivery.is_none() {
                        policy_cache::look_at_clock(&self.observer.judged, &self.observer);
                    }
                    slept = self.tell_of_sleep(slept);
                    ticks = ticks.wrapping_add(1);
                    self.observer.end_traces();
                    pulse.fetch_add(1, Ordering::Relaxed);
                    let so_far = self.observer.log.dropped();
                    self.observer.metrics.log_dropped(so_far - dropped);
                    dropped = so_far;
                }
            }
        }
    }

    /// Row H9-04: refusing mail is better than being ended with mail in hand.
    fn heed(&self, turn: Option<Turn>) {
        let Some(turn) = turn else { return };
        let (event, level, usage, scarce) = match turn {
            Turn::Scarce(usage) => ("process.memory-scarce", Level::Error, usage, true),
            Turn::Enough(usage) => ("process.memory-enough", Level::Info, usage, false),
        };
        self.process.reloading.inbound.memory_is_scarce(scarce);
        let (used, limit) = (usage.used.to_string(), usage.limit.to_string());
        let detail = if scarce {
            "little mail is taken (421 4.3.2) until less of the control group's memory is in use: raise MemoryMax of the \
             unit, or lower access.connections and access.content-memory"
        } else {
            "all mail is taken again"
        };
        let fields = [("used", &*used), ("limit", &*limit), ("detail", detail)];
        self.observer.process(event, level, &fields);
    }

    /// Rows H10-01 and H10-02. The dangers of the configuration were named at the start.
    fn remind(&self, dangers: bool) {
        if dangers {
            // A reload may wait for a disk; this loop answers the watchdog. There is another hour.
            if let Some(running) = self.process.reloading.running.all.try_lock() {
                reminders::dangers(&self.observer, &running.0);
            }
        }
        if let Some((_, policies)) = &self.delivery {
            reminders::exemptions(&self.observer, policies, self.clock.wall());
        }
    }
}

/// Ticks between two alerts about lists that are out of date: an hour.
const CRL_ALERT: u32 = 3600;
/// Ticks between two reminders of what weakens security: an hour.
const REMINDER: u32 = 3600;
const EVERY_MINUTE: u32 = 60;
const TICK: Duration = Duration::from_secs(1);
/// How long a failed store goes unnoticed by those who have not asked it for anything.
const LOOK: Duration = Duration::from_millis(200);
