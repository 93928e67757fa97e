//! The real fetcher against a TLS server of our own on a free port.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use mail_types::{Answer, DnsError, HostName, MxRecord, Security, TlsaRecord};
use mta_sts::PolicyError;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::Untrusted;
use crate::fetch::{PkixError, ResultType};

mod hosts;

const POLICY: &str = "version: STSv1\nmode: enforce\nmx: mx.d.test\nmax_age: 86400\n";

/// How the host behaves behind the handshake.
#[derive(Clone)]
enum Behaviour {
    /// Sends this and closes with close_notify.
    Send(Vec<u8>),
    /// Sends this and cuts the connection.
    SendAndCut(Vec<u8>),
    /// Sends this and then nothing.
    SendAndStall(Vec<u8>),
    /// Sends this and then an octet every 20 ms, without end.
    Drip(Vec<u8>),
    /// Accepts TCP and never speaks TLS; each connection is one of the requests.
    NoTls,
    /// Accepts TCP, begins TLS after that time, and sends this.
    Late(Duration, Vec<u8>),
    /// Answers the ClientHello with this and closes.
    Raw(&'static [u8]),
}

struct Site {
    fetcher: HttpsFetcher,
    requests: Arc<Mutex<Vec<String>>>,
}

/// A policy host whose certificate has these names and dates.
async fn site(names: &[&str], days: (i64, i64), trusted: bool, behaviour: Behaviour) -> Site {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(4000, 1, 1);
    if days.0 > 0 {
        params.not_before = rcgen::date_time_ymd(3999, 1, 1);
    }
    if days.1 < 0 {
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    site_with(params, here, &[here], trusted, behaviour).await
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A policy host with this certificate, that listens on one address and has others in DNS.
async fn site_with(
    params: CertificateParams,
    listens: IpAddr,
    in_dns: &[IpAddr],
    trusted: bool,
    behaviour: Behaviour,
) -> Site {
    let ca = authority("CA");
    let key = KeyPair::generate().unwrap();
    let cert = params.signed_by(&key, &ca).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    // As most hosts do: the client is the one to choose.
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = rustls::RootCertStore::empty();
    if trusted {
        roots.add(ca.der().clone()).unwrap();
    }
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind((listens, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    tokio::spawn(serve(listener, Arc::new(server), behaviour, seen));
    let loopback = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    let dns = Arc::new(Dns(in_dns.to_vec()));
    Site {
        fetcher: HttpsFetcher::with_port(
            dns,
            Arc::new(move |_| client.clone()),
            loopback,
            address.port(),
        )
        .unwrap(),
        requests,
    }
}

async fn serve(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
    behaviour: Behaviour,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let mut held = Vec::new();
    while let Ok((mut tcp, _)) = listener.accept().await {
        if let Behaviour::Raw(bytes) = behaviour {
            let _ = tcp.read(&mut [0; 4096]).await;
            let _ = tcp.write_all(bytes).await;
            let _ = tcp.shutdown().await;
            continue;
        }
        if matches!(behaviour, Behaviour::NoTls) {
            seen.lock().push(String::new());
            held.push(tcp);
            continue;
        }
        if let Behaviour::Late(after, _) = behaviour {
            tokio::time::sleep(after).await;
        }
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&config));
        let Ok(mut tls) = acceptor.accept(tcp).await else {
            continue;
        };
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match tls.read_u8().await {
                Ok(b) => request.push(b),
                Err(_) => break,
            }
        }
        let sni = tls.get_ref().1.server_name().unwrap_or_default().to_owned();
        let text = String::from_utf8_lossy(&request);
        seen.lock().push(format!("{sni}\n{text}"));
        match &behaviour {
            Behaviour::Send(bytes) | Behaviour::Late(_, bytes) => {
                let _ = tls.write_all(bytes).await;
                let _ = tls.shutdown().await;
            }
            Behaviour::SendAndCut(bytes) => {
                let _ = tls.write_all(bytes).await;
                let _ = tls.flush().await;
            }
            Behaviour::SendAndStall(bytes) => {
                let _ = tls.write_all(bytes).await;
                let _ = tls.flush().await;
                held.push(tls.into_inner().0);
            }
            Behaviour::Drip(bytes) => {
                let mut sent = tls.write_all(bytes).await;
                while sent.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    sent = tls.write_all(b"x").await;
                    let _ = tls.flush().await;
                }
            }
            Behaviour::NoTls | Behaviour::Raw(_) => {}
        }
    }
}

/// Every name is at these addresses.
struct Dns(Vec<IpAddr>);

impl Resolver for Dns {
    fn mx<'a>(&'a self, _: &'a Domain) -> BoxFuture<'a, Result<Answer<Vec<MxRecord>>, DnsError>> {
        Box::pin(async { Err(DnsError::Temporary("not asked".into())) })
    }
    fn addresses<'a>(
        &'a self,
        _: &'a HostName,
    ) -> BoxFuture<'a, Result<Answer<Vec<IpAddr>>, DnsError>> {
        Box::pin(async {
            Ok(Answer {
                value: self.0.clone(),
                ttl: Duration::from_secs(60),
                security: Security::Insecure,
                canonical: None,
                origin: Security::Insecure,
            })
        })
    }
    fn txt<'a>(&'a self, _: &'a HostName) -> BoxFuture<'a, Result<Answer<Vec<Vec<u8>>>, DnsError>> {
        Box::pin(async { Err(DnsError::Temporary("not asked".into())) })
    }
    fn tlsa<'a>(
        &'a self,
        _: &'a HostName,
        _: u16,
    ) -> BoxFuture<'a, Result<Answer<Vec<TlsaRecord>>, DnsError>> {
        Box::pin(async { Err(DnsError::Temporary("not asked".into())) })
    }
    fn txt_uncached<'a>(
        &'a self,
        name: &'a HostName,
    ) -> BoxFuture<'a, Result<Answer<Vec<Vec<u8>>>, DnsError>> {
        self.txt(name)
    }
}

