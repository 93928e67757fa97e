//! What delivery is told by the configuration.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use mail_types::{AddressClass, Domain, Mailbox, RetrySchedule, Timestamp, unwrapped};
use mta_sts::MxPattern;

use crate::books::seal::Seal;
use crate::decide::demand::{DaneRule, LocalRule, RequiredTls};
use dsn::NoticeSettings;
use routes::RouteTable;

/// What delivery is told by the configuration. Replaced as a whole on reload.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our fully qualified name: `Reporting-MTA`, right side of Message-IDs.
    pub hostname: Domain,
    /// From whom notifications come.
    pub bounce_from: Mailbox,
    /// `delivery.tls`.
    pub tls: Option<RequiredTls>,
    /// `delivery.dane-satisfies-sts`.
    pub dane_satisfies_sts: bool,
    /// `[[route]]`.
    pub routes: RouteTable,
    /// `[[domain]]`.
    pub domains: HashMap<Domain, DomainRule>,
    /// `queue.*`: when to try again, when to give up.
    pub retry: RetrySchedule,
    /// Sessions at once, in all.
    pub connections: usize,
    /// Sessions at once to one destination.
    pub connections_per_destination: u32,
    /// Sessions at once to one MX host, whatever the destinations.
    pub connections_per_host: usize,
    /// Time between the starts of two transactions at one MX host (`delivery.rate-per-host`).
    pub spacing_per_host: Option<Duration>,
    /// Recipients of one transaction (RFC 5321 section 4.5.3.1.8).
    pub recipients_per_transaction: usize,
    /// Addresses tried in one attempt, over all hosts.
    pub max_addresses: usize,
    /// How long mail waits that does not fit the hosts that answer (rows E5-11, D1-12).
    pub patience: Duration,
    /// `egress.allow-special-use`.
    pub allow_special_use: Vec<IpNet>,
    /// Where we listen, and port 25 of `server.own-addresses` and `egress.public-addresses`: what would
    /// lead back to us.
    pub own: Vec<SocketAddr>,
    /// Whole messages of more octets than this are not returned in notifications, only headers.
    pub max_returned: usize,
    /// The last thing done to a notification.
    pub seal: Seal,
    /// Recipients get the address under which they came as ORCPT, if they have none.
    pub add_orcpt: bool,
    /// How many notifications are sent.
    pub notices: NoticeSettings,
    /// Held mail, and that of paused destinations, is given up at the end of its lifetime.
    pub expire_held: bool,
    /// How long running sessions may take on shutdown.
    pub drain_timeout: Duration,
}

/// A `[[domain]]` entry.
#[derive(Clone, Debug)]
pub struct DomainRule {
    /// `mta-sts = "require"`.
    pub require: bool,
    /// `mta-sts = "dangerous-audit"`.
    pub dangerous_audit: bool,
    /// `mx`.
    pub mx: Vec<MxPattern>,
    /// `tls`.
    pub tls: Option<RequiredTls>,
    /// `dane`.
    pub dane: DaneRule,
    /// When what weakens ends.
    pub until: Option<Timestamp>,
}

impl Settings {
    /// The rule for a domain as it applies now: a weakening that has run out is gone.
    #[must_use]
    pub fn rule(&self, domain: &Domain, now: Timestamp) -> LocalRule {
        let Some(rule) = self.domains.get(domain) else {
            return LocalRule::default();
        };
        let weakens = rule.until.is_some_and(|until| now < until);
        LocalRule {
            require: rule.require,
            dangerous_audit: rule.dangerous_audit && weakens,
            mx: rule.mx.clone(),
            tls: rule.tls,
            dane: match rule.dane {
                DaneRule::DangerousAudit | DaneRule::DangerousOff if !weakens => DaneRule::Policy,
                rule => rule,
            },
        }
    }

    /// Whether connecting there would lead back to one of our own listeners (row E1-14). A
    /// listener on the unspecified address answers on every address of this machine; which those
    /// are only `server.own-addresses` and the listed ones tell.
    #[must_use]
    pub fn is_self(&self, address: SocketAddr) -> bool {
        // Wrapped for 6to4 or NAT64 it is still us (row E1-14).
        let address = SocketAddr::new(unwrapped(address.ip()), address.port());
        self.own.iter().any(|own| {
            let same = unwrapped(own.ip()) == address.ip();
            let any = own.ip().is_unspecified() && address.ip().is_loopback();
            own.port() == address.port() && (same || any)
        })
    }

    /// Why an address is not to be connected to (rows H1-19 to H1-21), if so.
    #[must_use]
    pub fn refuses(&self, ip: IpAddr) -> Option<String> {
        let class = AddressClass::of(ip);
        let allowed = class.is_global()
            || self
                .allow_special_use
                .iter()
                .any(|net| net.contains(&canonical(ip)));
        (!allowed).then(|| format!("{ip} is {class}"))
    }
}

fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}
