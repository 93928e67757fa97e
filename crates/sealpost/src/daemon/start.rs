//! Opens everything in order and runs until told to stop.
//!
//! The order is what makes errors clear: what is configured wrongly fails before anything is
//! opened, ports before the store is touched, the lock before the store. Mail is accepted only
//! when all of it stands.

use std::path::Path;
use std::sync::Arc;

use admin::{Control, Readiness};
use arc_swap::ArcSwap;
use attempt::{Format, Formatter, Level};
use delivery::{Delivery, Dice, Parts};
use journal::DirLock;
use mail_types::{Resolver, Timestamp};
use outbound_queue::{EmbeddedOptions, EmbeddedStore};
use policy_cache::{Clock, HttpsFetcher, Jitter, Opened, PolicyCache, Ports, SystemClock};
use resolver::DnsResolver;
use settings::{LogFormat, Settings};
use smtp_client::{Connector, Pool, RootSet, Roots};
use smtp_server::{Access, Limits, ListenerSettings, Server, ServerSettings, ServerTls};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::intake::QueueIntake;
use super::log_writer::EventLog;
use super::observe::{Counts, Observer};
use super::process::Process;
use super::scrape;
use super::translate;
use crate::exit::{Failure, Status};

/// Runs the relay until SIGTERM or SIGINT.
///
/// # Errors
/// What kept it from starting, or made it stop: one line with the remedy and the exit status.
pub(crate) async fn run(
    settings: Settings,
    dangerous_lose_policies: bool,
) -> anyhow::Result<Status> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let server =
        Server::bind(server_settings(&settings)?).map_err(|e| fail(Status::CannotCreate, &e))?;
    let roots = roots(&settings)?;
    let dns = resolver(&settings)?;
    let resolver: Arc<dyn Resolver> = Arc::clone(&dns) as _;
    let _lock = lock(&settings.server.data_dir)?;
    let (log, _log_guard) = event_log(&settings)?;
    let (metrics, scraped) = scrape::metrics();
    let observer = Observer {
        log,
        clock: Arc::clone(&clock),
        counts: Arc::new(Counts::default()),
        metrics,
    };
    let told = translate::delivery(&settings)?;
    let queue = Arc::new(open_queue(&settings, &told)?);
    let mut standing = Vec::new();
    let policies = match open_policies(
        &settings,
        &resolver,
        &roots,
        &clock,
        &observer,
        dangerous_lose_policies,
    )? {
        Opened::Ready(policies) => Some(policies),
        Opened::Lost { error } => {
            observer.process(
                "policy.store-lost",
                Level::Error,
                &[("detail", error.as_str())],
            );
            standing.push(format!("{error}; mail is accepted and held until then"));
            None
        }
    };
    let delivery = match policies {
        Some(policies) => {
            let parts = Parts {
                queue: Arc::clone(&queue),
                resolver: Arc::clone(&resolver),
                policies: policies.clone(),
                connector: Connector::new(
                    translate::connector(&settings, client_clock(&clock), None),
                    roots.clone(),
                ),
                route_connectors: route_connectors(&settings, &clock)?,
                pool: Pool::new(translate::pool(&settings)),
                clock: Arc::clone(&clock),
                observer: Arc::new(observer.clone()),
                dice: Dice::seeded(seed()?),
                settings: told,
            };
            Some((Delivery::new(parts), policies))
        }
        None => None,
    };
    let limits = &settings;
    // Nobody else names the sources: this is the first and only time.
    let _ = scraped.set(scrape::Sources {
        queue: Arc::clone(&queue),
        delivery: delivery.clone(),
        resolver: dns,
        clock: Arc::clone(&clock),
        counts: Arc::clone(&observer.counts),
        started_at: clock.wall().as_secs(),
        max_inbound: limits.access.connections as u64,
        max_outbound: limits.delivery.connections as u64,
        max_fetches: limits.policy_cache.fetches as u64,
        body_memory: limits.queue.body_memory,
    });
    let listeners: Vec<_> = server
        .addresses()
        .map(|(name, address)| (name.to_owned(), address))
        .collect();
    let process = Arc::new(Process {
        started: clock.wall(),
        queue: Arc::clone(&queue),
        observer: observer.clone(),
        roots,
        listeners,
        standing,
        settings,
    });
    Running {
        process,
        delivery,
        queue,
        clock,
        observer,
    }
    .serve(server)
    .await
}

