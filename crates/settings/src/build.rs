//! The typed settings out of the reader, section by section.

use config::{Map, Value};
use mail_types::Domain;

use super::identity;
use super::inbound::{ClientLimits, NamedCertificate};
use super::parse::{DeliveryTls, DnsServer, MxPattern, RootStore, dns_servers};
use super::problem::Problem;
use super::reader::{Reader, Scope};
use super::settings::{
    Access, Admin, Credentials, Delivery, Dns, DnsServers, DomainRule, Egress, KeyPair, Listener,
    ListenerRole, ListenerTls, Log, PolicyCache, Queue, Route, Server, Settings, Timeouts, Tls,
};
use super::signing;

/// What is read is complete but for the host name, which the system may have to give.
pub(super) struct Built {
    pub settings: Settings,
    /// Paths of the listeners, certificates, routes and domain rules in `settings`, in the same order.
    pub listeners: Vec<String>,
    pub certificates: Vec<String>,
    /// Those of the DKIM keys.
    pub dkim: Vec<String>,
    pub routes: Vec<String>,
    pub domains: Vec<String>,
    /// The same for identities.
    pub identities: Vec<String>,
}

/// Reads everything, whatever is wrong on the way; `None` only if the table of keys is wrong.
pub(super) fn build(reader: &mut Reader<'_>, system_name: Option<Domain>) -> Option<Built> {
    let (listeners, listener_paths) = entries(reader, "listener", listener);
    let (certificates, certificate_paths) = entries(reader, "certificate", certificate);
    let (dkim, dkim_paths) = entries(reader, "dkim", signing::dkim);
    let (identities, identity_paths) = entries(reader, "identity", identity::identity);
    let (routes, route_paths) = entries(reader, "route", route);
    let (domains, domain_paths) = entries(reader, "domain", domain);
    let listeners = if reader.entries("listener").is_empty() {
        vec![default_listener(reader)?]
    } else {
        listeners
    };
    let settings = Settings {
        file: None,
        server: server(reader, system_name)?,
        listeners,
        certificates,
        dkim,
        access: access(reader)?,
        logins: identity::logins(reader)?,
        identities,
        dns: dns(reader)?,
        tls: tls(reader)?,
        egress: egress(reader)?,
        routes,
        domains,
        queue: queue(reader)?,
        delivery: delivery(reader)?,
        policy_cache: policy_cache(reader)?,
        reporting: super::reporting::reporting(reader)?,
        admin: admin(reader)?,
        log: log(reader)?,
        otlp: super::telemetry::otlp(reader)?,
    };
    Some(Built {
        settings,
        listeners: listener_paths,
        certificates: certificate_paths,
        dkim: dkim_paths,
        identities: identity_paths,
        routes: route_paths,
        domains: domain_paths,
    })
}

fn server(r: &mut Reader<'_>, system_name: Option<Domain>) -> Option<Server> {
    let s = r.whole();
    let before = r.problems.len();
    let hostname = r.optional(s, "server.hostname");
    // Who wrote something else in the place of the section may have written the name as well.
    let is_told = r.problems.len() > before || r.problems.iter().any(|p| p.key == "server");
    if hostname.is_none() && system_name.is_none() && !is_told {
        r.problems.push(Problem::error(
            r.places().of("server.hostname"),
            "server.hostname",
            "is not set, and the system has no fully qualified name".into(),
            super::hostname::OWN_NAME,
        ));
    }
    Some(Server {
        // The stand-in is never served with: a problem was noted.
        hostname: hostname
            .or(system_name)
            .or_else(|| Domain::parse("hostname.example").ok())?,
        data_dir: r.value(s, "server.data-dir")?,
        postmaster: r.optional(s, "server.postmaster"),
        own_addresses: r.list(s, "server.own-addresses")?,
        drain_timeout: r.value(s, "server.drain-timeout")?,
    })
}

fn access(r: &mut Reader<'_>) -> Option<Access> {
    let s = r.whole();
    Some(Access {
        relay_networks: r.list(s, "access.relay-networks")?,
        requiretls_networks: r.list(s, "access.requiretls-networks")?,
        requiretls_senders: r.list(s, "access.requiretls-senders")?,
        xforward_hosts: r.list(s, "access.xforward-hosts")?,
        xclient_hosts: r.list(s, "access.xclient-hosts")?,
        proxy_hosts: r.list(s, "access.proxy-hosts")?,
        dangerous_plaintext_networks: r.list(s, "access.dangerous-plaintext-networks")?,
        normalize_networks: r.list(s, "access.normalize-networks")?,
        connections: r.value(s, "access.connections")?,
        connections_per_client: r.value(s, "access.connections-per-client")?,
        limits: client_limits(r)?,
        check_recipient_domains: r.value(s, "access.check-recipient-domains")?,
        check_sender_domains: r.value(s, "access.check-sender-domains")?,
    })
}

