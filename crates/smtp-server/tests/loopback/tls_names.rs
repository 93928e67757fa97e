//! Certificates by name, client certificates, and what TLS does not do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use smtp_server::{KeyPairFiles, NamedKeyPair, ServerTls, TlsFiles, TlsMode};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Client, Running, requires_tls, server_settings, start};

/// An authority, and a folder for what it issues.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("root.pem"), certificate.pem()).unwrap();
        Self {
            folder,
            root: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    fn issue(&self, names: &[&str], ends: i32) -> KeyPairFiles {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let path = |end: &str| self.folder.path().join(format!("{}.{end}", names.concat()));
        let (certificate, private_key) = (path("crt"), path("key"));
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(ends, 1, 1);
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(&certificate, made.pem()).unwrap();
        std::fs::write(&private_key, key.serialize_pem()).unwrap();
        KeyPairFiles {
            certificate,
            private_key,
        }
    }

    fn client(&self, certificate: Option<&KeyPairFiles>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        match certificate {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = CertificateDer::pem_file_iter(&pair.certificate).unwrap();
                let chain = chain.map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_file(&pair.private_key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }
}

/// Shows a certificate with a key that is not its own.
#[derive(Debug)]
struct Forger(Arc<CertifiedKey>);

impl ResolvesClientCert for Forger {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl Authority {
    fn forging(&self, pair: &KeyPairFiles) -> ClientConfig {
        let chain = CertificateDer::pem_file_iter(&pair.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&pair.private_key).unwrap();
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let forged = CertifiedKey::new(chain.map(Result::unwrap).collect(), key);
        let mut config = self.client(None);
        config.client_auth_cert_resolver = Arc::new(Forger(Arc::new(forged)));
        config
    }
}

fn implicit(files: &TlsFiles) -> Running {
    let mut session = requires_tls();
    session.tls = TlsMode::Implicit;
    let tls = ServerTls::load(files).unwrap();
    start(server_settings(session, Some(Arc::new(tls))))
}

async fn handshake(
    server: &Running,
    config: ClientConfig,
    name: &str,
) -> std::io::Result<Client<TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.map(Client)
}

#[tokio::test]
async fn g1_06_each_name_has_its_certificate() {
    let authority = Authority::new();
    let named = |names: &[&str], cert: &[&str]| NamedKeyPair {
        server_names: names.iter().map(|n| (*n).into()).collect(),
        key_pair: authority.issue(cert, 2040),
    };
    let files = TlsFiles {
        key_pair: authority.issue(&["relay.test"], 2040),
        by_name: vec![
            named(&[], &["mail.b.test", "smtp.b.test"]),
            named(&["*.c.test"], &["*.c.test"]),
        ],
        client_roots: None,
    };
    let server = implicit(&files);
    for (name, verifies) in [
        ("relay.test", true),
        ("mail.b.test", true),
        ("SMTP.b.test", true),
        ("x.c.test", true),
        ("x.y.c.test", false),
        ("c.test", false),
        ("unknown.test", false),
    ] {
        let got = handshake(&server, authority.client(None), name).await;
        assert_eq!(got.is_ok(), verifies, "{name}: {:?}", got.err());
    }
    // By address: no server name is sent.
    let error = handshake(&server, authority.client(None), "127.0.0.1").await;
    let error = error.err().unwrap().to_string();
    assert!(error.contains("relay.test"), "the default: {error}");
}

#[tokio::test]
async fn g1_09_client_certificates_are_asked_for_where_configured_and_never_half_believed() {
    let authority = Authority::new();
    let strangers = Authority::new();
    let mut files = TlsFiles {
        key_pair: authority.issue(&["relay.test"], 2040),
        by_name: Vec::new(),
        client_roots: None,
    };
    let good = authority.issue(&["app.test"], 2040);
    let expired = authority.issue(&["old.test"], 2020);
    let foreign = strangers.issue(&["app.test"], 2040);
    // Not asked for: the handshake says nothing of it, whatever the client has.
    let mut server = implicit(&files);
    let mut client = handshake(&server, authority.client(Some(&expired)), "relay.test")
        .await
        .unwrap();
    assert!(client.reply().await.starts_with("220 "));
    assert_eq!(server.event("certificate").await, "certificate none");
    files.client_roots = Some(authority.root());
    let mut server = implicit(&files);
    for (certificate, want) in [(None, "none"), (Some(&good), "[\"app.test\"]")] {
        let mut client = handshake(&server, authority.client(certificate), "relay.test")
            .await
            .unwrap();
        assert!(client.reply().await.starts_with("220 "));
        let event = server.event("certificate").await;
        assert!(event.starts_with(&format!("certificate {want}")), "{event}");
        if certificate.is_some() {
            let der = CertificateDer::from_pem_file(&good.certificate).unwrap();
            let sum = aws_lc_rs_sha256(&der);
            assert!(event.ends_with(&sum), "{event}: {sum}");
        }
    }
    for bad in [&expired, &foreign] {
        // In TLS 1.3 the client learns of it when it reads.
        let client = handshake(&server, authority.client(Some(bad)), "relay.test").await;
        if let Ok(mut client) = client {
            assert_eq!(client.rest().await, "", "no session");
        }
        let event = server.event("tls-failed").await;
        assert!(event.contains("invalid peer certificate"), "{event}");
    }
}

#[tokio::test]
async fn g1_09_g2_10_a_certificate_that_is_listed_itself_counts_whatever_it_says() {
    let authority = Authority::new();
    let own = |name: &str, ends: i32, is_ca: bool| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(ends, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if is_ca {
            // As `openssl req -x509` makes them.
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let path = |end: &str| authority.folder.path().join(format!("{name}.{end}"));
        let (certificate, private_key) = (path("crt"), path("key"));
        let key = KeyPair::generate().unwrap();
        std::fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&private_key, key.serialize_pem()).unwrap();
        KeyPairFiles {
            certificate,
            private_key,
        }
    };
    let listed = [own("ca.test", 2040, true), own("app.test", 2040, false)];
    let ended = own("old.test", 2020, true);
    let stranger = own("other.test", 2040, true);
    let roots = authority.folder.path().join("clients.pem");
    let all = listed.iter().chain([&ended]);
    let all = all.map(|pair| std::fs::read_to_string(&pair.certificate).unwrap());
    std::fs::write(&roots, all.collect::<String>()).unwrap();
    let mut server = implicit(&TlsFiles {
        key_pair: authority.issue(&["relay.test"], 2040),
        by_name: Vec::new(),
        client_roots: Some(roots),
    });
    for pair in &listed {
        let mut client = handshake(&server, authority.client(Some(pair)), "relay.test")
            .await
            .unwrap();
        assert!(client.reply().await.starts_with("220 "));
        let event = server.event("certificate").await;
        assert!(!event.contains("none"), "{event}");
    }
    // Whoever has the certificate alone has nothing: the key signs the handshake.
    let forged = KeyPairFiles {
        certificate: listed[0].certificate.clone(),
        private_key: stranger.private_key.clone(),
    };
    for (bad, why) in [
        (authority.client(Some(&ended)), "Expired"),
        (
            authority.client(Some(&stranger)),
            "such a one counts only if it is in client-ca itself (invalid peer certificate",
        ),
        (authority.forging(&forged), "BadSignature"),
    ] {
        if let Ok(mut client) = handshake(&server, bad, "relay.test").await {
            assert_eq!(client.rest().await, "", "no session");
        }
        let event = server.event("tls-failed").await;
        assert!(event.contains(why), "{event}");
    }
}

/// RFC 5280 section 4.2.1.9.
#[tokio::test]
async fn g1_09_g2_10_what_a_listed_client_signs_does_not_count() {
    let authority = Authority::new();
    let path = |name: &str| authority.folder.path().join(name);
    let root = std::fs::read_to_string(authority.root()).unwrap();
    for (n, is_ca) in [IsCa::NoCa, IsCa::ExplicitNoCa].into_iter().enumerate() {
        let mut params = CertificateParams::new(vec!["app.test".to_owned()]).unwrap();
        params.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        let app = params.self_signed(&key).unwrap().pem();
        let app_key = key.serialize_pem();
        let app_issues = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let mut crm = CertificateParams::new(vec!["crm.test".to_owned()]).unwrap();
        crm.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let crm = crm.signed_by(&key, &app_issues).unwrap().pem();
        // Alone, and beside an authority.
        for listed in [app.clone(), format!("{app}{root}")] {
            let pair = |name: &str, certificate: &str, key: &str| {
                let pair = KeyPairFiles {
                    certificate: path(&format!("{name}.crt")),
                    private_key: path(&format!("{name}.key")),
                };
                std::fs::write(&pair.certificate, certificate).unwrap();
                std::fs::write(&pair.private_key, key).unwrap();
                pair
            };
            std::fs::write(path("clients.pem"), &listed).unwrap();
            let mut server = implicit(&TlsFiles {
                key_pair: authority.issue(&["relay.test"], 2040),
                by_name: Vec::new(),
                client_roots: Some(path("clients.pem")),
            });
            let itself = authority.client(Some(&pair("app", &app, &app_key)));
            let mut client = handshake(&server, itself, "relay.test").await.unwrap();
            assert!(client.reply().await.starts_with("220 "), "{n}");
            let _ = server.event("certificate").await;
            let forged = pair("crm", &crm, &key.serialize_pem());
            let forged = authority.client(Some(&forged));
            if let Ok(mut client) = handshake(&server, forged, "relay.test").await {
                assert_eq!(client.rest().await, "", "no session: {n}");
            }
            let event = server.event("tls-failed").await;
            assert!(event.contains("invalid peer certificate"), "{n}: {event}");
        }
    }
}

#[tokio::test]
async fn g1_08_no_early_data_and_with_client_certificates_no_resumption() {
    let authority = Authority::new();
    let mut files = TlsFiles {
        key_pair: authority.issue(&["relay.test"], 2040),
        by_name: Vec::new(),
        client_roots: None,
    };
    for roots in [None, Some(authority.root())] {
        files.client_roots = roots;
        let server = implicit(&files);
        let mut config = authority.client(None);
        config.enable_early_data = true;
        for resumed in [false, true] {
            let mut client = handshake(&server, config.clone(), "relay.test")
                .await
                .unwrap();
            assert!(client.reply().await.starts_with("220 "));
            assert!(!client.0.get_ref().1.is_early_data_accepted());
            let kind = client.0.get_ref().1.handshake_kind().unwrap();
            // Early data goes with what is resumed: without the second handshake nothing would have been shown.
            let want = if resumed && files.client_roots.is_none() {
                rustls::HandshakeKind::Resumed
            } else {
                rustls::HandshakeKind::Full
            };
            assert_eq!(kind, want);
            client.told("QUIT").await;
        }
    }
}

#[tokio::test]
async fn g1_05_nothing_older_than_tls_1_2() {
    let authority = Authority::new();
    let key_pair = authority.issue(&["relay.test"], 2040);
    let files = TlsFiles::new(&key_pair.certificate, &key_pair.private_key);
    let mut server = implicit(&files);
    // rustls has no older version: a ClientHello of TLS 1.1 by hand, with one suite of its time.
    // signature_algorithms: rsa_pkcs1_sha256; most such clients have no extensions at all.
    let extensions = [0, 8, 0, 13, 0, 4, 0, 2, 4, 1];
    for (version, extensions) in [(1u8, &extensions[..]), (2, &extensions), (1, &[]), (2, &[])] {
        let length = 41 + extensions.len() as u8;
        let mut hello = vec![1, 0, 0, length, 3, version];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0xc0, 0x14, 1, 0]);
        hello.extend(extensions);
        let mut record = vec![22, 3, 1, 0, hello.len() as u8];
        record.extend(hello);
        let stream = TcpStream::connect(server.address).await.unwrap();
        let mut client = Client(stream);
        tokio::io::AsyncWriteExt::write_all(&mut client.0, &record)
            .await
            .unwrap();
        let event = server.event("tls-failed").await;
        let why = "the client speaks TLS 1.1 or older; 1.2 is the least (peer is incompatible: ";
        assert!(event.contains(why), "{event}");
    }
}

