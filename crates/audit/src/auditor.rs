//! Asks DNS, the policy host and the mail hosts. Ends within its time limit, whatever they do.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use attempt::{Case, Reason};
use dane::next_hop_names;
use delivery::Settings;
use delivery::decide::demand::{DaneRule, Inputs};
use delivery::decide::hosts::{Candidate, MxVerdict, Unreachable, drop_self, read_mx};
use delivery::decide::standing::{HostDane, Standing, Vouched};
use mail_types::{
    DnsError, Domain, HostName, Mailbox, MxRecord, Resolver, ReversePath, Security, Timestamp,
};
use policy_cache::{FetchError, PolicyFetcher};
use smtp_client::{Cause, Clock, Connector, Peer, Posture, Stage};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::facts::{
    AddressFacts, DnsFault, Facts, HostFacts, KnownPolicy, MailHosts, Seen, Signed, TxtAnswer,
};
use crate::progress::Progress;
use crate::report::Report;

/// Audits domains.
pub struct Auditor {
    /// DNS.
    pub resolver: Arc<dyn Resolver>,
    /// Why nothing can be looked up from here, if that is so by now.
    pub fault: Box<dyn Fn() -> Option<DnsFault> + Send + Sync>,
    /// HTTPS.
    pub fetcher: Arc<dyn PolicyFetcher>,
    /// SMTP; its time limits are the audit's own.
    pub connector: Connector,
    /// What delivery is told: rules, routes, addresses that are refused or are us.
    pub settings: Settings,
    /// The wall clock.
    pub clock: Clock,
    /// One policy fetch, DNS included.
    pub fetch_limit: Duration,
    /// The end of an audit, whatever it takes.
    pub limit: Duration,
}

impl Auditor {
    /// Audits one domain, of which the daemon may know an earlier policy. No `MAIL FROM` is ever sent.
    pub async fn check(&self, domain: &Domain, known: Option<KnownPolicy>) -> Report {
        self.check_watched(domain, known, &|_| ()).await
    }

    /// As [`Auditor::check`], and tells what is done as soon as it is.
    pub async fn check_watched(
        &self,
        domain: &Domain,
        known: Option<KnownPolicy>,
        tell: &(dyn Fn(Progress) + Send + Sync),
    ) -> Report {
        let deadline = Instant::now() + self.limit;
        let now = (self.clock)();
        let (record, policy, (mail, unusable), reporting) = tokio::join!(
            told(self.txt(domain, "_mta-sts"), tell, Progress::Record),
            told(self.policy(domain, deadline), tell, Progress::Policy),
            told(self.mail(domain, deadline), tell, Progress::Hosts),
            told(self.txt(domain, "_smtp._tls"), tell, Progress::Reporting),
        );
        let facts = Facts {
            domain: domain.clone(),
            now,
            record,
            policy,
            mail,
            unusable,
            reporting,
            routed_to: self.route(domain),
            fault: (self.fault)(),
            known,
        };
        Report::of(&facts, &self.demands(domain, now))
    }

    /// What the configuration asks of this domain, whatever it publishes.
    fn demands(&self, domain: &Domain, now: Timestamp) -> Inputs {
        Inputs {
            delivery_tls: self.settings.tls,
            rule: self.settings.rule(domain, now),
            dane_satisfies_sts: self.settings.dane_satisfies_sts,
            ..Inputs::default()
        }
    }

    async fn txt(&self, domain: &Domain, label: &str) -> TxtAnswer {
        let Ok(name) = domain.prefixed(label) else {
            return TxtAnswer::NameTooLong;
        };
        match self.resolver.txt(&name).await {
            Ok(answer) => TxtAnswer::Records(answer.value),
            Err(DnsError::NoSuchName { .. } | DnsError::NoRecords { .. }) => {
                TxtAnswer::Records(Vec::new())
            }
            Err(error @ (DnsError::Temporary(_) | DnsError::Bogus(_) | DnsError::Local(_))) => {
                TxtAnswer::Failed(error)
            }
        }
    }

    async fn policy(
        &self,
        domain: &Domain,
        deadline: Instant,
    ) -> Result<mta_sts::Parsed, FetchError> {
        let within = deadline.saturating_duration_since(Instant::now());
        let within = within.min(self.fetch_limit);
        let fetched = self.fetcher.fetch(domain, within).await;
        fetched.map_err(|failure| failure.cause)
    }