/// Everything stands.
struct Running {
    process: Arc<Process<EmbeddedStore>>,
    delivery: Option<(Delivery<EmbeddedStore>, PolicyCache)>,
    queue: Arc<EmbeddedStore>,
    clock: Arc<dyn Clock>,
    observer: Observer,
}

impl Running {
    async fn serve(self, server: Server) -> anyhow::Result<Status> {
        let settings = &self.process.settings;
        let mut background = tokio::task::JoinSet::new();
        if let Some(address) = settings.admin.http {
            let readiness: Arc<dyn Readiness> = Arc::clone(&self.process) as _;
            let service = admin::serve_tcp(address, admin::public_router(readiness)).await;
            background.spawn(service.map_err(|e| fail(Status::CannotCreate, &e))?);
        }
        if let Some((delivery, policies)) = &self.delivery {
            let control = Control {
                queue: Arc::clone(&self.queue),
                delivery: delivery.clone(),
                policies: policies.clone(),
                clock: Arc::clone(&self.clock),
                daemon: Arc::clone(&self.process) as _,
            };
            let service =
                admin::serve_socket(&settings.admin.socket, admin::control_router(control));
            background.spawn(service.map_err(|e| fail(Status::CannotCreate, &e))?);
            let (engine, cache) = (delivery.clone(), policies.clone());
            background.spawn(async move { engine.run().await });
            background.spawn(async move { cache.run().await });
        }
        let (stop, stopping) = watch::channel(false);
        let intake = QueueIntake {
            queue: Arc::clone(&self.queue),
            delivery: self.delivery.as_ref().map(|(d, _)| d.clone()),
            clock: Arc::clone(&self.clock),
        };
        let accepting = tokio::spawn(server.run(
            Arc::new(intake),
            Arc::new(self.observer.clone()),
            client_clock(&self.clock),
            stopped(stopping),
        ));
        self.announce();
        let status = self.wait().await?;
        notify(&[sd_notify::NotifyState::Stopping]);
        self.observer.process("process.stopping", Level::Info, &[]);
        stop.send_replace(true);
        if accepting.await.is_err() {
            tracing::error!("the listeners died");
        }
        if let Some((delivery, _)) = &self.delivery {
            delivery.stop().await;
        }
        background.shutdown().await;
        let queue = Arc::clone(&self.queue);
        match tokio::task::spawn_blocking(move || queue.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "the queue could not be closed; nothing is lost, the next start takes longer")
            }
            Err(error) => tracing::error!(%error, "closing the queue failed"),
        }
        self.observer.process("process.stopped", Level::Info, &[]);
        Ok(status)
    }

    fn announce(&self) {
        let settings = &self.process.settings;
        for (name, address) in &self.process.listeners {
            let address = address.to_string();
            self.observer.process(
                "listener.ready",
                Level::Info,
                &[("listener", name), ("address", &address)],
            );
        }
        if settings.dns.dnssec_configured != settings::Dnssec::Off {
            let detail = "this version does not validate DNSSEC: dns.dnssec is off in effect, DANE is not available";
            self.observer
                .process("dane.unavailable", Level::Warn, &[("detail", detail)]);
        }
        let roots = self.process.roots.current();
        let count = roots.count().to_string();
        let sources = roots.sources().join(", ");
        self.observer.process(
            "tls.roots",
            Level::Info,
            &[("count", &count), ("sources", &sources)],
        );
        for danger in settings::dangers(settings) {
            let text = danger.to_string();
            self.observer
                .process("config.dangerous", Level::Warn, &[("detail", &text)]);
        }
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

    /// Runs until a signal says stop, or the queue's journal fails (design: exit 74).
    async fn wait(&self) -> anyhow::Result<Status> {
        let mut term = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = term.recv() => return Ok(Status::Ok),
                _ = interrupt.recv() => return Ok(Status::Ok),
                _ = hangup.recv() => self.reload(),
                _ = tick.tick() => {
                    notify(&[sd_notify::NotifyState::Watchdog]);
                    if let Some(cause) = outbound_queue::QueueStore::health(&*self.queue).failed {
                        self.observer.process("store.failed", Level::Error, &[("detail", &cause)]);
                        return Ok(Status::Io);
                    }
                }
            }
        }
    }

    fn reload(&self) {
        notify(&[sd_notify::NotifyState::Reloading]);
        if let Err(error) = admin::Daemon::reload(&*self.process) {
            self.observer
                .process("config.reload-failed", Level::Error, &[("detail", &error)]);
        }
        notify(&[sd_notify::NotifyState::Ready]);
    }
}

