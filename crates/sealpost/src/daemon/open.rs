//! Opens the parts, each with an error that says what is wrong and the remedy.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use attempt::{Format, Formatter, Level};
use delivery::{DamagedPause, Delivery, Dice, InHand, Parts, Paused};
use event_log::{EventLog, Guard, JOURNAL_SOCKET, Outlet, Target, stdout_is_the_journal};
use journal::DirLock;
use mail_types::{QueueId, Resolver, Timestamp};
use outbound_queue::{EmbeddedOptions, EmbeddedStore};
use policy_cache::{Clock, HttpsFetcher, Jitter, Opened, PolicyCache, Ports};
use resolver::DnsResolver;
use settings::{LogFormat, Settings};
use smtp_client::{Connector, Pool, Roots};
use smtp_server::{
    Access, Change, ConnectionRate, Identities, Limits, ListenerSettings, ServerSettings,
};

use super::activation::Activated;
use super::certificates::Certificates;
use super::observe::Observer;
use super::page::Page;
use super::placed::Placed;
use super::trust::{self, Trust};
use super::{logins, translate};
use crate::exit::{Failure, Status};

/// What policies and delivery are made from.
pub(super) struct Opening<'a> {
    pub(super) settings: &'a Settings,
    pub(super) resolver: Arc<dyn Resolver>,
    pub(super) trust: &'a Trust,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) observer: Observer,
}

impl Opening<'_> {
    /// `None` if the stored policies cannot be read: then nothing may be delivered, and `standing`
    /// says why.
    pub(super) fn policies(
        &self,
        dangerous_lose: bool,
        standing: &mut Vec<String>,
    ) -> anyhow::Result<Option<PolicyCache>> {
        let data = &self.settings.server.data_dir;
        let fetcher = fetcher(self.settings, &self.resolver, &self.trust.roots)?;
        let config = policy_cache::Config {
            refresh_interval: self.settings.policy_cache.refresh_interval,
            fetch_timeout: self.settings.policy_cache.fetch_timeout,
            max_fetches: self.settings.policy_cache.fetches,
            dangerous_lose_policies: dangerous_lose,
            // The policies are always opened before the queue: where there is one they have been.
            expected: data.join(QUEUE).join("FORMAT").exists(),
            ..policy_cache::Config::new(data.join("policies"))
        };
        let ports = Ports {
            resolver: Arc::clone(&self.resolver),
            fetcher: Arc::new(fetcher),
            clock: Arc::clone(&self.observer.judged),
            jitter: Jitter::from_system(),
            events: Arc::new(self.observer.clone()),
        };
        match PolicyCache::open(config, ports).map_err(|e| fail(Status::Io, &e))? {
            Opened::Ready(policies) => Ok(Some(policies)),
            Opened::Lost { error } => {
                self.observer
                    .process("policy.store-lost", Level::Error, &[("detail", &error)]);
                standing.push(format!("{error}; mail is accepted and held until then"));
                Ok(None)
            }
        }
    }

    /// The engine, and the messages that are to be parked before it runs.
    pub(super) fn delivery(
        &self,
        queue: &Arc<EmbeddedStore>,
        policies: &PolicyCache,
        told: delivery::Settings,
    ) -> anyhow::Result<(Delivery<EmbeddedStore>, Vec<QueueId>)> {
        let directory = self.settings.server.data_dir.join("delivery");
        // No more than a hint: without it a message that ends the process is not found out.
        let (in_hand, suspects) = InHand::open(&directory).unwrap_or_else(|error| {
            let directory = directory.display();
            tracing::warn!(%error, "`in-hand` or `suspects` in {directory} cannot be read or written: a message that ends the relay again and again is not found out before the next start; mend their permissions, or remove both");
            (InHand::none(), Vec::new())
        });
        let (paused, damaged) = Paused::open(&directory).map_err(|e| {
            let file = directory.join("paused");
            let text = format!(
                "the list of paused destinations cannot be read: {}: {e}; mend its permissions, or \
                 move it away and pause again what has to be",
                file.display()
            );
            fail(Status::Io, &text)
        })?;
        for DamagedPause { line, became } in &damaged {
            let kept = directory.join("paused.unreadable").display().to_string();
            let fields = [
                ("line", line.as_str()),
                ("became", became),
                ("kept", kept.as_str()),
                (
                    "remedy",
                    "`sealpost status` lists what is paused; pause what is missing",
                ),
            ];
            self.observer
                .process("queue.pause-unreadable", Level::Error, &fields);
        }
        let config = translate::connector(self.settings, client_clock(&self.clock), None);
        let delivery = Delivery::new(Parts {
            queue: Arc::clone(queue),
            resolver: Arc::clone(&self.resolver),
            policies: policies.clone(),
            connector: Connector::new(config, self.trust.roots.clone()),
            route_connectors: self.route_connectors(),
            pool: Pool::new(translate::pool(self.settings)),
            clock: Arc::clone(&self.clock),
            observer: Arc::new(self.observer.clone()),
            dice: Dice::seeded(seed()?),
            settings: told,
            in_hand,
            paused,
        });
        Ok((delivery, suspects))
    }

    /// A route with trust anchors or a login of its own has a client of its own.
    fn route_connectors(&self) -> Vec<Option<Connector>> {
        let each = self.trust.routes.iter().enumerate().map(|(n, route)| {
            if route.roots.is_none() && route.account.is_none() {
                return None;
            }
            let roots = route.roots.as_ref().unwrap_or(&self.trust.roots).clone();
            let own = Some((n, route.account.clone()));
            let config = translate::connector(self.settings, client_clock(&self.clock), own);
            Some(Connector::new(config, roots))
        });
        each.collect()
    }
}