fn ok(headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{headers}\r\n{body}").into_bytes()
}

const PLAIN: &str = "Content-Type: text/plain\r\n";
const GOOD: &[&str] = &["mta-sts.d.test"];

async fn fetch(site: &Site, within: Duration) -> Result<Parsed, FetchFailure> {
    let domain = Domain::parse("d.test").unwrap();
    site.fetcher.fetch(&domain, within).await
}

async fn answer_to(behaviour: Behaviour) -> Result<Parsed, FetchFailure> {
    let site = site(GOOD, (0, 0), true, behaviour).await;
    fetch(&site, Duration::from_secs(20)).await
}

async fn cause_of(behaviour: Behaviour) -> FetchError {
    answer_to(behaviour).await.unwrap_err().cause
}

#[tokio::test]
async fn a3_01_a4_05_a4_08_a4_24_the_request() {
    let site = site(GOOD, (0, 0), true, Behaviour::Send(ok(PLAIN, POLICY))).await;
    let parsed = fetch(&site, Duration::from_secs(20)).await.unwrap();
    assert_eq!(parsed.policy.text(), POLICY);
    let again = fetch(&site, Duration::from_secs(20)).await;
    assert!(again.is_ok());
    let requests = site.requests.lock().clone();
    assert_eq!(requests.len(), 2, "two fetches, two full requests");
    assert_eq!(requests[0], requests[1], "nothing is carried over");
    let request = requests[0].to_ascii_lowercase();
    assert!(request.starts_with("mta-sts.d.test\nget /.well-known/mta-sts.txt http/1.1\r\n"));
    assert!(request.contains("\r\nhost: mta-sts.d.test"));
    assert!(request.contains("\r\naccept: text/plain\r\n"));
    assert!(request.contains("\r\nuser-agent: sealpost/"));
    for never in [
        "cookie",
        "if-none-match",
        "if-modified",
        "accept-encoding",
        "authorization",
        "content-length",
        "transfer-encoding",
    ] {
        assert!(!request.contains(never), "{never}");
    }
}

