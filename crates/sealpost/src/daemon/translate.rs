//! From the configuration's values to those of the parts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use delivery::decide::demand::{DaneRule, RequiredTls};
use delivery::{DomainRule, NoticeSettings, Rate};
use mail_types::{Mailbox, RetrySchedule};
use mta_sts::MxPattern;
use routes::{DomainPattern, HopTarget, NextHop, Route, RouteTable, RouteTls};
use settings::Settings;
use smtp_client::{Account, Clock, ConnectorConfig, PoolLimits, RootSource, Timeouts};

use super::signing::{self, Signing};

/// What delivery is told.
///
/// # Errors
/// A name that the configuration's checks let through although it cannot be used.
pub(crate) fn delivery(s: &Settings, signing: &Signing) -> anyhow::Result<delivery::Settings> {
    Ok(delivery::Settings {
        hostname: s.server.hostname.clone(),
        bounce_from: Mailbox::parse(&format!("MAILER-DAEMON@{}", s.server.hostname))?,
        tls: s.delivery.tls.map(required),
        dane_satisfies_sts: s.delivery.dane_satisfies_sts,
        routes: RouteTable::new(s.routes.iter().map(route).collect()),
        domains: s
            .domains
            .iter()
            .map(|d| Ok((d.name.clone(), domain(d)?)))
            .collect::<anyhow::Result<_>>()?,
        retry: retry(s),
        connections: s.delivery.connections,
        connections_per_destination: u32::try_from(s.delivery.connections_per_destination)
            .unwrap_or(u32::MAX),
        connections_per_host: s.delivery.connections_per_host,
        spacing_per_host: s.delivery.rate_per_host.map(|r| r.period / r.count.get()),
        recipients_per_transaction: s.delivery.recipients_per_transaction,
        max_addresses: s.delivery.max_addresses,
        patience: s.delivery.patience,
        allow_special_use: s.egress.allow_special_use.clone(),
        own: own_addresses(s),
        max_returned: usize::try_from(s.queue.max_returned_size).unwrap_or(usize::MAX),
        notices: NoticeSettings {
            per_sender: s.queue.notifications_per_sender.map(limit),
            in_all: s.queue.notifications_in_all.map(limit),
            postmaster: s.server.postmaster.clone(),
        },
        add_orcpt: s.delivery.add_orcpt,
        expire_held: s.queue.expire_held,
        seal: signing::seal(signing, &s.server.hostname),
        drain_timeout: s.server.drain_timeout,
    })
}

const fn limit(rate: settings::Rate) -> Rate {
    Rate {
        count: rate.count,
        period: rate.period,
    }
}

/// Our listeners, and port 25 of the addresses that are said to be us or to be what the world sees of us.
fn own_addresses(s: &Settings) -> Vec<SocketAddr> {
    let listeners = s.listeners.iter().flat_map(|l| l.addresses.iter().copied());
    let own = s
        .server
        .own_addresses
        .iter()
        .chain(&s.egress.public_addresses)
        .map(|ip| SocketAddr::new(*ip, 25));
    listeners.chain(own).collect()
}

/// When mail is tried again and when it is given up.
pub(crate) fn retry(s: &Settings) -> RetrySchedule {
    let warning = s.queue.delay_warning.unwrap_or_default();
    RetrySchedule::new(
        s.queue.retry.clone(),
        s.queue.lifetime,
        s.queue.bounce_lifetime,
        warning,
    )
}

/// Trust anchors for MX and policy hosts.
pub(crate) fn roots(s: &Settings) -> Vec<RootSource> {
    let mut sources = Vec::new();
    if s.tls.webpki_roots {
        sources.push(RootSource::Webpki);
    }
    if s.tls.system_roots {
        sources.push(RootSource::System);
    }
    sources.extend(
        s.tls
            .dangerous_extra_roots
            .iter()
            .cloned()
            .map(RootSource::File),
    );
    sources
}

/// A route's own trust anchors, instead of the others.
pub(crate) fn route_roots(files: &[PathBuf]) -> Vec<RootSource> {
    files.iter().cloned().map(RootSource::File).collect()
}

