use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{PolicyFault, PolicyHost};
use crate::TestCa;

/// The response to a GET, or what failed.
async fn get(host: &PolicyHost, ca: &TestCa, domain: &str) -> std::io::Result<String> {
    let tcp = TcpStream::connect(host.address()).await?;
    let name = format!("mta-sts.{domain}");
    let server = ServerName::try_from(name.clone()).unwrap();
    let mut tls = TlsConnector::from(ca.client_config())
        .connect(server, tcp)
        .await?;
    let request = format!("GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {name}\r\n\r\n");
    tls.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    tls.read_to_string(&mut response).await?;
    Ok(response)
}

#[tokio::test]
async fn serves_policies_and_keeps_a_log() {
    let ca = Arc::new(TestCa::new());
    let host = PolicyHost::start("127.0.0.1:0", &ca).await;
    host.enforce("d.test", &["mx1.d.test", "*.mx.test"])
        .none("n.test");
    let response = get(&host, &ca, "d.test").await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"));
    assert!(response.ends_with(
        "\r\n\r\nversion: STSv1\r\nmode: enforce\r\nmx: mx1.d.test\r\nmx: *.mx.test\r\n\
         max_age: 604800\r\n"
    ));
    assert!(get(&host, &ca, "n.test").await.unwrap().contains("none"));
    assert!(get(&host, &ca, "unknown.test").await.is_err());
    host.wait_for_requests("d.test", 1, Duration::from_secs(5))
        .await;
    let seen = &host.requests()[0];
    assert_eq!(seen.sni.as_deref(), Some("mta-sts.d.test"));
    assert_eq!((seen.method.as_str(), host.count("d.test")), ("GET", 1));
    assert_eq!(seen.path, "/.well-known/mta-sts.txt");
    assert_eq!(seen.header("host"), Some("mta-sts.d.test"));
    assert_eq!(host.handshakes(), 3);
}

#[tokio::test]
async fn each_fault_shows_and_heals() {
    let ca = Arc::new(TestCa::new());
    let host = PolicyHost::start("127.0.0.1:0", &ca).await;
    host.testing("d.test", &["mx.d.test"]);
    for (fault, marks) in [
        (PolicyFault::Status(404), "HTTP/1.1 404"),
        (PolicyFault::ContentType("text/html".into()), "text/html"),
        (
            PolicyFault::Redirect("https://e.test/".into()),
            "Location: https://e.test/",
        ),
        (
            PolicyFault::Delay(Duration::from_millis(1)),
            "mode: testing",
        ),
        (
            PolicyFault::SlowBody(Duration::from_micros(1)),
            "max_age: 604800",
        ),
        (PolicyFault::Oversize(70_000), "xxxxxxxx"),
        (PolicyFault::Chunked, "0\r\n\r\n"),
    ] {
        host.fault("d.test", fault.clone());
        let response = get(&host, &ca, "d.test").await.unwrap();
        assert!(response.contains(marks), "{fault:?}: {response}");
    }
    for (fault, marks) in [
        (PolicyFault::CutBody, "reset"),
        (PolicyFault::Reset, "reset"),
        (PolicyFault::WrongCertificate, "not valid for name"),
        (PolicyFault::ExpiredCertificate, "expired"),
        (PolicyFault::UntrustedCertificate, "UnknownIssuer"),
        (PolicyFault::SelfSigned, "invalid peer certificate"),
    ] {
        host.fault("d.test", fault.clone());
        let error = get(&host, &ca, "d.test").await.unwrap_err().to_string();
        assert!(error.contains(marks), "{fault:?}: {error}");
    }
    host.heal("d.test");
    assert!(get(&host, &ca, "d.test").await.unwrap().contains("testing"));
    host.pause().await;
    let refused = get(&host, &ca, "d.test").await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    host.resume().await;
    assert!(get(&host, &ca, "d.test").await.is_ok());
}
