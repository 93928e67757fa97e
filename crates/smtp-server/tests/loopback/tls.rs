use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use smtp_server::{BindError, Server, ServerTls, TlsFiles, TlsMode};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Client, Running, requires_tls, server_settings, session_settings, start};

pub(crate) struct Keys {
    pub(crate) tls: Arc<ServerTls>,
    root: CertificateDer<'static>,
}

pub(crate) fn keys() -> Keys {
    let made = rcgen::generate_simple_self_signed(["relay.test".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (crt, key) = (dir.path().join("crt"), dir.path().join("key"));
    std::fs::write(&crt, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    Keys {
        tls: Arc::new(ServerTls::load(&TlsFiles::new(&crt, &key)).unwrap()),
        root: made.cert.der().clone(),
    }
}

fn started(mode: TlsMode) -> (Running, Keys) {
    let keys = keys();
    let mut session = requires_tls();
    session.tls = mode;
    let server = start(server_settings(session, Some(Arc::clone(&keys.tls))));
    (server, keys)
}

async fn handshake(
    keys: &Keys,
    stream: TcpStream,
    alpn: &[&[u8]],
) -> std::io::Result<Client<TlsStream<TcpStream>>> {
    let mut roots = RootCertStore::empty();
    roots.add(keys.root.clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    let name = ServerName::try_from("relay.test").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.map(Client)
}

#[tokio::test]
async fn starttls_and_a_message_inside() {
    let (mut server, keys) = started(TlsMode::Required);
    let mut plain = server.client().await;
    let ehlo = plain.told("EHLO c.test").await;
    assert!(ehlo.contains("250-STARTTLS\r\n") && !ehlo.contains("REQUIRETLS"));
    assert!(plain.told("MAIL FROM:<>").await.starts_with("530 5.7.0 "));
    assert!(plain.told("STARTTLS").await.starts_with("220 "));
    let mut client = handshake(&keys, plain.0, &[]).await.unwrap();
    assert_eq!(
        server.event("tls ").await,
        "tls TLSv1.3 TLS_AES_256_GCM_SHA384"
    );
    let ehlo = client.told("EHLO c.test").await;
    assert!(
        !ehlo.contains("STARTTLS") && ehlo.contains("250 REQUIRETLS\r\n"),
        "D1-01"
    );
    client
        .send("MAIL FROM:<a@b.test> REQUIRETLS\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
        .await;
    for want in ["250", "250", "354"] {
        assert!(client.reply().await.starts_with(want));
    }
    client.send("\r\n.\r\n").await;
    assert!(client.reply().await.starts_with("250 2.0.0 Ok: queued as "));
    assert!(client.told("QUIT").await.starts_with("221 "));
    assert_eq!(client.rest().await, "");
    let messages = server.messages.lock();
    let (envelope, body) = &messages[0];
    assert!(envelope.requiretls && body.contains(" with ESMTPS id "));
    let tls = envelope.arrival.tls.as_ref().unwrap();
    assert_eq!(&*tls.cipher, "TLS_AES_256_GCM_SHA384");
}

#[tokio::test]
async fn e4_18_h5_03_injection_behind_starttls() {
    let (mut server, _) = started(TlsMode::Optional);
    let mut client = server.client().await;
    client
        .send("EHLO c\r\nSTARTTLS\r\nMAIL FROM:<evil@x.test>\r\nRCPT TO:<v@d.test>\r\n")
        .await;
    assert!(client.reply().await.starts_with("250-"));
    let rest = client.rest().await;
    assert!(
        rest.starts_with("421 ") && rest.matches("\r\n").count() == 1,
        "{rest}"
    );
    assert_eq!(
        server.event("incident").await,
        "incident starttls_injection"
    );
}

#[tokio::test]
async fn e4_18_plaintext_instead_of_a_handshake() {
    let (mut server, _) = started(TlsMode::Optional);
    let mut client = server.client().await;
    client.told("EHLO c").await;
    assert!(client.told("STARTTLS").await.starts_with("220 "));
    client.send("MAIL FROM:<evil@x.test>\r\n").await;
    server.event("tls-failed").await;
    let rest = client.rest().await;
    assert!(
        !rest.contains("250") && !rest.contains("503"),
        "E4-21: never back to plain text"
    );
}

#[tokio::test]
async fn g1_02_implicit_tls() {
    let (mut server, keys) = started(TlsMode::Implicit);
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut client = handshake(&keys, stream, &[b"smtp"]).await.unwrap();
    assert!(client.reply().await.starts_with("220 relay.test "));
    assert!(client.told("EHLO c").await.contains("REQUIRETLS"));
    let mut plain = server.silent_client().await;
    plain.send("EHLO c\r\n").await;
    let event = server.event("tls-failed").await;
    let why = "plain text where TLS was due (received corrupt message";
    assert!(event.contains(why), "{event}");
    assert!(!plain.rest().await.contains("250"));
}

#[tokio::test]
async fn h5_10_another_protocol_by_alpn() {
    let (mut server, keys) = started(TlsMode::Implicit);
    let stream = TcpStream::connect(server.address).await.unwrap();
    assert!(handshake(&keys, stream, &[b"http/1.1"]).await.is_err());
    assert_eq!(server.event("incident").await, "incident alpn_mismatch");
}

#[tokio::test]
async fn tls_needs_a_certificate() {
    let mut session = session_settings();
    session.tls = TlsMode::Optional;
    let error = Server::bind(server_settings(session, None)).unwrap_err();
    assert!(matches!(error, BindError::NoCertificate { .. }), "{error}");
}
