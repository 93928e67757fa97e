//! Name servers that refuse us, and such as refuse a zone.

use dns_health::Absence;

use super::*;
use crate::Path;

/// How nobody serves us, and what is said of it.
pub(super) fn nobody(resolver: &DnsResolver) -> Option<(Absence, String)> {
    let silence = resolver.silence().borrow().clone();
    silence.map(|silence| (silence.how, silence.why))
}

/// Waits longer for a reply than any takes.
pub(super) fn patient(zone: &Zone) -> Config {
    Config {
        timeout: 300 * SECOND,
        limit: 600 * SECOND,
        ..config(zone)
    }
}

/// For silence, which has to be waited out.
fn brief(zone: &Zone) -> Config {
    Config {
        timeout: 3 * SECOND,
        retries: 0,
        ..patient(zone)
    }
}

fn patient_resolver(zone: &Zone) -> DnsResolver {
    DnsResolver::new(&patient(zone)).unwrap()
}

/// Two servers that know the same.
pub(super) async fn two_zones() -> [Zone; 2] {
    let zones = [zone().await, Zone::start_on("127.0.0.2:0").await];
    for zone in &zones {
        zone.mx("d.test", 10, "mx.d.test");
    }
    zones
}

pub(super) fn asking(zones: &[Zone], config: Config) -> DnsResolver {
    let servers = zones.iter().map(Zone::address).collect();
    DnsResolver::new(&Config {
        servers: Servers::List(servers),
        ..config
    })
    .unwrap()
}

/// It answers everything but what DNSSEC begins with, and what every resolver knows.
fn fail_at_the_root(zone: &Zone, fault: ZoneFault) {
    for kind in [RecordType::SOA, RecordType::DNSKEY] {
        zone.fault("", kind, fault);
    }
}

fn path(resolver: &DnsResolver) -> Path {
    resolver.path().borrow().clone()
}

/// Mail goes as without DNSSEC: why.
fn unavailable(resolver: &DnsResolver) -> String {
    match path(resolver) {
        Path::Unavailable(why) => why,
        other => panic!("{other:?}"),
    }
}

fn refuses() -> Option<(Absence, String)> {
    let why = "127.0.0.1 answers every question with REFUSED".to_owned();
    Some((Absence::Refuses, why))
}

#[tokio::test]
async fn h1_02_a_resolver_that_refuses_us_is_told_from_one_that_refuses_a_zone() {
    let zone = zone().await;
    zone.mx("d.test", 10, "mx.d.test")
        .fault("gone.test", RecordType::MX, ZoneFault::Refused);
    let resolver = patient_resolver(&zone);
    let said = temporary(resolver.mx(&domain("gone.test")).await);
    assert!(said.contains("REFUSED for gone.test"), "{said}");
    assert_eq!((nobody(&resolver), resolver.fault()), (None, None));

    zone.fault_all(ZoneFault::Refused);
    temporary(resolver.mx(&domain("d.test")).await);
    assert_eq!(nobody(&resolver), refuses());
    let fault = resolver.fault().unwrap();
    assert!(
        fault.starts_with("The name servers refuse our questions: 127.0.0.1 "),
        "{fault}"
    );
    assert!(
        fault.contains("allow-recursion") && fault.contains("access-control"),
        "{fault}"
    );
    resolver.knock().await;
    assert_eq!(
        nobody(&resolver),
        refuses(),
        "nor does it answer who knocks"
    );

    // A denial is an answer.
    zone.fault_all(ZoneFault::NxDomain);
    let _ = resolver.mx(&domain("e.test")).await;
    assert_eq!(nobody(&resolver), None);
    zone.fault_all(ZoneFault::Refused);
    let _ = resolver.mx(&domain("x.test")).await;
    zone.heal_all();
    resolver.knock().await;
    assert_eq!(nobody(&resolver), None);
}

