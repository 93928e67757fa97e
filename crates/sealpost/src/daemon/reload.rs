//! Reading the configuration anew: all of it or nothing.
//!
//! What can go wrong is done first: reading, checking, opening the log, reading the files that keys
//! name. Then everything that [`takes_effect`] changes at once. Each key that has changed is logged
//! with its old and its new value; what needs a restart keeps its old value, and is named again by
//! every reload until then.

mod under_way;

use std::sync::Arc;
use std::time::Duration;

use admin::{ConfigChange, LastReloadView, ReloadResult};
use arc_swap::ArcSwap;
use attempt::Level;
use delivery::Delivery;
use outbound_queue::QueueStore;
use parking_lot::{Mutex, MutexGuard};
use report_ports::Terms;
use settings::{BareNewline, ConfigError, Listener, ListenerContent, Settings, Severity, Values};
use smtp_server::Reins;

use super::intake::Rules;
use super::placed::Placed;
use super::process::Process;
use under_way::UnderWay;
pub(crate) use under_way::on_signal;

use super::{descriptors, dnssec, logins, open, start, translate};
use crate::logging::SetLevel;

/// What a reload acts on.
pub(crate) struct Reloading<S> {
    pub(crate) running: InForce,
    pub(crate) delivery: Option<Delivery<S>>,
    pub(crate) placed: Arc<Placed>,
    pub(crate) set_level: SetLevel,
    /// What the listeners' connections begin with.
    pub(crate) inbound: Reins,
    /// What becomes of mail on its way in.
    pub(crate) rules: Arc<ArcSwap<Rules>>,
}

/// What is in force.
pub(crate) struct InForce {
    pub(crate) all: Mutex<(Settings, Values)>,
    /// How and where the log is written, for whoever cannot wait for the disks that a reload reads.
    pub(crate) log: ArcSwap<settings::Log>,
    pub(crate) under_way: UnderWay,
}

impl InForce {
    pub(crate) fn new(settings: &Settings, values: Values) -> Self {
        Self {
            all: Mutex::new((settings.clone(), values)),
            log: ArcSwap::from_pointee(settings.log.clone()),
            under_way: UnderWay::default(),
        }
    }
}

impl<S> Reloading<S> {
    /// As the last reload has left them.
    pub(super) fn settings(&self) -> Settings {
        self.running.all.lock().0.clone()
    }
}

impl<S: QueueStore> Process<S> {
    /// Reads the configuration anew; whoever asked for it, the log has what is wrong (row H7-11).
    ///
    /// # Errors
    /// What is wrong, errors first, each on a line; everything stays as it was.
    pub(super) fn reload(&self) -> Result<ReloadResult, String> {
        // First, and until all is told: of two at the same time the one that read the older file must not
        // have the last word, whatever came of either.
        let waiting = self.reloading.running.under_way.wait();
        let mut running = self.reloading.running.all.lock();
        let turn = waiting.begin(self.observer.now());
        let changes = match self.read_anew(&mut running) {
            Ok(changes) => changes,
            Err(refused) => {
                self.refused(&running, &refused.errors);
                return Err(refused.all);
            }
        };
        self.tell(&changes.all);
        drop(turn);
        let has_system_servers = running.0.dns.servers == settings::DnsServers::System;
        drop(running);
        self.tell_of_what_ends();
        dnssec::reread(&self.resolver, &self.observer);
        Ok(result(
            changes.all,
            changes.same_routes && !self.trust.routes.is_empty(),
            self.logins.is_some(),
            has_system_servers,
        ))
    }

    fn refused(&self, running: &MutexGuard<'_, (Settings, Values)>, error: &str) {
        // Whoever rotates the log signals for a new file, whatever became of the configuration since:
        // the old one is deleted some day, and this event is to be read.
        match open::outlet(&running.0) {
            Ok(outlet) => self.observer.log.switch(outlet),
            Err(problem) => tracing::error!(%problem, "the log is not opened anew"),
        }
        // An event is one line.
        let detail = error.lines().collect::<Vec<_>>().join("; ");
        let at = self.observer.now().rfc3339();
        let failed = format!("failed at {at}: {detail}");
        self.observer.counts.reload.lock().failed = Some(failed);
        let detail = format!("{STAYS}: {detail}");
        let fields = [("detail", &*detail)];
        self.observer
            .process("config.reload-failed", Level::Error, &fields);
    }

