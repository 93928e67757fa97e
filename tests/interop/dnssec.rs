//! DNSSEC against zones that Knot signs, from a root of its own: asked directly, through unbound,
//! and through a forwarder that strips signatures.

use std::net::SocketAddr;
use std::time::Duration;

use mail_types::{DnsError, Domain, HostName, Resolver, Security};
use resolver::{Config, DnsResolver, Dnssec, Path, Servers};
use sealpost_tests::{Knot, Relay, RelayConfig, Signing, Stripper, Unbound, eventually};
use tempfile::TempDir;
use testkit::{FakeMx, TestCa};

/// A root, a top, and domains below it: signed in two ways, unsigned, broken, expired.
struct Internet {
    knot: Knot,
    folder: TempDir,
}

impl Internet {
    async fn start() -> Self {
        Self::with_tlsa(&format!("3 1 1 {}", "01".repeat(32))).await
    }

    async fn with_tlsa(tlsa: &str) -> Self {
        // What is broken was signed well, elsewhere, before it broke.
        let leaf = leaf(tlsa);
        let signer = [
            ("bad.test", leaf.as_str(), Signing::Nsec),
            ("old.test", &leaf, Signing::Brief),
        ];
        let signer = Knot::start_signing(SIGNER.parse().unwrap(), &signer).await;
        let bad = signer.dump("bad.test").replace("127.0.0.25", "127.0.0.66");
        let old = signer.dump("old.test");
        let knot = Knot::start_signing(
            ROOT.parse().unwrap(),
            &[
                (".", &root(1, ""), Signing::Nsec),
                ("test", &top(1, ""), Signing::Nsec3),
                ("d.test", &leaf, Signing::Nsec),
                ("n3.test", &leaf, Signing::Nsec3),
                ("plain.test", &leaf, Signing::No),
                ("bad.test", &bad, Signing::No),
                ("old.test", &old, Signing::No),
            ],
        )
        .await;
        let below: String = [&knot, &knot, &signer, &signer]
            .iter()
            .zip(["d.test", "n3.test", "bad.test", "old.test"])
            .map(|(keeper, zone)| keeper.delegation(zone))
            .collect();
        knot.replace("test", &top(100, &below));
        knot.replace(".", &root(100, &knot.delegation("test")));
        let folder = TempDir::with_prefix("anchor-").unwrap();
        std::fs::write(folder.path().join("root.key"), knot.anchor(".")).unwrap();
        Self { knot, folder }
    }

    fn config(&self, server: &str) -> Config {
        Config {
            servers: Servers::List(vec![server.parse().unwrap()]),
            dnssec: Dnssec::Validate,
            trust_anchors: vec![self.folder.path().join("root.key")],
            ..Config::default()
        }
    }

    fn resolver(&self, server: &str) -> DnsResolver {
        DnsResolver::new(&self.config(server)).unwrap()
    }
}

fn root(serial: u32, delegations: &str) -> String {
    format!("{}test NS ns.d.test.\n{delegations}", head(serial))
}

fn top(serial: u32, delegations: &str) -> String {
    let zones = ["d", "n3", "plain", "bad", "old"];
    let cuts: String = zones.map(|zone| format!("{zone} NS ns.d.test.\n")).concat();
    format!("{}ns.d A 127.0.0.53\n{cuts}{delegations}", head(serial))
}

fn head(serial: u32) -> String {
    format!("$TTL 300\n@ SOA ns.d.test. h.d.test. {serial} 3600 600 86400 30\n@ NS ns.d.test.\n")
}

