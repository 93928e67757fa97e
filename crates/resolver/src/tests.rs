//! Against a real DNS server on loopback.

mod refused;
mod trust_ad;
mod useless;

use std::net::{IpAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mail_types::{DnsError, Domain, HostName, MxRecord, Resolver, Security};
use testkit::{RecordType, Zone, ZoneFault};

use crate::{Config, DnsResolver, Dnssec, Kind, Outcome, Servers};

async fn zone() -> Zone {
    Zone::start_on("127.0.0.1:0").await
}

fn config(zone: &Zone) -> Config {
    Config {
        servers: Servers::List(vec![zone.address()]),
        timeout: Duration::from_millis(300),
        retries: 1,
        limit: Duration::from_secs(5),
        ..Config::default()
    }
}

fn resolver(zone: &Zone) -> DnsResolver {
    DnsResolver::new(&config(zone)).unwrap()
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

fn temporary<T: std::fmt::Debug>(result: Result<T, DnsError>) -> String {
    match result {
        Err(DnsError::Temporary(text)) => text,
        other => panic!("a temporary failure was expected: {other:?}"),
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Some name servers never answer for AAAA: it takes longer than a look-up may.
#[tokio::test]
async fn e1_22_a_family_that_is_late_does_not_hide_the_other() {
    let zone = zone().await;
    zone.a("v4.test", "192.0.2.1")
        .a("v6.test", "2001:db8::1")
        .fault("v4.test", RecordType::AAAA, ZoneFault::Drop)
        .fault("v6.test", RecordType::A, ZoneFault::Drop);
    let resolver = DnsResolver::new(&Config {
        timeout: 300 * SECOND,
        limit: 600 * SECOND,
        ..config(&zone)
    })
    .unwrap();
    for (name, address) in [("v4.test", "192.0.2.1"), ("v6.test", "2001:db8::1")] {
        let found = resolver.addresses(&host(name)).await.unwrap();
        assert_eq!(found.value, [address.parse::<IpAddr>().unwrap()]);
        // The other may be there the next time.
        assert_eq!(found.ttl, Duration::ZERO);
    }
}

#[tokio::test]
async fn mx_records_come_as_published() {
    let zone = zone().await;
    zone.ttl(120).mx("d.test", 20, "MX2.d.test");
    zone.ttl(90).mx("d.test", 10, "mx_1.d.test");
    let answer = resolver(&zone).mx(&domain("d.test")).await.unwrap();
    let mx = |preference, exchange: &str| MxRecord::Host {
        preference,
        exchange: host(exchange),
    };
    assert_eq!(answer.value, [mx(20, "mx2.d.test"), mx(10, "mx_1.d.test")]);
    assert_eq!(answer.ttl, 90 * SECOND);
    assert_eq!(answer.security, Security::Unchecked);
    assert_eq!(answer.canonical, None);
}

#[tokio::test]
async fn e1_05_no_mx_is_not_no_domain() {
    let zone = zone().await;
    zone.negative_ttl(Some(45)).a("d.test", "192.0.2.1");
    let resolver = resolver(&zone);
    let security = Security::Unchecked;
    let ttl = 45 * SECOND;
    assert_eq!(
        resolver.mx(&domain("d.test")).await,
        Err(DnsError::NoRecords { ttl, security })
    );
    assert_eq!(
        resolver.mx(&domain("no.such.test")).await,
        Err(DnsError::NoSuchName { ttl, security })
    );
    // RFC 2308 section 5: without a SOA record nothing is remembered.
    zone.negative_ttl(None);
    let ttl = Duration::ZERO;
    for _ in 0..2 {
        assert_eq!(
            resolver.mx(&domain("other.test")).await,
            Err(DnsError::NoSuchName { ttl, security })
        );
    }
    assert_eq!(zone.count("other.test", RecordType::MX), 2);
}

#[tokio::test]
async fn e1_16_i1_10_what_is_no_host_name_is_unusable() {
    let zone = zone().await;
    zone.mx("d.test", 10, "192.0.2.1.")
        .mx("d.test", 20, "-x.d.test.")
        .mx("d.test", 30, "a b.d.test.")
        .mx("d.test", 40, "xn--a.d.test.");
    let answer = resolver(&zone).mx(&domain("d.test")).await.unwrap();
    let seen: Vec<(u16, &str)> = answer
        .value
        .iter()
        .map(|record| match record {
            MxRecord::Unusable {
                preference,
                exchange,
            } => (*preference, exchange.as_str()),
            usable => panic!("{usable:?}"),
        })
        .collect();
    assert_eq!(
        seen,
        [
            (10, "192.0.2.1"),
            (20, "-x.d.test"),
            (30, "a\\032b.d.test"),
            (40, "xn--a.d.test"),
        ]
    );
}

#[tokio::test]
async fn e1_17_e1_18_null_mx_is_seen_alone_and_beside_others() {
    let zone = zone().await;
    zone.mx("null.test", 0, ".")
        .mx("both.test", 0, ".")
        .mx("both.test", 10, "mx1.both.test");
    let resolver = resolver(&zone);
    let alone = resolver.mx(&domain("null.test")).await.unwrap();
    assert_eq!(alone.value, [MxRecord::Null]);
    let both = resolver.mx(&domain("both.test")).await.unwrap();
    assert_eq!(both.value.len(), 2);
    assert!(both.value.contains(&MxRecord::Null));
}

#[tokio::test]
async fn e1_20_names_are_asked_as_they_are() {
    let zone = zone().await;
    zone.mx("host.example.test", 10, "mx.test");
    // Dots or not, nothing is appended: exactly one query, for the name itself.
    let denied = resolver(&zone).mx(&domain("host")).await;
    assert!(matches!(denied, Err(DnsError::NoSuchName { .. })));
    let asked: Vec<String> = zone.queries().into_iter().map(|q| q.name).collect();
    assert_eq!(asked, ["host"]);
}

#[tokio::test]
async fn a2_13_txt_strings_are_joined_without_spaces() {
    let zone = zone().await;
    zone.txt_strings("_mta-sts.d.test", &["v=ST", "Sv1; id=ab", "c"])
        .txt("_mta-sts.d.test", "other");
    let answer = resolver(&zone).txt(&host("_mta-sts.d.test")).await.unwrap();
    assert_eq!(answer.value, [&b"v=STSv1; id=abc"[..], b"other"]);
}

#[tokio::test]
async fn a2_14_cnames_are_followed_within_and_across_zones() {
    let zone = zone().await;
    zone.ttl(50).cname("_mta-sts.d.test", "sts.provider.test");
    zone.ttl(40).cname("sts.provider.test", "_sts.cdn.test");
    zone.ttl(60).txt("_sts.cdn.test", "v=STSv1; id=1;");
    for across in [false, true] {
        zone.forget_queries();
        if across {
            zone.fault("_mta-sts.d.test", RecordType::TXT, ZoneFault::CnameOnly)
                .fault("sts.provider.test", RecordType::TXT, ZoneFault::CnameOnly);
        }
        let resolver = resolver(&zone);
        let answer = resolver.txt(&host("_mta-sts.d.test")).await.unwrap();
        assert_eq!(answer.value, [b"v=STSv1; id=1;"]);
        assert_eq!(answer.ttl, 40 * SECOND, "the smallest of the chain");
        assert_eq!(answer.canonical, Some(host("_sts.cdn.test")));
        assert_eq!(zone.queries().len(), if across { 3 } else { 1 });
        // And once more from memory, also with part of the chain known.
        let again = resolver.txt(&host("sts.provider.test")).await.unwrap();
        assert_eq!(again.value, answer.value);
        let again = resolver.txt(&host("_mta-sts.d.test")).await.unwrap();
        assert_eq!(again.canonical, answer.canonical);
    }
}

#[tokio::test]
async fn b1_10_a_record_that_asks_for_reports_may_be_elsewhere() {
    let zone = zone().await;
    zone.cname("_smtp._tls.d.test", "d.reports.test");
    zone.cname("d.reports.test", "all.reports.test");
    let text = "v=TLSRPTv1; rua=mailto:r@reports.test";
    zone.txt("all.reports.test", text);
    let resolver = resolver(&zone);
    let answer = resolver.txt(&host("_smtp._tls.d.test")).await.unwrap();
    assert_eq!(answer.value, [text.as_bytes()]);
}

#[tokio::test]
async fn a_denial_at_the_end_of_a_chain_is_definite() {
    let zone = zone().await;
    zone.ttl(30)
        .cname("a.test", "gone.test")
        .cname("b.test", "empty.test")
        .a("empty.test", "192.0.2.1");
    let resolver = resolver(&zone);
    let (ttl, security) = (30 * SECOND, Security::Unchecked);
    assert_eq!(
        resolver.mx(&domain("a.test")).await,
        Err(DnsError::NoSuchName { ttl, security })
    );
    assert_eq!(
        resolver.mx(&domain("b.test")).await,
        Err(DnsError::NoRecords { ttl, security })
    );
}

#[tokio::test]
async fn h1_10_h1_18_a_cname_loop_is_temporary() {
    let zone = zone().await;
    zone.cname("_mta-sts.d.test", "b.test")
        .cname("b.test", "_mta-sts.d.test")
        .cname("self.test", "self.test");
    for across in [false, true] {
        if across {
            zone.fault_all(ZoneFault::CnameOnly);
        }
        let resolver = resolver(&zone);
        let text = temporary(resolver.txt(&host("_mta-sts.d.test")).await);
        assert!(text.contains("CNAME loop"), "{text}");
        let text = temporary(resolver.addresses(&host("self.test")).await);
        assert!(text.contains("CNAME loop"), "{text}");
    }
}

#[tokio::test]
async fn h1_11_a_cname_chain_is_bounded() {
    let zone = zone().await;
    for i in 0..50 {
        zone.cname(&format!("c{i}.test"), &format!("c{}.test", i + 1));
    }
    zone.txt("c50.test", "end");
    let resolver = resolver(&zone);
    for start in ["c0.test", "c37.test"] {
        let text = temporary(resolver.txt(&host(start)).await);
        assert!(text.contains("12 CNAMEs"), "{text}");
    }
    assert!(resolver.txt(&host("c38.test")).await.is_ok(), "12 are fine");
}

#[tokio::test]
async fn h1_09_truncation_needs_tcp() {
    let zone = zone().await;
    let name = host("_mta-sts.d.test");
    let long = "x".repeat(60_000);
    zone.txt(name.as_str(), &long);
    let answer = resolver(&zone).txt(&name).await.unwrap();
    assert_eq!(answer.value[0].len(), 60_000);
    let seen: Vec<bool> = zone.queries().iter().map(|q| q.tcp).collect();
    assert_eq!(seen, [false, true]);

    zone.fault(
        name.as_str(),
        RecordType::TXT,
        ZoneFault::TruncateWithoutTcp,
    );
    temporary(resolver(&zone).txt(&name).await);
}

#[tokio::test]
async fn h1_12_failures_of_the_server_are_temporary_and_bounded() {
    let zone = zone().await;
    zone.mx("d.test", 10, "mx.d.test");
    for (fault, word) in [
        (ZoneFault::ServFail, "SERVFAIL"),
        (ZoneFault::Refused, "REFUSED"),
        (ZoneFault::Drop, "no answer"),
    ] {
        zone.fault("d.test", RecordType::MX, fault);
        let start = Instant::now();
        let text = temporary(resolver(&zone).mx(&domain("d.test")).await);
        assert!(text.contains(word), "{fault:?}: {text}");
        assert!(start.elapsed() < 5 * SECOND, "{fault:?}");
    }
    zone.heal_all();
    assert!(resolver(&zone).mx(&domain("d.test")).await.is_ok());
}

#[tokio::test]
async fn h1_02_no_look_up_outlives_the_limit() {
    // A port where nobody answers, and one where nobody listens.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    for server in [silent.local_addr().unwrap(), closed] {
        let resolver = DnsResolver::new(&Config {
            servers: Servers::List(vec![server]),
            timeout: 60 * SECOND,
            limit: Duration::from_millis(400),
            ..Config::default()
        })
        .unwrap();
        let start = Instant::now();
        temporary(resolver.mx(&domain("d.test")).await);
        assert!(start.elapsed() < 5 * SECOND);
    }
}

#[tokio::test]
async fn one_broken_server_of_two_does_no_harm() {
    let (bad, good) = (zone().await, zone().await);
    good.mx("d.test", 10, "mx.d.test");
    let config = Config {
        servers: Servers::List(vec![bad.address(), good.address()]),
        ..config(&bad)
    };
    for fault in [ZoneFault::Refused, ZoneFault::ServFail, ZoneFault::Drop] {
        bad.fault_all(fault);
        let resolver = DnsResolver::new(&config).unwrap();
        let found = resolver.mx(&domain("d.test")).await;
        assert!(found.is_ok(), "{fault:?}: {found:?}");
    }
    // Both broken: each is asked, and not again and again.
    bad.fault_all(ZoneFault::ServFail).forget_queries();
    good.fault_all(ZoneFault::ServFail);
    let resolver = DnsResolver::new(&config).unwrap();
    temporary(resolver.mx(&domain("d.test")).await);
    let asked = bad.count("d.test", RecordType::MX);
    assert!(asked <= 2, "{:?}", bad.queries());
}

#[tokio::test]
async fn e1_10_both_families_alternate_with_ipv6_first() {
    let zone = zone().await;
    zone.ttl(70).a("mx.test", "192.0.2.1");
    zone.ttl(80)
        .a("mx.test", "192.0.2.2")
        .a("mx.test", "192.0.2.3")
        .a("mx.test", "2001:db8::1");
    let answer = resolver(&zone).addresses(&host("mx.test")).await.unwrap();
    let want: Vec<IpAddr> = ["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"]
        .iter()
        .map(|a| a.parse().unwrap())
        .collect();
    assert_eq!(answer.value, want);
    assert_eq!(answer.ttl, 70 * SECOND);
}

#[tokio::test]
async fn one_family_is_enough_and_only_two_denials_are_definite() {
    let zone = zone().await;
    zone.a("v4.test", "192.0.2.1")
        .a("v6.test", "2001:db8::1")
        .txt("none.test", "x");
    let resolver = resolver(&zone);
    zone.fault("v4.test", RecordType::AAAA, ZoneFault::ServFail)
        .fault("none.test", RecordType::A, ZoneFault::ServFail);
    assert!(resolver.addresses(&host("v4.test")).await.is_ok());
    assert!(resolver.addresses(&host("v6.test")).await.is_ok());
    temporary(resolver.addresses(&host("none.test")).await);
    zone.heal_all();
    let denied = resolver.addresses(&host("none.test")).await;
    assert!(matches!(denied, Err(DnsError::NoRecords { .. })));
    let denied = resolver.addresses(&host("gone.test")).await;
    assert!(matches!(denied, Err(DnsError::NoSuchName { .. })));
}

#[tokio::test]
async fn e1_15_an_mx_host_may_be_an_alias() {
    let zone = zone().await;
    zone.cname("mx.test", "real.test")
        .a("real.test", "192.0.2.1");
    let answer = resolver(&zone).addresses(&host("mx.test")).await.unwrap();
    assert_eq!(answer.canonical, Some(host("real.test")));
}

#[tokio::test]
async fn the_cache_serves_for_the_ttl_and_can_be_passed_by() {
    let zone = zone().await;
    let name = host("_mta-sts.d.test");
    let asked = || zone.count(name.as_str(), RecordType::TXT);
    zone.txt(name.as_str(), "old");
    let resolver = resolver(&zone);
    for _ in 0..3 {
        assert_eq!(resolver.txt(&name).await.unwrap().value, [b"old"]);
    }
    assert_eq!(asked(), 1);
    zone.remove(name.as_str(), RecordType::TXT)
        .txt(name.as_str(), "new");
    assert_eq!(resolver.txt(&name).await.unwrap().value, [b"old"]);
    assert_eq!(resolver.txt_uncached(&name).await.unwrap().value, [b"new"]);
    assert_eq!(resolver.txt(&name).await.unwrap().value, [b"new"]);
    assert_eq!(asked(), 2);
    // A failure is not remembered and does not displace what is.
    zone.fault(name.as_str(), RecordType::TXT, ZoneFault::ServFail);
    temporary(resolver.txt_uncached(&name).await);
    assert_eq!(resolver.txt(&name).await.unwrap().value, [b"new"]);
}

#[tokio::test]
async fn without_a_cache_each_look_up_asks() {
    let zone = zone().await;
    zone.mx("d.test", 10, "mx.d.test");
    let resolver = DnsResolver::new(&Config {
        cache_size: 0,
        ..config(&zone)
    })
    .unwrap();
    for _ in 0..3 {
        resolver.mx(&domain("d.test")).await.unwrap();
    }
    assert_eq!(zone.count("d.test", RecordType::MX), 3);
}

#[tokio::test]
async fn tlsa_records_come_as_published() {
    let zone = zone().await;
    zone.tlsa("mx.test", 25, (3, 1, 1), &[1, 2, 3])
        .tlsa("mx.test", 25, (9, 8, 7), &[]);
    let resolver = resolver(&zone);
    let answer = resolver.tlsa(&host("mx.test"), 25).await.unwrap();
    let seen: Vec<_> = answer
        .value
        .iter()
        .map(|r| (r.usage, r.selector, r.matching, r.data.as_slice()))
        .collect();
    assert_eq!(seen, [(3, 1, 1, &[1u8, 2, 3][..]), (9, 8, 7, &[])]);
    assert_eq!(zone.count("_25._tcp.mx.test", RecordType::TLSA), 1);
}

#[tokio::test]
async fn many_look_ups_run_at_once() {
    // Few enough that the zone, on this same thread, answers before anything is asked again.
    const NAMES: usize = 50;
    let zone = zone().await;
    for i in 0..NAMES {
        zone.mx(&format!("d{i}.test"), 10, "mx.test");
    }
    let resolver = Arc::new(
        DnsResolver::new(&Config {
            servers: Servers::List(vec![zone.address()]),
            ..Config::default()
        })
        .unwrap(),
    );
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..1000 {
        let resolver = Arc::clone(&resolver);
        let name = domain(&format!("d{}.test", i % NAMES));
        tasks.spawn(async move { resolver.mx(&name).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    // The same question in flight is asked once.
    assert_eq!(zone.queries().len(), NAMES);
}

#[tokio::test]
async fn special_names_are_never_asked_for() {
    let zone = zone().await;
    let resolver = resolver(&zone);
    for name in ["a.invalid", "abc.onion", "invalid"] {
        let denied = resolver.addresses(&host(name)).await;
        assert!(matches!(denied, Err(DnsError::NoSuchName { .. })), "{name}");
    }
    // H1-19: what leads home is seen as such, so that it can be refused.
    let home = resolver.addresses(&host("mx.localhost")).await.unwrap();
    assert!(home.value.iter().all(IpAddr::is_loopback));
    assert!(resolver.mx(&domain("localhost")).await.is_err());
    assert_eq!(zone.queries(), []);
}

#[tokio::test]
async fn counts_what_it_did() {
    let zone = zone().await;
    zone.mx("d.test", 10, "mx.d.test")
        .a("mx.d.test", "192.0.2.1");
    let resolver = resolver(&zone);
    resolver.mx(&domain("d.test")).await.unwrap();
    resolver.mx(&domain("d.test")).await.unwrap();
    let _ = resolver.mx(&domain("gone.test")).await;
    resolver.addresses(&host("mx.d.test")).await.unwrap();
    let stats = resolver.stats();
    assert_eq!(stats.count(Kind::Mx, Outcome::Answer), 2);
    assert_eq!(stats.count(Kind::Mx, Outcome::NoSuchName), 1);
    assert_eq!(stats.count(Kind::Address, Outcome::Answer), 1);
    assert_eq!((stats.queries, stats.cache_hits), (4, 1));
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let nobody = DnsResolver::new(&Config {
        servers: Servers::List(vec![]),
        ..Config::default()
    });
    let nobody = nobody.err().map(|e| e.to_string());
    let said = "no name server is configured: name one in dns.servers";
    assert_eq!(nobody.as_deref(), Some(said));
}