/// As the last of an outage, or from a server that is about to end: the domain has no part in it.
#[tokio::test]
async fn h1_02_a_refusal_that_does_not_come_again_is_nobodys() {
    const MX_OF_D: &[u8] = b"\x01d\x04test\x00\x00\x0f";
    let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let resolver = DnsResolver::new(&Config {
        servers: Servers::List(vec![server.local_addr().unwrap()]),
        timeout: 300 * SECOND,
        limit: 600 * SECOND,
        ..Config::default()
    })
    .unwrap();
    let serve = async {
        let mut refusals = 0;
        let mut octets = [0; 512];
        loop {
            let (n, from) = server.recv_from(&mut octets).await.unwrap();
            let asks = octets[..n]
                .windows(MX_OF_D.len())
                .any(|part| part.eq_ignore_ascii_case(MX_OF_D));
            let code = if asks && refusals == 0 {
                refusals += 1;
                5
            } else {
                3
            };
            // The question becomes its own reply.
            octets[2] |= 0x80;
            octets[3] = code;
            server.send_to(&octets[..n], from).await.unwrap();
        }
    };
    let name = domain("d.test");
    tokio::select! {
        never = serve => never,
        found = resolver.mx(&name) => {
            assert!(matches!(found, Err(DnsError::NoSuchName { .. })), "{found:?}");
        }
    }
    assert_eq!(nobody(&resolver), None);
}

/// One for the inside of a network.
#[tokio::test]
async fn h1_02_a_resolver_that_refuses_the_root_and_serves_a_zone_does_not_refuse_us() {
    let zone = zone().await;
    zone.mx("in.test", 10, "mx.in.test")
        .fault("", RecordType::SOA, ZoneFault::Refused);
    for name in ["out.test", "x.out.test", "far.test"] {
        zone.fault(name, RecordType::MX, ZoneFault::Refused);
    }
    let resolver = patient_resolver(&zone);
    resolver.mx(&domain("in.test")).await.unwrap();
    // Again and again: it does not change with what is asked.
    for _ in 0..3 {
        for name in ["out.test", "x.out.test", "far.test"] {
            temporary(resolver.mx(&domain(name)).await);
            assert_eq!(nobody(&resolver), None, "{name}");
        }
    }
    // What it has answered last is refused as well now: so is everything.
    zone.fault_all(ZoneFault::Refused);
    temporary(resolver.mx(&domain("out.test")).await);
    assert_eq!(nobody(&resolver), refuses());
    // Only the zone that it serves is answered.
    zone.heal_all()
        .fault("", RecordType::SOA, ZoneFault::Refused);
    resolver.knock().await;
    assert_eq!(nobody(&resolver), None);
}

#[tokio::test]
async fn h1_02_of_two_servers_each_is_judged() {
    let zones = two_zones().await;
    let [one, other] = &zones;
    let with = Config {
        cache_size: 0,
        ..brief(one)
    };
    let resolver = asking(&zones, with);
    one.fault_all(ZoneFault::Refused);
    for _ in 0..5 {
        resolver.mx(&domain("d.test")).await.unwrap();
        assert_eq!(nobody(&resolver), None);
    }
    // What one says of a domain that the other refuses is said.
    other.fault("e.test", RecordType::MX, ZoneFault::ServFail);
    for _ in 0..5 {
        let said = temporary(resolver.mx(&domain("e.test")).await);
        assert!(said.contains("SERVFAIL for e.test"), "{said}");
        assert_eq!(nobody(&resolver), None);
    }
    other.heal_all().fault_all(ZoneFault::Drop);
    temporary(resolver.mx(&domain("d.test")).await);
    let why = "127.0.0.1 answers every question with REFUSED; 127.0.0.2: no answer in time";
    assert_eq!(nobody(&resolver), Some((Absence::Mixed, why.to_owned())));
    other.fault_all(ZoneFault::Refused);
    resolver.knock().await;
    let why = "127.0.0.1 answers every question with REFUSED; 127.0.0.2 answers every question with REFUSED";
    assert_eq!(nobody(&resolver), Some((Absence::Refuses, why.to_owned())));
    other.heal_all();
    resolver.mx(&domain("d.test")).await.unwrap();
    assert_eq!(nobody(&resolver), None);
}

/// It would use up the time of the look-up before anything is known of the others.
#[tokio::test]
async fn h1_02_nobody_waits_for_a_silent_server_while_another_may_answer() {
    let mut zones = Vec::new();
    for address in ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0"] {
        zones.push(Zone::start_on(address).await);
    }
    zones[0].fault_all(ZoneFault::Refused);
    zones[1].fault_all(ZoneFault::Drop);
    let with = Config {
        retries: 0,
        ..patient(&zones[0])
    };
    let resolver = asking(&zones, with);
    let asked = async {
        for i in 0..10 {
            let name = format!("d{i}.test");
            zones[2].mx(&name, 10, "mx.d.test");
            resolver.mx(&domain(&name)).await.unwrap();
        }
    };
    tokio::time::timeout(250 * SECOND, asked).await.unwrap();
}