    async fn mail(&self, domain: &Domain, deadline: Instant) -> (MailHosts, Vec<String>) {
        let answer = self.resolver.mx(domain).await;
        let unusable = unusable(&answer);
        let (hosts, implicit, security, further) = match read_mx(domain, answer) {
            MxVerdict::Hosts {
                hosts,
                implicit,
                security,
                canonical,
                ..
            } => {
                let further = next_hop_names(domain, security, canonical.as_ref());
                (hosts, implicit, security, further)
            }
            MxVerdict::Undeliverable { reason, detail, .. } => {
                return (MailHosts::Undeliverable { reason, detail }, unusable);
            }
            MxVerdict::Unknown { reason, detail } => {
                return (MailHosts::Unknown { reason, detail }, unusable);
            }
        };
        let left_out = hosts.len().saturating_sub(MAX_HOSTS);
        let mut candidates = Vec::new();
        for (preference, name) in hosts.into_iter().take(MAX_HOSTS) {
            candidates.push(self.candidate(preference, name, Vouched::by(security), &further));
        }
        let (candidates, signed): (Vec<_>, Vec<_>) = in_order(candidates).await.into_iter().unzip();
        let signed: HashMap<HostName, Signed> = candidates
            .iter()
            .map(|c| c.name.clone())
            .zip(signed)
            .collect();
        match drop_self(candidates, |address| self.settings.is_self(address)) {
            Err(detail) => {
                let reason = (Reason::Loop, Case::Usual);
                (MailHosts::Undeliverable { reason, detail }, unusable)
            }
            Ok(candidates) => {
                let mail = MailHosts::Hosts {
                    hosts: self.probe_all(candidates, signed, deadline).await,
                    implicit,
                    left_out,
                    security,
                };
                (mail, unusable)
            }
        }
    }

    /// A host with the addresses that the relay would connect to, and its TLSA records.
    fn candidate(
        &self,
        preference: u16,
        name: HostName,
        vouched: Vouched,
        further: &[HostName],
    ) -> impl Future<Output = (Candidate, Signed)> + Send + 'static {
        let resolver = Arc::clone(&self.resolver);
        let (settings, further) = (self.settings.clone(), further.to_vec());
        async move {
            let (mut dane, mut signed) = (HostDane::Absent, Signed::default());
            let addresses = match resolver.addresses(&name).await {
                Ok(answer) => {
                    let rule = DaneRule::Policy;
                    let look = HostDane::look_up(&*resolver, &name, SMTP, &answer, &further, rule);
                    (dane, _) = look.await;
                    signed = Signed {
                        security: Some(answer.security),
                        useless_tlsa: answer.security == Security::Insecure
                            && !dane.is_present()
                            && resolver.tlsa(&name, SMTP).await.is_ok(),
                        alias: answer.canonical,
                    };
                    usable(&settings, answer.value)
                }
                Err(error) => Err(no_address(&error)),
            };
            let candidate = Candidate {
                tls_name: name.clone(),
                name,
                preference,
                port: SMTP,
                addresses,
                standing: Standing { vouched, dane },
            };
            (candidate, signed)
        }
    }

    /// Looks at every address of every host, many at once.
    async fn probe_all(
        &self,
        candidates: Vec<Candidate>,
        mut signed: HashMap<HostName, Signed>,
        deadline: Instant,
    ) -> Vec<HostFacts> {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut probes = Vec::new();
        for candidate in &candidates {
            let addresses = candidate.addresses.as_deref().unwrap_or_default();
            for address in addresses.iter().take(MAX_ADDRESSES) {
                let peer = Peer {
                    mx: candidate.name.clone(),
                    tls_name: candidate.tls_name.clone(),
                    addr: SocketAddr::new(*address, candidate.port),
                    connect_within: None,
                    dane: candidate.standing.dane.records().cloned(),
                };
                let (connector, places) = (self.connector.clone(), Arc::clone(&places));
                probes.push(async move {
                    let place = timeout_at(deadline, places.acquire_owned()).await;
                    let seen = match place {
                        Ok(Ok(_place)) => probe(&connector, &peer, deadline).await,
                        Ok(Err(_)) | Err(_) => Seen::NotChecked,
                    };
                    let address = peer.addr.ip();
                    AddressFacts { address, seen }
                });
            }
        }
        let mut seen = in_order(probes).await.into_iter();
        candidates
            .into_iter()
            .map(|candidate| {
                let count = candidate.addresses.as_deref().unwrap_or_default().len();
                let addresses = seen.by_ref().take(count.min(MAX_ADDRESSES)).collect();
                HostFacts {
                    signed: signed.remove(&candidate.name).unwrap_or_default(),
                    candidate,
                    addresses,
                }
            })
            .collect()
    }

    /// Where a route takes mail from any sender.
    fn route(&self, domain: &Domain) -> Option<String> {
        let anybody = Mailbox::parse(&format!("postmaster@{domain}")).ok()?;
        let destination = self
            .settings
            .routes
            .destination(&ReversePath::Null, &anybody);
        let route = self.settings.routes.get(&destination)?;
        Some(format!(
            "{}, port {}",
            target(&route.hop.target),
            route.hop.port
        ))
    }
}