/// The listeners, with the sockets that systemd has opened for them.
pub(super) fn server(s: &Settings, certificates: &Certificates) -> anyhow::Result<ServerSettings> {
    let refuse = |text: String| fail(Status::Configuration, &text);
    let mut server = server_settings(s, certificates, logins::identities(s)?);
    let mut activated = Activated::from_environment().map_err(refuse)?;
    for (configured, listener) in s.listeners.iter().zip(&mut server.listeners) {
        listener.sockets = activated.take(configured).map_err(refuse)?;
    }
    activated.finish(s).map_err(refuse)?;
    Ok(server)
}

fn server_settings(
    s: &Settings,
    certificates: &Certificates,
    identities: Identities,
) -> ServerSettings {
    let listeners = s.listeners.iter().map(|l| listener(s, l, certificates));
    ServerSettings {
        listeners: listeners.collect(),
        access: Arc::new(ArcSwap::from_pointee(access(s, identities))),
        limits: limits(s),
        drain: s.server.drain_timeout,
    }
}

/// What a reload changes of the listeners.
pub(super) fn change(s: &Settings) -> anyhow::Result<Change> {
    let terms = |l| (session(s, l), bare_newline(l), timeouts(s, l));
    let listeners = s.listeners.iter().map(terms);
    Ok(Change {
        listeners: listeners.collect(),
        access: access(s, logins::identities(s)?),
        limits: limits(s),
    })
}

fn access(s: &Settings, identities: Identities) -> Access {
    Access::new(
        &s.access.relay_networks,
        &s.access.xforward_hosts,
        &s.access.normalize_networks,
    )
    .requiring_tls(&s.access.requiretls_networks)
    .in_plain_text(&s.access.dangerous_plaintext_networks)
    .impersonated_by(&s.access.xclient_hosts, &s.access.proxy_hosts)
    .with_identities(identities)
}

fn limits(s: &Settings) -> Limits {
    Limits {
        connections: super::descriptors::connections(s),
        connections_per_address: s.access.connections_per_client,
        connection_rate: s.access.limits.connection_rate.map(|rate| ConnectionRate {
            count: rate.count.get(),
            period: rate.period,
        }),
        content_memory: s.access.limits.content_memory,
    }
}

fn timeouts(s: &Settings, l: &settings::Listener) -> smtp_server::Timeouts {
    smtp_server::Timeouts {
        command: l.idle_timeout,
        data: l.idle_timeout,
        min_data_rate: s.access.limits.min_data_rate,
        data_grace: s.access.limits.data_grace,
        greeting: s.access.limits.greeting_delay,
        ..smtp_server::Timeouts::default()
    }
}

fn listener(s: &Settings, l: &settings::Listener, certificates: &Certificates) -> ListenerSettings {
    ListenerSettings {
        session: session(s, l),
        bare_newline: bare_newline(l),
        timeouts: timeouts(s, l),
        addresses: l.addresses.clone(),
        sockets: Vec::new(),
        tls: certificates.of(&l.name),
    }
}

fn bare_newline(l: &settings::Listener) -> smtp_server::BareNewline {
    match l.bare_newline {
        settings::BareNewline::Reject => smtp_server::BareNewline::Reject,
        settings::BareNewline::Normalize => smtp_server::BareNewline::Normalize,
    }
}