/// What a server that refuses us may answer all the same is asked of that one alone.
#[tokio::test]
async fn h1_02_a_server_that_is_silent_is_not_waited_for_twice() {
    let zones = two_zones().await;
    let [one, other] = &zones;
    let resolver = asking(&zones, brief(one));
    resolver.mx(&domain("d.test")).await.unwrap();
    one.fault_all(ZoneFault::Refused).forget_queries();
    other.fault_all(ZoneFault::Drop).forget_queries();
    resolver.knock().await;
    let how = nobody(&resolver).map(|(how, _)| how);
    assert_eq!(how, Some(Absence::Mixed));
    let asked = |zone: &Zone, name| zone.queries().iter().any(|q| q.name == name);
    assert!(asked(one, "d.test") && asked(one, "") && asked(other, ""));
    assert!(!asked(other, "d.test"));
}

#[tokio::test]
async fn h1_02_two_kinds_of_outage_in_turn_are_each_told() {
    let zone = zone().await;
    let resolver = DnsResolver::new(&brief(&zone)).unwrap();
    let how = || nobody(&resolver).map(|(how, _)| how);
    for _ in 0..2 {
        zone.fault_all(ZoneFault::Drop);
        temporary(resolver.mx(&domain("d.test")).await);
        assert_eq!(how(), Some(Absence::Silent));
        assert!(
            resolver
                .fault()
                .unwrap()
                .starts_with("No name server has answered us")
        );
        zone.fault_all(ZoneFault::Refused);
        temporary(resolver.mx(&domain("d.test")).await);
        assert_eq!(how(), Some(Absence::Refuses));
    }
}

/// None of them blames the domain, and the servers are not asked by each who may be asked.
#[tokio::test]
async fn h1_02_look_ups_that_fail_together_say_the_same() {
    let zone = zone().await;
    zone.mx("d.test", 10, "mx.d.test");
    let resolver = Arc::new(patient_resolver(&zone));
    resolver.mx(&domain("d.test")).await.unwrap();
    zone.fault_all(ZoneFault::Refused).forget_queries();
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..100 {
        let resolver = Arc::clone(&resolver);
        tasks.spawn(async move {
            temporary(resolver.mx(&domain(&format!("d{i}.test"))).await);
            resolver.fault()
        });
    }
    while let Some(fault) = tasks.join_next().await {
        let fault = fault.unwrap();
        assert!(fault.is_some_and(|why| why.contains("REFUSED")));
    }
    let looks = zone.count("", RecordType::SOA);
    assert!((1..=2).contains(&looks), "{looks}");

    // Nor do they if it is but their domain that is refused.
    zone.heal_all().forget_queries();
    resolver.knock().await;
    for i in 0..100 {
        zone.fault(&format!("d{i}.test"), RecordType::MX, ZoneFault::Refused);
    }
    for i in 0..100 {
        let resolver = Arc::clone(&resolver);
        tasks.spawn(async move {
            temporary(resolver.mx(&domain(&format!("d{i}.test"))).await);
            resolver.fault()
        });
    }
    while let Some(fault) = tasks.join_next().await {
        assert_eq!(fault.unwrap(), None);
    }
}

fn signed(zone: &Zone) -> DnsResolver {
    signed_with(zone, patient(zone))
}

fn signed_with(zone: &Zone, config: Config) -> DnsResolver {
    zone.secure("d.test").mx("d.test", 10, "mx.d.test");
    DnsResolver::new(&Config {
        dnssec: Dnssec::TrustAd,
        ..config
    })
    .unwrap()
}

/// Whoever took the refusal for a path without DNSSEC would let mail go without DANE.
#[tokio::test]
async fn h1_02_c4_06_a_refusal_at_the_start_does_not_switch_dnssec_off() {
    let zone = zone().await;
    let resolver = signed(&zone);
    zone.fault_all(ZoneFault::Refused);
    for _ in 0..2 {
        resolver.look_at_path().await;
        assert!(matches!(path(&resolver), Path::Unknown(_)));
    }
    temporary(resolver.mx(&domain("d.test")).await);
    assert_eq!(nobody(&resolver), refuses());
    // It serves us again, which somebody notices before DNSSEC was looked for.
    zone.heal_all();
    resolver.knock().await;
    assert_eq!(nobody(&resolver), None);
    assert!(resolver.fault().is_some(), "still not known");
    resolver.look_at_path().await;
    assert_eq!(path(&resolver), Path::Carries);
    let found = resolver.mx(&domain("d.test")).await.unwrap();
    assert_eq!(found.security, Security::Secure);
}

