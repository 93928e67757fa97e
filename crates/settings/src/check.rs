//! What no single key shows: contradictions, duplicates, danger without its permission.

mod inbound;
mod limits;
mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mail_types::{Domain, Timestamp};

use super::build::Built;
use super::hostname::{self, OWN_NAME, PLACEHOLDERS};
use super::problem::{Place, Problem};
use super::reader::Places;
use super::settings::{
    DnsServers, Dnssec, DomainDane, DomainMtaSts, DomainRule, Listener, ListenerRole, RelayHost,
    Route, RouteTls, Settings, TlsRequiredNo,
};
use setting_keys as units;
use world::too_wide;

/// All that can be said without touching the file system.
pub(super) fn check(built: &Built, places: &Places, now: Timestamp) -> Vec<Problem> {
    let mut found = Findings {
        places,
        problems: Vec::new(),
    };
    let settings = &built.settings;
    found.server_name(&settings.server.hostname);
    found.addresses(settings, &built.listeners);
    found.content(settings, &built.listeners);
    found.relay_networks(settings);
    found.impostors(settings);
    found.client_certificates(settings, &built.listeners);
    found.closed(settings, &built.listeners);
    found.repeated_server_names(settings, &built.certificates);
    found.repeated_signers(settings, &built.dkim);
    let logins = super::identity::check(built, places);
    found.problems.extend(logins);
    found.queue(settings);
    found.idle_limits(settings);
    found.small_limits(settings, &built.listeners);
    found.tls(settings);
    found.dns(settings);
    for (route, path) in settings.routes.iter().zip(&built.routes) {
        found.route(route, path);
    }
    found.repeated_routes(&settings.routes, &built.routes);
    for (rule, path) in settings.domains.iter().zip(&built.domains) {
        found.domain(rule, path, now);
    }
    let names = settings.domains.iter().map(|rule| rule.name.as_str());
    found.repeated("name", names.zip(&built.domains));
    let names = settings
        .identities
        .iter()
        .map(|identity| identity.name.as_str());
    found.repeated("name", names.zip(&built.identities));
    found.admin(settings);
    found.log(settings);
    let telemetry = super::telemetry::check(built, places);
    found.problems.extend(telemetry);
    let reporting = super::reporting::check(built, places);
    found.problems.extend(reporting);
    found.problems
}

/// Every setting that weakens TLS or durability, in words: they are logged at each start.
#[must_use]
pub fn dangers(settings: &Settings) -> Vec<String> {
    let mut dangers: Vec<String> = super::identity::dangers(settings).into_iter().collect();
    for file in &settings.tls.dangerous_extra_roots {
        dangers.push(format!(
            "tls.dangerous-extra-roots: {} may certify any mail exchanger or policy host",
            file.display()
        ));
    }
    if settings.delivery.dangerous_tls_required_no == TlsRequiredNo::All {
        dangers.push(
            "delivery.dangerous-tls-required-no: any sender may set MTA-STS aside".to_owned(),
        );
    }
    for network in &settings.access.dangerous_plaintext_networks {
        dangers.push(format!(
            "access.dangerous-plaintext-networks: {network} may send mail without TLS everywhere"
        ));
    }
    if settings.admin.dangerous_plain_http {
        dangers.push("admin.dangerous-plain-http: HTTP may be served without TLS".to_owned());
    }
    for route in &settings.routes {
        let what = match route.tls {
            RouteTls::DangerousUnverified => {
                "dangerous-unverified: its certificate is not verified"
            }
            RouteTls::DangerousOff => "dangerous-off: mail on it is not encrypted",
            RouteTls::Verified | RouteTls::Policy => continue,
        };
        dangers.push(format!("route to {}: {what}", route.relay));
    }
    for rule in &settings.domains {
        match rule.mta_sts {
            DomainMtaSts::DangerousAudit => dangers.push(format!(
                "domain {}: dangerous-audit: its MTA-STS policy is not enforced until {} ({})",
                rule.name,
                rule.until.map(Timestamp::rfc3339).unwrap_or_default(),
                rule.reason.as_deref().unwrap_or_default(),
            )),
            DomainMtaSts::Policy | DomainMtaSts::Require => {}
        }
        let dane = match rule.dane {
            DomainDane::DangerousAudit => "dangerous-audit: its TLSA records are not enforced",
            DomainDane::DangerousOff => "dangerous-off: its TLSA records are not looked at",
            DomainDane::Policy | DomainDane::Require => continue,
        };
        dangers.push(format!(
            "domain {}: dane = {dane} until {} ({})",
            rule.name,
            rule.until.map_or_else(String::new, |until| until.rfc3339()),
            rule.reason.as_deref().unwrap_or_default()
        ));
    }
    dangers
}

