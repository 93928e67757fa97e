//! `dns.dnssec = "trust-ad"`: the verdicts of a resolver on loopback, through CNAMEs and the cache.

use super::*;
use crate::Path;

fn trusting(zone: &Zone) -> DnsResolver {
    DnsResolver::new(&Config {
        dnssec: Dnssec::TrustAd,
        ..config(zone)
    })
    .unwrap()
}

#[test]
fn c1_02_ad_is_believed_from_loopback_only() {
    let with = |server: &str| {
        let made = DnsResolver::new(&Config {
            dnssec: Dnssec::TrustAd,
            servers: Servers::List(vec![
                "127.0.0.1:53".parse().unwrap(),
                server.parse().unwrap(),
            ]),
            ..Config::default()
        });
        made.err().map(|e| e.to_string())
    };
    let refused = with("192.0.2.1:53").unwrap();
    assert!(
        refused.contains("192.0.2.1 is not on loopback"),
        "{refused}"
    );
    assert!(with("[2001:db8::1]:53").is_some());
    assert_eq!(with("[::1]:53"), None);
    assert_eq!(with("127.0.0.53:53"), None);
}

#[tokio::test]
async fn c1_02_the_ad_bit_makes_secure_only_where_it_is_trusted() {
    let zone = zone().await;
    zone.secure("d.test")
        .mx("d.test", 10, "mx.d.test")
        .mx("plain.test", 10, "mx.d.test");
    let trusting = trusting(&zone);
    for _ in ["asked", "remembered"] {
        let signed = trusting.mx(&domain("d.test")).await.unwrap();
        assert_eq!(signed.security, Security::Secure);
        assert_eq!(signed.origin, Security::Secure);
        let unsigned = trusting.mx(&domain("plain.test")).await.unwrap();
        assert_eq!(unsigned.security, Security::Insecure);
    }
    assert_eq!(zone.count("d.test", RecordType::MX), 1);
    assert!(zone.queries().iter().all(|q| q.dnssec_ok));

    zone.forget_queries();
    let off = resolver(&zone).mx(&domain("d.test")).await.unwrap();
    assert_eq!(off.security, Security::Unchecked);
    assert!(zone.queries().iter().all(|q| !q.dnssec_ok));
}

#[tokio::test]
async fn c1_06_one_insecure_cname_makes_the_chain_insecure() {
    let zone = zone().await;
    zone.secure("a.test")
        .secure("c.test")
        .cname("x.a.test", "x.b.test")
        .cname("x.b.test", "x.c.test")
        .cname("y.a.test", "x.c.test")
        .a("x.c.test", "192.0.2.1");
    // In one answer, and link by link.
    for across in [false, true] {
        if across {
            zone.fault_all(ZoneFault::CnameOnly);
        }
        let resolver = trusting(&zone);
        let mixed = resolver.addresses(&host("x.a.test")).await.unwrap();
        assert_eq!(mixed.security, Security::Insecure);
        assert_eq!(mixed.canonical, Some(host("x.c.test")));
        // RFC 7672 section 2.2.2: the alias itself stands in a signed zone.
        assert_eq!(mixed.origin, Security::Secure, "across: {across}");
        let secure = resolver.addresses(&host("y.a.test")).await.unwrap();
        assert_eq!(secure.security, Security::Secure);
        assert_eq!(secure.canonical, Some(host("x.c.test")));
        let unsigned = resolver.addresses(&host("x.b.test")).await.unwrap();
        assert_eq!(unsigned.security, Security::Insecure);
        assert_eq!(unsigned.origin, Security::Insecure);
    }
}

#[tokio::test]
async fn a_failure_to_learn_about_the_alias_is_a_failure() {
    let zone = zone().await;
    zone.secure("a.test")
        .cname("x.a.test", "x.b.test")
        .a("x.b.test", "192.0.2.1")
        .fault("x.a.test", RecordType::CNAME, ZoneFault::ServFail);
    let text = temporary(trusting(&zone).addresses(&host("x.a.test")).await);
    assert!(text.contains("SERVFAIL for x.a.test"), "{text}");
}

