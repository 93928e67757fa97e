//! nginx serves policies, and fails as it is told.

use rustls_pki_types::ServerName;
use sealpost_tests::{Nginx, NginxSite};
use testkit::{TestCa, policy_text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

async fn get(ca: &TestCa, domain: &str) -> std::io::Result<String> {
    let tcp = TcpStream::connect("127.0.0.80:443").await?;
    let host = format!("mta-sts.{domain}");
    let name = ServerName::try_from(host.clone()).unwrap();
    let connector = TlsConnector::from(ca.client_config());
    let mut tls = connector.connect(name, tcp).await?;
    let request = format!(
        "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    );
    tls.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    tls.read_to_string(&mut response).await?;
    Ok(response)
}

testkit::net_test! {
    async fn nginx_serves_policies_by_name() {
        let ca = TestCa::new();
        let text = policy_text("enforce", &["mx.good.test"], 86400);
        let site = |domain: &str| {
            let leaf = ca.leaf(&[&format!("mta-sts.{domain}")]);
            NginxSite::new(domain, &text, &leaf)
        };
        let wrong = NginxSite::new("wrong.test", &text, &ca.leaf(&["www.wrong.test"]));
        let mut nginx = Nginx::start(
            "127.0.0.80:443".parse().unwrap(),
            &[
                site("good.test"),
                wrong,
                site("html.test").content_type("text/html"),
                site("moved.test").redirect("https://elsewhere.test/x"),
            ],
        )
        .await;

        let good = get(&ca, "good.test").await.unwrap();
        assert!(good.starts_with("HTTP/1.1 200"), "{good}");
        assert!(good.contains("Content-Type: text/plain\r\n"), "{good}");
        assert!(good.ends_with(&text), "{good}");
        let error = get(&ca, "wrong.test").await.unwrap_err().to_string();
        assert!(error.contains("not valid for name"), "{error}");
        let html = get(&ca, "html.test").await.unwrap();
        assert!(html.contains("Content-Type: text/html\r\n"), "{html}");
        let moved = get(&ca, "moved.test").await.unwrap();
        assert!(moved.contains("Location: https://elsewhere.test/x"), "{moved}");
        assert_eq!(
            nginx.requests()[0],
            "mta-sts.good.test \"GET /.well-known/mta-sts.txt HTTP/1.1\" 200"
        );

        nginx.replace(site("wrong.test")).await;
        assert!(get(&ca, "wrong.test").await.unwrap().ends_with(&text));
    }
}
