//! Name servers that answer, and to no purpose.

use dns_health::Absence;
use tokio::net::UdpSocket as Socket;

use super::refused::{asking, nobody, patient, two_zones};
use super::*;

fn ours<T: std::fmt::Debug>(result: Result<T, DnsError>) -> String {
    match result {
        Err(DnsError::Local(text)) => text,
        other => panic!("a fault of ours was expected: {other:?}"),
    }
}

/// An authoritative server among the resolvers: it refers us to others, which is no answer.
#[tokio::test]
async fn h1_02_a_server_that_does_not_recurse_does_no_harm_beside_one_that_does() {
    let zones = two_zones().await;
    zones[0].fault_all(ZoneFault::Referral);
    for dnssec in [Dnssec::Off, Dnssec::TrustAd] {
        let with = Config {
            cache_size: 0,
            dnssec,
            ..patient(&zones[0])
        };
        let resolver = asking(&zones, with);
        for _ in 0..5 {
            resolver.mx(&domain("d.test")).await.unwrap();
            assert_eq!(nobody(&resolver), None);
        }
        let denied = resolver.mx(&domain("e.test")).await;
        assert!(
            matches!(denied, Err(DnsError::NoSuchName { .. })),
            "{denied:?}"
        );
    }
    assert!(zones[0].queries().len() > 1);
}

#[tokio::test]
async fn h1_02_servers_none_of_which_recurses_are_told_as_ours() {
    let zones = two_zones().await;
    for zone in &zones {
        zone.fault_all(ZoneFault::Referral);
    }
    let resolver = asking(&zones, patient(&zones[0]));
    let said = ours(resolver.mx(&domain("d.test")).await);
    assert!(said.contains("does not recurse"), "{said}");
    let why = "127.0.0.1 does not recurse: it only refers to other servers; 127.0.0.2 does not recurse: it only \
               refers to other servers";
    assert_eq!(nobody(&resolver), Some((Absence::Refers, why.to_owned())));
    let fault = resolver.fault().unwrap();
    assert!(fault.contains("do not recurse"), "{fault}");
    zones[1].heal_all();
    resolver.mx(&domain("d.test")).await.unwrap();
    assert_eq!(nobody(&resolver), None);
}

#[tokio::test]
async fn h1_02_a_server_that_fails_at_everything_is_told_from_one_that_fails_at_a_domain() {
    for (fault, code) in [
        (ZoneFault::ServFail, "SERVFAIL"),
        (ZoneFault::FormErr, "FORMERR"),
    ] {
        let zone = zone().await;
        zone.mx("d.test", 10, "mx.d.test")
            .fault("gone.test", RecordType::MX, fault);
        let resolver = DnsResolver::new(&patient(&zone)).unwrap();
        // Before anything was answered, and after it.
        for _ in 0..2 {
            let said = temporary(resolver.mx(&domain("gone.test")).await);
            assert!(said.contains(&format!("{code} for gone.test")), "{said}");
            assert_eq!((nobody(&resolver), resolver.fault()), (None, None));
            resolver.mx(&domain("d.test")).await.unwrap();
        }
        // It fails at the root, and what it has answered last shows that it is there.
        zone.fault("", RecordType::SOA, fault);
        temporary(resolver.mx(&domain("gone.test")).await);
        assert_eq!(nobody(&resolver), None);

        zone.fault_all(fault);
        temporary(resolver.mx(&domain("x.test")).await);
        let why = format!("127.0.0.1 answers every question with {code}");
        assert_eq!(nobody(&resolver), Some((Absence::Fails, why)));
        let told = resolver.fault().unwrap();
        assert!(told.contains("every question with an error"), "{told}");
        resolver.knock().await;
        assert!(nobody(&resolver).is_some(), "nor does it answer who knocks");
        // That it is over is seen by whoever knocks.
        zone.heal_all();
        resolver.knock().await;
        assert_eq!(nobody(&resolver), None);
    }
}

/// Answers each question with what is made of it.
async fn answering(make: fn(&mut [u8], usize) -> usize) -> (Socket, impl AsyncFn(&Socket)) {
    let socket = Socket::bind("127.0.0.1:0").await.unwrap();
    let serve = async move |socket: &Socket| {
        let mut octets = [0; 512];
        loop {
            let (n, from) = socket.recv_from(&mut octets).await.unwrap();
            let n = make(&mut octets, n);
            socket.send_to(&octets[..n], from).await.unwrap();
        }
    };
    (socket, serve)
}

async fn useless(make: fn(&mut [u8], usize) -> usize, word: &str, why: &str) {
    let (server, serve) = answering(make).await;
    let resolver = DnsResolver::new(&Config {
        servers: Servers::List(vec![server.local_addr().unwrap()]),
        timeout: 300 * SECOND,
        limit: 600 * SECOND,
        ..Config::default()
    })
    .unwrap();
    let name = domain("d.test");
    tokio::select! {
        () = serve(&server) => {}
        found = resolver.mx(&name) => {
            let said = temporary(found);
            assert!(said.contains(word), "{said}");
        }
    }
    assert_eq!(nobody(&resolver), Some((Absence::Unusable, why.to_owned())));
    let told = resolver.fault().unwrap();
    assert!(told.starts_with("No name server gives us"), "{told}");
}

#[tokio::test]
async fn h1_02_answers_that_cannot_be_read_are_not_silence() {
    // The identity is right, and the rest is cut off.
    let broken = |octets: &mut [u8], _| {
        octets[2] |= 0x80;
        octets[5] = 9;
        14
    };
    let why = "127.0.0.1 gives answers that cannot be read";
    useless(broken, "cannot be read", why).await;
}

#[tokio::test]
async fn h1_09_answers_too_long_for_udp_without_tcp_are_not_silence() {
    let truncated = |octets: &mut [u8], n| {
        octets[2] |= 0x82;
        n
    };
    let why = "127.0.0.1 answers over UDP that every answer is too long for that, and gives none over TCP";
    useless(truncated, "too long for UDP", why).await;
}