#[tokio::test]
async fn denials_carry_their_verdict() {
    let zone = zone().await;
    zone.secure("d.test")
        .a("mx.d.test", "192.0.2.1")
        .a("mx.plain.test", "192.0.2.1")
        .cname("out.d.test", "mx.plain.test");
    let resolver = trusting(&zone);
    for _ in ["asked", "remembered"] {
        for (name, want) in [
            ("mx.d.test", Security::Secure),
            ("mx.plain.test", Security::Insecure),
        ] {
            match resolver.tlsa(&host(name), 25).await {
                Err(DnsError::NoSuchName { security, .. }) => assert_eq!(security, want, "{name}"),
                other => panic!("{other:?}"),
            }
            match resolver.txt(&host(name)).await {
                Err(DnsError::NoRecords { security, .. }) => assert_eq!(security, want, "{name}"),
                other => panic!("{other:?}"),
            }
        }
        // Secure up to the alias, insecure at its end.
        match resolver.txt(&host("out.d.test")).await {
            Err(DnsError::NoRecords { security, .. }) => assert_eq!(security, Security::Insecure),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(zone.count("_25._tcp.mx.d.test", RecordType::TLSA), 1);
}

#[tokio::test]
async fn c1_01_bogus_is_told_from_other_failures() {
    let zone = zone().await;
    zone.bogus("bad.test").mx("bad.test", 10, "mx.bad.test");
    zone.mx("down.test", 10, "mx.down.test").fault(
        "down.test",
        RecordType::MX,
        ZoneFault::ServFail,
    );
    let resolver = trusting(&zone);
    match resolver.mx(&domain("bad.test")).await {
        Err(DnsError::Bogus(text)) => assert!(text.contains("bad.test"), "{text}"),
        other => panic!("{other:?}"),
    }
    // A denial can be bogus, too.
    let denied = resolver.txt(&host("none.bad.test")).await;
    assert!(matches!(denied, Err(DnsError::Bogus(_))), "{denied:?}");
    temporary(resolver.mx(&domain("down.test")).await);
}

#[tokio::test]
async fn the_verdict_of_addresses_is_that_of_the_family_that_says_more() {
    let zone = zone().await;
    zone.secure("d.test")
        .a("mx.d.test", "192.0.2.1")
        .cname("both.d.test", "mx.d.test")
        .a("mx.d.test", "2001:db8::1");
    let resolver = trusting(&zone);
    zone.fault("mx.d.test", RecordType::AAAA, ZoneFault::ServFail);
    let one = resolver.addresses(&host("mx.d.test")).await.unwrap();
    assert_eq!(one.security, Security::Secure);
    zone.heal_all();
    let two = resolver.addresses(&host("both.d.test")).await.unwrap();
    assert_eq!((two.security, two.value.len()), (Security::Secure, 2));
    assert_eq!(two.canonical, Some(host("mx.d.test")));
}

#[tokio::test]
async fn an_alias_at_the_tlsa_name_is_followed() {
    let zone = zone().await;
    zone.secure("d.test")
        .secure("provider.test")
        .cname("_25._tcp.mx.d.test", "_dane.provider.test")
        .cname("_25._tcp.mx2.d.test", "_dane.plain.test")
        .tlsa("x.provider.test", 25, (3, 1, 1), &[9; 32])
        .cname("_dane.provider.test", "_25._tcp.x.provider.test")
        .cname("_dane.plain.test", "_25._tcp.x.provider.test");
    let resolver = trusting(&zone);
    let secure = resolver.tlsa(&host("mx.d.test"), 25).await.unwrap();
    assert_eq!(secure.security, Security::Secure);
    assert_eq!(secure.value[0].data, [9; 32]);
    let insecure = resolver.tlsa(&host("mx2.d.test"), 25).await.unwrap();
    assert_eq!(insecure.security, Security::Insecure);
}

/// What nobody vouched for is not taken for unsigned afterwards: no TLSA record would be asked for.
#[tokio::test]
async fn c1_06_c4_06_what_was_remembered_without_dnssec_is_asked_for_again_with_it() {
    let zone = zone().await;
    zone.insecure("d.test")
        .mx("d.test", 10, "mx.d.test")
        .a("mx.d.test", "192.0.2.1");
    let resolver = trusting(&zone);
    resolver.look_at_path().await;
    let path = resolver.path();
    assert!(matches!(&*path.borrow(), Path::Unavailable(_)), "{path:?}");
    for _ in ["asked", "remembered"] {
        let unsigned = resolver.mx(&domain("d.test")).await.unwrap();
        assert_eq!(unsigned.security, Security::Insecure);
        let unsigned = resolver.addresses(&host("mx.d.test")).await.unwrap();
        assert_eq!(unsigned.security, Security::Insecure);
    }
    assert_eq!(zone.count("d.test", RecordType::MX), 1);

    zone.secure("d.test");
    resolver.look_at_path().await;
    assert_eq!(*path.borrow(), Path::Carries);
    for _ in ["asked", "remembered"] {
        let signed = resolver.mx(&domain("d.test")).await.unwrap();
        assert_eq!(signed.security, Security::Secure);
        let signed = resolver.addresses(&host("mx.d.test")).await.unwrap();
        assert_eq!(signed.security, Security::Secure);
    }
    assert_eq!(zone.count("d.test", RecordType::MX), 2);
}

/// A resolver that worked before the start, or a moment ago: nobody has noticed yet that it does not validate any more.
#[tokio::test]
async fn c1_06_c4_06_the_first_answer_without_ad_shows_that_the_resolver_has_ceased_to_validate() {
    for has_just_worked in [false, true] {
        let zone = zone().await;
        zone.insecure("d.test")
            .mx("d.test", 10, "mx.d.test")
            .mx("plain.test", 10, "mx.d.test");
        let resolver = DnsResolver::new(&Config {
            dnssec: Dnssec::TrustAd,
            dnssec_worked: true,
            ..config(&zone)
        })
        .unwrap();
        let path = resolver.path();
        if has_just_worked {
            zone.secure("d.test");
            resolver.look_at_path().await;
            let signed = resolver.mx(&domain("d.test")).await.unwrap();
            assert_eq!(signed.security, Security::Secure);
            zone.insecure("d.test");
        }
        temporary(resolver.mx(&domain("plain.test")).await);
        assert!(matches!(&*path.borrow(), Path::Broken(_)), "{path:?}");

        zone.secure("d.test");
        resolver.look_at_path().await;
        assert_eq!(*path.borrow(), Path::Carries);
        let asked = zone.count("plain.test", RecordType::MX);
        for _ in ["asked", "remembered"] {
            let signed = resolver.mx(&domain("d.test")).await.unwrap();
            assert_eq!(signed.security, Security::Secure);
            let unsigned = resolver.mx(&domain("plain.test")).await.unwrap();
            assert_eq!(unsigned.security, Security::Insecure);
        }
        assert_eq!(zone.count("plain.test", RecordType::MX), asked + 1);
        // As long as it carries, what is remembered is used.
        resolver.look_at_path().await;
        resolver.mx(&domain("plain.test")).await.unwrap();
        assert_eq!(zone.count("plain.test", RecordType::MX), asked + 1);
    }
}

/// The resolver may have ceased to validate: an error instead of the keys tells neither that nor the contrary.
#[tokio::test]
async fn c1_06_c4_06_what_comes_without_ad_waits_while_the_keys_cannot_be_had() {
    for fault in [ZoneFault::ServFail, ZoneFault::Refused, ZoneFault::Drop] {
        let zone = zone().await;
        zone.secure("d.test")
            .mx("d.test", 10, "mx.d.test")
            .mx("plain.test", 10, "mx.d.test");
        let resolver = DnsResolver::new(&Config {
            dnssec: Dnssec::TrustAd,
            retries: 0,
            timeout: SECOND,
            limit: 600 * SECOND,
            ..config(&zone)
        })
        .unwrap();
        resolver.look_at_path().await;
        zone.fault("", RecordType::DNSKEY, fault);
        match resolver.mx(&domain("plain.test")).await {
            Err(DnsError::Local(text)) => assert!(text.contains("without the AD bit"), "{text}"),
            other => panic!("{fault:?}: {other:?}"),
        }
        assert_eq!(*resolver.path().borrow(), Path::Carries);
        let signed = resolver.mx(&domain("d.test")).await.unwrap();
        assert_eq!(signed.security, Security::Secure);
        zone.heal_all();
        let unsigned = resolver.mx(&domain("plain.test")).await.unwrap();
        assert_eq!(unsigned.security, Security::Insecure);
    }
}