/// No look-up is made on what was seen of the path before an outage.
#[tokio::test]
async fn h1_02_c4_06_a_path_without_dnssec_is_looked_at_anew_after_an_outage() {
    for outage in [ZoneFault::Refused, ZoneFault::Drop] {
        let zone = zone().await;
        let resolver = signed_with(&zone, brief(&zone));
        zone.fault("", RecordType::DNSKEY, ZoneFault::Refused);
        resolver.look_at_path().await;
        unavailable(&resolver);
        assert_eq!((nobody(&resolver), resolver.fault()), (None, None));
        zone.fault_all(outage);
        temporary(resolver.mx(&domain("x.test")).await);
        assert!(nobody(&resolver).is_some());
        zone.heal_all();
        resolver.knock().await;
        let found = resolver.mx(&domain("d.test")).await.unwrap();
        assert_eq!(found.security, Security::Secure);
    }
}

/// What it fails at tells nothing until somebody wants a name that it resolves; the first mail after a start does not wait
/// for the look after that.
#[tokio::test]
async fn h1_02_c4_06_a_name_wanted_during_or_after_a_look_is_looked_for() {
    for fault in [ZoneFault::Refused, ZoneFault::ServFail] {
        let zone = zone().await;
        fail_at_the_root(&zone, fault);
        let before = signed(&zone);
        before.look_at_path().await;
        assert!(matches!(path(&before), Path::Unknown(_)));
        let questions = zone.queries().len();
        assert!(questions > 1);
        before.mx(&domain("d.test")).await.unwrap();
        unavailable(&before);

        for seen in 0..=questions {
            zone.forget_queries();
            let resolver = signed(&zone);
            let look = async { resolver.look_at_path().await };
            let found = async {
                while zone.queries().len() < seen {
                    tokio::task::yield_now().await;
                }
                resolver.mx(&domain("d.test")).await
            };
            let ((), found) = tokio::join!(look, found);
            assert!(found.is_ok(), "{fault:?} {seen}: {found:?}");
            unavailable(&resolver);
            assert_eq!((nobody(&resolver), resolver.fault()), (None, None));
        }
    }
}

/// Its access list is mended: no absence ends by that, so that it has to be looked at from time to time. Look-ups do not
/// wait for that: beside a silent server it takes long.
#[tokio::test]
async fn h1_02_c4_06_a_resolver_that_refuses_us_the_root_is_looked_at_again_soon() {
    let zone = zone().await;
    let resolver = signed(&zone);
    fail_at_the_root(&zone, ZoneFault::Refused);
    // The name that is wanted shows that it does not refuse us.
    resolver.mx(&domain("d.test")).await.unwrap();
    let why = unavailable(&resolver);
    assert!(why.contains("the root is refused as well"), "{why}");
    assert_eq!((nobody(&resolver), resolver.fault()), (None, None));
    assert!(resolver.path_may_pass());
    let asked = zone.count("", RecordType::DNSKEY);
    tokio::time::sleep(3 * SECOND).await;
    resolver.mx(&domain("d.test")).await.unwrap();
    assert_eq!(zone.count("", RecordType::DNSKEY), asked);
    zone.heal_all();
    resolver.look_at_path().await;
    assert_eq!(path(&resolver), Path::Carries);
    assert!(!resolver.path_may_pass());
    let found = resolver.mx(&domain("d.test")).await.unwrap();
    assert_eq!(found.security, Security::Secure);
}

/// A resolver that has just started fails at everything for a moment; that says nothing about DNSSEC.
#[tokio::test]
async fn h1_02_c4_06_a_resolver_that_resolves_nothing_yet_does_not_switch_dnssec_off() {
    for before in [ZoneFault::Refused, ZoneFault::Drop, ZoneFault::ServFail] {
        let zone = zone().await;
        let resolver = signed_with(&zone, brief(&zone));
        zone.fault_all(before);
        resolver.look_at_path().await;
        zone.fault_all(ZoneFault::ServFail);
        resolver.knock().await;
        let how = nobody(&resolver).map(|(how, _)| how);
        assert_eq!(how, Some(Absence::Fails));
        resolver.look_at_path().await;
        assert!(matches!(path(&resolver), Path::Unknown(_)));
        // Mail for this waits.
        temporary(resolver.mx(&domain("d.test")).await);
        zone.heal_all();
        resolver.look_at_path().await;
        assert_eq!(path(&resolver), Path::Carries);
        let found = resolver.mx(&domain("d.test")).await.unwrap();
        assert_eq!(found.security, Security::Secure);
    }
}

