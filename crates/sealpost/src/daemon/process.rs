//! What the control API and the probes ask of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use admin::{
    Audit, CertificateView, Daemon, LastReloadView, ListenerView, LogLossView, LookupView,
    Operator, Readiness, Ready, RecentView, ReloadResult, TraceView,
};
use attempt::{Level, Removed, RemovedBecause};
use mail_types::{QueueId, Timestamp};
use outbound_queue::{Cancelled, EmbeddedStore, QueueStore};
use report_ports::Reporting;
use resolver::{DnsResolver, Kind, Outcome, Path as DnsPath, Silence};
use settings::Settings;
use tls_reports::Reports;
use tokio::sync::watch;

use super::certificates::Certificates;
use super::closed;
use super::logins::Logins;
use super::observe::Observer;
use super::open;
use super::page::{self, Page};
use super::reload::Reloading;
use super::trust::Trust;

/// The process, as others see it.
pub(crate) struct Process<S> {
    pub(crate) settings: Settings,
    pub(crate) started: Timestamp,
    pub(crate) queue: Arc<S>,
    pub(crate) observer: Observer,
    pub(crate) trust: Trust,
    pub(crate) reloading: Reloading<S>,
    pub(crate) certificates: Certificates,
    /// Whom there is, if anybody can log in.
    pub(crate) logins: Option<Arc<Logins>>,
    /// Listeners by name and bound address.
    pub(crate) listeners: Vec<(String, std::net::SocketAddr)>,
    /// The log knows that the disk is full, and for how many ticks there has to be room before it says otherwise.
    pub(crate) told_full: AtomicU32,
    /// What has been wrong since the start, for instance a lost policy store.
    pub(crate) standing: Vec<String>,
    /// Whether any name server serves us.
    pub(crate) dns_silence: watch::Receiver<Option<Silence>>,
    /// Whether DNSSEC reaches us.
    pub(crate) dns_path: watch::Receiver<DnsPath>,
    /// DNS, for its counts.
    pub(crate) resolver: Arc<DnsResolver>,
    /// Who may use page and API over HTTP.
    pub(crate) page: Page,
    /// TLS reports.
    pub(crate) reporting: Reporting,
}

impl Process<EmbeddedStore> {
    /// Tells of a store whose disk has failed, the queue's or that of the policies (row H6-03); nothing helps
    /// then but a restart.
    pub(crate) fn tell_of_failed_store(&self) -> bool {
        // If it is the queue's journal, what is delivered from here on comes twice after the restart.
        let policies = || {
            let cause = self.reloading.delivery.as_ref()?.policies().failure()?;
            Some(format!(
                "the policy store failed, and what was fetched since would be unknown after a restart: {cause}; \
                 look at the disk ({}), then start again",
                self.settings.server.data_dir.join("policies").display()
            ))
        };
        let Some(cause) = self.queue.failure().or_else(policies) else {
            return false;
        };
        self.observer
            .process("store.failed", Level::Error, &[("detail", &cause)]);
        true
    }
}

impl<S: QueueStore> Process<S> {
    /// Begin and end of a full disk (rows H6-01, H6-10): without a client there would be no word of it.
    pub(crate) fn tell_of_full_disk(&self) {
        let full = self.queue.health().full;
        let before = self.told_full.load(Ordering::Relaxed);
        // A queue that drains beside new mail passes the mark many times.
        let left = match full {
            Some(_) => ROOM_FOR,
            None => before.saturating_sub(1),
        };
        self.told_full.store(left, Ordering::Relaxed);
        if (before == 0) == (left == 0) {
            return;
        }
        let directory = self.settings.server.data_dir.display().to_string();
        let Some(lack) = full else {
            let fields = [("path", &*directory), ("detail", "mail is accepted again")];
            return self
                .observer
                .process("store.has-room", Level::Info, &fields);
        };
        let detail = format!("nothing is accepted until {}: {lack}", lack.until());
        let fields = [
            ("kind", lack.key()),
            ("path", &directory),
            ("detail", &detail),
        ];
        self.observer.process("store.full", Level::Error, &fields);
    }

    /// A revocation list that is out of date is an alert: whoever keeps it fresh has stopped (row
    /// I3-08). So is a certificate that ends.
    pub(crate) fn tell_of_what_ends(&self) {
        self.certificates.tell(&self.observer);
        let roots = self.trust.roots.current();
        for list in roots.revocation().outdated(self.observer.clock.wall()) {
            let file = list.file.display().to_string();
            let since = list.next_update.map(Timestamp::rfc3339).unwrap_or_default();
            let fields = [
                ("file", file.as_str()),
                ("issuer", &*list.issuer),
                ("next_update", since.as_str()),
            ];
            self.observer
                .process("tls.crl-outdated", Level::Error, &fields);
        }
    }