#[tokio::test]
async fn a4_06_a4_07_h2_13_h2_15_h2_28_status() {
    for status in [201, 203, 204, 206, 304, 400, 404, 410, 429, 500, 503] {
        let length = POLICY.len();
        let answer = format!(
            "HTTP/1.1 {status} X\r\n{PLAIN}Content-Length: {length}\r\nRetry-After: 900\r\n\r\n{POLICY}"
        );
        let failure = answer_to(Behaviour::Send(answer.into())).await.unwrap_err();
        let location = None;
        assert_eq!(failure.cause, FetchError::Status { status, location });
        assert_eq!(failure.retry_after, Some(Duration::from_secs(900)));
    }
    for status in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {status} X\r\nLocation: https://mta-sts.other/\r\nContent-Length: 0\r\n\r\n"
        );
        let location = Some("https://mta-sts.other/".to_owned());
        let cause = cause_of(Behaviour::Send(answer.into())).await;
        assert_eq!(cause, FetchError::Status { status, location });
        assert_eq!(cause.result_type(), ResultType::StsPolicyFetchError);
    }
}

#[tokio::test]
async fn a3_04_h2_11_h2_12_h2_14_headers() {
    let html = cause_of(Behaviour::Send(ok("Content-Type: text/html\r\n", POLICY))).await;
    assert_eq!(html, FetchError::MediaType(Some("text/html".into())));
    let missing = cause_of(Behaviour::Send(ok("", POLICY))).await;
    assert_eq!(missing, FetchError::MediaType(None));
    let coded = format!("{PLAIN}Content-Encoding: gzip\r\n");
    let coded = cause_of(Behaviour::Send(ok(&coded, POLICY))).await;
    assert_eq!(coded, FetchError::ContentEncoding("gzip".into()));
    let many = "X-A: b\r\n".repeat(10_000) + PLAIN;
    let many = cause_of(Behaviour::Send(ok(&many, POLICY))).await;
    assert!(matches!(many, FetchError::BadHttp(_)), "{many:?}");
    let large = format!("X-A: {}\r\n{PLAIN}", "b".repeat(1 << 20));
    let large = cause_of(Behaviour::Send(ok(&large, POLICY))).await;
    assert!(matches!(large, FetchError::BadHttp(_)), "{large:?}");
    let garbage = cause_of(Behaviour::Send(b"220 mx.d.test ESMTP\r\n\r\n".to_vec())).await;
    assert!(matches!(garbage, FetchError::BadHttp(_)), "{garbage:?}");
}

#[tokio::test]
async fn a4_13_h2_09_h2_10_size() {
    let pad = |n: usize| format!("{POLICY}x: {}", "y".repeat(n - POLICY.len() - 3));
    let full = answer_to(Behaviour::Send(ok(PLAIN, &pad(65_536)))).await;
    assert!(full.is_ok());
    let announced = cause_of(Behaviour::Send(ok(PLAIN, &pad(65_537)))).await;
    assert_eq!(announced, FetchError::Oversize);
    let chunk = "8000\r\n".to_owned() + &"z".repeat(0x8000) + "\r\n";
    let endless = format!(
        "HTTP/1.1 200 OK\r\n{PLAIN}Transfer-Encoding: chunked\r\n\r\n{}",
        chunk.repeat(4)
    );
    let endless = cause_of(Behaviour::SendAndStall(endless.into())).await;
    assert_eq!(endless, FetchError::Oversize);
    assert_eq!(endless.result_type(), ResultType::StsPolicyInvalid);
    let (length, many) = (POLICY.len(), "X-A: b\r\n".repeat(100_000));
    let long = format!("X-A: {}\r\n", "b".repeat(1 << 20));
    for trailers in [many, long] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\n{PLAIN}Transfer-Encoding: chunked\r\n\r\n\
             {length:x}\r\n{POLICY}\r\n0\r\n{trailers}"
        );
        let answer = cause_of(Behaviour::SendAndStall(answer.into())).await;
        // At once, not at the deadline.
        let ended = matches!(
            answer,
            FetchError::BadHttp(_) | FetchError::BodyIncomplete { .. }
        );
        assert!(ended, "{answer:?}");
    }
}

