//! Makes the plan of a destination: looks up its hosts and their addresses, and what it demands.
//!
//! A plan is made once and shared by all messages of its destination until the first of its parts
//! runs out, or the policy cache says that something changed. Nothing here is decided: what
//! answers mean stands in [`crate::decide::hosts`], what they demand in [`crate::decide::demand`].

mod tlsa;
pub(crate) mod undeliverable;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use attempt::{Case, Reason};
use mail_types::{DnsError, Domain, Host, HostName, Mailbox, Resolver, ReversePath, Timestamp};
use outbound_queue::Now;
use policy_cache::{Discovery, PolicyCache};

use crate::decide::demand::DaneRule;
use crate::decide::hosts::{Candidate, MxVerdict, Unreachable, drop_self, read_mx};
use crate::decide::literal::literal_name;
use crate::decide::plan::{Hosts, Made, Plan};
use crate::decide::policy::is_enforced;
use crate::decide::standing::{HostDane, Standing, Vouched};
use crate::settings::Settings;
use dane::next_hop_names;
use routes::{Destination, HopTarget, Route, RouteTls};

/// How hosts of a destination are looked up, beside their names.
struct LookUp<'a> {
    port: u16,
    route: Option<&'a Route>,
    vouched: Vouched,
    /// Names of the next hop that a certificate under a DANE-TA record may be for.
    further: Vec<HostName>,
    dane: DaneRule,
}

/// The hosts of a destination, for how long that may be believed, and [`Plan::beyond`].
struct Found {
    hosts: Hosts,
    ttl: Duration,
    beyond: usize,
}

impl Found {
    const fn new(hosts: Hosts, ttl: Duration) -> Self {
        Self {
            hosts,
            ttl,
            beyond: 0,
        }
    }
}

/// The ports through which plans are made.
pub(crate) struct Planner<'a> {
    pub(crate) resolver: &'a dyn Resolver,
    pub(crate) policies: &'a PolicyCache,
    pub(crate) settings: &'a Settings,
}

