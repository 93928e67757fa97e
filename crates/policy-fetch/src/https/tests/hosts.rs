//! Policy hosts of all sorts: names, addresses, old and hostile protocols.

use std::net::Ipv6Addr;

use mta_sts::PolicyError;
use rcgen::{CustomExtension, DnType, SanType};

use super::*;

const SECONDS_20: Duration = Duration::from_secs(20);

fn named(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(4000, 1, 1);
    params
}

fn with(sans: Vec<SanType>) -> CertificateParams {
    let mut params = named(&[]);
    params.subject_alt_names = sans;
    params
}

/// The policy host's name as SRV-ID (RFC 4985), in DER.
fn srv_id(host: &str) -> Vec<u8> {
    let tlv = |tag: u8, value: &[u8]| {
        let len = u8::try_from(value.len()).unwrap();
        [&[tag, len][..], value].concat()
    };
    let oid = tlv(6, &[0x2b, 6, 1, 5, 5, 7, 8, 7]);
    let name = tlv(0xA0, &tlv(0x16, format!("_https.{host}").as_bytes()));
    tlv(0x30, &tlv(0xA0, &[oid, name].concat()))
}

#[tokio::test]
async fn a4_02_i1_01_i1_02_only_dns_ids_count() {
    let host = "mta-sts.d.test";
    let good = || Behaviour::Send(ok(PLAIN, POLICY));
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut common_name = named(&[]);
    common_name
        .distinguished_name
        .push(DnType::CommonName, host);
    let mut srv = named(&[]);
    let oid = [2, 5, 29, 17];
    srv.custom_extensions = vec![CustomExtension::from_oid_content(&oid, srv_id(host))];
    let url = format!("https://{host}/");
    for (what, params) in [
        ("common name", common_name),
        ("IP address", with(vec![SanType::IpAddress(here)])),
        ("URI", with(vec![SanType::URI(url.try_into().unwrap())])),
        (
            "mail",
            with(vec![SanType::Rfc822Name(host.try_into().unwrap())]),
        ),
        ("SRV-ID", srv),
    ] {
        let site = site_with(params, here, &[here], true, good()).await;
        let cause = fetch(&site, SECONDS_20).await.unwrap_err().cause;
        assert_eq!(
            cause.result_type(),
            ResultType::StsWebpkiInvalid,
            "{what}: {cause:?}"
        );
        assert_eq!(cause.key(), "webpki:name", "{what}: {cause:?}");
        assert!(
            site.requests.lock().is_empty(),
            "{what}: asked all the same"
        );
    }
    let mut both = named(&[host]);
    both.distinguished_name
        .push(DnType::CommonName, "elsewhere.test");
    let site = site_with(both, here, &[here], true, good()).await;
    assert!(
        fetch(&site, SECONDS_20).await.is_ok(),
        "the common name is not looked at"
    );
}

#[tokio::test]
async fn a4_03_i1_04_i1_05_i1_06_wildcards_are_whole_labels() {
    let good = || Behaviour::Send(ok(PLAIN, POLICY));
    for names in [
        ["mta-*.d.test"],
        ["*-sts.d.test"],
        ["*.*.test"],
        ["*"],
        ["mta-sts.*.test"],
    ] {
        let site = site(&names, (0, 0), true, good()).await;
        let cause = fetch(&site, SECONDS_20).await.unwrap_err().cause;
        assert_eq!(
            cause.result_type(),
            ResultType::StsWebpkiInvalid,
            "{names:?}: {cause:?}"
        );
    }
}

#[tokio::test]
async fn a4_09_http_headers_say_nothing_about_the_lifetime() {
    for headers in [
        "Cache-Control: no-store\r\n",
        "Cache-Control: max-age=1\r\nExpires: 0\r\nPragma: no-cache\r\n",
        "Expires: Thu, 01 Jan 1970 00:00:00 GMT\r\nAge: 999999999\r\n",
        "Cache-Control: max-age=99999999, immutable\r\nETag: \"x\"\r\n",
    ] {
        let headers = format!("{PLAIN}{headers}");
        let parsed = answer_to(Behaviour::Send(ok(&headers, POLICY)))
            .await
            .unwrap();
        assert_eq!(
            parsed.policy.max_age(),
            Duration::from_secs(86_400),
            "{headers}"
        );
    }
}