#[tokio::test]
async fn h2_17_h2_18_a_cut_body_is_no_policy() {
    let open = format!("HTTP/1.1 200 OK\r\n{PLAIN}Connection: close\r\n\r\n{POLICY}");
    let closed = answer_to(Behaviour::Send(open.clone().into())).await;
    assert!(closed.is_ok(), "ended by close_notify");
    let bytes = POLICY.len();
    let cut = cause_of(Behaviour::SendAndCut(open.into())).await;
    assert_eq!(
        cut,
        FetchError::BodyIncomplete { bytes },
        "cut exactly at a line end"
    );
    let long = format!("HTTP/1.1 200 OK\r\n{PLAIN}Content-Length: 9999\r\n\r\n{POLICY}");
    let short = cause_of(Behaviour::Send(long.into())).await;
    assert_eq!(
        short,
        FetchError::BodyIncomplete { bytes },
        "shorter than announced"
    );
    // Longer than announced: what was announced is all there is, and that is no policy.
    let cut_at = POLICY.find("max_age").unwrap();
    let lies = format!("HTTP/1.1 200 OK\r\n{PLAIN}Content-Length: {cut_at}\r\n\r\n{POLICY}");
    let long = cause_of(Behaviour::Send(lies.into())).await;
    assert_eq!(long, FetchError::Policy(PolicyError::Missing("max_age")));
}

#[tokio::test]
async fn a4_12_h2_06_one_deadline_and_its_stage() {
    let head = format!("HTTP/1.1 200 OK\r\n{PLAIN}Content-Length: 9999\r\n\r\n");
    let part = head.clone() + "version";
    for (behaviour, stage, bytes) in [
        (Behaviour::NoTls, Stage::Tls, 0),
        (
            Behaviour::SendAndStall(b"HTTP/1.1 ".to_vec()),
            Stage::Headers,
            0,
        ),
        (Behaviour::SendAndStall(head.into_bytes()), Stage::Body, 0),
        (Behaviour::SendAndStall(part.into_bytes()), Stage::Body, 7),
    ] {
        let site = site(GOOD, (0, 0), true, behaviour).await;
        let failure = fetch(&site, Duration::from_millis(1500)).await.unwrap_err();
        assert_eq!(failure.cause, FetchError::Timeout { stage, bytes });
    }
}

/// A limit for each read would never end these, nor one for the whole that each octet begins anew.
#[tokio::test]
async fn h2_07_h2_08_what_trickles_ends_with_the_whole_deadline() {
    let head = format!("HTTP/1.1 200 OK\r\n{PLAIN}Content-Length: 9999\r\n\r\n");
    for (sent, at) in [
        ("HTTP/1.1 200 OK\r\nX-Slow: ", Stage::Headers),
        (head.as_str(), Stage::Body),
    ] {
        let site = site(GOOD, (0, 0), true, Behaviour::Drip(sent.into())).await;
        let within = Duration::from_secs(2);
        let fetch = tokio::time::timeout(Duration::from_mins(1), fetch(&site, within));
        let failure = fetch.await.expect("it ends").unwrap_err();
        let FetchError::Timeout { stage, bytes } = failure.cause else {
            panic!("{failure:?}")
        };
        assert_eq!(stage, at);
        assert_eq!(bytes > 0, at == Stage::Body, "{bytes}");
    }
}