impl Planner<'_> {
    /// Makes the plan for a destination.
    pub(crate) async fn plan(&self, destination: &Destination, now: Now, made: Made) -> Plan {
        let route = self.settings.routes.get(destination).cloned();
        let policy_domain = policy_domain(destination, route.as_deref());
        let discover = async {
            match &policy_domain {
                Some(domain) => Some(self.policies.policy_for(domain).await),
                None => None,
            }
        };
        let (dane, rule_ends) = self.dane_rule(destination, now.wall);
        let hosts = self.hosts(destination, route.as_deref(), dane);
        let (found, discovery) = tokio::join!(hosts, discover);
        let (
            Found {
                mut hosts,
                ttl,
                beyond,
            },
            discovery,
        ) = (found, discovery);
        let mut valid_until = now.monotonic + ttl;
        if let Some(end) = rule_ends {
            valid_until = valid_until.min(now.monotonic + end.since(now.wall));
        }
        if let Some(d) = &discovery {
            valid_until = valid_until.min(now.monotonic + d.valid_until.since(now.wall));
        }
        if let Some(route) = route.as_deref() {
            name_the_hop(route, &mut hosts, discovery.as_ref(), now.wall);
        }
        Plan {
            hosts,
            policy_domain,
            discovery,
            route,
            valid_until,
            made,
            beyond,
            tlsa_unasked: dane == DaneRule::DangerousOff,
        }
    }

    /// What the configuration says of the recipients' TLSA records, and until when that is so.
    fn dane_rule(
        &self,
        destination: &Destination,
        now: Timestamp,
    ) -> (DaneRule, Option<Timestamp>) {
        let Host::Domain(domain) = &destination.host else {
            return (DaneRule::Policy, None);
        };
        let ends = self.settings.domains.get(domain).and_then(|d| d.until);
        let rule = self.settings.rule(domain, now).dane;
        (rule, ends.filter(|_| rule == DaneRule::DangerousOff))
    }

    /// The hosts of a recipient domain, for mail from any sender.
    pub(crate) async fn hosts_of(&self, domain: &Domain) -> Hosts {
        let Ok(anybody) = Mailbox::parse(&format!("postmaster@{domain}")) else {
            return Hosts::Candidates(Vec::new());
        };
        let routes = &self.settings.routes;
        let destination = routes.destination(&ReversePath::Null, &anybody);
        let route = routes.get(&destination).cloned();
        let any = DaneRule::Policy;
        self.hosts(&destination, route.as_deref(), any).await.hosts
    }

    async fn hosts(
        &self,
        destination: &Destination,
        route: Option<&Route>,
        dane: DaneRule,
    ) -> Found {
        let (target, port) = match route {
            Some(route) => (route.hop.target.clone(), route.hop.port),
            None => match &destination.host {
                Host::Domain(d) => (HopTarget::Domain(d.clone()), SMTP),
                Host::Address(ip) => (HopTarget::Address(*ip), SMTP),
            },
        };
        match target {
            HopTarget::Domain(domain) => self.by_mx(&domain, port, route, dane).await,
            HopTarget::Host(host) => {
                let how = LookUp {
                    port,
                    route,
                    vouched: Vouched::Configuration,
                    further: vec![host.clone()],
                    dane,
                };
                let (candidate, ttl) = self.candidate(0, host, &how).await;
                let ttl = ttl.clamp(MIN_TTL, HOP_TTL);
                Found::new(Hosts::Candidates(vec![candidate]), ttl)
            }
            HopTarget::Address(ip) => Found::new(self.literal(ip, port, route), HOP_TTL),
        }
    }

    /// A hop or recipient given as an address. It is called by `tls-name` where there is one.
    fn literal(&self, ip: IpAddr, port: u16, route: Option<&Route>) -> Hosts {
        let Some(name) = literal_name(ip) else {
            return Hosts::Undeliverable {
                secure: false,
                reason: (Reason::NoUsableMx, Case::Usual),
                detail: format!("{ip} cannot be used as a host"),
            };
        };
        // Explicit routes are exempt from the special-use check: the operator named the address.
        let addresses = self.usable(vec![ip], port, route.is_some());
        Hosts::Candidates(vec![Candidate {
            tls_name: tls_name(&name, route),
            name,
            preference: 0,
            port,
            addresses,
            // An address has no TLSA records.
            standing: Standing {
                vouched: Vouched::Configuration,
                dane: HostDane::Absent,
            },
        }])
    }

    async fn by_mx(
        &self,
        domain: &Domain,
        port: u16,
        route: Option<&Route>,
        dane: DaneRule,
    ) -> Found {
        if !domain.is_fully_qualified() {
            // RFC 5321 section 2.3.5: no search list completes a name for us.
            let detail = format!("{domain} is not a fully qualified domain name");
            let hosts = Hosts::Undeliverable {
                reason: (Reason::NoSuchDomain, Case::Usual),
                detail,
                secure: false,
            };
            return Found::new(hosts, LOCAL_TTL);
        }
        let (hosts, mut ttl, implicit, how) = match read_mx(domain, self.resolver.mx(domain).await)
        {
            MxVerdict::Hosts {
                hosts,
                ttl,
                implicit,
                security,
                canonical,
            } => {
                let how = LookUp {
                    port,
                    route,
                    vouched: Vouched::by(security),
                    further: next_hop_names(domain, security, canonical.as_ref()),
                    dane,
                };
                (hosts, ttl, implicit, how)
            }
            MxVerdict::Undeliverable {
                reason,
                detail,
                secure,
            } => {
                let hosts = Hosts::Undeliverable {
                    reason,
                    detail,
                    secure,
                };
                return Found::new(hosts, LOCAL_TTL);
            }
            MxVerdict::Unknown { reason, detail } => {
                return Found::new(Hosts::Unknown { reason, detail }, LOCAL_TTL);
            }
        };
        let (cut, beyond) = (
            hosts.get(MAX_HOSTS).cloned(),
            hosts.len().saturating_sub(MAX_HOSTS),
        );
        let mut candidates = Vec::with_capacity(hosts.len().min(MAX_HOSTS) + 1);
        let lookups = hosts
            .into_iter()
            .take(MAX_HOSTS)
            .map(|(p, name)| self.candidate(p, name, &how));
        // All at once: an attempt should not wait for one host's name server after another's.
        for (candidate, believed) in join_all(lookups).await {
            candidates.push(candidate);
            ttl = ttl.min(believed);
        }
        candidates.extend(cut.map(|(preference, name)| not_looked_up(preference, name, port)));
        let hosts = match drop_self(candidates, |address| self.settings.is_self(address)) {
            Err(detail) => Hosts::Undeliverable {
                reason: (Reason::Loop, Case::Usual),
                detail,
                secure: false,
            },
            Ok(candidates) => judge(domain, candidates, implicit),
        };
        Found {
            hosts,
            ttl: ttl.clamp(MIN_TTL, MAX_TTL),
            beyond,
        }
    }

    /// The host's addresses, then its TLSA records (row C2-08); and how long that may be believed.
    async fn candidate(
        &self,
        preference: u16,
        name: HostName,
        how: &LookUp<'_>,
    ) -> (Candidate, Duration) {
        let (port, route) = (how.port, how.route);
        let (mut dane, mut ttl) = (HostDane::Absent, LOCAL_TTL);
        let addresses = match self.resolver.addresses(&name).await {
            Ok(answer) => {
                let usable = self.usable(answer.value.clone(), port, route.is_some());
                ttl = answer.ttl;
                if usable.is_ok() && route.is_none_or(|r| is_protected(r.tls)) {
                    (dane, ttl) = HostDane::look_up(
                        self.resolver,
                        &name,
                        port,
                        &answer,
                        &how.further,
                        how.dane,
                    )
                    .await;
                }
                usable
            }
            Err(error) => Err(unreachable_by_dns(&name, &error)),
        };
        let candidate = Candidate {
            tls_name: tls_name(&name, route),
            name,
            preference,
            port,
            addresses,
            standing: Standing {
                vouched: how.vouched,
                dane,
            },
        };
        (candidate, ttl)
    }

    /// Keeps the addresses that may be connected to (rows H1-19 to H1-21). Our own are kept here:
    /// they cut the list of hosts, which is decided over all of them.
    fn usable(
        &self,
        addresses: Vec<IpAddr>,
        port: u16,
        explicit: bool,
    ) -> Result<Vec<IpAddr>, Unreachable> {
        if explicit {
            return Ok(addresses);
        }
        let mut refused = Vec::new();
        let usable: Vec<IpAddr> = addresses
            .into_iter()
            .filter(|ip| {
                if self.settings.is_self(SocketAddr::new(*ip, port)) {
                    return true;
                }
                match self.settings.refuses(*ip) {
                    None => true,
                    Some(why) => {
                        refused.push(why);
                        false
                    }
                }
            })
            .collect();
        if usable.is_empty() {
            let detail = format!(
                "{}: mail is not sent there unless egress.allow-special-use lists it",
                refused.join(", ")
            );
            return Err(Unreachable {
                reason: Reason::AddressRefused,
                detail,
                definite: false,
            });
        }
        Ok(usable)
    }
}