/// Others it answers: so it is the keys that it does not want to give, by whichever error.
#[tokio::test]
async fn h1_02_c4_06_a_resolver_that_fails_at_the_keys_alone_is_used() {
    for fault in [ZoneFault::Refused, ZoneFault::Drop, ZoneFault::ServFail] {
        let zone = zone().await;
        let resolver = signed_with(&zone, brief(&zone));
        zone.fault("", RecordType::DNSKEY, fault);
        resolver.look_at_path().await;
        unavailable(&resolver);
        resolver.mx(&domain("d.test")).await.unwrap();
        // It fails at the root as well, and shows by what is wanted that it resolves.
        zone.fault("", RecordType::SOA, ZoneFault::ServFail);
        let inside = signed_with(&zone, brief(&zone));
        let _ = inside.mx(&domain("d.test")).await;
        inside.look_at_path().await;
        unavailable(&inside);
    }
}

/// Silence counts only after further tries: packets that are lost do not switch DANE off.
#[tokio::test]
async fn h1_02_c4_06_keys_that_are_lost_on_the_way_are_asked_for_again() {
    let zone = zone().await;
    let with = Config {
        retries: 1,
        ..brief(&zone)
    };
    let resolver = signed_with(&zone, with);
    zone.fault("", RecordType::DNSKEY, ZoneFault::Drop);
    let mend = async {
        // Asked between two tries, to learn whether anybody answers.
        zone.wait_for_query("", RecordType::SOA, 1, 600 * SECOND)
            .await;
        zone.heal_all();
    };
    tokio::join!(resolver.look_at_path(), mend);
    assert_eq!(path(&resolver), Path::Carries);
}

/// Each look takes as long as silence is waited for: nobody makes another whom the last one lets pass.
#[tokio::test]
async fn c4_06_who_waited_for_a_look_that_lets_it_pass_makes_no_other() {
    let zone = zone().await;
    zone.fault("", RecordType::DNSKEY, ZoneFault::Drop);
    let alone = signed_with(&zone, brief(&zone));
    alone.look_at_path().await;
    let asked = zone.count("", RecordType::DNSKEY);
    let resolver = signed_with(&zone, brief(&zone));
    let wanted = domain("d.test");
    let (looked, found) = (resolver.look_at_path(), resolver.mx(&wanted));
    let ((), found) = tokio::join!(looked, found);
    found.unwrap();
    assert_eq!(zone.count("", RecordType::DNSKEY), 2 * asked);
}

/// One that validates with a wrong clock hides the keys from whoever lets it check them.
#[tokio::test]
async fn c4_06_keys_behind_servfail_are_asked_for_without_checking() {
    let zone = zone().await;
    zone.fault("", RecordType::DNSKEY, ZoneFault::ServFail);
    let resolver = DnsResolver::new(&Config {
        dnssec: Dnssec::Validate,
        ..patient(&zone)
    })
    .unwrap();
    resolver.look_at_path().await;
    let asked = zone.queries();
    let mut keys = asked.iter().filter(|q| q.kind == RecordType::DNSKEY);
    assert!(
        keys.any(|q| q.checking_disabled && q.dnssec_ok),
        "{asked:?}"
    );
}

/// What is asked for at each return is asked for by every relay that the servers fail.
#[tokio::test]
async fn h1_02_servers_that_come_and_go_are_not_asked_for_the_keys_at_each_turn() {
    let zone = zone().await;
    let resolver = signed(&zone);
    resolver.look_at_path().await;
    let began = Instant::now();
    for _ in 0..2 {
        zone.fault_all(ZoneFault::Refused);
        resolver.knock().await;
        zone.heal_all();
        resolver.knock().await;
        resolver.look_at_path_rested().await;
    }
    assert!(began.elapsed() >= 3 * SECOND, "{:?}", began.elapsed());
    assert_eq!(path(&resolver), Path::Carries);
}