    /// # Errors
    /// What is wrong; everything stays as it was.
    fn read_anew(
        &self,
        running: &mut MutexGuard<'_, (Settings, Values)>,
    ) -> Result<Changes, Refused> {
        let now = self.observer.clock.wall();
        let sources = settings::Sources::of_system(self.settings.file.as_deref(), now);
        let loaded = sources.and_then(|s| settings::load(&s))?;
        let (old, values) = &mut **running;
        let ports = Ports::compare(&old.listeners, &loaded.settings.listeners);
        let next = combined(old, &loaded.settings, ports);
        let outlet = open::outlet(&next).map_err(|e| e.to_string())?;
        let told = translate::delivery(&next, &self.trust.signing).map_err(|e| e.to_string())?;
        let same_routes = old.routes == loaded.settings.routes;
        let certificates = self.certificates.read(&next)?;
        settings::log_filter(&next.log.level).map_err(|e| e.to_string())?;
        // From the file of the start: another one is a change that needs a restart.
        let users = logins::read(&next)?;
        let page = self.page.read(&next)?;
        let inbound = open::change(&next).map_err(|e| e.to_string())?;
        let rules = start::rules(&next, &self.trust, &self.resolver);
        let reporting = Terms::read(&next)?;
        self.trust.reload(&next, same_routes)?;
        // Nothing fails from here on.
        self.certificates.replace(certificates);
        if let Err(error) = (self.reloading.set_level)(&next.log.level) {
            tracing::error!(%error, "log.level stays as it is");
        }
        if let (Some(logins), Some(users)) = (&self.logins, users) {
            logins.replace(users);
        }
        self.reloading.inbound.change(inbound);
        self.reloading.rules.store(Arc::new(rules));
        descriptors::provide(&next, &self.observer);
        self.page.replace(page);
        self.reporting.replace(reporting);
        self.observer.log.switch(outlet);
        self.reloading.running.log.store(Arc::new(next.log.clone()));
        self.reloading.placed.replace(told.clone());
        if let Some(delivery) = &self.reloading.delivery {
            delivery.reconfigure(told);
        }
        let all: Vec<ConfigChange> = values
            .changes(&loaded.values)
            .into_iter()
            .map(|c| ConfigChange {
                in_effect: takes_effect(&c.key, ports),
                key: c.key,
                old: c.old,
                new: c.new,
            })
            .collect();
        values.take_over(&loaded.values, |key| takes_effect(key, ports));
        *old = next;
        *self.observer.counts.reload.lock() = LastReloadView {
            needs_restart: waiting(&all),
            ..LastReloadView::default()
        };
        Ok(Changes { all, same_routes })
    }

    fn tell(&self, changes: &[ConfigChange]) {
        for change in changes {
            let effect = if change.in_effect { "now" } else { "restart" };
            let fields = [
                ("key", change.key.as_str()),
                ("old", change.old.as_deref().unwrap_or("unset")),
                ("new", change.new.as_deref().unwrap_or("unset")),
                ("effect", effect),
            ];
            let level = if change.in_effect {
                Level::Info
            } else {
                Level::Warn
            };
            self.observer.process("config.changed", level, &fields);
        }
        let waiting = changes.iter().filter(|c| !c.in_effect).count().to_string();
        let count = changes.len().to_string();
        let fields = [
            ("changes", count.as_str()),
            ("need_restart", waiting.as_str()),
        ];
        self.observer
            .process("config.reloaded", Level::Info, &fields);
    }
}

/// What a reload changed.
struct Changes {
    all: Vec<ConfigChange>,
    /// Routes were read anew with their files.
    same_routes: bool,
}

/// Why a reload changed nothing.
struct Refused {
    /// With the warnings that came up on the way.
    all: String,
    /// What stands in the way alone.
    errors: String,
}

impl From<String> for Refused {
    fn from(error: String) -> Self {
        Self {
            all: error.clone(),
            errors: error,
        }
    }
}

impl From<ConfigError> for Refused {
    fn from(error: ConfigError) -> Self {
        let all = error.to_string();
        let mut problems = error.0;
        problems.retain(|p| p.severity == Severity::Error);
        Self {
            all,
            errors: ConfigError(problems).to_string(),
        }
    }
}

/// Keys that count from the next restart.
fn waiting(changes: &[ConfigChange]) -> Vec<String> {
    let waiting = changes.iter().filter(|c| !c.in_effect);
    waiting.map(|c| c.key.clone()).collect()
}

/// First in the event: nobody should have to guess what counts now.
const STAYS: &str = "what was in force stays in force, and a restart may fail until this is mended";

fn result(
    changes: Vec<ConfigChange>,
    with_routes: bool,
    with_users: bool,
    has_system_servers: bool,
) -> ReloadResult {
    let keys = |in_effect| {
        let matching = changes.iter().filter(move |c| c.in_effect == in_effect);
        matching.map(|c| c.key.clone()).collect::<Vec<_>>()
    };
    let (mut applied, needs_restart) = (keys(true), keys(false));
    applied
        .push("the files that tls.roots, tls.dangerous-extra-roots and tls.crls name".to_owned());
    applied.push("the files of certificate, private-key and client-ca".to_owned());
    applied.push("the files that admin.token-file and admin.certificate name".to_owned());
    if with_routes {
        applied.push("the files that route.roots and route.password-file name".to_owned());
    }
    if with_users {
        applied.push("the users of access.users-file".to_owned());
    }
    if has_system_servers {
        applied.push("the name servers of /etc/resolv.conf".to_owned());
    }
    ReloadResult {
        applied,
        needs_restart,
        changes,
    }
}