fn client_limits(r: &mut Reader<'_>) -> Option<ClientLimits> {
    let s = r.whole();
    let (errors, rate): (u64, u64) = (
        r.value(s, "access.errors-per-connection")?,
        r.value(s, "access.min-data-rate")?,
    );
    Some(ClientLimits {
        connection_rate: r.value_or_word(s, "access.connection-rate-per-client")?,
        messages_per_connection: r.value(s, "access.messages-per-connection")?,
        errors_per_connection: u32::try_from(errors).unwrap_or(u32::MAX),
        min_data_rate: u32::try_from(rate).unwrap_or(u32::MAX),
        data_grace: r.value(s, "access.data-grace")?,
        content_memory: r.value(s, "access.content-memory")?,
        greeting_delay: r.value(s, "access.greeting-delay")?,
        refuse_early_talkers: r.value(s, "access.refuse-early-talkers")?,
    })
}

fn dns(r: &mut Reader<'_>) -> Option<Dns> {
    let s = r.whole();
    let servers: Vec<DnsServer> = r.list(s, "dns.servers")?;
    let servers = dns_servers(&servers).unwrap_or_else(|why| {
        let place = r.places().of("dns.servers");
        let remedy = "write [\"system\"] or addresses such as [\"127.0.0.1:53\"]";
        r.problems
            .push(Problem::error(place, "dns.servers", why.into(), remedy));
        DnsServers::System
    });
    Some(Dns {
        servers,
        dnssec: r.value(s, "dns.dnssec")?,
        trust_anchors: r.list(s, "dns.trust-anchors")?,
        timeout: r.value(s, "dns.timeout")?,
    })
}

fn tls(r: &mut Reader<'_>) -> Option<Tls> {
    let s = r.whole();
    let roots: Vec<RootStore> = r.list(s, "tls.roots")?;
    Some(Tls {
        webpki_roots: roots.contains(&RootStore::Webpki),
        system_roots: roots.contains(&RootStore::System),
        dangerous_extra_roots: r.list(s, "tls.dangerous-extra-roots")?,
        crls: r.list(s, "tls.crls")?,
        crl_failure: r.value(s, "tls.crl-failure")?,
    })
}

fn egress(r: &mut Reader<'_>) -> Option<Egress> {
    let s = r.whole();
    Some(Egress {
        allow_special_use: r.list(s, "egress.allow-special-use")?,
        source_addresses: r.list(s, "egress.source-addresses")?,
        public_addresses: r.list(s, "egress.public-addresses")?,
    })
}

fn queue(r: &mut Reader<'_>) -> Option<Queue> {
    let s = r.whole();
    Some(Queue {
        lifetime: r.value(s, "queue.lifetime")?,
        bounce_lifetime: r.value(s, "queue.bounce-lifetime")?,
        delay_warning: r.value_or_word(s, "queue.delay-warning")?,
        retry: r.list(s, "queue.retry")?,
        minimum_free_space: r.value(s, "queue.minimum-free-space")?,
        body_memory: r.value(s, "queue.body-memory")?,
        messages_in_memory: r.value(s, "queue.messages-in-memory")?,
        journal_memory: r.value(s, "queue.journal-memory")?,
        hold_at_start: r.value(s, "queue.hold-at-start")?,
        expire_held: r.value(s, "queue.expire-held")?,
        notifications_per_sender: r.value_or_word(s, "queue.notifications-per-sender")?,
        notifications_in_all: r.value_or_word(s, "queue.notifications-in-all")?,
        max_returned_size: r.value(s, "queue.max-returned-size")?,
        max_hops: r.value(s, "queue.max-hops")?,
    })
}

fn delivery(r: &mut Reader<'_>) -> Option<Delivery> {
    let s = r.whole();
    Some(Delivery {
        tls: match r.value(s, "delivery.tls")? {
            DeliveryTls::Policy => None,
            DeliveryTls::Required(tls) => Some(tls),
        },
        dane_satisfies_sts: r.value(s, "delivery.dane-satisfies-sts")?,
        dangerous_tls_required_no: r.value(s, "delivery.dangerous-tls-required-no")?,
        patience: r.value(s, "delivery.patience")?,
        connections: r.value(s, "delivery.connections")?,
        connections_per_destination: r.value(s, "delivery.connections-per-destination")?,
        connections_per_host: r.value(s, "delivery.connections-per-host")?,
        rate_per_host: r.value_or_word(s, "delivery.rate-per-host")?,
        messages_per_connection: r.value(s, "delivery.messages-per-connection")?,
        connection_lifetime: r.value(s, "delivery.connection-lifetime")?,
        recipients_per_transaction: r.value(s, "delivery.recipients-per-transaction")?,
        max_addresses: r.value(s, "delivery.max-addresses")?,
        add_orcpt: r.value(s, "delivery.add-orcpt")?,
        timeouts: timeouts(r)?,
    })
}