fn session(s: &Settings, l: &settings::Listener) -> smtp_server::Settings {
    smtp_server::Settings {
        role: match l.role {
            settings::ListenerRole::Relay => smtp_server::Role::Relay,
            settings::ListenerRole::Submission => smtp_server::Role::Submission,
        },
        logins: smtp_server::Logins {
            passwords: s.logins.users_file.is_some(),
            login: s.logins.login,
            certificates: l.client_ca.is_some(),
        },
        tls: match l.tls {
            settings::ListenerTls::Off => smtp_server::TlsMode::Off,
            settings::ListenerTls::Optional => smtp_server::TlsMode::Optional,
            settings::ListenerTls::Required => smtp_server::TlsMode::Required,
            settings::ListenerTls::Implicit => smtp_server::TlsMode::Implicit,
        },
        max_message_size: l.max_message_size,
        max_recipients: l.max_recipients,
        max_errors: s.access.limits.errors_per_connection,
        max_messages: s.access.limits.messages_per_connection,
        hide_client: l.content.hide_client,
        show_user: l.content.show_user,
        max_hops: u32::try_from(s.queue.max_hops).unwrap_or(u32::MAX),
        dangerous_tls_required_no: match s.delivery.dangerous_tls_required_no {
            settings::TlsRequiredNo::Never => smtp_server::TlsRequiredNo::Never,
            settings::TlsRequiredNo::Authenticated => smtp_server::TlsRequiredNo::Authenticated,
            settings::TlsRequiredNo::All => smtp_server::TlsRequiredNo::All,
        },
        requiretls_senders: s.access.requiretls_senders.clone(),
        postmaster: s.server.postmaster.clone(),
        dsn: l.dsn,
        refuse_early_talkers: s.access.limits.refuse_early_talkers,
        closed: l.closed.as_deref().map(Into::into),
        ..smtp_server::Settings::new(s.server.hostname.clone(), &l.name)
    }
}

/// What fetches policies.
pub(crate) fn fetcher(
    s: &Settings,
    resolver: &Arc<dyn Resolver>,
    roots: &Roots,
) -> anyhow::Result<HttpsFetcher> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?;
    let roots = roots.clone();
    // For each fetch anew, so that a reload of the trust anchors reaches the next one (row I3-04).
    let tls =
        move |note| smtp_client::noting_config(versions.clone(), roots.current().store(), note);
    let allowed = s.egress.allow_special_use.clone();
    Ok(HttpsFetcher::new(
        Arc::clone(resolver),
        Arc::new(tls),
        allowed,
    )?)
}

/// The trust anchors and revocation lists for mail exchangers, without those of routes.
pub(crate) fn roots(s: &Settings) -> anyhow::Result<Roots> {
    let set = trust::load(s, &translate::roots(s));
    Ok(Roots::new(
        set.map_err(|e| fail(Status::Configuration, &e))?,
    ))
}

pub(crate) fn resolver(s: &Settings) -> anyhow::Result<Arc<DnsResolver>> {
    let made = DnsResolver::new(&resolver_config(s));
    Ok(Arc::new(made.map_err(|e| fail(Status::Configuration, &e))?))
}

pub(crate) fn resolver_config(s: &Settings) -> resolver::Config {
    let servers = match &s.dns.servers {
        settings::DnsServers::System => resolver::Servers::System,
        settings::DnsServers::Addresses(list) => resolver::Servers::List(list.clone()),
    };
    let dnssec = match s.dns.dnssec {
        settings::Dnssec::Validate => resolver::Dnssec::Validate,
        settings::Dnssec::TrustAd => resolver::Dnssec::TrustAd,
        settings::Dnssec::Off => resolver::Dnssec::Off,
    };
    resolver::Config {
        servers,
        dnssec,
        timeout: s.dns.timeout,
        trust_anchors: s.dns.trust_anchors.clone(),
        dnssec_worked: super::dnssec::worked(&s.server.data_dir),
        ..resolver::Config::default()
    }
}

pub(super) fn lock(data_dir: &Path) -> anyhow::Result<DirLock> {
    use std::os::unix::fs::PermissionsExt;
    let refuse = |e: std::io::Error| {
        let text = format!(
            "the data directory {} cannot be used: {e}; make it, writable for this user, or set server.data-dir",
            data_dir.display()
        );
        // As the check of the configuration has it, where that saw it.
        let status = match e.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Status::Configuration,
            _ => Status::CannotCreate,
        };
        fail(status, &text)
    };
    std::fs::create_dir_all(data_dir).map_err(refuse)?;
    std::fs::set_permissions(data_dir, std::fs::Permissions::from_mode(0o700)).map_err(refuse)?;
    DirLock::acquire(data_dir).map_err(|e| fail(Status::CannotCreate, &e))
}