/// What of the listeners a reload can take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
enum Ports {
    /// All that sessions begin with: nothing else has changed.
    Same,
    /// Their certificates only. The listeners are the same ones, but something of them has changed
    /// that needs a restart; until then the files of the old ones may be gone.
    SameNames,
    /// Nothing.
    Others,
}

impl Ports {
    fn compare(old: &[Listener], new: &[Listener]) -> Self {
        let port = |l: &Listener| Listener {
            content: ListenerContent::default(),
            max_message_size: 0,
            max_recipients: 0,
            bare_newline: BareNewline::Reject,
            idle_timeout: Duration::ZERO,
            dsn: true,
            closed: None,
            key_pair: None,
            client_ca: None,
            ..l.clone()
        };
        // One that has had no TLS so far cannot begin with it.
        let name = |l: &Listener| (l.name.clone(), l.key_pair.is_some());
        if !old.iter().map(name).eq(new.iter().map(name)) {
            Self::Others
        } else if old.iter().map(port).eq(new.iter().map(port)) {
            Self::Same
        } else {
            Self::SameNames
        }
    }

    fn listeners(self, old: &[Listener], new: &[Listener]) -> Vec<Listener> {
        match self {
            Self::Same => new.to_vec(),
            Self::SameNames => {
                let pairs = old.iter().zip(new);
                let certified = pairs.map(|(old, new)| Listener {
                    key_pair: new.key_pair.clone(),
                    client_ca: new.client_ca.clone(),
                    ..old.clone()
                });
                certified.collect()
            }
            Self::Others => old.to_vec(),
        }
    }

    fn take_effect(self, name: &str) -> bool {
        match self {
            Self::Same => OF_SESSIONS.contains(&name) || OF_CERTIFICATES.contains(&name),
            Self::SameNames => OF_CERTIFICATES.contains(&name),
            Self::Others => false,
        }
    }
}

/// The old settings with all that takes effect at once taken from the new ones.
fn combined(old: &Settings, new: &Settings, ports: Ports) -> Settings {
    Settings {
        access: new.access.clone(),
        identities: new.identities.clone(),
        listeners: ports.listeners(&old.listeners, &new.listeners),
        logins: settings::Logins {
            users_file: old.logins.users_file.clone(),
            ..new.logins.clone()
        },
        tls: new.tls.clone(),
        certificates: new.certificates.clone(),
        log: new.log.clone(),
        dkim: new.dkim.clone(),
        domains: new.domains.clone(),
        reporting: new.reporting.clone(),
        server: settings::Server {
            own_addresses: new.server.own_addresses.clone(),
            ..old.server.clone()
        },
        egress: settings::Egress {
            allow_special_use: new.egress.allow_special_use.clone(),
            public_addresses: new.egress.public_addresses.clone(),
            ..old.egress.clone()
        },
        queue: settings::Queue {
            lifetime: new.queue.lifetime,
            bounce_lifetime: new.queue.bounce_lifetime,
            delay_warning: new.queue.delay_warning,
            retry: new.queue.retry.clone(),
            ..old.queue.clone()
        },
        delivery: settings::Delivery {
            tls: new.delivery.tls,
            dane_satisfies_sts: new.delivery.dane_satisfies_sts,
            patience: new.delivery.patience,
            connections: new.delivery.connections,
            connections_per_destination: new.delivery.connections_per_destination,
            recipients_per_transaction: new.delivery.recipients_per_transaction,
            max_addresses: new.delivery.max_addresses,
            ..old.delivery.clone()
        },
        ..old.clone()
    }
}

/// Whether a new value of this key counts at once: exactly what [`combined`] takes over.
fn takes_effect(key: &str, ports: Ports) -> bool {
    if key.starts_with("listener[") {
        let name = key.rsplit('.').next().unwrap_or(key);
        return ports.take_effect(name);
    }
    let begins = |start: &&str| key.starts_with(*start);
    (SECTIONS.iter().any(begins) && key != "access.users-file") || AT_ONCE.contains(&key)
}

const SECTIONS: [&str; 8] = [
    "access.",
    "certificate[",
    "dkim[",
    "domain[",
    "identity[",
    "log.",
    "reporting.",
    "tls.",
];
/// Of a `[[listener]]`, unless another key of one has changed: those make other ports.
const OF_SESSIONS: [&str; 10] = [
    "max-message-size",
    "max-recipients",
    "bare-newline",
    "idle-timeout",
    "dsn",
    "closed",
    "require-from",
    "add-sender",
    "hide-client",
    "show-user",
];
/// Of a `[[listener]]`, as long as there are the same ones.
const OF_CERTIFICATES: [&str; 3] = ["certificate", "private-key", "client-ca"];

const AT_ONCE: [&str; 14] = [
    "server.own-addresses",
    "egress.allow-special-use",
    "egress.public-addresses",
    "queue.lifetime",
    "queue.bounce-lifetime",
    "queue.delay-warning",
    "queue.retry",
    "delivery.tls",
    "delivery.dane-satisfies-sts",
    "delivery.patience",
    "delivery.connections",
    "delivery.connections-per-destination",
    "delivery.recipients-per-transaction",
    "delivery.max-addresses",
];

#[cfg(test)]
mod tests;
