//! Knot DNS answers the resolver.

use std::time::Duration;

use mail_types::{DnsError, Domain, MxRecord, Resolver};
use resolver::{Config, DnsResolver, Servers};
use sealpost_tests::Knot;

const ZONE: &str = "\
$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 30
@ NS ns
ns A 127.0.0.53
@ MX 10 mx1
@ MX 20 mx2.d.test.
mx1 A 127.0.0.25
mx1 AAAA 2001:db8::25
_mta-sts CNAME sts
sts 60 TXT \"v=STSv1;\" \" id=1;\"
";

testkit::net_test! {
    async fn knot_serves_mx_and_txt() {
        let address = "127.0.0.53:53".parse().unwrap();
        let knot = Knot::start(address, &[("d.test", ZONE)]).await;
        let resolver = DnsResolver::new(&Config {
            servers: Servers::List(vec![address]),
            ..Config::default()
        })
        .unwrap();
        let domain = Domain::parse("d.test").unwrap();
        let mx = resolver.mx(&domain).await.unwrap();
        assert_eq!(mx.value.len(), 2);
        assert!(mx.value.iter().all(|r| matches!(r, MxRecord::Host { .. })));
        assert_eq!(mx.ttl, Duration::from_secs(300));
        let host = Domain::parse("mx1.d.test").unwrap().to_host();
        assert_eq!(resolver.addresses(&host).await.unwrap().value.len(), 2);
        let record = domain.prefixed("_mta-sts").unwrap();
        let txt = resolver.txt(&record).await.unwrap();
        assert_eq!(txt.value, [b"v=STSv1; id=1;"]);
        assert_eq!(txt.ttl, Duration::from_secs(60));
        let ttl = Duration::from_secs(30);
        let none = resolver.mx(&Domain::parse("mx1.d.test").unwrap()).await;
        assert!(matches!(none, Err(DnsError::NoRecords { ttl: t, .. }) if t == ttl));
        let gone = resolver.mx(&Domain::parse("gone.d.test").unwrap()).await;
        assert!(matches!(gone, Err(DnsError::NoSuchName { ttl: t, .. }) if t == ttl));
        // Outside of its zones it refuses: no answer, not a definite one.
        let other = resolver.mx(&Domain::parse("e.test").unwrap()).await;
        assert!(matches!(other, Err(DnsError::Temporary(_))), "{other:?}");

        knot.replace("d.test", &ZONE.replace("hostmaster 1", "hostmaster 2").replace("id=1", "id=2"));
        let txt = resolver.txt_uncached(&record).await.unwrap();
        assert_eq!(txt.value, [b"v=STSv1; id=2;"]);
    }
}