/// An address that takes no connection at this port, as behind a firewall that drops everything.
async fn dead(ip: Ipv4Addr, port: u16) -> (TcpListener, Vec<tokio::net::TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((ip, port).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let mut waiting = Vec::new();
    // Whoever comes when its queue is full is left without an answer.
    let connect = || tokio::net::TcpStream::connect((ip, port));
    while let Ok(taken) = tokio::time::timeout(Duration::from_millis(300), connect()).await {
        waiting.push(taken.unwrap());
    }
    (listener, waiting)
}

#[tokio::test]
async fn a4_23_a_dead_address_of_the_same_family_costs_a_part_of_the_time() {
    let (gone, here) = (Ipv4Addr::new(127, 0, 0, 9), Ipv4Addr::LOCALHOST);
    let params = CertificateParams::new(vec![GOOD[0].to_owned()]).unwrap();
    let in_dns = [IpAddr::V4(gone), IpAddr::V4(here)];
    let behaviour = Behaviour::Send(ok(PLAIN, POLICY));
    let site = site_with(params, here.into(), &in_dns, true, behaviour).await;
    let _dead = dead(gone, site.fetcher.port).await;
    let began = std::time::Instant::now();
    let found = fetch(&site, Duration::from_secs(8)).await;
    assert!(found.is_ok(), "{found:?}");
    assert!(began.elapsed() >= Duration::from_secs(1), "it was tried");
    // With nothing else there it is a time-out like any other.
    let alone = HttpsFetcher {
        resolver: Arc::new(Dns(vec![gone.into()])),
        ..site.fetcher
    };
    let domain = Domain::parse("d.test").unwrap();
    let failed = alone.fetch(&domain, Duration::from_secs(1)).await;
    let (stage, bytes) = (Stage::Connect, 0);
    assert_eq!(
        failed.unwrap_err().cause,
        FetchError::Timeout { stage, bytes }
    );
}

#[tokio::test]
async fn a4_01_a4_03_a4_04_h2_01_h2_02_h2_03_certificates() {
    let good = || Behaviour::Send(ok(PLAIN, POLICY));
    let within = Duration::from_secs(20);
    let wild = site(&["*.d.test"], (0, 0), true, good()).await;
    assert!(fetch(&wild, within).await.is_ok(), "A4-03");
    let mut causes = Vec::new();
    for (names, days, trusted) in [
        (&["mta-sts.provider.test"][..], (0, 0), true),
        (&["*.test"], (0, 0), true),
        (GOOD, (0, -1), true),
        (GOOD, (1, 0), true),
        (GOOD, (0, 0), false),
    ] {
        let site = site(names, days, trusted, good()).await;
        let cause = fetch(&site, within).await.unwrap_err().cause;
        assert_eq!(
            cause.result_type(),
            ResultType::StsWebpkiInvalid,
            "{cause:?}"
        );
        assert!(
            site.requests.lock().is_empty(),
            "nothing is asked of such a host"
        );
        causes.push(cause);
    }
    let FetchError::Certificate(PkixError::Name {
        expected,
        presented,
    }) = &causes[0]
    else {
        panic!("{causes:?}")
    };
    assert_eq!(expected, "mta-sts.d.test");
    assert_eq!(presented, &["mta-sts.provider.test"]);
    let keys: Vec<_> = causes.iter().map(FetchError::key).collect();
    let want = [
        "webpki:name",
        "webpki:name",
        "webpki:expired",
        "webpki:not_yet_valid",
        "webpki:unknown_issuer",
    ];
    assert_eq!(keys, want);
}

#[tokio::test]
async fn h1_23_h2_05_addresses_and_connections() {
    let site = site(GOOD, (0, 0), true, Behaviour::NoTls).await;
    let refusing = HttpsFetcher {
        allow: Arc::from([]),
        ..site.fetcher
    };
    let domain = Domain::parse("d.test").unwrap();
    let cause = refusing
        .fetch(&domain, Duration::from_secs(20))
        .await
        .unwrap_err()
        .cause;
    assert_eq!(cause.key(), "refused_addr", "{cause:?}");
    // A port that nobody listens on.
    let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = unused.local_addr().unwrap().port();
    drop(unused);
    let closed = HttpsFetcher {
        allow: Arc::from(["127.0.0.0/8".parse().unwrap()]),
        port,
        ..refusing
    };
    let cause = closed
        .fetch(&domain, Duration::from_secs(20))
        .await
        .unwrap_err()
        .cause;
    assert_eq!(cause.key(), "connect", "{cause:?}");
}

#[tokio::test]
async fn a3_26_an_invalid_text_is_told_as_such() {
    let cause = cause_of(Behaviour::Send(ok(PLAIN, "<html>"))).await;
    assert_eq!(cause, FetchError::Policy(PolicyError::Line(1)));
    assert_eq!(cause.result_type(), ResultType::StsPolicyInvalid);
}
