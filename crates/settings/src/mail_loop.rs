//! The mail of our own domain must find its way back: a warning for a common mistake.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use mail_types::{Domain, MxRecord, Resolver};

use super::problem::{Place, Problem};
use super::settings::{DomainMatch, Settings};

/// Whether mail for the host name's own domain would be sent to this very machine: its MX is a
/// local address and no route takes it elsewhere. A best effort: whatever DNS does not answer in
/// `patience` is not warned of.
pub async fn mail_loop_warning(
    settings: &Settings,
    resolver: &dyn Resolver,
    is_local: impl Fn(IpAddr) -> bool + Send,
    patience: Duration,
) -> Option<Problem> {
    let looked_up = async {
        for domain in own_domains(&settings.server.hostname) {
            if has_route(settings, &domain) {
                continue;
            }
            if let Some(address) = local_mx(&domain, resolver, &is_local).await {
                return Some((domain, address));
            }
        }
        None
    };
    let (domain, address) = tokio::time::timeout(patience, looked_up).await.ok()??;
    Some(Problem::warning(
        Place::Default,
        "route",
        format!(
            "the mail exchanger of {domain} is this machine ({address}), and no route leads on"
        ),
        &format!(
            "add [[route]] with recipient-domain = \"{domain}\" and the server that keeps its mailboxes"
        ),
    ))
}

/// Whether an address belongs to this machine: only then can a socket be bound to it.
pub fn is_local_address(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// The host name itself, and the domain that it stands in if that is more than a top-level one.
fn own_domains(hostname: &Domain) -> Vec<Domain> {
    let parent = hostname
        .as_str()
        .split_once('.')
        .and_then(|(_, parent)| Domain::parse(parent).ok())
        .filter(Domain::is_fully_qualified);
    std::iter::once(hostname.clone()).chain(parent).collect()
}

fn has_route(settings: &Settings, domain: &Domain) -> bool {
    settings
        .routes
        .iter()
        .any(|route| match &route.recipient_domain {
            None | Some(DomainMatch::Any) => true,
            Some(DomainMatch::Exact(name)) => name == domain,
            Some(DomainMatch::Below(parent)) => domain
                .as_str()
                .strip_suffix(parent.as_str())
                .is_some_and(|rest| rest.ends_with('.')),
        })
}

async fn local_mx(
    domain: &Domain,
    resolver: &dyn Resolver,
    is_local: &(impl Fn(IpAddr) -> bool + Send),
) -> Option<IpAddr> {
    let records = resolver.mx(domain).await.ok()?.value;
    for record in records {
        let MxRecord::Host { exchange, .. } = record else {
            continue;
        };
        let addresses = resolver.addresses(&exchange).await;
        let addresses = addresses.map(|answer| answer.value).unwrap_or_default();
        if let Some(address) = addresses.into_iter().find(|address| is_local(*address)) {
            return Some(address);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{sources, text_file};

    use mail_types::{Answer, BoxFuture, DnsError, HostName, Security, TlsaRecord};

    /// `example.org MX mail.example.org`, and every host has 192.0.2.1.
    struct Zone;

    impl Resolver for Zone {
        fn mx<'a>(
            &'a self,
            domain: &'a Domain,
        ) -> BoxFuture<'a, Result<Answer<Vec<MxRecord>>, DnsError>> {
            Box::pin(async move {
                if domain.as_str() != "example.org" {
                    return Err(DnsError::Temporary("no answer".into()));
                }
                let exchange = HostName::parse("mail.example.org").unwrap();
                Ok(answer(vec![MxRecord::Host {
                    preference: 10,
                    exchange,
                }]))
            })
        }

        fn addresses<'a>(
            &'a self,
            _: &'a HostName,
        ) -> BoxFuture<'a, Result<Answer<Vec<IpAddr>>, DnsError>> {
            Box::pin(async { Ok(answer(vec!["192.0.2.1".parse().unwrap()])) })
        }

        fn txt<'a>(
            &'a self,
            _: &'a HostName,
        ) -> BoxFuture<'a, Result<Answer<Vec<Vec<u8>>>, DnsError>> {
            Box::pin(async { Err(DnsError::Temporary("not asked".into())) })
        }

        fn txt_uncached<'a>(
            &'a self,
            name: &'a HostName,
        ) -> BoxFuture<'a, Result<Answer<Vec<Vec<u8>>>, DnsError>> {
            self.txt(name)
        }

        fn tlsa<'a>(
            &'a self,
            _: &'a HostName,
            _: u16,
        ) -> BoxFuture<'a, Result<Answer<Vec<TlsaRecord>>, DnsError>> {
            Box::pin(async { Err(DnsError::Temporary("not asked".into())) })
        }
    }

    fn answer<T>(value: T) -> Answer<T> {
        Answer {
            value,
            ttl: Duration::from_secs(60),
            security: Security::Unchecked,
            canonical: None,
            origin: Security::Unchecked,
        }
    }

    async fn warning(toml: &str, local: bool) -> Option<Problem> {
        let dir = tempfile::tempdir().unwrap();
        let loaded = crate::load(&sources(&text_file(&dir, toml))).unwrap();
        let patience = Duration::from_secs(5);
        mail_loop_warning(&loaded.settings, &Zone, |_| local, patience).await
    }

    #[tokio::test]
    async fn g5_09_our_own_mx_without_a_route_is_warned_of() {
        let found = warning("", true).await.unwrap();
        assert!(found.message.contains("example.org"), "{found}");
        assert!(warning("", false).await.is_none(), "the MX is elsewhere");
        let routed =
            "[[route]]\nrecipient-domain = \"example.org\"\nrelay = \"[mail.example.org]\"\n";
        assert!(warning(routed, true).await.is_none(), "a route leads on");
        let below =
            "[[route]]\nrecipient-domain = \"*.example.org\"\nrelay = \"[mail.example.org]\"\n";
        assert!(
            warning(below, true).await.is_some(),
            "the route is for names below"
        );
    }

    #[test]
    fn loopback_is_local_and_documentation_space_is_not() {
        assert!(is_local_address("127.0.0.1".parse().unwrap()));
        assert!(!is_local_address("192.0.2.77".parse().unwrap()));
    }
}