/// RFC 8461 section 3.4: the recipient domain, or the smart host's name where mail is routed to
/// one; none for address literals (rows A1-03, A1-04), nor where a route says that TLS does not
/// matter.
pub(crate) fn policy_domain(destination: &Destination, route: Option<&Route>) -> Option<Domain> {
    let Some(route) = route else {
        return match &destination.host {
            Host::Domain(d) if d.is_fully_qualified() => Some(d.clone()),
            Host::Domain(_) | Host::Address(_) => None,
        };
    };
    if !is_protected(route.tls) {
        return None;
    }
    match &route.hop.target {
        HopTarget::Domain(d) => Some(d.clone()),
        HopTarget::Host(h) => h.to_domain().ok().filter(Domain::is_fully_qualified),
        HopTarget::Address(_) => None,
    }
}

/// Whether what the next hop publishes counts: not where a route says that TLS does not matter.
const fn is_protected(tls: RouteTls) -> bool {
    match tls {
        RouteTls::Verified | RouteTls::Policy => true,
        RouteTls::DangerousOff | RouteTls::DangerousUnverified => false,
    }
}

/// RFC 5321 section 5.1: MX records that lead nowhere are an error, not a reason to fall back on
/// the domain's own address; permanent only if every answer is definite (row E1-07).
fn judge(domain: &Domain, candidates: Vec<Candidate>, implicit: bool) -> Hosts {
    let definite = |c: &Candidate| c.addresses.as_ref().is_err_and(|u| u.definite);
    if candidates.iter().all(definite) {
        let (case, detail) = if implicit {
            let detail = format!("{domain} has neither MX records nor an address");
            (Case::NoMailHost, detail)
        } else {
            let whys = candidates.iter().filter_map(|c| c.addresses.as_ref().err());
            let mut text: Vec<&str> = whys.map(|u| u.detail.as_str()).take(NAMED).collect();
            if candidates.len() > NAMED {
                text.push("and so on");
            }
            (Case::Usual, text.join("; "))
        };
        return Hosts::Undeliverable {
            reason: (Reason::NoUsableMx, case),
            detail,
            secure: false,
        };
    }
    Hosts::Candidates(candidates)
}