fn leaf(tlsa: &str) -> String {
    head(1)
        + &format!(
            "ns A 127.0.0.53\n@ MX 10 mx1\nmx1 A 127.0.0.25\nmx2 AAAA 2001:db8::2\n\
             _25._tcp.mx1 TLSA {tlsa}\n_25._tcp.mx2 CNAME _25._tcp.mx1\n\
             *.wild MX 10 mx1\nnear CNAME mx1\nnowhere CNAME gone\nempty CNAME txt\ntxt TXT \"t\"\n\
             out CNAME mx1.plain.test.\nacross CNAME mx1.n3.test.\nhome CNAME mx1.d.test.\n\
             gone-across CNAME gone.n3.test.\ntree DNAME n3.test.\n"
        )
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

fn denied<T: std::fmt::Debug>(result: Result<T, DnsError>) -> (bool, Security) {
    match result {
        Err(DnsError::NoSuchName { security, .. }) => (false, security),
        Err(DnsError::NoRecords { security, .. }) => (true, security),
        other => panic!("a denial was expected: {other:?}"),
    }
}

fn bogus<T: std::fmt::Debug>(result: Result<T, DnsError>) -> String {
    match result {
        Err(DnsError::Bogus(text)) => text,
        other => panic!("a bogus answer was expected: {other:?}"),
    }
}

fn temporary<T: std::fmt::Debug>(result: Result<T, DnsError>) -> String {
    match result {
        Err(DnsError::Temporary(text)) => text,
        other => panic!("a temporary failure was expected: {other:?}"),
    }
}

use Security::{Insecure, Secure};

/// What a resolver has to say about this internet, however it comes to know it.
async fn says_what_is_true(resolver: &DnsResolver) {
    for (zone, want) in [
        ("d.test", Secure),
        ("n3.test", Secure),
        ("plain.test", Insecure),
    ] {
        for _ in ["asked", "remembered"] {
            let mx = resolver.mx(&domain(zone)).await;
            assert_eq!(
                mx.map(|a| (a.security, a.origin)),
                Ok((want, want)),
                "{zone}"
            );
            let mx1 = host(&format!("mx1.{zone}"));
            let address = resolver.addresses(&mx1).await;
            assert_eq!(address.map(|a| a.security), Ok(want), "{zone}");
            let tlsa = resolver.tlsa(&mx1, 25).await.unwrap();
            assert_eq!((tlsa.security, tlsa.value.len()), (want, 1), "{zone}");
            let mx2 = host(&format!("mx2.{zone}"));
            let alias = resolver.tlsa(&mx2, 25).await;
            assert_eq!(alias.map(|a| a.security), Ok(want), "{zone}");
            let wild = resolver.mx(&domain(&format!("x.wild.{zone}"))).await;
            assert_eq!(wild.map(|a| a.security), Ok(want), "{zone}");
            // Absence: of the name, of the type, below a wildcard, behind aliases.
            let none = resolver.tlsa(&mx1, 26).await;
            assert_eq!(denied(none), (false, want), "{zone}");
            assert_eq!(denied(resolver.txt(&mx1).await), (true, want), "{zone}");
            let wild = resolver.txt(&host(&format!("x.wild.{zone}"))).await;
            assert_eq!(denied(wild), (true, want), "{zone}");
            let nowhere = resolver.addresses(&host(&format!("nowhere.{zone}"))).await;
            assert_eq!(denied(nowhere), (false, want), "{zone}");
            let empty = resolver.addresses(&host(&format!("empty.{zone}"))).await;
            assert_eq!(denied(empty), (true, want), "{zone}");
        }
    }
    let chain = async |name: &str| {
        let answer = resolver.addresses(&host(name)).await.unwrap();
        (answer.security, answer.origin, answer.canonical.unwrap())
    };
    let mx1 = |zone: &str| host(&format!("mx1.{zone}"));
    assert_eq!(chain("near.d.test").await, (Secure, Secure, mx1("d.test")));
    assert_eq!(
        chain("across.d.test").await,
        (Secure, Secure, mx1("n3.test"))
    );
    assert_eq!(
        chain("out.d.test").await,
        (Insecure, Secure, mx1("plain.test"))
    );
    assert_eq!(
        chain("home.plain.test").await,
        (Insecure, Insecure, mx1("d.test"))
    );
    assert_eq!(
        chain("mx1.tree.d.test").await,
        (Secure, Secure, mx1("n3.test"))
    );
    let gone = resolver.addresses(&host("gone.tree.d.test")).await;
    assert_eq!(denied(gone), (false, Secure));
    let gone = resolver.addresses(&host("gone-across.d.test")).await;
    assert_eq!(denied(gone), (false, Secure));

    let text = bogus(resolver.addresses(&host("mx1.bad.test")).await);
    assert!(text.contains("mx1.bad.test"), "{text}");
}

testkit::net_test! {
    async fn c1_01_c1_06_verdicts_on_signed_zones() {
        let internet = Internet::start().await;
        let resolver = internet.resolver(ROOT);
        says_what_is_true(&resolver).await;
        assert_eq!(*resolver.path().borrow(), Path::Carries);
        let text = bogus(resolver.addresses(&host("mx1.bad.test")).await);
        assert!(text.contains("a signature of bad.test that does not verify"), "{text}");
        // What nobody touched in the same zone is still good.
        let mx = resolver.mx(&domain("bad.test")).await.unwrap();
        assert_eq!(mx.security, Secure);
    }
}

testkit::net_test! {
    async fn c1_01_an_expired_signature_is_bogus() {
        let internet = Internet::start().await;
        let resolver = DnsResolver::new(&Config {
            cache_size: 0,
            ..internet.config(ROOT)
        })
        .unwrap();
        let mx = domain("old.test");
        let expired = eventually(PATIENCE, async || match resolver.mx(&mx).await {
            Ok(answer) => {
                assert_eq!(answer.security, Secure);
                None
            }
            Err(e) => Some(e),
        });
        match expired.await {
            Some(DnsError::Bogus(text)) => {
                assert!(text.contains("a signature of old.test that expired"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
}

testkit::net_test! {
    async fn c1_01_a_missing_ds_record_is_temporary_and_not_bogus() {
        let internet = Internet::start().await;
        // Knot itself answers everything; a resolver in front of it loses one type of question.
        let stripper = Stripper::start(BETWEEN, ROOT.parse().unwrap()).await;
        let resolver = DnsResolver::new(&Config {
            timeout: Duration::from_secs(2),
            retries: 0,
            ..internet.config(BETWEEN)
        })
        .unwrap();
        resolver.look_at_path().await;
        assert_eq!(*resolver.path().borrow(), Path::Carries);
        stripper.drop_type(DS);
        let text = temporary(resolver.mx(&domain("d.test")).await);
        assert!(text.contains("the DS records of"), "{text}");
        assert!(text.contains("no answer from 127.0.0.55"), "{text}");
        stripper.drop_type(0);
        // Nothing of it was remembered.
        assert_eq!(resolver.mx(&domain("d.test")).await.unwrap().security, Secure);
    }
}

testkit::net_test! {
    async fn c4_06_a_path_that_only_swallows_dnssec_is_no_dead_one() {
        let internet = Internet::start().await;
        let stripper = Stripper::start(BETWEEN, ROOT.parse().unwrap()).await;
        let impatient = Config {
            timeout: Duration::from_secs(2),
            retries: 0,
            ..internet.config(BETWEEN)
        };
        // No question for keys is answered, all others are: as without DNSSEC.
        stripper.drop_type(DNSKEY);
        let resolver = DnsResolver::new(&impatient).unwrap();
        let mx = resolver.mx(&domain("d.test")).await.unwrap();
        assert_eq!(mx.security, Security::Unchecked);
        match &*resolver.path().borrow() {
            Path::Unavailable(why) => assert!(why.contains("other questions are answered"), "{why}"),
            other => panic!("{other:?}"),
        };
        // Nobody answers at all: that is not known to be a path without DNSSEC.
        drop(stripper);
        let resolver = DnsResolver::new(&impatient).unwrap();
        let text = temporary(resolver.mx(&domain("d.test")).await);
        assert!(text.contains("127.0.0.55"), "{text}");
        assert!(matches!(*resolver.path().borrow(), Path::Unknown(_)));
        // Delegations that cannot be looked up leave an unsigned name in doubt, and no other.
        let stripper = Stripper::start(BETWEEN, ROOT.parse().unwrap()).await;
        stripper.drop_type(NS);
        let resolver = DnsResolver::new(&impatient).unwrap();
        assert_eq!(resolver.mx(&domain("d.test")).await.unwrap().security, Secure);
        let text = temporary(resolver.mx(&domain("plain.test")).await);
        assert!(text.contains("the NS records of plain.test"), "{text}");
    }
}

testkit::net_test! {
    async fn c1_02_unbound_validates_for_us_on_loopback() {
        let internet = Internet::start().await;
        let unbound: SocketAddr = UNBOUND.parse().unwrap();
        let anchor = internet.knot.anchor(".");
        let _unbound = Unbound::start(unbound, ROOT.parse().unwrap(), &anchor).await;
        let trusting = DnsResolver::new(&Config {
            dnssec: Dnssec::TrustAd,
            ..internet.config(UNBOUND)
        })
        .unwrap();
        says_what_is_true(&trusting).await;
        // A resolver that validates is no obstacle to validating ourselves.
        let ours = internet.resolver(UNBOUND);
        says_what_is_true(&ours).await;
        assert_eq!(*ours.path().borrow(), Path::Carries);
        // Knot is on loopback as well, and does not validate.
        let misplaced = DnsResolver::new(&Config {
            dnssec: Dnssec::TrustAd,
            ..internet.config(ROOT)
        })
        .unwrap();
        assert_eq!(misplaced.mx(&domain("d.test")).await.unwrap().security, Insecure);
        match &*misplaced.path().borrow() {
            Path::Unavailable(why) => assert!(why.contains("without the AD bit"), "{why}"),
            other => panic!("{other:?}"),
        };
    }
}

testkit::net_test! {
    async fn c4_06_a_path_that_strips_from_the_start_is_used_without_dnssec() {
        let internet = Internet::start().await;
        let stripper = Stripper::start(BETWEEN, ROOT.parse().unwrap()).await;
        stripper.strip(true);
        let resolver = internet.resolver(BETWEEN);
        let mx = resolver.mx(&domain("d.test")).await.unwrap();
        assert_eq!(mx.security, Security::Unchecked);
        match &*resolver.path().borrow() {
            Path::Unavailable(why) => assert!(why.contains("127.0.0.55 strips DNSSEC"), "{why}"),
            other => panic!("{other:?}"),
        };
        // It is noticed when that changes, and from then on a loss is a fault.
        stripper.strip(false);
        resolver.look_at_path().await;
        assert_eq!(*resolver.path().borrow(), Path::Carries);
        assert_eq!(resolver.mx(&domain("n3.test")).await.unwrap().security, Secure);
        stripper.strip(true);
        // The answers look bogus; that makes somebody look, though not at once again.
        let wild = domain("x.wild.d.test");
        let noticed = eventually(PATIENCE, async || match resolver.mx(&wild).await {
            Err(DnsError::Temporary(text)) => Some(text),
            other => {
                bogus(other);
                None
            }
        });
        let text = noticed.await.unwrap();
        assert!(text.contains("strips DNSSEC") && text.contains("DNSSEC was there before"), "{text}");
        assert!(matches!(*resolver.path().borrow(), Path::Broken(_)));
        // What was remembered is not used either.
        temporary(resolver.mx(&domain("n3.test")).await);
        stripper.strip(false);
        let again = eventually(PATIENCE, async || resolver.mx(&domain("x.wild.d.test")).await.ok());
        assert_eq!(again.await.unwrap().security, Secure);
    }
}

testkit::net_test! {
    async fn c4_06_a_path_that_once_worked_is_missed_after_a_restart() {
        let internet = Internet::start().await;
        let stripper = Stripper::start(BETWEEN, ROOT.parse().unwrap()).await;
        stripper.strip(true);
        let resolver = DnsResolver::new(&Config {
            dnssec_worked: true,
            ..internet.config(BETWEEN)
        })
        .unwrap();
        resolver.look_at_path().await;
        let text = temporary(resolver.mx(&domain("d.test")).await);
        assert!(text.contains("strips DNSSEC"), "{text}");
        // Names that no trust anchor speaks of have nothing to lose.
        let top = internet.folder.path().join("top.key");
        std::fs::write(&top, internet.knot.anchor("n3.test")).unwrap();
        let narrow = DnsResolver::new(&Config {
            dnssec_worked: true,
            trust_anchors: vec![top],
            ..internet.config(BETWEEN)
        })
        .unwrap();
        narrow.look_at_path().await;
        let mx = narrow.mx(&domain("d.test")).await.unwrap();
        assert_eq!(mx.security, Security::Unchecked);
        temporary(narrow.mx(&domain("n3.test")).await);
    }
}

testkit::net_test! {
    async fn c1_01_c2_01_c2_03_the_relay_delivers_by_what_knot_has_signed() {
        let ca = TestCa::new();
        // Nobody but the TLSA record vouches for this certificate.
        let own = ca.cert(&["elsewhere.test"]).self_signed().issue();
        let hex: String = own.chain[0].iter().map(|b| format!("{b:02x}")).collect();
        let internet = Internet::with_tlsa(&format!("3 0 0 {hex}")).await;
        let mx = FakeMx::start("127.0.0.25:25", "mx1.d.test", Some(&own)).await;
        let forged = FakeMx::start("127.0.0.66:25", "mx1.bad.test", Some(&own)).await;
        let anchor = internet.folder.path().join("root.key");
        let config = RelayConfig::default()
            .set("dns.servers", "[\"127.0.0.53:53\"]")
            .set("dns.trust-anchors", &format!("[{:?}]", anchor.display().to_string()));
        let mut relay = Relay::start(config).await;
        relay.wait_event(|e| e.is("dane.available"), SOON).await;
        for round in ["at first", "after a restart"] {
            for (to, authenticated) in [("b@d.test", "dane-ee"), ("b@n3.test", "dane-ee"), ("b@plain.test", "none")] {
                let id = relay.send("a@org.test", &[to], MESSAGE).await;
                let event = relay.wait_for("delivery.sent", &id, SOON).await;
                assert_eq!(event.at("/tls/authenticated"), authenticated, "{round}: {event}");
            }
            let id = relay.send("a@org.test", &["b@bad.test"], MESSAGE).await;
            let event = relay.wait_for("delivery.deferred", &id, SOON).await;
            assert_eq!(event.text("dsn"), "4.4.3", "{event}");
            assert!(event.text("detail").contains("does not verify"), "{event}");
            relay.terminate(SOON).await;
            assert!(relay.folder().join("data/dnssec-works").exists());
            relay.restart().await;
        }
        assert_eq!(mx.messages().len(), 6);
        assert!(forged.sessions().is_empty());
        let checked = relay.cli(&["check-config"]).await;
        assert_eq!(checked.code, Some(0), "{checked:?}");
        std::fs::write(&anchor, "no key").unwrap();
        let checked = relay.cli(&["check-config"]).await;
        assert_eq!(checked.code, Some(78), "{checked:?}");
        assert!(checked.stdout.contains("dns.trust-anchors: the trust anchor"), "{checked:?}");
    }
}

testkit::net_test! {
    async fn c4_06_keys_that_do_not_verify_are_not_missing_ones() {
        let ca = TestCa::new();
        let own = ca.cert(&["elsewhere.test"]).self_signed().issue();
        let hex: String = own.chain[0].iter().map(|b| format!("{b:02x}")).collect();
        let internet = Internet::with_tlsa(&format!("3 0 0 {hex}")).await;
        let mx = FakeMx::start("127.0.0.25:25", "mx1.d.test", Some(&own)).await;
        let anchor = internet.folder.path().join("root.key");
        let right = std::fs::read_to_string(&anchor).unwrap();
        std::fs::write(&anchor, wrong_key(&right)).unwrap();
        let resolver = internet.resolver(ROOT);
        let text = temporary(resolver.mx(&domain("d.test")).await);
        assert!(text.contains("not those of the trust anchor"), "{text}");
        assert!(matches!(*resolver.path().borrow(), Path::Bogus(_)));

        // On the first start of all nothing goes out as without DANE, and it is ours to mend.
        let config = RelayConfig::default()
            .set("dns.servers", "[\"127.0.0.53:53\"]")
            .set("dns.trust-anchors", &format!("[{:?}]", anchor.display().to_string()));
        let mut relay = Relay::start(config).await;
        let told = relay.wait_event(|e| e.is("dns.dnssec-bogus"), SOON).await;
        assert!(told.text("remedy").contains("dns.trust-anchors"), "{told}");
        let (code, ready) = relay.http_get("/readyz").await;
        assert!(code == 503 && ready.contains("dns.trust-anchors"), "{code} {ready}");
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let waits = relay.wait_for("delivery.deferred", &id, SOON).await;
        assert_eq!(waits.text("reason"), "local", "{waits}");
        assert!(waits.text("detail").contains("not those of the trust anchor"), "{waits}");
        let explained = relay.cli(&["explain", &id]).await.stdout;
        assert!(explained.contains("Our side has to act") && !explained.contains("postmaster@d.test"), "{explained}");
        assert!(mx.sessions().is_empty());
        assert!(!relay.events().iter().any(|e| e.is("dane.unavailable")));

        // With the right key it goes out, and has not to wait for its next attempt.
        relay.terminate(SOON).await;
        std::fs::write(&anchor, right).unwrap();
        relay.restart().await;
        let sent = relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(sent.at("/tls/authenticated"), "dane-ee", "{sent}");
    }
}

/// The same record with one other character in its key.
fn wrong_key(anchor: &str) -> String {
    let end = anchor.trim_end().len();
    let at = end - 20;
    let other = if &anchor[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &anchor[..at], &anchor[at + 1..])
}

testkit::net_test! {
    async fn a_trust_anchor_that_is_none_is_refused_in_words() {
        let internet = Internet::start().await;
        let refused = |text: &str| {
            let file = internet.folder.path().join("wrong.key");
            std::fs::write(&file, text).unwrap();
            let config = Config {
                trust_anchors: vec![file],
                ..internet.config(ROOT)
            };
            DnsResolver::new(&config).err().unwrap().to_string()
        };
        assert!(refused("").contains("no DNSKEY record"));
        let ds = refused(&internet.knot.delegation("test").replace(" DS ", " IN DS "));
        assert!(ds.contains("holds a DS record; DNSKEY records are needed"), "{ds}");
        assert!(refused("-----BEGIN CERTIFICATE-----\n").contains("no list of DNSKEY records"));
        let foreign = internet.knot.anchor("d.test").replace("d.test.", ".");
        std::fs::write(internet.folder.path().join("root.key"), foreign).unwrap();
        let resolver = internet.resolver(ROOT);
        let text = temporary(resolver.mx(&domain("d.test")).await);
        assert!(text.contains("not those of the trust anchor"), "{text}");
        match &*resolver.path().borrow() {
            Path::Bogus(why) => assert!(why.contains("not those of the trust anchor"), "{why}"),
            other => panic!("{other:?}"),
        };
    }
}

const ROOT: &str = "127.0.0.53:53";
const SIGNER: &str = "127.0.0.54:53";
const BETWEEN: &str = "127.0.0.55:53";
const UNBOUND: &str = "127.0.0.56:53";
const NS: u16 = 2;
const DS: u16 = 43;
const DNSKEY: u16 = 48;
const MESSAGE: &[u8] = b"From: a@org.test\r\nSubject: signed\r\n\r\nhello\r\n";
const SOON: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(40);