fn timeouts(r: &mut Reader<'_>) -> Option<Timeouts> {
    let s = r.whole();
    Some(Timeouts {
        connect: r.value(s, "delivery.timeouts.connect")?,
        banner: r.value(s, "delivery.timeouts.banner")?,
        ehlo: r.value(s, "delivery.timeouts.ehlo")?,
        starttls: r.value(s, "delivery.timeouts.starttls")?,
        handshake: r.value(s, "delivery.timeouts.handshake")?,
        auth: r.value(s, "delivery.timeouts.auth")?,
        mail: r.value(s, "delivery.timeouts.mail")?,
        rcpt: r.value(s, "delivery.timeouts.rcpt")?,
        data_init: r.value(s, "delivery.timeouts.data-init")?,
        data_block: r.value(s, "delivery.timeouts.data-block")?,
        data_done: r.value(s, "delivery.timeouts.data-done")?,
        transaction: r.value(s, "delivery.timeouts.transaction")?,
        rset: r.value(s, "delivery.timeouts.rset")?,
        quit: r.value(s, "delivery.timeouts.quit")?,
        idle: r.value(s, "delivery.timeouts.idle")?,
    })
}

fn policy_cache(r: &mut Reader<'_>) -> Option<PolicyCache> {
    let s = r.whole();
    Some(PolicyCache {
        refresh_interval: r.value(s, "policy-cache.refresh-interval")?,
        fetch_timeout: r.value(s, "policy-cache.fetch-timeout")?,
        fetches: r.value(s, "policy-cache.fetches")?,
    })
}

fn admin(r: &mut Reader<'_>) -> Option<Admin> {
    let s = r.whole();
    let names: Vec<mail_types::HostName> = r.list(s, "admin.names")?;
    Some(Admin {
        socket: r.value(s, "admin.socket")?,
        http: r.value_or_word(s, "admin.http")?,
        token_file: r.optional(s, "admin.token-file"),
        login_link: r.value(s, "admin.login-link")?,
        key_pair: admin_key_pair(r, s),
        names: names.iter().map(|name| name.as_str().to_owned()).collect(),
        dangerous_plain_http: r.value(s, "admin.dangerous-plain-http")?,
    })
}

fn admin_key_pair(r: &mut Reader<'_>, s: Scope<'_>) -> Option<KeyPair> {
    let certificate = r.optional(s, "admin.certificate");
    let private_key = r.optional(s, "admin.private-key");
    let (there, missing) = match (certificate, private_key) {
        (Some(certificate), Some(private_key)) => {
            return Some(KeyPair {
                certificate,
                private_key,
            });
        }
        (None, None) => return None,
        (Some(_), None) => ("admin.certificate", "admin.private-key"),
        (None, Some(_)) => ("admin.private-key", "admin.certificate"),
    };
    let place = r.places().of(there);
    let message = format!("{missing} is missing");
    r.problems.push(Problem::error(
        place,
        there,
        message,
        "give both, or neither",
    ));
    None
}

fn log(r: &mut Reader<'_>) -> Option<Log> {
    let s = r.whole();
    Some(Log {
        format: r.value(s, "log.format")?,
        level: r.value(s, "log.level")?,
        file: r.optional(s, "log.file"),
        syslog_name: r.value(s, "log.syslog-name")?,
    })
}

/// Reads each `[[section]]`; entries without what they need are left out, their problem is noted.
fn entries<T>(
    reader: &mut Reader<'_>,
    section: &str,
    read: fn(&mut Reader<'_>, Scope<'_>) -> Option<T>,
) -> (Vec<T>, Vec<String>) {
    let prefix = format!("{section}.");
    let mut found = Vec::new();
    let mut paths = Vec::new();
    for (n, table) in reader.entries(section).iter().enumerate() {
        let path = format!("{section}[{n}]");
        if let Some(entry) = read(reader, Scope::entry(table, &prefix, &path)) {
            found.push(entry);
            paths.push(path);
        }
    }
    (found, paths)
}