async fn told<T>(
    work: impl Future<Output = T>,
    tell: &(dyn Fn(Progress) + Send + Sync),
    done: Progress,
) -> T {
    let result = work.await;
    tell(done);
    result
}

fn target(target: &routes::HopTarget) -> String {
    match target {
        routes::HopTarget::Domain(domain) => format!("the mail hosts of {domain}"),
        routes::HopTarget::Host(host) => host.to_string(),
        routes::HopTarget::Address(address) => address.to_string(),
    }
}

/// One address: greeting, EHLO, STARTTLS with any certificate, EHLO, QUIT.
async fn probe(connector: &Connector, peer: &Peer, deadline: Instant) -> Seen {
    // Observed, never relied upon: what a strict session would have said follows from the verdict.
    let opening = connector.connect_with(peer, Posture::DangerousOpportunistic);
    let within = deadline.saturating_duration_since(Instant::now());
    match timeout_at(deadline, opening).await {
        Ok(Ok(connection)) => {
            let facts = connection.facts();
            let seen = Seen::Session {
                starttls: facts.starttls.clone(),
                tls: facts.tls.clone().map(Box::new),
            };
            // Nothing depends on how it says good-bye.
            let _ = timeout(PARTING, connection.quit()).await;
            seen
        }
        Ok(Err(error)) => Seen::Failed {
            stage: error.stage,
            cause: error.cause,
        },
        Err(_) => Seen::Failed {
            stage: Stage::Banner,
            cause: Cause::Timeout(within),
        },
    }
}

/// The addresses that the relay would connect to, or why there are none (rows H1-19 to H1-21).
fn usable(settings: &Settings, addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, Unreachable> {
    let mut refused = Vec::new();
    let mut usable = Vec::new();
    for ip in addresses {
        match settings.refuses(ip) {
            Some(why) if !settings.is_self(SocketAddr::new(ip, SMTP)) => refused.push(why),
            _ => usable.push(ip),
        }
    }
    if usable.is_empty() {
        let why = refused.join(", ");
        return Err(Unreachable {
            reason: Reason::AddressRefused,
            detail: format!("{why}: mail is not sent there"),
            definite: false,
        });
    }
    Ok(usable)
}

fn no_address(error: &DnsError) -> Unreachable {
    let (reason, definite) = match error {
        DnsError::NoSuchName { .. } | DnsError::NoRecords { .. } => (Reason::NoUsableMx, true),
        DnsError::Temporary(_) => (Reason::DnsTemporary, false),
        DnsError::Bogus(_) => (Reason::DnsBogus, false),
        DnsError::Local(_) => (Reason::Local, false),
    };
    Unreachable {
        reason,
        detail: error.to_string(),
        definite,
    }
}

fn unusable(answer: &Result<mail_types::Answer<Vec<MxRecord>>, DnsError>) -> Vec<String> {
    let records = answer.as_ref().map_or(&[][..], |answer| &answer.value);
    let exchange = |record: &MxRecord| match record {
        MxRecord::Unusable { exchange, .. } => Some(exchange.clone()),
        MxRecord::Host { .. } | MxRecord::Null => None,
    };
    records.iter().filter_map(exchange).collect()
}

/// Runs tasks together and keeps their order. A task that panics leaves a gap that its caller
/// would misread, so the panic goes on.
async fn in_order<T: Send + 'static>(
    tasks: Vec<impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut set = JoinSet::new();
    for (n, task) in tasks.into_iter().enumerate() {
        set.spawn(async move { (n, task.await) });
    }
    let mut done = set.join_all().await;
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, value)| value).collect()
}

const SMTP: u16 = 25;
/// As many as delivery tries (row H1-17).
const MAX_HOSTS: usize = 20;
const MAX_ADDRESSES: usize = 8;
const AT_ONCE: usize = 16;
const PARTING: Duration = Duration::from_secs(3);