struct Findings<'a> {
    places: &'a Places,
    problems: Vec<Problem>,
}

impl Findings<'_> {
    fn error(&mut self, path: &str, message: String, remedy: &str) {
        let place = self.place(path);
        self.problems
            .push(Problem::error(place, path, message, remedy));
    }

    fn warning(&mut self, path: &str, message: String, remedy: &str) {
        let place = self.place(path);
        self.problems
            .push(Problem::warning(place, path, message, remedy));
    }

    /// Of the key, or of the entry that it would stand in.
    fn place(&self, path: &str) -> Place {
        match (self.places.of(path), path.rsplit_once('.')) {
            (Place::Default, Some((entry, _))) if entry.ends_with(']') => self.places.of(entry),
            (place, _) => place,
        }
    }

    /// What we say in EHLO has to be a name that the other side can look up (row E2-03). Only whoever wrote it
    /// knows who the other side is: a relay inside a network may have nobody else to talk to.
    fn server_name(&mut self, name: &Domain) {
        let top = hostname::top(name);
        if PLACEHOLDERS.contains(&top) || top == "local" {
            let said =
                format!("is {name}, which nobody outside can look up: many hosts refuse mail then");
            self.warning("server.hostname", said, OWN_NAME);
        }
    }

    fn addresses(&mut self, settings: &Settings, paths: &[String]) {
        // Without an entry there is the default listener, which has no path.
        let listeners: Vec<(&Listener, &String)> = settings.listeners.iter().zip(paths).collect();
        self.repeated(
            "name",
            listeners.iter().map(|(l, path)| (l.name.as_str(), *path)),
        );
        let mut taken: Vec<(SocketAddr, String)> = Vec::new();
        for (listener, path) in listeners {
            if listener.addresses.is_empty() {
                self.error(
                    &format!("{path}.address"),
                    "is empty".into(),
                    "name an address",
                );
            }
            for address in &listener.addresses {
                self.take(*address, &format!("{path}.address"), &mut taken);
            }
        }
        if let Some(address) = settings.admin.http {
            self.take(address, "admin.http", &mut taken);
        }
    }

    /// Row G4-05: a relay listener changes nothing but the trace header.
    fn content(&mut self, settings: &Settings, paths: &[String]) {
        for (listener, path) in settings.listeners.iter().zip(paths) {
            if !matches!(listener.role, ListenerRole::Relay) {
                continue;
            }
            for key in listener.content.asked() {
                self.error(
                    &format!("{path}.{key}"),
                    "is for submission listeners: a relay listener changes no message".into(),
                    "take the key out, or give the listener role = \"submission\"",
                );
            }
        }
    }

    /// RFC 7672 section 2.1.3: an AD bit is worth what the way to the resolver is worth. Those of
    /// `/etc/resolv.conf` are looked at when the resolver is made.
    fn dns(&mut self, settings: &Settings) {
        let (Dnssec::TrustAd, DnsServers::Addresses(servers)) =
            (settings.dns.dnssec, &settings.dns.servers)
        else {
            return;
        };
        for server in servers {
            if !server.ip().to_canonical().is_loopback() {
                self.error(
                    "dns.servers",
                    format!("{server} is not on loopback, so that its AD bit proves nothing"),
                    "name a validating resolver on this host, or set dns.dnssec = \"validate\"",
                );
            }
        }
    }

    fn take(&mut self, address: SocketAddr, path: &str, taken: &mut Vec<(SocketAddr, String)>) {
        if let Some((other, holder)) = taken.iter().find(|(other, _)| overlap(*other, address)) {
            let message = format!("{address} is already taken by {holder} ({other})");
            self.error(path, message, "give each address and port once");
        }
        taken.push((address, path.to_owned()));
    }

    fn repeated<'t>(&mut self, key: &str, rows: impl Iterator<Item = (&'t str, &'t String)>) {
        let mut seen = BTreeMap::new();
        for (value, path) in rows {
            if let Some(first) = seen.get(value) {
                let message = format!("\"{value}\" is already used by {first}");
                self.error(&format!("{path}.{key}"), message, "give each its own");
            } else {
                seen.insert(value, path);
            }
        }
    }

    fn relay_networks(&mut self, settings: &Settings) {
        if settings.logins.dangerous_open_relay {
            return;
        }
        for wide in too_wide(&settings.access.relay_networks) {
            self.error(
                "access.relay-networks",
                format!("{wide}: this would be an open relay"),
                "name the networks of your own servers",
            );
        }
    }

    fn queue(&mut self, settings: &Settings) {
        let queue = &settings.queue;
        if queue.retry.is_empty() {
            self.error("queue.retry", "is empty".into(), "name at least one delay");
        }
        if queue
            .delay_warning
            .is_some_and(|delay| delay >= queue.lifetime)
        {
            self.warning(
                "queue.delay-warning",
                "is not before the end of queue.lifetime: no warning is ever sent".into(),
                "shorten it, or write \"never\"",
            );
        }
        if queue.hold_at_start {
            self.warning(
                "queue.hold-at-start",
                "is true: at each start all mail in the queue is held until `sealpost queue release`"
                    .into(),
                "write false as soon as the restored data directory has been looked at",
            );
        }
        if settings.server.postmaster.is_none() {
            self.warning(
                "server.postmaster",
                "is not set: mail for postmaster of this server has nowhere to go".into(),
                "name a mailbox that somebody reads",
            );
        }
    }

    fn tls(&mut self, settings: &Settings) {
        let tls = &settings.tls;
        if !tls.webpki_roots && !tls.system_roots && tls.dangerous_extra_roots.is_empty() {
            self.error(
                "tls.roots",
                "no trust anchors: no certificate could be verified, and no policy fetched".into(),
                "write [\"webpki\"], [\"system\"] or both",
            );
        }
    }

    fn route(&mut self, route: &Route, path: &str) {
        if route.credentials.is_some() && route.tls != RouteTls::Verified {
            self.error(
                &format!("{path}.username"),
                "a password is only sent to a verified server".into(),
                "write tls = \"verified\", or remove username and password-file",
            );
        }
        let unused = match route.tls {
            RouteTls::DangerousOff | RouteTls::DangerousUnverified => true,
            RouteTls::Verified | RouteTls::Policy => false,
        };
        if unused && (route.tls_name.is_some() || !route.roots.is_empty()) {
            self.error(
                &format!("{path}.tls"),
                "tls-name and roots have no use where no certificate is verified".into(),
                "write tls = \"verified\", or remove them",
            );
        }
        if let RelayHost::Address(address) = route.relay.host
            && route.tls == RouteTls::Policy
        {
            self.error(
                &format!("{path}.tls"),
                format!("an address ({address}) has no policy"),
                "write tls = \"verified\" with tls-name",
            );
        }
    }

    fn repeated_routes(&mut self, routes: &[Route], paths: &[String]) {
        for (n, (route, path)) in routes.iter().zip(paths).enumerate() {
            let same = routes.iter().zip(paths).take(n).find(|(other, _)| {
                other.recipient_domain == route.recipient_domain
                    && other.sender_domain == route.sender_domain
            });
            if let Some((_, first)) = same {
                let message = format!("never used: {first} matches the same mail");
                self.error(path, message, "remove one of them");
            }
        }
    }

    fn domain(&mut self, rule: &DomainRule, path: &str, now: Timestamp) {
        let weakens_sts = match rule.mta_sts {
            DomainMtaSts::DangerousAudit => true,
            DomainMtaSts::Require | DomainMtaSts::Policy => false,
        };
        let weakens_dane = match rule.dane {
            DomainDane::DangerousAudit | DomainDane::DangerousOff => true,
            DomainDane::Require | DomainDane::Policy => false,
        };
        if weakens_sts || weakens_dane {
            self.weakening(rule, path, now);
        } else if rule.until.is_some() || rule.reason.is_some() {
            self.warning(
                path,
                "until and reason have no use in a rule that weakens nothing".into(),
                "remove them",
            );
        }
        match (rule.mta_sts, rule.mx.is_empty()) {
            (DomainMtaSts::Require, true) => self.warning(
                &format!("{path}.mta-sts"),
                format!("mail waits while {} publishes no policy", rule.name),
                "name its mail exchangers in mx",
            ),
            (DomainMtaSts::Policy | DomainMtaSts::DangerousAudit, false) => self.error(
                &format!("{path}.mx"),
                "has an effect only with mta-sts = \"require\"".into(),
                "write it, or remove mx",
            ),
            (DomainMtaSts::Require, false)
            | (DomainMtaSts::Policy | DomainMtaSts::DangerousAudit, true) => {}
        }
    }

    fn weakening(&mut self, rule: &DomainRule, path: &str, now: Timestamp) {
        if rule.reason.is_none() {
            self.error(
                path,
                "a rule that weakens protection needs a reason".into(),
                "write reason = \"…\"; it is logged with every use",
            );
        }
        let until_path = format!("{path}.until");
        match rule.until {
            None => self.error(
                path,
                "a rule that weakens protection needs an end".into(),
                "write until = \"YYYY-MM-DD\", at most 90 days ahead",
            ),
            Some(until) if until <= now => self.warning(
                &until_path,
                format!("has passed: the policy of {} is enforced again", rule.name),
                "remove the rule",
            ),
            Some(until) if until.since(now) > LONGEST_WEAKENING => self.error(
                &until_path,
                "is more than 90 days ahead".into(),
                "choose an earlier day; the rule can be renewed",
            ),
            Some(_) => {}
        }
    }

    fn admin(&mut self, settings: &Settings) {
        let Some(address) = settings.admin.http else {
            return;
        };
        let admin = &settings.admin;
        if address.ip().is_loopback() {
            return;
        }
        if admin.key_pair.is_none() && !admin.dangerous_plain_http {
            self.error(
                "admin.http",
                format!("{address} is not loopback, and HTTP has no TLS"),
                "set admin.certificate and admin.private-key, use a loopback address behind a proxy, \
                 or set admin.dangerous-plain-http = true",
            );
        }
        if admin.login_link {
            self.error(
                "admin.login-link",
                format!("admin.http is {address}, which is not loopback"),
                "use tokens (admin.token-file), or a loopback address",
            );
        }
    }

    fn log(&mut self, settings: &Settings) {
        if let Err(why) = crate::log_filter(&settings.log.level) {
            self.error(
                "log.level",
                format!("\"{}\" is no filter: {why}", settings.log.level),
                "write error, warn, info, debug or trace",
            );
        }
        if settings.log.syslog_name.contains([' ', '[', ':']) {
            self.error(
                "log.syslog-name",
                "has a character that ends the name in a log line".into(),
                "use letters, digits, hyphens and slashes",
            );
        }
        let longest = Duration::from_secs(60 * 60 * 24);
        if settings.policy_cache.refresh_interval > longest {
            let text = units::duration_text(
                u64::try_from(settings.policy_cache.refresh_interval.as_millis())
                    .unwrap_or(u64::MAX),
            );
            self.warning(
                "policy-cache.refresh-interval",
                format!("{text} is longer than the day that RFC 8461 section 10.2 recommends"),
                "write \"1d\"",
            );
        }
        let interval = settings.policy_cache.refresh_interval;
        if interval < Duration::from_mins(5) {
            self.warning(
                "policy-cache.refresh-interval",
                format!(
                    "the host of every stored policy is asked every {}, by day and night",
                    units::duration_text(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)),
                ),
                "write \"1d\"; a policy that has changed is seen by its record when there is mail",
            );
        }
    }
}

/// Whether both cannot be bound: the same, or one of them is every address of the family.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_family = matches!(
        (a.ip(), b.ip()),
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_))
    );
    a.port() == b.port()
        && same_family
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

const LONGEST_WEAKENING: Duration = Duration::from_secs(90 * 24 * 60 * 60 + 24 * 60 * 60 - 1);