/// Values are read before the first `?`, so that each is looked at.
fn listener(r: &mut Reader<'_>, s: Scope<'_>) -> Option<Listener> {
    let name = r.value(s, "name");
    let addresses = r.list(s, "address");
    let role = r.value(s, "role")?;
    let tls = match role {
        ListenerRole::Submission if !r.is_given(s, "tls") => ListenerTls::Required,
        ListenerRole::Submission | ListenerRole::Relay => r.value(s, "tls")?,
    };
    let certificate = r.optional(s, "certificate");
    let private_key = r.optional(s, "private-key");
    let listener = Listener {
        client_ca: r.optional(s, "client-ca"),
        role,
        content: signing::listener_content(r, s)?,
        tls,
        max_message_size: r.value(s, "max-message-size")?,
        max_recipients: r.value(s, "max-recipients")?,
        bare_newline: r.value(s, "bare-newline")?,
        idle_timeout: r.value(s, "idle-timeout")?,
        dsn: r.value(s, "dsn")?,
        closed: r.optional(s, "closed"),
        key_pair: match (tls, certificate, private_key) {
            (_, Some(certificate), Some(private_key)) => Some(KeyPair {
                certificate,
                private_key,
            }),
            (ListenerTls::Off, None, None) => None,
            (_, certificate, _) => {
                half_a_pair(r, s, tls, certificate.is_some());
                None
            }
        },
        name: name?,
        addresses: addresses?,
    };
    Some(listener)
}

fn certificate(r: &mut Reader<'_>, s: Scope<'_>) -> Option<NamedCertificate> {
    let certificate = r.value(s, "certificate");
    let private_key = r.value(s, "private-key");
    let names: Vec<MxPattern> = r.list(s, "server-names")?;
    Some(NamedCertificate {
        server_names: names.into_iter().map(|name| name.0).collect(),
        key_pair: KeyPair {
            certificate: certificate?,
            private_key: private_key?,
        },
    })
}

fn half_a_pair(r: &mut Reader<'_>, s: Scope<'_>, tls: ListenerTls, has_certificate: bool) {
    let missing = if has_certificate {
        "private-key is missing"
    } else {
        "certificate is missing"
    };
    let remedy = match tls {
        ListenerTls::Off => "give both certificate and private-key, or neither",
        ListenerTls::Optional | ListenerTls::Required | ListenerTls::Implicit => {
            "TLS needs certificate and private-key; without them write tls = \"off\""
        }
    };
    let place = r.places().of(s.path);
    r.problems
        .push(Problem::error(place, s.path, missing.into(), remedy));
}

/// Without any `[[listener]]` there is one on loopback.
fn default_listener(r: &mut Reader<'_>) -> Option<Listener> {
    let address = Value::new(None, vec![Value::new(None, DEFAULT_ADDRESS)]);
    let entry = Map::from_iter([
        ("name".to_owned(), Value::new(None, "default")),
        ("address".to_owned(), address),
    ]);
    let entry = Value::new(None, entry);
    listener(r, Scope::entry(&entry, "listener.", "listener"))
}

fn route(r: &mut Reader<'_>, s: Scope<'_>) -> Option<Route> {
    let relay = r.value(s, "relay");
    let username: Option<String> = r.optional(s, "username");
    let password_file = r.optional(s, "password-file");
    let route = Route {
        recipient_domain: r.optional(s, "recipient-domain"),
        sender_domain: r.optional(s, "sender-domain"),
        tls: r.value(s, "tls")?,
        tls_name: r.optional(s, "tls-name"),
        roots: r.list(s, "roots")?,
        credentials: match (username, password_file) {
            (Some(username), Some(password_file)) => Some(Credentials {
                username,
                password_file,
            }),
            (None, None) => None,
            (username, _) => {
                let missing = if username.is_some() {
                    "password-file is missing"
                } else {
                    "username is missing"
                };
                let place = r.places().of(s.path);
                let remedy = "a login needs both, or neither";
                r.problems
                    .push(Problem::error(place, s.path, missing.into(), remedy));
                None
            }
        },
        relay: relay?,
    };
    Some(route)
}

fn domain(r: &mut Reader<'_>, s: Scope<'_>) -> Option<DomainRule> {
    let name = r.value(s, "name");
    let mx: Vec<MxPattern> = r.list(s, "mx")?;
    Some(DomainRule {
        mta_sts: r.value(s, "mta-sts")?,
        mx: mx.into_iter().map(|pattern| pattern.0).collect(),
        dane: r.value(s, "dane")?,
        tls: r.optional(s, "tls"),
        until: r.optional(s, "until"),
        reason: r.optional(s, "reason"),
        name: name?,
    })
}

const DEFAULT_ADDRESS: &str = "127.0.0.1:2525";