/// What a client is told.
pub(crate) fn connector(
    s: &Settings,
    clock: Clock,
    route: Option<(usize, Option<Account>)>,
) -> ConnectorConfig {
    let t = &s.delivery.timeouts;
    ConnectorConfig {
        timeouts: Timeouts {
            connect: t.connect,
            banner: t.banner,
            ehlo: t.ehlo,
            starttls: t.starttls,
            handshake: t.handshake,
            auth: t.auth,
            other: t.rset,
            mail: t.mail,
            rcpt: t.rcpt,
            data: t.data_init,
            block: t.data_block,
            dot: t.data_done,
            quit: t.quit,
            transaction: t.transaction,
        },
        sources: s.egress.source_addresses.clone(),
        route: route.as_ref().map(|(n, _)| Arc::from(format!("route:{n}"))),
        account: route.and_then(|(_, account)| account),
        ..ConnectorConfig::new(s.server.hostname.as_str(), clock)
    }
}

/// How long idle connections are kept.
pub(crate) fn pool(s: &Settings) -> PoolLimits {
    PoolLimits {
        total: s.delivery.connections,
        per_key: s.delivery.connections_per_host,
        idle: s.delivery.timeouts.idle,
        lifetime: s.delivery.connection_lifetime,
        transactions: u32::try_from(s.delivery.messages_per_connection).unwrap_or(u32::MAX),
    }
}

fn route(r: &settings::Route) -> Route {
    let target = match &r.relay.host {
        settings::RelayHost::Domain(d) => HopTarget::Domain(d.clone()),
        settings::RelayHost::Host(h) => HopTarget::Host(h.clone()),
        settings::RelayHost::Address(ip) => HopTarget::Address(*ip),
    };
    Route {
        recipient_domain: r.recipient_domain.as_ref().map(pattern),
        sender_domain: r.sender_domain.as_ref().map(pattern),
        hop: NextHop {
            target,
            port: r.relay.port,
        },
        tls: match r.tls {
            settings::RouteTls::Verified => RouteTls::Verified,
            settings::RouteTls::Policy => RouteTls::Policy,
            settings::RouteTls::DangerousUnverified => RouteTls::DangerousUnverified,
            settings::RouteTls::DangerousOff => RouteTls::DangerousOff,
        },
        tls_name: r.tls_name.clone(),
        roots: r.roots.clone(),
    }
}

fn pattern(d: &settings::DomainMatch) -> DomainPattern {
    match d {
        settings::DomainMatch::Any => DomainPattern::Any,
        settings::DomainMatch::Exact(d) => DomainPattern::Exact(d.clone()),
        settings::DomainMatch::Below(d) => DomainPattern::Below(d.clone()),
    }
}

fn domain(d: &settings::DomainRule) -> anyhow::Result<DomainRule> {
    let mx = d.mx.iter().map(|p| {
        MxPattern::parse(p).map_err(|e| anyhow::anyhow!("[[domain]] {}: mx {p:?}: {e}", d.name))
    });
    Ok(DomainRule {
        require: d.mta_sts == settings::DomainMtaSts::Require,
        dangerous_audit: d.mta_sts == settings::DomainMtaSts::DangerousAudit,
        mx: mx.collect::<anyhow::Result<_>>()?,
        tls: d.tls.map(required),
        dane: match d.dane {
            settings::DomainDane::Policy => DaneRule::Policy,
            settings::DomainDane::Require => DaneRule::Require,
            settings::DomainDane::DangerousAudit => DaneRule::DangerousAudit,
            settings::DomainDane::DangerousOff => DaneRule::DangerousOff,
        },
        until: d.until,
    })
}

const fn required(tls: settings::RequiredTls) -> RequiredTls {
    match tls {
        settings::RequiredTls::Encrypted => RequiredTls::Encrypted,
        settings::RequiredTls::Verified => RequiredTls::Verified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e2_17_no_time_limit_is_by_default_below_what_the_rfc_asks_for() {
        let sources = settings::Sources {
            node: "relay.test".into(),
            ..settings::Sources::default()
        };
        let settings = settings::load(&sources).unwrap().settings;
        let clock: Clock = Arc::new(|| mail_types::Timestamp::from_secs(0));
        let t = connector(&settings, clock, None).timeouts;
        // RFC 5321 sections 4.5.3.2.1 to 4.5.3.2.6.
        for (limit, minutes) in [
            (t.banner, 5),
            (t.mail, 5),
            (t.rcpt, 5),
            (t.data, 2),
            (t.block, 3),
            (t.dot, 10),
        ] {
            assert!(limit.as_secs() >= 60 * minutes, "{limit:?}");
        }
        assert!(t.transaction >= t.mail + t.rcpt + t.data + t.block + t.dot);
    }
}