#[tokio::test]
async fn a4_23_either_family_alone_a_dead_one_beside_and_a_host_with_http_2() {
    let (four, six) = (
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    );
    for (what, listens, in_dns) in [
        ("IPv4 only", four, &[four][..]),
        ("IPv6 only", six, &[six]),
        ("IPv6 is dead", four, &[six, four]),
        ("IPv4 is dead", six, &[six, four]),
        ("IPv4 is dead and first", six, &[four, six]),
    ] {
        let good = Behaviour::Send(ok(PLAIN, POLICY));
        let site = site_with(named(GOOD), listens, in_dns, true, good).await;
        let got = fetch(&site, Duration::from_secs(10)).await;
        assert!(got.is_ok(), "{what}: {got:?}");
        // All these hosts offer HTTP/2 as well, and would choose it.
        assert!(site.requests.lock()[0].contains(" HTTP/1.1\r\n"), "{what}");
    }
}

/// What a sick address does with a connection.
#[derive(Clone, Copy, Debug)]
enum Sick {
    Resets,
    NeverSpeaks,
    SendsAlert,
    HasAnotherName,
}

/// A sick address that listens on the port of a good one.
async fn sick(address: IpAddr, port: u16, how: Sick) {
    let listener = TcpListener::bind((address, port)).await.unwrap();
    let other = rcgen::generate_simple_self_signed(["elsewhere.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(other.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![other.cert.der().clone()], key)
        .unwrap();
    let behaviour = match how {
        Sick::Resets => {
            tokio::spawn(async move {
                while let Ok((tcp, _)) = listener.accept().await {
                    // Closing with bytes unread resets the connection.
                    let _ = tcp.readable().await;
                }
            });
            return;
        }
        Sick::NeverSpeaks => Behaviour::NoTls,
        Sick::SendsAlert => Behaviour::Raw(b"\x15\x03\x03\x00\x02\x02\x28"),
        Sick::HasAnotherName => Behaviour::Send(ok(PLAIN, POLICY)),
    };
    tokio::spawn(serve(listener, Arc::new(config), behaviour, Arc::default()));
}

#[tokio::test]
async fn a4_22_a4_23_one_sick_address_of_two_keeps_no_policy_from_us() {
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for other in [IpAddr::from([127, 0, 0, 2]), Ipv6Addr::LOCALHOST.into()] {
        for how in [
            Sick::Resets,
            Sick::NeverSpeaks,
            Sick::SendsAlert,
            Sick::HasAnotherName,
        ] {
            let good = Behaviour::Send(ok(PLAIN, POLICY));
            let site = site_with(named(GOOD), here, &[other, here], true, good).await;
            sick(other, site.fetcher.port, how).await;
            let got = fetch(&site, SECONDS_20).await;
            assert!(got.is_ok(), "{other} {how:?}: {got:?}");
            assert_eq!(site.requests.lock().len(), 1, "{other} {how:?}");
        }
    }
}

/// The time that an address keeps its turn is no limit on TCP and TLS.
#[tokio::test]
async fn a4_12_a4_23_a_slow_host_of_two_addresses_has_its_time() {
    let (here, other) = ([127, 0, 0, 1].into(), IpAddr::from([127, 0, 0, 2]));
    let late = Behaviour::Late(Duration::from_secs(1), ok(PLAIN, POLICY));
    let mut site = site_with(named(GOOD), here, &[here, other], true, late).await;
    site.fetcher.pace.patience = Duration::from_millis(50);
    sick(other, site.fetcher.port, Sick::NeverSpeaks).await;
    let got = fetch(&site, Duration::from_mins(2)).await;
    assert!(got.is_ok(), "{got:?}");
}

/// A domain that names many addresses which swallow connections takes no more descriptors than others.
#[tokio::test]
async fn h9_01_many_addresses_are_not_connected_to_at_once() {
    let in_dns: Vec<IpAddr> = (1..=16).map(|n| IpAddr::from([127, 0, 0, n])).collect();
    let anywhere = Ipv4Addr::UNSPECIFIED.into();
    let mut site = site_with(named(GOOD), anywhere, &in_dns, true, Behaviour::NoTls).await;
    site.fetcher.pace = Pace {
        stagger: Duration::from_millis(1),
        patience: Duration::from_mins(1),
    };
    let begun = || site.requests.lock().len();
    let enough = async {
        while begun() < CONNECTIONS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    tokio::select! {
        ended = fetch(&site, Duration::from_mins(2)) => panic!("{ended:?}"),
        () = enough => assert_eq!(begun(), CONNECTIONS),
    }
}

#[tokio::test]
async fn a4_23_if_all_addresses_fail_each_is_told_of() {
    let (here, other) = ([127, 0, 0, 1].into(), IpAddr::from([127, 0, 0, 2]));
    let cut = Behaviour::SendAndCut(Vec::new());
    let site = site_with(named(GOOD), here, &[here, other], true, cut).await;
    sick(other, site.fetcher.port, Sick::HasAnotherName).await;
    let cause = fetch(&site, SECONDS_20).await.unwrap_err().cause;
    assert_eq!(cause.key(), "webpki:unknown_issuer", "{cause:?}");
    let text = cause.to_string();
    assert!(text.contains("127.0.0.1: bad HTTP answer: "), "{text}");
    assert!(text.contains("127.0.0.2: the certificate"), "{text}");
}

/// An answer, though it is none with a policy, is the host's answer: no other address is asked.
#[tokio::test]
async fn a4_23_an_answer_of_one_address_counts_for_all() {
    let (here, other) = ([127, 0, 0, 1].into(), IpAddr::from([127, 0, 0, 2]));
    let gone = Behaviour::Send(b"HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n".to_vec());
    let site = site_with(named(GOOD), here, &[other, here], true, gone).await;
    sick(other, site.fetcher.port, Sick::NeverSpeaks).await;
    let cause = fetch(&site, SECONDS_20).await.unwrap_err().cause;
    assert_eq!(cause.key(), "http_status", "{cause:?}");
}

#[tokio::test]
async fn h2_03_why_a_chain_is_not_trusted_is_told_as_whoever_verifies_it_notes() {
    for why in [
        Untrusted::SelfSigned,
        Untrusted::MissingIntermediate {
            issuer: "CN=CA".into(),
        },
    ] {
        let good = Behaviour::Send(ok(PLAIN, POLICY));
        let mut site = site(GOOD, (0, 0), false, good).await;
        let (tls, noted) = (Arc::clone(&site.fetcher.tls), why.clone());
        site.fetcher.tls = Arc::new(move |note| {
            note(noted.clone());
            tls(note)
        });
        let cause = fetch(&site, SECONDS_20).await.unwrap_err().cause;
        assert_eq!(
            cause.to_string(),
            format!("the certificate of the policy host is not valid: {why}")
        );
        let refused = PkixError::UnknownIssuer(why);
        assert_eq!(cause, FetchError::Certificate(refused));
    }
}

#[tokio::test]
async fn h2_04_how_a_handshake_ended_is_told_in_plain_words() {
    for (bytes, want) in [
        (
            &b""[..],
            "the host closed the connection during the handshake",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "the host sent something that is not TLS",
        ),
        (
            b"\x15\x03\x03\x00\x02\x02\x28",
            "the host sent the alert handshake-failure",
        ),
    ] {
        let cause = cause_of(Behaviour::Raw(bytes)).await;
        assert_eq!(cause, FetchError::Tls(want.into()));
    }
}

#[tokio::test]
async fn h2_04_an_old_host_is_told_as_such() {
    // The alert protocol_version, and a ServerHello of TLS 1.1.
    let hello = b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02\
        0123456789abcdef0123456789abcdef\x00\xc0\x13\x00";
    for bytes in [&b"\x15\x03\x02\x00\x02\x02\x46"[..], hello] {
        let cause = cause_of(Behaviour::Raw(bytes)).await;
        assert_eq!(cause.key(), "tls_version", "{cause:?}");
        assert_eq!(cause.result_type(), ResultType::StsPolicyFetchError);
    }
    let other = cause_of(Behaviour::Raw(b"\x15\x03\x03\x00\x02\x02\x28")).await;
    assert_eq!(other.key(), "tls", "another alert: {other:?}");
}

#[tokio::test]
async fn h2_19_http_2_is_never_spoken() {
    // SETTINGS, a flood of PING and of CONTINUATION, all without a word of HTTP/1.1.
    let settings = b"\0\0\0\x04\0\0\0\0\0".to_vec();
    let ping = b"\0\0\x08\x06\0\0\0\0\0pingpong".repeat(10_000);
    let more = b"\0\0\x04\x09\0\0\0\0\x01aaaa".repeat(10_000);
    for flood in [
        settings.clone(),
        [settings.clone(), ping].concat(),
        [settings, more].concat(),
    ] {
        let cause = cause_of(Behaviour::SendAndStall(flood)).await;
        assert_eq!(cause.key(), "bad_http", "{cause:?}");
    }
}

/// The HTTP client skips answers 1xx and does not tell of them: their number is not bounded, as
/// the requirements ask, but their time and memory are.
#[tokio::test]
async fn a_flood_of_interim_answers_ends_with_the_deadline() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let few = [interim.repeat(3).into_bytes(), ok(PLAIN, POLICY)].concat();
    assert!(
        answer_to(Behaviour::Send(few)).await.is_ok(),
        "a few are ordinary"
    );
    let flood = Behaviour::SendAndStall(interim.repeat(20_000).into_bytes());
    let site = site(GOOD, (0, 0), true, flood).await;
    let failure = fetch(&site, Duration::from_millis(1500)).await.unwrap_err();
    let want = FetchError::Timeout {
        stage: Stage::Headers,
        bytes: 0,
    };
    assert_eq!(failure.cause, want);
}

#[test]
fn a6_22_each_failure_has_a_name_in_a_report() {
    let text = || "x".to_owned();
    let dns = || DnsError::Temporary(text());
    for (cause, want) in [
        (
            FetchError::Certificate(PkixError::UnknownIssuer(Untrusted::SelfSigned)),
            "sts-webpki-invalid",
        ),
        (
            FetchError::Certificate(PkixError::Revoked),
            "sts-webpki-invalid",
        ),
        (
            FetchError::Policy(PolicyError::Line(1)),
            "sts-policy-invalid",
        ),
        (FetchError::Oversize, "sts-policy-invalid"),
        (FetchError::Dns(dns()), "sts-policy-fetch-error"),
        (FetchError::Connect(text()), "sts-policy-fetch-error"),
        (FetchError::Tls(text()), "sts-policy-fetch-error"),
        (FetchError::TlsVersion(text()), "sts-policy-fetch-error"),
        (FetchError::BadHttp(text()), "sts-policy-fetch-error"),
        (FetchError::MediaType(None), "sts-policy-fetch-error"),
        (
            FetchError::ContentEncoding(text()),
            "sts-policy-fetch-error",
        ),
        (
            FetchError::BodyIncomplete { bytes: 1 },
            "sts-policy-fetch-error",
        ),
        (
            FetchError::Timeout {
                stage: Stage::Body,
                bytes: 1,
            },
            "sts-policy-fetch-error",
        ),
        (
            FetchError::Status {
                status: 404,
                location: None,
            },
            "sts-policy-fetch-error",
        ),
    ] {
        assert_eq!(cause.result_type().as_str(), want, "{cause:?}");
    }
}