/// The event log, and where whoever watches reads along.
pub(super) fn event_log(s: &Settings) -> anyhow::Result<(EventLog, Arc<web::Feed>, Guard)> {
    let feed: Arc<web::Feed> = Arc::default();
    let watcher = Arc::clone(&feed);
    let (log, guard) = EventLog::start(outlet(s)?, move |event| watcher.offer(event))?;
    Ok((log, feed, guard))
}

/// How events are written, with what `auto` comes to here.
fn log_format(log: &settings::Log) -> Format {
    use std::io::IsTerminal;
    let terminal = log.file.is_none() && std::io::stdout().is_terminal();
    match log.format {
        LogFormat::Json => Format::Json,
        LogFormat::Postfix => Format::Postfix,
        LogFormat::Text => Format::Text { colour: terminal },
        LogFormat::Journald => Format::Journal,
        LogFormat::Auto if terminal => Format::Text { colour: true },
        LogFormat::Auto if log.file.is_none() && stdout_is_the_journal() => Format::Journal,
        LogFormat::Auto => Format::Json,
    }
}

/// What finds a message in the log, where it is written now; also lines of a version that printed the id without its zero.
pub(super) fn log_search(log: &settings::Log, id: QueueId) -> String {
    let (short, format) = (id.short(), log_format(log));
    match (format, &log.file) {
        (Format::Journal, _) => format!("`journalctl QUEUE_ID={id} QUEUE_ID={short}`."),
        (_, Some(file)) => format!(
            "`grep {short} {}`, and the same in what has been rotated away.",
            file.display()
        ),
        (_, None) if stdout_is_the_journal() => format!("`journalctl --grep={short}`."),
        (_, None) => format!("look for {short} in what the relay writes to its standard output."),
    }
}

/// Where events go, opened.
pub(super) fn outlet(s: &Settings) -> anyhow::Result<Outlet> {
    let format = log_format(&s.log);
    let target = match (format, &s.log.file) {
        (Format::Journal, _) => Target::Journal(&s.log.syslog_name),
        (_, Some(file)) => Target::File(file),
        (_, None) => Target::Stdout,
    };
    let formatter = Formatter::new(
        format,
        s.server.hostname.as_str(),
        &s.log.syslog_name,
        std::process::id(),
    );
    Outlet::open(formatter, target).map_err(|e| {
        let text = match target {
            Target::Journal(_) => format!(
                "the systemd journal cannot be reached at {}: {e}; set another log.format",
                JOURNAL_SOCKET
            ),
            Target::File(file) => format!("log.file {} cannot be opened: {e}", file.display()),
            Target::Stdout => format!("standard output cannot be used: {e}"),
        };
        fail(Status::CannotCreate, &text)
    })
}

/// For every store that is opened after it, whichever comes first; refuses what is no queue that is known, so that
/// nothing else is told before that.
pub(super) fn make_room(settings: &Settings) -> anyhow::Result<()> {
    let (data, queue) = (&settings.server.data_dir, &settings.queue);
    EmbeddedStore::make_room(&data.join(QUEUE), queue.minimum_free_space)
        .map_err(|e| fail(Status::Io, &e))
}

pub(super) fn queue(s: &Settings, placed: &Arc<Placed>) -> anyhow::Result<EmbeddedStore> {
    let options = EmbeddedOptions {
        free_space_floor: s.queue.minimum_free_space,
        body_memory: s.queue.body_memory,
        messages_in_memory: s.queue.messages_in_memory,
        journal_memory: s.queue.journal_memory,
        ..EmbeddedOptions::new(
            s.server.data_dir.join(QUEUE),
            Arc::clone(placed) as _,
            seed()?,
        )
    };
    EmbeddedStore::open(options).map_err(|e| fail(Status::Io, &e))
}

pub(super) fn seed() -> anyhow::Result<u64> {
    getrandom::u64().map_err(|e| anyhow::anyhow!("the system has no random numbers: {e}"))
}

pub(crate) fn client_clock(clock: &Arc<dyn Clock>) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
    let clock = Arc::clone(clock);
    Arc::new(move || clock.wall())
}

pub(super) fn fail(status: Status, what: &impl std::fmt::Display) -> anyhow::Error {
    Failure::new(status, what.to_string()).into()
}

/// Who may use page and API over HTTP.
pub(super) fn page(s: &Settings, observer: &Observer) -> anyhow::Result<Page> {
    let page = Page::open(s, observer, &observer.clock);
    page.map_err(|e| fail(Status::Configuration, &e))
}

/// Under the data directory.
const QUEUE: &str = "queue";