/// Hosts whose trouble is told one by one.
const NAMED: usize = 5;

fn unreachable_by_dns(name: &HostName, error: &DnsError) -> Unreachable {
    let (reason, definite) = match error {
        DnsError::NoSuchName { .. } | DnsError::NoRecords { .. } => (Reason::NoUsableMx, true),
        DnsError::Temporary(_) => (Reason::DnsTemporary, false),
        DnsError::Bogus(_) => (Reason::DnsBogus, false),
        DnsError::Local(_) => (Reason::Local, false),
    };
    Unreachable {
        reason,
        detail: format!("the addresses of {name} could not be found: {error}"),
        definite,
    }
}

/// A route to `host` without brackets that demands a verified certificate names what it trusts: MX
/// records are not authenticated, so the certificate must be for the configured name, unless the
/// hop's own enforced policy vouches for its hosts (RFC 8461 section 3.4).
fn name_the_hop(route: &Route, hosts: &mut Hosts, discovery: Option<&Discovery>, now: Timestamp) {
    let HopTarget::Domain(domain) = &route.hop.target else {
        return;
    };
    let unnamed = route.tls == RouteTls::Verified && route.tls_name.is_none();
    if unnamed
        && !is_enforced(discovery, now)
        && let Hosts::Candidates(candidates) = hosts
    {
        for candidate in candidates {
            candidate.tls_name = domain.to_host();
        }
    }
}

/// Stands for the hosts beyond [`MAX_HOSTS`], so that nobody concludes that all were tried.
fn not_looked_up(preference: u16, name: HostName, port: u16) -> Candidate {
    let detail = format!("only the first {MAX_HOSTS} hosts are tried");
    Candidate {
        tls_name: name.clone(),
        name,
        preference,
        port,
        addresses: Err(Unreachable {
            reason: Reason::Connect,
            detail,
            definite: false,
        }),
        standing: Standing::default(),
    }
}

fn tls_name(name: &HostName, route: Option<&Route>) -> HostName {
    let given = route.and_then(|r| r.tls_name.clone());
    given.unwrap_or_else(|| name.clone())
}

/// Runs futures together and keeps their order.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|cx| {
        let mut ready = true;
        for (future, output) in &mut pending {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        if ready {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    pending
        .into_iter()
        .filter_map(|(_, output)| output)
        .collect()
}

const SMTP: u16 = 25;
/// More hosts than this are never tried (row H1-17).
pub(crate) const MAX_HOSTS: usize = 20;
const MIN_TTL: Duration = Duration::from_secs(5);
const MAX_TTL: Duration = Duration::from_secs(3600);
const HOP_TTL: Duration = Duration::from_secs(60);
const LOCAL_TTL: Duration = Duration::from_secs(5);
