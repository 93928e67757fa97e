//! The real client against a TLS server of our own on a free port.

use mail_types::{Answer, DnsError, Domain, MxRecord, Security, TlsaRecord};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Every name is there.
struct Dns(IpAddr);

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
                value: vec![self.0],
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

struct Site {
    post: HttpsPost,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A host that answers every request so.
async fn site(trusted: bool, allow: &[&str], answer: &'static str) -> Site {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["r.test".to_owned()]).unwrap();
    let cert = params.signed_by(&key, &ca).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    if trusted {
        roots.add(ca.der().clone()).unwrap();
    }
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let listener = TcpListener::bind((here, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(Mutex::new(Vec::new()));
    tokio::spawn(serve(
        listener,
        Arc::new(server),
        answer,
        Arc::clone(&requests),
    ));
    let allow = allow.iter().map(|net| net.parse().unwrap()).collect();
    let tls = Arc::new(move || client.clone());
    let post = HttpsPost::with_port(Arc::new(Dns(here)), tls, allow, port).unwrap();
    Site { post, requests }
}

async fn serve(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
    answer: &'static str,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
) {
    while let Ok((tcp, _)) = listener.accept().await {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&config));
        let Ok(mut tls) = acceptor.accept(tcp).await else {
            continue;
        };
        let mut request = Vec::new();
        while !request.ends_with(BODY) {
            match tls.read_u8().await {
                Ok(octet) => request.push(octet),
                Err(_) => break,
            }
        }
        seen.lock().push(request);
        let _ = tls.write_all(answer.as_bytes()).await;
        let _ = tls.shutdown().await;
    }
}

const BODY: &[u8] = b"\x1f\x8bthe report";
const GZIP: &str = "application/tlsrpt+gzip";
const TAKEN: &str = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
const LOOPBACK: &[&str] = &["127.0.0.0/8"];

async fn post(site: &Site) -> Result<(), String> {
    let to = Endpoint {
        host: HostName::parse("r.test").unwrap(),
        path_and_query: "/v1/report?of=us".to_owned(),
    };
    let sent = site.post.post(&to, GZIP, BODY.to_vec()).await;
    sent.map_err(|e| e.to_string())
}

#[tokio::test]
async fn b4_20_the_request() {
    let site = site(true, LOOPBACK, TAKEN).await;
    post(&site).await.unwrap();
    let requests = site.requests.lock().clone();
    assert_eq!(requests.len(), 1);
    let request = String::from_utf8_lossy(&requests[0]).to_ascii_lowercase();
    let begin = "post /v1/report?of=us http/1.1\r\n";
    assert!(request.starts_with(begin), "{request}");
    for part in [
        "\r\nhost: r.test",
        "\r\ncontent-type: application/tlsrpt+gzip\r\n",
        "\r\ncontent-length: 12\r\n",
        "\r\nuser-agent: sealpost/",
    ] {
        assert!(request.contains(part), "{part}: {request}");
    }
    for never in ["cookie", "authorization", "content-encoding", "referer"] {
        assert!(!request.contains(never), "{never}");
    }
}

#[tokio::test]
async fn b4_21_only_2xx_has_taken_it_and_no_redirect_is_followed() {
    for (answer, status) in [
        ("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", "500"),
        ("HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n", "403"),
        (
            "HTTP/1.1 301 X\r\nLocation: https://r.test/y\r\nContent-Length: 0\r\n\r\n",
            "301",
        ),
        (
            "HTTP/1.1 308 X\r\nLocation: https://r.test/y\r\nContent-Length: 0\r\n\r\n",
            "308",
        ),
    ] {
        let site = site(true, LOOPBACK, answer).await;
        let why = post(&site).await.unwrap_err();
        assert!(why.contains(status), "{why}");
        assert_eq!(site.requests.lock().len(), 1, "{status}");
    }
    for taken in [
        "HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 202 X\r\nContent-Length: 999999999\r\n\r\n",
    ] {
        let site = site(true, LOOPBACK, taken).await;
        post(&site).await.unwrap();
    }
}

#[tokio::test]
async fn b4_22_a_certificate_that_nobody_vouches_for_gets_no_report() {
    let site = site(false, LOOPBACK, TAKEN).await;
    let why = post(&site).await.unwrap_err();
    assert!(why.contains("certificate"), "{why}");
    assert!(site.requests.lock().is_empty());
}

#[tokio::test]
async fn b4_26_an_address_of_special_use_is_refused_unless_it_is_allowed() {
    let site = site(true, &[], TAKEN).await;
    let why = post(&site).await.unwrap_err();
    assert!(why.contains("127.0.0.1"), "{why}");
    assert!(why.contains("reporting.allow-special-use"), "{why}");
    assert!(site.requests.lock().is_empty());
    site.post.allow(vec!["127.0.0.1/32".parse().unwrap()]);
    post(&site).await.unwrap();
}