fn server_settings(s: &Settings) -> anyhow::Result<ServerSettings> {
    let listeners = s
        .listeners
        .iter()
        .map(|l| listener(s, l))
        .collect::<anyhow::Result<_>>()?;
    Ok(ServerSettings {
        listeners,
        access: Arc::new(ArcSwap::from_pointee(Access::new(
            &s.access.relay_networks,
            &s.access.xforward_hosts,
            &[],
        ))),
        limits: Limits {
            connections: s.access.connections,
            connections_per_address: s.access.connections_per_client,
        },
        // One idle time-out for all listeners: the longest, so that none is cut short.
        timeouts: smtp_server::Timeouts {
            command: s
                .listeners
                .iter()
                .map(|l| l.idle_timeout)
                .max()
                .unwrap_or_default(),
            ..smtp_server::Timeouts::default()
        },
        drain: s.server.drain_timeout,
    })
}

fn listener(s: &Settings, l: &settings::Listener) -> anyhow::Result<ListenerSettings> {
    let tls = match &l.key_pair {
        Some(pair) => {
            let loaded = ServerTls::load(&pair.certificate, &pair.private_key);
            Some(Arc::new(loaded.map_err(|e| {
                fail(
                    Status::Configuration,
                    &format!("listener {:?}: {e}", l.name),
                )
            })?))
        }
        None => None,
    };
    let session = smtp_server::Settings {
        role: match l.role {
            settings::ListenerRole::Relay => smtp_server::Role::Relay,
        },
        tls: match l.tls {
            settings::ListenerTls::Off => smtp_server::TlsMode::Off,
            settings::ListenerTls::Optional => smtp_server::TlsMode::Optional,
            settings::ListenerTls::Required => smtp_server::TlsMode::Required,
            settings::ListenerTls::Implicit => smtp_server::TlsMode::Implicit,
        },
        max_message_size: l.max_message_size,
        max_recipients: l.max_recipients,
        max_hops: u32::try_from(s.queue.max_hops).unwrap_or(u32::MAX),
        dangerous_tls_required_no: match s.delivery.dangerous_tls_required_no {
            settings::TlsRequiredNo::Never => smtp_server::TlsRequiredNo::Never,
            settings::TlsRequiredNo::Authenticated => smtp_server::TlsRequiredNo::Authenticated,
            settings::TlsRequiredNo::All => smtp_server::TlsRequiredNo::All,
        },
        postmaster: s.server.postmaster.clone(),
        ..smtp_server::Settings::new(s.server.hostname.clone(), &l.name)
    };
    let bare_newline = match l.bare_newline {
        settings::BareNewline::Reject => smtp_server::BareNewline::Reject,
        settings::BareNewline::Normalize => smtp_server::BareNewline::Normalize,
    };
    Ok(ListenerSettings {
        session,
        bare_newline,
        addresses: l.addresses.clone(),
        tls,
    })
}

fn roots(s: &Settings) -> anyhow::Result<Roots> {
    load_roots(&translate::roots(s)).map(Roots::new)
}

fn load_roots(sources: &[smtp_client::RootSource]) -> anyhow::Result<RootSet> {
    let (set, warnings) = RootSet::load(sources).map_err(|e| fail(Status::Configuration, &e))?;
    for w in warnings {
        tracing::warn!(source = %w.source, skipped = w.skipped, problem = %w.problem, "some trust anchors were left out");
    }
    Ok(set)
}