    fn ready(&self) -> Ready {
        let health = self.queue.health();
        let mut ready = Ready {
            delivering: self.standing.clone(),
            ..Ready::default()
        };
        if let Some(cause) = health.failed.or(health.index_failed) {
            let text = format!(
                "the queue's store failed; nothing is accepted and nothing delivered until a restart: {cause}"
            );
            ready.accepting.push(text.clone());
            ready.delivering.push(text);
        }
        if let Some(lack) = health.full {
            let (until, data) = (lack.until(), self.settings.server.data_dir.display());
            let text = format!("nothing is accepted until {until} in {data}: {lack}");
            ready.accepting.push(text);
        }
        let delivery = self.reloading.delivery.as_ref();
        let unsaved = delivery.map_or(0, |d| d.policies().unsaved());
        if unsaved > 0 {
            ready.notes.push(format!(
                "{unsaved} policies are not on disk: they count until this process ends, and are written once there is room in {}",
                self.settings.server.data_dir.display()
            ));
        }
        if self.reloading.inbound.is_memory_scarce() {
            let text = "little memory of the control group is left; but for a few, clients are sent away (421 4.3.2) \
                        until there is more";
            ready.accepting.push(text.to_owned());
        }
        closed::tell(&Daemon::listeners(self), &mut ready);
        let is_silent = self.dns_silence.borrow().as_ref().map(|silence| {
            let seconds = silence.since.elapsed().as_secs();
            let text = silence.lasting(seconds);
            ready.delivering.push(text);
        });
        if self.observer.counts.dns_doubted.load(Ordering::Relaxed) {
            let text = "mail for domains that are said not to exist waits: the name servers of dns.servers say so of \
                        nearly every domain, or of several that were there lately; see whether they answer truly";
            ready.delivering.push(text.to_owned());
        }
        match &*self.dns_path.borrow() {
            DnsPath::Broken(why) => {
                let text = format!("mail waits because DNSSEC is lost: {why}");
                ready.delivering.push(text);
            }
            DnsPath::Bogus(why) => {
                let text = format!(
                    "DNSSEC cannot be validated: {why}: {}",
                    super::dnssec::BOGUS_REMEDY
                );
                ready.delivering.push(text);
            }
            DnsPath::Unavailable(why) => {
                let text = format!("DANE is not available: {why}");
                ready.notes.push(text);
            }
            DnsPath::Unknown(why) if is_silent.is_none() => {
                let text = format!("it is not known yet whether DNSSEC gets here: {why}");
                ready.notes.push(text);
            }
            DnsPath::Unknown(_) | DnsPath::Off | DnsPath::Carries => {}
        }
        ready
    }
}

impl<S: QueueStore> Daemon for Process<S> {
    fn hostname(&self) -> String {
        self.settings.server.hostname.to_string()
    }

    fn started(&self) -> Timestamp {
        self.started
    }

    fn listeners(&self) -> Vec<ListenerView> {
        // Clients are counted over all listeners: shown with the first.
        let clients = self.observer.counts.clients.load(Ordering::Relaxed);
        let views = self.listeners.iter().enumerate();
        views
            .map(|(n, (name, address))| ListenerView {
                name: name.clone(),
                address: address.to_string(),
                clients: if n == 0 { clients } else { 0 },
                closed: self
                    .reloading
                    .inbound
                    .closed(name)
                    .map(|text| text.to_string()),
            })
            .collect()
    }