#[tokio::test]
async fn g1_06_a_reload_reaches_the_next_handshake() {
    let authority = Authority::new();
    let key_pair = authority.issue(&["relay.test"], 2040);
    let files = TlsFiles::new(&key_pair.certificate, &key_pair.private_key);
    let tls = Arc::new(ServerTls::load(&files).unwrap());
    let mut session = requires_tls();
    session.tls = TlsMode::Implicit;
    let server = start(server_settings(session, Some(Arc::clone(&tls))));
    let ask = async |name: &str| handshake(&server, authority.client(None), name).await;
    let mut before = ask("relay.test").await.unwrap();
    assert!(before.reply().await.starts_with("220 "));
    let renewed = authority.issue(&["new.test"], 2040);
    replace(&renewed, &key_pair.certificate, &key_pair.private_key);
    tls.replace(ServerTls::read(&files).unwrap());
    assert!(ask("relay.test").await.is_err());
    assert!(ask("new.test").await.is_ok());
    assert!(
        before.told("NOOP").await.starts_with("250 "),
        "those that are there stay"
    );
}

fn replace(with: &KeyPairFiles, certificate: &Path, key: &Path) {
    std::fs::copy(&with.certificate, certificate).unwrap();
    std::fs::copy(&with.private_key, key).unwrap();
}

fn aws_lc_rs_sha256(der: &[u8]) -> String {
    let sum = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, der);
    sum.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}