fn route_connectors(
    s: &Settings,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Vec<Option<Connector>>> {
    let each = s.routes.iter().enumerate().map(|(n, route)| {
        if route.roots.is_empty() {
            return Ok(None);
        }
        let roots = Roots::new(load_roots(&translate::route_roots(&route.roots))?);
        Ok(Some(Connector::new(
            translate::connector(s, client_clock(clock), Some(n)),
            roots,
        )))
    });
    each.collect()
}

fn resolver(s: &Settings) -> anyhow::Result<Arc<DnsResolver>> {
    let servers = match &s.dns.servers {
        settings::DnsServers::System => resolver::Servers::System,
        settings::DnsServers::Addresses(list) => resolver::Servers::List(list.clone()),
    };
    let config = resolver::Config {
        servers,
        timeout: s.dns.timeout,
        ..resolver::Config::default()
    };
    let resolver = DnsResolver::new(&config).map_err(|e| fail(Status::Configuration, &e))?;
    Ok(Arc::new(resolver))
}

fn lock(data_dir: &Path) -> anyhow::Result<DirLock> {
    use std::os::unix::fs::PermissionsExt;
    let refuse = |e: std::io::Error| {
        let text = format!(
            "the data directory {} cannot be used: {e}; make it, writable for this user, or set server.data-dir",
            data_dir.display()
        );
        fail(Status::CannotCreate, &text)
    };
    std::fs::create_dir_all(data_dir).map_err(refuse)?;
    std::fs::set_permissions(data_dir, std::fs::Permissions::from_mode(0o700)).map_err(refuse)?;
    DirLock::acquire(data_dir).map_err(|e| fail(Status::CannotCreate, &e))
}

fn event_log(s: &Settings) -> anyhow::Result<(EventLog, super::log_writer::Guard)> {
    use std::io::IsTerminal;
    let terminal = s.log.file.is_none() && std::io::stdout().is_terminal();
    let format = match s.log.format {
        LogFormat::Json => Format::Json,
        LogFormat::Postfix => Format::Postfix,
        LogFormat::Text => Format::Text { colour: terminal },
        LogFormat::Auto if terminal => Format::Text { colour: true },
        LogFormat::Auto => Format::Json,
    };
    let formatter = Formatter::new(
        format,
        s.server.hostname.as_str(),
        &s.log.syslog_name,
        std::process::id(),
    );
    EventLog::start(formatter, s.log.file.as_deref()).map_err(|e| {
        let name = s
            .log
            .file
            .as_deref()
            .map(|p| p.display().to_string())
            .unwrap_or_default();
        fail(
            Status::CannotCreate,
            &format!("log.file {name} cannot be opened: {e}"),
        )
    })
}

fn open_queue(s: &Settings, placement: &delivery::Settings) -> anyhow::Result<EmbeddedStore> {
    let options = EmbeddedOptions {
        free_space_floor: s.queue.minimum_free_space,
        body_memory: s.queue.body_memory,
        ..EmbeddedOptions::new(
            s.server.data_dir.join("queue"),
            Arc::new(placement.clone()),
            seed()?,
        )
    };
    EmbeddedStore::open(options).map_err(|e| fail(Status::Io, &e))
}

fn open_policies(
    s: &Settings,
    resolver: &Arc<dyn Resolver>,
    roots: &Roots,
    clock: &Arc<dyn Clock>,
    observer: &Observer,
    dangerous_lose_policies: bool,
) -> anyhow::Result<Opened> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(Arc::clone(roots.current().store()))
        .with_no_client_auth();
    let fetcher = HttpsFetcher::new(
        Arc::clone(resolver),
        tls,
        s.egress.allow_special_use.clone(),
    )?;
    let config = policy_cache::Config {
        refresh_interval: s.policy_cache.refresh_interval,
        max_fetches: s.policy_cache.fetches,
        dangerous_lose_policies,
        ..policy_cache::Config::new(s.server.data_dir.join("policies"))
    };
    let ports = Ports {
        resolver: Arc::clone(resolver),
        fetcher: Arc::new(fetcher),
        clock: Arc::clone(clock),
        jitter: Jitter::from_system(),
        events: Arc::new(observer.clone()),
    };
    PolicyCache::open(config, ports).map_err(|e| fail(Status::Io, &e))
}

fn seed() -> anyhow::Result<u64> {
    getrandom::u64().map_err(|e| anyhow::anyhow!("the system has no random numbers: {e}"))
}

fn client_clock(clock: &Arc<dyn Clock>) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
    let clock = Arc::clone(clock);
    Arc::new(move || clock.wall())
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // The sender lives as long as the daemon; if it is gone, stopping is right as well.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Tells systemd, where there is one.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

fn fail(status: Status, what: &impl std::fmt::Display) -> anyhow::Error {
    Failure::new(status, what.to_string()).into()
}

const TICK: std::time::Duration = std::time::Duration::from_secs(1);