    fn dnssec(&self) -> &'static str {
        match (&*self.dns_path.borrow(), self.settings.dns.dnssec) {
            (DnsPath::Off, _) | (_, settings::Dnssec::Off) => "off",
            (DnsPath::Unavailable(_), _) => "unavailable",
            (_, settings::Dnssec::Validate) => "validate",
            (_, settings::Dnssec::TrustAd) => "trust-ad",
        }
    }

    fn lookups(&self) -> Vec<LookupView> {
        let series = self.resolver.stats().series;
        let kinds = [
            (Kind::Mx, "mx"),
            (Kind::Address, "address"),
            (Kind::Txt, "txt"),
            (Kind::Tlsa, "tlsa"),
        ];
        let count = |kind: Kind, failed: bool| {
            let of_kind = series.iter().filter(|s| s.kind == kind);
            of_kind
                .filter(|s| matches!(s.outcome, Outcome::Temporary | Outcome::Bogus) == failed)
                .map(|s| s.buckets.iter().sum::<u64>())
                .sum()
        };
        kinds
            .into_iter()
            .map(|(kind, word)| LookupView {
                kind: word.to_owned(),
                answered: count(kind, false),
                failed: count(kind, true),
            })
            .collect()
    }

    fn certificates(&self) -> Vec<CertificateView> {
        let listeners = self.certificates.soonest().into_iter();
        let listeners = listeners.map(|(name, end)| (format!("listener {name}"), Some(end)));
        let admin = self.settings.admin.key_pair.as_ref();
        let admin = admin.map(|pair| ("admin.http".to_owned(), page::ends(&pair.certificate)));
        listeners
            .chain(admin)
            .map(|(of, end)| CertificateView {
                of,
                not_after: end.map(Timestamp::rfc3339),
            })
            .collect()
    }

    fn log_loss(&self) -> Option<LogLossView> {
        let losing = self.observer.log.losing()?;
        Some(LogLossView {
            since: losing.since.rfc3339(),
            lost: losing.events,
            cause: losing.cause,
        })
    }

    fn reports(&self) -> Option<Arc<Reports>> {
        let reports = &self.reporting.reports;
        reports.is_on().then(|| Arc::clone(reports))
    }

    fn last_reload(&self) -> LastReloadView {
        let mut last = self.observer.counts.reload.lock().clone();
        self.reloading.running.under_way.show(&mut last);
        last
    }

    fn recently(&self) -> Option<RecentView> {
        self.observer.counts.history.recently()
    }

    fn free_bytes(&self) -> u64 {
        journal::free_space(&self.settings.server.data_dir).map_or(0, |free| free.bytes)
    }

    fn counts(&self) -> (u64, u64, u64) {
        let c = &self.observer.counts;
        (
            c.sent.load(Ordering::Relaxed),
            c.deferred.load(Ordering::Relaxed),
            c.bounced.load(Ordering::Relaxed),
        )
    }

    fn problems(&self) -> Vec<String> {
        self.ready().problems()
    }

    fn reload(&self) -> Result<ReloadResult, String> {
        // It reads files, on disks that may be slow: what else this thread would do goes to another.
        tokio::task::block_in_place(|| self.reload())
    }

    fn trace(&self, subject: &str, span: Duration) -> Result<(), String> {
        let now = self.observer.now();
        let begun = self.observer.traces.begin(subject, span, now);
        let begun =
            begun.ok_or("ten traces run already; end one first (`sealpost trace` lists them)")?;
        let until = begun.until.rfc3339();
        let fields = [("subject", subject), ("until", until.as_str())];
        self.observer.process("trace.begun", Level::Info, &fields);
        Ok(())
    }

    fn end_trace(&self, subject: &str) -> bool {
        self.observer.traces.end(subject)
    }

    fn traces(&self) -> Vec<TraceView> {
        let running = self.observer.traces.list().into_iter();
        running
            .map(|t| TraceView {
                subject: t.subject,
                until: t.until.rfc3339(),
                events_left: t.left,
            })
            .collect()
    }

    fn ends_of(&self, id: QueueId) -> Vec<String> {
        self.observer.ends.of(id)
    }

    fn log_search(&self, id: QueueId) -> String {
        open::log_search(&self.reloading.running.log.load(), id)
    }

    fn cancelled(&self, message: &Cancelled) {
        let at = self.observer.now();
        self.observer.log.write(&Removed {
            at,
            queue_id: message.id,
            upstream_id: message.upstream_id.as_deref(),
            because: RemovedBecause::Cancelled,
        });
        self.observer
            .ends
            .cancelled(message.id, at, message.under_way);
        if let Some(telemetry) = &self.observer.telemetry {
            telemetry.cancelled(message, at);
        }
    }

    fn audit(&self, audit: &Audit<'_>) {
        let (by, from) = (audit.by.name(), audit.by.origin());
        let uid = match audit.by {
            Operator::Socket { uid: Some(uid) } => uid.to_string(),
            Operator::Socket { uid: None } => "unknown".to_owned(),
            Operator::Http { .. } => String::new(),
        };
        let matched = audit.matched.to_string();
        let mut fields = vec![
            ("action", audit.action),
            ("target", audit.target),
            ("matched", matched.as_str()),
            ("by", by.as_str()),
            ("from", from.as_str()),
            ("uid", uid.as_str()),
            ("reason", audit.reason.unwrap_or_default()),
        ];
        fields.extend(audit.error.map(|error| ("error", error)));
        self.observer.process("admin.action", Level::Info, &fields);
    }
}

impl<S: QueueStore> Readiness for Process<S> {
    fn readiness(&self) -> Ready {
        self.ready()
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail; if it did, what there is is shown.
        let _ = self.observer.metrics.encode(&mut text);
        text
    }
}

/// Ticks (seconds) with room after which a disk is no longer called full.
const ROOM_FOR: u32 = 10;
